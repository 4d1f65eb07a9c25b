"""Privacy: opting out, exporting and forgetting a person; forgetting a channel or a server that the bot has left."""

import asyncio
import base64
import json
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from bot.core.messages import DIRECT_MESSAGES, Scope, now_utc
from bot.store.backend import Row, Transaction
from bot.store.gone_marks import mark_person, mark_place
from bot.store.hosted import erase_hosted_person
from bot.store.messages import NO_WORDS, forget_provenance
from bot.store.processes import signal_holders
from bot.store.records import ROWS_AT_ONCE, Records, from_microseconds, scope_values, to_microseconds
from bot.store.replies import forget_check_sums_with
from bot.store.story_forgetting import erase_bot_parts
from bot.store.template_forgetting import forget_examples, forget_moderator
from bot.store.used_templates import forget_unused_templates

# Platforms take files of about 10 MB.
MAX_EXPORTED_BYTES: Final = 5 * 2**20
_FORGETTING: Final = "channels_being_forgotten"  # a note


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

        `kind` says what a record is: "message", "request" (accepted, not answered yet), "shown" (on the web page),
        "picture" (of a message or request), "card" (the state of an open card of theirs), "setting" (of their direct
        messages), "template" (a version that they published), "draft" (of a template), "example" (taken from a message
        of theirs into a template) or "opted out". The `data` of pictures is in base64, None of those before the newest
        MAX_EXPORTED_BYTES.
        """
        said = await self._database.read(
            """SELECT 'message' AS kind, c.server, c.channel, c.thread, m.message_id, m.author_name, m.text,
                 m.attachment, m.reply_to, m.created_at_utc
               FROM messages m CROSS JOIN conversations c ON c.id = m.conversation_id
               WHERE m.platform = ?1 AND m.author_id = ?2 AND m.author_id <> '' AND m.is_me = 0
                 AND m.deleted_at_utc IS NULL
               UNION ALL
               SELECT 'request', c.server, c.channel, c.thread, i.message_id, i.author_name, i.text,
                 i.attachment, i.reply_to, i.created_at_utc
               FROM inbox i CROSS JOIN conversations c ON c.id = i.conversation_id
               WHERE i.platform = ?1 AND i.author_id = ?2 AND i.author_id <> '' AND i.text IS NOT NULL
               UNION ALL
               SELECT 'shown', c.server, c.channel, c.thread, CAST(h.id AS TEXT), '', h.text, NULL,
                 CAST(h.reply_to AS TEXT), h.id
               FROM hosted_messages h CROSS JOIN conversations c ON c.id = h.conversation_id
               WHERE c.platform = ?1 AND h.author_id = ?2 AND h.author_id <> ''
               ORDER BY created_at_utc, message_id, kind""",
            platform,
            author_id,
        )
        pictures = await self._database.read(
            """SELECT 'picture' AS kind, c.server, c.channel, c.thread, p.message_id, p.media_type,
                 length(p.data) AS num_bytes,
                 CASE WHEN sum(length(p.data)) OVER (ORDER BY p.id DESC) <= ?3 THEN p.data END AS data
               FROM (
                 SELECT conversation_id, message_id FROM messages
                  WHERE platform = ?1 AND author_id = ?2 AND author_id <> '' AND is_me = 0
                 UNION SELECT conversation_id, message_id FROM inbox
                  WHERE platform = ?1 AND author_id = ?2 AND author_id <> '') said
               CROSS JOIN message_pictures p ON p.platform = ?1 AND p.message_id = said.message_id
               CROSS JOIN conversations c ON c.id = said.conversation_id ORDER BY p.id""",
            platform,
            author_id,
            MAX_EXPORTED_BYTES,
        )
        cards = await self._database.read(
            """SELECT 'card' AS kind, c.server, c.channel, c.thread, o.kind AS card, o.state, o.created_at_utc
               FROM open_cards o CROSS JOIN conversations c ON c.id = o.conversation_id
               WHERE c.platform = ? AND o.owner_id = ? ORDER BY o.created_at_utc, o.id""",
            platform,
            author_id,
        )
        settings = await self._database.read(
            """SELECT 'setting' AS kind, s.server, s.channel, s.name, s.value FROM settings s
               WHERE s.platform = ?1 AND s.server = ?3 AND s.channel IN (
                 SELECT c.channel FROM messages m CROSS JOIN conversations c ON c.id = m.conversation_id
                 WHERE m.platform = ?1 AND m.author_id = ?2 AND m.author_id <> '' AND m.is_me = 0 AND c.server = ?3)
               ORDER BY s.channel, s.name""",
            platform,
            author_id,
            DIRECT_MESSAGES,
        )
        templates = await self._database.read(
            """SELECT 'template' AS kind, server, channel, name, number, action, author_name, reason,
                 source_text AS text, created_at_utc
               FROM server_templates WHERE platform = ? AND author_id = ? ORDER BY created_at_utc, id""",
            platform,
            author_id,
        )
        drafts = await self._database.read(
            """SELECT 'draft' AS kind, server, channel, name, source_text AS text, form_values, problem,
                 updated_at_utc AS created_at_utc
               FROM template_drafts WHERE platform = ? AND author_id = ?
               ORDER BY updated_at_utc, server, channel, name""",
            platform,
            author_id,
        )
        examples = await self._database.read(
            """SELECT 'example' AS kind, server, channel, name, message_id, created_at_utc
               FROM template_origins WHERE platform = ? AND author_id = ?
               ORDER BY created_at_utc, server, channel, name, message_id""",
            platform,
            author_id,
        )
        opted_out = await self._database.read(
            "SELECT 'opted out' AS kind, opted_out_at_utc AS created_at_utc FROM opted_out"
            " WHERE platform = ? AND author_id = ?",
            platform,
            author_id,
        )
        rows = (*said, *pictures, *cards, *settings, *templates, *drafts, *examples, *opted_out)
        return await asyncio.to_thread(_to_export, rows)

    async def count_messages_of(self, platform: str, author_id: str) -> int:
        """Return how many messages of a person are stored."""
        (row,) = await self._database.read(
            "SELECT count(*) AS num FROM messages WHERE platform = ? AND author_id = ? AND author_id <> ''"
            " AND is_me = 0 AND deleted_at_utc IS NULL",
            platform,
            author_id,
        )
        return int(row["num"])

    async def forget_person(self, platform: str, author_id: str) -> int:
        """Erase everything that a person said on every server, also from the files; return the number of messages.

        Also erased are the bot's answers to these messages (they may quote them), also in stories, the person's open
        cards, the text of waiting requests, the author ids of the erased messages, examples taken from them, drafts of
        templates, and the name and reasons of published ones. Answers to others that read the messages stay, without
        the check sums of their prompts. An opt-out stays too, because it prevents new messages from being stored.
        """

        async def begin(transaction: Transaction) -> None:
            await mark_person(transaction, platform, author_id)
            await forget_examples(transaction, platform, author_id=author_id)
            await forget_moderator(transaction, platform, author_id)
            transaction.mark_erased()

        async def forget_cards(transaction: Transaction) -> None:
            await transaction.execute(
                "DELETE FROM open_cards WHERE owner_id = ?2"
                " AND conversation_id IN (SELECT id FROM conversations WHERE platform = ?1)",
                platform,
                author_id,
            )
            transaction.mark_erased()

        self._database.gone_ids.note_person(platform, author_id)
        await self._database.write(begin)
        await self._database.write_in_steps(partial(_forget_hosted, platform, author_id))
        num_erased = await self._database.write_in_steps(partial(_forget_messages, platform, author_id))
        # The request for this, and the card behind it, go last: a restart in between carries it out again.
        await self._database.write(forget_cards)
        await self._database.write_in_steps(partial(_forget_requests, platform, author_id))
        await self._database.forget()
        return num_erased

    async def forget_channel(self, scope: Scope) -> int:
        """Delete the messages of a deleted channel and its threads, or of a thread; return the number of messages."""

        async def begin(transaction: Transaction) -> None:
            await mark_place(transaction, *scope_values(scope))
            await _note_forgetting(transaction, scope, is_over=False)
            conversations = await transaction.execute(
                "SELECT id FROM conversations WHERE platform = ?1 AND server = ?2 AND channel = ?3"
                " AND ?4 IN ('', thread)",
                *scope_values(scope),
            )
            ids = json.dumps([row["id"] for row in conversations])
            taken = await transaction.execute(
                # In this order: a channel may have millions of messages, and few of them are in a template.
                "SELECT m.message_id FROM template_origins o CROSS JOIN messages m"
                " ON m.platform = o.platform AND m.message_id = o.message_id"
                " WHERE o.platform = ? AND o.server = ? AND m.conversation_id IN"
                " (SELECT CAST(value AS BIGINT) FROM json_each(?))",
                scope.platform,
                scope.server,
                ids,
            )
            for row in taken:
                await forget_examples(transaction, scope.platform, message_id=row["message_id"])
            if not scope.thread:
                await transaction.execute(
                    "DELETE FROM settings WHERE platform = ? AND server = ? AND channel = ?", *scope_values(scope)[:3]
                )

        self._database.gone_ids.note_place(*scope_values(scope))
        await self._database.write(begin)
        num_deleted = await self._database.write_in_steps(
            partial(
                _delete_conversations,
                "platform = ?1 AND server = ?2 AND channel = ?3 AND ?4 IN ('', thread)",
                scope_values(scope),
            )
        )
        await self._database.write(partial(_note_forgetting, scope=scope, is_over=True))
        return num_deleted

    async def finish_forgetting(self) -> None:
        """Delete the rest of the channels whose deletion a restart has interrupted: a platform reports it once."""
        rows = await self._database.read("SELECT platform, value FROM notes WHERE name = ?", _FORGETTING)
        for row in rows:
            for place in json.loads(row["value"]):
                await self.forget_channel(Scope(row["platform"], *place))

    async def forget_server(self, platform: str, server: str) -> int:
        """Delete all data of a server that the bot has left, also from the files; return the number of messages.

        Raises ValueError for direct messages, which nobody can leave for everyone.
        """
        if server == DIRECT_MESSAGES:
            raise ValueError("direct messages are not a server that the bot can leave")

        async def end(transaction: Transaction) -> None:
            await transaction.execute("DELETE FROM watermarks WHERE platform = ? AND key = ?", platform, server)
            for table in ("settings", "server_templates", "template_drafts", "template_origins", "proposal_numbers"):
                await transaction.execute(f"DELETE FROM {table} WHERE platform = ? AND server = ?", platform, server)
            await forget_unused_templates(transaction)
            # These have no owner; they are measured again when they are needed.
            await transaction.execute("DELETE FROM row_outcomes")
            transaction.mark_erased()

        self._database.gone_ids.note_place(platform, server)
        await self._database.write(partial(mark_place, platform=platform, server=server))
        num_deleted = await self._database.write_in_steps(
            partial(_delete_conversations, "platform = ?1 AND server = ?2", (platform, server))
        )
        await self._database.write(end)
        await self._database.forget()
        return num_deleted


def _to_export(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return rows as JSON-able records; of somebody who says much there are many."""
    records = [dict(row) for row in rows]
    for record in records:
        if record.get("media_type") and record["data"] is not None:
            record["data"] = base64.b64encode(record["data"]).decode()
        if "created_at_utc" in record:
            record["created_at_utc"] = from_microseconds(record["created_at_utc"]).isoformat()
    return records


