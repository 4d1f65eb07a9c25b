"""What people said, and every way in which it must go: a canary for each place that holds words, searched in the files.

A canary is a word that occurs nowhere else. It is looked for in the database, its write-ahead log and the bot's log.
"""

import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from bot.commands.bot import MAX_TEXT_BYTES
from bot.core.cards import Card
from bot.core.messages import Author, Click, FormSubmitted, Message, Reach, Scope, now_utc
from bot.core.picture import Picture
from bot.core.stopping import Stopper
from bot.platforms.discord.traits import DISCORD
from bot.services.ledger import Delivery
from bot.store.hosted import HostedMessage
from bot.trace import logger as trace_logger
from tests.bots import ScriptedEngine, Talk, open_scripted_bot
from tests.store.samples import bytes_on_disk

HERE: Final = Scope("discord", "11", "22")
ANN: Final = Author("ann", "Kanariename")
BO: Final = Author("bo", "Bo")
MO: Final = Author("mo", "Kanariemoderator", is_moderator=True)

# The places: for each table, the columns that can hold what people wrote or are called, by the canaries planted there.
WORDS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "messages": {
        "text": ("kanariechat", "kanariequestion", "kanarieanswer", "kanariecommand", "kanariesagt"),
        "attachment": ("kanariefile",),
        "author_name": ("Kanariename",),
    },
    "inbox": {"text": ("kanariewaiting",), "attachment": ("kanarieinboxfile",), "author_name": ("Kanariename",)},
    "open_cards": {"state": ("kanarieproposal", "kanarieoption", "kanariebranch")},
    "replies": {"sampling": ("kanariestop",), "prompt_inputs": ()},
    "template_drafts": {"source_text": ("kanarietaken",), "form_values": ("kanarieform",), "problem": ()},
    "server_templates": {
        "source_text": ("kanarierow",),
        "author_name": ("Kanariemoderator",),
        "reason": ("kanariereason",),
    },
    "template_versions": {"source_text": ("kanarierow",)},
    "stories": {"offer": ("kanariebietet",), "sampling": ()},
    "story_parts": {"text": ("kanariewahl",), "offer": ("kanariewahl",)},
    "message_pictures": {"data": ("kanariebild", "kanariewartebild")},
    "hosted_messages": {
        "text": ("kanarieshown",),
        "card": ("kanariecard",),
        "file_name": ("kanariedatei",),
    },
}
# Columns of text that hold none, and why.
NO_WORDS: Final = {
    "ids and names that the platform or this program gives": {
        ("conversations", "platform"),
        ("conversations", "server"),
        ("conversations", "channel"),
        ("conversations", "thread"),
        ("messages", "platform"),
        ("messages", "message_id"),
        ("messages", "author_id"),
        ("messages", "reply_to"),
        ("inbox", "platform"),
        ("inbox", "message_id"),
        ("inbox", "author_id"),
        ("inbox", "author_roles"),
        ("inbox", "reply_to"),
        ("inbox", "picture_ids"),
        ("message_pictures", "platform"),
        ("message_pictures", "message_id"),
        ("message_pictures", "picture_id"),
        ("inbox", "replied_card"),
        ("open_cards", "id"),
        ("open_cards", "owner_id"),
        ("open_cards", "source_message_id"),
        ("stories", "begun_by"),
        ("stories", "ended_by"),
        ("story_parts", "message_id"),
        ("story_parts", "undone_by"),
        ("story_parts", "asked_id"),
        ("sent_messages", "platform"),
        ("sent_messages", "sent_id"),
        ("sent_messages", "message_id"),
        ("watermarks", "platform"),
        ("watermarks", "key"),
        ("watermarks", "message_id"),
        ("opted_out", "platform"),
        ("opted_out", "author_id"),
        ("reply_reads", "message_id"),
        ("template_origins", "platform"),
        ("template_origins", "server"),
        ("template_origins", "channel"),
        ("template_origins", "message_id"),
        ("template_origins", "author_id"),
        ("server_templates", "platform"),
        ("server_templates", "server"),
        ("server_templates", "channel"),
        ("server_templates", "author_id"),
        ("template_drafts", "platform"),
        ("template_drafts", "server"),
        ("template_drafts", "channel"),
        ("template_drafts", "author_id"),
        ("settings", "platform"),
        ("proposal_numbers", "platform"),
        ("proposal_numbers", "server"),
        ("proposal_numbers", "channel"),
        ("settings", "server"),
        ("settings", "channel"),
        ("notes", "platform"),
        ("notes", "name"),
        ("hosted_servers", "id"),
        ("hosted_servers", "platform"),
        ("hosted_channels", "id"),
        ("hosted_channels", "server_id"),
        ("hosted_people", "id"),
        ("hosted_people", "platform"),
        ("hosted_messages", "author_id"),
        ("hosted_messages", "asker_id"),
        ("hosted_messages", "nonce"),
    },
    "names of accounts and places on the page; they go when those are removed": {
        ("hosted_servers", "name"),
        ("hosted_channels", "name"),
        ("hosted_people", "name"),
    },
    "one of a few fixed values": {
        ("messages", "kind"),
        ("messages", "attachment_format"),
        ("inbox", "reach"),
        ("message_pictures", "media_type"),
        ("inbox", "place_kind"),
        ("inbox", "state"),
        ("inbox", "attachment_format"),
        ("open_cards", "kind"),
        ("replies", "command"),
        ("replies", "finish_reason"),
        ("replies", "precision"),
        ("server_templates", "action"),
        ("settings", "name"),
    },
    "the operator's model": {
        ("replies", "model_name"),
        ("server_templates", "score_model"),
        ("row_outcomes", "model"),
    },
    "short names that moderators give to templates": {
        ("server_templates", "name"),
        ("template_drafts", "name"),
        ("template_origins", "name"),
        ("template_versions", "name"),
        ("proposal_numbers", "name"),
    },
    "check sums; those that could confirm a guess at words go with the words": {
        ("replies", "prompt_sha256"),
        ("template_versions", "version"),
        ("template_versions", "source_sha256"),
        ("server_templates", "version"),
        ("template_drafts", "based_on_sha256"),
        ("template_origins", "words_sha256"),
        ("row_outcomes", "prompt_sha256"),
        ("row_outcomes", "row_sha256"),
    },
    "figures": {("row_outcomes", "numbers"), ("server_templates", "score")},
    "a secret of the platform, deleted with the request": {("inbox", "token")},
    "moderators choose among values that the bot offers; ids of channels and roles": {("settings", "value")},
    "what the program notes for itself": {("notes", "value")},
    "which programs run, what one tells another by ids, and hashes of what is gone": {
        ("processes", "seats"),
        ("signals", "platform"),
        ("signals", "kind"),
        ("signals", "subject"),
        ("gone_marks", "platform"),
        ("gone_marks", "key"),
    },
}
ALL: Final = frozenset(one for columns in WORDS.values() for found in columns.values() for one in found)


