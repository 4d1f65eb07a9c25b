"""The view for a text: TAB shows how it may go on."""

from tests.platforms.web.browser.browsing import Context, Tab, eventually
from tests.platforms.web.browser.test_talking import focused
from tests.servers.page import Page
from tests.servers.page.cards import Json

FIRST = [" there was a fox.", " a girl sang.", " it rained."]


async def test_tab_shows_the_first_continuation_in_grey_and_all_as_a_list(page: Page, windows: Context) -> None:
    tab = await opened(page, windows, "Once upon a time")
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").nth(2).wait_for()
    assert await tab.locator(".ghost").inner_text() == FIRST[0]
    asked = _continued(page)[-1]
    assert (asked["text"], asked["num"]) == ("Once upon a time", 3)
    assert await tab.locator(".write-text").input_value() == "Once upon a time"


async def test_tab_again_adds_longer_ones_and_the_old_ones_stay(page: Page, windows: Context) -> None:
    tab = await opened(page, windows, "Once upon a time")
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").nth(2).wait_for()
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").nth(5).wait_for()
    offers = await tab.locator(".write-offer").all_inner_texts()
    assert [one.split("\n")[-1].strip() for one in offers[:3]] == [one.strip() for one in FIRST]
    first, second = (one["max_new_tokens"] for one in _continued(page))
    assert second > first


async def test_two_tabs_at_once_bring_both_rounds(page: Page, windows: Context) -> None:
    page.hold("continue")
    tab = await opened(page, windows, "Once upon a time")
    await tab.keyboard.press("Tab")
    await tab.keyboard.press("Tab")
    await eventually(lambda: _num_asked(page), lambda number: number == 2)
    page.writings.continuations = lambda asked: [f" of {asked['max_new_tokens']}"]
    page.release("continue")
    await tab.locator(".write-offer").nth(1).wait_for()
    assert [one.split()[-1] for one in await tab.locator(".write-offer").all_inner_texts()] == ["10", "24"]


async def test_a_digit_takes_its_continuation_and_undo_brings_the_text_back(page: Page, windows: Context) -> None:
    tab = await opened(page, windows, "Once upon a time")
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").nth(2).wait_for()
    await tab.keyboard.press("2")
    assert await tab.locator(".write-text").input_value() == "Once upon a time a girl sang."
    assert await tab.locator(".write-offer").count() == 0
    await tab.keyboard.press("Control+z")
    assert await tab.locator(".write-text").input_value() == "Once upon a time"


async def test_arrows_and_enter_choose_and_the_right_arrow_takes_the_grey_text(page: Page, windows: Context) -> None:
    tab = await opened(page, windows, "Once upon a time")
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").nth(2).wait_for()
    for _ in range(3):
        await tab.keyboard.press("ArrowDown")
    assert await tab.locator('.write-offer[aria-selected="true"]').inner_text() == "3\nit rained."
    assert await tab.locator(".ghost").inner_text() == FIRST[2]
    await tab.keyboard.press("Enter")
    assert await tab.locator(".write-text").input_value() == "Once upon a time it rained."
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").nth(2).wait_for()
    await tab.keyboard.press("ArrowRight")
    assert await tab.locator(".write-text").input_value() == "Once upon a time it rained. there was a fox."


async def test_typing_what_was_offered_keeps_it_and_anything_else_drops_it(page: Page, windows: Context) -> None:
    tab = await opened(page, windows, "Once upon a time")
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").nth(2).wait_for()
    await tab.keyboard.type(" there")
    assert await tab.locator(".write-offer").all_inner_texts() == ["1\nwas a fox."]
    await tab.keyboard.type("x")
    assert await tab.locator(".write-offer").count() == 0
    assert await tab.locator(".ghost").count() == 0


async def test_an_answer_for_an_older_text_is_dropped_and_typing_never_waits(page: Page, windows: Context) -> None:
    page.hold("continue")
    tab = await opened(page, windows, "Once upon a time")
    await tab.keyboard.press("Tab")
    await tab.sees("Writing …")
    await tab.keyboard.type(", long ago")
    assert await tab.locator(".write-text").input_value() == "Once upon a time, long ago"
    page.release("continue")
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").nth(2).wait_for()
    assert await tab.locator(".write-offer").count() == 3
    assert _continued(page)[-1]["text"] == "Once upon a time, long ago"


async def test_esc_closes_the_list_and_then_tab_leaves_the_text(page: Page, windows: Context) -> None:
    tab = await opened(page, windows, "Once upon a time")
    await tab.keyboard.press("Tab")
    await tab.locator(".write-offer").nth(2).wait_for()
    await tab.keyboard.press("Escape")
    assert await tab.locator(".write-offer").count() == 0
    await tab.keyboard.press("Escape")
    await tab.keyboard.press("Tab")
    assert await focused(tab) != "Your text"


async def test_a_text_stays_over_a_reload(page: Page, windows: Context) -> None:
    tab = await opened(page, windows, "Once upon a time")
    await tab.reload()
    await eventually(tab.locator(".write-text").input_value, lambda value: value == "Once upon a time")


async def test_a_refusal_is_said_and_nothing_is_lost(page: Page, windows: Context) -> None:
    page.refusals["continue"] = "The model is busy. Try again in a moment."
    tab = await opened(page, windows, "Once upon a time")
    await tab.keyboard.press("Tab")
    await tab.sees("The model is busy. Try again in a moment.", within=".write-below")
    assert await tab.locator(".write-text").input_value() == "Once upon a time"


async def _num_asked(page: Page) -> int:
    return len(_continued(page))


def _continued(page: Page) -> list[Json]:
    """Return what was asked to be continued."""
    return [one for one in page.asked if one["op"] == "continue"]


async def opened(page: Page, windows: Context, text: str) -> Tab:
    """Open the view, type a text, and let the bot know how to go on."""

    def go_on(asked: Json) -> list[str]:
        rounds = sum(one["op"] == "continue" and one["text"] == asked["text"] for one in page.asked)
        return [one if rounds == 1 else f"{one} Then{' more' * rounds}." for one in FIRST]

    page.writings.continuations = go_on
    tab = await windows.open(f"{page.address}/#/write")
    await eventually(lambda: tab.evaluate("() => document.body.dataset.connection"), lambda state: state == "open")
    await tab.locator(".write-text").press_sequentially(text)
    return tab
