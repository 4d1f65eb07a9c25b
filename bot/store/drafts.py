"""Drafts: templates that moderators have not published yet, and the messages that examples were taken from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from bot.core.messages import Scope, now_utc
from bot.core.templates.forgetting import words_sha256
from bot.errors import RequestError
from bot.store.backend import Row, Transaction
from bot.store.cards import close_all
from bot.store.opting_out import check_may_store
from bot.store.records import Records, from_microseconds, to_microseconds
from bot.store.templates import OF_OWNER, check_size, owner_values

MAX_DRAFTS: Final = 100
MAX_FORM_BYTES: Final = 256 * 1024
_OF_DRAFT: Final = f"{OF_OWNER} AND name = ? AND author_id = ?"


@dataclass(frozen=True, slots=True)
class Draft:
    """One person's draft of a template.

    `based_on` is the number of the version it started from; 0 means the shipped template (`based_on_sha256` is the hash
    of its text) or none. `source_text` is the last valid text, None if there was none yet. If the last form was not
    valid, `form_values` is its input by field name, and `problem` the error.
    """

    name: str
    author_id: str
    based_on: int = 0
    based_on_sha256: str | None = None
    source_text: str | None = None
    form_values: Mapping[str, str] | None = None
    problem: str = ""
    updated_at_utc: datetime = field(default_factory=now_utc)


class Drafts(Records):
    """The part of the store that holds drafts; like templates, they belong to a server."""

    async def save_draft(
        self, scope: Scope, draft: Draft, *, before: Draft | None = None, closes: Sequence[str] = ()
    ) -> bool:
        """Save `draft`; it replaces the author's earlier draft of that name.

        `before` is the draft that it was made from, one without any text if nothing was stored. Return False, and
        change nothing, if the stored draft is another one by now (None: whichever is stored is replaced), or if one of
        the open cards `closes`, which are deleted with the save, is gone. Raises RequestError if the text is too long
        or the author has MAX_DRAFTS here, OptedOut if they asked not to be read.
        """
        check_size(draft.source_text or "", "template")
        form_values = None if draft.form_values is None else json.dumps(dict(draft.form_values), ensure_ascii=False)
        check_size(form_values or "", "form", max_bytes=MAX_FORM_BYTES)

        async def save(transaction: Transaction) -> bool:
            await check_may_store(transaction, scope.platform, draft.author_id)
            if before is not None and not await _is_unchanged(transaction, scope, before):
                return False
            if not await close_all(transaction, closes):
                return False
            others = await transaction.execute(
                f"SELECT count(*) AS num FROM template_drafts WHERE {OF_OWNER} AND author_id = ? AND name <> ?",
                *owner_values(scope),
                draft.author_id,
                draft.name,
            )
            if others[0]["num"] >= MAX_DRAFTS:
                raise RequestError(f"You have {MAX_DRAFTS} drafts here already; publish or discard one first.")
            await transaction.execute(
                "INSERT INTO template_drafts (platform, server, channel, name, author_id, based_on,"
                " based_on_sha256, source_text, form_values, problem, updated_at_utc)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (platform, server, channel, name, author_id) DO UPDATE SET based_on = excluded.based_on,"
                " based_on_sha256 = excluded.based_on_sha256, source_text = excluded.source_text,"
                " form_values = excluded.form_values, problem = excluded.problem,"
                " updated_at_utc = excluded.updated_at_utc",
                *owner_values(scope),
                draft.name,
                draft.author_id,
                draft.based_on,
                draft.based_on_sha256,
                draft.source_text,
                form_values,
                draft.problem,
                to_microseconds(draft.updated_at_utc),
            )
            return True

        return await self._database.write(save)

    async def get_draft(self, scope: Scope, name: str, author_id: str) -> Draft | None:
        """Return a person's draft of `name` here; None if there is none."""
        rows = await self._database.read(
            f"SELECT * FROM template_drafts WHERE {_OF_DRAFT}", *owner_values(scope), name, author_id
        )
        return _to_draft(rows[0]) if rows else None

    async def list_drafts(self, scope: Scope, author_id: str | None = None) -> list[Draft]:
        """Return the drafts here of one person or of everyone, last changed first."""
        rows = await self._database.read(
            f"SELECT * FROM template_drafts WHERE {OF_OWNER} AND author_id = coalesce(?, author_id)"
            " ORDER BY updated_at_utc DESC, name",
            *owner_values(scope),
            author_id,
        )
        return [_to_draft(row) for row in rows]

    async def drafts_mark(self, scope: Scope) -> tuple[int, ...]:
        """Return numbers that differ after a change of the drafts here, whoever made it; fast enough to call often."""
        rows = await self._database.read(
            "SELECT count(*) AS num, coalesce(max(updated_at_utc), 0) AS latest,"
            " coalesce(sum(length(coalesce(source_text, '')) + length(coalesce(form_values, ''))), 0) AS size"
            f" FROM template_drafts WHERE {OF_OWNER}",
            *owner_values(scope),
        )
        return rows[0]["num"], rows[0]["latest"], rows[0]["size"]

    async def discard_draft(self, scope: Scope, name: str, author_id: str) -> bool:
        """Delete a draft; return False if there was none."""

        async def discard(transaction: Transaction) -> bool:
            rows = await transaction.execute(
                f"DELETE FROM template_drafts WHERE {_OF_DRAFT} RETURNING name", *owner_values(scope), name, author_id
            )
            return bool(rows)

        return await self._database.write(discard)

    async def add_template_origin(
        self, scope: Scope, name: str, words: str, *, message_id: str, author_id: str
    ) -> None:
        """Record that `words`, the input or output of a row of `name`, come from a member's message.

        If the message is deleted or the member is forgotten, every row with these words is removed from the versions
        and drafts of the server. Until then only a checksum of the words is stored here.
        """

        async def insert(transaction: Transaction) -> None:
            await transaction.execute(
                "INSERT INTO template_origins (platform, server, channel, name, words_sha256, message_id, author_id,"
                " created_at_utc) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                *owner_values(scope),
                name,
                words_sha256(words),
                message_id,
                author_id,
                to_microseconds(now_utc()),
            )

        await self._database.write(insert)


async def _is_unchanged(transaction: Transaction, scope: Scope, before: Draft) -> bool:
    """Say whether the stored draft still says what `before` does; whenever it was saved."""
    rows = await transaction.execute(
        f"SELECT * FROM template_drafts WHERE {_OF_DRAFT}", *owner_values(scope), before.name, before.author_id
    )
    if not rows:
        return before.source_text is None and before.form_values is None
    return replace(_to_draft(rows[0]), updated_at_utc=before.updated_at_utc) == before


def _to_draft(row: Row) -> Draft:
    return Draft(
        name=row["name"],
        author_id=row["author_id"],
        based_on=row["based_on"],
        based_on_sha256=row["based_on_sha256"],
        source_text=row["source_text"],
        form_values=None if row["form_values"] is None else json.loads(row["form_values"]),
        problem=row["problem"],
        updated_at_utc=from_microseconds(row["updated_at_utc"]),
    )
