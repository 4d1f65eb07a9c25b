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
from bot.platforms.discord.outgoing.pauses import StillLimited
from bot.platforms.discord.outgoing.permissions import TO_VIEW
from bot.platforms.discord.outgoing.request_limit import RequestLeftOut, RequestLimit

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
_MISSING_ACCESS: Final = 50001
_GONE_CODES: Final = frozenset({10003, 10008, 10015, 10062, 50027})
# An archived thread, and a locked one.
_CLOSED_CODES: Final = frozenset({50083, 160005})
# What a request ends with that has certainly not arrived.
_NOT_SENT: Final = (aiohttp.ClientConnectorError, discord.RateLimited, StillLimited)

# A channel's id, and what the refused request needs there: names of discord.Permissions.
MissingPermissionCallback = Callable[[int, tuple[str, ...]], Awaitable[None]]


@dataclass(slots=True)
class SenderFigures:
    """Counts since the start; `num_skipped` counts the optional requests that were left out."""

    num_sent: int = 0
    num_edited: int = 0
    num_retried: int = 0
    num_failed: int = 0
    num_skipped: int = 0


class Retries:
    """Runs requests within a deadline, and counts them.

    `on_missing_permission` is called at the first 403 of each kind of request in a channel. `requests` is the limit
    behind the client's `http_trace`; with None, refusals are counted here.
    """

    def __init__(
        self,
        *,
        on_missing_permission: MissingPermissionCallback | None = None,
        requests: RequestLimit | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.figures = SenderFigures()
        self.requests = requests or RequestLimit()
        self._counts_itself = requests is None
        self._on_missing_permission = on_missing_permission
        self._deadline_s = deadline_s
        self._told: dict[tuple[int, tuple[str, ...]], None] = {}
        self._left: set[asyncio.Task[Any]] = set()

    async def run(
        self,
        make: Callable[[], Coroutine[Any, Any, T]],
        *,
        channel_id: int,
        place: object = None,
        needs: tuple[str, ...] = TO_VIEW,
        is_repeatable: bool = True,
        deadline_s: float | None = None,
    ) -> T:
        """Return the result of the request; `make` builds it for every try.

        `place` is the channel or message that sends it, `needs` are the permissions for it. Raises DeliveryFailed,
        MissingPermission, MessageGone or SendRefused.
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
                    raise await self._translated(e, channel_id, needs) from e
                failure: Exception = e
            except (aiohttp.ClientError, OSError, TimeoutError, discord.RateLimited) as e:
                if not is_repeatable and not isinstance(e, _NOT_SENT):
                    self.figures.num_failed += 1
                    raise DeliveryFailed("Discord did not answer in time.") from e
                failure = e
            except RequestLeftOut as e:
                self.figures.num_skipped += 1
                raise DeliveryFailed("More important requests to Discord come first.") from e
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
                is_expected = isinstance(
                    error, discord.DiscordException | aiohttp.ClientError | OSError | RuntimeError | RequestLeftOut
                )
                level = logging.INFO if is_expected else logging.ERROR
                kept = None if is_expected else error
                logger.log(level, "a cancelled request ended with %s", type(error).__name__, exc_info=kept)
            _open_global_limit(place)

        task.cancel()
        self._left.add(task)
        task.add_done_callback(end)

    def count_refusal(self, error: Exception) -> None:
        """Count a refusal, unless the client's `http_trace` counts it."""
        if self._counts_itself and isinstance(error, discord.HTTPException):
            self.requests.invalid.note(error.status)

    async def _translated(self, error: discord.HTTPException, channel_id: int, needs: tuple[str, ...]) -> FewshotError:
        self.figures.num_failed += 1
        if error.status == 403:
            await self.tell_missing(channel_id, TO_VIEW if error.code == _MISSING_ACCESS else needs)
            return MissingPermission("The bot lacks a permission in this channel.")
        if error.status == 404 or error.code in _GONE_CODES:
            return MessageGone("The message, channel or interaction no longer exists.")
        if error.code in _CLOSED_CODES:
            return MissingPermission("The thread is closed.")
        return SendRefused(f"Discord refused the message ({error.status}, {error.code}).")

    async def tell_missing(self, channel_id: int, needs: tuple[str, ...]) -> None:
        """Report once that a channel does not allow what requests with `needs` do."""
        if self._on_missing_permission is None or (channel_id, needs) in self._told:
            return
        self._told[channel_id, needs] = None
        while len(self._told) > _MAX_TOLD:
            del self._told[next(iter(self._told))]
        try:
            await self._on_missing_permission(channel_id, needs)
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
    if isinstance(failure, discord.RateLimited | StillLimited):
        return failure.retry_after
    backoff = min(_MAX_BACKOFF_S, _BACKOFF_S * 2.0**num_tries) * random.uniform(0.5, 1.0)
    if isinstance(failure, discord.HTTPException):
        try:
            return max(_MIN_WAIT_S, float(failure.response.headers.get("Retry-After", "")))
        except ValueError:
            return backoff
    return backoff
