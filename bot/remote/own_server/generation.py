"""One generation that a server writes, as its consumer sees it: a server that dies meanwhile is asked again."""

import asyncio
import secrets
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Final

from bot.core.engine import Asker, waited_too_long
from bot.core.engine_calls import Beat, Ended, Frame, Generate, GenerateBatch, Written, Wrote
from bot.core.results import Completion, Delta, Timings
from bot.core.sampling_params import SamplingParams
from bot.core.wire import WireError, from_wire
from bot.errors import Busy, GenerationError, Unavailable
from bot.remote.own_server.connection import ServerAway
from bot.remote.own_server.patience import Patience
from bot.trace import note_step

GenerationCall = Generate | GenerateBatch
# Sends a generation with its id, and yields the frames that answer it.
Send = Callable[[GenerationCall, str], AsyncGenerator[Frame]]
Cancel = Callable[[str], None]

_EDGE_S: Final = 0.25  # so far from the time limit a server that waits for it may answer
_STOP_S: Final = 2.0  # a server ends a generation within a token of being told
_TOO_LATE: Final = "The model's server was lost while it wrote, and no time was left to write as much again. Ask again."
_DIFFERS: Final = "The model's server was lost while it wrote, and then wrote another text. Ask again."


class _Shown:
    """One continuation's text: what was handed on, and how much of it the server has written this time."""

    def __init__(self) -> None:
        self.text = ""
        self.completion: Completion | None = None
        self.written = ""

    def take(self, delta: Delta) -> Delta | None:
        """Return what of `delta` is new. Raises Unavailable if the text is another one than was handed on."""
        self.written += delta.text
        common = min(len(self.written), len(self.text))
        if self.written[:common] != self.text[:common]:
            raise Unavailable(_DIFFERS)
        if delta.completion is not None and len(self.written) < len(self.text):
            is_cut = delta.completion.finish_reason == "length"
            raise Unavailable(_TOO_LATE if is_cut else _DIFFERS)
        new, was_over = self.written[common:], self.completion is not None
        if was_over and new:
            raise Unavailable(_DIFFERS)
        self.text += new
        self.completion = self.completion or delta.completion
        return Delta(delta.index, new, delta.completion) if new or not was_over else None


class _Writing:
    """The part of a generation that runs in a task of its own; it lives on without its consumer until that ends it."""

    def __init__(
        self,
        send: Send,
        cancel: Cancel,
        call: GenerationCall,
        num_completions: int,
        asker: Asker,
        on_answer: Callable[[Timings], None] | None,
    ) -> None:
        self._on_answer = on_answer
        self._send = send
        self._cancel = cancel
        self._call = call
        self._request_id = asker.request_id
        self._id = secrets.token_hex(8)
        self._patience = Patience(call.timeout_s)
        self._shown = [_Shown() for _ in range(num_completions)]
        self.deltas: deque[Delta] = deque()
        self.news = asyncio.Event()
        self.given_up = asyncio.Event()  # cancelled by the consumer, who still waits for the end
        self.is_ended = False
        self.error: BaseException | None = None
        self.num_ahead = 0
        self.result: Written | None = None

    async def run(self) -> None:
        """Ask until there is an end."""
        try:
            while not self.is_ended:
                try:
                    await self._ask()
                except ServerAway as e:
                    await self._wait(e)
                except Busy as e:
                    raise self._whole_wait(e) from e
        except Exception as e:  # whatever it is, the consumer waits for it
            self.error = None if self.is_ended else e
        finally:
            self.is_ended = True
            self.news.set()

    async def _ask(self) -> None:
        """Ask once, with the time that is left, and hand on what is written."""
        call = replace(self._call, timeout_s=self._patience.left_s)
        for shown in self._shown:
            shown.written = ""
        async with aclosing(self._send(call, self._id)) as frames:
            async for frame in frames:
                if self.is_ended:
                    return
                self._patience.hear(restarts_clock=False)
                if isinstance(frame, Beat):
                    self.num_ahead = frame.num_ahead
                elif isinstance(frame, Wrote):
                    self._take(frame.delta)
                elif isinstance(frame, Ended):
                    self._end(frame)

    def _whole_wait(self, busy: Busy) -> Unavailable:
        """Return the error of a full queue. A server that was asked again knows only of its own part of the wait."""
        if self._patience.left_s > _EDGE_S:
            return busy
        return Unavailable(_TOO_LATE) if any(one.text for one in self._shown) else waited_too_long(self._call.timeout_s)

    async def _wait(self, away: ServerAway) -> None:
        self.num_ahead = 0
        if self.is_ended:
            return
        if not self.given_up.is_set():
            await self._patience.wait(away, self.given_up)
        if self.given_up.is_set() and not self.is_ended:
            self._end_given_up()

    def _take(self, delta: Delta) -> None:
        if not 0 <= delta.index < len(self._shown):
            raise GenerationError("The engine's server wrote a text that nobody asked for.")
        if not any(shown.text for shown in self._shown) and not self.deltas:
            note_step(self._request_id, "first token")
        self.num_ahead = 0
        new = self._shown[delta.index].take(delta)
        if new is not None:
            self.deltas.append(new)
            self.news.set()

    def _end(self, frame: Ended) -> None:
        try:
            self.result = from_wire(Written, frame.result)
        except WireError as e:
            raise GenerationError("The engine's server gave a result that can't be read.") from e
        if timings := self.result.timings:
            note_step(self._request_id, "last token", prefill_ms=timings.prefill_ms, tokens=timings.num_new_tokens)
            if self._on_answer is not None:
                self._on_answer(timings)
        self.is_ended = True

    def _end_given_up(self) -> None:
        """End with the text so far: the server is away, and nobody waits for more."""
        for index, shown in enumerate(self._shown):
            if shown.completion is None:
                shown.completion = Completion(index, shown.text, (), None, "cancelled")
                self.deltas.append(Delta(index, "", shown.completion))
        completions = tuple(shown.completion for shown in self._shown if shown.completion is not None)
        self.result = Written(completions, None, (), False, "")
        self.is_ended = True

    def give_up(self) -> None:
        """Ask the server to end it within one token."""
        if not self.given_up.is_set() and not self.is_ended:
            self.given_up.set()
            self._cancel(self._id)
            asyncio.get_running_loop().call_later(_STOP_S, self._stop_waiting)

    def _stop_waiting(self) -> None:
        """End with the text so far what the server has not ended: it hangs, or never heard of it."""
        if not self.is_ended:
            self._end_given_up()
            self.news.set()


