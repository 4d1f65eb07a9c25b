"""Several programs share Discord on one PostgreSQL: kill them, restart the server, and cut one off from it."""

import asyncio
import contextlib
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import psycopg

from bot.core.shards import Shards
from bot.platforms.shared.refusals import MARK
from tests.platforms.discord.connecting import TOKEN
from tests.postgres_server import PostgresServer, serve_postgres
from tests.servers.discord import Discord, serve_discord, visible_text
from tests.servers.discord.members import Member
from tests.servers.discord.world import Channel, Message
from tests.soak.figures import Figure, Run, Say, rules_kept
from tests.soak.people import Asked
from tests.soak.program import Program, start_program

NUM_PROGRAMS: Final = 4
_NUM_PEOPLE: Final = 40
_NUM_WRITERS: Final = 8
# Few start only after others have taken over what they left.
_LATE_AMONG, _LATE_S, _SOON_S = 8, 40.0, 8.0
# So many are asked right before a kill, and so long before it.
_NUM_RIGHT_BEFORE: Final = 4
_MOMENTS_S: Final = (0.02, 0.05, 0.1, 0.2, 0.4)
# What is asked so long before an outage, or after it, may be told of it.
_BEFORE_S, _AFTER_S = 5.0, 35.0
_AGAIN_S: Final = 2.0
_CUT_OFF_S: Final = 60.0
# So many questions may be open before more are asked.
_MOST_OPEN: Final = 60
_ASKED_IN_S: Final = 8.0
_ANSWERED_WITHIN_S: Final = 240.0
_TAKEN_OVER: Final = re.compile(r"took over (\d+) requests")


class Line:
    """The way of one program to the server, which can be held: bytes stop, and the sockets stay open."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.folder = folder
        self._server = server
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._passing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Accept connections for the block."""
        self.folder.mkdir()
        listening = await asyncio.start_unix_server(self._connected, str(self.folder / ".s.PGSQL.5432"))
        try:
            yield
        finally:
            listening.close()
            for task in self._passing:
                task.cancel()
            await asyncio.gather(*self._passing, return_exceptions=True)

    async def hold(self, for_s: float) -> None:
        """Let nothing pass for a while."""
        self._is_open.clear()
        await asyncio.sleep(for_s)
        self._is_open.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = str(self._server.folder / ".s.PGSQL.5432")
            server_reader, server_writer = await asyncio.open_unix_connection(path)
        except OSError:
            writer.close()
            return
        for one, other in ((reader, server_writer), (server_reader, writer)):
            task = asyncio.create_task(self._pass_on(one, other))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._is_open.wait()
                writer.write(data)
                await writer.drain()
        await self._is_open.wait()  # also an end is not passed on
        with contextlib.suppress(OSError):
            writer.close()


@dataclass
class Fleet:
    """The programs, each with its shard; one that is killed starts again."""

    discord: Discord
    environment: Mapping[str, str]
    lines: list[Line]
    database: str
    programs: dict[int, Program] = field(default_factory=dict)
    num_taken_over: int = 0
    num_kills: int = 0
    # When the database could not be used, by the monotonic clock.
    restarts: list[tuple[float, float]] = field(default_factory=list)
    cuts: list[tuple[float, float]] = field(default_factory=list)
    _starting: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, number: int) -> None:
        """Start the program with shard `number`, and wait until it is on Discord."""
        program = await start_program(
            "discord",
            {
                **self.environment,
                **self.discord.environment,
                "DATABASE": f"postgresql://fewshot@/{self.database}?host={self.lines[number].folder}",
                "SHARDS": str(Shards(number, number, NUM_PROGRAMS)),
                "LOG_LEVEL": "INFO",
            },
        )
        await program.is_there()
        self.programs[number] = program

    async def kill(self, number: int, pause_s: float) -> None:
        """Kill a program that runs, and start it again after a pause in the background."""
        program = self.programs.pop(number)
        self.num_kills += 1
        await self._end(program, signal.SIGKILL)

        async def start_again() -> None:
            await asyncio.sleep(pause_s)
            while True:
                try:
                    await self.start(number)
                    return
                except AssertionError:  # it ended: the server is not there now
                    await asyncio.sleep(_AGAIN_S)

        task = asyncio.create_task(start_again())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def is_whole(self) -> None:
        """Wait until all programs run."""
        while self._starting:
            await asyncio.gather(*self._starting)

    async def end(self) -> None:
        """End all programs."""
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        for program in self.programs.values():
            await self._end(program, signal.SIGTERM)

    async def _end(self, program: Program, number: signal.Signals) -> None:
        await program.end(number)
        self.num_taken_over += sum(map(int, _TAKEN_OVER.findall(program.said)))


