"""The bot's answers and their provenance, from which `why` rebuilds the prompt and says what has changed since."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bot.core.messages import Author, Message, Scope
from bot.core.results import FinishReason, Timings
from bot.core.sampling_params import SamplingParams
from bot.store.backend import Row, Transaction
from bot.store.messages import (
    MESSAGE_COLUMNS,
    NO_STOPS,
    MessageKind,
    StoredMessage,
    insert_message,
    to_stored_message,
)
from bot.store.opting_out import check_may_store
from bot.store.records import Records, from_microseconds, scope_values
from bot.store.used_templates import used_template_id, was_forgotten


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """The version of a template that was used: `source_text` is its whole file, `version` its owner's name for it."""

    name: str
    version: str
    source_text: str


@dataclass(frozen=True, slots=True)
class MessageRead:
    """A message that was read into a prompt, and its revision at that time."""

    message_id: str
    revision: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """How an answer was made.

    `command` is "chat" or the command's name. `sampling` holds the seed that was used; None if nothing was sampled.
    `prompt_inputs` are other inputs of the prompt as JSON-able values (the bot's name, whether markup was used), never
    people's words, which would outlive the deletion of their message. `prompt_sha256` (hex) is that of the prompt's
    exact text, to check whether a rebuilt prompt is the same.
    """

    command: str
    model_name: str
    precision: str
    read: tuple[MessageRead, ...] = ()
    template: TemplateVersion | None = None
    sampling: SamplingParams | None = None
    num_prompt_tokens: int = 0
    num_new_tokens: int = 0
    finish_reason: FinishReason | None = None
    timings: Timings | None = None
    prompt_inputs: Mapping[str, Any] = field(default_factory=dict)
    prompt_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ReadBack:
    """A message that an answer read, in its current state; `message` is None if it was deleted or has expired."""

    message_id: str
    revision: int
    message: StoredMessage | None

    @property
    def change(self) -> Literal["same", "edited", "deleted"]:
        """Say what has happened to the message since it was read."""
        if self.message is None:
            return "deleted"
        return "same" if self.message.revision == self.revision else "edited"


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A stored answer of the bot; `read` is in the prompt's order."""

    message: Message
    kind: MessageKind
    provenance: Provenance
    read: tuple[ReadBack, ...]


@dataclass(frozen=True, slots=True)
class AskedMessage:
    """A person's stored message, and the id of the bot's newest stored answer to it, None if there is none."""

    message: StoredMessage
    reply_id: str | None


