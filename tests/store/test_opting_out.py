"""The transactions that store a person's words refuse them once the person asked not to be read."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from bot.core.messages import Author, now_utc
from bot.errors import OptedOut
from bot.store.cards import OpenCard
from bot.store.drafts import Draft
from bot.store.store import Store
from tests.store.places import Place
from tests.store.samples import ANN, HERE, ME, provenance, said

BOB = Author("u2", "Bob")
WORDS = "abracadabra"


def a_card(revision: int = 1, *, words: str = WORDS, source_id: str | None = None) -> OpenCard:
    now = now_utc()
    state = {"taken": words} if words else {}
    return OpenCard("c1", HERE, ANN.id, "kind", revision, state, now, now + timedelta(hours=1), source_id)


WRITES: dict[str, Callable[[Store], Awaitable[object]]] = {
    "an answer": lambda store: store.add_reply(
        said(3, WORDS, author=ME, reply_to="1"), provenance(), kind="chat", asker_id=ANN.id
    ),
    "a rewritten answer": lambda store: store.rewrite_reply(HERE, "2", WORDS, provenance()),
    "a card": lambda store: store.save_open_card(a_card()),
    "a card about a message": lambda store: store.save_open_card(a_card(words="", source_id="1")),
    "a draft": lambda store: store.save_draft(HERE, Draft("recipe", ANN.id, source_text=WORDS)),
    "a template": lambda store: store.add_template_version(
        HERE, "recipe", action="new", author=ANN, source_text=WORDS, version="1"
    ),
    "a deleted template": lambda store: store.delete_template(HERE, "soup", author=ANN, reason=WORDS),
}


@pytest.mark.parametrize("what", WRITES)
async def test_nothing_is_stored_for_a_person_who_opted_out(store: Store, place: Place, what: str) -> None:
    await store.add_message(said(1, author=ANN), kind="chat")
    await store.add_reply(said(2, "an answer", author=ME, reply_to="1"), provenance(), kind="chat", asker_id=ANN.id)
    await store.add_template_version(HERE, "soup", action="new", author=BOB, source_text="soup", version="1")
    await store.opt_out(HERE.platform, ANN.id, True)
    with pytest.raises(OptedOut, match="You asked not to be read"):
        await WRITES[what](store)
    assert WORDS.encode() not in place.content()
    await store.opt_out(HERE.platform, ANN.id, False)
    await WRITES[what](store)


async def test_the_next_revision_of_a_card_is_refused_too(store: Store) -> None:
    assert await store.save_open_card(a_card(words="before"))
    await store.opt_out(HERE.platform, ANN.id, True)
    with pytest.raises(OptedOut):
        await store.save_open_card(a_card(2))


async def test_a_card_without_words_is_stored_so_that_privacy_has_buttons(store: Store) -> None:
    await store.opt_out(HERE.platform, ANN.id, True)
    assert await store.save_open_card(a_card(words=""))


async def test_what_others_ask_is_stored_as_before(store: Store) -> None:
    await store.opt_out(HERE.platform, ANN.id, True)
    await store.add_message(said(1, author=BOB), kind="chat")
    answer = said(2, "an answer", author=ME, reply_to="1")
    assert await store.add_reply(answer, provenance(), kind="chat", asker_id=BOB.id)
    assert await store.rewrite_reply(HERE, "2", "another", provenance())