class People:
    """People in a server of each shard, and direct messages, who ask."""

    def __init__(self, discord: Discord, rng: random.Random) -> None:
        self.asked = Asked(discord, has_numbers=False)
        self._discord = discord
        self._rng = rng
        guilds: dict[int, list[Channel]] = {}
        while len(guilds) < NUM_PROGRAMS:
            guild = discord.world.add_guild("A server", channels=["one", "two", "three"])
            guilds.setdefault((guild.id >> 22) % NUM_PROGRAMS, list(guild.channels))
            time.sleep(0.002)  # the shard is in the time of the id
        self._places_of = guilds
        self._places = [channel for channels in guilds.values() for channel in channels]
        self._people: list[Member] = []
        for number in range(_NUM_PEOPLE):
            member = discord.add_user(f"Person {number}")
            for channel in self._places:
                if channel.guild is not None and member.user.id not in channel.guild.members:
                    discord.join(channel.guild, member)
            self._people.append(member)
        self._writers = self._people[:_NUM_WRITERS]

    def write_first(self) -> None:
        """Ask in each direct channel: the bot knows only those in which it was written to before."""
        for writer in self._writers:
            self.asked.ask(writer, self._discord.world.dm_channel(writer.user))

    def asks(self, shard: int | None = None) -> Message:
        """Let somebody ask something somewhere, or in a server of `shard`."""
        who = self._rng.choice(self._people)
        if shard is not None:
            return self.asked.ask(who, self._rng.choice(self._places_of[shard]))
        is_direct = self._rng.random() < 0.1
        if is_direct:
            who = self._rng.choice(self._writers)
        place = self._discord.world.dm_channel(who.user) if is_direct else self._rng.choice(self._places)
        return self.asked.ask(who, place)

    def marked(self) -> list[Message]:
        """Return the questions that were refused by a mark: a flood of sentences is cut short."""
        return [message for message in self.asked.messages if MARK in message.reactions]

    def open(self) -> list[Message]:
        """Return the questions that have neither an answer nor a mark."""
        return [message for message in self.asked.missing() if MARK not in message.reactions]

    async def are_answered(self, timeout_s: float, *, at_most: int = 0) -> None:
        """Wait until at most so many questions are open, or the time is over."""
        until = time.monotonic() + timeout_s
        while len(self.open()) > at_most and time.monotonic() < until:
            await asyncio.sleep(0.25)


async def run_programs(
    folder: Path, environment: Mapping[str, str], say: Say, *, num: int = 2000, num_kills: int = 40, seed: int = 1
) -> Run:
    """Let people ask `num` questions while programs are killed and the database is restarted and cut off."""
    rng = random.Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        # In a thread, as it runs an event loop of its own.
        server = await asyncio.to_thread(stack.enter_context, serve_postgres())
        name = str(stack.enter_context(server.new_database()).url).split("/")[3].split("?")[0]
        discord = await stack.enter_async_context(serve_discord(token=TOKEN, seed=seed))
        discord.gateway.num_shards = NUM_PROGRAMS
        lines = [Line(folder / f"line{number}", server) for number in range(NUM_PROGRAMS)]
        for line in lines:
            await stack.enter_async_context(line.serve())
        people = People(discord, rng)
        fleet = Fleet(discord, {**environment, "QUOTA_PER_MINUTE": "600"}, lines, name)
        try:
            await asyncio.gather(*(fleet.start(number) for number in range(NUM_PROGRAMS)))
            say(f"{NUM_PROGRAMS} programs are on Discord")
            people.write_first()
            await people.are_answered(_ANSWERED_WITHIN_S)
            first_claim = _retention_claim(server.url(name))
            await _play(fleet, people, server, rng, say, num=num, num_kills=num_kills)
        finally:
            await fleet.end()
        return _result(fleet, people, server.url(name), first_claim)


