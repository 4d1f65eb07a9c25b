"""The messages of conversations: stored once, edited, erased, and loaded as history."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from bot.core.history import HistoryMessage
from bot.core.messages import DIRECT_MESSAGES, Message, Scope, now_utc
from bot.store.backend import Row, Transaction
from bot.store.gone_marks import is_marked, refuses
from bot.store.hosted import erase_hosted
from bot.store.pictures import NUM_PICTURES, drop_other_pictures, insert_pictures
from bot.store.processes import signal_holders
from bot.store.records import (
    IN_SCOPE,
    Records,
    conversation_id,
    from_microseconds,
    read_settings,
    scope_values,
    settings_column,
    to_microseconds,
)
from bot.store.story_forgetting import drop_offers
from bot.store.template_forgetting import forget_examples

MessageKind = Literal["chat", "command"]

MESSAGE_COLUMNS: Final = (
    "m.message_id, m.author_id, m.author_name, m.is_me, m.text, m.attachment, m.attachment_format, m.reply_to, m.kind,"
    f" m.revision, m.created_at_utc, m.edited_at_utc, {NUM_PICTURES}"
)
# Whether the message `m` may be part of a reply chain in the conversation `here`.
_READABLE: Final = (
    "m.conversation_id = here.id AND m.id > here.fresh_row AND m.created_at_utc >= here.fresh_utc"
    " AND m.deleted_at_utc IS NULL AND (m.kind = 'chat' OR m.is_me = 1)"
)
# The assignments that erase a request's text from a row of inbox.
# The kinds of cards that hold a copy of a message's words: a proposed example, and the form that proposes one.
PROPOSAL_CARD: Final = "example_proposal"
EXAMPLE_FORM: Final = "example_form"
# A change of replies: the stop texts are a person's words, or the names of those who spoke.
NO_STOPS: Final = "sampling = json_set(sampling, '$.stop', json('[]'))"
# Whether the author of the stored message (platform, message_id) asked not to be read.
_BY_OPTED_OUT: Final = (
    "SELECT 1 FROM messages m JOIN opted_out o ON o.platform = m.platform AND o.author_id = m.author_id"
    " WHERE m.platform = ? AND m.message_id = ? AND m.is_me = 0 AND m.deleted_at_utc IS NULL"
)
NO_WORDS: Final = "text = NULL, attachment = NULL, author_name = '', author_roles = '[]', token = ''"
# Whether the author of the message `m` may be read.
_MAY_BE_READ: Final = (
    "(m.is_me = 1 OR NOT EXISTS ("
    "SELECT 1 FROM opted_out o WHERE o.platform = m.platform AND o.author_id = m.author_id))"
)
# The number of the last change to the templates of the conversation `c`.
_TEMPLATE_CHANGE: Final = (
    "(SELECT coalesce(max(t.change), 0) FROM server_templates t WHERE t.platform = c.platform AND t.server = c.server"
    f" AND t.channel = CASE WHEN c.server = '{DIRECT_MESSAGES}' THEN c.channel ELSE '' END)"
    " AS template_change"
)
_SETTINGS: Final = settings_column("c.platform", "c.server", "c.channel")
_IN_CONVERSATION: Final = f"conversation_id = (SELECT id FROM conversations WHERE {IN_SCOPE})"


@dataclass(frozen=True, slots=True)
class StoredMessage(HistoryMessage):
    """A message with the fields that only the store knows."""

    kind: MessageKind = "chat"
    attachment: str | None = None
    edited_at_utc: datetime | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages that an answer may read, oldest first, and what was in effect there at the same moment.

    `template_change` is the number of the last change to the templates there, `settings` are those that somebody set.
    Both are None if there is nothing to read.
    """

    messages: tuple[StoredMessage, ...]
    template_change: int | None
    settings: Mapping[str, str] | None


