"""Requests that are being answered: the limit on refusals, stopping, edits, and what a card does beyond being shown."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.core.cards import Card, Text, error_card
from bot.errors import MissingPermission
from bot.platforms.shared.answering import Answering, answer_with
from bot.services.ledger import Delivery
from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.shared.board import ANN, TRAITS, Board, BoardOutlet, BoardPlatform, said

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
    assert answering.stop("2", ANN) == "That answer is already finished."
    assert answering.stop("1", ANN) is None
    await answering.drain(10)
    assert answering.num_running == 0


async def test_a_flood_of_refusals_is_one_sentence_a_person(answering: Answering, platform: BoardPlatform) -> None:
    class Marked(BoardOutlet):
        async def mark_refused(self) -> bool:
            marked.append(self._id)
            return True

    marked: list[str] = []
    for number in range(5):
        outlet = Marked(platform.board, str(number))
        answering.begin(said(str(number)), outlet, is_kept=False, answer=answer_with(error_card("No.")))
    await answering.drain(10)
    assert platform.board.texts == ["No."]
    assert len(marked) == 4


async def test_a_refused_message_that_is_edited_is_answered_in_the_same_place(
    answering: Answering, platform: BoardPlatform
) -> None:
    answering.begin(said("1"), BoardOutlet(platform.board, "1"), is_kept=False, answer=answer_with(error_card("No.")))
    await answering.drain(10)
    assert await answering.edited(said("1", "Hello again"))
    await answering.drain(10)
    assert platform.board.versions == {"1.0": ["No.", "Hello there."]}
