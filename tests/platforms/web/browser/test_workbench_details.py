"""The less usual ways through the workbench: files, hostile texts, the same field changed twice, a search, deletion."""

from tests.bots import MOOD
from tests.platforms.web.browser.browsing import Browser, Context, Tab
from tests.platforms.web.browser.test_talking import focused
from tests.platforms.web.browser.test_workbench import (
    begin,
    is_saved,
    log_in,
    next_step,
    open_bench,
    paste,
    publish,
    rows_of,
    soon,
    value_of,
    write,
)
from tests.platforms.web.conftest import ServePage

# Frames wait in the page, and are sent together.
HOLD = """() => {
    window.held = [];
    window.send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (frame) { window.held.push(() => window.send.call(this, frame)); };
}"""
RELEASE = """() => {
    WebSocket.prototype.send = window.send;
    for (const send of window.held) send();
}"""


async def drop(tab: Tab, name: str, text: str) -> None:
    """Drop a file on the workbench."""
    script = """(given) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([given.text], given.name, { type: 'text/plain' }));
        const event = new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true });
        document.querySelector('.bench-editor').dispatchEvent(event);
    }"""
    await tab.evaluate(script, {"name": name, "text": text})


async def choose(tab: Tab, item: str) -> None:
    """Choose in the template's menu."""
    await tab.get_by_role("button", name="More", exact=True).click()
    await tab.get_by_role("menuitem", name=item).click()


async def test_files_of_rows_and_templates_are_dropped_and_a_wrong_one_changes_nothing(
    open_page: ServePage, windows: Context
) -> None:
    async with open_page() as served:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await begin(tab, "mood")
        await tab.get_by_label("Labels").fill("good\nbad")
        await drop(tab, "rows.csv", "text,label\nso fine,good\na loss,god\n")
        await tab.locator("dialog").get_by_role("button", name="Import").click()
        await tab.sees("Line 3", within="dialog .problem")
        await tab.locator("dialog textarea").fill("text,label\nso fine,good\na loss,bad\n")
        await tab.locator("dialog").get_by_role("button", name="Import").click()
        await soon(lambda: rows_of(tab, "Examples"), lambda rows: rows == [["so fine", "good"], ["a loss", "bad"]])
        await drop(tab, "rows.jsonl", '{"text": "fun", "label": "good"}')
        await tab.locator("dialog select").select_option("tests")
        await tab.locator("dialog").get_by_role("button", name="Import").click()
        await soon(lambda: rows_of(tab, "Tests"), lambda rows: rows == [["fun", "good"]])
        await is_saved(tab)
        await drop(tab, "mood.prompt", MOOD)
        await soon(lambda: value_of(tab, "dialog select"), lambda value: value == "template")
        await tab.locator("dialog").get_by_role("button", name="Import").click()
        await soon(lambda: rows_of(tab, "Tests"), lambda rows: len(rows) == 6)
        assert await value_of(tab, ".bench-query") == "$input ->"


async def test_hostile_texts_are_only_texts(open_page: ServePage, windows: Context) -> None:
    hostile = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
    async with open_page() as served:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await begin(tab, "mood")
        await tab.locator(".bench-description").fill(hostile)
        await tab.locator(".bench-instruction").fill(hostile)
        await tab.get_by_label("Labels").fill(f"{hostile}\nbad")
        await tab.get_by_role("button", name="Add an example").click()
        await tab.keyboard.type(hostile)
        await tab.get_by_label("Right answer of example 1").select_option(hostile)
        await tab.sees(hostile, within=".bench-prompt")
        await is_saved(tab)
        await publish(tab, hostile)
        await tab.get_by_role("tab", name="History").click()
        await tab.sees(hostile, within=".bench-versions")
        assert await tab.locator(".bench img, .bench script").count() == 0
        assert "Workbench" in await tab.evaluate("() => document.title")
        await tab.reload()
        await soon(lambda: value_of(tab, ".bench-instruction"), lambda value: value == hostile)


async def test_a_field_that_two_windows_changed_is_shown_with_both_texts(
    open_page: ServePage, windows: Context
) -> None:
    async with open_page() as served:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await begin(tab, "mood")
        await is_saved(tab)
        other = await open_bench(windows, served.origin, "mood")
        # Both have typed before either is saved.
        for one in (tab, other):
            await one.evaluate(HOLD)
        await tab.locator(".bench-instruction").fill("first")
        await other.locator(".bench-instruction").fill("second")
        for one in (tab, other):
            await one.evaluate(RELEASE)
        await tab.locator(".bench-description").fill("And then?")
        await other.locator(".bench-query").fill("Say $input:")
        boxes = [one.locator(".bench-others").get_by_text("was changed elsewhere, too") for one in (tab, other)]
        await soon(lambda: _sum(boxes), lambda number: number > 0)
        clashed = tab if await boxes[0].count() else other
        await clashed.get_by_role("button", name="Take that").first().click()
        await soon(lambda: _values(tab, other), lambda values: len(set(values)) == 1 and "" not in values)
        assert await value_of(other, ".bench-description") == "And then?"
        assert await value_of(tab, ".bench-query") == "Say $input:"


