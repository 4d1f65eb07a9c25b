"""Unfinished requests of the last run: answered exactly once and in the same place, or reported as expired."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bot.background import cancel, keep_running
from bot.errors import DeliveryFailed, MessageGone, MissingPermission, SendRefused
from bot.platforms.shared.answering import Answering
from bot.platforms.shared.unfinished import Unfinished
from bot.services.ledger import Delivery
from bot.store.backend import Transaction
from tests.bots import ScriptedEngine, Talk, open_scripted_bot
from tests.platforms.shared.board import TRAITS, Board, BoardOutlet, BoardPlatform, said

EXPIRED = "I was away when you asked this, and it is now too old to answer. Please ask again."


@dataclass
class Run:
    """A run of the bot that resumes the requests on the board."""

    talk: Talk
    board: Board
    delivery: Delivery
    answering: Answering
    unfinished: Unfinished

    async def go_on(self) -> None:
        """Answer the unfinished requests, and wait for the answers."""
        await self.unfinished.load()
        await self.unfinished.answer_all()
        await self.answering.drain(10)

    async def store_roles(self, roles: str) -> None:
        """Overwrite the roles of the authors of all requests."""

        async def overwrite(transaction: Transaction) -> None:
            await transaction.execute("UPDATE inbox SET author_roles = ? WHERE text IS NOT NULL", roles)

        await self.talk.store._database.write(overwrite)

    async def outcome_of(self, message_id: str) -> str | None:
        rows = await self.talk.store._database.read("SELECT state FROM inbox WHERE message_id = ?", message_id)
        return rows[0]["state"] if rows else None


@asynccontextmanager
async def a_run(
    folder: Path, board: Board, text: str = "Hello there.", *, answerable_s: float = 900.0
) -> AsyncIterator[Run]:
    async with open_scripted_bot(ScriptedEngine([text]), folder) as talk:
        delivery = Delivery(talk.store, replace(TRAITS, answerable_s=answerable_s))
        platform = BoardPlatform(board)
        answering = Answering(talk.bot, delivery, platform)
        yield Run(talk, board, delivery, answering, Unfinished(delivery, answering, platform, pause_s=0.02))


async def test_requests_that_could_not_be_loaded_at_the_start_are_answered_when_they_can(tmp_path: Path) -> None:
    async with a_run(tmp_path, Board()) as run:
        await run.delivery.accept(said("1"))
        run.talk.store._database._is_closed = True
        await run.unfinished.load()
        await run.unfinished.answer_all()
        run.talk.store._database._is_closed = False
        # One of this run is under way by then.
        await run.delivery.accept(said("2"))
        run.answering.begin(said("2"), BoardOutlet(run.board, "2"))
        task = keep_running(run.unfinished.answer_undelivered, "resuming")
        while await run.outcome_of("1") != "answered":
            await asyncio.sleep(0.01)
        await run.answering.drain(10)
        await cancel(task)
        assert run.board.versions == {"2.0": ["Hello there."], "1.0": ["Hello there."]}


async def test_a_request_that_an_edit_has_begun_again_is_expected_no_more(tmp_path: Path) -> None:
    async with a_run(tmp_path, Board()) as run:
        await run.delivery.accept(said("1"))
        await run.unfinished.load()
        run.answering.begin(said("1"), BoardOutlet(run.board, "1"))
        await run.unfinished.answer_all()
        await run.answering.drain(10)
        assert not run.answering._expected


async def test_a_request_without_an_answer_is_answered_once(tmp_path: Path) -> None:
    async with a_run(tmp_path, Board()) as run:
        await run.delivery.accept(said("1"))
        await run.go_on()
        await run.go_on()
        assert run.board.texts == ["Hello there."]
        assert await run.outcome_of("1") == "answered"


async def test_an_answer_that_arrived_before_the_end_is_left_unchanged(tmp_path: Path) -> None:
    def break_off() -> None:
        raise DeliveryFailed("the connection broke right after it")

    board = Board()
    async with a_run(tmp_path, board) as first:
        await first.delivery.accept(said("1"))
        first.answering.begin(said("1"), BoardOutlet(board, "1", after_showing=break_off))
        await first.answering.drain(10)
        assert board.texts == ["Hello there."]
        assert await first.outcome_of("1") == "responding"
    async with a_run(tmp_path, board, "Another answer.") as second:
        await second.go_on()
        assert board.versions == {"1.0": ["Hello there."]}
        assert await second.outcome_of("1") == "answered"
        assert await second.delivery.sent_of("1") == ("1.0",)


async def test_a_partial_answer_becomes_the_whole_in_its_place(tmp_path: Path) -> None:
    async with a_run(tmp_path, Board({"1.0": ["Hel"]})) as run:
        await run.delivery.accept(said("1"))
        await run.go_on()
        assert run.board.versions == {"1.0": ["Hel", "Hello there."]}


async def test_a_request_that_is_too_old_is_reported_as_expired(tmp_path: Path) -> None:
    async with a_run(tmp_path, Board(), answerable_s=-1.0) as run:
        await run.delivery.accept(said("1"))
        await run.go_on()
        assert run.board.texts == [EXPIRED]
        assert await run.outcome_of("1") == "expired"


async def test_nothing_is_shown_for_a_request_whose_token_has_expired(tmp_path: Path) -> None:
    async with a_run(tmp_path, Board(), answerable_s=-1.0) as run:
        await run.delivery.accept(said("1"), token="t")
        await run.go_on()
        assert run.board.texts == []
        assert await run.outcome_of("1") == "expired"


async def test_a_request_whose_message_was_deleted_is_not_answered(tmp_path: Path) -> None:
    async with a_run(tmp_path, Board()) as run:
        await run.delivery.accept(said("1"))
        await run.delivery.withdraw("1")
        await run.go_on()
        assert run.board.texts == []


async def test_a_request_waits_until_the_platform_can_be_reached(tmp_path: Path) -> None:
    async with a_run(tmp_path, Board(failures=[DeliveryFailed("away")])) as run:
        await run.delivery.accept(said("1"))
        await run.go_on()
        assert run.board.texts == []
        going_on = asyncio.create_task(run.unfinished.answer_undelivered())
        for _ in range(1000):
            if await run.outcome_of("1") == "answered":
                break
            await asyncio.sleep(0.01)
        going_on.cancel()
        await asyncio.wait([going_on])
        assert run.board.texts == ["Hello there."]


async def test_the_oldest_request_is_answered_first(tmp_path: Path) -> None:
    async with a_run(tmp_path, Board()) as run:
        for number in range(5):
            await run.delivery.accept(said(str(number)))
        await run.go_on()
        assert list(run.board.versions) == [f"{number}.0" for number in range(5)]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DeliveryFailed("away"), "responding"),
        (MissingPermission("no"), "responding"),
        (SendRefused("no"), "responding"),
        (MessageGone("gone"), "cancelled"),
        (ValueError("a bug"), "responding"),
    ],
)
async def test_a_request_that_can_not_be_resumed_does_not_cost_the_others_their_answers(
    tmp_path: Path, error: Exception, outcome: str
) -> None:
    board = Board()
    async with a_run(tmp_path, board) as run:
        for number in "123":
            await run.delivery.accept(said(number))
        board.failures = [error]
        await run.go_on()
        assert list(board.versions) == ["2.0", "3.0"]
        assert await run.outcome_of("1") == outcome
        assert run.answering.take_undelivered() == (
            {"1"} if outcome == "responding" and not isinstance(error, ValueError) else set()
        )


async def test_an_expired_request_is_finished_where_the_bot_may_not_answer(tmp_path: Path) -> None:
    board = Board(failures=[MissingPermission("no")])
    async with a_run(tmp_path, board, answerable_s=-1.0) as run:
        await run.delivery.accept(said("1"))
        await run.go_on()
        assert board.texts == []
        assert await run.outcome_of("1") == "expired"


async def test_an_error_that_nobody_listed_leaves_the_undelivered_answers_for_the_next_try(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_run(tmp_path, Board()) as run:
        await run.delivery.accept(said("1"))
        run.answering.leave("1")
        await run.store_roles("no JSON")  # an error that nobody listed
        resuming = keep_running(run.unfinished.answer_undelivered, "resuming", restart_s=0.01)
        try:
            async with asyncio.timeout(10):
                while "resuming" not in caplog.text:
                    await asyncio.sleep(0.01)
                assert run.board.texts == []
                await run.store_roles("[]")
                while await run.outcome_of("1") != "answered":
                    await asyncio.sleep(0.01)
        finally:
            await cancel(resuming)
        assert run.board.texts == ["Hello there."]


async def test_what_is_stopped_before_it_is_resumed_writes_nothing_more(tmp_path: Path) -> None:
    async with a_run(tmp_path, Board()) as run:
        await run.delivery.accept(said("1"))
        await run.unfinished.load()
        other = replace(said("1").author, id="somebody else")
        assert (
            await run.answering.stop("1", other) == "Only the person who asked, or a moderator, can stop that answer."
        )
        assert await run.answering.stop("1", said("1").author) is None
        await run.unfinished.answer_all()
        await run.answering.drain(10)
        assert "Hello there." not in run.board.texts
        assert await run.outcome_of("1") == "cancelled"
        assert await run.answering.stop("1", said("1").author) == "That answer is already finished."


async def test_what_is_deleted_before_it_is_resumed_is_not_answered(tmp_path: Path) -> None:
    async with a_run(tmp_path, Board()) as run:
        await run.delivery.accept(said("1"))
        await run.unfinished.load()
        await run.answering.withdrawn("1")
        await run.unfinished.answer_all()
        await run.answering.drain(10)
        assert run.board.texts == []
        assert await run.outcome_of("1") == "cancelled"


async def test_many_requests_are_resumed_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.platforms.shared.unfinished.MAX_AT_ONCE", 3)
    monkeypatch.setattr("bot.platforms.shared.unfinished._LOOK_S", 0.001)
    monkeypatch.setattr("bot.platforms.shared.answering.MAX_RUNNING", 4)
    async with a_run(tmp_path, Board()) as run:
        for number in range(12):
            await run.delivery.accept(said(str(number), "!complete Once"))
        await run.go_on()
        assert len(run.board.texts) == 12
        assert not [text for text in run.board.texts if "Too many" in text]
        assert await run.delivery.unfinished() == ()
