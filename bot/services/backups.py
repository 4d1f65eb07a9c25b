"""Backups on a schedule: made when one is due, tried again when one fails, and deleted when they are too old."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from bot.errors import Busy, Unavailable
from bot.store.store import Store

logger = logging.getLogger(__name__)

_LOOK_S: Final = 600.0  # between two looks at what is due, or has failed


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """A backup every `every_h` hours (0: none), of which `num_kept` are kept, and no copy for more than `max_days`."""

    every_h: int = 24
    num_kept: int = 7
    max_days: int = 30


class Backups:
    """Makes and deletes the backups of the store while `run` runs.

    `problem` is why the latest one failed, "" if none did; `newest_at` is the time of the newest one in UTC.
    """

    def __init__(self, store: Store, plan: BackupPlan, *, look_s: float = _LOOK_S) -> None:
        self._store = store
        self._plan = plan
        self._look_s = look_s
        self.problem = ""
        self.newest_at: datetime | None = None

    @property
    def is_planned(self) -> bool:
        """Return whether backups are made on a schedule."""
        return self._plan.every_h > 0 and self._store.backups is not None

    async def run(self) -> None:
        """Make and delete backups until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Make a backup if one is due, and delete those that are too old."""
        problem = ""
        for work in (self._back_up, self._remove_old):
            try:
                await work()
            except Busy:
                pass  # another program of this database makes it
            except (Unavailable, OSError) as e:
                problem = problem or (str(e) if isinstance(e, Unavailable) else f"{e.filename}: {e.strerror}")
        self._tell(problem)

    async def _back_up(self) -> None:
        await self._read_newest()
        if self._is_due(datetime.now(UTC)):
            path = await self._store.back_up()
            logger.info("a backup was written: %s", path)
            await self._read_newest()

    def _tell(self, problem: str) -> None:
        """Log the first failure of a row, and its end."""
        if problem and not self.problem:
            logger.error("No backup can be made now; the bot tries again. %s", problem)
        elif self.problem and not problem:
            logger.warning("Backups can be made again.")
        self.problem = problem

    def _is_due(self, now: datetime) -> bool:
        if not self.is_planned:
            return False
        # One from the future is of a wrong clock.
        return self.newest_at is None or not timedelta() <= now - self.newest_at < timedelta(hours=self._plan.every_h)

    async def _read_newest(self) -> None:
        if (folder := self._store.backups) is not None:
            backups = await asyncio.to_thread(folder.newest_first)
            self.newest_at = backups[0].made_at if backups else None

    async def _remove_old(self) -> None:
        # Those that would become too old before the next look go now.
        max_age = timedelta(days=self._plan.max_days) - timedelta(seconds=2 * self._look_s)
        if (folder := self._store.backups) is None:
            return  # a database on a server has backups of its own
        for path in await asyncio.to_thread(
            folder.remove_old, num_kept=self._plan.num_kept, max_age=max_age, now=datetime.now(UTC)
        ):
            logger.info("an old copy of the database was deleted: %s", path)
