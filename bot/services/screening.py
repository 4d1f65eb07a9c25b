"""What a model writes in public, held back until it has none of the words that a server's moderators don't allow."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final

from bot.core.engine import Generation
from bot.core.messages import Scope
from bot.core.results import Completion, Delta, Timings
from bot.core.sampling_params import SamplingParams
from bot.core.word_list import BLOCKED_WORDS, WordList
from bot.errors import RequestError
from bot.store.store import Store

NOT_ALLOWED: Final = (
    "What the model wrote has a word that the moderators don't allow here, so it is not shown. Ask again, or use"
    " other words."
)
# In `prompt_inputs` of a stored answer: how many texts before it had such a word.
NUM_BLOCKED: Final = "num_blocked"
# Far from the seeds of the rounds that follow.
_SECOND_SEED: Final = 1_000_003


class WordNotAllowed(RequestError):
    """A text was left out because of a word that is not allowed."""


Make = Callable[[Sequence[SamplingParams]], Generation]


async def load_word_list(store: Store, scope: Scope) -> WordList:
    """Return the words that are not allowed in public answers in `scope`. Raises Unavailable."""
    return WordList.stored((await store.get_settings(scope)).get(BLOCKED_WORDS, ""))


class Screened:
    """A generation without deltas until its end: if its texts have a word of the list, it is made once more.

    Its texts go on from `befores` (one for all of them, or one for each). Raises RequestError at the end if the second
    one has such a word too, or the first one can't become another. `num_blocked` is how many were left out.
    """

    def __init__(self, make: Make, params: Sequence[SamplingParams], befores: Sequence[str], words: WordList) -> None:
        self._make = make
        self.used_params = tuple(params)
        self._befores = tuple(befores)
        self._words = words
        self._now = make(params)
        self._written: dict[int, str] = {}
        self._has_word: set[int] = set()
        self._is_cancelled = False
        self.num_blocked = 0

    @property
    def params(self) -> SamplingParams:
        """Return the options of the first text."""
        return self._now.params

    @params.setter
    def params(self, params: SamplingParams) -> None:
        self._now.params = params

    @property
    def completions(self) -> tuple[Completion, ...]:
        """Return the results, () before the end."""
        return self._now.completions

    @property
    def timings(self) -> Timings | None:
        """Return the times of the last attempt, None before the end."""
        return self._now.timings

    @property
    def part_timings(self) -> tuple[Timings, ...]:
        """Return the times of each continuation of a batch, () before the end."""
        return self._now.part_timings

    @property
    def notice(self) -> str:
        """Return what people must know of the answer."""
        return self._now.notice

    @property
    def was_alone(self) -> bool:
        """Say whether it was to run alone and did, until now."""
        return self._now.was_alone

    @property
    def num_ahead(self) -> int:
        """Return how many requests are ahead in the queue, 0 if this one runs."""
        return self._now.num_ahead

    def cancel(self) -> None:
        """End the generation; a text that has a word of the list by then is refused."""
        self._is_cancelled = True
        self._now.cancel()

    async def __aenter__(self) -> "Screened":
        await self._now.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._now.__aexit__(kind, error, traceback)

    def __aiter__(self) -> "Screened":
        return self

    async def __anext__(self) -> Delta:
        while True:
            async for delta in self._now:
                self._take(delta)
            for index, completion in enumerate(self.completions):
                if self._words.is_in(completion.text, before=self._before(index)):
                    self._has_word.add(index)
            if not self._has_word:
                raise StopAsyncIteration
            is_sampled = all(self.used_params[min(i, len(self.used_params) - 1)].is_sampled for i in self._has_word)
            if self.num_blocked or self._is_cancelled or not is_sampled:
                raise WordNotAllowed(NOT_ALLOWED)
            await self._begin_again()

    def _take(self, delta: Delta) -> None:
        written = self._written[delta.index] = self._written.get(delta.index, "") + delta.text
        complete = self._words.completed(written)
        if delta.index not in self._has_word and self._words.is_in(complete, before=self._before(delta.index)):
            self._has_word.add(delta.index)
            self._now.cancel()

    def _before(self, index: int) -> str:
        return self._befores[min(index, len(self._befores) - 1)]

    async def _begin_again(self) -> None:
        await self._now.__aexit__(None, None, None)
        self.num_blocked += 1
        self._written.clear()
        self._has_word.clear()
        self.used_params = tuple(one.shift_seed(_SECOND_SEED) for one in self.used_params)
        self._now = self._make(self.used_params)
        await self._now.__aenter__()


def screen(make: Make, params: Sequence[SamplingParams], befores: Sequence[str], words: WordList) -> Generation:
    """Return what `make` makes with `params`; with a list it is held back and made again as `Screened` says."""
    return Screened(make, params, befores, words) if words else make(params)


def params_used(generation: Generation, params: Sequence[SamplingParams]) -> Sequence[SamplingParams]:
    """Return the options, first `params`, with which the texts of a generation were written."""
    return generation.used_params if isinstance(generation, Screened) else params


def inputs_of(generation: Generation) -> dict[str, int]:
    """Return what a stored answer remembers of the texts before it."""
    num = generation.num_blocked if isinstance(generation, Screened) else 0
    return {NUM_BLOCKED: num} if num else {}