async def _sum(boxes: list[Tab]) -> int:
    return sum([await one.count() for one in boxes])


async def _values(*tabs: Tab) -> list[str]:
    return [await value_of(one, ".bench-instruction") for one in tabs]


async def test_a_search_for_better_examples_says_what_it_found(open_page: ServePage, windows: Context) -> None:
    async with open_page() as served:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await write(tab, "mood")
        await choose(tab, "Search for better examples")
        await soon(
            lambda: tab.locator("dialog [role=status]").inner_text(),
            lambda words: "changed" in words,
        )
        assert await tab.accessibility_violations() == []
        await tab.locator("dialog").get_by_role("button", name="Cancel").click()
        assert len(await rows_of(tab, "Examples")) == 3


async def test_a_template_is_deleted_and_a_draft_discarded(open_page: ServePage, windows: Context) -> None:
    async with open_page() as served:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await write(tab, "mood")
        await publish(tab, "")
        await tab.sees("version 1 · Ada", within=".bench-title")
        await tab.locator(".bench-description").fill("Something else")
        await is_saved(tab)
        await choose(tab, "Discard my draft")
        await tab.locator("dialog").get_by_role("button", name="Discard").click()
        await soon(lambda: value_of(tab, ".bench-description"), lambda value: value == "Good or bad?")
        await choose(tab, "Delete the template")
        await tab.locator("dialog").get_by_role("button", name="Delete").click()
        await soon(tab.locator(".bench-item").get_by_text("mood", exact=True).count, lambda number: number == 0)
        await tab.sees("Choose a template")


async def test_free_text_is_tested_and_the_model_asked_about_a_test(open_page: ServePage, windows: Context) -> None:
    async with open_page() as served:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin, "translate-en-fr")
        await tab.get_by_label("Options").fill("max_new_tokens 4")
        await tab.get_by_role("button", name="Add a test").click()
        await tab.keyboard.type("dog")
        await tab.keyboard.press("Tab")
        await tab.keyboard.type("chien")
        await next_step(tab, "Add two or more examples")
        await tab.get_by_role("tab", name="Test").click()
        await tab.get_by_role("button", name="Run the tests").click()
        await tab.sees("bits for the right answer", within=".result-table")
        await tab.get_by_role("button", name="Ask the model about test 1").click()
        await tab.locator(".bench-answer .model-text").wait_for()
        assert await value_of(tab, "#bench-try") == "dog"


async def test_the_focus_goes_into_a_new_template_and_publishing_keeps_the_view(
    open_page: ServePage, windows: Context
) -> None:
    async with open_page() as served:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await tab.get_by_role("button", name="New template").click()
        await tab.keyboard.type("mood")
        await tab.keyboard.press("Enter")
        await soon(lambda: _focused_class(tab), lambda name: "bench-description" in name)
        await tab.locator('.bench-item[aria-current="page"]').wait_for()
        other = await open_bench(windows, served.origin)
        await write(other, "tone")
        await other.get_by_role("tab", name="History").click()
        await publish(other, "First")
        await other.sees("version 1 · Ada", within=".bench-title")
        assert await other.get_by_role("tab", name="History").get_attribute("aria-selected") == "true"
        await other.get_by_role("tab", name="Write").click()
        await other.locator(".bench-description").fill("Which tone?")
        await is_saved(other)
        await publish(other, "Second")
        await other.get_by_role("tab", name="History").click()
        await other.get_by_role("button", name="Roll back to version 1").click()
        await other.locator("dialog").get_by_role("button", name="Roll back").click()
        await other.sees("version 3 · Ada", within=".bench-title")
        await other.sees("rolled back", within=".bench-versions")
        assert await focused(other) == "Roll back to version 1"


async def test_on_a_narrow_window_the_focus_goes_where_the_list_was(open_page: ServePage, browser: Browser) -> None:
    async with open_page() as served, browser.context(viewport={"width": 360, "height": 720}) as windows:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin, "translate-en-fr")
        await soon(lambda: focused(tab), lambda name: name == "translate-en-fr")
        await tab.get_by_role("link", name="All templates").click()
        await soon(lambda: _focused_class(tab), lambda name: "bench-item" in name)


async def _focused_class(tab: Tab) -> str:
    found: str = await tab.evaluate("() => document.activeElement.className")
    return found


async def test_more_rows_than_a_template_can_have_are_not_pasted(serve: ServePage, windows: Context) -> None:
    async with serve() as served:
        await log_in(windows, served.address)
        tab = await open_bench(windows, served.origin)
        await begin(tab, "mood")
        await tab.get_by_role("button", name="Add an example").click()
        await paste(tab, "a\tgood\n" * 30_000)
        await tab.sees("That makes 30,000 rows, at most 2,000. Paste a part of them.", within=".bench-rows .problem")
        assert len(await rows_of(tab, "Examples")) == 1
        await paste(tab, "a\tgood\nb\tbad\n")
        await soon(lambda: rows_of(tab, "Examples"), lambda rows: len(rows) == 2)
        assert await tab.locator(".bench-rows .problem").nth(0).is_hidden()
