import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from bot.core.messages import now_utc
from bot.store.cards import OpenCard
from bot.store.messages import EXAMPLE_FORM
from bot.store.store import Store
from tests.store.places import Place
from tests.store.samples import HERE, said


def card(card_id: str = "c1", **fields: Any) -> OpenCard:
    now = now_utc()
    made = OpenCard(card_id, HERE, "u1", "completion", 1, {"taken": "once "}, now, now + timedelta(hours=1))
    return replace(made, **fields)


async def test_a_card_comes_back_after_a_restart(store: Store, place: Place) -> None:
    made = card(state={"taken": "ünï\ud800", "past": [[1, None]], "seed": 2**63 - 1}, source_message_id="7")
    assert await store.save_open_card(made)
    async with Store.open(place.address) as again:
        expected = replace(made, state={"taken": "ünï�", "past": [[1, None]], "seed": 2**63 - 1})
        assert await again.get_open_card(HERE, "c1") == expected


async def test_only_the_next_revision_is_saved(store: Store) -> None:
    assert await store.save_open_card(card())
    assert not await store.save_open_card(card()), "the id exists"
    assert not await store.save_open_card(card(revision=3)), "someone skipped one"
    assert await store.save_open_card(card(revision=2, state={"taken": "upon"}))
    assert not await store.save_open_card(card(revision=2, state={"taken": "late"})), "the second click of two"
    assert not await store.save_open_card(card(revision=3, scope=replace(HERE, channel="random")))
    found = await store.get_open_card(HERE, "c1")
    assert found is not None
    assert (found.revision, found.state) == (2, {"taken": "upon"})


async def test_of_many_clicks_at_once_one_wins(store: Store) -> None:
    await store.save_open_card(card())
    saved = await asyncio.gather(*(store.save_open_card(card(revision=2, state={"click": n})) for n in range(20)))
    assert sum(saved) == 1


async def test_a_closed_card_is_gone_and_stays_so(store: Store) -> None:
    await store.save_open_card(card())
    assert not await store.close_open_card(replace(HERE, server="other"), "c1")
    assert await store.close_open_card(HERE, "c1")
    assert not await store.close_open_card(HERE, "c1")
    assert not await store.save_open_card(card(revision=2))
    assert await store.get_open_card(HERE, "c1") is None


async def test_the_latest_card_is_the_owners_last_saved_here(store: Store) -> None:
    await store.save_open_card(card("a"))
    await store.save_open_card(card("b"))
    await store.save_open_card(card("other owner", owner_id="u2"))
    await store.save_open_card(card("elsewhere", scope=replace(HERE, channel="random")))
    await store.save_open_card(card("expired", expires_at_utc=now_utc() - timedelta(seconds=1)))
    latest = await store.latest_open_card(HERE, "u1")
    assert latest is not None
    assert latest.id == "b"
    await store.save_open_card(card("a", revision=2))
    latest = await store.latest_open_card(HERE, "u1")
    assert latest is not None
    assert latest.id == "a"
    assert await store.latest_open_card(HERE, "u3") is None
    assert await store.get_open_card(HERE, "expired") is None
    assert await store.get_open_card(HERE, "elsewhere") is None


async def test_a_card_goes_with_the_message_whose_words_it_holds(store: Store, place: Place) -> None:
    await store.add_message(said(1, "once upon a time"), kind="command")
    await store.save_open_card(card(state={"text": "once upon a time"}, source_message_id="1"))
    await store.save_open_card(card("other", source_message_id="2"))
    await store.delete_message("terminal", "1")
    assert await store.get_open_card(HERE, "c1") is None
    assert await store.get_open_card(HERE, "other") is not None
    assert b"once upon" not in place.content()


async def test_a_card_about_a_message_that_was_deleted_meanwhile_is_not_saved(store: Store, place: Place) -> None:
    await store.add_message(said(1, "once upon a time"), kind="command")
    await store.save_open_card(card(source_message_id="1"))
    store.note_gone("terminal", ["2"])
    await store.delete_message("terminal", "1")
    state = {"text": "abracadabra"}
    assert not await store.save_open_card(card(revision=2, state=state, source_message_id="1"))
    assert not await store.save_open_card(card("another", state=state, source_message_id="1"))
    assert not await store.save_open_card(card("another", state=state, source_message_id="2"))
    assert await store.latest_open_card(HERE, "u1") is None
    assert b"abracadabra" not in place.content()


async def test_an_edit_closes_the_form_that_holds_the_old_words(store: Store) -> None:
    await store.add_message(said(1, "once upon a time"), kind="chat")
    await store.save_open_card(card("form", kind=EXAMPLE_FORM, state={}, source_message_id="1"))
    await store.save_open_card(card("completion", source_message_id="1"))
    await store.edit_message("terminal", "1", "there was")
    assert await store.get_open_card(HERE, "form") is None
    assert await store.get_open_card(HERE, "completion") is not None
