"""`python -m bot store move`: everything from one database into another."""

import argparse
import asyncio
import sys
import time
from contextlib import ExitStack
from typing import Final

from bot.core.database_url import DatabaseUrl
from bot.settings import Settings, read_address
from bot.store.backends import hold_platform
from bot.store.moving import move_store
from bot.telling import say

_TELL_S: Final = 1.0
# Those whose programs would otherwise go on answering from the database that is being left.
_PLATFORMS: Final = ("Discord", "Slack", "the page")


def run_move(_: Settings, arguments: argparse.Namespace) -> int:
    """Move everything from one database into another, and print each table with its check sum; return 0."""
    source, target = read_address("FROM", arguments.source), read_address("TO", arguments.target)
    with ExitStack() as stack:
        # A path that leads nowhere is refused before a lock makes its folder.
        addresses = [one for one in (source, target) if isinstance(one, DatabaseUrl) or one.expanduser().is_file()]
        for address in dict.fromkeys(addresses):
            for platform in _PLATFORMS:
                stack.enter_context(hold_platform(address, platform))
        moved = asyncio.run(move_store(source, target, tell=_Progress()))
    for table in moved:
        sys.stdout.write(f"{table.name:18} {table.num_rows:>12,} rows  SHA-256 {table.sha256[:16]}\n")
    sys.stdout.flush()
    say(f"All of it is in {target} now, and the same as in {source}. Set DATABASE to the new address.")
    say(f"{source} stays as it was. Delete it in the end: what people erase from now on is still in there.")
    return 0


class _Progress:
    """Says how far a table is, once a second; nothing if all takes less."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def __call__(self, table: str, num_done: int, num_rows: int) -> None:
        if time.monotonic() - self._told_at >= _TELL_S:
            self._told_at = time.monotonic()
            say(f"{table}: {num_done:,} of {num_rows:,} rows are moved.")
