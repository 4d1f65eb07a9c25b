import json
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.core.messages import Author, Scope, now_utc
from bot.store.cards import OpenCard
from bot.store.store import Store
from tests.store.places import Place
from tests.store.samples import HERE, ME, at, provenance, said

ANN = Author("u1", "Annabelle")
BOB = Author("u2", "Bobolink")
ELSEWHERE = Scope("terminal", "away", "random")
DIRECT = Scope("terminal", "@me", "dm-1")


def open_card(card_id: str, scope: Scope = HERE, owner_id: str = "u1", source: str | None = None) -> OpenCard:
    later = now_utc() + timedelta(hours=1)
    return OpenCard(
        card_id, scope, owner_id, "completion", 1, {"text": f"card {card_id} quickbeam"}, at(0), later, source
    )


async def test_who_opted_out_stays_so_until_they_opt_in(store: Store, place: Place) -> None:
    assert not await store.is_opted_out("terminal", "u1")
    for _ in range(2):
        await store.opt_out("terminal", "u1", True)
    async with Store.open(place.address) as again:
        assert await again.is_opted_out("terminal", "u1")
        assert not await again.is_opted_out("discord", "u1")
        assert not await again.is_opted_out("terminal", "u2")
        for _ in range(2):
            await again.opt_out("terminal", "u1", False)
        assert not await again.is_opted_out("terminal", "u1")


async def test_an_export_has_all_of_one_person_from_every_server_and_nothing_of_others(store: Store) -> None:
    await store.add_message(said(1, author=ANN, attachment="a file"), kind="chat")
    await store.add_message(said(2, author=BOB), kind="chat")
    await store.add_message(said(3, author=ANN, scope=ELSEWHERE, reply_to="1"), kind="command")
    await store.add_message(said(4, author=ANN, scope=DIRECT), kind="chat")
    await store.add_message(said(5, author=ANN), kind="chat")
    await store.delete_message("terminal", "5")
    await store.accept_request(said(6, author=ANN), token="opensesame")
    await store.set_setting(DIRECT, "channel", "preset", "wild")
    await store.set_setting(replace(DIRECT, channel="dm-2"), "channel", "preset", "careful")
    await store.set_setting(HERE, "server", "preset", "greedy")
    await store.save_open_card(open_card("c1"))
    await store.save_open_card(open_card("c2", owner_id="u2"))
    await store.opt_out("terminal", "u1", True)
    exported = await store.export_person("terminal", "u1")
    assert "opensesame" not in json.dumps(exported)
    assert [(record["kind"], record.get("message_id"), record.get("server")) for record in exported] == [
        ("message", "1", "home"),
        ("message", "3", "away"),
        ("message", "4", "@me"),
        ("request", "6", "home"),
        ("card", None, "home"),
        ("setting", None, "@me"),
        ("opted out", None, None),
    ]
    assert exported[0] == {
        "kind": "message",
        "server": "home",
        "channel": "general",
        "thread": "",
        "message_id": "1",
        "author_name": "Annabelle",
        "text": "text 1",
        "attachment": "a file",
        "reply_to": None,
        "created_at_utc": at(1).isoformat(),
    }
    assert (exported[5]["channel"], exported[5]["name"], exported[5]["value"]) == ("dm-1", "preset", "wild")
    assert await store.export_person("discord", "u1") == await store.export_person("terminal", "nobody") == []


