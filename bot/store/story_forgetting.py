"""Erasing words from stories: what continued or answered them goes with them."""

import json
from collections.abc import Sequence
from typing import Final

from bot.store.backend import Transaction

# The value of a column `offer` without continuations.
NO_OFFER: Final = "{}"
_PARTS: Final = (
    "SELECT p.id, p.story_id FROM json_each(?2) gone CROSS JOIN story_parts p ON p.message_id = gone.value"
    " CROSS JOIN conversations c ON c.id = p.conversation_id AND c.platform = ?1"
)


async def drop_offers(transaction: Transaction, platform: str, message_ids: Sequence[str]) -> None:
    """Erase the continuations on offer in the stories that hold words of these messages: they continue them.

    The revision goes up, so that none is stored that is being written now.
    """
    found = await transaction.execute(
        f"UPDATE stories SET offer = '{NO_OFFER}', revision = revision + 1"
        f" WHERE id IN (SELECT story_id FROM ({_PARTS}) AS parts) RETURNING id",
        platform,
        json.dumps(list(message_ids)),
    )
    if found:
        await transaction.execute(
            f"UPDATE story_parts SET offer = '{NO_OFFER}' WHERE story_id IN"
            " (SELECT CAST(value AS BIGINT) FROM json_each(?))",
            json.dumps([row["id"] for row in found]),
        )


async def erase_bot_parts(transaction: Transaction, platform: str, message_ids: Sequence[str]) -> None:
    """Erase what the bot wrote in stories in answer to these messages, and what is on offer there."""
    ids = json.dumps(list(message_ids))
    await drop_offers(transaction, platform, message_ids)
    erased = await transaction.execute(
        f"DELETE FROM story_parts WHERE text IS NOT NULL AND id IN (SELECT id FROM ({_PARTS}) AS parts UNION"
        " SELECT p.id FROM json_each(?2) gone CROSS JOIN story_parts p ON p.asked_id = gone.value"
        " CROSS JOIN conversations c ON c.id = p.conversation_id AND c.platform = ?1) RETURNING story_id",
        platform,
        ids,
    )
    await transaction.execute(
        f"UPDATE stories SET offer = '{NO_OFFER}', revision = revision + 1"
        " WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))",
        json.dumps([row["story_id"] for row in erased]),
    )


async def delete_parts_of_expired(transaction: Transaction, message_ids: Sequence[str]) -> None:
    """Delete the parts of those messages that are stored no more, and what the bot wrote in answer to them.

    A story of which nothing is left goes too if it has ended.
    """
    rows = await transaction.execute(
        "DELETE FROM story_parts WHERE message_id IN (SELECT value FROM json_each(?)) AND NOT EXISTS ("
        " SELECT 1 FROM conversations c JOIN messages m ON m.platform = c.platform"
        " AND m.message_id = story_parts.message_id WHERE c.id = story_parts.conversation_id) RETURNING story_id",
        json.dumps(list(message_ids)),
    )
    emptied = (
        "id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM story_parts WHERE story_id = stories.id)"
    )
    ids = json.dumps([row["story_id"] for row in rows])
    await transaction.execute(f"DELETE FROM stories WHERE ended_by IS NOT NULL AND {emptied}", ids)
    await transaction.execute(f"UPDATE stories SET offer = '{NO_OFFER}' WHERE {emptied}", ids)
