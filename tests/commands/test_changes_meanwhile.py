"""What changes between the arrival of a message and its answer: opt-outs, deletions and settings."""

import asyncio
from pathlib import Path

import pytest

from bot.core.cards import Card
from bot.core.messages import Author, Message
from bot.core.stopping import Stopper
from bot.errors import ModelChanged
from tests.bots import HERE, ScriptedEngine, Talk, open_scripted_bot
from tests.commands.meanwhile import stored, until_read, until_stored

ANN = Author("ann", "Ann", is_moderator=True)
NOT_READ = "You asked not to be read. To be read again, use !privacy --read on."
NOT_THERE = "That message was deleted or may no longer be read here, so there is nothing to answer. Send it again."
NOT_STORED = "You asked not to be read, so this is not stored: you can't go on with it, and !why can't explain it."


async def opted_out_after_arrival(talk: Talk, text: str, **fields: object) -> Card:
    """Return the answer to a message whose author opts out after the settings were read for it."""
    message = Message("m1", HERE, ANN, text, is_addressed=True, **fields)  # type: ignore[arg-type]
    place = await talk.bot.place_where_wanted(message)
    await talk.store.opt_out(HERE.platform, ANN.id, True)
    return [card async for card in talk.bot.answer(message, Stopper(), place=place)][-1]


async def test_a_continuation_is_shown_and_not_stored_for_who_opts_out_before_it(tmp_path: Path) -> None:
    async with open_scripted_bot(ScriptedEngine(["a SECRET."]), tmp_path) as talk:
        card = await opted_out_after_arrival(talk, "!complete --n 1 My SECRET is", reach="private")
        assert NOT_STORED in str(card.blocks)
        assert card.buttons == ()
        assert "SECRET" not in await stored(talk)


@pytest.mark.parametrize(
    "command", ["!complete --n 1 SECRET is", "!prompt run translate-en-fr SECRET", "Tell a SECRET"]
)
async def test_an_answer_is_shown_and_not_stored_for_who_opts_out_while_it_is_written(
    tmp_path: Path, command: str
) -> None:
    engine = ScriptedEngine(["an answer with a SECRET."], is_held=True)
    async with open_scripted_bot(engine, tmp_path) as talk:
        asked = asyncio.ensure_future(talk.card(command, has_buttons=True))
        await until_read(engine)
        await talk.store.opt_out(HERE.platform, ANN.id, True)
        engine.release()
        card = await asked
        assert "an answer with a SECRET" in str(card.blocks)
        assert NOT_STORED in str(card.blocks)
        assert card.buttons == ()
        assert "with a SECRET" not in await stored(talk)


