"""Gaps of a shard, step by step: the watermark moves only when no message below it can be missing."""

import pytest

from bot.platforms.discord.incoming.gaps import Gaps
from bot.services.ledger import SeenUntil


@pytest.fixture
def gaps() -> Gaps:
    """Return a shard whose first session is connected and read."""
    opened = Gaps(SeenUntil("100"))
    opened.begin_again()
    opened.is_connected()
    opened.was_read(opened.session)
    return opened


def come(gaps: Gaps, message_id: int) -> str | None:
    gaps.seen.saw(str(message_id))
    gaps.seen.done(str(message_id))
    return gaps.seen.value


def test_it_moves_while_the_shard_is_connected(gaps: Gaps):
    assert come(gaps, 200) == "200"


def test_it_is_frozen_from_a_lost_connection_until_the_session_is_resumed(gaps: Gaps):
    gaps.is_lost()
    assert come(gaps, 200) == "100"
    gaps.is_connected()
    assert gaps.seen.value == "200"


def test_a_new_session_has_to_be_read_back(gaps: Gaps):
    gaps.is_lost()
    gaps.begin_again()
    gaps.is_connected()
    assert come(gaps, 200) == "100"
    gaps.was_read(gaps.session)
    assert gaps.seen.value == "200"


def test_a_connection_that_breaks_and_resumes_during_the_reading_changes_nothing(gaps: Gaps):
    gaps.is_lost()
    gaps.begin_again()
    gaps.is_connected()
    session = gaps.session
    gaps.is_lost()
    gaps.is_connected()
    assert come(gaps, 200) == "100"
    gaps.was_read(session)
    assert gaps.seen.value == "200"


def test_what_is_read_without_a_connection_counts_when_it_is_back(gaps: Gaps):
    gaps.is_lost()
    gaps.begin_again()
    gaps.is_connected()
    gaps.is_lost()
    gaps.was_read(gaps.session)
    assert come(gaps, 200) == "100"
    gaps.is_connected()
    assert gaps.seen.value == "200"


def test_reading_for_an_earlier_session_is_not_enough(gaps: Gaps):
    gaps.is_lost()
    gaps.begin_again()
    gaps.is_connected()
    earlier = gaps.session
    gaps.begin_again()
    gaps.is_connected()
    gaps.was_read(earlier)
    assert come(gaps, 200) == "100"
    gaps.was_read(gaps.session)
    assert gaps.seen.value == "200"
