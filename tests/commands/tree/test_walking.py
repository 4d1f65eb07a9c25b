"""What the model is asked for in the place of a word, on an engine whose tokens are characters."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.core.prompt_parts import Prompt
from bot.core.results import Delta, WordProbability
from bot.core.sampling_params import SamplingParams
from bot.errors import GenerationError
from bot.platforms.terminal.rendering import plain_text, render_card
from tests.bots import ScriptedEngine, ScriptedGeneration, Talk, open_scripted_bot


class TokenGeneration(ScriptedGeneration):
    """Writes characters as tokens, each with the probability 0.5."""

    async def __aiter__(self) -> AsyncIterator[Delta]:
        async for delta in super().__aiter__():
            yield delta
        self.completions = tuple(
            replace(one, token_ends=tuple(range(1, len(one.text) + 1)), token_logprobs=(-0.7,) * len(one.text))
            for one in self.completions
        )


class TokenEngine(ScriptedEngine):
    """Expects the same words everywhere, and other tokens."""

    def __init__(self, scripts: list[Any]) -> None:
        super().__init__(scripts)
        self.asked: list[tuple[str, str]] = []
        self.expected = " roof"

    def generate(self, prompt: Prompt, params: SamplingParams, **how: Any) -> ScriptedGeneration:
        scripted = super().generate(prompt, params, **how)
        return TokenGeneration(scripted._script)

    async def next_words(self, prompt: Prompt, **how: Any) -> tuple[WordProbability, ...]:
        self.asked.append(("words", prompt.text))
        return (WordProbability(self.expected, 0.3),)

    async def next_tokens(self, prompt: Prompt, **how: Any) -> tuple[WordProbability, ...]:
        self.asked.append(("tokens", prompt.text))
        return (WordProbability("\ufffd", 0.4), WordProbability("可", 0.3))


async def walked(talk: Talk, given: str, word: str) -> tuple[Any, Any]:
    """Return the card with what is expected in the place of a word, and the one behind it."""
    card = await talk.card(f"!complete --n 1 {given}", has_buttons=True)
    words = await talk.click(card, "words")
    (number,) = [one["number"] for one in words.data["words"] if one["text"] == word]
    opened = await talk.click(words, "pick", value=f"#{number}")
    return opened, await talk.click(opened, "pick", value="#1")


@pytest.mark.parametrize(
    ("given", "script", "word", "asked", "prompt"),
    [
        ("It sat", " on the mat.", "mat", ("words", "It sat on the"), "It sat on the roof"),
        ("It sat ", "on it.", "on", ("words", "It sat"), "It sat roof"),
        ("我们", "还有", "还", ("tokens", "我们"), "我们可"),
    ],
)
async def test_words_are_expected_in_the_place_of_words_and_tokens_where_no_spaces_are_written(
    tmp_path: Path, given: str, script: str, word: str, asked: tuple[str, str], prompt: str
) -> None:
    engine = TokenEngine([script])
    async with open_scripted_bot(engine, tmp_path) as talk:
        opened, moved = await walked(talk, given, word)
        assert engine.asked == [asked]
        assert len(opened.data["instead"]) == 1, "parts of characters are left out"
        assert moved.data["prompt"] == prompt
        assert engine.read[-1].text == prompt
        assert (engine.how[-1]["heal"], engine.how[-1]["is_word_whole"]) == (False, True)


async def test_nothing_that_the_model_or_a_person_wrote_changes_what_is_around_it(tmp_path: Path) -> None:
    engine = TokenEngine([" on \x1b[31mred \u202emat\x07 it."])
    engine.expected = " a\u202eb\x1b"
    async with open_scripted_bot(engine, tmp_path) as talk:
        await talk.ask("!complete --n 1 It \u202esat \x1b[2J" + "x" * 50_000)
        shown = [await talk.card("words"), await talk.card("2")]
        shown += [await talk.card(typed) for typed in ("1", "branches", "2", "name \u202eit\x1b", "back", "txt")]
        for card in shown:
            assert card.error is None
            text = plain_text(render_card(card, is_colored=True))
            assert "\x1b" not in text
            assert "\u202e" not in text.replace("It \u202esat", ""), "the text itself is the person's own"


async def test_what_fails_behind_a_word_gives_the_list_of_words_back(tmp_path: Path) -> None:
    engine = TokenEngine([" on the mat."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        card = await talk.card("!complete --n 1 It sat", has_buttons=True)
        words = await talk.click(card, "words")
        opened = await talk.click(words, "pick", value="#3")
        engine.scripts = [GenerationError("The model broke.")]
        assert await talk.click_refusal(opened, "pick", value="#1") == "The model broke."
        engine.scripts = [(" It purrs.", GenerationError("The model broke."))]
        failed = await talk.click(opened, "pick", value="#1")
        assert "The model broke." in [getattr(block, "text", "") for block in failed.blocks]
        assert (failed.selects, failed.revision) == (opened.selects, opened.revision)
        engine.scripts = ["."]
        assert (await talk.click(failed, "pick", value="#1")).data["prompt"] == "It sat on the roof"


async def test_a_branch_that_the_model_ends_at_once_can_be_left_by_undo(tmp_path: Path) -> None:
    engine = TokenEngine([" on the mat."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        card = await talk.card("!complete --n 1 It sat", has_buttons=True)
        opened = await talk.click(await talk.click(card, "words"), "pick", value="#3")
        engine.scripts = [""]
        moved = await talk.click(opened, "pick", value="#1")
        assert (moved.data["prompt"], moved.data["choices"]) == ("It sat on the roof", [])
        assert "The model has nothing to add here." in [getattr(block, "text", "") for block in moved.blocks]
        assert [button.label for button in moved.buttons] == ["More", "Undo", "Again", "Words", "Branches"]
        assert (await talk.click(moved, "undo")).data["choices"] == card.data["choices"]
