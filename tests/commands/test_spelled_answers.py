"""Answers name commands and options in the form of their reader: typed, or as slash commands."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

import bot
from bot.commands.bot import Bot
from bot.commands.router import COMMAND_WORDS, COMMANDS
from bot.core.cards import Card
from bot.core.messages import Reach
from bot.core.platform_traits import PlatformTraits
from bot.platforms.discord.traits import DISCORD
from bot.platforms.terminal.traits import TERMINAL
from tests.bots import ScriptedEngine, Talk, open_scripted_bot
from tests.commands.test_bad_input import MEGABYTE, MISTAKES

WORDS = "|".join(COMMAND_WORDS)
TYPED_FORM = re.compile(rf"!(?:{WORDS})\b|--\w")
SLASH_FORM = re.compile(rf"(?<!\w)/(?:{WORDS})\b")
MARKERS = re.compile("[\ue0f0\ue0f1]")


def lines_about(name: str) -> Iterator[str]:
    """Yield help of the command, and wrong uses of it."""
    yield f"!help {name}"
    yield f"!{name}"
    yield f"!{name} --xyzzy 1 a b c"
    yield f"!{name} zzz zzz zzz zzz"
    yield f"!{name} story"
    for option in COMMANDS[name].options[:2] + COMMANDS[name].options[-1:]:
        yield f"!{name} --{option.name}"
        yield f"!{name} --{option.name} 1 --{option.name} 1 a b"
        yield f"!{name} --{option.name}x 1 a b"


LINES = [line for name in COMMANDS for line in lines_about(name)]
LINES += [text for text, _ in MISTAKES if MEGABYTE not in text and len(text) < 1000]
LINES += ["!help", "!help zzz", "!help promt", "!prompt", "!privacy --do forget"]
LINES += ["!complete --n 'a b", "!settings preset", "!settings zzz 1", "!prompt story --lines each --n 2 a\nb"]


def texts_in(part: object) -> Iterator[str]:
    """Yield every text of a card."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for value in part.values():
            yield from texts_in(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from texts_in(value)
    elif is_dataclass(part):
        for one in fields(part):
            yield from texts_in(getattr(part, one.name))


async def answers(talk: Talk, traits: PlatformTraits, reach: Reach, line: str) -> list[Card]:
    """Return the last cards that answer a member, and a moderator."""
    services = replace(talk.services, traits=traits)
    there = Talk(Bot(services), services)
    has_buttons = traits.has_buttons
    return [
        await there.card(line, is_moderator=is_moderator, has_buttons=has_buttons, reach=reach)
        for is_moderator in (False, True)
    ]


@pytest.mark.parametrize(
    ("traits", "reach", "foreign"),
    [(DISCORD, "form", TYPED_FORM), (DISCORD, "public", SLASH_FORM), (TERMINAL, "private", SLASH_FORM)],
    ids=["slash", "typed on Discord", "terminal"],
)
async def test_no_answer_names_a_command_in_a_form_that_its_reader_does_not_use(
    tmp_path: Path, traits: PlatformTraits, reach: Reach, foreign: re.Pattern[str]
) -> None:
    async with open_scripted_bot(ScriptedEngine(["Hi"]), tmp_path) as talk:
        for line in LINES:
            for card in await answers(talk, traits, reach, line):
                shown = [text.replace(line, "") for text in texts_in(card)]
                assert not [text for text in shown if foreign.search(text)], line
                assert not [text for text in shown if MARKERS.search(text)], line


@pytest.mark.parametrize("line", ["!complete {}", "!prompt story {}", "!help {}", "!{}", "!next --{} x", "{}"])
async def test_words_with_the_characters_that_mark_mentions_come_back_unchanged(tmp_path: Path, line: str) -> None:
    marked = "\ue0f0help\ue0f1"
    async with open_scripted_bot(ScriptedEngine([f"Hi {marked}"]), tmp_path) as talk:
        for traits in (DISCORD, TERMINAL):
            for card in await answers(talk, traits, "form", line.format(marked)):
                shown = [text for text in texts_in(card) if MARKERS.search(text)]
                assert all(marked in text for text in shown)
                assert not [text for text in texts_in(card) if MARKERS.search(text.replace(marked, ""))]


async def test_clicks_are_answered_in_the_form_of_slash_commands(tmp_path: Path) -> None:
    async with open_scripted_bot(ScriptedEngine(["Hi"]), tmp_path) as talk:
        card = await talk.card("!privacy", has_buttons=True)
        assert await talk.click_refusal(card, "forget", who="Bob") == (
            "That card belongs to someone else. Get your own with /privacy."
        )
        asked = await talk.click(card, "forget")
        assert "/privacy do:forget-now" in asked.data["text"]


def test_errors_that_may_be_logged_hold_no_mention() -> None:
    """Their sentences reach logs and consoles, which no card carries."""
    root = Path(bot.__file__).parent
    below = [path for room in ("core", "engine", "store", "pictures") for path in (root / room).rglob("*.py")]
    writers = [path for path in below if "import mention" in path.read_text(encoding="utf-8")]
    assert writers == []
