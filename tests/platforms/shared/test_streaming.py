"""Answers shown while they are written, on any platform: when, in which order, and after a failure."""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial

import pytest

from bot.core.cards import Card, Form, FormField, Text
from bot.errors import DeliveryFailed, FewshotError, MessageGone, MissingPermission, SendRefused
from bot.platforms.shared.streaming import Delivered, Timings, deliver
from tests.platforms.shared.board import Board, BoardOutlet

QUICK = Timings(typing_after_s=0.01, typing_every_s=0.05, visible_after_s=0.03)


def words(text: str, *, is_final: bool = False) -> Card:
    return Card(blocks=(Text(text, is_model_text=True),), is_final=is_final)


class PlacelessOutlet(BoardOutlet):
    """Shows the answer in place of another message, as a click does."""

    @property
    def sent_ids(self) -> tuple[str, ...]:
        return ()


class FormOutlet(PlacelessOutlet):
    """Opens forms, and shows nothing before."""

    async def show_snapshot(self, card: Card, *, stop_id: str | None) -> None:
        raise DeliveryFailed("no")

    async def open_form(self, form: Form) -> None:
        pass


async def script(*steps: Card | float | Exception) -> AsyncIterator[Card]:
    """Yield cards, sleep for numbers, raise exceptions."""
    for step in steps:
        if isinstance(step, Card):
            yield step
        elif isinstance(step, Exception):
            raise step
        else:
            await asyncio.sleep(step)


async def run(board: Board, *steps: Card | float | Exception) -> Delivered:
    return await deliver(script(*steps), BoardOutlet(board, "1"), stop_id="1", timings=QUICK)


async def test_a_quick_answer_is_shown_once_and_whole() -> None:
    board, noted = Board(), list[tuple[str, int]]()

    async def note(sent_id: str, position: int) -> None:
        noted.append((sent_id, position))

    cards = script(words("Hel"), words("Hello", is_final=True))
    delivered = await deliver(cards, BoardOutlet(board, "1"), stop_id="1", on_sent=note, timings=QUICK)
    assert board.versions == {"1.0": ["Hello"]}
    assert delivered == Delivered(words("Hello", is_final=True), ("1.0",), is_shown=True)
    assert noted == [("1.0", 0)]


async def test_an_answer_without_a_message_of_its_own_is_told_once_when_it_is_shown() -> None:
    shown: list[str] = []
    for outlet in (BoardOutlet(Board(), "1"), PlacelessOutlet(Board(), "2"), FormOutlet(Board(), "3")):
        final = Card(form=Form("f", "F", ())) if isinstance(outlet, FormOutlet) else words("Hello", is_final=True)
        note = partial(shown.append, type(outlet).__name__)
        await deliver(script(words("H"), 0.1, final), outlet, on_shown=note, timings=QUICK)
    assert shown == ["PlacelessOutlet", "FormOutlet"]


async def test_a_slow_answer_shows_typing_then_snapshots_with_stop_then_the_whole() -> None:
    board = Board()
    await run(board, 0.1, words("Hel"), 0.05, words("Hello", is_final=True))
    assert board.versions == {"1.0": ["Thinking …", "Hel", "Hello"]}
    assert board.stop_ids == ["1", "1", None]
    assert board.num_typings >= 1


async def test_only_the_newest_snapshot_is_shown() -> None:
    board = Board()
    await run(board, words("a"), words("b"), words("c"), 0.1, words("all", is_final=True))
    assert board.versions == {"1.0": ["c", "all"]}


async def test_the_next_snapshot_replaces_one_that_did_not_arrive() -> None:
    board = Board(failures=[DeliveryFailed("no")])
    await run(board, words("a"), 0.1, words("b"), 0.05, words("all", is_final=True))
    assert board.versions == {"1.0": ["b", "all"]}


@pytest.mark.parametrize("error", [MissingPermission("no"), MessageGone("no"), SendRefused("no")])
async def test_after_a_snapshot_that_may_not_be_shown_only_the_whole_is_tried(error: FewshotError) -> None:
    board = Board(failures=[error])
    delivered = await run(board, words("a"), 0.1, words("b"), 0.05, words("all", is_final=True))
    assert board.versions == {"1.0": ["all"]}
    assert delivered.is_shown


async def test_an_answer_that_the_platform_rejects_is_replaced_by_a_sentence_with_its_name() -> None:
    board = Board(failures=[SendRefused("no")])
    delivered = await run(board, words("all", is_final=True))
    assert board.texts == ["Board refused the answer. Ask again in other words."]
    assert delivered.is_shown


@pytest.mark.parametrize("error", [MissingPermission("no"), MessageGone("no")])
async def test_an_answer_that_may_not_be_shown_is_reported_as_not_shown(error: FewshotError) -> None:
    assert not (await run(Board(failures=[error]), words("all", is_final=True))).is_shown


async def test_an_unreachable_platform_is_reported_to_the_caller() -> None:
    with pytest.raises(DeliveryFailed):
        await run(Board(failures=[DeliveryFailed("away")]), words("all", is_final=True))


async def test_a_form_that_can_not_be_opened_is_answered_with_a_sentence() -> None:
    board = Board()
    await run(board, Card(form=Form("f", "A form", (FormField("a", "A"),))))
    assert board.texts == ["A form can't be opened here."]


async def test_an_error_in_the_answer_is_raised_and_all_tasks_end() -> None:
    board = Board()
    with pytest.raises(ValueError, match="broken"):
        await run(board, words("part"), 0.1, ValueError("broken"))
    num_typings = board.num_typings
    await asyncio.sleep(0.1)
    assert (board.texts, board.num_typings) == (["part"], num_typings)


async def test_a_cancelled_answer_ends_its_source_and_all_its_tasks() -> None:
    is_closed = asyncio.Event()

    async def cards() -> AsyncIterator[Card]:
        try:
            yield words("part")
            await asyncio.sleep(10)
        finally:
            is_closed.set()

    before = asyncio.all_tasks()
    task = asyncio.create_task(deliver(cards(), BoardOutlet(Board(), "1"), timings=QUICK))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert is_closed.is_set()
    assert asyncio.all_tasks() == before


async def test_a_bug_in_an_outlet_is_logged_and_the_whole_answer_shown(caplog: pytest.LogCaptureFixture) -> None:
    class Hasty(BoardOutlet):
        async def wait_turn(self) -> None:
            raise RuntimeError("a mistake in the program")

    board = Board()
    with caplog.at_level(logging.ERROR):
        await deliver(script(words("a"), 0.1, words("all", is_final=True)), Hasty(board, "1"), timings=QUICK)
    assert board.versions == {"1.0": ["all"]}
    assert "showing an answer while it is written failed" in caplog.text


async def test_an_answer_without_a_card_shows_nothing() -> None:
    board = Board()
    assert await run(board) == Delivered(None)
    assert board.texts == []
