"""One generation by a server, as its consumer sees it."""

import weakref
from collections.abc import Callable
from types import TracebackType

from bot.core.results import Completion, Delta, Timings
from bot.core.sampling_params import SamplingParams
from bot.remote.writing import Writing


class RemoteGeneration:
    """One generation: `async with` starts it, `async for` yields its deltas, then `completions` holds the results.

    It is as bot.core.engine.Generation says. A generation never runs alone on a server. `token_ids` are not known.
    """

    def __init__(self, start: Callable[[], Writing], params: SamplingParams) -> None:
        self.params = params
        self.completions: tuple[Completion, ...] = ()
        self.timings: Timings | None = None
        self.part_timings: tuple[Timings, ...] = ()
        self._start = start
        self._writing: Writing | None = None
        self._is_unwanted = False  # cancelled before it was entered
        self._is_told = False  # its error was raised

    @property
    def was_alone(self) -> bool:
        """Say that it did not run alone: others ask the same server."""
        return False

    @property
    def num_ahead(self) -> int:
        """Return how many requests are ahead in the queue, 0 if this one runs."""
        return self._writing.num_ahead if self._writing is not None else 0

    @property
    def notice(self) -> str:
        """Return what people must know of the answer, "" if there is nothing."""
        return self._writing.notice if self._writing is not None else ""

    def cancel(self) -> None:
        """End the generation and close its stream, with finish_reason "cancelled". Safe at any time."""
        self._is_unwanted = self._writing is None
        if self._writing is not None:
            self._writing.cancel()

    async def __aenter__(self) -> "RemoteGeneration":
        if self._writing is not None:
            raise RuntimeError("A generation can be entered only once.")
        self._writing = writing = self._start()
        handle = weakref.ref(self)  # the writing must not keep alive a generation that nobody uses
        writing.ended.add_done_callback(lambda _: _tell_end(handle, writing))
        if self._is_unwanted:
            self._writing.cancel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def __del__(self) -> None:
        writing = getattr(self, "_writing", None)  # None, too, when __init__ failed
        if writing is not None:
            writing.cancel_from_anywhere()

    def __aiter__(self) -> "RemoteGeneration":
        return self

    async def __anext__(self) -> Delta:
        writing = self._writing
        if writing is None:
            raise RuntimeError("Enter the generation with `async with` first.")
        while not writing.deltas:
            if writing.ended.done():
                self.take_results(writing)
                self._raise_error(writing)
                raise StopAsyncIteration
            writing.news.clear()
            await writing.news.wait()
        return writing.deltas.popleft()

    def take_results(self, writing: Writing) -> None:
        """Take over what was written, at the end."""
        self.completions = writing.completions
        self.timings, self.part_timings = writing.timings, writing.part_timings

    def _raise_error(self, writing: Writing) -> None:
        """Raise the error of a writing that failed, once."""
        if self._is_told or writing.ended.cancelled() or (error := writing.ended.exception()) is None:
            return
        self._is_told = True
        raise error


def _tell_end(handle: "weakref.ref[RemoteGeneration]", writing: Writing) -> None:
    generation = handle()
    if generation is not None:
        generation.take_results(writing)
