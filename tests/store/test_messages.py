from dataclasses import replace
from typing import Any

import pytest

from bot.core.messages import Author, Scope
from bot.store.store import Store
from tests.store.places import Place, PostgresPlace
from tests.store.samples import ANN, HERE, ME, at, chain, provenance, said

BOB = Author("u2", "Bob")
ELSEWHERE = [
    Scope("discord", "home", "general"),
    Scope("terminal", "other", "general"),
    Scope("terminal", "home", "random"),
    Scope("terminal", "home", "general", "thread"),
]


async def test_history_is_the_newest_chat_messages_oldest_first(store: Store) -> None:
    for number in range(1, 8):
        assert await store.add_message(said(number), kind="command" if number == 6 else "chat")
    history = await store.load_history(HERE, limit=4)
    assert [m.id for m in history] == ["3", "4", "5", "7"]
    assert (history[0].text, history[0].author_name, history[0].created_at_utc) == ("text 3", "Ann", at(3))
    assert await store.load_history(HERE, limit=0) == []


async def test_history_follows_the_platforms_times_not_the_order_of_arrival(store: Store) -> None:
    for number in (2, 3, 1):
        await store.add_message(said(number), kind="chat")
    assert [m.id for m in await store.load_history(HERE, limit=9)] == ["1", "2", "3"]


async def test_history_up_to_a_message_leaves_out_what_came_after_it(store: Store) -> None:
    for number in range(1, 8):
        await store.add_message(said(number, created_at_utc=at(number // 2)), kind="chat")
    assert [m.id for m in await store.load_history(HERE, limit=3, up_to="4")] == ["2", "3", "4"]
    assert [m.id for m in await store.load_history(HERE, limit=9, up_to="1")] == ["1"]
    assert await store.load_history(HERE, limit=9, up_to="unknown") == []


async def test_a_message_that_is_known_is_not_stored_again(store: Store) -> None:
    assert await store.add_message(said(1, "first"), kind="chat")
    assert not await store.add_message(said(1, "second"), kind="chat")
    assert [m.text for m in await store.load_history(HERE, limit=9)] == ["first"]
    assert await store.add_message(said(1, "another platform", scope=ELSEWHERE[0]), kind="chat")


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=lambda scope: "-".join(scope.__getstate__()))
async def test_nothing_is_read_across_scopes(store: Store, elsewhere: Scope) -> None:
    await store.add_message(said(1), kind="chat")
    await store.add_reply(said(2, author=ME, reply_to="1"), provenance(("1", 1)), kind="chat")
    await store.add_message(said(3, scope=elsewhere, reply_to="2"), kind="chat")
    assert [m.id for m in await store.load_history(elsewhere, limit=9)] == ["3"]
    assert [m.id for m in await chain(store, elsewhere, "3", limit=9)] == ["3"]
    assert await store.load_messages(elsewhere, ["1", "2"]) == []
    assert await store.get_reply(elsewhere, "2") is None
    assert await store.last_reply(elsewhere) is None


async def test_messages_come_back_in_the_order_asked_for(store: Store) -> None:
    for number in range(1, 4):
        await store.add_message(said(number, attachment="a file" if number == 2 else None), kind="command")
    found = await store.load_messages(HERE, ["3", "unknown", "1", "2"])
    assert [(m.id, m.kind, m.attachment, m.revision) for m in found] == [
        ("3", "command", None, 1),
        ("1", "command", None, 1),
        ("2", "command", "a file", 1),
    ]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("a\ud800b", "a�b"),
        ("\udc00", "�"),
        ("\ud83d\ude00 \udfff!", "😀 �!"),
        ("\ud800\ud800x", "��x"),
        ("nul\0inside", "nul\0inside"),
        ("'; DROP TABLE messages; --", "'; DROP TABLE messages; --"),
        ("ж" * 131_072, "ж" * 131_072),
        ("", ""),
        ("e\u0301 \u202e <|endoftext|>", "e\u0301 \u202e <|endoftext|>"),
    ],
    ids=["high", "low", "pair", "two", "nul", "sql", "256-kib", "empty", "marks"],
)
async def test_any_text_comes_back_as_it_was_but_for_lone_surrogates(
    store: Store, place: Place, sent: str, stored: str
) -> None:
    if isinstance(place, PostgresPlace):
        stored = stored.replace("\0", "�")  # which it refuses
    message = replace(said(1), text=sent, attachment=sent, author=Author("u\ud800", sent))
    assert await store.add_message(message, kind="chat")
    (found,) = await store.load_history(HERE, limit=1)
    assert (found.text, found.attachment, found.author_name, found.author_id) == (stored, stored, stored, "u�")


