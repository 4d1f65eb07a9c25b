"""Retention: deletes what is older than its retention period, and counts what is stored."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.core.messages import DIRECT_MESSAGES, now_utc
from bot.store.database import Transaction
from bot.store.messages import NO_WORDS
from bot.store.records import Records, to_microseconds
from bot.store.replies import forget_stale_check_sums
from bot.store.row_outcomes import ROW_OUTCOME_DAYS
from bot.store.used_templates import forget_unused_templates

RETENTION_SETTING: Final = "retention_days"
# Days to recognise a message that is delivered again, and to keep the text of an abandoned request.
INBOX_DAYS: Final = 14
_ABANDONED_DAYS: Final = 1
DRAFT_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class StoreStats:
    """How much is stored, of one server or of all, and the size of the database file in bytes."""

    num_messages: int
    num_replies: int
    num_bytes: int


class Retention(Records):
    """The part of the store that deletes expired rows and counts stored ones."""

    async def delete_expired(self, *, default_days: int = 30, now: datetime | None = None) -> int:
        """Delete messages older than their server's setting `retention_days`; return how many.

        Without a valid setting (a whole number from 1) a server has `default_days`. Also deletes the replies' details,
        the cards made from deleted messages, expired cards, drafts that were not changed for DRAFT_DAYS, and row
        outcomes after ROW_OUTCOME_DAYS.
        """
        now_us = to_microseconds(now or now_utc())
        day_us = timedelta(days=1) // timedelta(microseconds=1)

        async def erase(transaction: Transaction) -> int:
            # Direct messages have no server settings: each channel's own setting counts.
            rows = await transaction.execute(
                """DELETE FROM messages WHERE id IN (
                     SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
                     LEFT JOIN settings s ON s.platform = c.platform AND s.server = c.server AND s.name = ?4
                       AND s.channel = iif(c.server = ?5, c.channel, '')
                     WHERE m.created_at_utc < ?1 - ?2 * max(
                       iif(CAST(s.value AS INTEGER) >= 1, CAST(s.value AS INTEGER), ?3), 1))
                   RETURNING id""",
                now_us,
                day_us,
                default_days,
                RETENTION_SETTING,
                DIRECT_MESSAGES,
            )
            cards = await transaction.execute("DELETE FROM open_cards WHERE expires_at_utc <= ? RETURNING id", now_us)
            if rows:
                await forget_stale_check_sums(transaction)
                await forget_unused_templates(transaction)
                # A card holds words of its message, so it is deleted with it, even before it expires.
                await transaction.execute(
                    "DELETE FROM open_cards WHERE source_message_id IS NOT NULL AND NOT EXISTS ("
                    " SELECT 1 FROM conversations c JOIN messages m ON m.platform = c.platform"
                    " AND m.message_id = open_cards.source_message_id WHERE c.id = open_cards.conversation_id)"
                )
            requests = await _forget_requests(transaction, now_us, day_us)
            drafts = await _forget_drafts(transaction, now_us, day_us)
            if rows or cards or requests or drafts:
                transaction.mark_erased()
            return len(rows)

        num_deleted = await self._database.write(erase)
        await self._database.forget()
        return num_deleted

    async def count_stored(self, *, platform: str | None = None, server: str | None = None) -> StoreStats:
        """Count what is stored: of one server if `platform` and `server` are given, else of all."""
        rows = await self._database.read(
            """SELECT count(*) AS num_messages, count(r.id) AS num_replies,
                 (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size) AS num_bytes
               FROM messages m JOIN conversations c ON c.id = m.conversation_id LEFT JOIN replies r ON r.id = m.id
               WHERE m.deleted_at_utc IS NULL AND c.platform = coalesce(?, c.platform)
                 AND c.server = coalesce(?, c.server)""",
            platform,
            server,
        )
        return StoreStats(rows[0]["num_messages"], rows[0]["num_replies"], rows[0]["num_bytes"])


async def _forget_requests(transaction: Transaction, now_us: int, day_us: int) -> bool:
    """Delete old rows of the inbox, and sent messages whose request and stored answer are both gone."""
    old = await transaction.execute(
        "DELETE FROM inbox WHERE accepted_at_utc < ? RETURNING id", now_us - INBOX_DAYS * day_us
    )
    abandoned = await transaction.execute(
        f"UPDATE inbox SET {NO_WORDS} WHERE accepted_at_utc < ? AND text IS NOT NULL RETURNING id",
        now_us - _ABANDONED_DAYS * day_us,
    )
    await transaction.execute(
        "DELETE FROM sent_messages WHERE id IN (SELECT s.id FROM sent_messages s"
        " LEFT JOIN inbox i ON i.platform = s.platform AND i.message_id = s.message_id"
        " LEFT JOIN messages m ON m.platform = s.platform AND m.reply_to = s.message_id AND m.is_me = 1"
        " WHERE i.id IS NULL AND m.id IS NULL)"
    )
    return bool(old or abandoned)


async def _forget_drafts(transaction: Transaction, now_us: int, day_us: int) -> bool:
    """Forget old drafts, old measurements, and where examples came from on a server that has no template any more."""
    old = await transaction.execute(
        "DELETE FROM template_drafts WHERE updated_at_utc < ? RETURNING name", now_us - DRAFT_DAYS * day_us
    )
    await transaction.execute("DELETE FROM row_outcomes WHERE saved_at_utc < ?", now_us - ROW_OUTCOME_DAYS * day_us)
    await transaction.execute(
        "DELETE FROM template_origins AS o WHERE created_at_utc < ? AND NOT EXISTS (SELECT 1 FROM server_templates t"
        " WHERE (t.platform, t.server, t.channel) = (o.platform, o.server, o.channel)) AND NOT EXISTS ("
        " SELECT 1 FROM template_drafts d WHERE (d.platform, d.server, d.channel) = (o.platform, o.server, o.channel))",
        now_us - DRAFT_DAYS * day_us,
    )
    return bool(old)
