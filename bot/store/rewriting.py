"""Answers that are regenerated or continued: their text and provenance are replaced under the same id."""

import json
from typing import Final

from bot.core.messages import Scope, now_utc
from bot.store.backend import Transaction
from bot.store.opting_out import check_may_store
from bot.store.records import IN_SCOPE, Records, scope_values, to_microseconds
from bot.store.replies import MessageRead, Provenance, _used_template, forget_stale_check_sums

# The author of the message that the answer ?2 answers.
_ASKED: Final = (
    "SELECT author_id FROM messages WHERE platform = ?1 AND is_me = 0"
    " AND message_id = (SELECT reply_to FROM messages WHERE platform = ?1 AND message_id = ?2)"
)


class Rewriting(Records):
    """The part of the store that replaces answers."""

    async def rewrite_reply(self, scope: Scope, message_id: str, text: str, provenance: Provenance) -> bool:
        """Replace the text and the provenance of the bot's answer `message_id` in `scope`.

        Return False, without effect, if there is no such answer any more. Raises OptedOut if the author of the
        message that it answers asked not to be read.
        """
        sampling, timings = provenance.sampling, provenance.timings

        async def rewrite(transaction: Transaction) -> bool:
            asked = await transaction.execute(_ASKED, scope.platform, message_id)
            if asked:
                await check_may_store(transaction, scope.platform, asked[0]["author_id"])
            rows = await transaction.execute(
                "UPDATE messages SET text = ?, revision = revision + 1, edited_at_utc = ? WHERE platform = ?"
                " AND message_id = ? AND is_me = 1 AND deleted_at_utc IS NULL AND id IN (SELECT id FROM replies)"
                f" AND conversation_id = (SELECT id FROM conversations WHERE {IN_SCOPE}) RETURNING id",
                text,
                to_microseconds(now_utc()),
                scope.platform,
                message_id,
                *scope_values(scope),
            )
            if not rows:
                return False
            row_id = int(rows[0]["id"])
            template_id, prompt_sha256 = await _used_template(transaction, row_id, provenance)
            await transaction.execute(
                "UPDATE replies SET template_id = ?, model_name = ?, precision = ?, sampling = ?, seed = ?,"
                " num_prompt_tokens = ?, num_new_tokens = ?, finish_reason = ?, queue_ms = ?, prefill_ms = ?,"
                " decode_ms = ?, prompt_inputs = ?, prompt_sha256 = ? WHERE id = ?",
                template_id,
                provenance.model_name,
                provenance.precision,
                None if sampling is None else json.dumps(sampling.to_dict(), ensure_ascii=False),
                None if sampling is None else sampling.seed,
                provenance.num_prompt_tokens,
                provenance.num_new_tokens,
                provenance.finish_reason,
                None if timings is None else timings.queue_ms,
                None if timings is None else timings.prefill_ms,
                None if timings is None else timings.decode_ms,
                json.dumps(dict(provenance.prompt_inputs), ensure_ascii=False),
                prompt_sha256,
                row_id,
            )
            await _replace_read(transaction, row_id, provenance.read)
            # The check sums of answers that read the old text would let a guess at it be checked, so they must go.
            await transaction.execute(
                "UPDATE replies SET prompt_sha256 = NULL"
                " WHERE id IN (SELECT reply_id FROM reply_reads WHERE message_id = ?)",
                message_id,
            )
            await forget_stale_check_sums(transaction, row_id)
            transaction.mark_erased()
            return True

        return await self._database.write(rewrite)


async def _replace_read(transaction: Transaction, row_id: int, read: tuple[MessageRead, ...]) -> None:
    await transaction.execute("DELETE FROM reply_reads WHERE reply_id = ?", row_id)
    for position, one in enumerate(read):
        await transaction.execute(
            "INSERT INTO reply_reads (reply_id, position, message_id, revision) VALUES (?, ?, ?, ?)",
            row_id,
            position,
            one.message_id,
            one.revision,
        )
