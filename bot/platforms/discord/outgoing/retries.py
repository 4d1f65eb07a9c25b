"""One request to Discord: tried until it is done, refused for good, or out of time."""

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
# One try: with a nonce it is safe to begin anew rather than wait for a server that went silent.
_TRY_S: Final = 15.0
_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 8.0
_MIN_WAIT_S: Final = 0.05
_GATE_S: Final = 1.0
_MAX_TOLD: Final = 1000
# Unknown or expired: message, channel, interaction, webhook; a token that ran out.
_GONE_CODES: Final = frozenset({10003, 10008, 10015, 10062, 50027})

MissingPermissionCallback = Callable[[int], Awaitable[None]]


@dataclass(slots=True)
class SenderFigures:
    """What the sender did since the start; `num_skipped` counts things left out because of too many refusals."""

    num_sent: int = 0
    num_edited: int = 0
    num_retried: int = 0
    num_failed: int = 0
    num_skipped: int = 0


class Retries:
    """Runs requests within a deadline, and counts them.

    `on_missing_permission` is told a channel's id once, at its first 403. `invalid_requests` is what the client's
    `http_trace` counts in; None where it has none, so that refusals are counted here.
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
        """Return what `make` gives; it is called anew for every try.

        `place` is the channel or message through which it goes. Raises DeliveryFailed, MissingPermission, MessageGone
        or SendRefused.
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
            logger.info("Discord is asked again in %.1f s after %s", wait, type(failure).__name__)
            await asyncio.sleep(wait)

    async def run_once(self, work: Coroutine[Any, Any, T], limit_s: float, place: object) -> T:
        """Return what `work` gives; raise TimeoutError at the limit, even where it does not end when cancelled.

        discord.py sleeps out a rate limit on leaving a request, cancelled or not.
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
        """Cancel a request and let it end by itself."""

        def end(task: "asyncio.Task[Any]") -> None:
            self._left.discard(task)
            if not task.cancelled() and (error := task.exception()):
                logger.info("a request that was given up ended in %s", type(error).__name__)
            _open_global_limit(place)

        task.cancel()
        self._left.add(task)
        task.add_done_callback(end)

    def count_refusal(self, error: Exception) -> None:
        """Count a refusal that nobody else counts."""
        if self._counts_itself and isinstance(error, discord.HTTPException):
            self.invalid_requests.note(error.status)

    async def _translated(self, error: discord.HTTPException, channel_id: int) -> FewshotError:
        self.figures.num_failed += 1
        if error.status == 403:
            await self._tell_missing(channel_id)
            return MissingPermission("The bot may not do that in this channel.")
        if error.status == 404 or error.code in _GONE_CODES:
            return MessageGone("That is no longer there.")
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
            logger.exception("telling of a missing permission in channel %s failed", channel_id)


def _open_global_limit(place: object) -> None:
    """Let requests go on after one was cancelled while it slept out a limit that holds for all of them.

    discord.py has that one request open the gate again: without it, none would ever be sent.
    """
    http = getattr(getattr(place, "_state", None), "http", None)
    gate = getattr(http, "_global_over", None)
    if isinstance(gate, asyncio.Event) and not gate.is_set():
        asyncio.get_running_loop().call_later(_GATE_S, gate.set)


def _is_temporary(error: discord.HTTPException) -> bool:
    return error.status == 429 or error.status >= 500


def _wait_s(failure: Exception, num_tries: int) -> float:
    """Return how long to wait: as long as Discord says, else longer each time, never all at the same moment."""
    if isinstance(failure, discord.RateLimited):
        return failure.retry_after
    backoff = min(_MAX_BACKOFF_S, _BACKOFF_S * 2.0**num_tries) * random.uniform(0.5, 1.0)
    if isinstance(failure, discord.HTTPException):
        try:
            return max(float(failure.response.headers.get("Retry-After", "")), _MIN_WAIT_S)
        except ValueError:
            return backoff
    return backoff
