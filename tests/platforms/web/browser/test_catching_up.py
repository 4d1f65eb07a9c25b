"""Windows stay in step with the bot: lost connections, many messages, several windows."""

import pytest

from tests.platforms.web.browser.browsing import Context, Tab, eventually
from tests.servers.page import Page

COMPOSER = ".main .composer-text"


async def test_a_lost_connection_comes_back_with_what_changed_meanwhile(page: Page, windows: Context) -> None:
    gone = page.add("Ben", "to be deleted", minutes_ago=3)
    changed = page.add("Ben", "helo", minutes_ago=2)
    tab = await windows.open(page.channel_address)
    await tab.sees("helo")
    del page.messages[gone["id"]]
    changed.update(text="hello", revision=2)
    page.add("Ben", "said while you were away")
    await page.drop()
    await tab.sees("said while you were away")
    assert await tab.texts(".message .text") == ["hello", "said while you were away"]


async def test_what_was_said_without_a_connection_is_said_once_when_it_is_back(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.get_by_label("Message #general").wait_for()
    page.refuses_connections = True
    await page.drop()
    await eventually(lambda: tab.evaluate("() => document.body.dataset.connection"), lambda state: state == "waiting")
    await tab.says("are you there?")
    await tab.sees("Sending …")
    page.refuses_connections = False
    await tab.locator(".message:not(.is-pending) .text").wait_for()
    await eventually(tab.locator(".is-pending").count, lambda count: count == 0)
    assert [one["text"] for one in page.messages.values()] == ["are you there?"]


async def test_an_answer_that_was_lost_on_the_way_does_not_double_what_was_said(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.get_by_label("Message #general").wait_for()
    page.drops_answers_to.add("say")
    await tab.says("once")
    await eventually(tab.locator(".is-pending").count, lambda count: count == 0)
    assert len(page.say_requests()) == 2
    assert [one["text"] for one in page.messages.values()] == ["once"]
    assert await tab.texts(".message .text") == ["once"]


async def test_what_is_being_sent_survives_a_reload(page: Page, windows: Context) -> None:
    tab = await windows.open(page.channel_address)
    await tab.get_by_label("Message #general").wait_for()
    page.refuses_connections = True
    await page.drop()
    await tab.says("do not lose this")
    await tab.reload()
    await tab.locator(COMPOSER).wait_for()
    page.refuses_connections = False
    await tab.locator(".message:not(.is-pending) .text").wait_for()
    assert [one["text"] for one in page.messages.values()] == ["do not lose this"]


@pytest.mark.parametrize("code", [4008, 1009])
async def test_what_is_too_much_is_not_sent_again_by_itself(page: Page, windows: Context, code: int) -> None:
    tab = await windows.open(page.channel_address)
    await tab.get_by_label("Message #general").wait_for()
    page.closes_at["say"] = code
    await tab.says("far too much")
    await tab.get_by_role("button", name="Connect again").wait_for()
    await tab.sees("This was too much at once", within=".refused")
    assert len(page.say_requests()) == 1
    page.closes_at.clear()
    await tab.get_by_role("button", name="Connect again").click()
    await eventually(lambda: tab.evaluate("() => document.body.dataset.connection"), lambda state: state == "open")
    assert len(page.say_requests()) == 1


async def test_a_window_without_a_login_says_where_to_get_one(page: Page, windows: Context) -> None:
    page.is_open = False
    tab = await windows.open(page.channel_address)
    await tab.sees("Open the address that the program printed.")


async def test_the_list_stays_at_its_end_only_if_it_was_there(page: Page, windows: Context) -> None:
    for i in range(40):
        page.add("Ben", f"message {i}", minutes_ago=40 - i)
    tab = await windows.open(page.channel_address)
    await tab.sees("message 39")
    await page.say("Ben", "at the end")
    await tab.sees("at the end")
    assert await distance_to_end(tab) < 2
    await tab.locator(".main .scroller").evaluate("e => { e.scrollTop -= 400; }")
    before = await place_of(tab, "message 25")
    await page.say("Ben", "while reading")
    await eventually(lambda: tab.texts(".message .text"), lambda texts: texts[-1] == "while reading")
    assert abs(await place_of(tab, "message 25") - before) < 2
    await tab.get_by_role("button", name="Newest messages").click()
    await eventually(lambda: distance_to_end(tab), lambda distance: distance < 2)


async def test_a_message_that_grows_above_does_not_move_what_is_read(page: Page, windows: Context) -> None:
    first = page.add("Ben", "short", minutes_ago=60)
    for i in range(40):
        page.add("Ben", f"message {i}", minutes_ago=40 - i)
    tab = await windows.open(page.channel_address)
    await tab.locator(".main .scroller").evaluate("e => { e.scrollTop = 300; }")
    before = await place_of(tab, "message 12")
    await page.change(first, text="a long text\n" * 12)
    await eventually(lambda: tab.texts(".message .text"), lambda texts: texts[0] != "short")
    assert abs(await place_of(tab, "message 12") - before) < 2


async def test_older_messages_come_while_scrolling_and_the_page_keeps_a_bounded_number(
    page: Page, windows: Context
) -> None:
    for i in range(700):
        page.add("Ben", f"message {i}", minutes_ago=700 - i)
    tab = await windows.open(page.channel_address)
    await tab.sees("message 699")
    most = 0
    for _ in range(80):
        await tab.locator(".main .scroller").evaluate("e => { e.scrollTop = 0; }")
        texts = await tab.texts(".message .text")
        most = max(most, len(texts))
        if texts[0] == "message 0":
            break
    assert texts[0] == "message 0"
    assert most <= 350
    numbers = [int(one.split()[1]) for one in texts]
    assert numbers == list(range(len(numbers)))
    await tab.get_by_role("button", name="Newest messages").click()
    await tab.sees("message 699")
    assert await distance_to_end(tab) < 2


async def test_several_windows_show_the_same_in_the_same_order(page: Page, windows: Context) -> None:
    tabs = [await windows.open(page.channel_address) for _ in range(6)]
    for i in range(30):
        await page.say("Ben", f"message {i}")
    wanted = [f"message {i}" for i in range(30)]
    for tab in tabs:
        await eventually(lambda tab=tab: tab.texts(".message .text"), lambda texts: texts == wanted)


async def test_an_old_revision_never_replaces_a_newer_one(page: Page, windows: Context) -> None:
    message = page.add("Ben", "new", revision=5)
    tab = await windows.open(page.channel_address)
    await tab.sees("new")
    await page.tell("c1", {"op": "message", "message": {**message, "text": "old", "revision": 4}})
    await page.say("Ben", "next")
    await tab.sees("next")
    assert await tab.texts(".message .text") == ["new", "next"]


async def distance_to_end(tab: Tab) -> float:
    """Return how many pixels are below what is seen."""
    return float(await tab.locator(".main .scroller").evaluate("e => e.scrollHeight - e.scrollTop - e.clientHeight"))


async def place_of(tab: Tab, words: str) -> float:
    """Return where a text is on the screen."""
    return float((await tab.get_by_text(words, exact=True).bounding_box())["y"])
