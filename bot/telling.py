"""What the operator is told: a line on standard error, or a record where the log is for programs."""

import logging
import sys
from contextlib import suppress
from typing import Final

# It has a handler only where what the operator is told is to be logged.
operator_logger: Final = logging.getLogger(__name__)


def say(sentence: str) -> None:
    """Tell the operator a sentence."""
    if operator_logger.handlers:
        operator_logger.info("%s", sentence)
        return
    with suppress(OSError):  # a log file on a full disk must not end the bot
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()