class Messages(Records):
    """The part of the store that holds messages."""

    async def add_message(self, message: Message, *, kind: MessageKind) -> bool:
        """Store `message`; return False, without effect, if its id is already known (also as deleted).

        The same if its author asked not to be read.
        """

        async def insert(transaction: Transaction) -> bool:
            return await insert_message(transaction, message, kind=kind) is not None

        return await self._database.write(insert)

    async def first_chat_id(self, scope: Scope, *, but: str = "") -> str | None:
        """Return the id of the first message in `scope` with which somebody talked with the bot; it may be erased.

        Return None if nothing of their talk is stored any more. The message `but` does not count.
        """
        in_scope = f"kind = 'chat' AND conversation_id = (SELECT id FROM conversations WHERE {IN_SCOPE})"
        rows = await self._database.read(
            f"SELECT message_id FROM messages WHERE {in_scope} AND is_me = 0 AND message_id <> ?"
            f" AND EXISTS (SELECT 1 FROM messages WHERE {in_scope} AND deleted_at_utc IS NULL) ORDER BY id LIMIT 1",
            *scope_values(scope),
            but,
            *scope_values(scope),
        )
        return str(rows[0]["message_id"]) if rows else None

    async def edit_message(
        self,
        platform: str,
        message_id: str,
        text: str,
        *,
        has_lost_file: bool = False,
        picture_ids: Sequence[str] | None = None,
    ) -> bool:
        """Replace the text of a message; return False if it is unknown, deleted, or has this text already.

        With `has_lost_file` the text of its file is erased, and with `picture_ids` all other pictures than these.

        Examples and proposals made from the old text are erased as if the message was deleted; other cards go on with
        the new text. A message of someone who asked not to be read is erased.
        """

        async def update(transaction: Transaction) -> bool:
            if await transaction.execute(_BY_OPTED_OUT, platform, message_id):
                # The old words are taken back, and the new ones may not be stored.
                return await erase_message(transaction, platform, message_id)
            has_lost_picture = picture_ids is not None and await drop_other_pictures(
                transaction, platform, message_id, picture_ids
            )
            rows = await transaction.execute(
                "UPDATE messages SET text = ?3, attachment = CASE WHEN ?5 = 1 THEN NULL ELSE attachment END,"
                " revision = revision + 1, edited_at_utc = ?4 WHERE platform = ?1 AND message_id = ?2"
                " AND deleted_at_utc IS NULL AND (text <> ?3 OR ?5 = 1 AND attachment IS NOT NULL OR ?6 = 1)"
                " RETURNING id",
                platform,
                message_id,
                text,
                to_microseconds(now_utc()),
                int(has_lost_file),
                int(has_lost_picture),
            )
            if rows:
                await forget_examples(transaction, platform, message_id=message_id)
                await _forget_derived(transaction, platform, message_id, card_kinds=(PROPOSAL_CARD, EXAMPLE_FORM))
            waiting = await transaction.execute(
                "UPDATE inbox SET text = ?3, attachment = CASE WHEN ?4 = 1 THEN NULL ELSE attachment END,"
                " picture_ids = coalesce(?5, picture_ids) WHERE platform = ?1 AND message_id = ?2"
                " AND text IS NOT NULL AND (text <> ?3 OR ?4 = 1 AND attachment IS NOT NULL"
                " OR picture_ids <> coalesce(?5, picture_ids)) RETURNING id",
                platform,
                message_id,
                text,
                int(has_lost_file),
                None if picture_ids is None else json.dumps(list(picture_ids)),
            )
            if rows or waiting:
                transaction.mark_erased()
                await _signal_edit(transaction, platform, message_id)
            return bool(rows or waiting)

        return await self._database.write(update)

    async def delete_message(self, platform: str, message_id: str) -> bool:
        """Erase a message's text and its author's name permanently; return False if there is nothing to erase.

        Data derived from it is erased too: its copy in the inbox, cards with its text, the check sums of prompts that
        contained it, and the examples taken from it into templates.
        """

        async def erase(transaction: Transaction) -> bool:
            return await erase_message(transaction, platform, message_id)

        return await self._database.write(erase)

    async def load_history(self, scope: Scope, *, limit: int, up_to: str | None = None) -> list[StoredMessage]:
        """Return the newest `limit` chat messages of `scope` after its fresh line, oldest first.

        With `up_to`, a message's id, only that one and the messages before it; nothing if it is unknown.
        """
        return list(_oldest_first(await self._history(scope, limit, up_to)))

    async def _history(self, scope: Scope, limit: int, up_to: str | None, condition: str = "") -> list[Row]:
        """Return history, newest first; `condition` is another condition on the message `m`."""
        bound = "(SELECT created_at_utc, id FROM messages WHERE platform = ? AND message_id = ?)"
        return await self._database.read(
            f"SELECT {MESSAGE_COLUMNS}, {_TEMPLATE_CHANGE}, {_SETTINGS}"
            " FROM conversations c JOIN messages m ON m.conversation_id = c.id"
            " WHERE c.platform = ? AND c.server = ? AND c.channel = ? AND c.thread = ?"
            " AND m.id > c.fresh_row AND m.created_at_utc >= c.fresh_utc"
            f" AND m.kind = 'chat' AND m.deleted_at_utc IS NULL {condition}"
            f" {'' if up_to is None else f'AND (m.created_at_utc, m.id) <= {bound}'}"
            " ORDER BY m.created_at_utc DESC, m.id DESC LIMIT ?",
            *scope_values(scope),
            *(() if up_to is None else (scope.platform, up_to)),
            max(limit, 0),
        )

    async def direct_channels(self, platform: str, *, limit: int = 100) -> tuple[str, ...]:
        """Return the channels of direct messages, at most `limit`, those with the latest messages first."""
        rows = await self._database.read(
            "SELECT channel FROM (SELECT c.channel, (SELECT m.created_at_utc FROM messages m"
            " WHERE m.conversation_id = c.id ORDER BY m.created_at_utc DESC LIMIT 1) AS newest FROM conversations c"
            " WHERE c.platform = ? AND c.server = ?) AS found WHERE newest IS NOT NULL"
            " GROUP BY channel ORDER BY max(newest) DESC, channel LIMIT ?",
            platform,
            DIRECT_MESSAGES,
            max(limit, 0),
        )
        return tuple(row["channel"] for row in rows)

    async def load_conversation(
        self, scope: Scope, *, limit: int, up_to: str | None = None, follows_replies: bool = False
    ) -> Conversation:
        """Return the newest `limit` messages that an answer in `scope` may read, in one query.

        They are those of `load_history`, or with `follows_replies` the message `up_to` and the messages that it replies
        to in a chain. Messages of people who asked not to be read are left out. The chain stays in `scope` and ends at
        the fresh line, a deleted message or a member's command; the bot's answer to a command is part of it. Raises
        ValueError for a chain without `up_to`.
        """
        if not follows_replies:
            rows = await self._history(scope, limit, up_to, f"AND {_MAY_BE_READ}")
        elif up_to is None:
            raise ValueError("a reply chain starts at a message")
        else:
            rows = await self._reply_chain(scope, up_to, limit, f"WHERE {_MAY_BE_READ}")
        if not rows:
            return Conversation((), None, None)
        return Conversation(_oldest_first(rows), rows[0]["template_change"], read_settings(rows[0]["settings"]))

    async def load_messages(
        self, scope: Scope, message_ids: Sequence[str], *, leaves_out_opted_out: bool = False
    ) -> list[StoredMessage]:
        """Return those of `message_ids` that are in `scope`, in the given order; deleted ones are left out.

        With `leaves_out_opted_out`, those of people who asked not to be read are left out too.
        """
        rows = await self._database.read(
            f"SELECT {MESSAGE_COLUMNS} FROM json_each(?) wanted"
            " CROSS JOIN messages m ON m.platform = ? AND m.message_id = wanted.value"
            f" WHERE m.{_IN_CONVERSATION} AND m.deleted_at_utc IS NULL"
            f" {f'AND {_MAY_BE_READ}' if leaves_out_opted_out else ''} ORDER BY wanted.key",
            json.dumps(list(message_ids), ensure_ascii=False),
            scope.platform,
            *scope_values(scope),
        )
        return [to_stored_message(row) for row in rows]

    async def _reply_chain(self, scope: Scope, message_id: str, limit: int, condition: str) -> list[Row]:
        """Return a reply chain, newest first; `condition` on the message `m` leaves out single messages of it."""
        if limit < 1:
            return []
        return await self._database.read(
            # Each step finds its one message by the index (platform, message_id) and then checks that it may be read.
            f"""WITH RECURSIVE
              here AS (SELECT * FROM conversations WHERE {IN_SCOPE}),
              chain (id, platform, reply_to, depth) AS (
                SELECT m.id, m.platform, m.reply_to, 1
                  FROM here CROSS JOIN messages m ON m.platform = here.platform AND m.message_id = ?
                 WHERE {_READABLE}
                UNION ALL
                SELECT m.id, m.platform, m.reply_to, chain.depth + 1
                  FROM chain CROSS JOIN here
                 CROSS JOIN messages m ON m.platform = chain.platform AND m.message_id = chain.reply_to
                 WHERE chain.depth < ? AND {_READABLE})
            SELECT {MESSAGE_COLUMNS}, {_TEMPLATE_CHANGE}, {_SETTINGS}
              FROM chain CROSS JOIN here c CROSS JOIN messages m ON m.id = chain.id {condition} ORDER BY chain.depth""",
            *scope_values(scope),
            message_id,
            limit,
        )

    async def mark_fresh(self, scope: Scope) -> None:
        """Draw the fresh line: messages in `scope` up to now are never read as history again."""

        async def draw(transaction: Transaction) -> None:
            row_id = await conversation_id(transaction, scope)
            await transaction.execute(
                """UPDATE conversations SET
                     fresh_row = coalesce((SELECT max(id) FROM messages), fresh_row),
                     fresh_utc = coalesce(
                       (SELECT max(created_at_utc) FROM messages WHERE conversation_id = ?1), fresh_utc)
                   WHERE id = ?1""",
                row_id,
            )

        await self._database.write(draw)


