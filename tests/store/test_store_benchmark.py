"""The store with 20,000 messages: the quick form of `make bench-store`."""

import statistics
from pathlib import Path

from benchmarks.store import ACTIONS, measure, table_of


async def test_no_action_takes_long_because_much_is_stored(tmp_path: Path) -> None:
    times, longest_ms = await measure(tmp_path, 20_000, 3, lambda _: None)
    assert set(times) == {"start", *ACTIONS}
    # Far from the bounds of the benchmark, since other tests run at the same time.
    slow = {name: one.extra_ms for name, one in times.items() if min(one.full) - statistics.median(one.empty) > 200}
    assert not slow
    assert 0 < longest_ms < 1000
    assert table_of(times).count("\n") == len(times) + 1
