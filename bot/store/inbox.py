"""Accepted requests, their outcomes, and the visible messages that answered them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from bot.core.messages import Author, Message, Scope, ShownCard, now_utc
from bot.core.picture import Picture
from bot.store.backend import Row, Transaction
from bot.store.gone_marks import mark_message, refuses
from bot.store.messages import NO_WORDS, erase_message
from bot.store.pictures import insert_pictures, pictures_by_message
from bot.store.processes import check_alive, signal_holders
from bot.store.records import IN_SCOPE, Records, conversation_id, from_microseconds, scope_values, to_microseconds
from bot.store.replies import forget_check_sums_with
from bot.store.story_forgetting import erase_bot_parts

_MAX_PARTS: Final = 8  # more messages than make one answer on any platform

Outcome = Literal["answered", "refused", "expired", "cancelled"]

# The stored answer to the request of the row `s`, the newest if there are several.
_REPLY: Final = (
    "FROM messages m WHERE m.platform = s.platform AND m.reply_to = s.message_id AND m.is_me = 1"
    " AND m.deleted_at_utc IS NULL ORDER BY m.id DESC LIMIT 1"
)
# Whether the author of a request (platform, message_id) asked not to be read: nothing of it may stay anywhere.
_BY_OPTED_OUT: Final = (
    "SELECT 1 FROM inbox i JOIN opted_out o ON o.platform = i.platform AND o.author_id = i.author_id"
    " WHERE i.platform = ? AND i.message_id = ?"
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that was accepted and is not finished.

    Part of its answer may be visible already. `sent_ids` are the known visible messages, in order. `reply_text` is the
    stored answer, None if there is none. `is_erased` says that its text was deleted since, so there is nothing to
    answer.
    """

    message: Message
    token: str = field(repr=False)
    sent_ids: tuple[str, ...] = ()
    reply_text: str | None = None
    is_expired: bool = False
    is_erased: bool = False


