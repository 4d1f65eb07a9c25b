from dataclasses import replace

import pytest

from bot.core.messages import Scope
from bot.store.cards import OpenCard
from bot.store.store import Store
from tests.store.places import Place, SqlitePlace
from tests.store.samples import HERE, ME, at, provenance, said

DAY_S = 86_400


@pytest.mark.parametrize(
    ("setting", "num_left"),
    [(None, 3), ("7", 1), ("8", 2), ("365", 3), ("0", 3), ("-5", 3), ("many", 3), ("", 3)],
)
async def test_each_server_keeps_messages_for_its_own_time(store: Store, setting: str | None, num_left: int) -> None:
    await store.set_setting(HERE, "server", "retention_days", setting)
    await store.set_setting(replace(HERE, server="other"), "server", "retention_days", "1")
    now = 100 * DAY_S
    for number, age_days in enumerate([0.5, 7.5, 29.9, 30.1, 99], start=1):
        await store.add_message(said(number, created_at_utc=at(now - age_days * DAY_S)), kind="chat")
    num_deleted = await store.delete_expired(now=at(now))
    history = await store.load_history(HERE, limit=9)
    assert (len(history), num_deleted) == (num_left, 5 - num_left)


async def test_a_direct_message_has_its_own_retention(store: Store) -> None:
    mine, yours = Scope("discord", "@me", "dm-1"), Scope("discord", "@me", "dm-2")
    await store.set_setting(mine, "server", "retention_days", "1")
    await store.add_message(said(1, scope=mine), kind="chat")
    await store.add_message(said(2, scope=yours), kind="chat")
    assert await store.delete_expired(now=at(2 * DAY_S)) == 1
    assert await store.load_history(mine, limit=9) == []
    assert len(await store.load_history(yours, limit=9)) == 1


async def test_what_has_expired_is_gone_from_every_file_with_what_hung_on_it(store: Store, place: Place) -> None:
    await store.add_message(said(1, "abracadabra"), kind="chat")
    await store.add_reply(said(2, "hocuspocus", author=ME), provenance(("1", 1)), kind="chat")
    late = at(40 * DAY_S)
    await store.add_reply(said(3, author=ME, created_at_utc=late), provenance(("1", 1)), kind="chat")
    assert await store.delete_expired(now=late) == 2
    for word in (b"abracadabra", b"hocuspocus"):
        assert word not in place.content()
    reply = await store.get_reply(HERE, "3")
    assert reply is not None
    assert [back.change for back in reply.read] == ["deleted"]
    stats = await store.count_stored()
    assert (stats.num_messages, stats.num_replies) == (1, 1)
    if isinstance(place, SqlitePlace):
        assert stats.num_bytes % 4096 == 0
        assert 0 < stats.num_bytes <= len(place.content())
    else:
        assert stats.num_bytes > len(place.content())


async def test_a_card_ends_with_the_message_whose_words_it_holds(store: Store) -> None:
    for number in (1, 2):
        await store.add_message(said(number), kind="command")
    for card_id, source_id in (("a", "1"), ("b", "2"), ("free", None)):
        made = OpenCard(card_id, HERE, "u1", "completion", 1, {}, at(0), at(10**9), source_message_id=source_id)
        assert await store.save_open_card(made)
    await store.delete_expired(default_days=1, now=at(86_400 + 1.5))
    assert [name for name in ("a", "b", "free") if await store.get_open_card(HERE, name)] == ["b", "free"]


async def test_counts_are_of_one_server_or_of_all(store: Store) -> None:
    await store.add_message(said(1), kind="chat")
    await store.add_reply(said(2, author=ME), provenance(), kind="chat")
    await store.add_message(said(3, scope=replace(HERE, server="other")), kind="chat")
    await store.add_message(said(4), kind="chat")
    await store.delete_message("terminal", "4")
    here = await store.count_stored(platform="terminal", server="home")
    everywhere = await store.count_stored()
    assert (here.num_messages, here.num_replies) == (2, 1)
    assert (everywhere.num_messages, everywhere.num_replies) == (3, 1)
