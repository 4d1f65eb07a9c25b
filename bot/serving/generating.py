"""Answers to prompts: continuations by the engine, with the tokens' log-probabilities if they are wanted."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.core.engine import Asker
from bot.core.prompt_parts import Prompt
from bot.core.results import Completion, ScoredToken
from bot.errors import Unavailable
from bot.serving.context import Serving
from bot.serving.errors import refuse
from bot.serving.requests import Wanted
from bot.serving.token_logprobs import listed_ids

# Shows the new text of the continuation with this index.
Show = Callable[[int, str], Awaitable[None]]

_NUM_AT_ONCE: Final = 8  # prompts of one request that are in the engine's queue together
MAX_LISTED: Final = 400_000  # log-probabilities in one answer: all are in memory at once


@dataclass(frozen=True, slots=True)
class Answer:
    """The continuations of one prompt. `lead` is the echoed prompt's text, else "".

    With log-probabilities, `lead_tokens` are the echoed prompt's tokens, and `new_tokens` those of each continuation.
    """

    completions: tuple[Completion, ...]
    num_prompt_tokens: int
    lead: str = ""
    lead_tokens: tuple[ScoredToken, ...] = ()
    new_tokens: tuple[tuple[ScoredToken, ...], ...] = ()

    @property
    def num_new_tokens(self) -> int:
        """Return how many tokens were written."""
        return sum(len(completion.token_ids) for completion in self.completions)


async def show_nothing(index: int, text: str) -> None:
    """Show no text before the answer is whole."""


@dataclass(frozen=True, slots=True)
class Answering:
    """One request on its way: what is wanted, by whom, and since when (`started_at`, of time.perf_counter)."""

    serving: Serving
    wanted: Wanted
    asker: Asker
    route: str
    started_at: float
    with_end: bool = True

    async def answer_all(
        self, prompts: Sequence[Prompt], texts: Sequence[str | None], show: Show = show_nothing
    ) -> list[Answer]:
        """Return the answers to all prompts; the continuations of prompt k have the indexes from k * n on.

        Raises what the engine raises for the first prompt that fails; the others are cancelled.
        """
        await self._check_size(prompts)
        n, turns = self.wanted.params.n, asyncio.Semaphore(_NUM_AT_ONCE)
        is_waiting = True

        async def answer(k: int, prompt: Prompt, text: str | None) -> Answer:
            async def show_one(index: int, new: str) -> None:
                nonlocal is_waiting
                if is_waiting:
                    is_waiting = False
                    self.serving.metrics.count_first_token(self.route, time.perf_counter() - self.started_at)
                if new:
                    await show(k * n + index, new)

            async with turns:
                return await self._answer(prompt, text, show_one)

        pairs = zip(prompts, texts, strict=True)
        answers = await _gather([answer(k, prompt, text) for k, (prompt, text) in enumerate(pairs)])
        self.serving.metrics.count_tokens(
            num_in=sum(one.num_prompt_tokens for one in answers), num_out=sum(one.num_new_tokens for one in answers)
        )
        return answers

    async def _check_size(self, prompts: Sequence[Prompt]) -> None:
        """Raise ApiError for an answer with more log-probabilities than one may have."""
        wanted = self.wanted
        if wanted.num_likeliest is None:
            return
        num_tokens = wanted.params.n * wanted.max_tokens * len(prompts)
        if wanted.is_echoed:
            num_tokens += wanted.params.n * sum(await self.serving.engine.count_tokens(prompts))
        num_listed = num_tokens * (wanted.num_likeliest + 1)
        if num_listed > MAX_LISTED:
            raise refuse(
                f"This asks for {num_listed:,} log-probabilities, but one answer has at most {MAX_LISTED:,}. Send fewer"
                " prompts at once, or set logprobs lower.",
                "logprobs",
            )

    async def _answer(self, prompt: Prompt, text: str | None, show: Show) -> Answer:
        engine, wanted = self.serving.engine, self.wanted
        lead = ""
        lead_tokens: tuple[ScoredToken, ...] = ()
        if wanted.is_echoed:
            lead, lead_tokens = await self._read_lead(prompt, text)
        if wanted.max_tokens:
            completions, num_prompt_tokens = await self._write(prompt, lead, show)
        else:
            (num_prompt_tokens,) = await engine.count_tokens([prompt])
            completions = tuple(Completion(index, "", (), 0.0, "length") for index in range(wanted.params.n))
            for completion in completions:
                await show(completion.index, lead)
        if wanted.num_likeliest is None:
            return Answer(completions, num_prompt_tokens, lead)
        new_tokens = [await self._score(prompt, completion) for completion in completions]
        return Answer(completions, num_prompt_tokens, lead, lead_tokens, tuple(new_tokens))

    async def _read_lead(self, prompt: Prompt, text: str | None) -> tuple[str, tuple[ScoredToken, ...]]:
        """Return the echoed prompt's text and tokens."""
        num_likeliest = self.wanted.num_likeliest
        if text is not None and (num_likeliest is None or not text):
            return text, ()
        engine = self.serving.engine
        tokens = await engine.score_tokens(prompt, num_likeliest=num_likeliest or 0, asker=self.asker)
        if text is None:
            text = b"".join(token.data for token in tokens).decode("utf-8", "replace")
        return text, tokens

    async def _write(self, prompt: Prompt, lead: str, show: Show) -> tuple[tuple[Completion, ...], int]:
        """Return the continuations of `prompt` and its number of tokens; show the text as it is written."""
        generation = self.serving.engine.generate(
            prompt, self.wanted.params, timeout_s=self.serving.timeout_s, asker=self.asker
        )
        is_led = [False] * self.wanted.params.n
        async with generation:
            async for delta in generation:
                is_first, is_led[delta.index] = not is_led[delta.index], True
                await show(delta.index, lead + delta.text if is_first else delta.text)
        if generation.timings is None or any(one.finish_reason == "cancelled" for one in generation.completions):
            raise Unavailable("The server is ending; try again when it is back.")
        return generation.completions, generation.timings.num_prompt_tokens

    async def _score(self, prompt: Prompt, completion: Completion) -> tuple[ScoredToken, ...]:
        """Return the listed tokens of a continuation, scored in float32 as all figures are."""
        new_ids = listed_ids(completion, with_end=self.with_end)
        if not new_ids:
            return ()
        return await self.serving.engine.score_tokens(
            prompt, new_ids, num_likeliest=self.wanted.num_likeliest or 0, with_prompt=False, asker=self.asker
        )


async def _gather(jobs: Sequence[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """Run all jobs and return their results; if one fails, the others are cancelled and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
    except BaseExceptionGroup as e:
        raise e.exceptions[0] from None
    return [task.result() for task in tasks]