class Inbox(Records):
    """The part of the store that holds accepted requests and the bot's visible messages."""

    def note_gone(self, platform: str, message_ids: Sequence[str]) -> None:
        """Remember at once that messages were deleted: one may be on its way to a row that is not there yet."""
        self._database.gone_ids.note(platform, message_ids)

    def is_gone(self, platform: str, message_id: str) -> bool:
        """Say whether a message was deleted lately."""
        return self._database.gone_ids.has(platform, message_id)

    async def accept_request(self, message: Message, *, token: str = "") -> bool:
        """Store a request to answer; return False, without effect, if its id was accepted or deleted before.

        Call it before any part of its answer is visible.
        """
        author, shown = message.author, message.replied_card

        async def insert(transaction: Transaction) -> bool:
            if await refuses(transaction, message):
                return False
            await check_alive(transaction)
            rows = await transaction.execute(
                "INSERT INTO inbox (conversation_id, platform, message_id, author_id, author_name, author_roles,"
                " is_moderator, text, attachment, attachment_format, reply_to, reach, is_addressed, created_at_utc,"
                " accepted_at_utc, token, place_kind, replied_card, replied_revision, picture_ids, held_by, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'responding')"
                " ON CONFLICT (platform, message_id) DO NOTHING RETURNING id",
                await conversation_id(transaction, message.scope),
                message.scope.platform,
                message.id,
                author.id,
                author.name,
                json.dumps(author.roles),
                int(author.is_moderator),
                message.text,
                message.attachment,
                message.attachment_format,
                message.reply_to,
                message.reach,
                int(message.is_addressed),
                to_microseconds(message.created_at_utc),
                to_microseconds(now_utc()),
                token,
                message.scope.kind,
                shown.id if shown else None,
                shown.revision if shown else 0,
                json.dumps(message.picture_ids),
                transaction.process_id,
            )
            if rows:
                await insert_pictures(transaction, message)
            return bool(rows)

        return await self._database.write(insert)

    async def is_known_request(self, platform: str, message_id: str) -> bool:
        """Say whether a request was accepted before, whatever its outcome."""
        rows = await self._database.read(
            "SELECT 1 FROM inbox WHERE platform = ? AND message_id = ?", platform, message_id
        )
        return bool(rows)

    async def holds_request(self, platform: str, message_id: str) -> bool:
        """Say whether a request is not finished, and this program is to answer it."""
        rows = await self._database.read(
            "SELECT 1 FROM inbox WHERE platform = ?1 AND message_id = ?2 AND finished_at_utc IS NULL"
            " AND (CAST(?3 AS BIGINT) IS NULL OR held_by = ?3)",
            platform,
            message_id,
            self._database.process_id,
        )
        return bool(rows)

    async def asker_of(self, scope: Scope, message_id: str) -> str | None:
        """Return the author of the request `message_id` in `scope` whose words are still stored, None for none."""
        rows = await self._database.read(
            "SELECT author_id FROM inbox WHERE platform = ? AND message_id = ? AND text IS NOT NULL"
            f" AND conversation_id = (SELECT id FROM conversations WHERE {IN_SCOPE})",
            scope.platform,
            message_id,
            *scope_values(scope),
        )
        return str(rows[0]["author_id"]) if rows else None

    async def finish_request(self, platform: str, message_id: str, outcome: Outcome) -> bool:
        """End a request and delete its text from the inbox.

        Return False if it is unknown, has ended already, or another program has taken it over.
        """

        async def finish(transaction: Transaction) -> bool:
            was_open = bool(await _finish(transaction, platform, message_id, outcome, holder=transaction.process_id))
            # The text of others is still in messages, or goes from the files with their next erasure.
            if was_open and await transaction.execute(_BY_OPTED_OUT, platform, message_id):
                transaction.mark_erased()
            return was_open

        return await self._database.write(finish)

    async def withdraw_request(self, platform: str, message_id: str) -> bool:
        """Erase a message that was deleted and cancel its request; return False if that had ended already."""

        async def withdraw(transaction: Transaction) -> bool:
            await mark_message(transaction, platform, message_id)
            ended = await _finish(transaction, platform, message_id, "cancelled")
            await signal_holders(transaction, platform, "withdrawn", ended)
            await erase_message(transaction, platform, message_id)
            return bool(ended)

        return await self._database.write(withdraw)

    async def unfinished_requests(self, platform: str, *, answerable_s: float | None) -> tuple[Accepted, ...]:
        """Return the requests that this program is to answer and that have not ended, in the order of their writing.

        `answerable_s` is how many seconds a request can be answered, None: without limit.
        """
        rows = await self._database.read(
            f"""SELECT s.*, c.server, c.channel, c.thread, (SELECT m.text {_REPLY}) AS reply_text,
                  (SELECT json_group_array(sent_id) FROM (
                    SELECT sent_id FROM sent_messages
                     WHERE platform = s.platform AND message_id = s.message_id ORDER BY position, id) AS each
                  ) AS sent_ids
                FROM inbox s JOIN conversations c ON c.id = s.conversation_id
                WHERE s.platform = ?1 AND s.finished_at_utc IS NULL AND (CAST(?2 AS BIGINT) IS NULL OR s.held_by = ?2)
                ORDER BY s.created_at_utc, s.id""",
            platform,
            self._database.process_id,
        )
        pictures = await self._database.read(
            "SELECT p.message_id, p.picture_id, p.media_type, p.data FROM inbox s JOIN message_pictures p"
            " ON p.platform = s.platform AND p.message_id = s.message_id"
            " WHERE s.platform = ?1 AND s.finished_at_utc IS NULL AND (CAST(?2 AS BIGINT) IS NULL OR s.held_by = ?2)"
            " ORDER BY p.id",
            platform,
            self._database.process_id,
        )
        pictures_of = pictures_by_message(pictures)
        expired_before = None if answerable_s is None else now_utc() - timedelta(seconds=answerable_s)
        return tuple(_to_accepted(row, pictures_of, expired_before) for row in rows)

    async def note_sent(self, platform: str, message_id: str, sent_id: str, position: int) -> None:
        """Store the id of a visible message that is part `position` (from 0) of the answer to a request.

        The request must be in the inbox or a stored message; otherwise this has no effect.
        """

        async def insert(transaction: Transaction) -> None:
            await transaction.execute(
                "INSERT INTO sent_messages (conversation_id, platform, sent_id, message_id, position)"
                " SELECT conversation_id, ?1, ?3, ?2, ?4 FROM ("
                " SELECT conversation_id FROM inbox WHERE platform = ?1 AND message_id = ?2 UNION ALL"
                " SELECT conversation_id FROM messages WHERE platform = ?1 AND message_id = ?2 LIMIT 1) AS known"
                " WHERE true ON CONFLICT (platform, sent_id) DO NOTHING",
                platform,
                message_id,
                sent_id,
                position,
            )

        await self._database.write(insert)

    async def sent_of(self, platform: str, message_id: str) -> tuple[str, ...]:
        """Return the ids of the visible messages that answer a request, in order of their positions."""
        rows = await self._database.read(
            "SELECT sent_id FROM sent_messages WHERE platform = ? AND message_id = ? ORDER BY position, id",
            platform,
            message_id,
        )
        return tuple(row["sent_id"] for row in rows)

    async def request_of(self, platform: str, sent_id: str) -> str | None:
        """Return the id of the request that a visible message answers, None if that is not known as the bot's."""
        rows = await self._database.read(
            "SELECT message_id FROM sent_messages WHERE platform = ? AND sent_id = ?", platform, sent_id
        )
        return str(rows[0]["message_id"]) if rows else None

    async def reply_of(self, platform: str, sent_id: str) -> str | None:
        """Return the id of the stored answer that a visible message shows, None if there is none."""
        rows = await self._database.read(
            f"SELECT (SELECT m.message_id {_REPLY}) AS reply_id FROM sent_messages s"
            " WHERE s.platform = ? AND s.sent_id = ?",
            platform,
            sent_id,
        )
        return rows[0]["reply_id"] if rows else None

    async def recent_replies(self, scope: Scope, num: int) -> list[str]:
        """Return the ids of the visible messages of the last `num` answers in `scope`, newest first."""
        rows = await self._database.read(
            f"""WITH sent AS (
                  SELECT * FROM sent_messages WHERE conversation_id = (SELECT id FROM conversations WHERE {IN_SCOPE})
                  ORDER BY id DESC LIMIT ?)
                SELECT sent_id FROM sent JOIN (
                    SELECT message_id, max(id) AS newest FROM sent GROUP BY message_id ORDER BY newest DESC LIMIT ?
                  ) AS answers USING (message_id) ORDER BY newest DESC, position DESC, id DESC""",
            *scope_values(scope),
            max(num, 0) * _MAX_PARTS,
            max(num, 0),
        )
        return [row["sent_id"] for row in rows]

    async def visible_ids(
        self, platform: str, servers: Sequence[str], *, num_conversations: int, num_each: int
    ) -> dict[Scope, tuple[str, ...]]:
        """Return the ids of the stored messages that are visible on the platform, the newest of each conversation.

        The conversations are those of `servers` with the latest messages. Requests that were not messages, such as
        slash commands, are not visible and left out; their visible answers are included.
        """
        conversations = await self._database.read(
            "SELECT * FROM (SELECT c.*, (SELECT m.created_at_utc FROM messages m WHERE m.conversation_id = c.id"
            " ORDER BY m.created_at_utc DESC LIMIT 1) AS newest FROM conversations c WHERE c.platform = ?"
            " AND c.server IN (SELECT value FROM json_each(?))) AS found"
            " WHERE newest IS NOT NULL ORDER BY newest DESC, id DESC LIMIT ?",
            platform,
            json.dumps(list(servers)),
            num_conversations,
        )
        found = {}
        for row in conversations:
            ids = await self._database.read(
                """SELECT id FROM (
                     SELECT m.message_id AS id FROM (
                       SELECT * FROM messages WHERE conversation_id = ?1 ORDER BY created_at_utc DESC, id DESC LIMIT ?3
                     ) m LEFT JOIN inbox s ON s.platform = m.platform AND s.message_id = m.message_id
                      WHERE m.is_me = 0 AND m.deleted_at_utc IS NULL
                        AND CASE WHEN s.reach IS NULL THEN m.kind = 'chat' OR m.is_visible = 1
                            ELSE s.reach <> 'form' END
                     UNION SELECT sent_id FROM (
                       SELECT sent_id FROM sent_messages WHERE conversation_id = ?1 ORDER BY id DESC LIMIT ?3
                     ) AS answers) AS visible
                   ORDER BY length(id) DESC, id DESC LIMIT ?2""",
                row["id"],
                num_each,
                4 * num_each,  # answers, deleted messages and slash commands are left out of them
            )
            scope = Scope(platform, row["server"], row["channel"], row["thread"])
            found[scope] = tuple(one["id"] for one in ids)
        return found

    async def erase_sent(self, platform: str, sent_ids: Sequence[str]) -> int:
        """Forget deleted visible messages, and erase the stored answers that they showed; return how many.

        An answer is erased as a whole if any of its messages was deleted.
        """

        async def erase(transaction: Transaction) -> int:
            num_erased = 0
            for sent_id in sent_ids:
                rows = await transaction.execute(
                    "DELETE FROM sent_messages WHERE platform = ? AND sent_id = ? RETURNING message_id",
                    platform,
                    sent_id,
                )
                for row in rows:
                    for reply_id in await _reply_ids(transaction, platform, row["message_id"]):
                        num_erased += await erase_message(transaction, platform, reply_id)
                await erase_bot_parts(transaction, platform, [row["message_id"] for row in rows])
            return num_erased

        return await self._database.write(erase)

    async def discard_reply(self, platform: str, message_id: str) -> None:
        """Delete the stored answers to a request completely, before it is answered again."""

        async def discard(transaction: Transaction) -> None:
            reply_ids = await _reply_ids(transaction, platform, message_id)
            for reply_id in reply_ids:
                await erase_message(transaction, platform, reply_id)
                await transaction.execute(
                    "DELETE FROM messages WHERE platform = ? AND message_id = ?", platform, reply_id
                )
            if reply_ids:
                await forget_check_sums_with(transaction, reply_ids)
                await erase_bot_parts(transaction, platform, [message_id])

        await self._database.write(discard)


