"""The database on a PostgreSQL server: transactions that take effect as if each ran alone, from any number of programs.

Every transaction is SERIALIZABLE. So all that the store checks before it writes holds at the commit, as it does with
SQLite's one writer, without a lock for each case. What relies on that:

- a request, a message, a nonce or a card that is stored once (checked, then inserted): inbox, messages, hosted, cards;
- of two clicks or steps the second is told no (the revision is compared, then counted up): cards, stories, drafts,
  hosted messages, server templates; and one story in progress for each conversation;
- numbers without gaps and without doubles: versions of a template, proposals, `template_changes`;
- limits that are counted before a row is added: drafts, proposals, names of templates;
- nothing is stored for somebody who opted out, of a message that was deleted, or with words that were forgotten: each
  is looked up before the words are inserted;
- reading a list, changing it and writing it back: the note of channels that are being forgotten, watermarks.

Of transactions that disturb one another PostgreSQL ends all but one with an error, and they are run again here. A
program writes one transaction at a time, in the order in which they were asked for, as it does with a file.

What one program is told and another has to know is in `processes`, `signals` and `gone_marks`.

It works behind pgbouncer in transaction mode: nothing outlives a transaction on a connection, and no statement has a
name.
"""

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from bot.core.database_url import DatabaseUrl
from bot.errors import StoreError, Unavailable
from bot.store.backend import Backend, Row, T, Transaction, Value
from bot.store.dialect import to_postgres
from bot.store.gone_ids import GoneIds
from bot.store.outages import Retries, Use
from bot.store.postgres.failures import CONFLICTS, cause_of, translate, without_values
from bot.store.postgres.rows import PostgresRow, adapt, rows_of, run
from bot.store.postgres.schema import POSTGRES_MIGRATIONS, check_encoding, migrate
from bot.store.processes import signal_erased
from bot.store.schema import read_migrations

# How long a lost server or another program's transactions are waited for.
WAIT_S: Final = 5.0
_CONNECTIONS: Final = 8
# No statement of the store takes nearly as long. A server that does not answer is given up then.
_LONGEST_S: Final = 30.0
_LISTEN_AGAIN_S: Final = 2.0
_CHANNEL: Final = "fewshot"
_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.2
# From these tables words go along by triggers and foreign keys.
_ALONG: Final = {
    "messages": frozenset({"message_pictures", "replies", "reply_reads"}),
    "inbox": frozenset({"message_pictures"}),
}
# The tables that give ids.
_GIVES_IDS: Final = "information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES'"
_SEQUENCE: Final = "CAST(pg_get_serial_sequence(CAST(table_name AS TEXT), 'id') AS regclass)"
_CHANGES: Final = re.compile(r"\s*(?:UPDATE|DELETE FROM)\s+(\w+)", re.IGNORECASE)

logger = logging.getLogger(__name__)
# The pool reports each attempt to connect; the operator is told of an outage once.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)

Connection = AsyncConnection[PostgresRow]
Pool = AsyncConnectionPool[Connection]


class PostgresTransaction(Transaction):
    """The statements of an open transaction; `changed` are the tables that may have lost words."""

    def __init__(
        self,
        connection: Connection,
        gone_ids: GoneIds,
        prepared: Mapping[Hashable, Any] | None = None,
        process_id: int | None = None,
    ) -> None:
        super().__init__(gone_ids, prepared, is_shared=True, process_id=process_id)
        self._connection = connection
        self.changed: set[str] = set()

    async def execute(self, sql: str, *values: Value) -> list[Row]:
        """Run one statement with `values` for its `?`; return the rows of a SELECT or RETURNING."""
        if change := _CHANGES.match(sql):
            self.changed |= {change[1], *_ALONG.get(change[1], ())}
        return await run(self._connection, to_postgres(sql), values)


