"""The texts of templates that answers were made with, each kept once."""

import hashlib

from bot.store.database import Transaction


async def used_template_id(transaction: Transaction, name: str, version: str, source_text: str) -> int:
    """Return the row of a template as it was used, made where there is none."""
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


async def forget_unused_templates(transaction: Transaction) -> None:
    """Forget the texts that no stored answer was made with any more."""
    await transaction.execute(
        "DELETE FROM template_versions WHERE NOT EXISTS ("
        " SELECT 1 FROM replies WHERE replies.template_id = template_versions.id)"
    )
