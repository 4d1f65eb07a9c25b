"""Retries of one request to Discord, until it succeeds, is refused for good, or the deadline passes."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import aiohttp
import discord

from bot.errors import DeliveryFailed, FewshotError, MessageGone, MissingPermission, SendRefused
from bot.platforms.discord.outgoing.request_limit import InvalidRequests

logger = logging.getLogger(__name__)

T = TypeVar("T")

DEADLINE_S: Final = 30.0
# The timeout of one try: with a nonce a new try is safe, and better than waiting for a server that does not respond.
_TRY_S: Final = 15.0
_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 8.0
_MIN_WAIT_S: Final = 0.05
_GATE_S: Final = 1.0
_MAX_TOLD: Final = 1000
# Unknown channel, message, webhook or interaction, and an expired token.
_GONE_CODES: Final = frozenset({10003, 10008, 10015, 10062, 50027})

MissingPermissionCallback = Callable[[int], Awaitable[None]]


@dataclass(slots=True)
class SenderFigures:
    """Counts since the start; `num_skipped` counts optional requests left out near the invalid request limit."""

    num_sent: int = 0
    num_edited: int = 0
    num_retried: int = 0
    num_failed: int = 0
    num_skipped: int = 0


class Retries:
    """Runs requests within a deadline, and counts them.

    `on_missing_permission` is called once per channel, with its id, at the first 403. `invalid_requests` is the counter
    of the client's `http_trace`; with None, refusals are counted here.
    """

    def __init__(
        self,
        *,
        on_missing_permission: MissingPermissionCallback | None = None,
        invalid_requests: InvalidRequests | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.figures = SenderFigures()
        self.invalid_requests = invalid_requests or InvalidRequests()
        self._counts_itself = invalid_requests is None
        self._on_missing_permission = on_missing_permission
        self._deadline_s = deadline_s
        self._told: dict[int, None] = {}
        self._left: set[asyncio.Task[Any]] = set()

    async def run(
        self,
        make: Callable[[], Coroutine[Any, Any, T]],
        *,
        channel_id: int,
        place: object = None,
        is_repeatable: bool = True,
        deadline_s: float | None = None,
    ) -> T:
        """Return the result of the request; `make` builds it for every try.

        `place` is the channel or message that sends it. Raises DeliveryFailed, MissingPermission, MessageGone or
        SendRefused.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._deadline_s if deadline_s is None else deadline_s)
        num_tries = 0
        while True:
            left = deadline - loop.time()
            try:
                return await self.run_once(make(), min(left, _TRY_S) if is_repeatable else left, place)
            except discord.HTTPException as e:
                self.count_refusal(e)
                if not _is_temporary(e) or (not is_repeatable and e.status != 429):
                    raise await self._translated(e, channel_id) from e
                failure: Exception = e
            except (aiohttp.ClientError, OSError, TimeoutError, discord.RateLimited) as e:
                if not is_repeatable and not isinstance(e, aiohttp.ClientConnectorError | discord.RateLimited):
                    self.figures.num_failed += 1
                    raise DeliveryFailed("Discord did not answer in time.") from e
                failure = e
            except RuntimeError as e:
                if "closed" not in str(e):
                    raise
                raise DeliveryFailed("The connection to Discord is closed.") from e
            wait = _wait_s(failure, num_tries)
            if loop.time() + wait >= deadline:
                self.figures.num_failed += 1
                raise DeliveryFailed("Discord did not answer in time.") from failure
            num_tries += 1
            self.figures.num_retried += 1
            logger.info("retrying a request to Discord in %.1f s after %s", wait, type(failure).__name__)
            await asyncio.sleep(wait)

    async def run_once(self, work: Coroutine[Any, Any, T], limit_s: float, place: object) -> T:
        """Return the result of `work`. Raises TimeoutError at the limit, even if `work` goes on after a cancellation.

        A cancelled request of discord.py still sleeps until its rate limit ends.
        """
        task = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=max(0.0, limit_s))
        except asyncio.CancelledError:
            self._leave(task, place)
            raise
        if not done:
            self._leave(task, place)
            raise TimeoutError
        return task.result()

    def _leave(self, task: "asyncio.Task[Any]", place: object) -> None:
        """Cancel a request without waiting for its end."""

        def end(task: "asyncio.Task[Any]") -> None:
            self._left.discard(task)
            if not task.cancelled() and (error := task.exception()):
                logger.info("a cancelled request ended with %s", type(error).__name__)
            _open_global_limit(place)

        task.cancel()
        self._left.add(task)
        task.add_done_callback(end)

    def count_refusal(self, error: Exception) -> None:
        """Count a refusal, unless the client's `http_trace` counts it."""
        if self._counts_itself and isinstance(error, discord.HTTPException):
            self.invalid_requests.note(error.status)

    async def _translated(self, error: discord.HTTPException, channel_id: int) -> FewshotError:
        self.figures.num_failed += 1
        if error.status == 403:
            await self._tell_missing(channel_id)
            return MissingPermission("The bot lacks a permission in this channel.")
        if error.status == 404 or error.code in _GONE_CODES:
            return MessageGone("The message, channel or interaction no longer exists.")
        return SendRefused(f"Discord refused the message ({error.status}, {error.code}).")

    async def _tell_missing(self, channel_id: int) -> None:
        if self._on_missing_permission is None or channel_id in self._told:
            return
        self._told[channel_id] = None
        while len(self._told) > _MAX_TOLD:
            del self._told[next(iter(self._told))]
        try:
            await self._on_missing_permission(channel_id)
        except Exception:
            logger.exception("could not report a missing permission in channel %s", channel_id)


def _open_global_limit(place: object) -> None:
    """Let other requests continue after one was cancelled while it waited for the global rate limit.

    In discord.py only that request opens the gate again; without it no request would ever be sent.
    """
    http = getattr(getattr(place, "_state", None), "http", None)
    gate = getattr(http, "_global_over", None)
    if isinstance(gate, asyncio.Event) and not gate.is_set():
        asyncio.get_running_loop().call_later(_GATE_S, gate.set)


def _is_temporary(error: discord.HTTPException) -> bool:
    return error.status == 429 or error.status >= 500


def _wait_s(failure: Exception, num_tries: int) -> float:
    """Return how long to wait: as Discord says, else an exponential backoff with jitter."""
    if isinstance(failure, discord.RateLimited):
        return failure.retry_after
    backoff = min(_MAX_BACKOFF_S, _BACKOFF_S * 2.0**num_tries) * random.uniform(0.5, 1.0)
    if isinstance(failure, discord.HTTPException):
        try:
            return max(float(failure.response.headers.get("Retry-After", "")), _MIN_WAIT_S)
        except ValueError:
            return backoff
    return backoff
