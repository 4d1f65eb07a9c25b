import asyncio

import pytest

from bot.store.store import Store
from tests.store.places import Place


async def test_a_watermark_is_kept_and_only_goes_up(store: Store, place: Place) -> None:
    assert await store.get_watermark("discord", "a") is None
    told = [await store.advance_watermark("discord", "a", message_id) for message_id in ("90", "100", "99", "100")]
    assert told == [True, True, False, False]
    async with Store.open(place.address) as again:
        assert await again.get_watermark("discord", "a") == "100"


@pytest.mark.parametrize(("low", "high"), [("9", "10"), ("99", "100"), ("1099", "1100"), (str(2**63), str(2**64))])
async def test_ids_count_as_numbers(store: Store, low: str, high: str) -> None:
    for first, second, is_higher in [(low, high, True), (high, low, False)]:
        await store.advance_watermark("discord", first, first)
        assert await store.advance_watermark("discord", first, second) is is_higher
        assert await store.get_watermark("discord", first) == high


async def test_each_platform_and_key_has_its_own(store: Store) -> None:
    await store.advance_watermark("discord", "", "5")
    await store.advance_watermark("discord", "a", "3")
    await store.advance_watermark("slack", "", "1")
    assert [
        await store.get_watermark(*of) for of in [("discord", ""), ("discord", "a"), ("slack", ""), ("slack", "a")]
    ] == ["5", "3", "1", None]


async def test_of_many_that_move_it_at_once_the_highest_stands(store: Store, place: Place) -> None:
    async with Store.open(place.address) as other:
        await asyncio.gather(
            *((store, other)[number % 2].advance_watermark("p", "k", str(number)) for number in range(95, 120))
        )
    assert await store.get_watermark("p", "k") == "119"


async def test_under_other_keys_a_platform_goes_on_from_its_lowest_watermark(store: Store) -> None:
    async def values(*keys: str) -> list[str | None]:
        return [await store.get_watermark("discord", key) for key in keys]

    await store.advance_watermark("slack", "", "1")
    for key, value in [("0/3", "1000"), ("1/3", "999"), ("2/3", "1200")]:
        await store.advance_watermark("discord", key, value)
    await store.regroup_watermarks("discord", ["0/3", "1/3", "2/3"])
    assert await values("0/3", "1/3", "2/3") == ["1000", "999", "1200"]
    await store.regroup_watermarks("discord", ["0/2", "1/2"])
    assert await values("0/3", "1/3", "2/3", "0/2", "1/2") == [None, None, None, "999", "999"]
    await store.advance_watermark("discord", "0/2", "2000")
    await store.advance_watermark("discord", "1/2", "3000")
    # What the three had reached once is not gone back to.
    await store.regroup_watermarks("discord", ["0/3", "1/3", "2/3"])
    assert await values("0/3", "1/3", "2/3") == ["2000", "2000", "2000"]
    assert await store.get_watermark("slack", "") == "1"


async def test_where_nothing_is_known_other_keys_change_nothing(store: Store) -> None:
    await store.regroup_watermarks("discord", ["0/1"])
    assert await store.get_watermark("discord", "0/1") is None
    await store.advance_watermark("discord", "0/2", "5")
    await store.regroup_watermarks("discord", ["0/2", "1/2"])
    assert await store.get_watermark("discord", "1/2") is None