async def _note_forgetting(transaction: Transaction, scope: Scope, *, is_over: bool) -> None:
    """Note that a channel or thread is being deleted, or that its deletion is over."""
    rows = await transaction.execute(
        "SELECT value FROM notes WHERE platform = ? AND name = ?", scope.platform, _FORGETTING
    )
    place = [scope.server, scope.channel, scope.thread]
    places = [one for one in json.loads(rows[0]["value"] if rows else "[]") if one != place]
    await transaction.execute(
        "INSERT INTO notes (platform, name, value) VALUES (?1, ?2, ?3) ON CONFLICT (platform, name)"
        " DO UPDATE SET value = ?3",
        scope.platform,
        _FORGETTING,
        json.dumps(places if is_over else [*places, place]),
    )


async def _forget_hosted(platform: str, author_id: str, transaction: Transaction) -> int | None:
    """Erase some visible messages of a person and the answers to them; return None if none is left."""
    num_erased = await erase_hosted_person(transaction, platform, author_id, ROWS_AT_ONCE)
    return num_erased or None


async def _forget_messages(platform: str, author_id: str, transaction: Transaction) -> int | None:
    """Erase some messages of a person and the answers to them; return how many had words, None if none is left."""
    rows = await transaction.execute(
        "SELECT id, message_id, deleted_at_utc FROM messages WHERE platform = ? AND author_id = ? AND author_id <> ''"
        " AND is_me = 0 LIMIT ?",
        platform,
        author_id,
        ROWS_AT_ONCE,
    )
    if not rows:
        return None
    await _erase_answers(transaction, platform, [row["message_id"] for row in rows])
    # Also in messages erased earlier, so that nothing shows who wrote them.
    await transaction.execute(
        "UPDATE messages SET text = '', author_name = '', attachment = NULL, author_id = '',"
        " deleted_at_utc = coalesce(deleted_at_utc, ?) WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))",
        to_microseconds(now_utc()),
        json.dumps([row["id"] for row in rows]),
    )
    transaction.mark_erased()
    return sum(row["deleted_at_utc"] is None for row in rows)


