"""What the store asks SQLite costs the same however much is stored: no statement scans a table that grows."""

import re
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from bot.core.messages import Author, Message, now_utc
from bot.core.stopping import Stopper
from bot.store.hosted import HostedMessage
from tests.bots import HERE, ScriptedEngine, Talk, open_scripted_bot

GROWING: Final = (
    "messages",
    "inbox",
    "sent_messages",
    "replies",
    "reply_reads",
    "hosted_messages",
    "stories",
    "story_parts",
)
# A conversation has a few stories, and a thread as many messages as the page shows.
FEW_IN_A_PLACE: Final = ("stories", "hosted_messages")
ANN: Final = Author("ann", "Ann", is_moderator=True)
LINES: Final = (
    "Hello",
    "!complete Once upon",
    "!prompt story a dog",
    "!context",
    "!why",
    "!stats",
    "!privacy",
    "!privacy --do export",
    "!prompt example --template story --output good words",
    "!prompt examples story take 1",
    "!prompt publish story",
    "!prompt history story",
    "!settings preset wild",
    "!purge 2",
    "!fresh",
    "!story on --n 1 Once",
    "upon a time",
    "1",
    "undo",
    "again",
    "!why",
    "!story export",
    "!story off",
    "!privacy --read off",
    "!privacy --read on",
    "!privacy --do forget-now",
)
# A search by the platform alone is a scan too: it is the same in nearly all rows. So is one by the conversation, unless
# it ends after some rows: all of a server may be said in one channel.
_SCAN: Final = re.compile(r"SCAN (\w+)|SEARCH (\w+) USING .*\(platform=\?\)")
_SCAN_OF_PLACE: Final = re.compile(r"SEARCH (\w+) USING .*\(conversation_id=\?\)")


async def use_everything(talk: Talk) -> None:
    for number, line in enumerate(LINES):
        message = Message(str(1000 + number), HERE, ANN, line, reach="private", is_addressed=True)
        await talk.store.accept_request(message)
        async for _ in talk.bot.answer(message, Stopper()):
            pass
        await talk.store.note_sent(HERE.platform, message.id, f"9{message.id}", 0)
        await talk.store.finish_request(HERE.platform, message.id, "answered")
        if number == 1:
            await talk.bot.edited(Message(message.id, HERE, ANN, "!complete Once more"))
            await talk.bot.deleted(HERE.platform, [message.id, f"9{message.id}"])
    store = talk.store
    shown = HostedMessage(5000, HERE, ANN.id, "Hello")
    await store.add_hosted(shown, nonce="n")
    await store.change_hosted(5000, 1, text="Hello again")
    await store.add_hosted(HostedMessage(5001, HERE, "", asked=5000, asker_id=ANN.id))
    await store.said_with("n")
    await store.hosted_page(HERE, limit=50)
    await store.hosted_answers(5000)
    await store.has_hosted_answer(HERE)
    await store.last_hosted_revision()
    await store.remove_hosted(5000)
    await store.unfinished_requests(HERE.platform, answerable_s=60)
    await store.discard_reply(HERE.platform, "1000")
    await store.visible_ids(HERE.platform, [HERE.server], num_conversations=50, num_each=100)
    await store.direct_channels(HERE.platform)
    await store.load_conversation(HERE, limit=9, up_to="1000", follows_replies=True)
    await store.delete_expired(now=now_utc() + timedelta(days=40))
    await talk.bot.channel_gone(HERE)
    await talk.bot.left(HERE.platform, HERE.server)


def _scans(connection: sqlite3.Connection, sql: str) -> list[str]:
    """Return the tables that grow which the statement scans without an index."""
    by_alias = {alias: table for table, alias in re.findall(r"\b(\w+) (?:AS )?(\w+)\b", sql) if table in GROWING}
    plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", _nothing_for(sql)).fetchall()
    found = [match[1] or match[2] for row in plan if (match := _SCAN.search(row[3]))]
    if "LIMIT" not in sql and "SELECT max(" not in sql:
        of_place = [match[1] for row in plan if (match := _SCAN_OF_PLACE.search(row[3]))]
        found += [name for name in of_place if by_alias.get(name, name) not in FEW_IN_A_PLACE]
    return [by_alias.get(name, name) for name in found if by_alias.get(name, name) in GROWING]


def _nothing_for(sql: str) -> list[None]:
    numbered = [int(number) for number in re.findall(r"\?(\d+)", sql)]
    return [None] * max(max(numbered, default=0), len(re.findall(r"\?(?!\d)", sql)))


async def test_no_statement_scans_a_table_that_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    async with open_scripted_bot(ScriptedEngine(["Hello there."]), tmp_path) as talk:
        database = talk.store._database
        for connection in (database._writer, database._reader):
            execute = connection.execute_fetchall

            def noted(sql: str, values: object = (), execute: object = execute) -> object:
                asked.add(sql)
                return execute(sql, values)  # type: ignore[operator]

            monkeypatch.setattr(connection, "execute_fetchall", noted)
        await use_everything(talk)
    statements = [sql for sql in asked if re.match(r"\s*(SELECT|WITH|UPDATE|DELETE|INSERT)", sql)]
    assert len(statements) > 60
    connection = sqlite3.connect(tmp_path / "fewshot.db")
    try:
        scanning = {" ".join(sql.split()): found for sql in statements if (found := _scans(connection, sql))}
    finally:
        connection.close()
    assert scanning == {}