async def _signal_edit(transaction: Transaction, platform: str, message_id: str) -> None:
    """Tell the program that answers a message that it was edited."""
    if transaction.process_id is not None:
        holders = await transaction.execute(
            "SELECT message_id, held_by FROM inbox WHERE platform = ? AND message_id = ? AND finished_at_utc IS NULL",
            platform,
            message_id,
        )
        await signal_holders(transaction, platform, "edited", holders)


async def insert_message(transaction: Transaction, message: Message, *, kind: MessageKind) -> int | None:
    """Insert `message` and return its row.

    None if its id is already known, it was deleted before, its request was withdrawn, or its author asked not to be
    read.
    """
    if await refuses(transaction, message):
        return None
    author = message.author
    rows = await transaction.execute(
        "INSERT INTO messages (conversation_id, platform, message_id, author_id, author_name, is_bot, is_me, text,"
        " attachment, attachment_format, reply_to, kind, created_at_utc, is_visible)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14"
        " WHERE NOT EXISTS (SELECT 1 FROM inbox WHERE platform = ?2 AND message_id = ?3 AND text IS NULL"
        " AND state IN ('waiting', 'responding', 'cancelled'))"
        " AND (?7 = 1 OR NOT EXISTS (SELECT 1 FROM opted_out WHERE platform = ?2 AND author_id = ?4))"
        # Another program has taken the request over, and answers it.
        " AND (?7 = 0 OR CAST(?15 AS BIGINT) IS NULL OR NOT EXISTS (SELECT 1 FROM inbox WHERE platform = ?2"
        " AND message_id = ?11 AND finished_at_utc IS NULL AND held_by <> ?15))"
        " ON CONFLICT (platform, message_id) DO NOTHING RETURNING id",
        await conversation_id(transaction, message.scope),
        message.scope.platform,
        message.id,
        author.id,
        author.name,
        int(author.is_bot),
        int(author.is_me),
        message.text,
        message.attachment,
        message.attachment_format,
        message.reply_to,
        kind,
        to_microseconds(message.created_at_utc),
        int(message.reach != "form"),
        transaction.process_id,
    )
    if rows:
        await insert_pictures(transaction, message)
    return int(rows[0]["id"]) if rows else None