async def test_an_edit_replaces_the_words_and_counts(store: Store, place: Place) -> None:
    await store.add_message(said(1, "the forrmer wording"), kind="chat")
    assert await store.edit_message("terminal", "1", "the new wording")
    assert not await store.edit_message("terminal", "1", "the new wording")
    assert not await store.edit_message("terminal", "9", "unknown")
    assert not await store.edit_message("discord", "1", "another platform's")
    (found,) = await store.load_history(HERE, limit=9)
    assert (found.text, found.revision) == ("the new wording", 2)
    assert found.edited_at_utc is not None
    assert b"forrmer" not in place.content()


async def test_a_deleted_message_is_gone_from_every_file(store: Store, place: Place) -> None:
    secret = "the-magic-word " * 2000
    for number in range(1, 40):
        await store.add_message(
            said(number, secret[: 17 * number**2], attachment=secret, author=Author("u1", "Rumpelstiltskin")),
            kind="chat",
        )
    assert b"the-magic-word" in place.content()
    for number in range(1, 40):
        assert await store.delete_message("terminal", str(number))
    assert not await store.delete_message("terminal", "1")
    for word in (b"magic", b"Rumpel"):
        assert word not in place.content()
    assert await store.load_history(HERE, limit=99) == []
    assert await store.load_messages(HERE, ["1"]) == []
    assert not await store.edit_message("terminal", "1", "back again")
    assert not await store.add_message(said(1), kind="chat")


async def test_a_reply_chain_runs_through_answers_to_commands_and_ends_at_the_command(store: Store) -> None:
    await store.add_message(said(1), kind="chat")
    await store.add_message(said(2, "!prompt x y", reply_to="1"), kind="command")
    await store.add_reply(said(3, author=ME, reply_to="2"), provenance(), kind="command")
    await store.add_message(said(4, "in between"), kind="chat")
    await store.add_message(said(5, reply_to="3"), kind="chat")
    await store.add_message(said(6, reply_to="5"), kind="chat")
    assert [m.id for m in await chain(store, HERE, "6", limit=9)] == ["3", "5", "6"]
    assert [m.id for m in await chain(store, HERE, "6", limit=2)] == ["5", "6"]
    assert await chain(store, HERE, "6", limit=0) == ()
    assert await chain(store, HERE, "unknown", limit=9) == ()
    await store.delete_message("terminal", "5")
    assert [m.id for m in await chain(store, HERE, "6", limit=9)] == ["6"]


async def test_a_reply_chain_that_goes_round_ends(store: Store) -> None:
    await store.add_message(said(1, reply_to="2"), kind="chat")
    await store.add_message(said(2, reply_to="1"), kind="chat")
    await store.add_message(said(3, reply_to="3"), kind="chat")
    assert [m.id for m in await chain(store, HERE, "2", limit=9)] == ["1", "2"]
    assert [m.id for m in await chain(store, HERE, "3", limit=9)] == ["3"]


