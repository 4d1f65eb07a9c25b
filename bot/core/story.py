"""A text that several people and the bot write together: how its parts are joined, and what of it the model reads."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.core.chat_prompt import PromptTools, find_first_that_fits
from bot.core.prompt_parts import Prompt

# What begins with one of these belongs to the word before it.
_CLOSING: Final = frozenset(".,;:!?…)]}»”’%")
_WORD: Final = re.compile(r"\S+")
_SPACE: Final = re.compile(r"\s+")
_MAX_LOOKED_AT: Final = 200  # characters until the start of the next word
_SENTENCE_START: Final = re.compile(r"(?<=[.!?…。！？\n])[\"'”’»)\]]*\s+(?=\S)|(?<=[。！？])")


@dataclass(frozen=True, slots=True)
class StoryPart:
    """Words of the bot, which are written as they are, or of a member."""

    text: str
    is_bot: bool


@dataclass(frozen=True, slots=True)
class StoryPrompt:
    """What the model reads of a story: its text from the character `start` on, which takes `num_tokens`.

    `start_part` is the first part of which something is read.
    """

    prompt: Prompt
    start: int
    start_part: int
    num_tokens: int


def join_parts(parts: Sequence[StoryPart]) -> str:
    """Return the parts as one text: a member's words are set apart by a space, unless they begin with a stop."""
    return "".join(_pieces(parts))


def _pieces(parts: Sequence[StoryPart]) -> list[str]:
    """Return what each part adds to the text."""
    pieces: list[str] = []
    last = ""
    for part in parts:
        piece = part.text if last else part.text.lstrip()
        if not part.is_bot and piece and last and not (last.isspace() or piece[0].isspace() or piece[0] in _CLOSING):
            piece = f" {piece}"
        pieces.append(piece)
        last = piece[-1:] or last
    return pieces


@dataclass(frozen=True, slots=True)
class StoryFit:
    """The inputs of a story's prompt. Call it with a model's tools to build the prompt; pure.

    `max_new_tokens` is the room that the continuations want.
    """

    parts: Sequence[StoryPart]
    context_length: int
    max_new_tokens: int

    def __call__(self, tools: PromptTools) -> StoryPrompt:
        """Return the prompt, without the beginning of the story if not all fits beside the continuations.

        The beginning is left out in steps, so that the prompt stays the beginning of the next one for a while, and what
        the model has read of it is read once.
        """
        pieces = _pieces(self.parts)
        text = "".join(pieces)
        room = max(1, self.context_length - min(self.max_new_tokens, self.context_length // 2))
        # Long steps are rare steps, but where a token is a character they would leave too little to read.
        start, num_tokens = _first_that_fits(tools, text, room, step=room)
        if start and num_tokens < room // 2:
            start, num_tokens = _first_that_fits(tools, text, room, step=max(1, room // 2))
        start_part, before = 0, 0
        while start_part < len(pieces) - 1 and before + len(pieces[start_part]) <= start:
            before += len(pieces[start_part])
            start_part += 1
        return StoryPrompt(Prompt.document(text[start:]), start, start_part, num_tokens)


def _first_that_fits(tools: PromptTools, text: str, room: int, *, step: int) -> tuple[int, int]:
    """Return the first word, of those at every `step` characters, from which `text` fits, and the tokens from there."""
    starts = [*dict.fromkeys(_word_start(text, at) for at in range(0, len(text) + 1, step))]
    starts.append(max(starts[-1], len(text) - room // 8))

    def excess(index: int) -> int:
        return tools.count_tokens([Prompt.document(text[starts[index] :])])[0] - room

    # A token is rarely longer than 16 characters, and counting a very long text takes time.
    first = next(i for i, start in enumerate(starts) if len(text) - start <= 16 * room or i == len(starts) - 1)
    found = find_first_that_fits(range(first, len(starts)), excess)
    at = len(starts) - 1 if found is None else found
    return starts[at], excess(at) + room


def _word_start(text: str, at: int) -> int:
    """Return where the next word begins, from the character `at` on."""
    found = _SPACE.search(text, at, at + _MAX_LOOKED_AT) if at else None
    return found.end() if found else min(at, len(text))


def count_words(text: str) -> int:
    """Return the number of words, as white space separates them."""
    return sum(1 for _ in _WORD.finditer(text))


def last_passage(text: str, max_characters: int) -> str:
    """Return the end of `text`: from the start of a sentence, or else of a word, with a sign that something is missing.

    It has at most `max_characters` and the sign.
    """
    if len(text) <= max_characters:
        return text
    first = len(text) - max_characters
    sentence = _SENTENCE_START.search(text, first, len(text) - max_characters // 2)
    word = _SPACE.search(text, first, min(len(text), first + max_characters // 2))
    start = sentence.end() if sentence else word.end() if word else first
    return f"… {text[start:]}"
