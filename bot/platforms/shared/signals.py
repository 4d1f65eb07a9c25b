"""SIGTERM and SIGINT: the first lets the program end in order, the second ends it at once."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# A service manager kills the process after 20 to 90 seconds. After this time the process ends in any case: a DNS
# look-up can't be cancelled, and a normal exit would wait for it.
END_S: Final = 19.0


@contextmanager
def ended_by_signals(is_over: asyncio.Event) -> Iterator[None]:
    """Let the first SIGTERM or SIGINT set `is_over`, and the second one end the process at once."""
    overdue = threading.Timer(END_S, os._exit, (0,))
    overdue.daemon = True

    def end(number: int) -> None:
        if is_over.is_set():
            # As safe as a power cut: accepted requests are stored, and the next start answers them.
            os._exit(128 + number)
        is_over.set()
        overdue.start()

    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
