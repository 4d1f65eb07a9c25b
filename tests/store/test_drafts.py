from dataclasses import replace

import pytest

from bot.core.messages import Scope
from bot.errors import RequestError
from bot.store.drafts import MAX_DRAFTS, Draft
from bot.store.store import Store
from tests.store.places import Place
from tests.store.samples import HERE, at
from tests.store.test_templates import BOB, ELSEWHERE, publish, template

DAY_S = 86_400


async def test_a_draft_is_kept_over_a_restart_and_published_then(store: Store, place: Place) -> None:
    await publish(store, template())
    made = template(text="Hello.")
    draft = Draft("greet", "u2", based_on=1, source_text=made.source_text, updated_at_utc=at(0))
    await store.save_draft(HERE, draft)
    async with Store.open(place.address) as again:
        stored = await again.get_draft(HERE, "greet", "u2")
        assert stored == draft
        assert await publish(again, made, author=BOB, expected_published=1, draft_author_id="u2") == 2
        assert await again.get_draft(HERE, "greet", "u2") is None


async def test_what_was_typed_wrongly_is_kept_with_the_problem(store: Store) -> None:
    draft = Draft("new-one", "u1", 0, "ab" * 32, None, {"query": "no slot\n…", "labels": ""}, "The text needs $input.")
    await store.save_draft(HERE, draft)
    assert await store.get_draft(HERE, "new-one", "u1") == draft
    fixed = replace(draft, source_text=template("new-one").source_text, form_values=None, problem="")
    await store.save_draft(HERE, fixed)
    assert await store.list_drafts(HERE) == [fixed]


async def test_everyone_has_a_draft_of_their_own(store: Store) -> None:
    for seconds, (name, author_id) in enumerate([("a", "u1"), ("a", "u2"), ("b", "u1")]):
        await store.save_draft(HERE, Draft(name, author_id, updated_at_utc=at(seconds)))
    assert [(one.name, one.author_id) for one in await store.list_drafts(HERE)] == [
        ("b", "u1"),
        ("a", "u2"),
        ("a", "u1"),
    ]
    assert [one.name for one in await store.list_drafts(HERE, "u1")] == ["b", "a"]
    assert await store.discard_draft(HERE, "a", "u1")
    assert not await store.discard_draft(HERE, "a", "u1")
    assert await store.get_draft(HERE, "a", "u2") is not None
    for foreign in (ELSEWHERE, replace(HERE, platform="discord")):
        assert await store.list_drafts(foreign) == []
        assert not await store.discard_draft(foreign, "b", "u1")


async def test_drafts_of_direct_messages_stay_there(store: Store) -> None:
    mine, yours = Scope("discord", "@me", "dm-1"), Scope("discord", "@me", "dm-2")
    await store.save_draft(mine, Draft("a", "u1"))
    assert await store.get_draft(yours, "a", "u1") is None
    assert await store.get_draft(mine, "a", "u1") is not None


async def test_a_draft_goes_when_it_was_not_changed_for_a_month(store: Store, place: Place) -> None:
    await store.save_draft(HERE, Draft("old", "u1", form_values={"query": "abracadabra"}, updated_at_utc=at(0)))
    await store.save_draft(HERE, Draft("young", "u1", updated_at_utc=at(DAY_S)))
    await store.delete_expired(now=at(30 * DAY_S + 1))
    assert [one.name for one in await store.list_drafts(HERE)] == ["young"]
    assert b"abracadabra" not in place.content()


async def test_nobody_fills_the_disk_with_drafts(store: Store) -> None:
    for i in range(MAX_DRAFTS):
        await store.save_draft(HERE, Draft(f"t{i}", "u1"))
    with pytest.raises(RequestError, match="100 drafts here already"):
        await store.save_draft(HERE, Draft("one-more", "u1"))
    await store.save_draft(HERE, Draft("t1", "u1", problem="changed"))
    await store.save_draft(HERE, Draft("one-more", "u2"))
    with pytest.raises(RequestError, match="A form has at most 262,144 bytes"):
        await store.save_draft(HERE, Draft("t1", "u1", form_values={"a": "x" * 262_144}))


async def test_a_draft_that_changed_meanwhile_is_not_replaced(store: Store) -> None:
    new = Draft("greet", "u1")
    first = replace(new, source_text="first", updated_at_utc=at(1))
    assert await store.save_draft(HERE, first, before=new)
    assert not await store.save_draft(HERE, replace(new, source_text="second"), before=new), "there is one by now"
    assert await store.save_draft(HERE, replace(first, source_text="third"), before=first)
    assert not await store.save_draft(HERE, replace(first, source_text="fourth"), before=first)
    assert not await store.save_draft(HERE, replace(new, source_text="fifth"), before=new, closes=["no such card"])
    stored = await store.get_draft(HERE, "greet", "u1")
    assert stored is not None
    assert stored.source_text == "third"
    await store.discard_draft(HERE, "greet", "u1")
    assert not await store.save_draft(HERE, first, before=stored), "it is gone"


async def test_a_draft_whose_last_form_was_not_valid_is_not_published_and_lost(store: Store) -> None:
    made = template(text="Hello.")
    await store.save_draft(HERE, Draft("greet", "u2", source_text=made.source_text, form_values={"query": "typed"}))
    assert await publish(store, made, author=BOB, draft_author_id="u2") is None
    assert await store.get_draft(HERE, "greet", "u2") is not None
