"""Retention: deletes what is older than its retention period, and counts what is stored."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.core.messages import DIRECT_MESSAGES, now_utc
from bot.store.backend import Transaction
from bot.store.gone_marks import KEPT_US
from bot.store.hosted import erase_hosted_before
from bot.store.messages import NO_WORDS
from bot.store.records import ROWS_AT_ONCE, Records, to_microseconds
from bot.store.replies import forget_check_sums_with
from bot.store.row_outcomes import ROW_OUTCOME_DAYS
from bot.store.story_forgetting import delete_parts_of_expired
from bot.store.used_templates import forget_unused_templates

RETENTION_SETTING: Final = "retention_days"
# Days to recognise a message that is delivered again, and to keep the text of an abandoned request.
INBOX_DAYS: Final = 14
_ABANDONED_DAYS: Final = 1
DRAFT_DAYS: Final = 30

# The setting of the conversation `c`: direct messages have no server settings, each channel's own one counts.
_SETTING: Final = (
    "LEFT JOIN settings s ON s.platform = c.platform AND s.server = c.server AND s.name = ?4"
    " AND s.channel = CASE WHEN c.server = ?5 THEN c.channel ELSE '' END"
)
# The time before which words of the conversation `c` have expired; ?1 is now, ?2 a day, ?3 the operator's limit.
# Only the inner CASE reads the text as a number, because not every database takes any text for one.
_OLDEST: Final = (
    "?1 - ?2 * CASE WHEN ltrim(s.value, '0123456789') = '' AND length(s.value) BETWEEN 1 AND 9"
    " THEN CASE WHEN CAST(s.value AS BIGINT) BETWEEN 1 AND ?3 THEN CAST(s.value AS BIGINT) ELSE ?3 END ELSE ?3 END"
)


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

        Without a valid setting (a whole number from 1 to `default_days`) a server has `default_days`. Also deletes the
        replies' details, the cards made from deleted messages, parts of stories, expired cards, drafts that were not
        changed for DRAFT_DAYS, and row outcomes after ROW_OUTCOME_DAYS.
        """
        now_us = to_microseconds(now or now_utc())
        day_us = timedelta(days=1) // timedelta(microseconds=1)

        limits = (now_us, day_us, max(default_days, 1), RETENTION_SETTING, DIRECT_MESSAGES, ROWS_AT_ONCE)

        async def erase_hosted(transaction: Transaction) -> int | None:
            return await erase_hosted_before(transaction, _SETTING, f"h.id < {_OLDEST}", limits) or None

        async def erase_messages(transaction: Transaction) -> int | None:
            rows = await transaction.execute(
                f"""DELETE FROM messages WHERE id IN (
                     SELECT m.id FROM conversations c {_SETTING}
                     CROSS JOIN messages m ON m.conversation_id = c.id AND m.created_at_utc < {_OLDEST} LIMIT ?6)
                   RETURNING platform, message_id, reply_to, is_me""",
                *limits,
            )
            if not rows:
                return None
            ids = [row["message_id"] for row in rows]
            await forget_check_sums_with(transaction, ids)
            # A card holds words of its message, so it is deleted with it, even before it expires.
            await transaction.execute(
                "DELETE FROM open_cards WHERE source_message_id IN (SELECT value FROM json_each(?)) AND NOT EXISTS ("
                " SELECT 1 FROM conversations c JOIN messages m ON m.platform = c.platform"
                " AND m.message_id = open_cards.source_message_id WHERE c.id = open_cards.conversation_id)",
                json.dumps(ids),
            )
            await delete_parts_of_expired(transaction, ids)
            asked = [(row["platform"], row["reply_to"]) for row in rows if row["is_me"] and row["reply_to"] is not None]
            await _forget_sent(transaction, asked)
            transaction.mark_erased()
            return len(rows)

        async def erase_requests(transaction: Transaction) -> int | None:
            return await _forget_requests(transaction, now_us, day_us)

        async def erase_others(transaction: Transaction) -> None:
            await transaction.execute("DELETE FROM gone_marks WHERE gone_at_utc < ?", now_us - KEPT_US)
            cards = await transaction.execute("DELETE FROM open_cards WHERE expires_at_utc <= ? RETURNING id", now_us)
            drafts = await _forget_drafts(transaction, now_us, day_us)
            await forget_unused_templates(transaction)
            if cards or drafts:
                transaction.mark_erased()

        num_deleted = await self._database.write_in_steps(erase_messages)
        await self._database.write_in_steps(erase_hosted)
        await self._database.write_in_steps(erase_requests)
        await self._database.write(erase_others)
        await self._database.forget()
        return num_deleted

    async def count_stored(self, *, platform: str | None = None, server: str | None = None) -> StoreStats:
        """Count what is stored: of one server if `platform` and `server` are given, else of all."""
        if platform is None and server is None:
            (totals,) = await self._database.read(
                "SELECT CAST(sum(num_messages) AS BIGINT) AS num_messages,"
                f" CAST(sum(num_replies) AS BIGINT) AS num_replies,"
                f" ({self._database.size_sql}) AS num_bytes FROM totals"
            )
            return StoreStats(totals["num_messages"], totals["num_replies"], totals["num_bytes"])
        rows = await self._database.read(
            f"""SELECT count(*) AS num_messages, count(r.id) AS num_replies, ({self._database.size_sql}) AS num_bytes
               FROM messages m JOIN conversations c ON c.id = m.conversation_id LEFT JOIN replies r ON r.id = m.id
               WHERE m.deleted_at_utc IS NULL AND c.platform = coalesce(?, c.platform)
                 AND c.server = coalesce(?, c.server)""",
            platform,
            server,
        )
        return StoreStats(rows[0]["num_messages"], rows[0]["num_replies"], rows[0]["num_bytes"])


async def _forget_requests(transaction: Transaction, now_us: int, day_us: int) -> int | None:
    """Delete some old rows of the inbox, or words of some abandoned requests; return None if there are none."""
    old = await transaction.execute(
        "DELETE FROM inbox WHERE id IN (SELECT id FROM inbox WHERE accepted_at_utc < ? LIMIT ?)"
        " RETURNING platform, message_id",
        now_us - INBOX_DAYS * day_us,
        ROWS_AT_ONCE,
    )
    await _forget_sent(transaction, [(row["platform"], row["message_id"]) for row in old])
    abandoned = await transaction.execute(
        f"UPDATE inbox SET {NO_WORDS} WHERE id IN (SELECT id FROM inbox WHERE accepted_at_utc < ? AND text IS NOT NULL"
        " LIMIT ?) RETURNING id",
        now_us - _ABANDONED_DAYS * day_us,
        ROWS_AT_ONCE,
    )
    if not (old or abandoned):
        return None
    transaction.mark_erased()
    return len(old) + len(abandoned)


async def _forget_sent(transaction: Transaction, requests: Sequence[tuple[str, str]]) -> None:
    """Delete the visible messages of those `requests` (platform, id) that are gone together with their answer."""
    for platform in sorted({platform for platform, _ in requests}):
        await transaction.execute(
            "DELETE FROM sent_messages WHERE id IN (SELECT s.id FROM json_each(?) gone CROSS JOIN sent_messages s"
            " ON s.platform = ? AND s.message_id = gone.value"
            " LEFT JOIN inbox i ON i.platform = s.platform AND i.message_id = s.message_id"
            " LEFT JOIN messages m ON m.platform = s.platform AND m.reply_to = s.message_id AND m.is_me = 1"
            " WHERE i.id IS NULL AND m.id IS NULL)",
            json.dumps([message_id for its, message_id in requests if its == platform]),
            platform,
        )


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
