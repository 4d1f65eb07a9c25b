"""The pictures of messages: stored with the message or its request, and erased with the words of both by triggers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bot.core.messages import Message, Scope
from bot.core.picture import Picture
from bot.store.backend import Row, Transaction
from bot.store.records import IN_SCOPE, Records, scope_values

# How many pictures of the message `m` are stored.
NUM_PICTURES: Final = (
    "(SELECT count(*) FROM message_pictures p WHERE p.platform = m.platform AND p.message_id = m.message_id)"
    " AS num_pictures"
)


class Pictures(Records):
    """The part of the store that holds the pictures of messages."""

    async def load_pictures(self, scope: Scope, message_ids: Sequence[str]) -> Mapping[str, tuple[Picture, ...]]:
        """Return the pictures of those of `message_ids` that are stored in `scope`, in the order of each message."""
        rows = await self._database.read(
            "SELECT p.message_id, p.picture_id, p.media_type, p.data FROM json_each(?) wanted"
            " CROSS JOIN messages m ON m.platform = ? AND m.message_id = wanted.value"
            " CROSS JOIN message_pictures p ON p.platform = m.platform AND p.message_id = m.message_id"
            f" WHERE m.conversation_id = (SELECT id FROM conversations WHERE {IN_SCOPE}) ORDER BY p.id",
            json.dumps(list(message_ids), ensure_ascii=False),
            scope.platform,
            *scope_values(scope),
        )
        return pictures_by_message(rows)


def pictures_by_message(rows: Iterable[Row]) -> Mapping[str, tuple[Picture, ...]]:
    """Return the pictures in rows of message_pictures, in that order, by the ids of their messages."""
    found: dict[str, tuple[Picture, ...]] = {}
    for row in rows:
        picture = Picture(row["picture_id"], row["media_type"], row["data"])
        found[row["message_id"]] = (*found.get(row["message_id"], ()), picture)
    return found


async def insert_pictures(transaction: Transaction, message: Message) -> None:
    """Store the pictures of `message`, which is in `messages` or `inbox`; those that are there stay."""
    for picture in message.pictures:
        await transaction.execute(
            "INSERT INTO message_pictures (platform, message_id, picture_id, media_type, data) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            message.scope.platform,
            message.id,
            picture.id,
            picture.media_type,
            picture.data,
        )


async def drop_other_pictures(
    transaction: Transaction, platform: str, message_id: str, picture_ids: Iterable[str]
) -> bool:
    """Erase the pictures of a message that are none of `picture_ids`; return whether there were any."""
    rows = await transaction.execute(
        "DELETE FROM message_pictures WHERE platform = ? AND message_id = ?"
        " AND picture_id NOT IN (SELECT value FROM json_each(?)) RETURNING id",
        platform,
        message_id,
        json.dumps(list(picture_ids), ensure_ascii=False),
    )
    return bool(rows)
