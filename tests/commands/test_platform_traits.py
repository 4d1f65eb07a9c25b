"""What a platform states of itself reaches what people read and what they fill in."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.commands.bot import Bot
from bot.core.messages import Author
from bot.core.platform_traits import PlatformTraits
from bot.platforms.terminal.traits import TERMINAL
from tests.bots import HERE, ScriptedEngine, Talk, open_scripted_bot

WITH_SLASH = PlatformTraits(key="terminal", name="Chat", slash_prefix="/bot ", max_options=3, max_form_characters=10)
ANN = Author("ann", "Ann")
TYPED_ONLY = PlatformTraits(key="terminal", name="Chat")


def on(talk: Talk, traits: PlatformTraits) -> Talk:
    """Return the same bot as another platform would have it built."""
    services = replace(talk.services, traits=traits)
    return Talk(Bot(services), services)


async def test_help_calls_commands_as_the_platform_does(tmp_path: Path) -> None:
    async with open_scripted_bot(ScriptedEngine(["Hi"]), tmp_path) as talk:
        edit = "!help prompt edit"
        assert (await on(talk, WITH_SLASH).ask(edit, reach="form"))["usage"] == ["/bot prompt edit NAME"]
        grouped = replace(WITH_SLASH, has_slash_groups=True)
        assert (await on(talk, grouped).ask(edit, reach="form"))["usage"] == ["/bot prompt-edit edit name"]
        assert (await on(talk, WITH_SLASH).ask(edit))["usage"] == ["!prompt edit NAME"]


async def test_a_slash_command_is_named_only_where_there_are_some(tmp_path: Path) -> None:
    async with open_scripted_bot(ScriptedEngine(["Hi"]), tmp_path) as talk:
        await talk.ask("!privacy --read off")
        how: dict[str, Any] = {"has_buttons": True, "reach": "public"}
        with_slash = await on(talk, WITH_SLASH).refusal("!privacy", **how)
        assert with_slash.endswith("in a direct message, or as a slash command.")
        assert (await on(talk, TYPED_ONLY).refusal("!privacy", **how)).endswith("in a direct message.")


async def test_no_more_values_are_suggested_than_the_platform_takes(tmp_path: Path) -> None:
    async with open_scripted_bot(ScriptedEngine(["Hi"]), tmp_path) as talk:
        for traits, is_limited in [(WITH_SLASH, True), (TYPED_ONLY, False)]:
            found = await on(talk, traits).bot.suggest_values(HERE, "help", "command", "")
            assert (len(found) == 3) is is_limited


async def test_a_text_that_no_field_of_the_platform_takes_is_left_out_of_the_form(tmp_path: Path) -> None:
    async with open_scripted_bot(ScriptedEngine(["Hi"]), tmp_path) as talk:
        for traits, is_there in [(WITH_SLASH, False), (TYPED_ONLY, True)]:
            card = await on(talk, traits).card("!prompt edit exact", has_buttons=True, reach="form")
            assert card.form is not None
            assert ("description" in {field.name for field in card.form.fields}) is is_there


async def test_a_terminal_says_how_things_are_done_there(tmp_path: Path) -> None:
    async with open_scripted_bot(ScriptedEngine(["Hi"]), tmp_path) as talk:
        here = on(talk, TERMINAL)
        assert await here.refusal("") == "There was no text. Type a message, or try !help."
        assert await here.refusal("!forget") == (
            "In the terminal no single message can be chosen. !purge 1 erases my last answer, !privacy --do forget"
            " everything you said, and after !fresh nothing above is read again."
        )
        assert await here.refusal("!report") == (
            "In the terminal nobody else reads along, so there is nobody to report to. !purge 1 erases my last answer."
        )
        for name in ("forget", "report"):
            card = await here.card(f"!help {name}")
            expected = f"In the terminal nothing can be replied to; !{name} says what to do instead."
            assert expected in [getattr(block, "text", "") for block in card.blocks]
        assert "reply to the message with !forget" in await on(talk, TYPED_ONLY).refusal("!forget")
