"""The page without a mouse, without seeing it, on small and large screens, dark and light."""

import pytest

from tests.platforms.web.browser.browsing import Browser, Context, Tab, eventually
from tests.platforms.web.browser.test_talking import focused
from tests.servers.page import Page, cards
from tests.servers.page.cards import card, text


@pytest.fixture
def full_page(page: Page) -> Page:
    """Return a page whose first channel has every kind of message."""
    page.add("Ben", "Good morning. " * 20, minutes_ago=3000)
    root = page.add("Ben", "https://example.org/" + "very-long" * 30, minutes_ago=30, num_replies=1)
    page.add("Ada", "a reply in the thread", minutes_ago=29, thread=root["id"])
    page.add("Ada", "a file", file_name="rows.csv", minutes_ago=28, reply_to=root["id"], is_edited=True)
    names = ["template", "kind", "where from", "how often right", "what for"]
    wide = {
        "type": "table",
        "columns": names,
        "rows": [["sentiment", "classify", "built-in", "not measured", "x" * 300]],
    }
    busy = card(text("Measuring."), {"type": "progress", "what": "rows", "num_done": 0, "num_total": None})
    shown = (
        cards.PERPLEXITY,
        cards.COMPARE,
        cards.NEXT,
        cards.COMPLETE,
        cards.STRATEGIES,
        cards.HELP,
        cards.EXPORT,
        card(wide),
        {**busy, "is_final": False, "stop_id": "1"},
        card(error="Temperature takes a number from 0 to 5, not 'hot'."),
    )
    for i, one in enumerate(shown):
        page.add("bot", "", card=one, minutes_ago=20 - i)
    return page


# Each colour scheme and each layout once.
@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark"), (3840, "light")])
async def test_axe_finds_nothing_in_any_view_and_nothing_is_wider_than_the_window(
    full_page: Page, browser: Browser, width: int, scheme: str
) -> None:
    is_narrow = width < 700
    async with browser.context(viewport={"width": width, "height": 800}, colorScheme=scheme) as windows:
        tab = await windows.open(full_page.channel_address)
        await tab.locator(".message").first().wait_for()
        await _check(tab, "the channel")
        await tab.locator(".main .scroller").evaluate("e => { e.scrollTop = 0; }")
        await _check(tab, "the older messages")
        await tab.locator(".main .composer-text").press_sequentially("/p")
        await tab.get_by_role("option", name="/perplexity").wait_for()
        await _check(tab, "the list of commands")
        await tab.locator(".main .composer-text").fill("")
        if is_narrow:
            await tab.get_by_role("button", name="What the model reads").click()
            await tab.sees("128 of 2,048")
            await _check(tab, "what the model reads")
            await tab.keyboard.press("Escape")
            await tab.get_by_role("button", name="Servers and channels").click()
        await tab.get_by_role("button", name="You are Ada").click()
        await _check(tab, "the people")
        await tab.keyboard.press("Escape")
        await tab.keyboard.press("Escape")
        await tab.get_by_role("button", name="1 reply").click()
        await tab.sees("a reply in the thread")
        await _check(tab, "a thread")
        await tab.get_by_role("button", name="Close the thread").click()
        await tab.says("/prompt new")
        await tab.get_by_role("textbox", name="Name").wait_for()
        await _check(tab, "a form")
        await tab.keyboard.press("Escape")
        await tab.says("/why")
        await tab.sees("Only you can see this")
        await _check(tab, "a private card")
        await tab.evaluate("() => { location.hash = '#/write'; }")
        await tab.locator(".write-text").press_sequentially("Once upon a time")
        await tab.keyboard.press("Tab")
        await tab.locator(".write-offer").first().wait_for()
        await tab.keyboard.press("ArrowDown")
        await _check(tab, "Write")
        await tab.keyboard.press("Escape")
        await tab.get_by_role("button", name="Tint").click()
        await tab.locator(".tinted").first().wait_for()
        if width < 1100:
            await tab.get_by_role("button", name="Word, sampling and branches").click()
        await tab.locator(".instead-word").first().wait_for()
        await tab.get_by_role("treeitem").first().wait_for()
        await _check(tab, "the tools of Write")
        if width < 1100:
            await tab.keyboard.press("Escape")
        await tab.get_by_role("button", name="Show me all").click()
        await tab.sees("by wild means.")
        await _check(tab, "the five ways")


