"""Buttons on the bot's cards: whose they are, as of when, and what they do to the answer and the history."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.commands.clicks import GONE, MOVED_ON, NOT_ASKER
from bot.commands.framework.request import Quotas
from bot.core.cards import Card
from bot.core.messages import now_utc
from bot.core.stopping import Stopper
from bot.errors import GenerationError
from tests.bots import HERE, PROMPTS, ScriptedEngine, Talk, open_scripted_bot, open_tiny_bot

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
ASK = "!complete --seed 3 --max_new_tokens 6 "


def texts(card: Card) -> list[str]:
    return [choice["text"] for choice in card.data["choices"]]


async def offered(talk: Talk, text: str = "The cat sat", **how: Any) -> Card:
    """Return the card of a completion on a platform with buttons."""
    return await talk.card(ASK + text, has_buttons=True, reach="public", **how)


async def said(talk: Talk, text: str, **how: Any) -> Card:
    """Return the card of a chat answer on a platform with buttons."""
    return await talk.card(text, has_buttons=True, reach="public", **how)


async def test_clicks_do_what_typed_words_do(any_talk: Talk) -> None:
    card = await offered(any_talk)
    assert [button.label for button in card.buttons] == ["1", "2", "3", "More", "Longer", "Again", "Words"]
    assert card.revision == 1
    assert card.answers == "public"
    taken = await any_talk.click(card, "2")
    assert taken.data["prompt"] == "The cat sat" + texts(card)[1]
    assert (taken.open_card_id, taken.revision) == (card.open_card_id, 2)
    more = await any_talk.click(taken, "more")
    assert len(texts(more)) == 6
    longer = await any_talk.click(more, "longer")
    assert [button.label for button in longer.buttons][-6:] == ["More", "Longer", "Undo", "Again", "Words", "Branches"]
    back = longer
    for _ in range(3):
        back = await any_talk.click(back, "undo")
    assert texts(back) == texts(card)
    assert await any_talk.click_refusal(back, "undo") == "There is nothing to undo."
    assert texts(await any_talk.click(back, "1")), "a refusal leaves the card as it was"


async def test_every_step_can_be_explained(any_talk: Talk) -> None:
    card = await offered(any_talk)
    taken = await any_talk.click(card, "1")
    assert card.reply_id != taken.reply_id
    for shown in (card, taken):
        why = await any_talk.ask("!why", reply_to=shown.reply_id)
        assert why["prompt"] == shown.data["prompt"]
        assert why["is_exact"]


async def test_a_completion_is_its_owner_s_alone(talk: Talk) -> None:
    card = await offered(talk)
    sentence = "That card belongs to Ann. Get your own with /complete."
    assert await talk.click_refusal(card, "1", who="Bob") == sentence
    assert await talk.click_refusal(card, "1", who="Bob", is_moderator=True) == sentence
    assert (await talk.click(card, "1")).revision == 2


async def test_the_author_of_a_message_that_was_continued_is_not_taken_for_the_owner(talk: Talk) -> None:
    await talk.ask("The cat sat", who="Bob")
    card = await offered(talk, "", reply_to=talk.message_ids[0])
    sentence = "That card belongs to Ann. Get your own with /complete."
    assert await talk.click_refusal(card, "1", who="Bob") == sentence
    assert (await talk.click(card, "1")).data["input"] == "The cat sat"


async def test_a_click_on_an_older_card_does_nothing(talk: Talk) -> None:
    card = await offered(talk)
    taken = await talk.click(card, "1")
    num_stored = await talk.num_stored()
    assert await talk.click_refusal(card, "2") == MOVED_ON
    assert await talk.click_refusal(replace(taken, revision=9), "2") == MOVED_ON
    assert await talk.click_refusal(taken, "nonsense") == MOVED_ON
    assert await talk.num_stored() == num_stored
    assert texts(await talk.click(taken, "undo")) == texts(card)


async def test_of_clicks_at_the_same_time_one_counts(talk: Talk) -> None:
    card = await offered(talk)
    results = await asyncio.gather(*(talk.click(card, action) for action in ("1", "2", "more", "longer")))
    assert sorted(result.error or "" for result in results) == ["", MOVED_ON, MOVED_ON, MOVED_ON]
    (done,) = (result for result in results if result.error is None)
    assert done.revision == 2
    assert (await talk.click(done, "undo")).data["choices"] == card.data["choices"]


async def test_cards_work_after_a_restart_and_years_later(open_tiny: OpenTiny, monkeypatch: Any) -> None:
    async with open_tiny() as talk:
        card = await offered(talk)
        kept = await talk.store.get_open_card(HERE, card.open_card_id or "")
        assert kept is not None
        assert kept.expires_at_utc.year - now_utc().year >= 9
    async with open_tiny() as talk:
        assert (await talk.click(card, "1")).revision == 2


async def test_a_card_is_gone_with_its_text_and_elsewhere(talk: Talk) -> None:
    card = await offered(talk)
    assert await talk.click_refusal(card, "1", scope=replace(HERE, server="work")) == GONE
    await talk.bot.deleted("terminal", [talk.message_ids[-1]])
    assert await talk.click_refusal(card, "1") == GONE
    assert await talk.click_refusal(replace(card, open_card_id="reply-nothing"), "why") == "That answer was deleted."


async def test_numbers_are_chat_where_there_are_buttons_and_close_no_card(talk: Talk) -> None:
    card = await offered(talk)
    assert (await said(talk, "1")).data["command"] == "chat"
    assert (await talk.click(card, "1")).revision == 2


async def test_what_fails_half_way_gives_the_card_back(tmp_path: Path) -> None:
    engine = ScriptedEngine([" on the mat."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        card = await talk.card("!complete --n 1 The cat", has_buttons=True)
        taken = await talk.click(card, "1")
        engine.scripts = [GenerationError("The model broke.")]
        assert await talk.click_refusal(taken, "longer") == "The model broke."
        engine.scripts = [(" It purrs.", GenerationError("The model broke."))]
        failed = await talk.click(taken, "longer")
        assert failed.error is None
        assert texts(failed) == texts(taken)
        assert (failed.buttons, failed.revision) == (taken.buttons, taken.revision)
        assert "The model broke." in [getattr(block, "text", "") for block in failed.blocks]


async def test_a_chat_answer_has_its_buttons(any_talk: Talk) -> None:
    card = await said(any_talk, "Hello")
    assert [button.label for button in card.buttons] == ["Again", "Continue", "Why"]
    assert card.open_card_id == f"reply-{card.reply_id}"
    assert card.revision == 0


async def test_why_is_for_everyone_and_private(any_talk: Talk) -> None:
    card = await said(any_talk, "My cat is called Zorp.")
    why = await any_talk.click(card, "why", who="Bob")
    assert why.answers == "private"
    assert "Zorp" in why.data["prompt"]
    assert why.data["is_exact"]
    assert why.data["answer"] == card.data["text"]


async def test_again_writes_another_answer_in_the_same_place(any_talk: Talk) -> None:
    await said(any_talk, "My cat is called Zorp.")
    first = await said(any_talk, "Hello")
    before = (await any_talk.click(first, "why")).data
    num_stored = await any_talk.num_stored()
    second = await any_talk.click(first, "again")
    assert second.error is None
    assert second.data["text"] != first.data["text"]
    assert second.data["seed"] != first.data["seed"]
    assert (second.reply_id, second.open_card_id) == (first.reply_id, first.open_card_id)
    assert await any_talk.num_stored() == num_stored
    why = (await any_talk.click(second, "why")).data
    assert why["prompt"] == before["prompt"]
    assert why["is_exact"]
    assert why["answer"] == second.data["text"]
    await said(any_talk, "And?")
    prompt = (await any_talk.why())["prompt"]
    assert first.data["text"] not in prompt
    assert " ".join(second.data["text"].split()) in " ".join(prompt.split())


async def test_why_shows_figures_as_a_person_writes_them(talk: Talk) -> None:
    await talk.ask("!complete --n 1 --seed 3 --repetition_penalty 1.1500000000000001 Once")
    why = await talk.card("!why")
    assert any("repetition_penalty 1.15 · " in getattr(block, "text", "") for block in why.blocks)


async def test_min_p_changes_what_is_written_and_why_shows_it(talk: Talk) -> None:
    written = []
    for option in ("", "--min_p 0.1 ", "--min_p 1 ", "--temperature 0 "):
        answer = await talk.ask(f"!complete --n 1 --seed 3 --top_k 0 --top_p 1 {option}Once upon")
        written.append(answer["choices"])
        if option == "--min_p 0.1 ":
            assert (await talk.why())["sampling"]["min_p"] == 0.1
            why = await talk.card("!why")
            assert any(" · top_p 1 · min_p 0.1 · " in getattr(block, "text", "") for block in why.blocks)
    assert written[0] != written[2] == written[3], "only the likeliest token is left by a min_p of 1"


async def test_continue_goes_on_where_the_answer_stopped(any_talk: Talk) -> None:
    await said(any_talk, "Tell me a story")
    first = await said(any_talk, "Go on")
    before = (await any_talk.click(first, "why")).data["prompt"]
    longer = await any_talk.click(first, "continue")
    assert longer.error is None, longer.error
    assert longer.data["text"].startswith(first.data["text"])
    assert len(longer.data["text"]) > len(first.data["text"])
    assert longer.reply_id == first.reply_id
    why = (await any_talk.click(longer, "why")).data
    assert why["prompt"].startswith(before)
    assert why["prompt"].endswith(first.data["text"])
    assert why["is_exact"]
    assert why["answer"] == longer.data["text"]
    longest = await any_talk.click(longer, "continue")
    assert longest.data["text"].startswith(longer.data["text"])
    assert (await any_talk.click(longest, "why")).data["is_exact"]


async def test_again_and_continue_are_for_who_asked_and_for_moderators(talk: Talk) -> None:
    card = await said(talk, "Hello", is_moderator=False)
    for action in ("again", "continue"):
        assert await talk.click_refusal(card, action, who="Bob") == NOT_ASKER
        assert (await talk.click(card, action, who="Mia", is_moderator=True)).error is None
        assert (await talk.click(card, action)).error is None


async def test_only_the_latest_answer_is_changed(talk: Talk) -> None:
    sentence = "Only the latest answer here can be changed, and this one is older."
    first = await said(talk, "Hello")
    await said(talk, "Well?")
    for action in ("again", "continue"):
        assert await talk.click_refusal(first, action) == sentence
    latest = await said(talk, "So?")
    await talk.ask("!fresh")
    assert await talk.click_refusal(latest, "again") == sentence
    assert (await talk.click(latest, "why")).data["is_exact"]


async def test_what_was_answered_may_be_gone(talk: Talk) -> None:
    card = await said(talk, "Hello")
    await talk.bot.deleted("terminal", [talk.message_ids[-1]])
    assert "was deleted" in await talk.click_refusal(card, "again")


async def test_options_that_always_give_the_same_have_no_other_answer(
    tmp_path: Path, roomy_model: Callable[[str], Path]
) -> None:
    prompts = {**PROMPTS, "chat": PROMPTS["chat"].replace("seed = 5", "temperature = 0")}
    async with open_tiny_bot(roomy_model("gpt2"), tmp_path, prompts=prompts) as talk:
        card = await said(talk, "Hello")
        assert await talk.click_refusal(card, "again") == (
            "These options always give the same answer, so there is no other one."
        )


async def test_a_failed_rewrite_leaves_the_answer_as_it_was(tmp_path: Path) -> None:
    engine = ScriptedEngine(["Good morning."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        card = await said(talk, "Hello")
        engine.scripts = [GenerationError("The model broke.")]
        assert await talk.click_refusal(card, "again") == "The model broke."
        engine.scripts = [("Good day to", GenerationError("The model broke."))]
        failed = await talk.click(card, "again")
        assert (failed.data["text"], failed.buttons) == ("Good morning.", card.buttons)
        assert "The model broke." in [getattr(block, "text", "") for block in failed.blocks]
        engine.scripts = [""]
        assert await talk.click_refusal(card, "continue") == "The model has nothing to add to that."
        assert (await talk.click(card, "why")).data["answer"] == "Good morning."
        engine.scripts = [" And good night."]
        assert (await talk.click(card, "continue")).data["text"] == "Good morning. And good night."


async def test_a_template_s_answer_is_written_again_and_explained(any_talk: Talk) -> None:
    card = await said(any_talk, "!prompt translate-en-fr --n 2 --seed 4 the dog")
    assert [button.label for button in card.buttons] == ["Again", "Why"]
    again = await any_talk.click(card, "again")
    assert again.data["seed"] == 5
    assert again.reply_id == card.reply_id
    assert [choice["text"] for choice in again.data["choices"]] != [c["text"] for c in card.data["choices"]]
    why = await any_talk.click(again, "why", who="Bob")
    assert why.data["is_exact"]
    assert why.data["answer"] == "\n".join(choice["text"] for choice in again.data["choices"])
    assert await any_talk.click_refusal(again, "continue") == MOVED_ON
    assert await any_talk.click_refusal(again, "again", who="Bob") == NOT_ASKER
    await said(any_talk, "!prompt story x")
    assert "latest" in await any_talk.click_refusal(again, "again")


async def test_a_label_is_explained_and_nothing_else(any_talk: Talk) -> None:
    card = await said(any_talk, "!prompt sentiment I love it")
    assert [button.label for button in card.buttons] == ["Why"]
    why = await any_talk.click(card, "why")
    assert why.data["prompt"].endswith("I love it ->")
    assert why.data["is_exact"]
    assert (why.data["answer"], why.data["template"]) == (card.data["label"], "sentiment")
    assert await any_talk.why() == why.data | {"command": "why"}
    assert "always give the same" in await any_talk.click_refusal(card, "again")


async def test_a_private_command_waits_behind_a_button_where_all_would_see_it(talk: Talk) -> None:
    await said(talk, "Hello")
    card = await talk.card("!why", has_buttons=True, reach="public")
    assert card.answers == "public"
    assert [button.label for button in card.buttons] == ["Open"]
    assert "prompt" not in card.data
    assert await talk.click_refusal(card, "open", who="Bob") == "That card belongs to Ann. Get your own with /why."
    for _ in range(2):
        opened = await talk.click(card, "open")
        assert opened.answers == "private"
        assert opened.data["command"] == "why"
        assert opened.data["is_exact"]
    for reach in ("private", "form"):
        assert (await talk.card("!why", has_buttons=True, reach=reach)).data["is_exact"]
    await talk.bot.deleted("terminal", [talk.message_ids[-3]])
    assert await talk.click_refusal(card, "open") == GONE


async def test_an_edited_command_does_not_open_as_another_one(talk: Talk) -> None:
    await said(talk, "Hello")
    card = await talk.card("!why", has_buttons=True, reach="public")
    await talk.store.edit_message("terminal", talk.message_ids[-1], "!stats")
    assert "edited" in await talk.click_refusal(card, "open")


async def test_clicks_that_no_platform_sends_are_one_sentence_each(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quotas, "count", lambda *_, **__: None)
    cards = [
        await offered(talk),
        await said(talk, "Hello"),
        await said(talk, "!prompt sentiment I love it"),
        await talk.card("!why", has_buttons=True, reach="public"),
        await talk.card("!settings", has_buttons=True),
        await talk.card("!privacy", has_buttons=True),
    ]
    num_stored = await talk.num_stored()
    actions = ["", "0", "9", "١", "²", "1" * 400, "nonsense", "open ", "\ud800", "continue\0", "__class__"]
    for card in cards:
        for action in actions:
            for who in ("Ann", "Bob"):
                forged = replace(card, revision=random.choice([card.revision, -1, 0, 2**70]))
                answer = await talk.click(forged, action, who=who, value="\ud800" * 9)
                assert answer.error != "Something broke inside the bot. Its operator can find the cause in the log.", (
                    card,
                    action,
                )
                assert answer.answers == "private"
    for card_id in ("", "reply-", "x" * 500, "\ud800", "' OR 1=1 --", f"reply-{cards[0].open_card_id}"):
        refusal = await talk.click_refusal(replace(cards[0], open_card_id=card_id or "-"), "1")
        assert refusal in (GONE, "That answer was deleted.")
    assert await talk.num_stored() == num_stored
    assert texts(await talk.click(cards[0], "1"))


async def test_fast_presses_of_more_are_all_carried_out(talk: Talk) -> None:
    card = await talk.card("!complete --n 2 --seed 3 --max_new_tokens 12 The cat sat", has_buttons=True, reach="public")
    pressed = await asyncio.gather(*(talk.click(card, "more") for _ in range(3)))
    assert [one.error for one in pressed] == [None] * 3
    assert [len(texts(one)) for one in pressed] == [4, 6, 8]
    late = await talk.click(card, "more")
    assert len(texts(late)) == 9, "a press that came after the answer to the one before counts too"
    full = await talk.click(card, "more")
    assert full.error is None
    assert texts(full) == texts(late)
    assert any("already 9 continuations" in getattr(block, "text", "") for block in full.blocks)
    taken = await talk.click(full, "1")
    assert await talk.click_refusal(card, "more") == MOVED_ON, "that was about another text"
    assert taken.revision > full.revision


async def test_stop_before_the_first_word_leaves_everything_as_it_was(talk: Talk) -> None:
    stopper = Stopper()
    stopper.stop()
    card = await talk.card(f"{ASK}The cat sat", has_buttons=True, reach="public", stopper=stopper)
    assert texts(card) == []
    assert card.data["text"] == ""
    assert [button.label for button in card.buttons] == ["More", "Again"]
    assert "Stopped before the first word." in [getattr(block, "text", "") for block in card.blocks]
    card = await talk.click(card, "again")
    assert len(texts(card)) == 3
    for action in ("more", "longer", "again"):
        stopped = await talk.click(card, action, stopper=stopper)
        assert texts(stopped) == texts(card), action
        assert "Stopped before the first word." in [getattr(block, "text", "") for block in stopped.blocks]
        card = stopped


async def test_a_text_that_is_whole_shows_no_empty_choice(tmp_path: Path) -> None:
    engine = ScriptedEngine([" on the mat."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        card = await talk.card("!complete --n 1 The cat", has_buttons=True)
        engine.scripts = [""]
        taken = await talk.click(card, "1")
        assert taken.data["prompt"] == "The cat on the mat."
        assert texts(taken) == []
        assert [button.label for button in taken.buttons] == ["More", "Undo", "Again", "Branches"]
        assert "The model has nothing to add here." in [getattr(block, "text", "") for block in taken.blocks]
        assert await talk.click_refusal(taken, "longer") == "There are no continuations to make longer. Use again."
        engine.scripts = [" It purrs."]
        assert texts(await talk.click(taken, "again")) == [" It purrs."]


async def test_again_replaces_only_what_the_last_continue_wrote(tmp_path: Path) -> None:
    engine = ScriptedEngine(["One."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        card = await said(talk, "Count")
        for number in ("Two.", "Three."):
            engine.scripts = [f" {number}"]
            card = await talk.click(card, "continue")
        assert card.data["text"] == "One. Two. Three."
        for other in ("Four.", "Five."):
            engine.scripts = [f" {other}"]
            card = await talk.click(card, "again")
            assert card.data["text"] == f"One. Two. {other}"
        assert (await talk.store.get_reply(HERE, card.reply_id or "")) is not None
