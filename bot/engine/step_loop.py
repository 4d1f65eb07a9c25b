"""The step loop: runs requests in batched forward passes; knows nothing of threads or the event loop."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import torch

from bot.core.engine import Priority
from bot.core.watch import BatchFigures
from bot.engine.networks.network import Segment
from bot.engine.paged_cache import PagedCache
from bot.engine.passes import Fed, OpenPass, Part, Running, check_ids, read_parts, share_out
from bot.engine.requests.work import Feed, Job, Work, WorkCancelled
from bot.errors import FewshotError, GenerationError

logger = logging.getLogger(__name__)

MAX_ROWS: Final = 32  # sequences that generate at the same time, over all requests
MAX_SCORING: Final = 4  # scoring requests that run at the same time
CHUNK_TOKENS: Final = 256  # prefill tokens per pass while no request is decoding
BUSY_CHUNK_TOKENS: Final = 128  # … while one is, as its next token waits for the pass
SHORT_TOKENS: Final = 8  # up to this many unread tokens count as decode, not prefill: they join every pass
MAX_SPECULATING: Final = 2  # sequences at once for which speculative decoding pays
SCORING_S: Final = 0.05  # time slice of scoring: a new chat waits for its end …
BUSY_SCORING_S: Final = 0.025  # … and so does the next token of an answer
SCORING_SHARE: Final = 0.25  # scoring's share of the time while chats run
MAX_SCORING_PAUSE_S: Final = 2.0
SCORING_CHUNK_TOKENS: Final = 128  # per scoring pass
MIN_SCORING_CHUNK_TOKENS: Final = 16


class Reporter(Protocol):
    """A callback for the end of a request."""

    def __call__(self, work: Work[Any, Any], result: object, error: BaseException | None) -> None:
        """Take the result, or the error, of `work`."""


class StepLoop:
    """The running requests of one model. Each call of `step` runs at most one pass for chats and one slice of scoring.

    A request ends when it is done, fails, is cancelled, or passes its deadline; that never affects another request.
    """

    def __init__(self, report: Reporter, *, max_rows: int = MAX_ROWS) -> None:
        self._report = report
        self._max_rows = max_rows
        self._running: dict[Priority, list[Running]] = {"chat": [], "scoring": []}
        self._open_pass: OpenPass | None = None
        self._scoring_chunk = SCORING_CHUNK_TOKENS
        self._chat_s = 0.0  # spent on chats since the last slice of scoring …
        self._due_chat_s = 0.0  # … and the time to spend on them before the next one
        self._scored_at = 0.0
        self._num_passes = 0
        self._num_rows = 0  # of the latest pass for chats
        self._caches: set[PagedCache] = set()

    @property
    def num_running(self) -> int:
        """Return how many requests run."""
        return len(self._running["chat"]) + len(self._running["scoring"])

    @property
    def figures(self) -> BatchFigures:
        """Return the rows of the latest pass, and how many tokens of prompts the caches had already; any thread may."""
        num_rows = self._num_rows if self.num_running else 0
        return BatchFigures(num_rows, sum(cache.num_reused_tokens for cache in tuple(self._caches)))

    def has_room(self, priority: Priority, num_rows: int = 1) -> bool:
        """Return whether a request with `num_rows` sequences may start; a request alone always may."""
        running = self._running[priority]
        if priority == "scoring":
            return len(running) < MAX_SCORING
        return not running or sum(one.job.num_rows for one in running) + num_rows <= self._max_rows

    def start(self, work: Work[Any, Any], job: Job[Any]) -> bool:
        """Start a request; return False, and change nothing, if there is no room for it now."""
        if not self.has_room(work.priority, job.num_rows) or not job.lane.cache.reserve(job.num_blocks):
            return False
        running = Running(work, job)
        self._caches.add(job.lane.cache)
        self._running[work.priority].append(running)
        self._advance(running, lambda: next(job.steps))
        return True

    def step(self) -> None:
        """End cancelled and overdue requests, then advance the others by one token or one chunk."""
        self._end_unwanted()
        chats = self._running["chat"]
        started = time.perf_counter()
        if chats:
            self._pass_for_chats(chats)
            self._chat_s += time.perf_counter() - started
        if self._running["scoring"] and self._is_scoring_due():
            self._score_for_a_while()

    def close(self) -> None:
        """Cancel all requests."""
        for running in [*self._running["chat"], *self._running["scoring"]]:
            self._throw(running, WorkCancelled())
            if not running.has_ended:
                self._end(running, None, WorkCancelled())

    def _end_unwanted(self) -> None:
        now = time.perf_counter()
        for running in [*self._running["chat"], *self._running["scoring"]]:
            deadline = running.work.deadline
            if running.work.is_cancelled:
                self._throw(running, WorkCancelled())
            elif deadline is not None and now > deadline:
                self._throw(running, WorkCancelled("length"))

    def _pass_for_chats(self, chats: Sequence[Running]) -> None:
        waiting = [(running, fed) for running in chats for fed in running.feds if not fed.is_done]
        short = [pair for pair in waiting if pair[1].feed.row.num_unread <= SHORT_TOKENS]
        long = [pair for pair in waiting if pair[1].feed.row.num_unread > SHORT_TOKENS]
        # The shortest prompt first, but in every fourth pass the oldest, so that a long one makes progress too.
        self._num_passes += 1
        if self._num_passes % 4:
            long.sort(key=lambda pair: pair[1].feed.row.num_unread)
        budget = BUSY_CHUNK_TOKENS if any(running.is_answered for running, _ in short) else CHUNK_TOKENS
        may_guess = not long and len(short) <= MAX_SPECULATING
        parts = [part for pair in short if (part := self._plan_part(*pair, SHORT_TOKENS, may_guess=may_guess))]
        for running, fed in long:
            if budget <= 0:
                break
            part = self._plan_part(running, fed, budget, may_guess=False)
            if part is not None:
                budget -= part.segment.num_tokens
                parts.append(part)
        self._num_rows = len(parts)
        self._carry_out(parts)

    def _is_scoring_due(self) -> bool:
        chats = self._running["chat"]
        if not chats or time.perf_counter() - self._scored_at > MAX_SCORING_PAUSE_S:
            return True
        return all(running.is_answered for running in chats) and self._chat_s >= self._due_chat_s

    def _score_for_a_while(self) -> None:
        """Continue the open scoring pass, or open one, until the time slice is used up."""
        started = time.perf_counter()
        until = started + (BUSY_SCORING_S if self._running["chat"] else SCORING_S)
        while self._running["scoring"]:
            if self._open_pass is None:
                self._open_pass = self._begin_scoring(self._running["scoring"][0])
            if self._open_pass is not None and self._advance_scoring(self._open_pass):
                self._open_pass = None
            if time.perf_counter() >= until:
                break
        ended = time.perf_counter()
        self._due_chat_s = (ended - started) * (1 / SCORING_SHARE - 1)
        self._chat_s = 0.0
        self._scored_at = ended

    def _begin_scoring(self, running: Running) -> OpenPass | None:
        """Plan the next pass of a scoring request; None if planning ended the request."""
        parts = []
        budget = min(self._scoring_chunk, SCORING_CHUNK_TOKENS)
        for fed in running.feds:
            if not fed.is_done and budget > 0:
                part = self._plan_part(running, fed, budget, may_guess=False)
                if part is not None:
                    budget -= part.segment.num_tokens
                    parts.append(part)
        if running.has_ended:
            return None
        network = running.job.lane.network
        return OpenPass(running, parts, network.forward_by_layers([part.segment for part in parts]))

    def _advance_scoring(self, open_pass: OpenPass) -> bool:
        """Advance a pass by one part, and share out its logits at the end; return whether it is done."""
        running = open_pass.running
        started = time.perf_counter()
        open_pass.num_layers += 1
        try:
            next(open_pass.layers)
            open_pass.duration_s += time.perf_counter() - started
            return False
        except StopIteration as stop:
            logits: torch.Tensor | None = stop.value
        except Exception as e:
            logger.warning("A scoring pass failed (%s); retrying it.", type(e).__name__)
            logits = None
        open_pass.duration_s += time.perf_counter() - started
        self._adapt_chunk(open_pass)
        self._carry_out(open_pass.parts, logits)
        scoring = self._running["scoring"]
        if running in scoring:  # requests take turns
            scoring.remove(running)
            scoring.append(running)
        return True

    def _adapt_chunk(self, done: OpenPass) -> None:
        """Use smaller chunks if a part of a pass takes longer than the time slice, else larger ones."""
        part_s = done.duration_s / done.num_layers
        if part_s > 2 * SCORING_S:
            self._scoring_chunk = max(MIN_SCORING_CHUNK_TOKENS, self._scoring_chunk // 2)
        elif part_s < SCORING_S:
            self._scoring_chunk = min(SCORING_CHUNK_TOKENS, self._scoring_chunk * 2)

    def _plan_part(self, running: Running, fed: Fed, max_tokens: int, *, may_guess: bool) -> Part | None:
        """Return a Feed's part of the next pass; None if the request has ended, or planning ended it."""
        if running.has_ended:
            return None
        row, network, cache = fed.feed.row, running.job.lane.network, running.job.lane.cache
        try:
            stop = min(len(row.ids), row.length + max_tokens)
            is_last = stop == len(row.ids)
            ids: Sequence[int] = row.ids
            drafts: Sequence[int] = ()
            if fed.feed.drafts and may_guess and is_last:
                drafts = fed.feed.drafts[: max(0, network.context_length - stop)]
                ids = [*row.ids, *drafts]
            if fed.feed.take is not None:
                num_logits = max(0, stop - max(row.length, len(row.ids) - fed.feed.num_logits))
            else:
                num_logits = (1 + len(drafts)) if is_last else 0
            check_ids(ids[row.length : stop + len(drafts)], stop + len(drafts), network)
            cache.prepare(row, stop + len(drafts))
            segment = Segment(ids, row.length, stop + len(drafts), row.blocks, num_logits)
        except Exception as e:
            self._throw(running, e)
            return None
        return Part(running, fed, segment, len(drafts))

    def _carry_out(self, parts: Sequence[Part], logits: torch.Tensor | None = None) -> None:
        """Read the parts in one pass, sample tokens, and resume every request whose Feeds are all done.

        `logits` are those of the parts if they were already read.
        """
        parts = [part for part in parts if not part.running.has_ended]  # another Feed of the request may have failed
        if not parts:
            return
        lane = parts[0].running.job.lane
        errors: list[tuple[Running, Exception]] = []
        pieces = read_parts(lane, parts, errors) if logits is None else [(parts, logits)]
        for done, found in pieces:
            try:
                share_out(done, found, errors)
            except Exception as e:
                logger.exception("Sampling failed for %d sequences.", len(done))
                errors += [(part.running, e.with_traceback(None)) for part in done]
        for running, error in errors:
            self._throw(running, error)
        for running in dict.fromkeys(part.running for part in parts):
            if not running.has_ended and all(fed.is_done for fed in running.feds):
                running.is_answered = True
                answers = [fed.answer for fed in running.feds]
                self._advance(running, partial(running.job.steps.send, answers))
            else:
                for fed in running.feds:  # the next pass overwrites the buffer of these logits
                    if isinstance(fed.answer, torch.Tensor):
                        fed.answer = fed.answer.clone()

    def _advance(self, running: Running, resume: Callable[[], list[Feed]]) -> None:
        """Resume a request until its next Feeds or its end."""
        try:
            feeds = resume()
            while not feeds:  # no Feeds: resume at once
                feeds = running.job.steps.send([])
        except StopIteration as stop:
            self._end(running, stop.value, None)
        except (WorkCancelled, FewshotError) as e:
            self._end(running, None, e)
        except Exception as e:
            logger.error("A request failed in the model: %s", type(e).__name__, exc_info=e)
            failure = GenerationError("The model failed on this request; other requests are not affected.")
            failure.__cause__ = e
            self._end(running, None, failure)
        else:
            running.feds = [Fed(feed) for feed in feeds]

    def _throw(self, running: Running, error: BaseException) -> None:
        if not running.has_ended:
            self._advance(running, lambda: running.job.steps.throw(error))

    def _end(self, running: Running, result: object, error: BaseException | None) -> None:
        running.feds = []
        if self._open_pass is not None and self._open_pass.running is running:
            self._open_pass = None
        running.job.steps.close()
        running.job.lane.cache.unreserve(running.job.num_blocks)
        self._running[running.work.priority].remove(running)
        self._report(running.work, result, error)
