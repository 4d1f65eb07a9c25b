"""Buttons and selects on Slack: in place, before and after a restart, for the owner only, never twice."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bot.platforms.slack.traits import SLACK
from tests.bots import ScriptedEngine, Talk, open_scripted_bot
from tests.platforms.slack.towns import Town, a_town, buttons, shortcut, visible_text
from tests.servers.slack.faults import Fault
from tests.servers.slack.objects import Message, View
from tests.servers.slack.reading import find_element

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]

WORDS = " ".join(f"word{number}" for number in range(250))


@pytest.fixture
async def town(open_tiny: OpenTiny) -> AsyncIterator[Town]:
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK, quota_per_minute=600)) as opened:
        yield opened


async def click(town: Town, person: str, shown: object, label: str) -> Message:
    """Press a button and return what changes or comes."""
    assert isinstance(shown, Message)
    outcome = await town.outcome(getattr(town, person).clicks(shown, label))
    assert isinstance(outcome, Message)
    return outcome


async def test_the_buttons_of_continuations_change_the_card_in_place_also_after_a_restart(town: Town):
    async with town.run():
        said = town.ann.says(town.general, "!complete --n 2 Once upon")
        card = await town.slack.reply(said)
        assert buttons(card) == ["1", "2", "More", "Longer", "Again", "Words"]
        assert await click(town, "ann", card, "More") is card
        assert buttons(card)[:4] == ["1", "2", "3", "4"]
    async with town.run():
        for label in ("2", "Longer", "Undo", "Again", "More"):
            before = visible_text(card)
            assert await click(town, "ann", card, label) is card
            assert visible_text(card) != before, label
    assert len(town.slack.answers_to(said)) == 1


def in_select(shown: Message, placeholder: str) -> list[str]:
    """Return the values that a select offers."""
    _, element = find_element(shown, placeholder, kinds=frozenset({"static_select"}))
    return [option["value"] for option in element["options"]]


async def choose(town: Town, shown: Message, placeholder: str, value: str) -> None:
    """Choose in a select, which changes the card in place."""
    assert await town.outcome(town.ann.selects(shown, placeholder, value)) is shown


async def test_the_tree_of_a_completion_is_walked_with_selects_and_named_in_a_modal_also_after_a_restart(town: Town):
    async with town.run():
        said = town.ann.says(town.general, "!complete --n 3 --seed 5 --max_new_tokens 40 Once upon")
        card = await town.slack.reply(said)
        assert await click(town, "ann", card, "Words") is card
        # The tiny model may expect nothing else in a place.
        for value in in_select(card, "Choose a word")[:-1]:
            await choose(town, card, "Choose a word", value)
            if "Also expected there" in visible_text(card):
                break
            await click(town, "ann", card, "Back")
    async with town.run():
        await choose(town, card, "Go on with another word", "#1")
        assert buttons(card)[-4:] == ["Undo", "Again", "Words", "Branches"]
        await click(town, "ann", card, "Branches")
        assert "→" in visible_text(card)
        await choose(town, card, "Choose a branch", "2")
        form = await town.outcome(town.ann.clicks(card, "Name"))
        assert isinstance(form, View)
        told = await town.outcome(town.ann.submits(form, {"Name": "second"}))
        assert isinstance(told, Message)
        assert "That branch is called “second” now." in visible_text(told)
        assert told in town.whispers(town.ann)
        await click(town, "ann", card, "Back")
        assert "[second]" in visible_text(card)
        exported = await town.outcome(town.ann.clicks(card, "Export .txt"))
        assert isinstance(exported, Message)
        assert visible_text(exported).splitlines() == [
            "All branches of this text:",
            "The file is in your direct messages with me.",
        ]
        await choose(town, card, "Choose a branch", "2")
        assert await click(town, "ann", card, "Go on here") is card
        assert "Words" in buttons(card)


async def test_only_the_owner_acts_on_a_card_and_others_are_told_how_to_get_their_own(town: Town):
    async with town.run():
        card = await town.slack.reply(town.ann.says(town.general, "!complete --n 2 Once upon"))
        text = visible_text(card)
        told = await click(town, "bo", card, "More")
        assert told in town.whispers(town.bo)
        # The card is in a thread, in which Slack has no slash commands.
        assert visible_text(told) == "⚠️ That card belongs to Ann. Get your own with !complete."
        assert visible_text(card) == text
        town.general.member_ids.add(town.bo.id)
        outside = await town.outcome(town.ann.slash(town.general, "/complete", "--n 2 Once upon"))
        told = await click(town, "bo", outside, "More")
        assert visible_text(told) == "⚠️ That card belongs to Ann. Get your own with /fewshot complete."


async def test_an_answer_is_written_again_continued_and_explained(town: Town):
    async with town.run():
        asked = town.ann.asks(town.general, "hello")
        answer = await town.slack.reply(asked)
        assert buttons(answer)[0] == "Again"
        assert buttons(answer)[-1] == "Why"
        assert await click(town, "ann", answer, "Again") is answer
    async with town.run():
        why = await click(town, "bo", answer, "Why")
        assert why in town.whispers(town.bo)
        assert "temperature" in visible_text(why)
        told = await click(town, "bo", answer, "Again")
        assert "Only the person who asked" in visible_text(told)
        assert await click(town, "mo", answer, "Again") is answer
        # Of an older answer only Why is left.
        await town.slack.reply(town.ann.says(town.general, "and more", thread=asked))
        refused = await click(town, "ann", answer, "Again")
        assert visible_text(refused).startswith("⚠️ ")


async def test_a_second_click_on_what_has_changed_does_nothing(town: Town):
    async with town.run():
        card = await town.slack.reply(town.ann.says(town.general, "!complete --n 2 Once upon"))
        old = [dict(block) for block in card.blocks]
        assert await click(town, "ann", card, "1") is card
        new, card.blocks = card.blocks, old
        late = await click(town, "ann", card, "2")
        assert visible_text(late) == "⚠️ That card is out of date; use the newest one."
        assert late in town.whispers(town.ann)
        card.blocks = new


async def test_a_choice_in_a_select_changes_the_settings_for_moderators_only(town: Town):
    async with town.run():
        card = await town.outcome(town.mo.slash(town.general, "/fewshot", "settings"))
        assert isinstance(card, Message)
        select, option = _other_option(card)
        told = await town.outcome(town.ann.selects(card, select, option))
        assert told in town.whispers(town.ann)
        assert "Only moderators can use /fewshot settings" in visible_text(told)
        before = visible_text(card)
        assert await town.outcome(town.mo.selects(card, select, option)) is card
        assert visible_text(card) != before
    async with town.run():
        select, option = _other_option(card)
        assert await town.outcome(town.mo.selects(card, select, option)) is card


def _other_option(card: Message) -> tuple[str, str]:
    """Return the first select of a card, and one of its options that is not chosen."""
    (select, *_) = [one for block in card.blocks for one in block.get("elements", ()) if "options" in one]
    chosen = (select.get("initial_option") or {}).get("value")
    option = next(option["value"] for option in select["options"] if option["value"] != chosen)
    return select["placeholder"]["text"], option


async def test_a_form_command_typed_in_a_channel_opens_its_form_by_a_button(town: Town):
    async with town.run():
        card = await town.slack.reply(town.mo.says(town.general, "!prompt edit sentiment"))
        assert visible_text(card) == "The answer is visible only to you."
        assert buttons(card) == ["Open"]
        view = await town.outcome(town.mo.clicks(card, "Open"))
        assert isinstance(view, View)
        told = await town.outcome(town.mo.submits(view, {"Description": "D."}))
        # Only its owner may see a draft.
        assert told in town.whispers(town.mo)
        assert visible_text(card) == "The answer is visible only to you."
        assert buttons(card) == ["Open"]
        refused = await town.outcome(town.bo.clicks(card, "Open"))
        assert "That card belongs to Mo" in visible_text(refused)


async def test_a_click_on_a_card_that_only_one_person_sees_replaces_it_and_its_errors_stand_beside(town: Town):
    async with town.run():
        card = await town.outcome(town.ann.slash(town.general, "/fewshot", "privacy"))
        assert card in town.whispers(town.ann)
        assert isinstance(card, Message)
        labels = buttons(card)
        assert labels
        for label in labels:
            if label not in buttons(card):
                continue
            outcome = await click(town, "ann", card, label)
            assert outcome in town.whispers(town.ann) or outcome.channel is town.ann.dm_channel
            assert visible_text(outcome).strip()


async def test_private_answers_to_a_message_come_in_private(town: Town):
    async with town.run():
        town.ann.says(town.general, "!privacy")
        shown = await town.whisper(town.ann)
        assert "stored" in visible_text(shown)
        # Slack shows nobody a private message in a thread that has no replies.
        assert shown.thread_ts is None
        assert [one for one in town.general.messages if one.user.is_bot] == []
        assert town.bo.reads(town.general) == ["!privacy"]


async def test_private_answers_in_a_thread_stay_in_it(town: Town):
    async with town.run():
        asked = town.ann.asks(town.general, "hello")
        answer = await town.slack.reply(asked)
        by_button = await click(town, "bo", answer, "Why")
        by_menu = await town.outcome(town.bo.uses_shortcut(answer, shortcut("Why")))
        seen = town.whispers(town.bo)
        town.bo.says(town.general, "!help", thread=asked)
        by_message = await town.whisper(town.bo, seen)
        for told in (by_button, by_menu, by_message):
            assert isinstance(told, Message)
            assert (told.thread_ts, told.ephemeral_for) == (asked.ts, town.bo.user)
        # Below a message without replies it would be visible to nobody.
        refused = await town.outcome(town.bo.uses_shortcut(town.ann.says(town.general, "hm"), shortcut("Why")))
        assert isinstance(refused, Message)
        assert refused.thread_ts is None


async def test_stop_ends_an_answer_for_the_asker_and_the_moderators_only(tmp_path: Path):
    engine = ScriptedEngine([WORDS], pause_s=0.05)
    async with a_town(lambda: open_scripted_bot(engine, tmp_path, traits=SLACK)) as town, town.run():
        # Nothing is streamed outside threads, so the answer has a button of the bot's own.
        dm = town.ann.dm("hello")
        answer = await town.slack.wait_for_reply(dm)
        await town.slack.wait_for(lambda: buttons(answer) == ["Stop"], what="a Stop button")
        await town.ann.clicks(answer, "Stop")
        await town.slack.wait_for(lambda: "Stop" not in buttons(answer), what="the end of the answer")
        assert visible_text(answer).startswith("word0 word1")
        assert len(visible_text(answer)) < len(WORDS)


async def test_who_asked_can_stop_an_answer_whatever_else_does_not_work(tmp_path: Path):
    engine = ScriptedEngine([WORDS], pause_s=0.05)
    async with a_town(lambda: open_scripted_bot(engine, tmp_path, traits=SLACK)) as town, town.run():
        answer = await town.slack.wait_for_reply(town.ann.dm("hello"))
        await town.slack.wait_for(lambda: buttons(answer) == ["Stop"], what="a Stop button")
        database = town.running.store._database
        database._is_closed = True
        # Nor does Slack say who presses it.
        assert town.client is not None
        town.client.interactions._people._people.clear()
        town.slack.faults.always("users.info", Fault("slow", delay_s=5.0))
        await town.ann.clicks(answer, "Stop")
        await town.slack.wait_for(lambda: engine.generations[-1].is_cancelled, 3, "the end of the writing")
        town.slack.faults.clear()
        database._is_closed = False


async def test_somebody_else_can_not_stop_an_answer_and_a_moderator_can(tmp_path: Path):
    engine = ScriptedEngine([WORDS], pause_s=0.05)
    async with a_town(lambda: open_scripted_bot(engine, tmp_path, traits=SLACK)) as town, town.run():
        town.slack.faults.always("chat.startStream", Fault("refused", reason="unknown_method"))
        answer = await town.slack.wait_for_reply(town.ann.asks(town.general, "hello"))
        await town.slack.wait_for(lambda: buttons(answer) == ["Stop"], what="a Stop button")
        await town.bo.clicks(answer, "Stop")
        told = await town.whisper(town.bo)
        assert visible_text(told) == "⚠️ Only the person who asked, or a moderator, can stop that answer."
        assert not engine.generations[-1].is_cancelled
        await town.mo.clicks(answer, "Stop")
        await town.slack.wait_for(lambda: engine.generations[-1].is_cancelled, 3, "the end of the writing")


async def test_slacks_own_stop_ends_an_answer_that_is_streamed(tmp_path: Path):
    engine = ScriptedEngine([WORDS], pause_s=0.05)
    async with a_town(lambda: open_scripted_bot(engine, tmp_path, traits=SLACK)) as town, town.run():
        asked = town.ann.asks(town.general, "hello")
        answer = await town.slack.wait_for_reply(asked)
        await town.slack.wait_for(lambda: answer.is_streaming, what="a stream")
        town.ann.stops(answer)
        await town.slack.wait_for(lambda: engine.generations[-1].is_cancelled, what="the end of the writing")
        await town.slack.wait_for(lambda: buttons(answer), what="the buttons of the finished answer")


async def test_while_the_bot_restarts_a_click_says_so_and_a_form_keeps_what_was_typed(town: Town):
    async with town.run():
        card = await town.slack.reply(town.mo.says(town.general, "!complete --n 2 Once upon"))
        view = await town.outcome(town.mo.slash(town.general, "/prompt", "edit sentiment"))
        assert isinstance(view, View)
        assert town.client is not None
        town.client.interactions.stop_taking()
        for doing in (town.mo.clicks(card, "More"), town.mo.slash(town.general, "/next", "The capital of")):
            told = await town.outcome(doing)
            assert visible_text(told) == "⚠️ The bot is restarting. Try again in a minute."
            assert told in town.whispers(town.mo)
        await town.mo.submits(view, {"Description": "D."})
        assert list(view.errors.values()) == ["The bot is restarting. Try again in a minute."]
    async with town.run():
        # The form is still there, and so is what was typed.
        draft = await town.outcome(town.mo.submits(view))
        assert "+ D." in visible_text(draft)


async def test_a_shortcut_of_another_app_and_a_button_of_another_card_do_nothing(town: Town):
    async with town.run():
        assert town.client is not None
        body = {"team": {"id": town.team.id}, "user": {"id": town.ann.id}, "trigger_id": "1", "callback_id": "other"}
        await town.client.interactions.message_action({**body, "message": {"ts": "1.1"}, "channel": {"id": "C1"}})
        pressed = {"action_id": "somebody-else", "type": "button"}
        container = {"type": "message", "channel_id": "C1", "message_ts": "1.1"}
        await town.client.interactions.clicked({**body, "container": container}, pressed)
        assert town.client.answering.num_running == 0
