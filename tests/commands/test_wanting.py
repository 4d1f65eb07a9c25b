"""Which messages are answered, what is suggested while typing, and what becomes of edits, deletions and departures."""

from dataclasses import replace

import pytest

from bot.core.channel_settings import ANSWER_WHEN
from bot.core.messages import Author, Message
from bot.core.sampling_params import PRESETS
from tests.bots import HERE, Talk

ANN = Author("ann", "Ann", is_moderator=True)


def message(text: str, *, is_addressed: bool = False, author: Author = ANN, number: int = 0) -> Message:
    return Message(f"w{number}", HERE, author, text, is_addressed=is_addressed)


@pytest.mark.parametrize("answer_when", ANSWER_WHEN)
async def test_commands_are_always_wanted_and_chat_as_it_is_set(talk: Talk, answer_when: str) -> None:
    await talk.ask(f"!settings answer_when {answer_when}")
    wanted = talk.bot.is_wanted
    assert await wanted(message("!help"))
    assert await wanted(message("!complet The cat")), "a slip is told"
    assert not await wanted(message("!xyzzy")), "another bot's command"
    assert await wanted(message("!xyzzy", is_addressed=True))
    assert await wanted(message("Hello", is_addressed=True)) == (answer_when != "never")
    assert await wanted(message("Hello")) == (answer_when == "every")
    assert await wanted(message("! Hello")) == (answer_when == "every")
    assert not await wanted(message("  ")), "a picture alone"
    assert await wanted(replace(message(""), attachment="a text")) == (answer_when == "every")
    await talk.ask("!privacy --read off")
    assert not await wanted(message("Hello")), "who asked not to be read is left alone"
    assert await wanted(message("!help"))


@pytest.mark.parametrize("author", [replace(ANN, is_bot=True), replace(ANN, is_me=True)])
async def test_bots_are_never_wanted_and_get_no_answer(talk: Talk, author: Author) -> None:
    await talk.ask("!settings answer_when every")
    for text in ("Hello", "!help", "!complete The cat"):
        assert not await talk.bot.is_wanted(message(text, is_addressed=True, author=author))


async def test_values_are_suggested_from_what_there_is(talk: Talk) -> None:
    async def suggested(command: str, option: str, typed: str = "") -> tuple[str, ...]:
        return await talk.bot.suggest_values(HERE, command, option, typed)

    assert await suggested("prompt run", "NAME") == ("exact", "sentiment", "story", "translate-en-fr")
    assert await suggested("prompt run", "name", "st") == ("story",)
    assert await suggested("prompt run", "name", "en-fr") == ("translate-en-fr",)
    assert (await suggested("prompt run", "name", "sentimint"))[0] == "sentiment"
    assert "pirate" in await suggested("prompt show", "name")
    assert await suggested("settings", "name", "pre") == ("preset",)
    assert await suggested("settings", "value", "PIR") == ("pirate",)
    assert "default" in await suggested("settings", "value")
    assert await suggested("settings", "level") == ("server", "channel")
    assert await suggested("complete", "preset") == tuple(PRESETS)
    assert (await suggested("help", "command", "comp"))[:2] == ("complete", "compare")
    assert await suggested("complete", "seed", "1") == ()
    assert await suggested("no such", "name", "x") == ()
    assert len(await suggested("help", "command")) <= 25
    assert await suggested("help", "command", "z" * 5000) == ()


async def test_an_edit_is_read_and_a_deletion_forgets(talk: Talk) -> None:
    await talk.ask("My cat is called Zorp.")
    said = talk.message_ids[-1]
    await talk.bot.edited(Message(said, HERE, ANN, "My cat is called \ud800 Blip."))
    await talk.ask("Well?")
    prompt = (await talk.why())["prompt"]
    assert "Blip" in prompt
    assert "Zorp" not in prompt
    await talk.bot.deleted("terminal", [said, "unknown"])
    await talk.ask("Well?")
    assert "Blip" not in (await talk.why())["prompt"]
    await talk.bot.edited(Message("unknown", HERE, ANN, "Zorp"))
    await talk.bot.edited(Message(said, HERE, ANN, "Zorp"))
    await talk.ask("Well?")
    assert "Zorp" not in (await talk.why())["prompt"]


async def test_a_server_that_is_left_is_forgotten(talk: Talk) -> None:
    elsewhere = replace(HERE, server="work")
    await talk.ask("Hello")
    await talk.ask("Hello", scope=elsewhere)
    await talk.bot.left("terminal", "work")
    assert (await talk.store.count_stored(platform="terminal", server="work")).num_messages == 0
    assert (await talk.store.count_stored(platform="terminal", server="home")).num_messages == 2


async def test_a_message_that_is_replied_to_is_kept_and_can_be_asked_about(talk: Talk) -> None:
    bob = Author("bob", "Bob")
    assert await talk.bot.keep(Message("b1", HERE, bob, "The cat sat on the mat again and again"))
    assert not await talk.bot.keep(Message("b1", HERE, bob, "The cat sat"))
    assert not await talk.bot.keep(Message("b2", HERE, bob, " "))
    assert (await talk.ask("!perplexity", reply_to="b1"))["input"] == "The cat sat on the mat again and again"


async def test_a_file_is_the_text_where_there_is_none(any_talk: Talk) -> None:
    answer = await any_talk.ask("!complete --seed 1 --max_new_tokens 4", attachment="The cat\nsat")
    assert answer["input"] == "The cat\nsat"
    why = await any_talk.why()
    assert (why["prompt"], why["is_exact"]) == ("The cat\nsat", True)
    assert (await any_talk.ask("1"))["prompt"].startswith("The cat\nsat")
    assert (await any_talk.ask("!perplexity my own", attachment="a file"))["input"] == "my own"
    assert (await any_talk.ask("!prompt story", attachment="a dog"))["text"]
    assert (await any_talk.why())["is_exact"]
    sizes = "The text has 262,145 bytes; the limit is 262,144. Shorten it."
    assert await any_talk.refusal("!perplexity", attachment="x" * 262_145) == sizes


async def test_chat_reads_a_file_below_the_words(any_talk: Talk) -> None:
    await any_talk.ask("Look:", attachment="Zorp is\nmy cat.")
    why = await any_talk.why()
    assert "Look: Zorp is my cat." in why["prompt"]
    assert why["is_exact"]
    await any_talk.ask("", attachment="Only a file.")
    assert "Only a file." in (await any_talk.why())["prompt"]