async def _finish(
    transaction: Transaction, platform: str, message_id: str, outcome: Outcome, *, holder: int | None = None
) -> list[Row]:
    """End a request, with `holder` only if it is held by that program; return its row if it had not ended."""
    return await transaction.execute(
        f"UPDATE inbox SET {NO_WORDS}, state = ?3, finished_at_utc = ?4"
        " WHERE platform = ?1 AND message_id = ?2 AND finished_at_utc IS NULL"
        " AND (CAST(?5 AS BIGINT) IS NULL OR held_by = ?5) RETURNING message_id, held_by",
        platform,
        message_id,
        outcome,
        to_microseconds(now_utc()),
        holder,
    )


async def _reply_ids(transaction: Transaction, platform: str, message_id: str) -> list[str]:
    rows = await transaction.execute(
        "SELECT message_id FROM messages WHERE platform = ? AND reply_to = ? AND is_me = 1 AND deleted_at_utc IS NULL",
        platform,
        message_id,
    )
    return [row["message_id"] for row in rows]


def _to_accepted(row: Row, pictures_of: Mapping[str, tuple[Picture, ...]], expired_before: datetime | None) -> Accepted:
    message = Message(
        id=row["message_id"],
        scope=Scope(row["platform"], row["server"], row["channel"], row["thread"], row["place_kind"]),
        author=Author(
            row["author_id"],
            row["author_name"],
            is_moderator=bool(row["is_moderator"]),
            roles=tuple(json.loads(row["author_roles"])),
        ),
        text=row["text"] or "",
        reply_to=row["reply_to"],
        replied_card=ShownCard(row["replied_card"], row["replied_revision"]) if row["replied_card"] else None,
        attachment=row["attachment"],
        attachment_format=row["attachment_format"],
        picture_ids=tuple(json.loads(row["picture_ids"])),
        pictures=pictures_of.get(row["message_id"], ()),
        is_addressed=bool(row["is_addressed"]),
        created_at_utc=from_microseconds(row["created_at_utc"]),
        reach=row["reach"],
    )
    return Accepted(
        message,
        row["token"],
        sent_ids=tuple(json.loads(row["sent_ids"])),
        reply_text=row["reply_text"],
        is_expired=expired_before is not None and from_microseconds(row["accepted_at_utc"]) < expired_before,
        is_erased=row["text"] is None,
    )