async def erase_message(transaction: Transaction, platform: str, message_id: str) -> bool:
    """Erase the text of a message everywhere; return False if there was none."""
    was_example = await forget_examples(transaction, platform, message_id=message_id)
    rows = await transaction.execute(
        "UPDATE messages SET text = '', author_name = '', attachment = NULL, deleted_at_utc = ?3"
        " WHERE platform = ?1 AND message_id = ?2 AND deleted_at_utc IS NULL RETURNING id",
        platform,
        message_id,
        to_microseconds(now_utc()),
    )
    if rows:
        await _forget_derived(transaction, platform, message_id)
        await forget_provenance(transaction, [row["id"] for row in rows])
    await erase_hosted(transaction, [message_id], platform)
    waiting = await transaction.execute(
        f"UPDATE inbox SET {NO_WORDS} WHERE platform = ? AND message_id = ? AND text IS NOT NULL RETURNING id",
        platform,
        message_id,
    )
    # The text of a finished request is in no row, but may be in an old page or in the write-ahead log.
    known = rows or await transaction.execute(
        "SELECT id FROM inbox WHERE platform = ? AND message_id = ?", platform, message_id
    )
    if known:
        transaction.mark_erased()
    return bool(rows or waiting or was_example)


async def _forget_derived(
    transaction: Transaction, platform: str, message_id: str, *, card_kinds: Sequence[str] = ()
) -> None:
    """Erase the cards and offers about a message, and of answers that read or answer it stop texts and check sums.

    With `card_kinds` only the cards of these kinds. With the check sum of a prompt, a guess at the text could be
    checked.
    """
    await transaction.execute(
        f"UPDATE replies SET {NO_STOPS}, prompt_sha256 = NULL WHERE id IN ("
        " SELECT reply_id FROM reply_reads WHERE message_id = ?1"
        " UNION SELECT id FROM messages WHERE platform = ?2 AND reply_to = ?1 AND is_me = 1)",
        message_id,
        platform,
    )
    await transaction.execute(
        "DELETE FROM open_cards WHERE source_message_id = ?1"
        " AND conversation_id IN (SELECT id FROM conversations WHERE platform = ?2)"
        f" {'AND kind IN (SELECT value FROM json_each(?3))' if card_kinds else ''}",
        message_id,
        platform,
        *((json.dumps(list(card_kinds)),) if card_kinds else ()),
    )
    await drop_offers(transaction, platform, [message_id])


