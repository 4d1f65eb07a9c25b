"""The pictures of messages: loaded in their order, and gone with the last place of their message's words."""

import base64
from dataclasses import replace

import pytest

from bot.core.messages import Message
from bot.core.picture import Picture
from bot.store.people import MAX_EXPORTED_BYTES
from bot.store.store import Store
from tests.store.samples import HERE, said

ONE = Picture("p1", "image/png", b"one")
TWO = Picture("p2", "image/jpeg", b"two")


def shown(number: int, *pictures: Picture) -> Message:
    return said(number, pictures=pictures, picture_ids=tuple(one.id for one in pictures))


async def stored(store: Store) -> list[bytes]:
    return [row["data"] for row in await store._database.read("SELECT data FROM message_pictures ORDER BY id")]


async def test_pictures_are_loaded_in_the_order_of_each_message_and_only_where_they_belong(store: Store) -> None:
    await store.add_message(shown(1, TWO, ONE), kind="chat")
    await store.add_message(replace(shown(2, ONE), scope=replace(HERE, channel="other")), kind="chat")
    await store.add_message(said(3), kind="chat")
    assert await store.load_pictures(HERE, ["3", "2", "1"]) == {"1": (TWO, ONE)}
    loaded = await store.load_history(HERE, limit=9)
    assert [(one.id, one.num_pictures, one.pictures) for one in loaded] == [("1", 2, ()), ("3", 0, ())]


async def test_a_picture_stays_once_its_request_is_answered_and_goes_if_that_was_refused(store: Store) -> None:
    for number in (1, 2):
        await store.accept_request(shown(number, ONE))
    await store.add_message(shown(1, ONE), kind="chat")
    assert await stored(store) == [b"one", b"one"]
    await store.finish_request("terminal", "1", "answered")
    assert await stored(store) == [b"one", b"one"]
    await store.finish_request("terminal", "2", "refused")
    assert await stored(store) == [b"one"]
    assert list(await store.load_pictures(HERE, ["1", "2"])) == ["1"]


@pytest.mark.parametrize(("text", "is_edited"), [("text 1", False), ("other", True)])
async def test_an_edit_keeps_the_pictures_that_the_message_has_still(store: Store, text: str, is_edited: bool) -> None:
    await store.add_message(shown(1, ONE, TWO), kind="chat")
    assert await store.edit_message("terminal", "1", text, picture_ids=["p1", "p2"]) is is_edited
    assert await store.edit_message("terminal", "1", text) is False
    assert await stored(store) == [b"one", b"two"]
    assert await store.edit_message("terminal", "1", text, picture_ids=["p2"])
    assert await stored(store) == [b"two"]
    (message,) = await store.load_messages(HERE, ["1"])
    assert message.revision == (3 if is_edited else 2), "whoever read both did not read this"


async def test_an_edit_of_a_request_that_waits_counts_after_a_restart(store: Store) -> None:
    await store.accept_request(shown(1, ONE, TWO))
    assert await store.edit_message("terminal", "1", "text 1", picture_ids=["p2"])
    (accepted,) = await store.unfinished_requests("terminal", answerable_s=900)
    assert (accepted.message.picture_ids, accepted.message.pictures) == (("p2",), (TWO,))
    await store.finish_request("terminal", "1", "refused")
    assert not await store.edit_message("terminal", "1", "text 1", picture_ids=[])


async def test_a_message_that_is_not_stored_leaves_no_picture(store: Store) -> None:
    await store.opt_out("terminal", "u1", True)
    await store.add_message(shown(1, ONE), kind="chat")
    await store.opt_out("terminal", "u1", False)
    await store.add_message(shown(2, ONE), kind="chat")
    await store.delete_message("terminal", "2")
    assert not await store.add_message(shown(2, TWO), kind="chat")
    assert await stored(store) == []


async def test_an_export_has_the_pictures_of_a_person_the_newest_within_its_limit(store: Store) -> None:
    large = Picture("p1", "image/png", b"x" * (MAX_EXPORTED_BYTES - 3))
    await store.add_message(shown(1, TWO), kind="chat")
    await store.add_message(shown(2, large), kind="chat")
    await store.accept_request(shown(3, ONE))
    await store.add_message(shown(3, ONE), kind="chat")
    exported = [one for one in await store.export_person("terminal", "u1") if one["kind"] == "picture"]
    assert [(one["message_id"], one["media_type"], one["num_bytes"]) for one in exported] == [
        ("1", "image/jpeg", 3),
        ("2", "image/png", MAX_EXPORTED_BYTES - 3),
        ("3", "image/png", 3),
    ]
    assert exported[0]["data"] is None
    assert base64.b64decode(exported[1]["data"]) == large.data
    assert base64.b64decode(exported[2]["data"]) == b"one"
    assert await store.export_person("terminal", "u2") == []
