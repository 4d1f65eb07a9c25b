"""Behind pgbouncer in transaction mode, where each transaction may get another connection to the server."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from bot.core.database_url import DatabaseUrl
from bot.errors import StoreError
from bot.store.backends import hold_platform
from bot.store.store import Store
from tests.postgres_server import PostgresServer, as_nobody, chown_to_nobody
from tests.store.samples import HERE, ME, provenance, said

# Where Debian puts it, which is in no user's path.
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@pytest.fixture
def pooled(postgres_server: PostgresServer, address: DatabaseUrl) -> Iterator[DatabaseUrl]:
    """Return the address of a new database behind a pgbouncer with two connections to the server."""
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed (on Debian: apt-get install pgbouncer)")
    name = address.url.removeprefix("postgresql://fewshot@/").partition("?")[0]
    folder = postgres_server.folder / "bouncer"
    folder.mkdir()
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{name} = host={postgres_server.folder} user=fewshot\n"
        f"[pgbouncer]\nlisten_addr =\nunix_socket_dir = {folder}\n"
        "listen_port = 6432\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\n"
        f"logfile = {folder}/log\npidfile = {folder}/pid\n"
    )
    chown_to_nobody(folder)
    bouncer = subprocess.Popen(as_nobody([PROGRAM, "-q", str(folder / "pgbouncer.ini")]), cwd=folder)
    made = DatabaseUrl(f"postgresql://fewshot@/{name}?host={folder}&port=6432")
    try:
        for _ in range(200):
            with suppress(psycopg.OperationalError):
                psycopg.connect(made.url).close()
                break
            time.sleep(0.05)
        yield made
    finally:
        bouncer.terminate()
        bouncer.wait(10)
        shutil.rmtree(folder)


async def test_the_store_works_as_it_does_without(pooled: DatabaseUrl, tmp_path: Path) -> None:
    async with Store.open(pooled) as one, Store.open(pooled) as other:
        for number in range(0, 20, 2):
            message = said(number)
            both = await asyncio.gather(one.accept_request(message), other.accept_request(message))
            assert sorted(both) == [False, True]
            await one.add_message(message, kind="chat")
            answer = said(number + 1, author=ME, reply_to=str(number))
            await asyncio.gather(
                other.add_reply(answer, provenance((str(number), 1)), kind="chat"),
                *(one.load_history(HERE, limit=9) for _ in range(6)),
            )
            assert await one.finish_request("terminal", str(number), "answered")
        assert len(await other.load_history(HERE, limit=99)) == 20
        assert await one.forget_person("terminal", "u1") == 10
        assert await other.export_person("terminal", "u1") == []


def test_a_platform_is_held_by_one_program(pooled: DatabaseUrl) -> None:
    for _ in range(2):
        with (
            hold_platform(pooled, "Discord"),
            pytest.raises(StoreError, match="Another program already runs"),
            hold_platform(pooled, "Discord"),
        ):
            pass