async def is_erased(transaction: Transaction, platform: str, message_id: str) -> bool:
    """Say whether a message was deleted, or its author forgotten."""
    return await is_marked(transaction, platform, message_id) or bool(
        await transaction.execute(
            "SELECT 1 FROM messages WHERE platform = ? AND message_id = ? AND deleted_at_utc IS NOT NULL",
            platform,
            message_id,
        )
    )


async def forget_provenance(transaction: Transaction, row_ids: Sequence[int]) -> None:
    """Delete how the erased answers in the rows `row_ids` of messages came about; others have no provenance."""
    await transaction.execute(
        "DELETE FROM replies WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))", json.dumps(row_ids)
    )


def _oldest_first(rows: Sequence[Row]) -> tuple[StoredMessage, ...]:
    """Return `rows`, newest first, as messages, oldest first; a message that a circular chain repeats counts once."""
    messages = {row["message_id"]: to_stored_message(row) for row in rows}
    return tuple(reversed(messages.values()))


def to_stored_message(row: Row) -> StoredMessage:
    """Return a row of MESSAGE_COLUMNS as a message."""
    edited_at_utc = row["edited_at_utc"]
    return StoredMessage(
        id=row["message_id"],
        author_id=row["author_id"],
        author_name=row["author_name"],
        is_me=bool(row["is_me"]),
        text=row["text"],
        reply_to=row["reply_to"],
        created_at_utc=from_microseconds(row["created_at_utc"]),
        kind=row["kind"],
        revision=row["revision"],
        attachment=row["attachment"],
        attachment_format=row["attachment_format"],
        edited_at_utc=None if edited_at_utc is None else from_microseconds(edited_at_utc),
        num_pictures=row["num_pictures"],
    )
