"""However long the text, no command lets the event loop stand: everybody else's messages wait there."""

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from bot.commands.bot import COMMANDS, MAX_TEXT_BYTES
from bot.core.cards import Card
from bot.core.messages import AttachmentFormat, Author, Message
from bot.core.stopping import Stopper
from bot.platforms.discord.outgoing.rendering import prepare, render
from tests.bots import HERE, MANY, MOOD, PROMPTS, Talk, open_scripted_bot
from tests.stalls import QuickEngine, Stall, StallLoop, too_long

ANN: Final = Author("ann", "Ann", is_moderator=True)


def _fill(unit: str, num_bytes: int = MAX_TEXT_BYTES - 64) -> str:
    return unit * (num_bytes // len(unit.encode()))


# The longest texts that are accepted, by what could be slow about them; 64 bytes are left for the command.
TEXTS: Final = {
    "words": _fill("The cat sat on the mat and looked. "),
    "short words": _fill("a "),
    "rows": _fill("a => b\n"),
    "one word": _fill("x"),
    "long words": _fill(f"{'x' * 1000} "),
    "emoji": _fill("👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 "),
    "Chinese": _fill("天地玄黄宇宙洪荒"),
    "marks": _fill("e\u0301\u0302\u0303\u0304\u0305 "),
    "markup": _fill("*_`~|<@1>\\[](http://a.b) "),
    "numbers": _fill("1 "),
    "brackets": _fill("["),
    "an open quote": f'"{_fill(chr(92) + chr(34))}',
    "dashes": _fill("--"),
    "fences": _fill("```\n"),
    "spaces": f"a{_fill(' ')}b",
    "empty lines": f"a{_fill(chr(10))}b",
    "bars": _fill("a | "),
    "digits": _fill("1"),
}
_ROWS: Final = "".join(f'[[tests]]\ninput = "in {i}"\noutput = "out {i}"\n' for i in range(499))
_LONG: Final = PROMPTS["story"].replace("+++\nA story", f"{_ROWS}+++\n{_fill('a' + chr(10), 30_000)}A story")
# How each command is called; the text comes after it.
CALLS: Final[dict[str, tuple[str, ...]]] = {
    "complete": ("complete --max_new_tokens 8",),
    "strategies": ("strategies --max_new_tokens 8",),
    "perplexity": ("perplexity",),
    "compare": ("compare", "compare a |"),
    "next": ("next",),
    "prompt run": ("prompt story", "prompt sentiment"),
    "prompt list": ("prompt list",),
    "prompt show": ("prompt show tale", "prompt show"),
    "prompt example": ("prompt example --template story --output yes",),
    "prompt examples": ("prompt examples tale add", "prompt examples tale take", "prompt examples tale dismiss"),
    "prompt new": ("prompt new fable", "prompt new"),
    "prompt edit": ("prompt edit tale", "prompt edit"),
    "prompt draft": ("prompt draft tale",),
    "prompt discard": ("prompt discard tale",),
    "prompt import": ("prompt import fable", "prompt import fable +++"),
    "prompt tests": ("prompt tests tale", "prompt tests tale add", "prompt tests tale remove"),
    "prompt test": ("prompt test tale", "prompt test"),
    "prompt tune": ("prompt tune mood",),
    "prompt neighbours": ("prompt neighbours on many", "prompt neighbours off many"),
    "prompt publish": ("prompt publish tale",),
    "prompt rollback": ("prompt rollback tale 1", "prompt rollback"),
    "prompt delete": ("prompt delete tale",),
    "prompt export": ("prompt export tale",),
    "prompt history": ("prompt history tale",),
    "prompt diff": ("prompt diff tale 1 2", "prompt diff tale", "prompt diff"),
    "settings": ("settings", "settings preset"),
    "story on": ("story on",),
    "story off": ("story off",),
    "story export": ("story export",),
    "fresh": ("fresh",),
    "context": ("context",),
    "model": ("model",),
    "stats": ("stats",),
    "help": ("help",),
    "why": ("why",),
    "privacy": ("privacy", "privacy --do export", "privacy --do forget-now"),
    "forget": ("forget",),
    "purge": ("purge 1", "purge"),
    "report": ("report",),
    "wordlist": ("wordlist add", "wordlist remove", "wordlist clear", "wordlist"),
}
_BEFORE: Final = (
    f"prompt import tale {_LONG}",
    "prompt publish tale",
    f"prompt import tale {_LONG.replace('a' + chr(10), 'b' + chr(10))}",
    "prompt publish tale",
    f"prompt import tale {_LONG.replace('in 1', 'im 1')}",
)
# Scoring and comparing long texts takes seconds of a thread, so these commands get a few of the texts.
_SCORED: Final = ("compare", "perplexity")
_TO_SCORE: Final = ("words", "rows", "marks")
_numbers: Final = count()


async def _shown(card: Card) -> None:
    """Show a card as Discord does: with its pictures, without them where a file may not be sent, and in one message."""
    render(card, pictures=await prepare(card))
    await asyncio.sleep(0)
    render(card, as_layout=True, allows_files=False)
    await asyncio.sleep(0)
    render(card, is_one_message=True)
    await asyncio.sleep(0)


async def _say(
    talk: Talk, text: str, attachment: str | None = None, reply_to: str | None = None, format: AttachmentFormat = ""
) -> str:
    """Send a message, and show every card of the answer; return the id of the message."""
    message = Message(
        f"s{next(_numbers)}",
        HERE,
        ANN,
        text,
        reply_to=reply_to,
        attachment=attachment,
        attachment_format=format,
        reach="form",
        is_addressed=True,
    )
    await talk.bot.place_where_wanted(message)
    async for card in talk.bot.answer(message, Stopper()):
        await _shown(card)
    return message.id


@pytest.fixture
def loop() -> Iterator[StallLoop]:
    with StallLoop() as running:
        yield running


@pytest.fixture
def talk(loop: StallLoop, tmp_path: Path) -> Iterator[Talk]:
    opening = open_scripted_bot(QuickEngine(), tmp_path, prompts={**PROMPTS, "mood": MOOD, "many": MANY})
    opened, _ = loop.run(opening.__aenter__())
    yield opened
    loop.run(opening.__aexit__(None, None, None))


def _check(stalls: dict[str, Stall]) -> None:
    assert not too_long(stalls)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_lets_the_loop_stand_whatever_its_text(name: str, loop: StallLoop, talk: Talk) -> None:
    for line in _BEFORE:
        loop.run(_say(talk, f"!{line}"))
    stalls = {}
    texts = {kind: text for kind, text in TEXTS.items() if name not in _SCORED or kind in _TO_SCORE}
    for call in CALLS[name]:
        for kind, text in texts.items():
            _, stalls[f"{call}, typed {kind}"] = loop.run(_say(talk, f"!{call} {text}"))
        for kind in _TO_SCORE:
            _, stalls[f"{call}, attached {kind}"] = loop.run(_say(talk, f"!{call}", TEXTS[kind]))
    _check(stalls)


def test_neither_chat_nor_a_reply_to_a_long_message_lets_the_loop_stand(loop: StallLoop, talk: Talk) -> None:
    stalls = {}
    for kind, text in TEXTS.items():
        asked, stalls[f"chat about {kind}"] = loop.run(_say(talk, "Hello", text))
        _, stalls[f"next in reply to {kind}"] = loop.run(_say(talk, "!next", reply_to=asked))
        _, stalls[f"why of {kind}"] = loop.run(_say(talk, "!why"))
        edited = Message(asked, HERE, ANN, text)
        _, stalls[f"an edit to {kind}"] = loop.run(talk.bot.edited(edited))
    _check(stalls)


def test_every_command_has_a_case() -> None:
    assert set(CALLS) == set(COMMANDS)


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl"])
def test_a_file_with_rows_does_not_let_the_loop_stand(format: AttachmentFormat, loop: StallLoop, talk: Talk) -> None:
    row = {"csv": "a,b\n", "tsv": "a\tb\n", "jsonl": '{"input": "a", "output": "b"}\n'}[format]
    for line in _BEFORE:
        loop.run(_say(talk, f"!{line}"))
    _check(
        {
            call: loop.run(_say(talk, f"!{call}", _fill(row), format=format))[1]
            for call in ("prompt examples tale add", "prompt tests tale add", "prompt sentiment")
        }
    )
