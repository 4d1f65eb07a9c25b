"""What is stored of a text on the page, and what is not: nothing typed is lost, nothing erased comes back."""

import json

import pytest

from tests.platforms.web.browser.browsing import Context, Tab, eventually
from tests.platforms.web.conftest import Served, ServePage
from tests.servers.page import Page
from tests.servers.page.cards import Json


async def test_what_a_person_lets_the_bot_forget_is_in_no_window_and_does_not_come_back(
    serve: ServePage, windows: Context
) -> None:
    async with serve() as served:
        tab = await _writing(served, windows, "my zebra text")
        chat = await windows.open(f"{served.origin}/")
        await chat.get_by_label("Message Fewshot").wait_for()
        await chat.says("/privacy --do forget-now")
        await chat.sees("Permanently erased")
        await eventually(tab.locator(".write-text").input_value, lambda value: value == "")
        await tab.reload()
        await _is_open(tab)
        await tab.locator(".write-text").press_sequentially("new")
        await eventually(lambda: _stored(served), lambda texts: texts == ["new"])
        assert await tab.locator(".write-text").input_value() == "new"


async def test_a_text_that_was_erased_while_its_window_was_away_does_not_come_back(
    serve: ServePage, windows: Context
) -> None:
    async with serve() as served:
        tab = await _writing(served, windows, "my zebra text")
        await served.talk.store.forget_person("web", await _person(served))
        await tab.reload()
        await _is_open(tab)
        await eventually(tab.locator(".write-text").input_value, lambda value: value == "")
        assert await _stored(served) == []


async def test_who_asks_not_to_be_read_while_writing_is_told_and_keeps_the_text(
    serve: ServePage, windows: Context
) -> None:
    async with serve() as served:
        tab = await _writing(served, windows, "Once upon a time")
        await served.talk.store.opt_out("web", await _person(served), is_out=True)
        await tab.locator(".write-text").press_sequentially(", long ago")
        await tab.sees("This text lives in this window only", within=".write-below")
        assert await tab.locator(".write-text").input_value() == "Once upon a time, long ago"


async def test_what_could_not_be_stored_is_not_left_for_another_branch(page: Page, windows: Context) -> None:
    page.writings.add("p1", "Once", "Once upon", "Once more")
    tab = await windows.open(f"{page.address}/#/write")
    await _is_open(tab)
    await tab.locator(".branch").nth(2).wait_for()
    page.refusals["save_writing"] = "A text may have 256 KB."
    await tab.locator(".write-text").press_sequentially(" and all that")
    await tab.sees("A text may have 256 KB.", within=".write-below")
    await tab.locator(".branch").nth(1).click()
    await tab.sees("A text may have 256 KB.", within=".write-hint")
    assert (await tab.locator(".write-text").input_value()).endswith(" and all that")
    # What makes room leaves the text as it is, and then it is stored.
    del page.refusals["save_writing"]
    await tab.locator(".branch").nth(1).focus()
    await tab.keyboard.press("Delete")
    await eventually(lambda: _saved(page), lambda texts: bool(texts) and texts[-1].endswith(" and all that"))
    assert (await tab.locator(".write-text").input_value()).endswith(" and all that")


async def test_a_text_that_another_window_removed_is_closed_here(serve: ServePage, windows: Context) -> None:
    async with serve() as served:
        tab = await _writing(served, windows, "a text")
        async with served.window() as other:
            (entry,) = (await other.ask("writings"))["writings"]
            await other.ask("remove_writing", id=entry["id"])
        await tab.sees("was removed", within=".write-below")
        assert await tab.locator(".write-text").input_value() == ""
        await tab.reload()
        await _is_open(tab)
        assert await _stored(served) == []


@pytest.mark.parametrize(
    ("text", "caret", "found"),
    [
        ("see 🦊 the fox", 8, {"before": "see 🦊 ", "word": "the"}),
        ("हिन्दी में", 2, {"before": "", "word": "हिन्दी"}),
        ("a cafe\u0301, b", 5, {"before": "a ", "word": "cafe\u0301"}),
        ("我喜欢苹果。", 3, {"before": "我", "word": "喜欢"}),
        ("我喜欢苹果。", 5, {"before": "我喜欢", "word": "苹果"}),
        ("say “hi”", 6, {"before": "say “", "word": "hi"}),
        ("a  b", 2, None),
    ],
)
async def test_the_word_at_the_caret_is_found_in_every_script(
    page: Page, windows: Context, text: str, caret: int, found: Json | None
) -> None:
    tab = await windows.open(f"{page.address}/#/write")
    place = f"{json.dumps(text)}, {caret}"
    script = f"async () => JSON.stringify((await import('/static/write/words.js')).wordAt({place}))"
    assert json.loads(await tab.evaluate(script)) == found


async def _writing(served: Served, windows: Context, text: str) -> Tab:
    """Open the view, type a text, and wait until it is stored."""
    tab = await windows.open(f"{served.address}#/write")
    await _is_open(tab)
    await tab.locator(".write-text").press_sequentially(text)
    await eventually(lambda: _stored(served), lambda texts: texts == [text])
    return tab


async def _is_open(tab: Tab) -> None:
    await eventually(lambda: tab.evaluate("() => document.body.dataset.connection"), lambda state: state == "open")


async def _person(served: Served) -> str:
    return str(served.page.places.first_person.id)


async def _stored(served: Served) -> list[str]:
    """Return the stored texts of the first person."""
    owner = await _person(served)
    entries = await served.page.writings.list(owner)
    return [(await served.page.writings.get(owner, one.id)).text for one in entries]


async def _saved(page: Page) -> list[str]:
    return [one["text"] for one in page.asked if one["op"] == "save_writing"]


async def test_a_text_that_is_too_large_to_send_is_refused_and_the_page_goes_on(
    serve: ServePage, windows: Context
) -> None:
    async with serve() as served:
        tab = await _writing(served, windows, "Once")
        await tab.evaluate(
            """() => {
                const area = document.querySelector('.write-text');
                area.value = '天'.repeat(900000);
                area.dispatchEvent(new Event('input', { bubbles: true }));
            }"""
        )
        await tab.sees("too large to send", within=".write-below")
        await tab.locator(".write-text").fill("Once more")
        await eventually(lambda: _stored(served), lambda texts: texts == ["Once more"])
        assert await tab.evaluate("() => document.body.dataset.connection") == "open"


async def test_what_another_window_wrote_is_shown_though_this_one_waits_for_an_answer(
    page: Page, windows: Context
) -> None:
    text = page.writings.add("p1", "Once")
    tab = await windows.open(f"{page.address}/#/write")
    await eventually(tab.locator(".write-text").input_value, lambda value: value == "Once")
    page.hold("writings")
    window = page.windows[-1]
    num_before = len([one for one in page.asked if one["op"] == "writings"])
    await window.send({"op": "writings"})
    await eventually(lambda: _num_lists(page), lambda number: number > num_before)
    page.writings._branch(text, "Once more")
    text["revision"] += 1
    await window.send({"op": "writing", "writing": page.writings._shown(text)})
    page.release("writings")
    await eventually(tab.locator(".write-text").input_value, lambda value: value == "Once more")


async def _num_lists(page: Page) -> int:
    return len([one for one in page.asked if one["op"] == "writings"])
