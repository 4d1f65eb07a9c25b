"""One program's part in the work that several programs share on one database: its lease, and what others tell it.

The lease is the program's row in the store, which each beat renews. After `fence_s` without a beat nothing is shown any
more of requests that others may take over, which they do LEASE_S after the last one: so never two answer the same.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from bot.background import cancel, keep_running
from bot.errors import StoreError, Unavailable
from bot.store.processes import Signal
from bot.store.store import Store

__all__ = ["Sharer", "Sharing", "SharingTimings", "Signal"]

logger = logging.getLogger(__name__)


class Sharer(Protocol):
    """The requests of one platform, some of which others may take over, or tell something about."""

    def lose(self) -> None:
        """Stop answering: from now on others may take over what is being answered."""

    async def follow(self, signal: Signal) -> None:
        """Do what another program has told. Raises Unavailable if it can't be done now."""

    async def take_over(self) -> None:
        """Answer what no living program answers. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class SharingTimings:
    """Delays in seconds; `fence_s` is well below LEASE_S."""

    beat_s: float = 2.0
    fence_s: float = 20.0
    look_s: float = 0.5


class Sharing:
    """The lease of this program. `seats` returns what is its own now: shards, a place for sockets."""

    def __init__(self, store: Store, seats: Callable[[], Sequence[str]], timings: SharingTimings) -> None:
        self._store = store
        self._seats = seats
        self._timings = timings
        self._sharers: dict[str, Sharer] = {}
        self._beat_at_s = time.monotonic()
        self._is_lost = False
        self._has_news = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, store: Store, seats: Callable[[], Sequence[str]], *, timings: SharingTimings | None = None
    ) -> AsyncIterator["Sharing"]:
        """Take part while the block runs. Raises StoreError, one sentence, if the database can't be used now."""
        sharing = cls(store, seats, timings or SharingTimings())
        try:
            await store.join(seats())
        except Unavailable as e:
            raise StoreError(str(e)) from e
        sharing._beat_at_s = time.monotonic()
        tasks = [
            keep_running(sharing._beat_for_ever, "telling other programs that this one lives"),
            keep_running(sharing._watch, "watching the lease"),
            keep_running(sharing._work, "sharing requests with other programs"),
            keep_running(lambda: store.listen(sharing._has_news.set), "listening to other programs"),
        ]
        try:
            yield sharing
        finally:
            for task in tasks:
                await cancel(task)
            with suppress(Unavailable):
                await store.leave()

    @property
    def is_held(self) -> bool:
        """Say whether nobody else may take over yet what this program answers."""
        return time.monotonic() - self._beat_at_s < self._timings.fence_s

    def attach(self, platform: str, sharer: Sharer) -> None:
        """Let `sharer` share the requests of a platform from now on, in place of an earlier one."""
        self._sharers[platform] = sharer

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._timings.beat_s)
            began_at_s = time.monotonic()
            try:
                if not await self._store.beat():
                    logger.warning("the database was not reached for a while; other programs take over")
                    self._lose()
                    await self._store.join(self._seats())
            except Unavailable as e:
                logger.info("other programs can't be told that this one lives: %s", e)
            else:
                self._beat_at_s = began_at_s
                self._is_lost = False
                self._has_news.set()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._timings.look_s)
            if not self.is_held and not self._is_lost:
                logger.warning("the database was not reached for a while; answers wait until it is")
                self._lose()

    def _lose(self) -> None:
        self._is_lost = True
        for sharer in self._sharers.values():
            sharer.lose()

    async def _work(self) -> None:
        """Follow what others have told, and take over what they have left, after each beat and whenever woken."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            try:
                await self._follow()
                if self.is_held:
                    for sharer in tuple(self._sharers.values()):
                        await sharer.take_over()
            except Unavailable as e:
                logger.info("what other programs have told or left can't be read now: %s", e)

    async def _follow(self) -> None:
        for signal in await self._store.signals():
            if signal.kind == "erased":
                self._store.note_erased_hosted(json.loads(signal.subject))
            elif (sharer := self._sharers.get(signal.platform)) is not None:
                await sharer.follow(signal)
            await self._store.drop_signals([signal])
