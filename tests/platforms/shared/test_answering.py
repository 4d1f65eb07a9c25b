"""Requests that are being answered: the limit on refusals, stopping, edits, and what a card does beyond being shown."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.core.cards import Card, Text, error_card
from bot.core.messages import Message
from bot.errors import MissingPermission, Unavailable
from bot.platforms.shared.answering import Answering, answer_with
from bot.platforms.shared.refusals import RefusalBudget
from bot.services.ledger import Delivery, Outcome
from tests.bots import ScriptedEngine, Talk, open_scripted_bot
from tests.platforms.shared.board import ANN, HERE, TRAITS, Board, BoardOutlet, BoardPlatform, said

REPORT = Card(
    blocks=(Text("Reported."),),
    notices=(("mods", Card(blocks=(Text("Look at this."),))),),
    removed_ids=("old.0",),
)


@pytest.fixture
async def platform(tmp_path: Path) -> BoardPlatform:
    return BoardPlatform(Board(), {"mods": []})


@pytest.fixture
async def answering(tmp_path: Path, platform: BoardPlatform) -> AsyncIterator[Answering]:
    async with open_scripted_bot(ScriptedEngine(["Hello there."], pause_s=0.02), tmp_path) as talk:
        yield Answering(talk.bot, Delivery(talk.store, TRAITS), platform)


async def test_a_card_posts_its_notices_and_deletes_messages(answering: Answering, platform: BoardPlatform) -> None:
    platform.board.versions["old.0"] = ["an old answer"]
    answering.begin(said("1"), BoardOutlet(platform.board, "1"), is_kept=False, answer=answer_with(REPORT))
    await answering.drain(10)
    assert platform.board.texts == ["Reported."]
    assert platform.notices == {"mods": ["1.n0: Look at this."]}


async def test_the_reporter_is_told_that_the_moderators_were_not(answering: Answering, platform: BoardPlatform) -> None:
    platform.board.failures = [None, MissingPermission("no")]
    answering.begin(said("1"), BoardOutlet(platform.board, "1"), is_kept=False, answer=answer_with(REPORT))
    await answering.drain(10)
    (text,) = platform.board.texts
    assert text.startswith("I can't post in the moderators' channel, so they were not told.")
    assert text.endswith("with !settings report_channel.")


async def test_an_answer_is_stopped_by_its_asker_once_it_runs(answering: Answering, platform: BoardPlatform) -> None:
    answering.begin(said("1"), BoardOutlet(platform.board, "1"), is_kept=False)
    assert await answering.stop("2", ANN) == "That answer is already finished."
    assert await answering.stop("1", ANN) is None
    await answering.drain(10)
    assert answering.num_running == 0


async def test_of_a_flood_of_refusals_a_person_reads_three_and_sees_a_sign_for_the_others(
    answering: Answering, platform: BoardPlatform
) -> None:
    class Marked(BoardOutlet):
        async def mark_refused(self) -> bool:
            marked.append(self._id)
            return True

    marked: list[str] = []
    for number in range(5):
        outlet = Marked(platform.board, str(number))
        answering.begin(said(str(number)), outlet, is_kept=False, answer=answer_with(error_card("No.")))
    await answering.drain(10)
    assert platform.board.texts == ["No."] * 3
    assert len(marked) == 2


def test_a_person_is_told_three_times_a_minute_in_any_channel_and_another_person_too() -> None:
    now = 0.0
    budget = RefusalBudget(clock=lambda: now)
    assert [budget.take(channel, "ann") for channel in "abcd"] == [True, True, True, False]
    assert [budget.take("a", "bob") for _ in range(4)] == [True, True, True, False]
    now = 59.0
    assert not budget.take("a", "ann")
    now = 61.0
    assert [budget.take("a", "ann") for _ in range(4)] == [True, True, True, False]


def test_a_channel_has_room_for_the_mistakes_of_a_few_people_at_once() -> None:
    now = 0.0
    budget = RefusalBudget(clock=lambda: now)
    assert [budget.take("a", f"person {number}") for number in range(8)] == [True] * 6 + [False] * 2
    assert budget.take("b", "person 7")
    now = 11.0
    assert budget.take("a", "person 6")


async def test_a_refused_message_that_is_edited_is_answered_in_the_same_place(
    answering: Answering, platform: BoardPlatform
) -> None:
    answering.begin(said("1"), BoardOutlet(platform.board, "1"), is_kept=False, answer=answer_with(error_card("No.")))
    await answering.drain(10)
    assert await answering.edited(said("1", "Hello again"))
    await answering.drain(10)
    assert platform.board.versions == {"1.0": ["No.", "Hello there."]}


class SlowDelivery(Delivery):
    """A ledger whose database can be busy: `may_discard` lets discarding go on, `failures` are raised, one per call."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(talk.store, TRAITS)
        self.is_discarding = asyncio.Event()
        self.may_discard = asyncio.Event()
        self.failures: list[str] = []

    async def discard_reply(self, message_id: str) -> None:
        self.is_discarding.set()
        await self.may_discard.wait()
        self._fail("discard")
        await super().discard_reply(message_id)

    async def accept(self, message: Message, *, token: str = "") -> bool:
        self._fail("accept")
        return await super().accept(message, token=token)

    async def resolve(self, message: Message) -> Message:
        self._fail("resolve")
        return await super().resolve(message)

    async def finish(self, message_id: str, outcome: Outcome) -> bool:
        self._fail("finish")
        return await super().finish(message_id, outcome)

    def _fail(self, what: str) -> None:
        if what in self.failures:
            self.failures.remove(what)
            raise Unavailable("Another program is using the bot's database; try again in a moment.")


