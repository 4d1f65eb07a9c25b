"""Moderators write, test and publish templates on the page, as people do: by typing, pasting and pressing buttons."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import pytest

from tests.platforms.web.browser.browsing import Browser, Context, Tab, eventually
from tests.platforms.web.browser.test_talking import focused
from tests.platforms.web.conftest import ServePage

EXAMPLES = "text\tlabel\nso fine\tgood\na loss\tbad\nyes\tgood"
T = TypeVar("T")

TESTS = "fun\tgood\nsad\tbad\nmud\tbad"


async def soon(read: Callable[[], Awaitable[T]], wanted: Callable[[T], bool]) -> T:
    """Read until what is read is wanted, however busy this machine is."""
    return await eventually(read, wanted, patience_s=60)


async def open_bench(windows: Context, origin: str, name: str = "") -> Tab:
    """Open the workbench, and a template in it."""
    tab = await windows.open(f"{origin}/#/workbench")
    if name:
        await tab.locator(".bench-item").get_by_text(name, exact=True).click()
        await tab.locator(".bench-description").wait_for()
    return tab


async def log_in(windows: Context, address: str) -> None:
    await (await windows.open(address)).get_by_label("Message Fewshot").wait_for()


async def paste(tab: Tab, text: str) -> None:
    """Paste into what has the focus."""
    await tab.evaluate(
        """(text) => {
            const clipboardData = new DataTransfer();
            clipboardData.setData('text/plain', text);
            const event = new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true });
            document.activeElement.dispatchEvent(event);
        }""",
        text,
    )


async def is_saved(tab: Tab) -> None:
    await soon(lambda: tab.locator(".bench-saving").inner_text(), lambda words: words == "Saved")


async def next_step(tab: Tab, words: str) -> None:
    await soon(lambda: tab.locator(".bench-next").inner_text(), lambda shown: words in shown)


async def rows_of(tab: Tab, table: str) -> list[list[str]]:
    """Return what the cells of a table say."""
    script = """(name) => [...document.querySelectorAll(`.bench-rows[aria-label="${name}"] tbody tr`)]
        .map((line) => [...line.querySelectorAll('.row-cell')].map((one) => one.value))"""
    found: list[list[str]] = await tab.evaluate(script, table)
    return found


async def begin(tab: Tab, name: str) -> None:
    """Begin a template with a description and labels."""
    await tab.get_by_role("button", name="New template").click()
    await tab.get_by_role("textbox", name="Name").fill(name)
    await tab.keyboard.press("Enter")
    await tab.locator(".bench-description").fill("Good or bad?")
    await tab.get_by_label("What it does").select_option("classify")
    await tab.locator(".bench-query").fill("$input ->")


async def write(tab: Tab, name: str) -> None:
    """Write a whole template."""
    await begin(tab, name)
    await tab.get_by_role("button", name="Add an example").click()
    await paste(tab, EXAMPLES)
    await soon(lambda: rows_of(tab, "Examples"), lambda rows: len(rows) == 3)
    await tab.get_by_role("button", name="Take them from the rows").click()
    await tab.get_by_role("button", name="Add a test").click()
    await paste(tab, TESTS)
    await soon(lambda: rows_of(tab, "Tests"), lambda rows: len(rows) == 3)
    await next_step(tab, "Run the tests.")


async def run_tests(tab: Tab) -> None:
    await tab.get_by_role("tab", name="Test").click()
    await tab.get_by_role("button", name="Run the tests").click()
    await soon(tab.locator(".result").count, lambda number: number == 3)
    await soon(lambda: tab.locator(".bench-verdict").inner_text(), lambda words: "of 3 right" in words)


async def publish(tab: Tab, reason: str) -> None:
    await tab.get_by_role("button", name="Publish …").click()
    await tab.locator("dialog textarea").fill(reason)
    await tab.locator("dialog").get_by_role("button", name="Publish").click()
    await soon(tab.locator("dialog").count, lambda number: number == 0)


async def test_a_template_is_written_tested_published_used_and_rolled_back(
    open_page: ServePage, windows: Context
) -> None:
    async with open_page() as served:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await write(tab, "mood")
        assert await rows_of(tab, "Examples") == [["so fine", "good"], ["a loss", "bad"], ["yes", "good"]]
        await tab.sees("yes -> good", within=".bench-prompt")
        await run_tests(tab)
        wrong = await tab.locator(".result.is-wrong").count()
        await tab.get_by_role("button", name="Wrong (").click()
        assert await tab.locator(".result").count() == wrong
        if wrong:
            # The wrong test is found in its table, and its right answer changed.
            await tab.locator(".result.is-wrong .link").first().click()
            at = await tab.evaluate("() => document.activeElement.closest('tr').rowIndex - 1")
            rows = await rows_of(tab, "Tests")
            other = "bad" if rows[at][1] == "good" else "good"
            await tab.get_by_label(f"Right answer of test {at + 1}").select_option(other)
            await next_step(tab, f"{wrong - 1} of 3 tests" if wrong > 1 else "All tests are right")
        await publish(tab, "a first version")
        await tab.sees("version 1 · Ada", within=".bench-title")
        await tab.sees("accuracy", within='.bench-item[aria-current="page"]')
        await tab.get_by_role("link", name="general").click()
        await tab.get_by_label("Message #general").wait_for()
        await tab.says("!prompt mood what a day")
        await tab.locator(".message .bars").wait_for()

        await tab.get_by_role("link", name="Workbench").click()
        await tab.locator(".bench-item").get_by_text("mood", exact=True).click()
        await tab.locator(".bench-description").fill("How is somebody?")
        await is_saved(tab)
        await next_step(tab, "")
        await publish(tab, "clearer")
        await tab.sees("version 2 · Ada", within=".bench-title")
        await tab.get_by_role("tab", name="History").click()
        await tab.get_by_role("button", name="What changed in version 2").click()
        await tab.sees("+ How is somebody?", within=".bench-history")
        await tab.get_by_role("button", name="Roll back to version 1").click()
        await tab.locator("dialog").get_by_role("button", name="Roll back").click()
        await tab.sees("version 3 · Ada", within=".bench-title")
        await tab.get_by_role("tab", name="Write").click()
        assert await tab.locator(".bench-description").input_value() == "Good or bad?"


async def test_a_second_window_sees_it_all_and_both_changes_stay(open_page: ServePage, windows: Context) -> None:
    async with open_page() as served:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await begin(tab, "mood")
        await is_saved(tab)
        other = await open_bench(windows, served.origin, "mood")
        await tab.locator(".bench-instruction").fill("Moods of people.")
        await soon(lambda: other.locator(".bench-instruction").input_value(), lambda value: value == "Moods of people.")
        await other.get_by_role("button", name="Add a test").click()
        await other.keyboard.type("fun")
        await soon(lambda: rows_of(tab, "Tests"), lambda rows: rows == [["fun", ""]])
        assert await focused(other) == "Input of test 1"
        # A command in a channel is seen, too.
        chat = await windows.open(f"{served.origin}/")
        await chat.get_by_role("link", name="general").click()
        await chat.get_by_label("Message #general").wait_for()
        await other.keyboard.press("Control+Delete")
        await other.get_by_label("Labels").fill("good\nbad")
        await is_saved(other)
        await chat.says("!prompt examples mood add so fine => good")
        await soon(lambda: rows_of(tab, "Examples"), lambda rows: rows == [["so fine", "good"]])
        await soon(lambda: rows_of(other, "Examples"), lambda rows: rows == [["so fine", "good"]])


async def test_what_is_typed_survives_a_reload_and_a_restart(open_page: ServePage, windows: Context) -> None:
    async with open_page() as served:
        port = urlsplit(served.origin).port
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await begin(tab, "mood")
        await is_saved(tab)
        await tab.reload()
        await soon(lambda: value_of(tab, ".bench-description"), lambda value: value == "Good or bad?")
    await soon(lambda: tab.evaluate("() => document.body.dataset.connection"), lambda state: state == "waiting")
    await tab.locator(".bench-instruction").fill("typed while it was away")
    await soon(lambda: tab.locator(".bench-saving").inner_text(), lambda words: "no connection" in words)
    async with open_page(port=port):
        await is_saved(tab)
        await tab.reload()
        await soon(lambda: value_of(tab, ".bench-instruction"), lambda value: value == "typed while it was away")


async def test_a_template_is_written_by_keyboard_alone(open_page: ServePage, windows: Context) -> None:
    async with open_page() as served:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await begin(tab, "mood")
        await tab.get_by_label("Labels").fill("good\nbad")
        await tab.get_by_role("button", name="Add an example").focus()
        await tab.keyboard.press("Enter")
        assert await focused(tab) == "Input of example 1"
        for text, label in (("so fine", "g"), ("a loss", "b")):
            await tab.keyboard.type(text)
            await tab.keyboard.press("Tab")
            await tab.keyboard.type(label)
            await tab.keyboard.press("Enter")
        assert await focused(tab) == "Input of example 3"
        await tab.keyboard.type("x")
        await tab.keyboard.press("Control+Delete")
        assert await rows_of(tab, "Examples") == [["so fine", "good"], ["a loss", "bad"]]
        await tab.get_by_role("button", name="Undo the removal").focus()
        await tab.keyboard.press("Enter")
        assert await focused(tab) == "Input of example 3"
        await tab.keyboard.press("Alt+ArrowUp")
        await tab.keyboard.press("Alt+ArrowUp")
        assert await focused(tab) == "Input of example 1"
        assert [row[0] for row in await rows_of(tab, "Examples")] == ["x", "so fine", "a loss"]
        await tab.keyboard.press("ArrowDown")
        assert await focused(tab) == "Input of example 2"
        await tab.keyboard.press("Shift+Enter")
        assert await focused(tab) == "Input of example 2"
        await next_step(tab, "Example 1 has no output")


async def test_a_member_reads_and_proposes_and_a_moderator_accepts(open_page: ServePage, windows: Context) -> None:
    async with open_page() as served:
        async with served.window() as window:
            await window.ask("add_person", name="Ben", is_moderator=False)
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin, "sentiment")
        other = await open_bench(windows, served.origin)
        await other.get_by_role("button", name="You are Ada").click()
        await other.get_by_role("menuitemradio", name="Ben").click()
        await other.locator(".bench-item").get_by_text("sentiment", exact=True).click()
        await other.get_by_role("button", name="Propose an example …").click()
        assert not await other.locator(".bench-description").is_editable()
        assert await other.get_by_role("button", name="New template").count() == 0
        await other.locator("dialog textarea").fill("What a <b>lucky</b> day")
        await other.locator("dialog").get_by_role("button", name="Propose").click()
        await other.sees("Proposed as an example of sentiment.", within=".bench-news")
        await tab.sees("What a <b>lucky</b> day", within=".bench-proposals")
        await tab.get_by_role("button", name="As a test").click()
        await soon(lambda: rows_of(tab, "Tests"), lambda rows: rows == [["What a <b>lucky</b> day", "Positive"]])
        await soon(tab.locator(".bench-proposals").count, lambda number: number == 0)


async def test_two_moderators_publish_at_once_and_join_their_changes(open_page: ServePage, windows: Context) -> None:
    async with open_page() as served:
        async with served.window() as window:
            await window.ask("add_person", name="Ben", is_moderator=True)
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin, "sentiment")
        other = await open_bench(windows, served.origin)
        await other.get_by_role("button", name="You are Ada").click()
        await other.get_by_role("menuitemradio", name="Ben").click()
        await other.locator(".bench-item").get_by_text("sentiment", exact=True).click()
        await tab.sees("Ben is here, too.", within=".bench-others")
        await tab.locator(".bench-instruction").fill("How people feel.")
        await is_saved(tab)
        await other.locator(".bench-description").fill("How is somebody?")
        await is_saved(other)
        await soon(lambda: other.get_by_role("button", name="Publish …").is_enabled(), bool)
        await publish(other, "clearer")
        await tab.sees("Ben published version 1 of sentiment: clearer", within=".bench-news")
        await tab.get_by_role("button", name="Take these changes into my draft").click()
        await soon(lambda: value_of(tab, ".bench-description"), lambda value: value == "How is somebody?")
        assert await value_of(tab, ".bench-instruction") == "How people feel."
        await publish(tab, "both")
        await other.sees("Ada published version 2 of sentiment: both", within=".bench-news")
        await soon(lambda: value_of(other, ".bench-instruction"), lambda value: value == "How people feel.")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light"), (3840, "dark")])
async def test_axe_finds_nothing_in_the_workbench_and_nothing_is_wider_than_the_window(
    open_page: ServePage, browser: Browser, width: int, scheme: str
) -> None:
    options = {"viewport": {"width": width, "height": 800}, "colorScheme": scheme, "bypassCSP": True}
    async with open_page() as served, browser.context(**options) as windows:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await tab.locator(".bench-item").first().wait_for()
        await _check(tab, "the list")
        await write(tab, "mood")
        await _check(tab, "the editor")
        if width < 700:
            await tab.get_by_role("tab", name="Prompt").click()
            await tab.locator(".prompt-part").first().wait_for()
            await _check(tab, "the prompt")
        await run_tests(tab)
        await _check(tab, "the tests")
        await tab.get_by_role("button", name="Publish …").click()
        await tab.locator("dialog textarea").wait_for()
        await _check(tab, "publishing")
        await tab.locator("dialog").get_by_role("button", name="Publish").click()
        await tab.sees("version 1 · Ada", within=".bench-title")
        await tab.get_by_role("tab", name="History").click()
        await tab.locator(".bench-version").first().wait_for()
        await _check(tab, "the history")
        await tab.get_by_role("button", name="More", exact=True).click()
        await _check(tab, "the menu")
        await tab.get_by_role("menuitem", name="Import").click()
        await _check(tab, "the import")


async def _check(tab: Tab, view: str) -> None:
    assert await tab.accessibility_violations() == [], view
    wide = """() => [document.documentElement, document.body, ...document.querySelectorAll('.bench-body > *, .dialog')]
        .filter((one) => one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1).map((one) => one.className)"""
    assert await tab.evaluate(wide) == [], view


async def value_of(tab: Tab, selector: str) -> str:
    """Return what a field says, "" if it is not there."""
    return str(await tab.evaluate("(selector) => document.querySelector(selector)?.value ?? ''", selector))