@dataclass
class World:
    """The bot, with words in every place, and what it logged."""

    talk: Talk
    path: Path
    log: list[str]
    ids: dict[str, str]
    shown: Card = field(default_factory=Card)

    async def say(
        self,
        author: Author,
        text: str,
        *,
        attachment: str | None = None,
        reply_to: str | None = None,
        reach: Reach = "private",
        may_fail: bool = False,
        pictures: tuple[Picture, ...] = (),
    ) -> str:
        """Send a message and return its id."""
        message = Message(
            str(1000 + len(self.ids)),
            HERE,
            author,
            text,
            reply_to=reply_to,
            attachment=attachment,
            reach=reach,
            picture_ids=tuple(one.id for one in pictures),
            pictures=pictures,
        )
        self.ids[message.id] = author.id
        cards = [card async for card in self.talk.bot.answer(message, Stopper())]
        assert may_fail or cards[-1].error is None, cards[-1].error
        self.shown = cards[-1]
        return message.id

    async def left(self) -> set[str]:
        """Return the canaries that are still somewhere."""
        await self.talk.store._database.read("SELECT 1")
        found = bytes_on_disk(self.path) + "\n".join(self.log).encode()
        return {one for one in ALL if one.encode() in found}

    def in_rows(self) -> dict[str, set[str]]:
        """Return the tables and columns that hold each canary."""
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        try:
            places: dict[str, set[str]] = {one: set() for one in ALL}
            for table, columns in WORDS.items():
                for column in columns:
                    for (value,) in connection.execute(f"SELECT {column} FROM {table}"):
                        words = value.decode() if isinstance(value, bytes) else value
                        for one in ALL:
                            if words and one in words:
                                places[one].add(f"{table}.{column}")
            return places
        finally:
            connection.close()


