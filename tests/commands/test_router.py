"""From a message to what answers it: how often the store is asked on the way, and what holds when it waited."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.core.messages import Author, Message
from bot.core.stopping import Stopper
from tests.bots import HERE, ScriptedEngine, Talk, open_scripted_bot
from tests.commands.meanwhile import until_read, until_stored
from tests.store.trips import counted

ANN = Author("ann", "Ann", is_moderator=True)
PARROT = '+++\ndescription = "A talk."\nkind = "chat"\n+++\nYou are a parrot.\n\n$history\n$bot_name:\n'


async def test_in_a_terminal_a_message_is_three_reads_and_two_transactions(talk: Talk) -> None:
    """The reads: what holds there, the open card, the history. The transactions: the message, then the answer."""
    await talk.ask("Hello", who="Ann")
    await talk.ask("Hello", who="Bob")
    async with counted(talk.store) as trips:
        await talk.ask("Well?", who="Ann")
    assert len(trips.reads) == 3, trips.reads
    assert len(trips.writes) == 2, trips.writes


async def test_what_was_read_when_a_message_came_is_not_read_again(talk: Talk) -> None:
    message = Message("w1", HERE, ANN, "Hello", is_addressed=True)
    async with counted(talk.store) as trips:
        place = await talk.bot.place_where_wanted(message)
        assert place is not None
        cards = [card async for card in talk.bot.answer(message, Stopper(), place=place)]
    assert cards[-1].error is None
    assert len(trips.reads) == 2, trips.reads


async def test_a_message_of_a_bot_or_with_another_bot_s_command_is_not_read_for(talk: Talk) -> None:
    async with counted(talk.store) as trips:
        for message in (
            Message("w1", HERE, replace(ANN, is_bot=True), "Hello"),
            Message("w2", HERE, ANN, "!xyzzy", is_addressed=False),
            Message("w3", HERE, ANN, " ", is_addressed=False),
        ):
            assert await talk.bot.place_where_wanted(message) is None
    assert trips.reads == []


async def test_a_template_that_was_changed_while_a_message_waited_is_read_as_it_is_then(tmp_path: Path) -> None:
    engine = ScriptedEngine(["First.", "Second."], is_held=True)
    async with open_scripted_bot(engine, tmp_path) as talk:

        async def ask(text: str) -> None:
            await talk.ask(text)

        first = asyncio.ensure_future(ask("one"))
        await until_read(engine)
        second = asyncio.ensure_future(ask("two"))
        await until_stored(talk, "two")
        await talk.store.add_template_version(
            HERE, "chat", action="new", author=ANN, source_text=PARROT, version="v", reason=""
        )
        engine.release()
        await asyncio.gather(first, second)
    assert ["parrot" in prompt.text for prompt in engine.read] == [False, True]


async def test_who_asks_not_to_be_read_while_their_message_waits_is_not_read(tmp_path: Path) -> None:
    engine = ScriptedEngine(["First.", "Second."], is_held=True)
    async with open_scripted_bot(engine, tmp_path) as talk:
        first = asyncio.ensure_future(talk.ask("one", who="Ann"))
        await until_read(engine)
        waiting = [asyncio.ensure_future(talk.card(f"{who} speaks", who=who)) for who in ("Bob", "Cid")]
        for who in ("Bob", "Cid"):
            await until_stored(talk, f"{who} speaks")
        await talk.store.opt_out(HERE.platform, "bob", True)
        engine.release()
        await asyncio.gather(first, *waiting)
    assert not any("Bob speaks" in prompt.text for prompt in engine.read)
    assert "Cid speaks" in engine.read[-1].text


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/complete --n 1 Can it", "complete"),
        ("/perplexity\nCan it", "perplexity"),
        ("/prompt sentiment I like it", "prompt run"),
        ("/prompt-edit examples sentiment", "prompt examples"),
        ("/Help", "help"),
        ("help", "help"),
        ("Help!", "help"),
        ("help ?", "help"),
        ("help prompt", "help"),
        ("HELP !complete", "help"),
        ("help prompt show", "help"),
        ("help temperature", "help"),
        ("help me", "chat"),
        ("help with the prompt", "chat"),
        ("/shrug hello", "chat"),
        ("/ complete x", "chat"),
        ("//complete x", "chat"),
    ],
)
async def test_a_slash_command_that_was_typed_and_help_are_understood(talk: Talk, text: str, command: str) -> None:
    answer = await talk.ask(text, is_moderator=True)
    assert answer["command"] == command
    assert not answer.get("error")


async def test_a_prefix_alone_in_reply_to_a_message_is_no_command(talk: Talk) -> None:
    for text in ("! ", "?", "!"):
        message = Message("w2", HERE, ANN, text, is_addressed=True, reply_to="m1")
        assert await talk.bot.place_where_wanted(message) is not None
        assert talk.bot.line_of(message) == text


async def test_what_is_not_for_the_bot_is_never_taken_for_a_typed_slash_command(talk: Talk) -> None:
    for text in ("/complete x", "help"):
        message = Message("w1", HERE, ANN, text, is_addressed=False)
        assert not talk.bot.is_meant(message)
        assert await talk.bot.place_where_wanted(message) is None


async def test_a_typed_slash_command_can_be_edited_and_explained(talk: Talk) -> None:
    message = Message("t1", HERE, ANN, "/complete --n 2 --seed 3 Can it")
    cards = [card async for card in talk.bot.answer(message, Stopper())]
    assert len(cards[-1].data["choices"]) == 2
    assert (await talk.why())["prompt"] == "Can it"
    await talk.bot.edited(replace(message, text="/complete --n 2 --seed 3 Could it"))
    (stored,) = await talk.store.load_messages(HERE, ["t1"])
    assert stored.text == "!complete --n 2 --seed 3 Could it"
