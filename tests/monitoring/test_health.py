"""Whether all is well: each fault is made with real parts, and told in one sentence soon after."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.core.engine import Engine
from bot.core.watch import Connection
from bot.engine.engine import LocalEngine
from bot.monitoring.asking import ask_health
from bot.monitoring.figures import BotFigures, Watched
from bot.monitoring.health import Disk, Health, find_model_problem
from bot.monitoring.server import hold_port, serve_figures
from bot.platforms.discord.heartbeat import count_shards, find_gateway_problem
from bot.platforms.slack.traits import SLACK
from bot.services.backups import BackupPlan, Backups
from bot.stalls import LoopStalls
from tests.bots import ScriptedEngine, Talk, fill_disk, open_scripted_bot
from tests.platforms.discord.evenings import an_evening
from tests.platforms.slack.connecting import on_slack
from tests.platforms.slack.test_sockets import WATCHFUL
from tests.servers.slack.server import serve_slack
from tests.serving.served import held_model

RED_WITHIN_S = 30.0


@asynccontextmanager
async def watched(
    talk: Talk, engine: Engine | None = None, backups: Backups | None = None, *, timeout_s: float = 5.0
) -> AsyncIterator[tuple[str, int]]:
    """Serve the health of an open bot as the program does; yield host and port."""
    services = talk.services
    backups = backups or Backups(talk.store, BackupPlan())
    parts = Watched(services.engine.stats, talk.store, LoopStalls(), backups, services.watch)
    held = hold_port("127.0.0.1", 0)
    health = Health(
        engine or services.engine,
        talk.store,
        backups,
        lambda: list(services.watch.connections.values()),
        timeout_s=timeout_s,
    )
    async with serve_figures(held, BotFigures(parts), health.find_faults):
        yield held.getsockname()[:2]


async def faults_at(address: tuple[str, int]) -> Sequence[str]:
    return await asyncio.to_thread(ask_health, *address)


async def test_a_bot_that_works_has_no_fault(talk: Talk) -> None:
    async with watched(talk) as address:
        assert await faults_at(address) == ()
        assert not list(talk.store.path.parent.glob("*probe"))


async def test_a_model_whose_step_does_not_end_is_red_and_green_again_after_that(talk: Talk) -> None:
    engine = talk.services.engine
    assert isinstance(engine, LocalEngine)
    async with watched(talk) as address:
        async with held_model(engine):
            started = time.monotonic()
            assert await faults_at(address) == (
                "The model has not answered for 5 s: it is being restarted, or it hangs.",
            )
            assert time.monotonic() - started < RED_WITHIN_S
        assert await faults_at(address) == ()


async def test_a_model_that_has_stopped_is_red_at_once(talk: Talk) -> None:
    engine = talk.services.engine
    assert isinstance(engine, LocalEngine)
    engine._scheduler.abandon()
    assert "restarted" in await find_model_problem(engine, 5.0) or "shutting down" in await find_model_problem(
        engine, 5.0
    )


async def test_a_full_disk_is_red(talk: Talk) -> None:
    async with watched(talk) as address:
        # The kernel's own full disk.
        talk.store.path.with_name(f"{talk.store.path.name}-probe").symlink_to("/dev/full")
        assert await faults_at(address) == (
            f"Nothing can be written into {talk.store.path.parent}: no space left on device.",
        )
        assert await faults_at(address) == (), "the probe is not left behind"


async def test_a_disk_that_hangs_is_red_and_keeps_one_thread_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def hang(path: Path) -> str:
        started.append(path)
        time.sleep(1.0)
        return ""

    monkeypatch.setattr("bot.monitoring.health._probe", hang)
    disk = Disk(tmp_path / "fewshot.db")
    for _ in range(3):
        assert await disk.find_problem(0.05) == "The disk of the database has not answered for 0.05 s."
    assert len(started) == 1
    assert await disk.find_problem(5.0) == ""


async def test_a_database_that_can_not_be_written_is_red(talk: Talk) -> None:
    async with watched(talk) as address:
        await fill_disk(talk.store)
        assert "The database can't be written: the disk is full or failing." in await faults_at(address)


async def test_a_backup_that_fails_is_red(talk: Talk) -> None:
    (talk.store.path.parent / "backups").touch()
    backups = Backups(talk.store, BackupPlan())
    await backups.look()
    async with watched(talk, backups=backups) as address:
        (fault,) = await faults_at(address)
        assert fault.startswith("No backup can be made now: The folder for backups ")


@pytest.mark.parametrize("how", ["silent", "gone"])
async def test_a_dead_gateway_of_discord_is_red_and_green_when_it_is_back(tmp_path: Path, how: str) -> None:
    def open_talk() -> object:
        return open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path)

    async with an_evening(open_talk) as evening, evening.run():  # type: ignore[arg-type]
        assert evening.client is not None
        gateway = evening.discord.gateway
        async with watched(evening.running) as address:
            assert await faults_at(address) == ()
            assert count_shards(evening.client) == 1
            # As after the last heartbeat that was answered.
            handler = next(iter(evening.client.shards.values()))._parent.ws._keep_alive
            assert handler is not None
            started = time.monotonic()
            if how == "silent":
                gateway.is_silent = True
                handler._last_ack -= 11
                told = await faults_at(address)
                gateway.is_silent = False
            else:
                async with gateway.gap():
                    told = await faults_at(address)
                    assert count_shards(evening.client) == 0
            assert told == ("Discord's gateway has not answered for 5 s; the bot tries to connect again.",)
            assert time.monotonic() - started < RED_WITHIN_S
            await gateway.is_connected()
            assert await faults_at(address) == ()


async def test_a_gateway_that_answered_lately_is_asked_nothing(tmp_path: Path) -> None:
    def open_talk() -> object:
        return open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path)

    async with an_evening(open_talk) as evening, evening.run():  # type: ignore[arg-type]
        assert evening.client is not None
        (shard,) = evening.client.shards.values()
        handler = shard._parent.ws._keep_alive
        assert handler is not None
        num_before = evening.discord.gateway.num_heartbeats
        assert await find_gateway_problem(evening.client) == ""
        assert evening.discord.gateway.num_heartbeats == num_before
        handler._last_ack -= 11
        assert await find_gateway_problem(evening.client) == ""
        assert evening.discord.gateway.num_heartbeats == num_before + 1
        assert handler.latency < 5


async def test_stale_sockets_of_slack_are_red(tmp_path: Path) -> None:
    async with serve_slack() as slack:
        slack.add_team("Acme")
        async with (
            open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
            on_slack(talk, slack, timings=WATCHFUL),
            watched(talk) as address,
        ):
            await slack.sockets.is_connected(2)
            assert await faults_at(address) == ()
            async with slack.sockets.gap("silent"):
                started = time.monotonic()
                told: Sequence[str] = ()
                while not told and time.monotonic() - started < RED_WITHIN_S:
                    told = await faults_at(address)
                assert told == ("No connection to Slack works; the bot tries to connect again.",)
            await slack.sockets.is_connected(2)
            assert await faults_at(address) == ()


async def test_a_bot_that_does_not_answer_or_is_not_there_is_one_sentence(talk: Talk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        host, port = deaf.getsockname()
        told = await asyncio.to_thread(ask_health, host, port, timeout_s=0.2)
    assert told == (f"The bot at 127.0.0.1, port {port}, has not answered for 0.2 s: it hangs.",)
    told = await asyncio.to_thread(ask_health, host, port)
    assert told == (f"No bot runs at 127.0.0.1, port {port}: start it, or check METRICS_PORT.",)


async def test_all_faults_are_told_at_once(talk: Talk) -> None:
    async def red() -> str:
        return "It is red."

    health = Health(
        talk.services.engine, talk.store, Backups(talk.store, BackupPlan()), lambda: [Connection(lambda: 0, red)] * 2
    )
    assert await health.find_faults() == ("It is red.",)