async def test_nothing_above_the_fresh_line_is_read(store: Store, place: Place) -> None:
    await store.mark_fresh(HERE)  # in a conversation that has nothing yet
    await store.add_message(said(1), kind="chat")
    await store.add_message(said(2, "!fresh"), kind="command")
    await store.mark_fresh(HERE)
    assert await store.load_history(HERE, limit=9) == []
    await store.add_message(said(3, reply_to="1"), kind="chat")
    await store.add_message(said(0, "delivered late", created_at_utc=at(0.5)), kind="chat")
    async with Store.open(place.address) as again:
        assert [m.id for m in await again.load_history(HERE, limit=9)] == ["3"]
        assert [m.id for m in await chain(again, HERE, "3", limit=9)] == ["3"]
        assert [m.id for m in await again.load_messages(HERE, ["1"])] == ["1"], "why still shows it"


async def test_the_fresh_line_holds_when_the_messages_above_it_have_expired(store: Store) -> None:
    await store.add_message(said(1), kind="chat")
    await store.mark_fresh(HERE)
    assert await store.delete_expired(now=at(31 * 86_400)) == 1
    await store.add_message(said(2, created_at_utc=at(31 * 86_400), author=ANN), kind="chat")
    assert [m.id for m in await store.load_history(HERE, limit=9)] == ["2"]


async def test_a_conversation_is_read_without_the_people_who_asked_not_to_be_read(store: Store) -> None:
    await store.add_message(said(1, author=ANN), kind="chat")
    await store.add_message(said(2, author=BOB, reply_to="1"), kind="chat")
    await store.add_reply(said(3, author=ME, reply_to="2"), provenance(), kind="chat")
    await store.add_message(said(4, author=ANN, reply_to="3"), kind="chat")

    async def read(**how: Any) -> list[str]:
        return [m.id for m in (await store.load_conversation(HERE, **{"limit": 9} | how)).messages]

    chain = {"up_to": "4", "follows_replies": True}
    assert await read() == await read(**chain) == ["1", "2", "3", "4"]
    await store.opt_out("terminal", BOB.id, True)
    assert await read() == ["1", "3", "4"]
    assert await read(**chain) == ["1", "3", "4"], "the chain goes on behind what is left out"
    assert await read(limit=3) == ["1", "3", "4"], "what is left out takes no place"
    assert await read(up_to="3") == ["1", "3"]
    assert [m.id for m in await store.load_messages(HERE, ["2", "1"], leaves_out_opted_out=True)] == ["1"]
    assert [m.id for m in await store.load_messages(HERE, ["2", "1"])] == ["2", "1"]
    await store.opt_out("terminal", ME.id, True)
    assert await read() == ["1", "3", "4"], "the bot itself is always read"
    await store.opt_out("discord", ANN.id, True)
    assert await read() == ["1", "3", "4"], "on each platform for itself"
    with pytest.raises(ValueError, match="starts at a message"):
        await store.load_conversation(HERE, limit=9, follows_replies=True)


async def test_a_conversation_tells_the_last_change_to_the_templates_there(store: Store) -> None:
    direct = replace(HERE, server="@me")
    for number, scope in enumerate((HERE, direct), start=1):
        assert (await store.load_conversation(scope, limit=9)).template_change is None
        await store.add_message(said(number, scope=scope), kind="chat")
        changes = [0]
        for place in (scope, replace(scope, channel="other")):
            await store.add_template_version(
                place, "mine", action="new", author=ANN, source_text="text", version=f"v{len(changes)}"
            )
            changes.append((await store.load_conversation(scope, limit=9)).template_change or 0)
            assert changes[-1] == await store.latest_template_change(scope)
            assert changes[-1] == (await store.load_place(scope, None)).template_change
        assert changes[1] > 0
        assert (changes[2] > changes[1]) == (scope is HERE), "in direct messages each channel has its own"


async def test_nothing_is_kept_of_who_asked_not_to_be_read(store: Store) -> None:
    await store.opt_out("terminal", ANN.id, True)
    assert not await store.add_message(said(1, author=ANN), kind="chat")
    assert await store.add_message(said(2, author=BOB), kind="chat")
    await store.opt_out("terminal", ME.id, True)
    assert await store.add_reply(said(3, author=ME, reply_to="2"), provenance(), kind="chat")
    await store.opt_out("terminal", ANN.id, False)
    assert await store.add_message(said(1, author=ANN), kind="chat")
