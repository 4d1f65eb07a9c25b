"""What the store asks of a database: transactions and single SELECTs; its implementations are SQLite and PostgreSQL.

All SQL is written once, in words that both know; what one of them says differently is in `dialect.py`. A transaction
takes effect as if it ran alone, on either.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, overload

from bot.errors import Unavailable
from bot.store.backups import BackupFolder
from bot.store.gone_ids import GoneIds
from bot.store.outages import Outages

T = TypeVar("T")
Value = str | bytes | int | float | None

logger = logging.getLogger(__name__)


class Row(Protocol):
    """A row of a result: its values by name (the first, where several have it) or by place, in order."""

    @overload
    def __getitem__(self, key: int | str, /) -> Any: ...
    @overload
    def __getitem__(self, key: slice, /) -> tuple[Any, ...]: ...
    def keys(self) -> list[str]:
        """Return the names of the columns."""

    def __iter__(self) -> Iterator[Any]: ...


def storable(value: Value) -> Value:
    """Return `value` in a form that can be stored: lone surrogates, which UTF-8 can't encode, become U+FFFD."""
    if not isinstance(value, str):
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


class Unprepared(Exception):
    """A transaction needs results that take long to compute; `compute` returns them, by key, in a thread.

    The transaction is rolled back and run again with the results, while others write in between.
    """

    def __init__(self, compute: Callable[[], Mapping[Hashable, Any]]) -> None:
        self.compute = compute
        super().__init__("a transaction needs what takes long to compute")


class Transaction(ABC):
    """The statements of an open transaction; valid until the transaction's function returns.

    `prepared` has the results that it asked for with Unprepared. The function may be run several times, of which one
    takes effect: it changes nothing but the database. `is_shared` says that other programs may write to the same
    platforms; `process_id` is this one among them, None if it is none of them. `wakes_others` tells them at the commit.
    """

    def __init__(
        self,
        gone_ids: GoneIds,
        prepared: Mapping[Hashable, Any] | None = None,
        *,
        is_shared: bool = False,
        process_id: int | None = None,
    ) -> None:
        self.gone_ids = gone_ids
        self.prepared = prepared or {}
        self.is_shared = is_shared
        self.process_id = process_id
        self.wakes_others = False
        self.has_erased = False
        self.erased_hosted: list[int] = []

    def mark_erased(self) -> None:
        """Request that text erased by this transaction is removed from the files after the commit."""
        self.has_erased = True

    @abstractmethod
    async def execute(self, sql: str, *values: Value) -> list[Row]:
        """Run one statement with `values` for its `?`; return the rows of a SELECT or RETURNING."""


class Backend(ABC):
    """An open database; all access goes through `write` and `read`.

    `name` is how its operator knows it, `path` its file, if it is one, `backups` the folder of
    its backups, if it has one. `notices` are sentences for the operator about
    repairs made while opening. `size_sql` is the SELECT of its size in bytes. `is_shared` says that several programs
    may answer on one platform from it; then `process_id` is this one, once it takes part.
    """

    size_sql: ClassVar[str]
    is_shared: ClassVar[bool] = False

    def __init__(
        self, name: str, path: Path | None, backups: BackupFolder | None, notices: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.path = path
        self.backups = backups
        self.notices = notices
        self.longest_turn_s = 0.0
        self.process_id: int | None = None
        self._outages = Outages(name)
        # Visible messages that were erased lately, for the platform that shows them.
        self.erased_hosted: deque[int] = deque(maxlen=100_000)
        self.gone_ids = GoneIds()
        self._turn = asyncio.Lock()
        self._is_closed = False
        self._running: asyncio.Task[Any] | None = None

    @property
    def problem(self) -> str:
        """Return one sentence if the database can't be used now, "" if it can."""
        return self._outages.problem

    @abstractmethod
    async def read(self, sql: str, *values: Value) -> list[Row]:
        """Return all rows of one SELECT, which sees every earlier commit. Raises Unavailable."""

    @abstractmethod
    async def forget(self) -> None:
        """Remove all erased text, as far as the database can be told to. Raises Unavailable."""

    @abstractmethod
    async def back_up(self) -> Path:
        """Write a copy of the database and return its path. Raises Unavailable."""

    async def listen(self, wake: Callable[[], None]) -> None:  # noqa: B027
        """Call `wake` when another program wants to be heard; runs until cancelled, or until that can't be known."""

    @abstractmethod
    async def last_ids(self) -> Mapping[str, int]:
        """Return the highest id that each table has given so far, of the tables that give each only once."""

    @abstractmethod
    async def set_last_ids(self, transaction: Transaction, last_ids: Mapping[str, int]) -> None:
        """Have tables give higher ids than these, and than those that they have."""

    def try_alone(self) -> bool:
        """Let no other program open the database until this one closes it, as far as that can be had.

        Return False, without effect, if another has it open.
        """
        return True

    @abstractmethod
    async def _run(
        self, transaction: Callable[[Transaction], Awaitable[T]], prepared: Mapping[Hashable, Any] | None = None
    ) -> T:
        """Run `transaction` in its turn; all or nothing takes effect."""

    async def _make_way(self) -> None:
        """Interrupt what has the turn and can wait; most often there is no such thing."""
        return

    async def write(self, transaction: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `transaction` as one transaction and return its result: all or nothing takes effect.

        Once started, it finishes even if the caller is cancelled. Raises Unavailable (disk full, busy, closed).
        """
        try:
            return await self._take_turn(self._run(transaction))
        except Unprepared as e:
            return await self._to_the_end(self._write_prepared(transaction, e))

    async def _write_prepared(self, transaction: Callable[[Transaction], Awaitable[T]], missing: Unprepared) -> T:
        """Run `transaction` with what it needs, computed while others write."""
        prepared: dict[Hashable, Any] = {}
        while True:
            prepared.update(await asyncio.to_thread(missing.compute))
            try:
                return await self._take_turn(self._run(transaction, prepared))
            except Unprepared as e:
                missing = e

    async def write_in_steps(self, step: Callable[[Transaction], Awaitable[int | None]]) -> int:
        """Run `step` in transactions of its own until it returns None; return the sum of its other results.

        Each does a bounded amount of work, and others write in between. Once started, all steps are done even if the
        caller is cancelled. Raises Unavailable; then the steps before it have taken effect.
        """

        async def run() -> int:
            total = 0
            while (num := await self.write(step)) is not None:
                total += num
            return total

        return await self._to_the_end(run())

    @staticmethod
    async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end even if the caller is cancelled."""
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    async def _take_turn(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end while nobody else here writes; if cancelled before its turn, never run it."""
        try:
            await self._make_way()
            await self._turn.acquire()
        except BaseException:
            work.close()
            raise
        task = asyncio.ensure_future(work)
        self._running = task
        task.add_done_callback(lambda _: self._turn.release())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("The bot is shutting down; try again when it is back.")


def _log_failure(task: "asyncio.Task[Any]") -> None:
    """Log the failure that a cancelled caller does not get."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("a transaction whose caller was cancelled failed: %s", task.exception())