async def _play(
    fleet: Fleet, people: People, server: PostgresServer, rng: random.Random, say: Say, *, num: int, num_kills: int
) -> None:
    cutting_off: asyncio.Task[None] | None = None
    for turn in range(num_kills):
        for _ in range(num * (turn + 1) // num_kills - len(people.asked.messages) - _NUM_RIGHT_BEFORE):
            people.asks()
            await asyncio.sleep(rng.uniform(0, 2 * _ASKED_IN_S * num_kills / num))
        if turn in (num_kills // 4, 7 * num_kills // 8):
            await _restart(server, fleet, "INT" if turn == num_kills // 4 else "QUIT", rng, say)
        if turn == num_kills // 2:
            await fleet.is_whole()
            say("the line of one program is held")
            cutting_off = asyncio.create_task(_cut_off(fleet))
            await asyncio.sleep(0)
        # The program that is cut off lives on: that is what is to be seen.
        running = [number for number in fleet.programs if number or cutting_off is None or cutting_off.done()]
        if running:
            number = rng.choice(running)
            for _ in range(_NUM_RIGHT_BEFORE):
                people.asks(number)
            await asyncio.sleep(rng.choice(_MOMENTS_S))
            is_late = rng.randrange(_LATE_AMONG) == 0
            await fleet.kill(number, _LATE_S if is_late else rng.uniform(0, _SOON_S))
        num_open = len(people.open())
        say(f"{turn + 1} of {num_kills} kills, {len(people.asked.messages)} questions, {num_open} being answered")
        await people.are_answered(_ANSWERED_WITHIN_S, at_most=_MOST_OPEN)
    if cutting_off is not None:
        await cutting_off
    await fleet.is_whole()
    await people.are_answered(_ANSWERED_WITHIN_S)
    await asyncio.sleep(3)


async def _restart(
    server: PostgresServer, fleet: Fleet, how: Literal["INT", "QUIT"], rng: random.Random, say: Say
) -> None:
    """Restart the server, in order or as if it was killed."""
    say(f"PostgreSQL is restarted ({'fast' if how == 'INT' else 'immediate'})")
    began_at_s = time.monotonic()
    await asyncio.to_thread(server.stop, how)
    await asyncio.sleep(rng.uniform(0, 3))
    await asyncio.to_thread(server.start)
    fleet.restarts.append((began_at_s - _BEFORE_S, time.monotonic() + _AFTER_S))


async def _cut_off(fleet: Fleet) -> None:
    """Hold the line of the first program for a while."""
    began_at_s = time.monotonic()
    await fleet.lines[0].hold(_CUT_OFF_S)
    fleet.cuts.append((began_at_s - _BEFORE_S, time.monotonic() + _AFTER_S))


def _retention_claim(database: str) -> str:
    """Return until when one program has the right to erase what has expired."""
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT value FROM notes WHERE name = 'claim retention'").fetchone()
    return "" if found is None else str(found[0])


def _result(fleet: Fleet, people: People, database: str, first_claim: str) -> Run:
    asked, discord = people.asked, fleet.discord
    marked, lost, doubled = people.marked(), people.open(), asked.doubled()
    refused = [one for one in asked.messages if any(visible_text(part).startswith("⚠️") for part in asked.parts_of(one))]
    outages = [*fleet.restarts, *fleet.cuts]
    early = [
        one for one in (*refused, *marked) if not any(began <= asked.said_at[one.id] <= over for began, over in outages)
    ]
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT count(*) FROM inbox WHERE finished_at_utc IS NULL").fetchone()
    num_sent = sum(one.method == "PUT" and one.path.endswith("/commands") for one in discord.requests)
    is_same_claim = bool(first_claim) and _retention_claim(database) == first_claim
    kept, wrong = rules_kept(discord)
    figures = (
        Figure("programs", NUM_PROGRAMS),
        Figure("kill -9", fleet.num_kills),
        Figure("restarts of PostgreSQL (fast, immediate)", len(fleet.restarts)),
        Figure(f"times that a program was cut off from PostgreSQL for {_CUT_OFF_S:g} s", len(fleet.cuts)),
        Figure("messages to the bot", len(asked.messages)),
        Figure("not answered", len(lost), "= 0"),
        Figure("answered twice", len(doubled), "= 0"),
        Figure("open in the database at the end", found[0] if found else -1, "= 0"),
        Figure("taken over by another program", fleet.num_taken_over, "≥ 1"),
        Figure("told during an outage that the database could not be used", len(refused)),
        Figure("… and by a mark only", len(marked)),
        Figure("told so at another time", len(early), "= 0"),
        Figure("longest wait for the first sign of an answer", asked.slowest_s(), unit="s"),
        Figure("slash commands sent", num_sent, "= 1"),
        Figure("programs that erased what had expired, in the hour", 1 if is_same_claim else 2, "= 1"),
        *kept,
    )
    problems = [f"lost: {asked.describe(message)}" for message in lost[:5]]
    problems += [f"doubled: {asked.describe(message)}" for message in doubled[:5]]
    problems += [f"told at another time: {asked.describe(message)}" for message in early[:5]]
    problems += sorted({visible_text(asked.parts_of(message)[0])[:100] for message in refused})
    return Run("Several programs on one PostgreSQL", figures, (*problems, *wrong))