async def test_who_is_forgotten_is_in_no_file_any_more(store: Store, place: Place) -> None:
    for number in range(1, 200):
        author, scope = (ANN, BOB)[number % 2], (HERE, ELSEWHERE, DIRECT)[number % 3]
        words = ("abracadabra " if author is ANN else "simsalabim ") * (number % 40)
        message = said(number, words or "x", author=author, scope=scope, attachment=words)
        await store.accept_request(message, token=f"token-{author.name}")
        await store.add_message(message, kind="chat")
        answer = said(number + 1000, f"you say {words}", author=ME, scope=scope, reply_to=str(number))
        await store.add_reply(answer, provenance((str(number), 1), (str(number - 1), 1)), kind="chat")
        if number % 5:
            await store.finish_request("terminal", str(number), "answered")
    await store.save_open_card(open_card("c1"))
    await store.save_open_card(open_card("c2", owner_id="u2", source="2"))
    await store.save_open_card(open_card("c3", owner_id="u2", source="1"))
    assert b"abracadabra" in place.content()
    assert await store.forget_person("terminal", "u1") == 99
    assert await store.forget_person("terminal", "u1") == 0
    for word in (b"abracadabra", b"Annabelle", b"card c1", b"card c2"):
        assert word not in place.content()
    assert await store.export_person("terminal", "u1") == []
    history = await store.load_history(ELSEWHERE, limit=999)
    assert {m.author_id for m in history} == {"u2", "me"}
    assert len([m for m in history if m.is_me]) == len([m for m in history if not m.is_me]) > 10
    assert place.rows("SELECT id FROM open_cards") == [("c3",)]
    for table in ("messages", "inbox"):
        assert place.rows(f"SELECT count(*) FROM {table} WHERE author_id = 'u1'") == [(0,)]
    assert place.rows("SELECT count(*) FROM inbox WHERE text IS NOT NULL AND author_id <> 'u2'") == [(0,)]


async def test_an_answer_to_another_that_read_the_forgotten_stays_without_its_check_sum(store: Store) -> None:
    await store.add_message(said(1, author=ANN), kind="chat")
    await store.add_message(said(2, author=BOB), kind="chat")
    await store.add_reply(said(3, "an answer", author=ME, reply_to="2"), provenance(("1", 1), ("2", 1)), kind="chat")
    await store.forget_person("terminal", "u1")
    reply = await store.get_reply(HERE, "3")
    assert reply is not None
    assert (reply.message.text, reply.provenance.prompt_sha256) == ("an answer", None)
    assert [back.change for back in reply.read] == ["deleted", "same"]


async def test_who_is_forgotten_on_one_platform_is_kept_on_another(store: Store) -> None:
    away = replace(HERE, platform="discord")
    await store.add_message(said(1, author=ANN, scope=away), kind="chat")
    await store.save_open_card(open_card("c1", away))
    await store.accept_request(said(1, author=ANN, scope=away))
    await store.forget_person("terminal", "u1")
    assert [record["kind"] for record in await store.export_person("discord", "u1")] == ["message", "request", "card"]


async def test_being_forgotten_keeps_the_wish_not_to_be_read_and_what_was_accepted(store: Store) -> None:
    await store.opt_out("terminal", "u1", True)
    await store.accept_request(said(1, "forget me", author=ANN))
    await store.forget_person("terminal", "u1")
    assert await store.is_opted_out("terminal", "u1")
    assert not await store.accept_request(said(1, author=ANN))
    assert await store.finish_request("terminal", "1", "answered"), "the request that asked for it"


async def test_an_answer_that_was_being_written_for_the_forgotten_is_not_kept(store: Store, place: Place) -> None:
    await store.add_message(said(1, author=ANN), kind="chat")
    await store.accept_request(said(2, author=ANN))
    await store.forget_person("terminal", "u1")
    for asked in ("1", "2"):
        answer = said(3, "abracadabra", author=ME, reply_to=asked)
        assert not await store.add_reply(answer, provenance(), kind="chat")
    assert b"abracadabra" not in place.content()
    assert not await store.add_message(said(2, author=ANN), kind="chat")