async def test_a_chat_message_of_who_opts_out_before_it_is_told_so(tmp_path: Path) -> None:
    engine = ScriptedEngine(["Hello there."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        await talk.ask("Earlier words", who="Bob")
        card = await opted_out_after_arrival(talk, "My SECRET is")
        assert card.error == NOT_READ
        assert len(engine.read) == 1
        assert "SECRET" not in await stored(talk)


async def test_an_open_button_is_refused_to_who_opts_out_before_it(tmp_path: Path) -> None:
    async with open_scripted_bot(ScriptedEngine([""]), tmp_path) as talk:
        card = await opted_out_after_arrival(talk, "!privacy", reach="public")
        assert card.error is not None
        assert "no button can be stored for you here" in card.error
        assert "ann" not in await stored(talk)


async def test_an_answer_is_not_replaced_in_the_store_once_its_asker_opted_out(tmp_path: Path) -> None:
    engine = ScriptedEngine(["First answer.", "Another SECRET."], is_held=True)
    async with open_scripted_bot(engine, tmp_path) as talk:
        engine.release()
        card = await talk.card("Hello", has_buttons=True)
        engine.hold()
        clicked = asyncio.ensure_future(talk.click(card, "again"))
        await until_read(engine, 2)
        await talk.store.opt_out(HERE.platform, ANN.id, True)
        engine.release()
        again = await clicked
        assert "does not want to be read, so this new answer is not stored" in str(again.blocks)
        assert "SECRET" not in await stored(talk)


async def test_where_the_model_changed_before_the_first_word_the_prompt_is_made_and_read_again(tmp_path: Path) -> None:
    changed = ModelChanged("The model changed: it is second now. Ask again.")
    engine = ScriptedEngine([changed, "Hello there.", changed])
    async with open_scripted_bot(engine, tmp_path) as talk:
        assert (await talk.ask("Hello"))["text"] == "Hello there."
        assert len(engine.read) == 2
        # One that changes each time is told.
        assert await talk.refusal("Hello again") == str(changed)


@pytest.mark.parametrize("command", ["Hello", "!prompt run translate-en-fr Hello"])
async def test_a_moderator_gets_no_other_answer_to_who_opted_out(tmp_path: Path, command: str) -> None:
    engine = ScriptedEngine(["It is late.", "Hello there."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        await talk.ask("Earlier words", who="Bob")
        card = await talk.card(command, has_buttons=True)
        await talk.store.opt_out(HERE.platform, ANN.id, True)
        assert "read" in await talk.click_refusal(card, "again", who="Mia", is_moderator=True)
        assert len(engine.read) == 2


@pytest.mark.parametrize(("change", "told"), [("opted out", NOT_READ), ("deleted", NOT_THERE), ("fresh", NOT_THERE)])
async def test_a_message_that_may_not_be_read_when_its_turn_comes_is_not_answered(
    tmp_path: Path, change: str, told: str
) -> None:
    engine = ScriptedEngine(["One two three four five six seven."], is_held=True)
    async with open_scripted_bot(engine, tmp_path) as talk:
        first = asyncio.ensure_future(talk.ask("Bob asks", who="Bob"))
        await until_read(engine)
        waiting = asyncio.ensure_future(talk.card("Ann asks"))
        await until_stored(talk, "Ann asks")
        if change == "opted out":
            await talk.store.opt_out(HERE.platform, ANN.id, True)
        elif change == "deleted":
            await talk.bot.deleted(HERE.platform, [talk.message_ids[-1]])
        else:
            await talk.store.mark_fresh(HERE)
        engine.release()
        await first
        assert (await waiting).error == told
        assert len(engine.read) == 1


@pytest.mark.parametrize(("name", "value"), [("chat_template", "pirate"), ("preset", "wild"), ("history_length", "1")])
async def test_a_setting_that_is_changed_while_a_message_waits_holds_for_it(
    tmp_path: Path, name: str, value: str
) -> None:
    engine = ScriptedEngine(["Hello there."], is_held=True)
    async with open_scripted_bot(engine, tmp_path) as talk:
        first = asyncio.ensure_future(talk.ask("Bob asks", who="Bob"))
        await until_read(engine)
        waiting = asyncio.ensure_future(talk.ask("Ann asks"))
        await until_stored(talk, "Ann asks")
        await talk.store.set_setting(HERE, "channel", name, value)
        engine.release()
        await first
        await waiting
    before, after = engine.read[-2].text, engine.read[-1].text
    assert ("pirate" in after) == (name == "chat_template")
    assert ("Bob asks" in after) == (name != "history_length")
    assert "Ann asks" in after
    assert "pirate" not in before
    assert (engine.params[0].temperature != engine.params[-1].temperature) == (name == "preset")


async def test_a_proposal_of_who_opts_out_before_it_is_refused_and_not_stored(tmp_path: Path) -> None:
    async with open_scripted_bot(ScriptedEngine([""]), tmp_path) as talk:
        card = await opted_out_after_arrival(
            talk, "!prompt example --template translate-en-fr --output SECRET A SECRET", reach="form"
        )
        assert card.error == "You asked not to be read. To be read again, use /privacy read:on."
        assert "SECRET" not in await stored(talk)