class Replies(Records):
    """The part of the store that holds the bot's answers."""

    async def add_reply(
        self, message: Message, provenance: Provenance, *, kind: MessageKind, asker_id: str | None = None
    ) -> bool:
        """Store the bot's own `message` and its provenance in one transaction.

        Return False, without effect, if its id is already known, or the person it answers was forgotten since. An
        answer is always placed after the message that it replies to, whatever the clocks say. `reply_to` also connects
        it to the request in the inbox, which then has its answer. Raises OptedOut if the person `asker_id` asked not to
        be read.
        """

        async def insert(transaction: Transaction) -> bool:
            await check_may_store(transaction, message.scope.platform, asker_id)
            if message.reply_to is not None and await _is_forgotten(transaction, message):
                return False
            row_id = await insert_message(transaction, message, kind=kind)
            if row_id is None:
                return False
            await transaction.execute(
                "UPDATE messages SET created_at_utc = asked.created_at_utc + 1 FROM messages AS asked"
                " WHERE messages.id = ?1 AND asked.platform = ?2 AND asked.message_id = ?3"
                " AND asked.created_at_utc >= messages.created_at_utc",
                row_id,
                message.scope.platform,
                message.reply_to,
            )
            await _insert_provenance(transaction, row_id, provenance)
            return True

        return await self._database.write(insert)

    async def get_reply(self, scope: Scope, message_id: str) -> StoredReply | None:
        """Return the bot's answer `message_id` in `scope`, None if there is none or it was deleted."""
        return await self._load_reply(scope, "AND m.message_id = ?", message_id)

    async def last_reply(self, scope: Scope) -> StoredReply | None:
        """Return the newest answer of the bot in `scope`, None if there is none."""
        return await self._load_reply(scope, "ORDER BY m.created_at_utc DESC, m.id DESC LIMIT 1")

    async def recent_asked(self, scope: Scope, *, limit: int) -> list[AskedMessage]:
        """Return the newest `limit` messages of people in `scope`, newest first, with the bot's answers."""
        rows = await self._database.read(
            f"SELECT {MESSAGE_COLUMNS}, (SELECT a.message_id FROM messages a JOIN replies r ON r.id = a.id"
            " WHERE a.platform = m.platform AND a.reply_to = m.message_id AND a.is_me = 1 AND a.deleted_at_utc IS NULL"
            " ORDER BY a.id DESC LIMIT 1) AS reply_id"
            " FROM conversations c JOIN messages m ON m.conversation_id = c.id"
            " WHERE c.platform = ? AND c.server = ? AND c.channel = ? AND c.thread = ?"
            " AND m.is_me = 0 AND m.deleted_at_utc IS NULL ORDER BY m.created_at_utc DESC, m.id DESC LIMIT ?",
            *scope_values(scope),
            limit,
        )
        return [AskedMessage(to_stored_message(row), row["reply_id"]) for row in rows]

    async def _load_reply(self, scope: Scope, which: str, *values: str) -> StoredReply | None:
        rows = await self._database.read(
            "SELECT m.id AS row_id, m.message_id, m.author_id, m.author_name, m.is_bot, m.text, m.reply_to, m.kind,"
            " m.created_at_utc, r.*, t.name AS template_name, t.version, t.source_text"
            " FROM conversations c JOIN messages m ON m.conversation_id = c.id JOIN replies r ON r.id = m.id"
            " LEFT JOIN template_versions t ON t.id = r.template_id"
            " WHERE c.platform = ? AND c.server = ? AND c.channel = ? AND c.thread = ?"
            f" AND m.is_me = 1 AND m.deleted_at_utc IS NULL {which}",
            *scope_values(scope),
            *values,
        )
        if not rows:
            return None
        read = await self._load_read(rows[0]["row_id"])
        return _to_stored_reply(rows[0], scope, read)

    async def _load_read(self, row_id: int) -> tuple[ReadBack, ...]:
        rows = await self._database.read(
            f"SELECT rr.message_id AS read_id, rr.revision AS read_revision, {MESSAGE_COLUMNS}"
            " FROM reply_reads rr JOIN messages answer ON answer.id = rr.reply_id"
            " LEFT JOIN messages m ON m.platform = answer.platform AND m.message_id = rr.message_id"
            " AND m.conversation_id = answer.conversation_id AND m.deleted_at_utc IS NULL"
            " WHERE rr.reply_id = ? ORDER BY rr.position",
            row_id,
        )
        return tuple(
            ReadBack(
                row["read_id"],
                row["read_revision"],
                None if row["message_id"] is None else to_stored_message(row),
            )
            for row in rows
        )


async def _is_forgotten(transaction: Transaction, answer: Message) -> bool:
    return bool(
        await transaction.execute(
            "SELECT 1 FROM messages WHERE platform = ?1 AND message_id = ?2 AND author_id = ''"
            " UNION ALL SELECT 1 FROM inbox WHERE platform = ?1 AND message_id = ?2 AND author_id = ''",
            answer.scope.platform,
            answer.reply_to,
        )
    )


async def _insert_provenance(transaction: Transaction, row_id: int, provenance: Provenance) -> None:
    sampling, timings = provenance.sampling, provenance.timings
    template_id, prompt_sha256 = await _used_template(transaction, row_id, provenance)
    await transaction.execute(
        "INSERT INTO replies (id, command, template_id, model_name, precision, sampling, seed, num_prompt_tokens,"
        " num_new_tokens, finish_reason, queue_ms, prefill_ms, decode_ms, prompt_inputs, prompt_sha256)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row_id,
        provenance.command,
        template_id,
        provenance.model_name,
        provenance.precision,
        None if sampling is None else _to_json(sampling.to_dict()),
        None if sampling is None else sampling.seed,
        provenance.num_prompt_tokens,
        provenance.num_new_tokens,
        provenance.finish_reason,
        None if timings is None else timings.queue_ms,
        None if timings is None else timings.prefill_ms,
        None if timings is None else timings.decode_ms,
        _to_json(dict(provenance.prompt_inputs)),
        prompt_sha256,
    )
    for position, read in enumerate(provenance.read):
        await transaction.execute(
            "INSERT INTO reply_reads (reply_id, position, message_id, revision) VALUES (?, ?, ?, ?)",
            row_id,
            position,
            read.message_id,
            read.revision,
        )

    # A message may have been deleted or edited during generation.
    await forget_stale_check_sums(transaction, row_id)


