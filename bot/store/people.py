"""Privacy: opting out, exporting and forgetting a person; forgetting a channel or a server that the bot has left."""

import json
from typing import Any

from bot.core.messages import DIRECT_MESSAGES, Scope, now_utc
from bot.store.database import Transaction
from bot.store.messages import NO_WORDS
from bot.store.records import Records, from_microseconds, scope_values, to_microseconds
from bot.store.replies import forget_stale_check_sums
from bot.store.template_forgetting import forget_examples, forget_moderator
from bot.store.used_templates import forget_unused_templates


class People(Records):
    """The part of the store that holds data of persons, across servers, because they ask about themselves."""

    async def opt_out(self, platform: str, author_id: str, is_out: bool) -> None:
        """Store whether someone asked not to be read."""

        async def change(transaction: Transaction) -> None:
            if is_out:
                await transaction.execute(
                    "INSERT INTO opted_out (platform, author_id, opted_out_at_utc) VALUES (?, ?, ?)"
                    " ON CONFLICT DO NOTHING",
                    platform,
                    author_id,
                    to_microseconds(now_utc()),
                )
            else:
                await transaction.execute(
                    "DELETE FROM opted_out WHERE platform = ? AND author_id = ?", platform, author_id
                )

        await self._database.write(change)

    async def is_opted_out(self, platform: str, author_id: str) -> bool:
        """Say whether someone asked not to be read."""
        return bool(
            await self._database.read(
                "SELECT 1 FROM opted_out WHERE platform = ? AND author_id = ?", platform, author_id
            )
        )

    async def export_person(self, platform: str, author_id: str) -> list[dict[str, Any]]:
        """Return all that is stored of a person as JSON-able records, oldest messages first.

        `kind` says what a record is: "message", "request" (accepted, not answered yet), "card" (the state of an open
        card of theirs), "setting" (of their direct messages), "template" (a version that they published), "draft"
        (of a template), "example" (taken from a message of theirs into a template) or "opted out".
        """
        said = await self._database.read(
            """SELECT 'message' AS kind, c.server, c.channel, c.thread, m.message_id, m.author_name, m.text,
                 m.attachment, m.reply_to, m.created_at_utc
               FROM messages m JOIN conversations c ON c.id = m.conversation_id
               WHERE m.platform = ?1 AND m.author_id = ?2 AND m.is_me = 0 AND m.deleted_at_utc IS NULL
               UNION ALL
               SELECT 'request', c.server, c.channel, c.thread, i.message_id, i.author_name, i.text,
                 i.attachment, i.reply_to, i.created_at_utc
               FROM inbox i JOIN conversations c ON c.id = i.conversation_id
               WHERE i.platform = ?1 AND i.author_id = ?2 AND i.text IS NOT NULL
               ORDER BY created_at_utc, message_id""",
            platform,
            author_id,
        )
        cards = await self._database.read(
            """SELECT 'card' AS kind, c.server, c.channel, c.thread, o.kind AS card, o.state, o.created_at_utc
               FROM open_cards o JOIN conversations c ON c.id = o.conversation_id
               WHERE c.platform = ? AND o.owner_id = ? ORDER BY o.created_at_utc""",
            platform,
            author_id,
        )
        settings = await self._database.read(
            """SELECT 'setting' AS kind, s.server, s.channel, s.name, s.value FROM settings s
               WHERE s.platform = ?1 AND s.server = ?3 AND s.channel IN (
                 SELECT c.channel FROM messages m JOIN conversations c ON c.id = m.conversation_id
                 WHERE m.platform = ?1 AND m.author_id = ?2 AND m.is_me = 0 AND c.server = ?3)""",
            platform,
            author_id,
            DIRECT_MESSAGES,
        )
        templates = await self._database.read(
            """SELECT 'template' AS kind, server, channel, name, number, action, author_name, reason, created_at_utc
               FROM server_templates WHERE platform = ? AND author_id = ? ORDER BY created_at_utc, id""",
            platform,
            author_id,
        )
        drafts = await self._database.read(
            """SELECT 'draft' AS kind, server, channel, name, source_text AS text, form_values, problem,
                 updated_at_utc AS created_at_utc
               FROM template_drafts WHERE platform = ? AND author_id = ? ORDER BY updated_at_utc, name""",
            platform,
            author_id,
        )
        examples = await self._database.read(
            """SELECT 'example' AS kind, server, channel, name, message_id, created_at_utc
               FROM template_origins WHERE platform = ? AND author_id = ? ORDER BY created_at_utc, name""",
            platform,
            author_id,
        )
        opted_out = await self._database.read(
            "SELECT 'opted out' AS kind, opted_out_at_utc AS created_at_utc FROM opted_out"
            " WHERE platform = ? AND author_id = ?",
            platform,
            author_id,
        )
        records = [dict(row) for row in (*said, *cards, *settings, *templates, *drafts, *examples, *opted_out)]
        for record in records:
            if "created_at_utc" in record:
                record["created_at_utc"] = from_microseconds(record["created_at_utc"]).isoformat()
        return records

    async def forget_person(self, platform: str, author_id: str) -> int:
        """Erase everything that a person said on every server, also from the files; return the number of messages.

        Also erased are the bot's answers to these messages (they may quote them), the person's open cards, the text of
        waiting requests, the author ids of the erased messages, examples taken from them, drafts of templates, and the
        name and reasons of published ones. Answers to others that read the messages stay, without the check sums of
        their prompts. An opt-out stays too, because it prevents new messages from being stored.
        """

        async def erase(transaction: Transaction) -> int:
            now_us = to_microseconds(now_utc())
            await forget_examples(transaction, platform, author_id=author_id)
            await forget_moderator(transaction, platform, author_id)
            await transaction.execute(
                "UPDATE messages SET text = '', author_name = '', attachment = NULL, deleted_at_utc = ?3"
                " WHERE platform = ?1 AND is_me = 1 AND deleted_at_utc IS NULL AND reply_to IN ("
                " SELECT message_id FROM messages WHERE platform = ?1 AND author_id = ?2 AND is_me = 0"
                " UNION SELECT message_id FROM inbox WHERE platform = ?1 AND author_id = ?2)",
                platform,
                author_id,
                now_us,
            )
            await transaction.execute(
                "DELETE FROM open_cards WHERE conversation_id IN (SELECT id FROM conversations WHERE platform = ?1)"
                " AND (owner_id = ?2 OR source_message_id IN (SELECT message_id FROM messages WHERE platform = ?1"
                " AND (author_id = ?2 AND is_me = 0 OR is_me = 1 AND deleted_at_utc = ?3)))",
                platform,
                author_id,
                now_us,
            )
            rows = await transaction.execute(
                "UPDATE messages SET text = '', author_name = '', attachment = NULL, deleted_at_utc = ?3"
                " WHERE platform = ?1 AND author_id = ?2 AND is_me = 0 AND deleted_at_utc IS NULL RETURNING id",
                platform,
                author_id,
                now_us,
            )
            # Also in messages erased earlier, so that nothing shows who wrote them.
            await transaction.execute(
                "UPDATE messages SET author_id = '' WHERE platform = ? AND author_id = ? AND is_me = 0",
                platform,
                author_id,
            )
            await transaction.execute(
                f"UPDATE inbox SET author_id = '', {NO_WORDS} WHERE platform = ? AND author_id = ?",
                platform,
                author_id,
            )
            await forget_stale_check_sums(transaction)
            transaction.mark_erased()
            return len(rows)

        num_erased = await self._database.write(erase)
        await self._database.forget()
        return num_erased

    async def forget_channel(self, scope: Scope) -> int:
        """Delete the messages of a deleted channel and its threads, or of a thread; return the number of messages."""

        async def delete(transaction: Transaction) -> int:
            conversations = await transaction.execute(
                "SELECT id FROM conversations WHERE platform = ?1 AND server = ?2 AND channel = ?3"
                " AND ?4 IN ('', thread)",
                *scope_values(scope),
            )
            ids = json.dumps([row["id"] for row in conversations])
            taken = await transaction.execute(
                "SELECT m.message_id FROM messages m JOIN template_origins o"
                " ON o.platform = m.platform AND o.message_id = m.message_id"
                " WHERE m.conversation_id IN (SELECT value FROM json_each(?))",
                ids,
            )
            for row in taken:
                await forget_examples(transaction, scope.platform, message_id=row["message_id"])
            of_conversation = "conversation_id IN (SELECT value FROM json_each(?))"
            rows = await transaction.execute(f"DELETE FROM messages WHERE {of_conversation} RETURNING id", ids)
            for table in ("inbox", "sent_messages", "open_cards"):
                await transaction.execute(f"DELETE FROM {table} WHERE {of_conversation}", ids)
            if not scope.thread:
                await transaction.execute(
                    "DELETE FROM settings WHERE platform = ? AND server = ? AND channel = ?", *scope_values(scope)[:3]
                )
            await transaction.execute("DELETE FROM conversations WHERE id IN (SELECT value FROM json_each(?))", ids)
            if conversations:
                await forget_stale_check_sums(transaction)
                await forget_unused_templates(transaction)
                transaction.mark_erased()
            return len(rows)

        return await self._database.write(delete)

    async def forget_server(self, platform: str, server: str) -> int:
        """Delete all data of a server that the bot has left, also from the files; return the number of messages.

        Raises ValueError for direct messages, which nobody can leave for everyone.
        """
        if server == DIRECT_MESSAGES:
            raise ValueError("direct messages are not a server that the bot can leave")

        async def delete(transaction: Transaction) -> int:
            of_server = "conversation_id IN (SELECT id FROM conversations WHERE platform = ? AND server = ?)"
            rows = await transaction.execute(f"DELETE FROM messages WHERE {of_server} RETURNING id", platform, server)
            for table in ("inbox", "sent_messages", "open_cards"):
                await transaction.execute(f"DELETE FROM {table} WHERE {of_server}", platform, server)
            await transaction.execute("DELETE FROM watermarks WHERE platform = ? AND key = ?", platform, server)
            for table in ("conversations", "settings", "server_templates", "template_drafts", "template_origins"):
                await transaction.execute(f"DELETE FROM {table} WHERE platform = ? AND server = ?", platform, server)
            await forget_unused_templates(transaction)
            # These have no owner; they are measured again when they are needed.
            await transaction.execute("DELETE FROM row_outcomes")
            transaction.mark_erased()
            return len(rows)

        num_deleted = await self._database.write(delete)
        await self._database.forget()
        return num_deleted
