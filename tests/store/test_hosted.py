"""What a platform shows that this program hosts itself: messages by page, answers, and every way in which they go."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from bot.core.messages import Author, Message, Scope, now_utc
from bot.store.hosted import HostedMessage
from bot.store.hosted_places import HostedPerson
from bot.store.records import to_microseconds
from bot.store.store import Store
from tests.store.places import Place

HERE: Final = Scope("web", "1", "2")
NOW: Final = to_microseconds(now_utc())


def said(number: int, text: str = "Hello", **changes: object) -> HostedMessage:
    return replace(HostedMessage(NOW + number, HERE, "7", text, revision=NOW + number), **changes)  # type: ignore[arg-type]


async def test_a_page_is_the_newest_messages_oldest_first(store: Store) -> None:
    for number in range(7):
        await store.add_hosted(said(number, f"word {number}"))
    assert [one.text for one in await store.hosted_page(HERE, limit=3)] == ["word 4", "word 5", "word 6"]
    page = await store.hosted_page(HERE, limit=3, before=NOW + 4)
    assert [one.text for one in page] == ["word 1", "word 2", "word 3"]
    assert await store.hosted_page(replace(HERE, channel="3"), limit=3) == ()


async def test_a_nonce_says_a_thing_once(store: Store) -> None:
    first = await store.add_hosted(said(1), nonce="abc")
    again = await store.add_hosted(said(2), nonce="abc")
    assert await store.said_with("abc") == first.id
    assert await store.said_with("other") is None
    assert (again.id, len(await store.hosted_page(HERE, limit=9))) == (first.id, 1)


async def test_an_older_revision_never_replaces_a_newer_one(store: Store) -> None:
    await store.add_hosted(said(1, "old"))
    assert await store.change_hosted(NOW + 1, NOW + 9, text="new")
    assert not await store.change_hosted(NOW + 1, NOW + 8, text="late")
    (shown,) = await store.hosted_page(HERE, limit=9)
    assert (shown.text, shown.is_edited, shown.revision) == ("new", True, NOW + 9)


async def test_a_message_counts_the_replies_in_its_thread(store: Store) -> None:
    await store.add_hosted(said(1))
    await store.add_hosted(said(2, scope=replace(HERE, thread=str(NOW + 1))))
    (shown,) = await store.hosted_page(HERE, limit=9)
    assert shown.num_replies == 1


async def test_a_removed_message_takes_its_answers_along_also_from_the_files(store: Store, place: Place) -> None:
    await store.add_hosted(said(1, "KANARIE-1"))
    await store.add_hosted(said(2, author_id="", asked=NOW + 1, card={"text": "KANARIE-2"}))
    assert sorted(await store.remove_hosted(NOW + 1)) == [NOW + 1, NOW + 2]
    assert sorted(store.take_erased_hosted()) == [NOW + 1, NOW + 2]
    assert store.take_erased_hosted() == ()
    assert b"KANARIE" not in place.content()


async def test_messages_expire_with_their_server(store: Store) -> None:
    await store.add_hosted(said(1))
    other = replace(HERE, server="9")
    await store.add_hosted(said(2, scope=other))
    await store.set_setting(HERE, "server", "retention_days", "2")
    await store.delete_expired(default_days=30, now=now_utc() + timedelta(days=3))
    assert await store.hosted_page(HERE, limit=9) == ()
    assert len(await store.hosted_page(other, limit=9)) == 1


async def test_the_id_of_another_platform_erases_nothing_here(store: Store) -> None:
    await store.add_hosted(said(1))
    await store.delete_message("discord", str(NOW + 1))
    assert len(await store.hosted_page(HERE, limit=9)) == 1
    await store.add_message(Message(str(NOW + 1), HERE, Author("7", "Ada"), "Hello"), kind="chat")
    await store.delete_message("web", str(NOW + 1))
    assert await store.hosted_page(HERE, limit=9) == ()


async def test_places_and_people_are_kept_in_the_order_in_which_they_were_made(store: Store) -> None:
    await store.save_hosted_server("web", "1", "Home")
    await store.save_hosted_channel("1", "2", "general")
    await store.save_hosted_channel("1", "3", "other")
    await store.save_hosted_channel("1", "2", "lobby")
    await store.save_hosted_person("web", HostedPerson("7", "Ada", is_moderator=True))
    (server,) = await store.hosted_servers("web")
    assert [(one.id, one.name) for one in server.channels] == [("2", "lobby"), ("3", "other")]
    assert await store.hosted_people("web") == (HostedPerson("7", "Ada", is_moderator=True),)
    await store.remove_hosted_server("1")
    await store.remove_hosted_person("7")
    assert await store.hosted_servers("web") == await store.hosted_people("web") == ()