class PostgresDatabase(Backend):
    """An open database on a server. `open` makes it; all access goes through `write` and `read`."""

    size_sql = "SELECT pg_database_size(current_database())"
    is_shared = True

    def __init__(self, name: str, conninfo: str, pool: Pool) -> None:
        super().__init__(name, None, None)
        self._conninfo = conninfo
        self._pool = pool
        self._retries = Retries()
        # The tables from which words were erased since they were tidied last.
        self._erased: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, address: DatabaseUrl) -> AsyncIterator["PostgresDatabase"]:
        """Open the database at `address` and migrate it to the newest schema. Raises StoreError, one sentence."""
        name = str(address)
        conninfo = await prepare_database(address)
        async with AsyncConnectionPool(
            conninfo,
            connection_class=AsyncConnection[PostgresRow],
            kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": rows_of},
            configure=_configure,
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=WAIT_S,
            # Else a server that comes back is looked for at ever longer intervals.
            reconnect_timeout=WAIT_S,
            open=False,
        ) as pool:
            database = cls(name, conninfo, pool)
            try:
                yield database
            finally:
                await database.close()

    async def read(self, sql: str, *values: Value) -> list[Row]:
        """Return all rows of one SELECT, which sees every earlier commit. Raises Unavailable."""
        self._check_open()
        statement = to_postgres(sql)
        with self._translated("read"):
            return await self._with_connection(lambda connection: run(connection, statement, values))

    async def forget(self) -> None:
        """Let the server reuse the room of erased rows, as far as this user may ask for that. Raises Unavailable."""
        self._check_open()
        await self._take_turn(self._tidy())

    async def last_ids(self) -> Mapping[str, int]:
        """Return the highest id that each table has given so far."""
        return {
            row["table_name"]: int(row["last_id"])
            for row in await self.read(
                f"SELECT table_name, coalesce(pg_sequence_last_value({_SEQUENCE}), 0) AS last_id FROM {_GIVES_IDS}"
            )
        }

    async def set_last_ids(self, transaction: Transaction, last_ids: Mapping[str, int]) -> None:
        """Have tables give higher ids than these, and than those that they have."""
        for row in await transaction.execute(f"SELECT table_name FROM {_GIVES_IDS} ORDER BY table_name"):
            table = row["table_name"]
            (highest,) = await transaction.execute(f"SELECT coalesce(max(id), 0) AS id FROM {table}")
            if last_id := max(int(highest["id"]), last_ids.get(table, 0)):
                await transaction.execute("SELECT setval(pg_get_serial_sequence(?, 'id'), ?)", table, last_id)

    async def back_up(self) -> Path:
        """Raise Unavailable: a server has its own backups."""
        raise Unavailable(f"The database {self.name} is on a server; back it up there, for example with pg_dump.")

    async def close(self) -> None:
        """Finish the running transaction, refuse everything else, and tidy up."""
        async with self._turn:
            self._is_closed = True
            with suppress(Unavailable):
                await self._tidy()

    async def _run(
        self, transaction: Callable[[Transaction], Awaitable[T]], prepared: Mapping[Hashable, Any] | None = None
    ) -> T:
        """Run `transaction` until it has taken effect; several times if it disturbs others, or the server was lost."""
        self._check_open()
        started_at_s = time.monotonic()
        with self._translated("written"):
            result, working = await self._with_connection(
                lambda connection: self._attempt(connection, transaction, prepared)
            )
        self.erased_hosted.extend(working.erased_hosted)
        if working.has_erased:
            self._erased |= working.changed
        self.longest_turn_s = max(self.longest_turn_s, time.monotonic() - started_at_s)
        return result

    async def _attempt(
        self,
        connection: Connection,
        transaction: Callable[[Transaction], Awaitable[T]],
        prepared: Mapping[Hashable, Any] | None,
    ) -> tuple[T, PostgresTransaction]:
        """Run `transaction` once. Raises psycopg.Error; then it has no effect, but for _Unknown."""
        working = PostgresTransaction(connection, self.gone_ids, prepared, self.process_id)
        await connection.execute(b"BEGIN ISOLATION LEVEL SERIALIZABLE")
        try:
            result = await transaction(working)
            await signal_erased(working)
            if working.wakes_others:
                await connection.execute(f"SELECT pg_notify('{_CHANNEL}', '')".encode())
        except BaseException:
            with suppress(psycopg.Error):
                await connection.execute(b"ROLLBACK")
            raise
        try:
            await connection.execute(b"COMMIT")
        except psycopg.OperationalError as e:
            if isinstance(e, CONFLICTS) or not connection.closed:
                raise
            raise _Unknown(str(e)) from e
        return result, working

    async def _with_connection(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` with a connection; again, for WAIT_S, if it was disturbed by others or the connection was lost."""
        give_up_at_s = time.monotonic() + WAIT_S
        pause_s = _FIRST_PAUSE_S
        while True:
            connection: Connection | None = None
            try:
                async with asyncio.timeout(_LONGEST_S), self._pool.connection() as connection:
                    return await work(connection)
            except TimeoutError as e:
                raise psycopg.errors.QueryCanceled("the server did not answer in time") from e
            except _Unknown:
                raise
            except psycopg.OperationalError as e:
                is_lost = connection is not None and connection.closed
                if not (is_lost or isinstance(e, CONFLICTS)) or time.monotonic() >= give_up_at_s:
                    raise
                if is_lost:
                    # The others of the pool were lost with the server too.
                    await self._pool.check()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` when another program wants to be heard; runs until cancelled.

        Behind a pooler that gives each transaction another connection it returns at once: there nothing is heard.
        """
        while True:
            with suppress(psycopg.Error):
                async with await AsyncConnection.connect(
                    self._conninfo, autocommit=True, prepare_threshold=None
                ) as connection:
                    (row,) = await (await connection.execute("SELECT pg_backend_pid()")).fetchall()
                    if row[0] != connection.info.backend_pid:
                        return
                    await connection.execute(f"LISTEN {_CHANNEL}".encode())
                    wake()  # what was said before
                    async for _ in connection.notifies():
                        wake()
            await asyncio.sleep(_LISTEN_AGAIN_S)

    async def _tidy(self) -> None:
        """Vacuum the tables from which words were erased; a failure is left to the server's autovacuum."""
        erased, self._erased = sorted(self._erased), set()
        for table in erased:
            with self._retries.trying("removing erased rows", psycopg.Error, TimeoutError):
                async with asyncio.timeout(_LONGEST_S), self._pool.connection() as connection:
                    await connection.execute(f"VACUUM (SKIP_LOCKED) {table}".encode())

    @contextmanager
    def _translated(self, use: Use) -> Iterator[None]:
        """Translate psycopg's errors; tell the operator when `use` of the database begins and ceases to fail."""
        try:
            yield
        except psycopg.Error as e:
            failure = translate(e)
            if failure is None:
                raise without_values(e) from None
            self._outages.failed(use, cause_of(e))
            raise failure from e
        self._outages.works(use)


class _Unknown(psycopg.OperationalError):
    """The connection was lost during a commit, so that nobody knows whether it took effect."""


def complete(address: DatabaseUrl, **parameters: str | int) -> str:
    """Return the address with the parameters that it leaves open. Raises StoreError if it is none.

    A server that is cut off is noticed in seconds; by itself the system waits for a quarter of an hour.
    """
    try:
        given = psycopg.conninfo.conninfo_to_dict(address.url)
        defaults: dict[str, str | int] = {
            "connect_timeout": int(WAIT_S),
            "application_name": "fewshot",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "tcp_user_timeout": 15_000,
            "client_encoding": "utf8",
            **parameters,
        }
        return make_conninfo(address.url, **{name: value for name, value in defaults.items() if name not in given})
    except psycopg.ProgrammingError as e:
        # libpq repeats parts of the address, which may be the password.
        raise StoreError(
            f"DATABASE is no address of PostgreSQL: {address}. It has the form postgresql://USER:PASSWORD@HOST:PORT/NAME"
            " with every sign such as @, / or % in the password written as %40, %2F or %25."
        ) from e


async def _configure(connection: Connection) -> None:
    adapt(connection)


async def prepare_database(address: DatabaseUrl) -> str:
    """Migrate the database at `address` to the newest schema; return how to connect to it. Raises StoreError."""
    name, conninfo = str(address), complete(address)
    migrations = read_migrations(POSTGRES_MIGRATIONS)
    try:
        async with await AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=None) as connection:
            check_encoding(connection, name)
            await migrate(connection, migrations, name=name)
    except psycopg.Error as e:
        raise StoreError(f"The database {name} can't be opened: {cause_of(e)}.") from e
    return conninfo