@dataclass
class Slow:
    """A bot whose answers and database are slow, and what it read."""

    answering: Answering
    delivery: SlowDelivery
    engine: ScriptedEngine
    talk: Talk
    board: Board

    async def begin(self, message: Message) -> None:
        assert await self.delivery.accept(message)
        self.answering.begin(message, BoardOutlet(self.board, message.id))
        while not self.engine.generations:
            await asyncio.sleep(0.001)
        self.engine.read.clear()


@pytest.fixture
async def slow(tmp_path: Path, platform: BoardPlatform) -> AsyncIterator[Slow]:
    engine = ScriptedEngine(["Hello there."] * 9, pause_s=0.05)
    async with open_scripted_bot(engine, tmp_path) as talk:
        delivery = SlowDelivery(talk)
        yield Slow(Answering(talk.bot, delivery, platform), delivery, engine, talk, platform.board)


async def test_of_two_quick_edits_the_last_one_is_answered(slow: Slow) -> None:
    await slow.begin(said("1", "!complete first"))
    editing = asyncio.create_task(slow.answering.edited(said("1", "!complete second")))
    await slow.delivery.is_discarding.wait()
    assert await slow.answering.edited(said("1", "!complete third"))
    slow.delivery.may_discard.set()
    assert await editing
    await slow.answering.drain(10)
    assert [prompt.text for prompt in slow.engine.read] == ["third"]


async def test_old_words_that_are_stored_after_their_edit_do_not_stay(slow: Slow) -> None:
    slow.delivery.may_discard.set()
    assert await slow.delivery.accept(said("1", "first"))
    # The edit is stored, then the answer begins with the words from before, and then the edit is answered.
    await slow.talk.bot.edited(said("1", "second"))
    slow.answering.begin(said("1", "first"), BoardOutlet(slow.board, "1"))
    while not slow.engine.generations:
        await asyncio.sleep(0.001)
    assert await slow.answering.edited(said("1", "second"))
    await slow.answering.drain(10)
    (stored,) = await slow.talk.store.load_messages(HERE, ["1"])
    assert stored.text == "second"


async def test_a_message_that_is_deleted_while_its_edit_is_handled_is_not_answered(slow: Slow) -> None:
    await slow.begin(said("1", "first"))
    editing = asyncio.create_task(slow.answering.edited(said("1", "second")))
    await slow.delivery.is_discarding.wait()
    await slow.answering.withdrawn("1")
    slow.delivery.may_discard.set()
    await editing
    await slow.answering.drain(10)
    assert slow.engine.read == []
    assert slow.board.texts == []


async def test_a_server_that_goes_while_an_edit_is_handled_ends_its_answer(slow: Slow) -> None:
    await slow.begin(said("1", "first"))
    editing = asyncio.create_task(slow.answering.edited(said("1", "second")))
    await slow.delivery.is_discarding.wait()
    await slow.answering.end_in("home")
    slow.delivery.may_discard.set()
    await editing
    await slow.answering.drain(10)
    assert slow.engine.read == []


async def test_an_edit_is_answered_later_where_the_database_is_busy(slow: Slow) -> None:
    await slow.begin(said("1", "first"))
    slow.delivery.failures, _ = ["discard"], slow.delivery.may_discard.set()
    assert await slow.answering.edited(said("1", "second"))
    assert slow.answering.take_undelivered() == {"1"}


async def test_a_request_that_the_database_does_not_let_begin_is_answered_later(slow: Slow) -> None:
    slow.delivery.failures = ["resolve"]
    assert await slow.delivery.accept(said("1"))
    slow.answering.begin(said("1"), BoardOutlet(slow.board, "1"))
    await slow.answering.drain(10)
    assert slow.answering.take_undelivered() == {"1"}


async def test_an_answer_that_is_shown_is_finished_when_the_database_is_free_again(slow: Slow) -> None:
    slow.delivery.failures = ["finish"]
    assert await slow.delivery.accept(said("1"))
    slow.answering.begin(said("1"), BoardOutlet(slow.board, "1"))
    await slow.answering.drain(10)
    assert slow.board.texts == ["Hello there."]
    assert slow.answering.take_undelivered() == set(), "it would be answered twice"
    while await slow.delivery.unfinished():
        await asyncio.sleep(0.01)


async def test_a_request_of_an_earlier_run_is_begun_with_the_words_of_its_last_edit(slow: Slow) -> None:
    assert await slow.delivery.accept(said("1", "first"))
    slow.answering.expect(said("1", "first"))
    assert await slow.answering.edited(said("1", "second"))
    slow.answering.begin(said("1", "first"), BoardOutlet(slow.board, "1"))
    await slow.answering.drain(10)
    (prompt,) = slow.engine.read
    assert "second" in prompt.text


@pytest.mark.parametrize("ends_before", [False, True])
async def test_a_request_that_could_not_be_kept_is_kept_when_the_database_is_free(
    slow: Slow, ends_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.platforms.shared.answering._KEEP_S", 0.3 if ends_before else 0.001)
    slow.delivery.failures = ["accept", "accept"]
    slow.answering.begin(said("1"), BoardOutlet(slow.board, "1"), is_kept=False)
    slow.answering.keep_later(said("1"))
    if not ends_before:
        while not await slow.delivery.unfinished():
            await asyncio.sleep(0.001)
    await slow.answering.drain(10)
    assert slow.board.texts == ["Hello there."]
    assert await slow.delivery.unfinished() == ()
