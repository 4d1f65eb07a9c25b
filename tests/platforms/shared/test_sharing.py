"""Several programs on one platform and one database: what one leaves another answers, and none answers twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bot.background import cancel, keep_running
from bot.core.database_url import DatabaseUrl
from bot.core.messages import Author
from bot.platforms.shared.answering import Answering
from bot.platforms.shared.unfinished import Unfinished
from bot.services.ledger import Delivery
from bot.services.sharing import Sharing, SharingTimings
from bot.store.backend import Transaction
from bot.store.processes import LEASE_S
from tests.bots import ScriptedEngine, Talk, open_scripted_bot
from tests.platforms.shared.board import ANN, HERE, TRAITS, Board, BoardOutlet, BoardPlatform, said

QUICK = SharingTimings(beat_s=0.05, fence_s=20.0, look_s=0.02)
BOB = Author("bob", "Bob")


@dataclass
class Program:
    """A program on the board; what it writes says which one it is."""

    talk: Talk
    engine: ScriptedEngine
    board: Board
    delivery: Delivery
    answering: Answering

    async def is_asked(self, message_id: str, *, waits: bool = False) -> None:
        """Let somebody ask this program; with `waits` until the model is asked."""
        message = said(message_id)
        num_read = len(self.engine.read)
        assert await self.delivery.accept(message)
        self.answering.begin(message, BoardOutlet(self.board, message_id))
        if waits:
            await until(lambda: _as_bool(len(self.engine.read) > num_read))

    def loses_the_database(self, is_lost: bool = True) -> None:
        """Let every use of the database fail, or no more."""
        self.talk.store._database._is_closed = is_lost

    async def outcome_of(self, message_id: str) -> str:
        (row,) = await self.talk.store._database.read("SELECT state FROM inbox WHERE message_id = ?", message_id)
        return str(row["state"])

    async def takes_for_dead(self, other: "Program") -> None:
        """Let so much time pass for the database without a beat of `other`."""
        process_id = other.talk.store._database.process_id

        async def pass_time(transaction: Transaction) -> None:
            await transaction.execute(
                "UPDATE processes SET seen_at_utc = seen_at_utc - ? WHERE id = ?", int(LEASE_S * 1e6) + 1, process_id
            )

        await self.talk.store._database.write(pass_time)


@asynccontextmanager
async def a_program(
    folder: Path,
    address: DatabaseUrl,
    board: Board,
    text: str,
    *,
    is_held: bool = False,
    timings: SharingTimings = QUICK,
) -> AsyncIterator[Program]:
    folder = folder / text
    folder.mkdir(exist_ok=True)
    engine = ScriptedEngine([text], is_held=is_held)
    async with (
        open_scripted_bot(engine, folder, traits=TRAITS, database=address) as talk,
        Sharing.open(talk.store, lambda: [text], timings=timings) as sharing,
    ):
        delivery = Delivery(talk.store, TRAITS, sharing)
        platform = BoardPlatform(board)
        answering = Answering(talk.bot, delivery, platform)
        unfinished = Unfinished(delivery, answering, platform, pause_s=0.05)
        await unfinished.load()
        await unfinished.answer_all()
        resuming = keep_running(unfinished.answer_undelivered, "resuming")
        try:
            yield Program(talk, engine, board, delivery, answering)
        finally:
            await cancel(resuming)
            await answering.drain(0)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await is_so():
            await asyncio.sleep(0.01)


async def is_answered(program: Program, message_id: str) -> bool:
    return await program.outcome_of(message_id) == "answered"


async def test_what_a_program_that_ended_has_left_is_answered_by_another(tmp_path: Path, address: DatabaseUrl) -> None:
    board = Board()
    async with a_program(tmp_path, address, board, "I am one.") as one:
        async with a_program(tmp_path, address, board, "I am two.", is_held=True) as two:
            await two.is_asked("1")
        await until(lambda: is_answered(one, "1"))
        assert board.versions == {"1.0": ["I am one."]}


async def test_what_a_dead_program_has_left_is_answered_once_by_one_of_the_others(
    tmp_path: Path, address: DatabaseUrl
) -> None:
    board = Board()
    ids = [str(number) for number in range(40)]
    async with (
        a_program(tmp_path, address, board, "I am one.") as one,
        a_program(tmp_path, address, board, "I am two."),
        a_program(tmp_path, address, board, "I am dead.", is_held=True) as dead,
    ):
        for message_id in ids:
            await dead.is_asked(message_id)
        await dead.answering.drain(0)
        dead.loses_the_database()
        await one.takes_for_dead(dead)
        for message_id in ids:
            await until(lambda message_id=message_id: is_answered(one, message_id))  # type: ignore[misc]
        assert all(len(versions) == 1 for versions in board.versions.values())
        assert set(board.texts) <= {"I am one.", "I am two."}
        dead.loses_the_database(is_lost=False)


async def test_a_program_that_was_cut_off_shows_nothing_of_what_others_answer(
    tmp_path: Path, address: DatabaseUrl
) -> None:
    board = Board()
    async with (
        a_program(tmp_path, address, board, "I am one.") as one,
        a_program(
            tmp_path, address, board, "I was cut off.", is_held=True, timings=replace(QUICK, fence_s=0.3)
        ) as cut_off,
    ):
        await cut_off.is_asked("1", waits=True)
        before = cut_off.talk.store._database.process_id
        cut_off.loses_the_database()
        await until(lambda: _as_bool(not cut_off.answering.is_running("1")))
        await one.takes_for_dead(cut_off)
        await until(lambda: is_answered(one, "1"))
        cut_off.engine.release()
        cut_off.loses_the_database(is_lost=False)
        await until(lambda: _as_bool(cut_off.talk.store._database.process_id != before))
        await cut_off.is_asked("2")
        await until(lambda: is_answered(one, "2"))
        assert board.versions == {"1.0": ["I am one."], "2.0": ["I was cut off."]}


async def _as_bool(value: bool) -> bool:
    return value


async def test_without_a_beat_for_long_nothing_is_shown_until_the_database_is_back(
    tmp_path: Path, address: DatabaseUrl
) -> None:
    board = Board()
    timings = replace(QUICK, fence_s=0.3)
    async with a_program(tmp_path, address, board, "I am one.", is_held=True, timings=timings) as one:
        await one.is_asked("1", waits=True)
        one.loses_the_database()
        await until(lambda: _as_bool(not one.answering.is_running("1")))
        one.engine.release()
        await asyncio.sleep(0.2)
        assert board.texts == []
        one.loses_the_database(is_lost=False)
        await until(lambda: is_answered(one, "1"))
        assert board.versions == {"1.0": ["I am one."]}


async def test_a_message_deleted_or_edited_elsewhere_is_withdrawn_or_answered_again(
    tmp_path: Path, address: DatabaseUrl
) -> None:
    board = Board()
    async with (
        a_program(tmp_path, address, board, "I am one.") as one,
        a_program(tmp_path, address, board, "I am two.", is_held=True) as two,
    ):
        await two.is_asked("1", waits=True)
        await two.is_asked("2")
        await one.talk.bot.edited(said("2", "Hello again"))
        await one.talk.bot.deleted(HERE.platform, ["1"])
        await until(lambda: _as_bool(not two.answering.is_running("1")))
        async with asyncio.timeout(20):
            while not any("Hello again" in str(read) for read in two.engine.read):
                await asyncio.sleep(0.01)
        two.engine.release()
        await until(lambda: is_answered(one, "2"))
        assert board.versions == {"2.0": ["I am two."]}
        assert await one.outcome_of("1") == "cancelled"


async def test_an_answer_is_stopped_from_another_program(tmp_path: Path, address: DatabaseUrl) -> None:
    board = Board()
    async with (
        a_program(tmp_path, address, board, "I am one.") as one,
        a_program(tmp_path, address, board, "I am two.", is_held=True) as two,
    ):
        await two.is_asked("1", waits=True)
        assert await one.answering.stop("1", BOB) == "Only the person who asked, or a moderator, can stop that answer."
        assert await one.answering.stop("2", ANN) == "That answer is already finished."
        assert await one.answering.stop("1", ANN) is None

        async def is_told() -> bool:
            return not await two.talk.store.signals()

        await until(is_told)
        two.engine.release()

        async def is_cancelled() -> bool:
            return await one.outcome_of("1") == "cancelled"

        await until(is_cancelled)
        assert "I am two." not in board.texts


async def test_what_is_held_and_that_nobody_answers_is_found(tmp_path: Path, address: DatabaseUrl) -> None:
    board = Board()
    async with a_program(tmp_path, address, board, "I am one.") as one:
        # As if the answer to the transaction that took it over was lost.
        assert await one.delivery.accept(said("1"))
        await until(lambda: is_answered(one, "1"))
        assert board.versions == {"1.0": ["I am one."]}