async def _check(tab: Tab, view: str) -> None:
    assert await tab.accessibility_violations() == [], view
    wide = "() => document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth"
    assert await tab.evaluate(wide), view
    inside = """() => [...document.querySelectorAll(
            '.main .list, .side .list, .places-list, .panel-body, .write-body, .strategies')]
        .filter((one) => one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1).map((one) => one.className)"""
    assert await tab.evaluate(inside) == [], view


async def test_a_conversation_by_keyboard_alone(page: Page, windows: Context) -> None:
    page.add("bot", "", card={**cards.COMPLETE, "card_id": "k"})
    page.add("Ben", "first")
    newest = page.add("Ben", "second")
    tab = await windows.open(page.channel_address)
    await tab.locator(".message").nth(2).wait_for()
    for _ in range(30):
        await tab.keyboard.press("Tab")
        if await focused(tab) == "Message #general":
            break
    assert await focused(tab) == "Message #general"
    # Back from the composer is the newest message, with what can be done to it.
    await tab.keyboard.press("Shift+Tab")
    await tab.keyboard.press("Shift+Tab")
    assert await tab.evaluate("() => document.activeElement.dataset.id") == newest["id"]
    for name in ("Reply", "Open a thread", "Delete"):
        await tab.keyboard.press("Tab")
        assert await focused(tab) == name
    await tab.get_by_role("article").last().focus()
    await tab.keyboard.press("ArrowUp")
    await tab.keyboard.press("ArrowUp")
    await tab.keyboard.press("Tab")
    assert await focused(tab) == "Preset: normal"
    await tab.keyboard.press("Tab")
    await tab.keyboard.press("Space")
    await tab.sees("You chose 1.")
    await tab.keyboard.press("Escape")
    await tab.keyboard.press("Escape")
    assert await focused(tab) == "Message #general"
    await tab.keyboard.type("done")
    await tab.keyboard.press("Enter")
    await tab.sees("done", within=".message")


async def test_what_has_the_focus_can_be_seen(page: Page, windows: Context) -> None:
    page.add("bot", "", card={**cards.COMPLETE, "card_id": "k"})
    page.add("bot", "", card=cards.PERPLEXITY)
    tab = await windows.open(page.channel_address)
    await tab.locator(".message").nth(1).wait_for()
    seen = set()
    for _ in range(25):
        await tab.keyboard.press("Tab")
        name, is_marked = await tab.evaluate(
            """() => {
                const one = document.activeElement;
                const row = one.closest('.composer-row');
                const style = getComputedStyle(row ?? one);
                const mark = style.outlineStyle !== 'none' || style.boxShadow !== 'none' || one === document.body;
                return [one.outerHTML.slice(0, 80), mark];
            }"""
        )
        assert is_marked, name
        seen.add(name)
    assert len(seen) > 8


async def test_a_drawer_takes_the_focus_and_gives_it_back(page: Page, browser: Browser) -> None:
    async with browser.context(viewport={"width": 360, "height": 700}) as windows:
        tab = await windows.open(page.channel_address)
        await tab.get_by_label("Message #general").wait_for()
        await tab.get_by_role("button", name="Servers and channels").focus()
        await tab.keyboard.press("Enter")
        assert (await focused(tab)).endswith("general")
        for _ in range(12):
            await tab.keyboard.press("Tab")
            inside = "() => document.activeElement === document.body || !!document.activeElement.closest('.places')"
            assert await tab.evaluate(inside)
        await tab.get_by_role("link", name="general").focus()
        await tab.keyboard.press("Escape")
        await eventually(lambda: focused(tab), lambda name: name == "Servers and channels")
        assert await tab.get_by_role("link", name="general").count() == 0


async def test_nothing_moves_for_who_wants_no_motion(page: Page, windows: Context) -> None:
    page.add("bot", "", card=card(text("Paris", is_model_text=True), is_final=False, stop_id="1"))
    tab = await windows.open(page.channel_address)
    await tab.sees("Paris")
    assert await tab.evaluate("() => document.getAnimations().length") == 0
