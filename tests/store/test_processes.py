"""The store when its process is killed or its disk is full, with real processes."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bot.store.store import Store
from tests.store.samples import HERE

WRITE_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from bot.store.store import Store
from tests.store.samples import ME, provenance, said

async def main(path, first):
    async with Store.open(Path(path)) as store:
        number = int(first)
        while True:
            await store.add_message(said(number, "x" * (number % 7) * 1000), kind="chat")
            await store.add_reply(said(number + 1, author=ME), provenance((str(number), 1)), kind="chat")
            if number % 5 == 0:
                await store.delete_message("terminal", str(number))
            print(number, flush=True)  # only now it counts as accepted
            number += 2

asyncio.run(main(*sys.argv[1:]))
"""

NOT_STORED = "Nothing new is stored until then."
FILL_THE_DISK = """
import asyncio, json, resource, sys
from pathlib import Path
from bot.errors import Unavailable
from bot.store.store import Store
from tests.store.samples import HERE, said

async def main(path):
    async with Store.open(Path(path)) as store:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
        accepted, refusals = [], []
        for number in range(60):
            try:
                await store.add_message(said(number, "x" * 20_000), kind="chat")
                accepted.append(str(number))
            except Unavailable as e:
                refusals.append(str(e))
        try:
            await store.delete_message("terminal", "0")
        except Unavailable as e:
            refusals.append(str(e))
        read = [m.id for m in await store.load_history(HERE, limit=999)]
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        await store.add_message(said(1000, "room again"), kind="chat")
        await store.delete_message("terminal", "0")
    print(json.dumps({"accepted": accepted, "refusals": sorted(set(refusals)), "read": read}))

asyncio.run(main(*sys.argv[1:]))
"""


def write_until_killed(path: Path, first: int, num_accepted: int) -> list[int]:
    """Return the numbers that a process reported as written before it was killed without warning."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(path), str(first)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        accepted = [int(process.stdout.readline()) for _ in range(num_accepted)]
        process.send_signal(signal.SIGKILL)
        return accepted + [int(line) for line in process.stdout.read().split("\n")[:-1]]


async def test_a_kill_in_the_middle_of_writing_loses_nothing_that_was_accepted(path: Path) -> None:
    accepted: list[int] = []
    for number_of_run in range(4):
        accepted += await asyncio.to_thread(write_until_killed, path, number_of_run * 10_000, 3 + 9 * number_of_run)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    async with Store.open(path) as store:
        assert store.notices == ()
        history = {m.id for m in await store.load_history(HERE, limit=100_000)}
        for number in accepted:
            assert (str(number) in history) == (number % 5 != 0)
            reply = await store.get_reply(HERE, str(number + 1))
            assert reply is not None
            assert reply.read[0].change == ("deleted" if number % 5 == 0 else "same")


async def test_two_processes_write_to_one_file(path: Path) -> None:
    both = await asyncio.gather(
        *(asyncio.to_thread(write_until_killed, path, first, 25) for first in (0, 10_001)), return_exceptions=False
    )
    async with Store.open(path) as store:
        history = {m.id for m in await store.load_history(HERE, limit=100_000)}
        assert {str(n) for numbers in both for n in numbers if n % 5} <= history


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
async def test_a_full_disk_is_one_sentence_and_everything_works_again_when_there_is_room(path: Path) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", FILL_THE_DISK, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines.count(f"The database {path} can't be written: the disk is full or failing. {NOT_STORED}") == 1
    assert len(lines) <= 3, "and at most one line for each kind of work that is tried again"
    assert all("failed and will be retried: disk I/O error" in line for line in lines if str(path) not in line)
    told = json.loads(done.stdout)
    assert told["refusals"] == ["The bot's disk is full or failing, so nothing new can be stored; try again later."]
    assert 5 < len(told["accepted"]) < 20
    assert told["read"] in (told["accepted"], told["accepted"][1:]), "reading goes on, and forgetting where it can"
    async with Store.open(path) as store:
        history = [m.id for m in await store.load_history(HERE, limit=999)]
    assert history == [*told["accepted"][1:], "1000"]
