"""The writing of one generation by a server: its turn, its streams, their failures, and its end."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from bot.core.engine import Asker, Priority, waited_too_long
from bot.core.results import Completion, Delta, FinishReason, Timings
from bot.errors import FewshotError, GenerationError
from bot.remote.admission import Admission
from bot.remote.answers import Piece, Usage, our_reason, pieces_of, usage_of
from bot.remote.continuation import Continuation, Disagreement
from bot.remote.failures import ServerFailure, took_too_long, was_cut
from bot.remote.server import Body, Server, next_pause
from bot.trace import note_step

_ONLY_THOUGHT: Final = (
    "The model thought until its limit of tokens and wrote nothing. Ask something simpler, or ask for more tokens."
)
_MOST_HIDDEN: Final = 20_000  # tokens that a server may put before a prompt: instructions of its own
CUT: Final = "The connection to the model's server broke in the middle, so this answer is cut."


@dataclass(frozen=True, slots=True)
class Part:
    """One request: its path and body, and the continuations that it writes, by the server's index.

    A part that `is_repeatable` writes the same when it is sent again. `num_prompt_tokens` is an estimate.
    """

    path: str
    body: Body
    continuations: Sequence[Continuation]
    is_repeatable: bool
    num_prompt_tokens: int


class Writing:
    """A generation's work. It knows nothing of who reads its deltas, so that it can be ended when they have gone."""

    def __init__(
        self,
        server: Server,
        admission: Admission,
        parts: Sequence[Part],
        *,
        timeout_s: float,
        asker: Asker,
        priority: Priority,
        on_end: "Callable[[Writing], None]",
    ) -> None:
        self.deltas: deque[Delta] = deque()
        self.news = asyncio.Event()
        self.notice = ""
        self.timings: Timings | None = None
        self.part_timings: tuple[Timings, ...] = ()
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.ended.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._server = server
        self._admission = admission
        self._parts = parts
        self._timeout_s = timeout_s
        self._on_end = on_end
        self._asker = asker
        self._queued_at = self._started_at = time.perf_counter()
        self._first_at: float | None = None
        self._usages: dict[int, Usage] = {}
        self._last_failure: ServerFailure | None = None
        self._ticket = admission.join(asker, priority)
        note_step(asker.request_id, "queued", waiting=admission.num_waiting)
        self._task = asyncio.create_task(self._run(), name="a generation by a server")
        self._task.add_done_callback(self._was_ended)

    @property
    def num_ahead(self) -> int:
        """Return how many requests are ahead in the queue, 0 if it runs."""
        return self._admission.num_ahead(self._ticket)

    @property
    def completions(self) -> tuple[Completion, ...]:
        """Return the results of those continuations that are done."""
        return tuple(one.completion for one in self._continuations if one.completion is not None)

    def cancel(self) -> None:
        """End it now, with the text so far. Safe at any time."""
        if not self.ended.done():
            self._task.cancel()

    def cancel_from_anywhere(self) -> None:
        """Cancel it from any thread, as the collector of garbage may call."""
        if not self.ended.done() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.cancel)

    async def close(self) -> None:
        """End it, and wait for that; one without its turn ends by what its queue says."""
        if self._ticket.has_turn:
            self.cancel()
        await asyncio.wait((self._task,))

    @property
    def _continuations(self) -> list[Continuation]:
        return [one for part in self._parts for one in part.continuations]

    async def _run(self) -> None:
        error: FewshotError | None = None
        try:
            await self._write_in_turn()
        except FewshotError as e:
            error = e
        except ServerFailure as e:
            error = e.error
        except asyncio.CancelledError:
            self._finish("cancelled")
        except BaseException as e:
            self._settle(e)
            raise
        self._settle(error)

    def _was_ended(self, _: "asyncio.Task[None]") -> None:
        """Settle what was cancelled before its task began."""
        if not self.ended.done():
            self._finish("cancelled")
            self._settle(None)

    async def _write_in_turn(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.shield(self._ticket.turn)
                self._started_at = time.perf_counter()
                await self._write_all()
                self._check_written()
        except TimeoutError as e:
            if not self._ticket.has_turn:
                raise waited_too_long(self._timeout_s) from e
            if not any(one.is_begun for one in self._continuations):
                if self._last_failure is not None:
                    raise self._last_failure.error from e
                raise took_too_long(self._timeout_s) from e
            self._finish("length")

    def _check_written(self) -> None:
        """Raise GenerationError if the model came to the limit before it wrote anything."""
        completions = self.completions
        if completions and all(not one.text and one.finish_reason == "length" for one in completions):
            raise GenerationError(_ONLY_THOUGHT)

    async def _write_all(self) -> None:
        if len(self._parts) == 1:
            await self._write(self._parts[0])
            return
        try:
            async with asyncio.TaskGroup() as group:
                for part in self._parts:
                    group.create_task(self._write(part))
        except BaseExceptionGroup as e:
            raise e.exceptions[0] from e

    async def _write(self, part: Part) -> None:
        """Write one part to its end: ask again while nothing is shown, or where the same answer comes again."""
        deadline = self._queued_at + self._timeout_s
        num_tried = 0
        while True:
            try:
                await self._stream(part)
                return
            except ServerFailure as failure:
                self._last_failure = failure
                num_tried += 1
                is_begun = any(one.is_begun for one in part.continuations)
                if is_begun and not (part.is_repeatable and num_tried == 1):
                    self._cut(part)
                    return
                try:
                    pause_s = next_pause(failure, num_tried, deadline)
                except FewshotError:
                    if not is_begun:
                        raise
                    self._cut(part)
                    return
                await asyncio.sleep(pause_s)
                for one in part.continuations:
                    one.begin_again()
            except Disagreement:
                self._cut(part)
                return

    async def _stream(self, part: Part) -> None:
        """Read one stream to its end, or until no more of it is wanted. Raises ServerFailure, Disagreement."""
        told_ends: set[int] = set()
        async with aclosing(self._server.stream(part.path, part.body)) as chunks:
            async for chunk in chunks:
                if (usage := usage_of(chunk)) is not None:
                    self._usages[id(part)] = usage
                for piece in pieces_of(chunk):
                    if 0 <= piece.index < len(part.continuations):
                        self._take(part.continuations[piece.index], piece)
                        told_ends.update((piece.index,) if piece.finish_reason else ())
                # After the ends that the server tells comes the usage; an end that was found here saves the rest.
                if _is_complete(part) and len(told_ends) < len(part.continuations):
                    return
        if not _is_complete(part):
            raise was_cut()

    def _take(self, one: Continuation, piece: Piece) -> None:
        if one.completion is not None:
            return
        self._show(one, one.push(piece.text, piece.tokens))
        if piece.finish_reason and one.completion is None:
            self._show(one, one.finish(our_reason(piece.finish_reason)))

    def _cut(self, part: Part) -> None:
        self.notice = CUT
        for one in part.continuations:
            if one.completion is None:
                self._show(one, one.finish("length"))

    def _show(self, one: Continuation, text: str) -> None:
        """Hand on new text of a continuation, and its completion if it is done."""
        if one.is_begun and self._first_at is None:
            self._first_at = time.perf_counter()
            note_step(self._asker.request_id, "first token")
        if text or one.completion is not None:
            self.deltas.append(Delta(one.index, text, one.completion))
            self.news.set()

    def _finish(self, reason: FinishReason) -> None:
        for one in self._continuations:
            if one.completion is None:
                self._show(one, one.finish(reason))

    def _settle(self, error: BaseException | None) -> None:
        self._admission.leave(self._ticket)
        if error is not None:
            self.ended.set_exception(error)
        elif not self._ticket.has_turn:
            self.ended.cancel()
        else:
            self._take_timings()
            self.ended.set_result(None)
        self._on_end(self)
        self.news.set()

    def _take_timings(self) -> None:
        now = time.perf_counter()
        first_at = self._first_at or now
        queue_ms, prefill_ms, decode_ms = (
            1000 * one for one in (self._started_at - self._queued_at, first_at - self._started_at, now - first_at)
        )
        counts = [self._counts_of(part) for part in self._parts]
        self.part_timings = tuple(Timings(queue_ms, prefill_ms, decode_ms, *one) for one in counts)
        total = [sum(numbers) for numbers in zip(*counts, strict=True)]
        self.timings = Timings(queue_ms, prefill_ms, decode_ms, total[0], total[1])
        note_step(self._asker.request_id, "last token", prefill_ms=prefill_ms, tokens=total[1])

    def _counts_of(self, part: Part) -> tuple[int, int]:
        """Return the numbers of prompt and new tokens: the server's where they can be true, else those counted here."""
        num_new = sum(one.num_tokens for one in part.continuations)
        usage = self._usages.get(id(part))
        if usage is None:
            return part.num_prompt_tokens, num_new
        num_characters = sum(len(one.completion.text) for one in part.continuations if one.completion is not None)
        is_likely = bool(usage.num_new_tokens) == bool(num_characters) and usage.num_new_tokens <= 4 * max(num_new, 1)
        is_prompt_likely = usage.num_prompt_tokens <= 4 * part.num_prompt_tokens + _MOST_HIDDEN
        return (
            usage.num_prompt_tokens if is_prompt_likely else part.num_prompt_tokens,
            usage.num_new_tokens if is_likely else num_new,
        )


def _is_complete(part: Part) -> bool:
    return all(one.completion is not None for one in part.continuations)
