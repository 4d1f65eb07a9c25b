"""A real PostgreSQL server for the tests, in a scratch folder, on a socket; each test has a new database on it."""

import asyncio
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import psycopg

from bot.core.database_url import DatabaseUrl
from bot.store.postgres.database import prepare_database

_TEMPLATE: Final = "fewshot_template"
# Nobody needs the data after the tests, so nothing waits for the disk.
_OPTIONS: Final = (
    "fsync=off",
    "full_page_writes=off",
    "listen_addresses=",
    "autovacuum=off",
    "max_connections=100",
    "shared_buffers=32MB",
    "max_wal_size=256MB",
)
# Ends the server when it is told to, or when the program that started it is gone: tests that are killed leave none.
_KEEPER: Final = 'exec 3<&0; "$@" </dev/null & read -r how <&3; kill -"${how:-INT}" $!; wait $!'
NOT_INSTALLED: Final = "PostgreSQL is not installed (on Debian: apt-get install postgresql)"


def find_programs() -> Path | None:
    """Return the folder of initdb and postgres, the newest; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found += [Path(found_in_path)] if (found_in_path := shutil.which("initdb")) else []
    return found[-1].parent if found else None


class PostgresServer:
    """A running server; `folder` has its socket."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        data = ["-D", str(self.folder / "data")]
        options = [part for option in (*_OPTIONS, f"unix_socket_directories={self.folder}") for part in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _KEEPER, "sh", *as_nobody([str(self._programs / "postgres"), *data, *options])],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        for _ in range(600):
            with suppress(psycopg.OperationalError):
                self._connect().close()
                return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self, how: Literal["INT", "QUIT"] = "INT") -> None:
        """End the server, at once but in order; with QUIT as if it was killed."""
        if self._process is not None:
            self._process.communicate(f"{how}\n".encode(), timeout=30)
            self._process = None

    def url(self, name: str) -> str:
        """Return the address of the database `name`."""
        return f"postgresql://fewshot@/{name}?host={self.folder}"

    def _connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url("postgres"), autocommit=True)

    def lay_template(self) -> None:
        """Make the database that all others are copies of."""
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {_TEMPLATE}")
        asyncio.run(prepare_database(DatabaseUrl(self.url(_TEMPLATE))))

    @contextmanager
    def new_database(self, *, is_empty: bool = False) -> Iterator[DatabaseUrl]:
        """Make a database as the program makes it, or an empty one, for the block."""
        name = f"test_{next(self._numbers)}"
        template = "template0" if is_empty else _TEMPLATE
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy".encode())
        try:
            yield DatabaseUrl(self.url(name))
        finally:
            with self._connect() as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def serve_postgres() -> Iterator[PostgresServer]:
    """Run a server for the block. Raises FileNotFoundError if PostgreSQL is not installed."""
    programs = find_programs()
    if programs is None:
        raise FileNotFoundError(NOT_INSTALLED)
    # Not below the folder of the tests, because the path of a socket is short, and other users can't enter that folder.
    with tempfile.TemporaryDirectory(prefix="fewshot-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        chown_to_nobody(folder)
        command = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "fewshot", "-A", "trust"]
        subprocess.run(
            as_nobody([*command, "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]),
            check=True,
            capture_output=True,
            cwd=folder,
        )
        server = PostgresServer(folder, programs)
        server.start()
        try:
            server.lay_template()
            yield server
        finally:
            server.stop()


def chown_to_nobody(folder: Path) -> None:
    """Give the folder to nobody where the tests run as root."""
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)


def as_nobody(command: list[str]) -> list[str]:
    """Return the command with the rights of nobody where the tests run as root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return command
    nobody = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *command]
