"""Prompts that are made with the tokenizer of a server: in few trips, and without waiting inside the pure function."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from bot.core.chat_prompt import PromptTools
from bot.core.engine_calls import CountTokens, RenderChat, Rendered
from bot.core.prompt_parts import ChatTurn, Prompt
from bot.errors import FewshotError

ResultT = TypeVar("ResultT")
Question = CountTokens | RenderChat

_MAX_KEPT_CHARACTERS: Final = 2_000_000


class KnownCounts:
    """The numbers of tokens of the prompts that were counted last, as long as the model is the same."""

    def __init__(self) -> None:
        self._model = ""
        self._counts: OrderedDict[Prompt, int] = OrderedDict()
        self._num_characters = 0

    def use_for(self, model: str) -> None:
        """Forget all counts of another model."""
        if model != self._model:
            self._model = model
            self._counts.clear()
            self._num_characters = 0

    def get(self, prompt: Prompt) -> int | None:
        """Return the number of tokens if it is known."""
        if prompt in self._counts:
            self._counts.move_to_end(prompt)
        return self._counts.get(prompt)

    def add(self, prompt: Prompt, num_tokens: int) -> None:
        """Keep the count; the ones used least recently make room for it."""
        if prompt not in self._counts:
            self._num_characters += len(prompt.text)
        self._counts[prompt] = num_tokens
        while self._num_characters > _MAX_KEPT_CHARACTERS:
            gone, _ = self._counts.popitem(last=False)
            self._num_characters -= len(gone.text)


class _Unanswered(BaseException):
    """Leaves the pure function, whatever it catches, to ask the server."""

    def __init__(self, question: Question) -> None:
        self.question = question


class _Answers:
    """The tools of one prompt: what the server has answered so far."""

    def __init__(self, counts: KnownCounts) -> None:
        self.counts: dict[Prompt, int] = {}
        self.rendered: dict[tuple[ChatTurn, ...], Prompt | FewshotError] = {}
        self._known = counts

    def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        """Return the number of tokens of each prompt."""
        for prompt in prompts:
            if prompt not in self.counts and (num := self._known.get(prompt)) is not None:
                self.counts[prompt] = num
        missing = tuple(dict.fromkeys(prompt for prompt in prompts if prompt not in self.counts))
        if missing:
            raise _Unanswered(CountTokens(missing))
        return tuple(self.counts[prompt] for prompt in prompts)

    def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        """Return `turns` in the model's own chat markup."""
        given = tuple(turns)
        if given not in self.rendered:
            raise _Unanswered(RenderChat(given))
        answer = self.rendered[given]
        if isinstance(answer, FewshotError):
            raise answer
        return answer


async def make_with(
    make: Callable[[PromptTools], ResultT],
    known: KnownCounts,
    *,
    count: Callable[[CountTokens], Awaitable[tuple[int, ...]]],
    render: Callable[[RenderChat], Awaitable[Rendered]],
) -> ResultT:
    """Return the result of the pure function `make`.

    It is called in a thread, again after each answer of the server, until it asks nothing new. Raises what it raises,
    and what `count` raises.
    """
    answers = _Answers(known)

    def attempt() -> ResultT | _Unanswered:
        try:
            return make(answers)
        except _Unanswered as e:
            return e

    while True:
        found = await asyncio.to_thread(attempt)
        if not isinstance(found, _Unanswered):
            return found
        question = found.question
        if isinstance(question, CountTokens):
            counts = await count(question)
            answers.counts.update(zip(question.prompts, counts, strict=True))
        else:
            await _render(question, answers, render)
        for prompt, num_tokens in answers.counts.items():
            known.add(prompt, num_tokens)


async def _render(question: RenderChat, answers: _Answers, render: Callable[[RenderChat], Awaitable[Rendered]]) -> None:
    """Ask for a conversation in markup. A model's own refusal is the function's to hear."""
    try:
        rendered = await render(question)
    except FewshotError as e:
        answers.rendered[question.turns] = e
        return
    answers.rendered[question.turns] = rendered.prompt
    answers.counts[rendered.prompt] = rendered.num_tokens
