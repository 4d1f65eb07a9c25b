"""Token counts of a server's model: the server's own where it counts, else an estimate; and prompts of chats."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from bot.core.chat_prompt import PromptTools
from bot.core.engine_calls import Rendered
from bot.core.prompt_parts import ChatTurn, Prompt, PromptPart
from bot.errors import ModelError
from bot.remote.abilities import Abilities
from bot.remote.bodies import put
from bot.remote.prompt_making import KnownCounts, make_with
from bot.remote.server import Server, ask_again

ResultT = TypeVar("ResultT")

_COUNT_S: Final = 20.0
_MANY_AT_ONCE: Final = 8
# Each turn of a chat has a few tokens of markup around it.
_TOKENS_PER_TURN: Final = 5
_PIECES: Final = re.compile(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]|\n|[ \t]{2,}")
_LETTERS_PER_TOKEN: Final = 5
_TITLES: Final = {"system": "System", "user": "User", "assistant": "Assistant"}


class Counting:
    """Counts tokens, and makes prompts with the counts."""

    def __init__(self, server: Server, abilities: Abilities) -> None:
        self._server = server
        self._abilities = abilities
        self._known = KnownCounts()
        self._at_once = asyncio.Semaphore(_MANY_AT_ONCE)

    async def make(self, make: Callable[[PromptTools], ResultT]) -> ResultT:
        """Return the result of `make`, a pure function: it is called again when counts that it needs have come.

        Raises Unavailable, and the errors of `make`.
        """
        model = self._server.choice.model
        return await make_with(make, self._known, model, count=self._count, render=self._render)

    async def count(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        """Return the number of tokens of each prompt. Raises Unavailable."""
        return await self.make(lambda tools: tools.count_tokens(prompts))

    async def _count(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        if not self._abilities.counts_tokens:
            return tuple(estimate(prompt) for prompt in prompts)
        return tuple(await asyncio.gather(*map(self._ask, prompts)))

    async def _ask(self, prompt: Prompt) -> int:
        # What counts the tokens of its pictures adds them (bot.core.chat_prompt); few servers count those.
        turns = tuple(replace(turn, pictures=()) for turn in prompt.turns)
        body = put(replace(prompt, turns=turns), self._server.choice.model, self._abilities).body
        async with self._at_once:
            answer = await ask_again(
                lambda: self._server.post(self._server.beside("/tokenize"), body), timeout_s=_COUNT_S
            )
        count = count_of(answer)
        return estimate(prompt) if count is None else count

    async def _render(self, turns: Sequence[ChatTurn]) -> Rendered:
        """Return a prompt whose markup the server adds; its parts show people who says what. Raises ModelError."""
        if not self._abilities.has_chat:
            raise ModelError("The model's server has no chat.")
        stripped = tuple(ChatTurn(turn.role, turn.content.strip(), turn.pictures) for turn in turns)
        parts: list[PromptPart] = []
        for turn in stripped:
            parts += [PromptPart(f"{_TITLES[turn.role]}: ", is_markup=True), PromptPart(turn.content)]
            parts.append(PromptPart("\n\n", is_markup=True))
        prompt = Prompt((*parts, PromptPart("Assistant: ", is_markup=True)), turns=stripped)
        (num_tokens,) = await self._count((prompt,))
        return Rendered(prompt, num_tokens)


def count_of(answer: Any) -> int | None:
    """Return the count in a server's answer to /tokenize; None if there is none."""
    count = answer.get("count") if isinstance(answer, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def estimate(prompt: Prompt) -> int:
    """Return about how many tokens a prompt has, rather too many than too few.

    Byte-level tokenizers of 50,000 tokens or more make about 1.3 tokens of an English word; here a word has one for
    every 5 letters, a number one for each digit, and each mark or line break has one. Of other scripts a letter has one
    token for each byte but one, as GPT-2's tokenizer has at worst; newer tokenizers have half of that.
    """
    if prompt.turns:
        return sum(_estimate_text(turn.content) + _TOKENS_PER_TURN for turn in prompt.turns) + _TOKENS_PER_TURN
    return _estimate_text(prompt.text)


def _estimate_text(text: str) -> int:
    return sum(_estimate_piece(piece) for piece in _PIECES.findall(text))


def _estimate_piece(piece: str) -> int:
    if not piece.isascii():
        return max(1, len(piece.encode("utf-8", "replace")) - 1)
    if piece.isalpha():
        return 1 + (len(piece) - 1) // _LETTERS_PER_TOKEN
    return len(piece) if piece.isdigit() else 1
