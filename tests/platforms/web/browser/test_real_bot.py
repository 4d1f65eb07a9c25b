"""The page in a real browser with the real bot behind it, on a scripted engine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bot.platforms.web.running import hold_port, serve_page
from bot.platforms.web.traits import WEB
from bot.services.ledger import Delivery
from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.web.browser.browsing import Context, Tab, eventually
from tests.platforms.web.conftest import ServePage

ANSWER = "The capital of France is Paris, and it has been for a long time."


async def test_an_answer_streams_into_every_window_and_stays_after_a_reload(serve: ServePage, windows: Context) -> None:
    async with serve([ANSWER], pause_s=0.01) as served:
        tab = await windows.open(served.address)
        other = await windows.open(served.address)
        for one in (tab, other):
            await one.get_by_role("link", name="general").click()
            await one.get_by_label("Message #general").wait_for()
        await tab.says("@Fewshot what is the capital of France?")
        for one in (tab, other):
            await one.get_by_role("button", name="Again").wait_for()
            assert await one.texts(".message .model-text, .message .says") == [ANSWER]
            assert len(await one.texts(".message .text")) == 1
        await tab.reload()
        await tab.get_by_role("button", name="Again").wait_for()
        assert await tab.texts(".message .model-text, .message .says") == [ANSWER]


async def test_the_bot_restarts_and_nothing_is_lost_or_doubled(tmp_path: Path, windows: Context) -> None:
    async with _serving(tmp_path, 0) as address:
        port = urlsplit(address).port
        tab = await windows.open(address)
        await tab.get_by_label("Message Fewshot").wait_for()
        await tab.says("before")
        await tab.get_by_role("button", name="Again").wait_for()
    await eventually(lambda: _state(tab), lambda state: state == "waiting")
    await tab.says("while it was away")
    async with _serving(tmp_path, port or 0):
        await eventually(lambda: tab.locator(".message .badge").count(), lambda count: count == 2)
        await eventually(tab.locator(".is-pending, .is-growing").count, lambda count: count == 0)
        assert await tab.texts(".message .text") == ["before", "while it was away"]


async def test_a_command_for_one_person_leaves_nothing_behind_that_is_still_being_sent(
    serve: ServePage, windows: Context
) -> None:
    async with serve() as served:
        tab = await windows.open(served.address)
        await tab.get_by_label("Message Fewshot").wait_for()
        await tab.says("hello")
        await tab.get_by_role("button", name="Why").click()
        await tab.sees("Only you can see this")
        await tab.says("/help perplexity")
        await eventually(tab.locator(".is-pending").count, lambda count: count == 0)
        await tab.sees("Show how surprising", within=".message .card")


async def test_a_template_is_written_in_a_form_and_its_draft_is_shown(serve: ServePage, windows: Context) -> None:
    async with serve() as served:
        tab = await windows.open(served.address)
        await tab.get_by_role("link", name="general").click()
        await tab.get_by_label("Message #general").wait_for()
        await tab.says("/prompt new mood")
        await tab.get_by_role("textbox", name="Description").fill("How is somebody?")
        await tab.get_by_role("textbox", name="Query").fill("no slot")
        await tab.get_by_role("button", name="Submit").click()
        await tab.sees("$input", within="dialog .problem")
        assert await tab.get_by_role("textbox", name="Description").input_value() == "How is somebody?"
        await tab.get_by_role("textbox", name="Query").fill("Text: $input\nMood:")
        await tab.get_by_role("button", name="Submit").click()
        await eventually(tab.locator("dialog").count, lambda count: count == 0)
        await tab.sees("mood", within=".is-private .card")
        assert await tab.accessibility_violations() == []


async def test_a_thread_a_reply_an_edit_and_a_deletion_reach_every_window(serve: ServePage, windows: Context) -> None:
    async with serve() as served:
        tab = await windows.open(served.address)
        other = await windows.open(served.address)
        for one in (tab, other):
            await one.get_by_role("link", name="general").click()
            await one.get_by_label("Message #general").wait_for()
        await tab.says("@Fewshot hello")
        await other.get_by_role("button", name="Again").wait_for()
        await tab.locator(".message").last().hover()
        await tab.locator(".message").last().get_by_role("button", name="Open a thread").click()
        await tab.get_by_label("Reply in the thread").press_sequentially("and you?")
        await tab.keyboard.press("Enter")
        await tab.locator(".side").get_by_role("button", name="Again").nth(1).wait_for()
        assert await tab.texts(".side .message .text") == ["and you?"]
        assert len(await tab.texts(".main .message")) == 2
        await other.get_by_role("button", name="2 replies").click()
        await other.sees("and you?", within=".side")
        await tab.get_by_role("button", name="Close the thread").click()
        await tab.locator(".main .composer-text").press("ArrowUp")
        await tab.locator(".edit-field").fill("@Fewshot good morning")
        await tab.keyboard.press("Enter")
        await other.sees("good morning", within=".main .message")
        await tab.locator(".main .message").first().hover()
        await tab.locator(".main .message").first().get_by_role("button", name="Delete").click()
        await tab.locator("dialog").get_by_role("button", name="Delete").click()
        # The answer goes with what it answers.
        await eventually(other.locator(".main .message").count, lambda count: count == 0)


async def test_another_person_has_other_direct_messages_and_may_change_less(serve: ServePage, windows: Context) -> None:
    async with serve() as served:
        tab = await windows.open(served.address)
        await tab.get_by_label("Message Fewshot").wait_for()
        await tab.says("a secret of Ada")
        await tab.get_by_role("button", name="Again").wait_for()
        await tab.get_by_role("button", name="You are Ada").click()
        await tab.get_by_role("menuitem", name="Add a person").click()
        await tab.get_by_role("textbox", name="Name").fill("Ben")
        await tab.keyboard.press("Enter")
        await tab.get_by_role("button", name="You are Ben").wait_for()
        await eventually(tab.locator(".main .message").count, lambda count: count == 0)
        assert await tab.get_by_role("button", name="New server").count() == 0
        await tab.says("hello from Ben")
        await tab.get_by_role("button", name="Again").wait_for()
        await tab.reload()
        await tab.get_by_role("button", name="You are Ben").wait_for()
        await tab.sees("hello from Ben", within=".message")


async def test_a_deleted_channel_leads_its_windows_to_another(serve: ServePage, windows: Context) -> None:
    async with serve() as served:
        tab = await windows.open(served.address)
        await tab.get_by_role("button", name="Server Home").click()
        await tab.get_by_role("menuitem", name="New channel").click()
        await tab.get_by_role("textbox", name="Name").fill("ideas")
        await tab.keyboard.press("Enter")
        await tab.get_by_label("Message #ideas").wait_for()
        await tab.says("@Fewshot an idea")
        await tab.get_by_role("button", name="Again").wait_for()
        other = await windows.open(await tab.url())
        await other.sees("an idea", within=".message")
        await tab.get_by_role("link", name="ideas").focus()
        await tab.keyboard.press("Delete")
        await tab.locator("dialog").get_by_role("button", name="Delete").click()
        for one in (tab, other):
            await one.get_by_label("Message Fewshot").wait_for()
            assert await one.locator(".main .message").count() == 0


async def test_the_palette_offers_what_the_bot_expects(serve: ServePage, windows: Context) -> None:
    async with serve() as served:
        tab = await windows.open(served.address)
        await tab.get_by_label("Message Fewshot").wait_for()
        await tab.locator(".main .composer-text").press_sequentially("/complete --pre")
        await tab.get_by_role("option", name="--preset").wait_for()
        await tab.keyboard.press("Tab")
        await tab.keyboard.type("w")
        await tab.get_by_role("option", name="wild").wait_for()
        await tab.keyboard.press("Tab")
        assert await tab.locator(".main .composer-text").input_value() == "/complete --preset wild "


@asynccontextmanager
async def _serving(folder: Path, port: int) -> AsyncIterator[str]:
    async with open_scripted_bot(ScriptedEngine([ANSWER]), folder, traits=WEB) as talk:
        delivery = Delivery(talk.store, WEB)
        async with serve_page(talk.bot, delivery, hold_port(port), first_name="Ada") as (_, address):
            yield address


async def _state(tab: Tab) -> str:
    state: str = await tab.evaluate("() => document.body.dataset.connection")
    return state
