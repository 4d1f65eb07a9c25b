"""What the operator is told of a database that can't be used: each outage once, and its end."""

import logging
from pathlib import Path

import pytest

from bot.store.outages import Outages, Retries

BEGUN = "The database /data/x.db can't be written: the disk is full or failing. Nothing new is stored until then."
OVER = "The database /data/x.db can be written again."


def test_an_outage_is_told_once_however_often_it_is_met(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages(Path("/data/x.db"), quiet_s=0)
    outages.works("written")
    for _ in range(100):
        outages.failed("written", "the disk is full or failing")
        outages.works("read")
    outages.works("written")
    outages.works("written")
    assert caplog.messages == [BEGUN, OVER]
    outages.failed("written", "the disk is full or failing")
    outages.failed("written", "another program is using it")
    assert len(caplog.messages) == 4


def test_short_writes_that_still_fit_do_not_end_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages(Path("/data/x.db"), quiet_s=1000)
    for _ in range(100):
        outages.failed("written", "the disk is full or failing")
        outages.works("written")
    assert caplog.messages == [BEGUN]


def test_the_first_failure_of_a_row_is_logged_and_others_are_raised(caplog: pytest.LogCaptureFixture) -> None:
    retries = Retries()
    for error in (OSError("full"), OSError("full"), None, OSError("full again")):
        with retries.trying("tidying", OSError):
            if error:
                raise error
    assert caplog.messages == [
        "tidying failed and will be retried: full",
        "tidying failed and will be retried: full again",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    with pytest.raises(ValueError, match="other"), retries.trying("tidying", OSError):
        raise ValueError("other")