class ServedGeneration:
    """A generation of a server, as bot.core.engine.Generation says.

    A full queue is told in the `async for`. A server that dies is waited for and asked again within the request's
    time, with the same seed, and the text goes on after what was shown; if it differs from that, it raises Unavailable.
    """

    def __init__(
        self,
        send: Send,
        cancel: Cancel,
        call: GenerationCall,
        params: SamplingParams,
        *,
        num_completions: int,
        asker: Asker,
        on_answer: Callable[[Timings], None] | None = None,
    ) -> None:
        self.params = params
        self._writing = _Writing(send, cancel, call, num_completions, asker, on_answer)
        self._request_id = asker.request_id
        self._is_alone = isinstance(call, Generate) and call.is_alone
        self._task: asyncio.Task[None] | None = None
        self._dropped: weakref.finalize[[asyncio.AbstractEventLoop, asyncio.Task[None]], ServedGeneration] | None = None

    @property
    def completions(self) -> tuple[Completion, ...]:
        """Return the results, once it has ended."""
        return () if self._writing.result is None else self._writing.result.completions

    @property
    def timings(self) -> Timings | None:
        """Return the times of the whole request, if it ran to its end."""
        return None if self._writing.result is None else self._writing.result.timings

    @property
    def part_timings(self) -> tuple[Timings, ...]:
        """Return the times of each continuation of a batch, if it ran."""
        return () if self._writing.result is None else self._writing.result.part_timings

    @property
    def notice(self) -> str:
        """Return what people must know of the answer, "" if there is nothing."""
        return "" if self._writing.result is None else self._writing.result.notice

    @property
    def was_alone(self) -> bool:
        """Say whether it was to run alone and did, until now."""
        return self._is_alone and (self._writing.result is None or self._writing.result.was_alone)

    @property
    def num_ahead(self) -> int:
        """Return how many requests are ahead in the server's queue, 0 if this one runs."""
        return self._writing.num_ahead

    def cancel(self) -> None:
        """End the generation within one token, with finish_reason "cancelled". Safe at any time."""
        self._writing.give_up()

    async def __aenter__(self) -> "ServedGeneration":
        if self._task is not None:
            raise RuntimeError("A generation can be entered only once.")
        note_step(self._request_id, "queued")
        self._task = asyncio.create_task(self._writing.run(), name="a generation of the model's server")
        # The task knows only the writing, so that it can be ended when nobody holds the generation any more.
        self._dropped = weakref.finalize(self, _end_soon, asyncio.get_running_loop(), self._task)
        self._dropped.atexit = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None and self._dropped is not None:
            self._dropped.detach()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def __aiter__(self) -> "ServedGeneration":
        return self

    async def __anext__(self) -> Delta:
        if self._task is None:
            raise RuntimeError("Enter the generation with `async with` first.")
        writing = self._writing
        while not writing.deltas:
            if writing.is_ended:
                error, writing.error = writing.error, None
                raise StopAsyncIteration if error is None else error
            writing.news.clear()
            await writing.news.wait()
        return writing.deltas.popleft()


def _end_soon(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]") -> None:
    """End the task from whatever thread the garbage is collected in."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