@asynccontextmanager
async def planted(folder: Path) -> AsyncIterator[World]:
    """Open the bot and plant every canary."""
    log: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.append(self.format(record))

    keep = Keep(logging.DEBUG)
    root, level = logging.getLogger("bot"), logging.getLogger("bot").level
    root.addHandler(keep)
    root.setLevel(logging.DEBUG)
    trace_logger.setLevel(logging.DEBUG)
    engine = ScriptedEngine(["kanarieanswer"])
    try:
        async with open_scripted_bot(engine, folder) as talk:
            world = World(talk, folder / "fewshot.db", log, {})
            await _plant(world, engine)
            yield world
    finally:
        root.removeHandler(keep)
        root.setLevel(level)
        trace_logger.setLevel(logging.NOTSET)


async def _plant(world: World, engine: ScriptedEngine) -> None:
    talk = world.talk
    await world.say(ANN, "kanariechat", attachment="kanariefile", pictures=(picture("kanariebild"),))
    engine.scripts = ["Hello Bo"]
    await world.say(BO, "Hello")
    engine.scripts = ["kanarieoption"]
    await world.say(ANN, "!complete --n 1 --stop kanariestop kanariecommand")
    await _name_branch(world, "kanariebranch")
    engine.scripts = ["And so on"]
    await world.say(ANN, "!prompt story kanariequestion")
    for words, template in (("kanarieproposal", "exact"), ("kanarietaken", "translate-en-fr"), ("kanarierow", "story")):
        await world.say(ANN, f"!prompt example --template {template} --output good {words}", reach="form")
    await world.say(MO, "!prompt examples translate-en-fr take 1")
    await world.say(MO, "!prompt examples story take 1")
    await world.say(MO, "!prompt publish story kanariereason")
    await world.say(BO, "!prompt story a dog")
    await world.say(MO, "!prompt import greeting kanarieform")
    await world.say(MO, "!story on --n 1")
    engine.scripts = ["kanariewahl"]
    await world.say(ANN, "kanariesagt")
    engine.scripts = ["kanariebietet"]
    await world.say(ANN, "1")
    waiting = Message(
        "2000",
        HERE,
        ANN,
        "kanariewaiting",
        attachment="kanarieinboxfile",
        picture_ids=("p1",),
        pictures=(picture("kanariewartebild"),),
    )
    assert await Delivery(talk.store, DISCORD).accept(waiting)
    world.ids["2000"] = ANN.id
    shown = HostedMessage(2000, HERE, ANN.id, "kanarieshown", file_name="kanariedatei")
    await talk.store.add_hosted(shown)
    answer = HostedMessage(2001, HERE, "", asked=2000, asker_id=ANN.id, card={"blocks": ["kanariecard"]})
    await talk.store.add_hosted(answer)


def picture(canary: str) -> Picture:
    return Picture("p1", "image/png", canary.encode())


async def _name_branch(world: World, name: str) -> None:
    """Name the first branch of the completion that is shown."""
    shown = world.shown
    for number, (action, value) in enumerate((("branches", ""), ("pick", "1"), ("name", ""))):
        click = Click(f"c{number}", HERE, ANN, shown.open_card_id or "", number + 1, action, value)
        (shown,) = [card async for card in world.talk.bot.click(click, Stopper())]
    assert shown.form is not None
    (told,) = [
        card async for card in world.talk.bot.submit(FormSubmitted("f1", HERE, ANN, shown.form.id, {"name": name}))
    ]
    assert told.error is None, told.error