async def _forget_requests(platform: str, author_id: str, transaction: Transaction) -> int | None:
    """Erase some requests of a person and the answers to them; return None if none is left."""
    rows = await transaction.execute(
        f"UPDATE inbox SET author_id = '', {NO_WORDS} WHERE id IN (SELECT id FROM inbox WHERE platform = ?"
        " AND author_id = ? AND author_id <> '' LIMIT ?) RETURNING message_id, held_by, finished_at_utc",
        platform,
        author_id,
        ROWS_AT_ONCE,
    )
    if not rows:
        return None
    await signal_holders(transaction, platform, "withdrawn", [row for row in rows if row["finished_at_utc"] is None])
    await _erase_answers(transaction, platform, [row["message_id"] for row in rows])
    transaction.mark_erased()
    return 0


async def _erase_answers(transaction: Transaction, platform: str, message_ids: Sequence[str]) -> None:
    """Erase the answers to messages, and what was derived from both: cards, and the check sums of prompts."""
    answers = await transaction.execute(
        "UPDATE messages SET text = '', author_name = '', attachment = NULL, deleted_at_utc = ?3"
        " WHERE platform = ?1 AND is_me = 1 AND deleted_at_utc IS NULL"
        " AND reply_to IN (SELECT value FROM json_each(?2))"
        " RETURNING id, message_id",
        platform,
        json.dumps(list(message_ids)),
        to_microseconds(now_utc()),
    )
    await forget_provenance(transaction, [row["id"] for row in answers])
    ids = [*message_ids, *(row["message_id"] for row in answers)]
    await transaction.execute(
        "DELETE FROM open_cards WHERE source_message_id IN (SELECT value FROM json_each(?2))"
        " AND conversation_id IN (SELECT id FROM conversations WHERE platform = ?1)",
        platform,
        json.dumps(ids),
    )
    await erase_bot_parts(transaction, platform, message_ids)
    await forget_check_sums_with(transaction, ids)


