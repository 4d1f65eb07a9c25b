from datetime import timedelta
from typing import Any

import pytest

from bot.core.messages import now_utc
from bot.store.row_outcomes import Outcome
from bot.store.store import Store
from tests.store.places import Place

OUTCOMES: dict[str, Outcome] = {
    "r1": {"nats": [1.5, 2.25], "num_bytes": 3},
    "r2": {"nats": 0.1, "is_exact": True},
    "r3": {},
}


async def test_a_measurement_goes_on_after_a_restart_where_it_was(store: Store, place: Place) -> None:
    await store.put_row_outcomes("p1", "m1", {"r1": OUTCOMES["r1"]})
    await store.put_row_outcomes("p1", "m1", OUTCOMES)
    async with Store.open(place.address) as again:
        assert await again.get_row_outcomes("p1", "m1", ["r3", "r1", "r2", "r4"]) == OUTCOMES
        assert await again.get_row_outcomes("p1", "m1", ["r2"]) == {"r2": OUTCOMES["r2"]}
        assert await again.get_row_outcomes("p1", "m1", []) == {}
        assert await again.get_row_outcomes("p1", "m2", ["r1"]) == {}
        assert await again.get_row_outcomes("p2", "m1", ["r1"]) == {}


async def test_a_row_that_is_measured_again_has_the_new_figures(store: Store) -> None:
    await store.put_row_outcomes("p1", "m1", {"r1": {"nats": 1.0}})
    await store.put_row_outcomes("p1", "m1", {"r1": {"nats": 2.0}})
    assert await store.get_row_outcomes("p1", "m1", ["r1"]) == {"r1": {"nats": 2.0}}


@pytest.mark.parametrize("figure", ["words", ["words"], float("nan"), float("inf"), [1.0, None]])
async def test_only_numbers_are_kept(store: Store, figure: Any) -> None:
    with pytest.raises(ValueError, match=r"numbers only|Out of range"):
        await store.put_row_outcomes("p1", "m1", {"r1": {"nats": figure}, "r2": {"nats": 1.0}})
    assert await store.get_row_outcomes("p1", "m1", ["r1", "r2"]) == {}


async def test_what_was_measured_goes_after_three_months(store: Store) -> None:
    await store.put_row_outcomes("p1", "m1", OUTCOMES)
    await store.delete_expired(now=now_utc() + timedelta(days=89.9))
    assert len(await store.get_row_outcomes("p1", "m1", list(OUTCOMES))) == 3
    await store.delete_expired(now=now_utc() + timedelta(days=90.1))
    assert await store.get_row_outcomes("p1", "m1", list(OUTCOMES)) == {}