async def _delete(world: World) -> None:
    ids = [one for one, author_id in world.ids.items() if author_id == ANN.id]
    await world.talk.bot.deleted("discord", ids)


async def _edit(world: World) -> None:
    for one, author_id in world.ids.items():
        if author_id == ANN.id:
            edited = Message(one, HERE, ANN, "Something else", has_file=True, picture_ids=("p1",))
            await world.talk.bot.edited(edited)


async def _edit_and_remove_files(world: World) -> None:
    for one, author_id in world.ids.items():
        if author_id == ANN.id:
            await world.talk.bot.edited(Message(one, HERE, ANN, "Something else"))


async def _forget_each(world: World) -> None:
    for one, author_id in list(world.ids.items()):
        if author_id == ANN.id:
            await world.say(replace(ANN, name="Ann"), "!forget", reply_to=one, reach="form", may_fail=True)


async def _forget_me(world: World) -> None:
    await world.say(replace(ANN, name="Ann"), "!privacy --do forget-now", reach="form")


async def _forget_moderator(world: World) -> None:
    await world.say(replace(MO, name="Mo"), "!privacy --do forget-now", reach="form")


async def _opt_out(world: World) -> None:
    await world.say(ANN, "!privacy --read off", reach="form")


async def _expire(world: World) -> None:
    await world.talk.store.delete_expired(default_days=30, now=now_utc() + timedelta(days=31))


async def _expire_long(world: World) -> None:
    await world.talk.store.delete_expired(default_days=30, now=now_utc() + timedelta(days=400))


async def _delete_channel(world: World) -> None:
    await world.talk.bot.channel_gone(HERE)


async def _leave(world: World) -> None:
    await world.talk.bot.left("discord", HERE.server)


_ANSWERS: Final = {"kanarieanswer", "kanarieoption", "kanariewahl", "kanariebietet"}
_MODERATORS: Final = {"Kanariemoderator", "kanarieform", "kanariereason"}
_SHOWN: Final = {"kanarieshown", "kanariecard", "kanariedatei"}
_PUBLISHED: Final = {"Kanariemoderator", "kanariereason", "kanarierow"}
# For each way what stays, and why; everything else must be gone.
WAYS: Final[list[tuple[Callable[[World], Awaitable[None]], dict[str, set[str]]]]] = [
    (_delete, {"a finished answer stays visible until it is deleted itself": _ANSWERS, "others' words": _MODERATORS}),
    (_forget_each, {"a finished answer stays visible until it is deleted": _ANSWERS, "others' words": _MODERATORS}),
    (
        _edit,
        {
            "an answer stays visible until it is deleted itself": _ANSWERS,
            "the card of a completion goes on with its options and branches": {"kanariestop", "kanariebranch"},
            "others' words": _MODERATORS,
            "the name of the author of the new text": {"Kanariename"},
            "the file is still attached to the message": {"kanariefile", "kanarieinboxfile"},
            "the picture, too": {"kanariebild", "kanariewartebild"},
            "the page changes itself what it shows": _SHOWN,
        },
    ),
    (
        _edit_and_remove_files,
        {
            "an answer stays visible until it is deleted itself": _ANSWERS,
            "the card of a completion goes on with its options and branches": {"kanariestop", "kanariebranch"},
            "others' words": _MODERATORS,
            "the name of the author of the new text": {"Kanariename"},
            "the page changes itself what it shows": _SHOWN,
        },
    ),
    (_forget_me, {"others' words": _MODERATORS}),
    (_forget_moderator, {"others' words": set(ALL - _MODERATORS)}),
    (_opt_out, {"what was said before is not read, and stays until its author erases it": set(ALL)}),
    (_expire, {"the server's template, until the author erases the words": _PUBLISHED}),
    (_expire_long, {"the server's template, until the author erases the words": _PUBLISHED}),
    (_delete_channel, {"the server's templates and drafts": _MODERATORS}),
    (_leave, {}),
]