async def forget_stale_check_sums(transaction: Transaction, row_id: int) -> None:
    """Delete the check sum of the prompt of the answer in `row_id` if a message in it was deleted or changed since.

    With it, a guess at its text could be checked. The stop texts, which may name its author, go too.
    """
    await transaction.execute(
        f"UPDATE replies SET {NO_STOPS}, prompt_sha256 = NULL WHERE id = ?1 AND EXISTS ("
        " SELECT 1 FROM reply_reads rr JOIN messages answer ON answer.id = rr.reply_id"
        " LEFT JOIN messages m ON m.platform = answer.platform AND m.message_id = rr.message_id"
        " WHERE rr.reply_id = ?1"
        " AND (m.id IS NULL OR m.deleted_at_utc IS NOT NULL OR m.revision <> rr.revision))",
        row_id,
    )


async def forget_check_sums_with(transaction: Transaction, message_ids: Sequence[str]) -> None:
    """Delete the check sums, and the stop texts, of all answers that read one of these messages."""
    await transaction.execute(
        f"UPDATE replies SET {NO_STOPS}, prompt_sha256 = NULL WHERE id IN ("
        " SELECT rr.reply_id FROM json_each(?) gone CROSS JOIN reply_reads rr ON rr.message_id = gone.value)",
        json.dumps(list(message_ids)),
    )


async def _used_template(
    transaction: Transaction, row_id: int, provenance: Provenance
) -> tuple[int | None, str | None]:
    """Return the row of the template that the answer in `row_id` was made with, and the check sum of its prompt.

    Both are None if words were removed from the template during generation.
    """
    template = provenance.template
    if template is None:
        return None, provenance.prompt_sha256
    if await was_forgotten(transaction, row_id, template.name, template.source_text):
        return None, None
    template_id = await used_template_id(transaction, template.name, template.version, template.source_text)
    return template_id, provenance.prompt_sha256


def _to_stored_reply(row: Row, scope: Scope, read: tuple[ReadBack, ...]) -> StoredReply:
    has_template, has_timings = row["template_name"] is not None, row["queue_ms"] is not None
    provenance = Provenance(
        command=row["command"],
        model_name=row["model_name"],
        precision=row["precision"],
        read=tuple(MessageRead(back.message_id, back.revision) for back in read),
        template=TemplateVersion(row["template_name"], row["version"], row["source_text"]) if has_template else None,
        sampling=None if row["sampling"] is None else SamplingParams.from_dict(json.loads(row["sampling"])),
        num_prompt_tokens=row["num_prompt_tokens"],
        num_new_tokens=row["num_new_tokens"],
        finish_reason=row["finish_reason"],
        timings=Timings(
            queue_ms=row["queue_ms"],
            prefill_ms=row["prefill_ms"],
            decode_ms=row["decode_ms"],
            num_prompt_tokens=row["num_prompt_tokens"],
            num_new_tokens=row["num_new_tokens"],
        )
        if has_timings
        else None,
        prompt_inputs=json.loads(row["prompt_inputs"]),
        prompt_sha256=row["prompt_sha256"],
    )
    message = Message(
        id=row["message_id"],
        scope=scope,
        author=Author(row["author_id"], row["author_name"], is_bot=bool(row["is_bot"]), is_me=True),
        text=row["text"],
        reply_to=row["reply_to"],
        created_at_utc=from_microseconds(row["created_at_utc"]),
    )
    return StoredReply(message, row["kind"], provenance, read)


def _to_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False)
