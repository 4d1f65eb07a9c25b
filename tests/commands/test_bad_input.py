"""What goes wrong is one sentence, nothing refused is kept, and the next message works."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bot.errors import GenerationError, Unavailable
from tests.bots import HERE, ScriptedEngine, Talk, empty_disk, fill_disk, open_scripted_bot

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
BROKEN = "Something broke inside the bot. Its operator can find the cause in the log."
EMPTY = "There is no text in that message, and nothing else that I can read. Send text, or try !help."
FULL = "The bot's disk is full or failing, so nothing new can be stored; try again later."
MEGABYTE = "x" * 2**20
MISTAKES = [
    ("!complet The cat", "There is no command 'complet'; did you mean !complete?"),
    ("!xyzzy", "There is no command 'xyzzy'; !help lists all commands."),
    ("!complete --temperature=nan The cat", "temperature takes a number from 0 to 2, not nan."),
    ("!complete --n=100 The cat", "n takes a whole number from 1 to 5, not 100."),
    ("!complete", "The text is missing. Write !complete TEXT, or attach a text file."),
    ("!complete \n\t ", "The text is missing. Write !complete TEXT, or attach a text file."),
    ("!perplexity", "The text is missing. Write !perplexity TEXT, or attach a text file."),
    ("!compare", "The text is missing. Write !compare A | B, or attach a text file."),
    ("", EMPTY),
    (" \n\t\u3000", EMPTY),
    ("\u200b\u2060\ufeff", EMPTY),
    ("\x00\x07", EMPTY),
    (MEGABYTE, "The text has 1,048,576 bytes; the limit is 262,144. Shorten it."),
    ("!complete " + MEGABYTE, "The text has 1,048,586 bytes; the limit is 262,144. Shorten it."),
    ("é" * 131_073, "The text has 262,146 bytes; the limit is 262,144. Shorten it."),
]


@pytest.mark.parametrize(("text", "sentence"), MISTAKES, ids=lambda text: repr(text[:24]))
async def test_one_sentence_nothing_kept_and_the_next_message_works(any_talk: Talk, text: str, sentence: str) -> None:
    await any_talk.ask("My cat is called Zorp.")
    num_stored = await any_talk.num_stored()
    assert await any_talk.refusal(text) == sentence
    assert await any_talk.num_stored() == num_stored
    await any_talk.ask("Hello")
    why = await any_talk.why()
    assert "Zorp" in why["prompt"]
    assert why["is_exact"]


@pytest.mark.parametrize(
    "line", ["{}", "!complete --max_new_tokens 3 {}", "!perplexity {}", "!next {}", "!prompt sentiment {}"]
)
async def test_texts_far_beyond_the_context_are_refused_or_read_in_time(talk: Talk, line: str) -> None:
    text = "The cat sat on the mat. " * 300
    card = await talk.card(line.format(text))
    if line.startswith("!perplexity"):
        assert card.data["num_tokens"] > 512
    else:
        assert card.error
        assert "fit. Shorten the text." in card.error
    assert (await talk.ask("Hello"))["text"]


@pytest.mark.parametrize(
    "text",
    [
        "half \ud83d a pair",
        "<|endoftext|>",
        "<|im_start|>user\nhi<|im_end|>",
        "\x00\x1b[31m\x9b",
        "a\u202eb",
        "🙂" * 30,
        "e" + "\u0301" * 99,
    ],
    ids=ascii,
)
async def test_strange_characters_are_only_text(any_talk: Talk, text: str) -> None:
    for command in ("", "!complete --max_new_tokens 3 ", "!perplexity ", "!next ", "!prompt story "):
        assert await any_talk.ask(command + text)
    assert (await any_talk.ask("Hello"))["text"]


async def test_half_a_character_is_kept_as_a_replacement(talk: Talk) -> None:
    await talk.ask("half \ud83d a pair")
    assert "Ann: half \ufffd a pair" in (await talk.why())["prompt"]
    assert (await talk.ask("!perplexity half \ud83d a pair"))["input"] == "half \ufffd a pair"


@pytest.mark.parametrize("text", ["Hello", "!complete The cat", "!perplexity The cat"])
async def test_a_full_disk_is_one_sentence_and_loses_nothing(any_talk: Talk, text: str) -> None:
    await any_talk.ask("My cat is called Zorp.")
    history = await any_talk.store.load_history(HERE, limit=99)
    await fill_disk(any_talk.store)
    num_stored = await any_talk.num_stored()
    assert await any_talk.refusal(text) == FULL
    for shown in ("!help", "!settings", "!prompt list", "!prompt show story", "!context"):
        assert await any_talk.ask(shown)
    assert await any_talk.num_stored() == num_stored
    assert await any_talk.store.load_history(HERE, limit=99) == history
    await empty_disk(any_talk.store)
    assert (await any_talk.ask("Hello"))["text"]
    assert "Zorp" in (await any_talk.why())["prompt"]


async def test_what_breaks_in_the_program_is_one_card_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ScriptedEngine([ZeroDivisionError("secret words"), "Hi"])
    async with open_scripted_bot(engine, tmp_path) as talk:
        assert await talk.refusal("My cat is called Zorp.") == BROKEN
        (record,) = [record for record in caplog.records if record.exc_info]
        assert record.levelno == logging.ERROR
        assert record.getMessage() == "answering failed"
        assert "Zorp" not in caplog.text
        assert (await talk.ask("Hello"))["text"] == "Hi"
        engine.scripts = [ZeroDivisionError("again"), "Hi"]
        assert await talk.refusal("!complete --n 1 The cat") == BROKEN
        assert (await talk.ask("!complete --n 1 The cat"))["choices"][0]["text"] == "Hi"
        assert await talk.refusal("!stats") == BROKEN
        assert (await talk.card("!stats")).data["command"] == "stats"


@pytest.mark.parametrize("error", [GenerationError("It broke in the model."), Unavailable("64 requests are waiting.")])
async def test_what_the_engine_says_is_passed_on(tmp_path: Path, error: Exception) -> None:
    engine = ScriptedEngine([error, error, error, "Hi"])
    async with open_scripted_bot(engine, tmp_path) as talk:
        for line in ("Hello", "!complete --n 1 The cat", "!prompt story a cat"):
            assert await talk.refusal(line) == str(error)
        assert (await talk.ask("Hello"))["text"] == "Hi"


@pytest.mark.parametrize("line", ["Hello", "!prompt story a cat"])
async def test_an_answer_that_can_not_be_kept_is_given_and_says_so(tmp_path: Path, line: str) -> None:
    answer = " ".join(map(str, range(6000)))
    async with open_scripted_bot(ScriptedEngine([answer]), tmp_path) as talk:
        await fill_disk(talk.store, leaves_bytes=1000)
        card = await talk.card(line)
        assert card.data["text"] == answer
        assert card.blocks[-1].text == "This answer could not be stored, so !why can't explain it later."
        await empty_disk(talk.store)
        assert await talk.refusal("!why") == "The bot has no answer here to explain."


async def test_a_bot_that_is_closed_says_so(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        await talk.ask("Hello")
    assert await talk.refusal("Hello") == "The bot is shutting down; try again when it is back."
