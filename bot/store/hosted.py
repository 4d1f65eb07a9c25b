"""The visible messages of a platform that this program hosts itself; of others they are on that platform's servers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bot.core.messages import Scope
from bot.store.backend import Row, Transaction
from bot.store.records import IN_SCOPE, Records, conversation_id, scope_values

_COLUMNS: Final = (
    "SELECT h.*, c.platform, c.server, c.channel, c.thread, (SELECT count(*) FROM conversations t"
    " JOIN hosted_messages r ON r.conversation_id = t.id WHERE c.thread = '' AND t.platform = c.platform"
    " AND t.server = c.server AND t.channel = c.channel AND t.thread = CAST(h.id AS TEXT)) AS num_replies"
    " FROM hosted_messages h JOIN conversations c ON c.id = h.conversation_id"
)


@dataclass(frozen=True, slots=True)
class HostedMessage:
    """A message as the page shows it: what a person said, or the bot's answer (`asked` is what it answers).

    `id` is the time in microseconds since 1970 UTC. `card` is the answer as the platform keeps it, JSON-able. A message
    with a greater `revision` is the newer state of the same message. `asker_id` is the person who asked.
    """

    id: int
    scope: Scope
    author_id: str
    text: str = ""
    reply_to: int | None = None
    file_name: str = ""
    asked: int | None = None
    asker_id: str = ""
    card: Mapping[str, Any] | None = field(default=None, repr=False)
    is_edited: bool = False
    revision: int = 0
    num_replies: int = 0


class Hosted(Records):
    """The part of the store that holds the visible messages of hosted platforms."""

    async def add_hosted(self, message: HostedMessage, *, nonce: str | None = None) -> HostedMessage:
        """Store a message; return the one that is there if its `nonce` was used before."""

        async def insert(transaction: Transaction) -> int:
            known = await transaction.execute("SELECT id FROM hosted_messages WHERE nonce = ?", nonce)
            if known:
                return int(known[0]["id"])
            await transaction.execute(
                "INSERT INTO hosted_messages (id, conversation_id, author_id, text, reply_to, file_name, nonce, asked,"
                " asker_id, card, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                message.id,
                await conversation_id(transaction, message.scope),
                message.author_id,
                message.text,
                message.reply_to,
                message.file_name,
                nonce,
                message.asked,
                message.asker_id,
                None if message.card is None else json.dumps(message.card, ensure_ascii=False),
                message.revision,
            )
            return message.id

        message_id = await self._database.write(insert)
        return message if message_id == message.id else (await self.hosted_message(message_id) or message)

    async def change_hosted(
        self,
        message_id: int,
        revision: int,
        *,
        text: str | None = None,
        card: Mapping[str, Any] | None = None,
        loses_file: bool = False,
    ) -> bool:
        """Give a message a new text or card; return False if it is gone or has a later revision already.

        The words of before are erased from the files.
        """

        async def update(transaction: Transaction) -> bool:
            rows = await transaction.execute(
                "UPDATE hosted_messages SET text = coalesce(?3, text), card = coalesce(?4, card), revision = ?2,"
                " is_edited = CASE WHEN ?3 IS NOT NULL THEN 1 ELSE is_edited END,"
                " file_name = CASE WHEN ?5 = 1 THEN '' ELSE file_name END"
                " WHERE id = ?1 AND revision < ?2 RETURNING id",
                message_id,
                revision,
                text,
                None if card is None else json.dumps(card, ensure_ascii=False),
                int(loses_file),
            )
            if rows and text is not None:
                transaction.mark_erased()
            return bool(rows)

        return await self._database.write(update)

    async def remove_hosted(self, message_id: int) -> tuple[int, ...]:
        """Erase a message and the answers to it; return the ids of those that were there."""

        async def remove(transaction: Transaction) -> tuple[int, ...]:
            return await erase_hosted(transaction, [message_id])

        return await self._database.write(remove)

    async def said_with(self, nonce: str) -> int | None:
        """Return the id of the message that was said with `nonce`, None if there is none."""
        rows = await self._database.read("SELECT id FROM hosted_messages WHERE nonce = ?", nonce)
        return int(rows[0]["id"]) if rows else None

    async def hosted_message(self, message_id: int) -> HostedMessage | None:
        """Return a message, None if it is gone."""
        found = await self._hosted("h.id = ?", message_id)
        return found[0] if found else None

    async def hosted_answers(self, asked: int) -> tuple[HostedMessage, ...]:
        """Return the visible answers to a request, the oldest first."""
        return await self._hosted("h.asked = ? ORDER BY h.id", asked)

    async def has_hosted_answer(self, scope: Scope) -> bool:
        """Say whether the bot said something in a channel or thread that is still visible."""
        rows = await self._database.read(
            f"SELECT 1 FROM hosted_messages WHERE conversation_id = (SELECT id FROM conversations WHERE {IN_SCOPE})"
            " AND author_id = '' LIMIT 1",
            *scope_values(scope),
        )
        return bool(rows)

    async def hosted_page(self, scope: Scope, *, limit: int, before: int | None = None) -> tuple[HostedMessage, ...]:
        """Return the newest `limit` messages of a channel or thread, those before the id `before`, oldest first."""
        found = await self._hosted(
            f"h.conversation_id = (SELECT id FROM conversations WHERE {IN_SCOPE})"
            " AND h.id < ? ORDER BY h.id DESC LIMIT ?",
            *scope_values(scope),
            2**62 if before is None else before,
            max(limit, 0),
        )
        return tuple(reversed(found))

    async def last_hosted_revision(self) -> int:
        """Return the greatest id or revision in use, 0 if there is none."""
        (row,) = await self._database.read(
            "SELECT max(latest) AS last FROM (SELECT coalesce(max(id), 0) AS latest FROM hosted_messages"
            " UNION ALL SELECT coalesce(max(CAST(id AS BIGINT)), 0) FROM hosted_channels) AS each"
        )
        return int(row["last"])

    def take_erased_hosted(self) -> tuple[int, ...]:
        """Return the ids of the visible messages that were erased since the last call."""
        erased = self._database.erased_hosted
        return tuple(erased.popleft() for _ in range(len(erased)))

    def note_erased_hosted(self, message_ids: Sequence[int]) -> None:
        """Note that another program has erased visible messages."""
        self._database.erased_hosted.extend(message_ids)

    async def _hosted(self, condition: str, *values: str | int) -> tuple[HostedMessage, ...]:
        rows = await self._database.read(f"{_COLUMNS} WHERE {condition}", *values)
        return tuple(_to_hosted(row) for row in rows)


async def erase_hosted(
    transaction: Transaction, message_ids: Sequence[int | str], platform: str | None = None
) -> tuple[int, ...]:
    """Erase visible messages and the answers to them; return the ids of those that were there.

    With `platform` only those of that platform.
    """
    numbers = [int(one) for one in message_ids if str(one).isdecimal() and len(str(one)) < 19]
    of_platform = "(SELECT c.platform FROM conversations c WHERE c.id = conversation_id) = ?2"
    rows = await transaction.execute(
        "DELETE FROM hosted_messages WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(?1)"
        " UNION SELECT a.id FROM hosted_messages a WHERE a.asked IN"
        " (SELECT CAST(value AS BIGINT) FROM json_each(?1)))"
        f"{'' if platform is None else f' AND {of_platform}'} RETURNING id",
        json.dumps(numbers),
        *(() if platform is None else (platform,)),
    )
    return _erased(transaction, rows)


async def erase_hosted_person(transaction: Transaction, platform: str, person_id: str, limit: int) -> int:
    """Erase at most `limit` visible messages of a person, with the answers to them; return how many."""
    rows = await transaction.execute(
        "DELETE FROM hosted_messages WHERE id IN (SELECT h.id FROM hosted_messages h"
        " JOIN conversations c ON c.id = h.conversation_id WHERE c.platform = ?1 AND h.author_id = ?2"
        " AND h.author_id <> '' UNION SELECT h.id FROM hosted_messages h JOIN conversations c"
        " ON c.id = h.conversation_id WHERE c.platform = ?1 AND h.asker_id = ?2 AND h.asker_id <> '' LIMIT ?3)"
        " RETURNING id",
        platform,
        person_id,
        limit,
    )
    return len(_erased(transaction, rows))


async def erase_hosted_before(
    transaction: Transaction, setting: str, condition: str, values: Sequence[str | int]
) -> int:
    """Erase some visible messages `h` of which `condition` holds; return how many. Its last value is the most.

    `setting` joins what is set for the conversation `c`.
    """
    rows = await transaction.execute(
        f"DELETE FROM hosted_messages WHERE id IN (SELECT h.id FROM conversations c {setting} CROSS JOIN"
        f" hosted_messages h ON h.conversation_id = c.id AND {condition} LIMIT ?6) RETURNING id",
        *values,
    )
    return len(_erased(transaction, rows))


def _erased(transaction: Transaction, rows: Sequence[Row]) -> tuple[int, ...]:
    if rows:
        transaction.mark_erased()
    ids = tuple(int(row["id"]) for row in rows)
    transaction.erased_hosted.extend(ids)
    return ids


def _to_hosted(row: Row) -> HostedMessage:
    return HostedMessage(
        id=row["id"],
        scope=Scope(row["platform"], row["server"], row["channel"], row["thread"]),
        author_id=row["author_id"],
        text=row["text"],
        reply_to=row["reply_to"],
        file_name=row["file_name"],
        asked=row["asked"],
        asker_id=row["asker_id"],
        card=None if row["card"] is None else json.loads(row["card"]),
        is_edited=bool(row["is_edited"]),
        revision=row["revision"],
        num_replies=row["num_replies"],
    )
