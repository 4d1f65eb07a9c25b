"""Prompts that are made with the tokenizer of a server: in few trips, and without waiting inside the pure function."""

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from bot.core.chat_prompt import PromptTools
from bot.core.engine_calls import Rendered
from bot.core.prompt_parts import ChatTurn, Prompt
from bot.errors import FewshotError, ModelChanged

ResultT = TypeVar("ResultT")
Turns = tuple[ChatTurn, ...]
Count = Callable[[tuple[Prompt, ...]], Awaitable[tuple[int, ...]]]
Render = Callable[[Turns], Awaitable[Rendered]]

_MAX_KEPT: Final = 20_000


class KnownCounts:
    """The numbers of tokens of the prompts that were counted last, each for one model; only digests are kept."""

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    def get(self, model: str, prompt: Prompt) -> int | None:
        """Return the number of tokens if it is known."""
        key = _key(model, prompt)
        if key in self._counts:
            self._counts.move_to_end(key)
        return self._counts.get(key)

    def add(self, model: str, prompt: Prompt, num_tokens: int) -> None:
        """Keep the count; the ones used least recently make room for it."""
        self._counts[_key(model, prompt)] = num_tokens
        while len(self._counts) > _MAX_KEPT:
            self._counts.popitem(last=False)


def _key(model: str, prompt: Prompt) -> bytes:
    parts = [[part.text, part.is_markup] for part in prompt.parts]
    turns = [[turn.role, turn.content] for turn in prompt.turns]
    whole = [model, parts, turns, prompt.is_document, prompt.token_ids]
    return hashlib.sha256(json.dumps(whole).encode()).digest()


class _Unanswered(BaseException):
    """Leaves the pure function, whatever it catches, to ask the server: to count `prompts`, or to render `turns`."""

    def __init__(self, *, prompts: tuple[Prompt, ...] = (), turns: Turns = ()) -> None:
        self.prompts = prompts
        self.turns = turns


class _Answers:
    """The tools of one prompt: what the server has answered so far."""

    def __init__(self, known: KnownCounts, model: str) -> None:
        self.counts: dict[Prompt, int] = {}
        self.rendered: dict[Turns, Prompt | FewshotError] = {}
        self._known = known
        self._model = model

    def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        """Return the number of tokens of each prompt."""
        for prompt in prompts:
            if prompt not in self.counts and (num := self._known.get(self._model, prompt)) is not None:
                self.counts[prompt] = num
        missing = tuple(dict.fromkeys(prompt for prompt in prompts if prompt not in self.counts))
        if missing:
            raise _Unanswered(prompts=missing)
        return tuple(self.counts[prompt] for prompt in prompts)

    def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        """Return `turns` in the model's own chat markup."""
        given = tuple(turns)
        if given not in self.rendered:
            raise _Unanswered(turns=given)
        answer = self.rendered[given]
        if isinstance(answer, FewshotError):
            raise answer
        return answer


async def make_with(
    make: Callable[[PromptTools], ResultT], known: KnownCounts, model: str, *, count: Count, render: Render
) -> ResultT:
    """Return the result of the pure function `make`, for the model with the key `model`.

    It is called in a thread, again after each answer of the server, until it asks nothing new. Raises what it raises,
    and what `count` raises.
    """
    answers = _Answers(known, model)

    def attempt() -> ResultT | _Unanswered:
        try:
            return make(answers)
        except _Unanswered as e:
            return e

    while True:
        found = await asyncio.to_thread(attempt)
        if not isinstance(found, _Unanswered):
            return found
        if found.prompts:
            added = dict(zip(found.prompts, await count(found.prompts), strict=True))
        else:
            added = await _render(found.turns, answers, render)
        answers.counts.update(added)
        for prompt, num_tokens in added.items():
            known.add(model, prompt, num_tokens)


async def _render(turns: Turns, answers: _Answers, render: Render) -> dict[Prompt, int]:
    """Ask for a conversation in markup, and return its count. A model's own refusal is the function's to hear."""
    try:
        rendered = await render(turns)
    except ModelChanged:
        raise
    except FewshotError as e:
        answers.rendered[turns] = e
        return {}
    answers.rendered[turns] = rendered.prompt
    return {rendered.prompt: rendered.num_tokens}
