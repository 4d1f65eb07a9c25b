"""Servers' templates, written by moderators: every version, and which one is published."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from bot.core.messages import Author, Scope, now_utc
from bot.core.templates.parsing import MAX_TEMPLATE_BYTES
from bot.errors import RequestError
from bot.store.backend import Row, Transaction
from bot.store.opting_out import check_may_store
from bot.store.records import Records, from_microseconds, to_microseconds

TemplateAction = Literal["new", "edit", "rollback", "import", "delete", "forget"]

MAX_NAMES: Final = 1_000
MAX_VERSIONS: Final = 500
# In all versions of one template: forgetting an example reads them all, and blocks other writes meanwhile.
MAX_HISTORY_CHARACTERS: Final = 4 * 2**20
# A condition for the owner of templates, with the three values of `owner_values`.
OF_OWNER: Final = "platform = ? AND server = ? AND channel = ?"
_NAMED: Final = f"{OF_OWNER} AND name = ?"


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """One version of a server's template.

    `number` counts from 1; a `parent_number` of 0 means the shipped template or none. `source_text` is None if there is
    no text: the action is "delete", or "forget" on a deleted template. `author_id` and `author_name` are "" if that
    person was forgotten, and for "forget", which has no author. `score` holds figures measured with the model whose
    fingerprint is `score_model`.
    """

    name: str
    number: int
    action: TemplateAction
    author_id: str
    author_name: str
    reason: str
    parent_number: int
    created_at_utc: datetime
    source_text: str | None
    version: str | None
    score: Mapping[str, Any] | None = None
    score_model: str | None = None


class ServerTemplates(Records):
    """The part of the store that holds the templates of servers; in direct messages each channel has its own.

    A server has at most MAX_NAMES templates; beyond that, the one deleted longest ago is dropped with its history. A
    template has at most MAX_VERSIONS versions and MAX_HISTORY_CHARACTERS; beyond that, the oldest are dropped. Numbers
    are never reused.
    """

    async def add_template_version(
        self,
        scope: Scope,
        name: str,
        *,
        action: Literal["new", "edit", "rollback", "import"],
        author: Author,
        source_text: str,
        version: str,
        reason: str = "",
        parent_number: int = 0,
        expected_published: int | None = None,
        draft_author_id: str | None = None,
    ) -> int | None:
        """Publish the next version of `name` and return its number; None, and no change, if the request is outdated.

        It is outdated if the published version is not `expected_published` (0: none of the server's own; None: any).
        With `draft_author_id`, that person's draft is deleted in the same transaction, and the request is also outdated
        if the draft is gone, its text is not `source_text`, or its last form was not valid. Raises RequestError for too
        long a text or too many templates, OptedOut if the author asked not to be read.
        """
        check_size(source_text, "template")

        async def add(transaction: Transaction) -> int | None:
            await check_may_store(transaction, scope.platform, author.id)
            published, _ = await _newest(transaction, scope, name)
            if expected_published is not None and published != expected_published:
                return None
            if draft_author_id is not None:
                drafts = await transaction.execute(
                    f"DELETE FROM template_drafts WHERE {_NAMED} AND author_id = ? AND source_text = ?"
                    " AND form_values IS NULL RETURNING name",
                    *owner_values(scope),
                    name,
                    draft_author_id,
                    source_text,
                )
                if not drafts:
                    return None
            await _make_room(transaction, scope, name)
            values = (action, author.id, author.name, reason, parent_number)
            return await insert_version(transaction, owner_values(scope), name, values, source_text, version)

        return await self._database.write(add)

    async def delete_template(
        self, scope: Scope, name: str, *, author: Author, reason: str = "", expected_published: int | None = None
    ) -> int | None:
        """Delete the server's own template `name` by adding a version without text; return its number.

        The history stays. Return None, and change nothing, if none is published or it is not `expected_published`.
        Raises OptedOut if the author asked not to be read.
        """

        async def delete(transaction: Transaction) -> int | None:
            await check_may_store(transaction, scope.platform, author.id)
            published, _ = await _newest(transaction, scope, name)
            if not published or expected_published not in (None, published):
                return None
            values = ("delete", author.id, author.name, reason, published)
            return await insert_version(transaction, owner_values(scope), name, values, None, None)

        return await self._database.write(delete)

    async def published_templates(self, scope: Scope) -> list[StoredTemplate]:
        """Return the newest version of each of the server's own templates that is not deleted, by name."""
        rows = await self._database.read(
            f"SELECT * FROM server_templates WHERE {OF_OWNER} AND is_newest = 1 AND source_text IS NOT NULL"
            " ORDER BY name",
            *owner_values(scope),
        )
        return [_to_stored_template(row) for row in rows]

    async def template_history(self, scope: Scope, name: str) -> list[StoredTemplate]:
        """Return all stored versions of `name`, newest first."""
        rows = await self._database.read(
            f"SELECT * FROM server_templates WHERE {_NAMED} ORDER BY number DESC", *owner_values(scope), name
        )
        return [_to_stored_template(row) for row in rows]

    async def get_template_version(self, scope: Scope, name: str, number: int) -> StoredTemplate | None:
        """Return one version of `name`; None if it does not exist or is no longer stored."""
        rows = await self._database.read(
            f"SELECT * FROM server_templates WHERE {_NAMED} AND number = ?", *owner_values(scope), name, number
        )
        return _to_stored_template(rows[0]) if rows else None

    async def latest_template_change(self, scope: Scope) -> int:
        """Return a number that differs after every change of `published_templates`; fast enough to call often.

        Forgetting a person or a message also changes templates, on servers that the caller did not name.
        """
        rows = await self._database.read(
            f"SELECT coalesce(max(change), 0) AS latest FROM server_templates WHERE {OF_OWNER}", *owner_values(scope)
        )
        return int(rows[0]["latest"])

    async def set_score(
        self, scope: Scope, name: str, number: int, *, version: str, score: Mapping[str, Any], model: str
    ) -> bool:
        """Save the score of a version; return False if it is gone or its hash is no longer `version`."""

        async def update(transaction: Transaction) -> bool:
            rows = await transaction.execute(
                f"UPDATE server_templates SET score = ?, score_model = ?, change = ? WHERE {_NAMED} AND number = ?"
                " AND version = ? RETURNING id",
                json.dumps(dict(score), ensure_ascii=False, allow_nan=False),
                model,
                await next_change(transaction),
                *owner_values(scope),
                name,
                number,
                version,
            )
            return bool(rows)

        return await self._database.write(update)


def owner_values(scope: Scope) -> tuple[str, str, str]:
    """Return the values for OF_OWNER."""
    return scope.platform, scope.server, "" if scope.has_server else scope.channel


def check_size(text: str, what: str, *, max_bytes: int = MAX_TEMPLATE_BYTES) -> None:
    """Raise RequestError if `text` is too long to be stored."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        raise RequestError(f"A {what} has at most {max_bytes:,} bytes; this one has {size:,}.")


async def next_change(transaction: Transaction) -> int:
    """Count one more change and return its number."""
    rows = await transaction.execute("UPDATE template_changes SET latest = latest + 1 RETURNING latest")
    return int(rows[0]["latest"])


async def insert_version(
    transaction: Transaction,
    owner: tuple[str, str, str],
    name: str,
    values: tuple[str, str, str, str, int],
    source_text: str | None,
    version: str | None,
) -> int:
    """Append a version and return its number; `values` are its columns action to parent_number."""
    rows = await transaction.execute(
        f"UPDATE server_templates SET is_newest = 0 WHERE {_NAMED} AND is_newest = 1 RETURNING number", *owner, name
    )
    number = int(rows[0]["number"]) + 1 if rows else 1
    await transaction.execute(
        "INSERT INTO server_templates (platform, server, channel, name, number, action, author_id, author_name, reason,"
        " parent_number, created_at_utc, source_text, version, change, is_newest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
        *owner,
        name,
        number,
        *values,
        to_microseconds(now_utc()),
        source_text,
        version,
        await next_change(transaction),
    )
    await transaction.execute(
        "DELETE FROM server_templates WHERE id IN (SELECT id FROM ("
        " SELECT id, number, sum(length(source_text)) OVER (ORDER BY number DESC) AS num_characters"
        f" FROM server_templates WHERE {_NAMED}) AS versions WHERE number < ? AND (number <= ? OR num_characters > ?))",
        *owner,
        name,
        number,
        number - MAX_VERSIONS,
        MAX_HISTORY_CHARACTERS,
    )
    return number


async def _newest(transaction: Transaction, scope: Scope, name: str) -> tuple[int, int]:
    """Return the published number (0 for none) and the newest number."""
    rows = await transaction.execute(
        f"SELECT number, source_text IS NOT NULL AS is_published FROM server_templates WHERE {_NAMED}"
        " AND is_newest = 1",
        *owner_values(scope),
        name,
    )
    return (rows[0]["number"] if rows[0]["is_published"] else 0, rows[0]["number"]) if rows else (0, 0)


async def _make_room(transaction: Transaction, scope: Scope, name: str) -> None:
    """Make room for one more name. Raises RequestError if all names are in use."""
    owner = owner_values(scope)
    others = await transaction.execute(
        f"SELECT name, source_text IS NULL AS is_deleted FROM server_templates WHERE {OF_OWNER} AND is_newest = 1"
        " AND name <> ? ORDER BY is_deleted DESC, id",
        *owner,
        name,
    )
    if len(others) < MAX_NAMES:
        return
    if not others[0]["is_deleted"]:
        raise RequestError(f"There are {MAX_NAMES:,} templates here already, which is the limit; delete one first.")
    await transaction.execute(f"DELETE FROM server_templates WHERE {_NAMED}", *owner, others[0]["name"])


def _to_stored_template(row: Row) -> StoredTemplate:
    return StoredTemplate(
        name=row["name"],
        number=row["number"],
        action=row["action"],
        author_id=row["author_id"],
        author_name=row["author_name"],
        reason=row["reason"],
        parent_number=row["parent_number"],
        created_at_utc=from_microseconds(row["created_at_utc"]),
        source_text=row["source_text"],
        version=row["version"],
        score=None if row["score"] is None else json.loads(row["score"]),
        score_model=row["score_model"],
    )
