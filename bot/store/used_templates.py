"""The template texts that answers were made with, each stored once."""

import hashlib
from datetime import timedelta
from typing import Final

from bot.core.messages import DIRECT_MESSAGES, now_utc
from bot.store.backend import Transaction
from bot.store.records import to_microseconds

# No answer takes longer than this from reading its template to being saved.
_LONGEST: Final = timedelta(days=1)


async def used_template_id(transaction: Transaction, name: str, version: str, source_text: str) -> int:
    """Return the row id of a template text; insert the row if there is none."""
    digest = hashlib.sha256(source_text.encode("utf-8", "replace")).hexdigest()
    await transaction.execute(
        "INSERT INTO template_versions (name, version, source_text, source_sha256) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        name,
        version,
        source_text,
        digest,
    )
    rows = await transaction.execute(
        "SELECT id FROM template_versions WHERE name = ? AND version = ? AND source_sha256 = ?",
        name,
        version,
        digest,
    )
    return int(rows[0]["id"])


async def was_forgotten(transaction: Transaction, row_id: int, name: str, source_text: str) -> bool:
    """Return whether forgetting has changed the template `name` since the answer in `row_id` was started.

    That is so if something was recently forgotten in the template, and no version has `source_text` any more.
    """
    rows = await transaction.execute(
        "SELECT 1 FROM messages m JOIN conversations c ON c.id = m.conversation_id"
        " JOIN server_templates t ON t.platform = c.platform AND t.server = c.server"
        " AND t.channel = CASE WHEN c.server = ? THEN c.channel ELSE '' END"
        " WHERE m.id = ? AND t.name = ? AND t.action = 'forget' AND t.created_at_utc > ?"
        " AND NOT EXISTS (SELECT 1 FROM server_templates kept WHERE kept.platform = t.platform"
        " AND kept.server = t.server AND kept.channel = t.channel AND kept.name = t.name AND kept.source_text = ?)",
        DIRECT_MESSAGES,
        row_id,
        name,
        to_microseconds(now_utc() - _LONGEST),
        source_text,
    )
    return bool(rows)


async def forget_unused_templates(transaction: Transaction) -> None:
    """Delete the texts that no stored answer uses any more."""
    await transaction.execute(
        "DELETE FROM template_versions WHERE NOT EXISTS ("
        " SELECT 1 FROM replies WHERE replies.template_id = template_versions.id)"
    )
