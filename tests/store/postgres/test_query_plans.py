"""The whole bot on a PostgreSQL server, and what it asks: no statement scans a table that grows."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bot.core.database_url import DatabaseUrl
from bot.store.backend import Row, Value
from bot.store.dialect import Statement
from bot.store.postgres import database
from bot.store.postgres.rows import adapt, bound, run
from tests.bots import HERE, ScriptedEngine, open_scripted_bot
from tests.store.test_query_plans import FEW_IN_A_PLACE, GROWING, use_everything

Asked = dict[str, tuple[Statement, Sequence[Value]]]
# What a server plans depends on how much there is: 200 conversations with 10,000 messages and what belongs to them.
MANY_ROWS = (
    "INSERT INTO conversations (id, platform, server, channel, thread)"
    f" SELECT 1000 + n, '{HERE.platform}', 's' || n % 20, 'c' || n, '' FROM generate_series(1, 200) n",
    "INSERT INTO messages (id, conversation_id, platform, message_id, author_id, author_name, is_bot, is_me, text,"
    f" reply_to, kind, created_at_utc) SELECT 100000 + n, 1001 + n % 200, '{HERE.platform}', 'm' || n,"
    " CASE n % 2 WHEN 0 THEN 'a' || n % 500 ELSE 'me' END, '', 0, n % 2,"
    " 'text', 'm' || n - 1, 'chat', n FROM generate_series(1, 10000) n",
    "INSERT INTO replies (id, command, model_name, precision, num_prompt_tokens, num_new_tokens, prompt_inputs)"
    " SELECT id, 'chat', 'm', 'p', 1, 1, '{}' FROM messages WHERE id > 100000 AND is_me = 1",
    "INSERT INTO reply_reads (reply_id, position, message_id, revision)"
    " SELECT r.id, n, 'm' || r.id - 100000 - n, 1 FROM replies r, generate_series(1, 3) n WHERE r.id > 100000",
    "INSERT INTO inbox (id, conversation_id, platform, message_id, author_id, author_name, author_roles, is_moderator,"
    " reach, is_addressed, created_at_utc, accepted_at_utc, token, state, finished_at_utc)"
    " SELECT id, conversation_id, platform, message_id, author_id, '', '[]', 0, 'public', 1, created_at_utc,"
    " created_at_utc, '', 'answered', 1 FROM messages WHERE id > 100000",
    "INSERT INTO sent_messages (id, conversation_id, platform, sent_id, message_id, position)"
    " SELECT id, conversation_id, platform, 's' || id, message_id, 0 FROM messages WHERE id > 100000",
    "INSERT INTO hosted_messages (id, conversation_id, author_id, text, asked, asker_id, revision)"
    " SELECT id, conversation_id, author_id, '', CASE is_me WHEN 1 THEN id - 1 END, 'a' || id % 500, 1 FROM messages"
    " WHERE id > 100000",
    "INSERT INTO stories (id, conversation_id, revision, sampling, num_rounds, offer, begun_by)"
    " SELECT id, id, 1, '{}', 0, '{}', 'm' FROM conversations WHERE id > 1000",
    "INSERT INTO story_parts (id, story_id, conversation_id, message_id, offer, text, asked_id)"
    " SELECT id, conversation_id, conversation_id, message_id, '{}', CASE is_me WHEN 1 THEN 'text' END,"
    " CASE is_me WHEN 1 THEN message_id END FROM messages WHERE id > 100000",
)
# Indexes of the few requests that wait.
OF_FEW = ("inbox_unfinished", "inbox_with_text")
# Which alone is no search: it is the same in nearly all rows.
_OF_PLATFORM = re.compile(r"^\(*\w*\.?platform = [^()]*\)*$")


def nodes(plan: dict[str, Any], is_limited: bool = False) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the steps of a plan, each with whether it ends after some rows."""
    is_limited = is_limited or plan["Node Type"] == "Limit"
    yield plan, is_limited
    for step in plan.get("Plans", ()):
        yield from nodes(step, is_limited)


def scanned(plan: dict[str, Any]) -> set[str]:
    """Return the tables that grow which a plan reads without a search that finds some of their rows."""
    found = set()
    for step, is_limited in nodes(plan):
        table, condition = step.get("Relation Name"), step.get("Index Cond", step.get("Recheck Cond", ""))
        is_read = table in GROWING and table not in FEW_IN_A_PLACE and step["Node Type"] != "ModifyTable"
        has_few = step.get("Index Name") in OF_FEW
        if is_read and not is_limited and not has_few and (not condition or _OF_PLATFORM.match(condition)):
            found.add(table)
    return found


async def test_no_statement_of_the_whole_bot_scans_a_table_that_grows(
    address: DatabaseUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Asked = {}

    async def noted(connection: Any, statement: Statement, values: Sequence[Value]) -> list[Row]:
        asked[statement.sql] = statement, values
        return await run(connection, statement, values)

    monkeypatch.setattr(database, "run", noted)
    async with open_scripted_bot(ScriptedEngine(["Hello there."]), tmp_path, database=address) as talk:
        await use_everything(talk)
    assert len(asked) > 60
    scanning = {}
    with psycopg.connect(address.url, autocommit=True) as connection:
        adapt(connection)
        for sql in MANY_ROWS:
            connection.execute(sql.encode())
        connection.execute("ANALYZE")
        # Of so few rows a scan would often be the best way still.
        connection.execute("SET enable_seqscan = off")
        for statement, values in asked.values():
            if re.match(r"\s*(SELECT|WITH|UPDATE|DELETE|INSERT)", statement.sql):
                cursor = psycopg.RawCursor(connection)
                cursor.execute(f"EXPLAIN (FORMAT JSON) {statement.sql}".encode(), bound(statement, values))
                ((((plan,),),),) = (cursor.fetchall(),)
                if found := scanned(plan["Plan"]):
                    scanning[" ".join(statement.sql.split())] = found
    assert scanning == {}
