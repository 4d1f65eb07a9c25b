"""Where SQLite and PostgreSQL differ by themselves, and the store may not."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.core.messages import Author, now_utc
from bot.store.backend import Transaction
from bot.store.cards import OpenCard
from bot.store.drafts import Draft
from bot.store.store import Store
from tests.store.places import Place, SqlitePlace
from tests.store.samples import HERE, ME, at, provenance, said

BOB = Author("u2", "Bobolink")


def card(card_id: str, **state: object) -> OpenCard:
    now = now_utc()
    return OpenCard(card_id, HERE, "u1", "kind", 1, state, now, now + timedelta(hours=1))


async def test_nul_in_texts_ids_and_lists_of_ids_is_no_obstacle(store: Store) -> None:
    await store.add_message(replace(said(1), id="a\0b", text="\0"), kind="chat")
    (found,) = await store.load_history(HERE, limit=9)
    assert (found.id, found.text) in (("a\0b", "\0"), ("a\ufffdb", "\ufffd")), "as it was, or as PostgreSQL takes it"
    assert await store.load_messages(HERE, ["\0", "\ud800"]) == []
    assert await store.delete_message("terminal", "a\0b")


async def test_the_state_of_a_card_may_have_an_escaped_nul_anywhere(store: Store) -> None:
    state = {"name": "one", "text": "nul \0 and \\u0000 and \ud800", "list": [1, 2]}
    await store.save_open_card(card("c1", **state))
    found = await store.get_open_card(HERE, "c1")
    assert found is not None
    assert found.state == {**state, "text": "nul \0 and \\u0000 and \ufffd"}
    ((_, _, parts),) = await store.parts_of_cards(
        HERE, "u1", "kind", "json_extract(state, '$.name')", "json_array_length(state, '$.list')"
    )
    assert parts == ("one", 2)


async def test_a_stop_text_with_nul_goes_with_its_message(store: Store) -> None:
    await store.add_message(said(1), kind="chat")
    made = provenance(("1", 1))
    assert made.sampling is not None
    made = replace(made, sampling=replace(made.sampling, stop=("a\0b", "\\u0000")))
    await store.add_reply(said(2, author=ME, reply_to="1"), made, kind="chat")
    await store.delete_message("terminal", "1")
    reply = await store.get_reply(HERE, "2")
    assert reply is not None
    assert reply.provenance.sampling is not None
    assert (reply.provenance.sampling.stop, reply.provenance.sampling.seed) == ((), 2**63 - 1)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
async def test_a_number_with_more_than_64_bits_is_refused_and_the_next_write_works(store: Store, number: int) -> None:
    async def insert(transaction: Transaction) -> None:
        await transaction.execute("INSERT INTO template_changes (id, latest) VALUES (2, ?)", number)

    with pytest.raises(OverflowError):
        await store._database.write(insert)
    with pytest.raises(OverflowError):
        await store._database.read("SELECT ? AS n", number)
    assert await store.add_message(said(1), kind="chat")


async def test_numbers_of_64_bits_come_back(store: Store) -> None:
    (row,) = await store._database.read(
        "SELECT ? AS low, ? AS high, ? AS small, ? AS real", -(2**63), 2**63 - 1, 1, 0.1
    )
    assert tuple(row) == (-(2**63), 2**63 - 1, 1, 0.1)


async def test_texts_are_ordered_and_compared_by_their_bytes(store: Store) -> None:
    names = ["a", "B", "ä", "Z", "z", "_", "-", "10", "9", "aa", "é", "e\u0301", "😀", "\uffee"]
    for name in names:
        await store.save_draft(HERE, Draft(name, "u1", updated_at_utc=at(0)))
    listed = [one.name for one in await store.list_drafts(HERE)]
    assert listed == sorted(names, key=str.encode)
    assert await store.get_draft(HERE, "A", "u1") is None, "case counts"
    assert await store.get_draft(HERE, "a ", "u1") is None, "so does a space"


async def test_a_row_has_its_values_by_name_and_by_place(store: Store) -> None:
    (row,) = await store._database.read("SELECT 1 AS a, 2 AS b, 3 AS a, 'x' AS text")
    assert (row["a"], row[2], row[1:3], list(row), row.keys()[:2]) == (1, 3, (2, 3), [1, 2, 3, "x"], ["a", "b"])
    with pytest.raises((KeyError, IndexError)):
        row["missing"]


async def test_a_transaction_that_breaks_a_rule_leaves_nothing_and_tells_no_words(store: Store) -> None:
    async def insert(transaction: Transaction) -> None:
        await transaction.execute("INSERT INTO notes (platform, name, value) VALUES ('p', 'n', 'once')")
        await transaction.execute("INSERT INTO notes (platform, name, value) VALUES ('p', 'n', 'abracadabra')")

    with pytest.raises(Exception, match=r"(?i)unique") as told:
        await store._database.write(insert)
    assert "abracadabra" not in str(told.value)
    assert await store.get_note("p", "n") is None


async def test_many_stores_that_write_the_same_rows_each_do_it_once(place: Place) -> None:
    """Four programs on one database: what one of them has read may not change before it writes."""
    async with (
        Store.open(place.address) as a,
        Store.open(place.address) as b,
        Store.open(place.address) as c,
        Store.open(place.address) as d,
    ):
        stores = (a, b, c, d)
        accepted = await asyncio.gather(*(one.accept_request(said(n)) for n in range(12) for one in stores))
        assert sum(accepted) == 12
        await a.save_open_card(card("c1"))
        clicks = [replace(card("c1", click=n), revision=2) for n in range(8)]
        saved = await asyncio.gather(*(stores[n % 4].save_open_card(one) for n, one in enumerate(clicks)))
        assert sum(saved) == 1
        proposed = [replace(card(f"p{n}", template="t"), kind="example_proposal", owner_id=f"u{n}") for n in range(12)]
        made = await asyncio.gather(*(stores[n % 4].add_proposal(one) for n, one in enumerate(proposed)))
        assert sorted(one.state["number"] for one in made) == list(range(1, 13))
        places = [replace(HERE, channel=f"c{n}") for n in range(8)]
        await asyncio.gather(
            *(stores[n % 4].add_message(said(100 + n, scope=one), kind="chat") for n, one in enumerate(places))
        )
        await asyncio.gather(*(stores[n % 4].forget_channel(one) for n, one in enumerate(places)))
        assert await a.get_note("terminal", "channels_being_forgotten") == "[]"


async def test_of_opting_out_and_storing_at_once_nothing_is_stored_after(place: Place) -> None:
    async with Store.open(place.address) as one, Store.open(place.address) as other:
        for number in range(10):
            stored, _ = await asyncio.gather(
                one.add_message(said(number, author=BOB), kind="chat"), other.opt_out("terminal", BOB.id, True)
            )
            assert not await one.add_message(said(100 + number, author=BOB), kind="chat")
            assert stored == bool(await one.load_messages(HERE, [str(number)]))
            await one.opt_out("terminal", BOB.id, False)


async def test_the_size_is_that_of_the_database(store: Store, place: Place) -> None:
    size = (await store.count_stored()).num_bytes
    assert size % 4096 == 0 if isinstance(place, SqlitePlace) else size > 2**20
