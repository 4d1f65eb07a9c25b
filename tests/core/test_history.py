from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.history import HistoryMessage, Turn, merge_turns, select_turns

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def message(number: int, author: str, text: str, *, is_me: bool = False) -> HistoryMessage:
    at = NOON + timedelta(seconds=number)
    return HistoryMessage(str(number), author.casefold(), author, is_me, text, None, at)


def test_back_to_back_messages_of_one_person_are_one_turn() -> None:
    messages = [
        message(1, "Ana", "one\ntwo"),
        message(2, "Ana", "three"),
        message(3, "Bot", "four\n\nfive ", is_me=True),
        message(4, "Bob", "six"),
        message(5, "Ana", "seven"),
    ]
    assert merge_turns(messages) == (
        Turn("Ana", False, "one two\nthree", ("1", "2")),
        Turn("Bot", True, "four\n\nfive", ("3",)),
        Turn("Bob", False, "six", ("4",)),
        Turn("Ana", False, "seven", ("5",)),
    )


def test_two_people_of_one_name_are_two_speakers_by_id() -> None:
    twins = [message(1, "Ana", "a"), HistoryMessage("2", "other", "Ana", False, "b", None, NOON)]
    assert [turn.message_ids for turn in merge_turns(twins)] == [("1",), ("2",)]


def test_texts_and_names_are_cleaned_and_empty_messages_skipped() -> None:
    messages = [
        message(1, "A\u202ena:\n", "x\u202ey\x00"),
        message(2, "Bob", " \u200b\n"),
        message(3, "A\u202ena:\n", "z"),
    ]
    assert merge_turns(messages) == (Turn("Ana", False, "xy\nz", ("1", "3")),)


@pytest.mark.parametrize(
    ("counts", "budget", "first"),
    [
        ([5], 10, 0),
        ([5], 1, 0),
        ([5, 5, 5], 15, 0),
        ([5, 5, 5], 14, 1),
        ([1, 100, 5], 50, 2),
        ([0, 5], 5, 0),
        ([5, 5], -1, 1),
    ],
)
def test_the_oldest_turns_go_first_and_the_current_message_never(counts: list[int], budget: int, first: int) -> None:
    assert select_turns(len(counts), counts.__getitem__, budget) == first


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(-5, 400))
def test_as_many_turns_as_fit_are_kept(counts: list[int], budget: int) -> None:
    first = select_turns(len(counts), counts.__getitem__, budget)
    assert first == len(counts) - 1 or sum(counts[first:]) <= budget
    assert first == 0 or sum(counts[first - 1 :]) > budget


def test_no_turn_older_than_the_first_left_out_is_counted() -> None:
    counted = []

    def count(index: int) -> int:
        counted.append(index)
        return 5

    assert select_turns(1000, count, 12) == 998
    assert counted == [999, 998, 997]


def test_no_turns_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least the current message"):
        select_turns(0, [].__getitem__, 5)