async def test_a_server_that_was_left_is_in_no_file_any_more(store: Store, place: Place) -> None:
    threads = [HERE, replace(HERE, channel="other"), replace(HERE, thread="t"), ELSEWHERE, DIRECT]
    for number in range(1, 100):
        scope = threads[number % 5]
        word = "abracadabra " if scope.server == "home" else "simsalabim "
        message = said(number, word * (number % 30 + 1), scope=scope, author=ANN if word[0] == "a" else BOB)
        await store.accept_request(message)
        await store.note_sent("terminal", message.id, f"s{number}", 0)
        await store.add_message(message, kind="chat")
        answer = said(number + 1000, f"you say {word}", author=ME, scope=scope, reply_to=message.id)
        await store.add_reply(answer, provenance((message.id, 1)), kind="chat")
    for key in ("home", "away"):
        await store.advance_watermark("terminal", key, "5")
        await store.set_setting(replace(HERE, server=key), "server", "preset", "wild")
    await store.save_open_card(open_card("c1"))
    await store.save_open_card(open_card("c2", ELSEWHERE))
    await store.mark_fresh(HERE)
    num_messages = len(place.rows("SELECT * FROM messages m JOIN conversations c ON c.id = m.conversation_id"))
    num_deleted = await store.forget_server("terminal", "home")
    assert 100 < num_deleted < num_messages
    for word in (b"abracadabra", b"Annabelle", b"card c1", b"home"):
        assert word not in place.content()
    left = place.rows("SELECT count(*) FROM messages") + place.rows("SELECT count(*) FROM replies")
    assert left == [(num_messages - num_deleted,), ((num_messages - num_deleted) / 2,)]
    for table in ("inbox", "sent_messages"):
        assert place.rows(f"SELECT count(*) FROM {table}") == [(40,)]
    assert await store.get_settings(ELSEWHERE) == {"preset": "wild"}
    assert [await store.get_watermark("terminal", key) for key in ("home", "away")] == [None, "5"]
    assert place.rows("SELECT id FROM open_cards") == [("c2",)]
    assert await store.forget_server("terminal", "home") == 0


async def test_forget_channel_takes_the_channel_with_its_threads_and_nothing_else(store: Store, place: Place) -> None:
    thread, beside = replace(HERE, thread="t"), replace(HERE, channel="beside")
    for number, scope in enumerate((HERE, thread, beside, ELSEWHERE), start=1):
        message = said(number, f"abracadabra {scope.channel}-{scope.thread}", scope=scope)
        assert await store.accept_request(message)
        await store.add_message(message, kind="chat")
        await store.set_setting(replace(scope, thread=""), "channel", "preset", "wild")
    await store.save_open_card(open_card("c1"))
    assert await store.forget_channel(replace(HERE, thread="other")) == 0
    assert await store.forget_channel(thread) == 1
    assert [m.id for m in await store.load_history(HERE, limit=9)] == ["1"]
    assert await store.forget_channel(HERE) == 1
    assert place.rows("SELECT message_id FROM messages ORDER BY id") == [("3",), ("4",)]
    assert place.rows("SELECT message_id FROM inbox ORDER BY id") == [("3",), ("4",)]
    assert place.rows("SELECT id FROM open_cards") == []
    assert await store.get_settings(HERE) == {}
    assert await store.get_settings(beside) == {"preset": "wild"}
    assert f"abracadabra {HERE.channel}-".encode() not in place.content()


async def test_a_server_that_was_left_and_joined_again_begin_again(store: Store) -> None:
    await store.add_message(said(1), kind="chat")
    await store.mark_fresh(HERE)
    await store.forget_server("terminal", "home")
    await store.add_message(said(2), kind="chat")
    assert [m.id for m in await store.load_history(HERE, limit=9)] == ["2"]


async def test_the_same_server_id_on_another_platform_stays(store: Store) -> None:
    await store.add_message(said(1), kind="chat")
    assert await store.forget_server("discord", "home") == 0
    assert len(await store.load_history(HERE, limit=9)) == 1


async def test_direct_messages_are_not_left_as_a_server(store: Store) -> None:
    with pytest.raises(ValueError, match="not a server"):
        await store.forget_server("terminal", "@me")