async def _delete_conversations(which: str, values: tuple[str, ...], transaction: Transaction) -> int | None:
    """Delete some rows of the conversations `which`; return the number of messages, None if nothing is left."""
    found = await transaction.execute(f"SELECT id, platform FROM conversations WHERE {which} LIMIT 1", *values)
    if not found:
        return None
    conversation = found[0]["id"]
    if transaction.process_id is not None:
        open_requests = await transaction.execute(
            "SELECT message_id, held_by FROM inbox WHERE conversation_id = ? AND state = 'responding'", conversation
        )
        await signal_holders(transaction, found[0]["platform"], "withdrawn", open_requests)
    for table in (
        "messages",
        "inbox",
        "sent_messages",
        "open_cards",
        "hosted_messages",
        "story_parts",
        "stories",
    ):
        rows = await transaction.execute(
            f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE conversation_id = ? LIMIT ?)"
            f" RETURNING {'message_id' if table == 'messages' else 'id'}",
            conversation,
            ROWS_AT_ONCE,
        )
        if rows:
            transaction.mark_erased()
            if table == "hosted_messages":
                transaction.erased_hosted.extend(row[0] for row in rows)
            if table != "messages":
                return 0
            await forget_check_sums_with(transaction, [row["message_id"] for row in rows])
            return len(rows)
    await transaction.execute("DELETE FROM conversations WHERE id = ?", conversation)
    await forget_unused_templates(transaction)
    transaction.mark_erased()
    return 0