@pytest.mark.parametrize(("way", "stays"), WAYS, ids=lambda value: getattr(value, "__name__", "")[1:])
async def test_every_word_goes_in_every_way_but_what_the_table_says(
    tmp_path: Path, way: Callable[[World], Awaitable[None]], stays: dict[str, set[str]]
) -> None:
    async with planted(tmp_path) as world:
        assert await world.left() == ALL, "each canary must be planted"
        await way(world)
        assert await world.left() == {one for found in stays.values() for one in found}, world.in_rows()
        assert not [line for line in world.log if "anarie" in line]


async def test_every_place_that_can_hold_words_has_a_canary(tmp_path: Path) -> None:
    async with planted(tmp_path) as world:
        connection = sqlite3.connect(f"file:{world.path}?mode=ro", uri=True)
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        columns = {
            (table, row[1])
            for table in tables
            if not table.startswith("sqlite_")
            for row in connection.execute(f"PRAGMA table_info({table})")
            if row[2] in ("TEXT", "BLOB")
        }
        connection.close()
        in_rows = world.in_rows()
    words = {(table, column) for table, found in WORDS.items() for column in found}
    known = words | {place for places in NO_WORDS.values() for place in places}
    assert columns == known, "a new column of text needs canaries, or the reason why it holds no words"
    for table, found in WORDS.items():
        for column, canaries in found.items():
            for one in canaries:
                assert f"{table}.{column}" in in_rows[one], one


async def test_words_of_somebody_who_opted_out_are_nowhere_once_their_command_is_answered(tmp_path: Path) -> None:
    async with planted(tmp_path) as world:
        delivery = Delivery(world.talk.store, DISCORD)
        await world.say(BO, "!privacy --read off", reach="form")
        asked = Message("3000", HERE, BO, "!help report KANARIE-OUT")
        assert await delivery.accept(asked)
        assert b"KANARIE-OUT" in bytes_on_disk(world.path)
        await delivery.finish(asked.id, "answered")
        assert b"KANARIE-OUT" not in bytes_on_disk(world.path)


async def test_an_edit_by_somebody_who_opted_out_erases_the_message(tmp_path: Path) -> None:
    async with planted(tmp_path) as world:
        said = await world.say(BO, "KANARIE-OLD")
        await world.say(BO, "!privacy --read off", reach="form")
        await world.talk.bot.edited(Message(said, HERE, BO, "KANARIE-NEW"))
        assert await world.talk.store.load_messages(HERE, [said]) == []
        for one in (b"KANARIE-OLD", b"KANARIE-NEW"):
            assert one not in bytes_on_disk(world.path)


async def test_an_edit_to_a_text_that_is_too_long_erases_the_old_one(tmp_path: Path) -> None:
    async with planted(tmp_path) as world:
        said = await world.say(BO, "KANARIE-OLD")
        await world.talk.bot.edited(Message(said, HERE, BO, "x" * (MAX_TEXT_BYTES + 1)))
        assert await world.talk.store.load_messages(HERE, [said]) == []
        assert b"KANARIE-OLD" not in bytes_on_disk(world.path)


async def test_a_message_that_was_deleted_before_it_is_stored_is_not_stored(tmp_path: Path) -> None:
    async with planted(tmp_path) as world:
        await world.talk.bot.deleted("discord", ["3000", "3001"])
        late = Message("3000", HERE, ANN, "KANARIE-LATE")
        assert not await Delivery(world.talk.store, DISCORD).accept(late)
        assert not await world.talk.bot.keep(replace(late, id="3001"))
        assert await world.talk.bot.keep(replace(late, id="3002", text="Hello"))
        assert b"KANARIE-LATE" not in bytes_on_disk(world.path)


async def test_what_a_moderator_published_is_in_their_export(tmp_path: Path) -> None:
    async with planted(tmp_path) as world:
        records = await world.talk.store.export_person("discord", MO.id)
    assert "kanariereason" in json.dumps(records)
    (published,) = [record for record in records if record["kind"] == "template"]
    assert "kanarierow" in published["text"]
