"""Forgetting in servers' templates: examples that were taken from a member's message, and authors."""

import asyncio
import json
from collections.abc import Callable, Hashable, Iterable, Set
from typing import Final, TypeVar

from bot.core.messages import DIRECT_MESSAGES
from bot.core.templates.forgetting import find_words, forget_words, longest_word, says_words, words_sha256
from bot.core.templates.template import PromptTemplate
from bot.errors import TemplateError
from bot.store.backend import Row, Transaction, Unprepared
from bot.store.templates import OF_OWNER, insert_version, next_change
from bot.store.used_templates import forget_unused_templates, used_template_id

T = TypeVar("T")
Owner = tuple[str, str, str]

# Reading so much of templates takes ten milliseconds. The history of one may be 4 MiB.
_QUICK_CHARACTERS: Final = 64 * 1024

# A condition on a source_text, with the JSON array of `_parts`: whether it may contain the words.
_MAY_SAY = "EXISTS (SELECT 1 FROM json_each(?) part WHERE instr({}, part.value) > 0)"
_ANSWERS_OF_OWNER = (
    "SELECT m.id FROM conversations c JOIN messages m ON m.conversation_id = c.id"
    " WHERE c.platform = ? AND c.server = ? AND ? IN ('', c.channel)"
)


async def forget_examples(
    transaction: Transaction, platform: str, *, message_id: str | None = None, author_id: str | None = None
) -> bool:
    """Remove the words of a message, or of a person's messages, from the templates; return False if there were none.

    They are removed from every version, draft and recorded use on the server where they were taken, and on no other:
    else a member of two servers could change the templates of one from the other. Each template that had them gets a
    new version which says that something was forgotten. Row outcomes are deleted too, because their checksums could
    confirm a guess at the words.
    """
    rows = await transaction.execute(
        "DELETE FROM template_origins WHERE platform = ? AND (message_id = ? OR author_id = ?)"
        " RETURNING server, channel, name, words_sha256",
        platform,
        message_id,
        author_id,
    )
    for owner in sorted({(platform, row["server"], row["channel"]) for row in rows}):
        taken = [row for row in rows if (row["server"], row["channel"]) == owner[1:]]
        names = {row["name"] for row in taken}
        words = await _find_words(transaction, owner, names, {row["words_sha256"] for row in taken})
        # Form input that is not a valid template can't be searched row by row, so it is deleted.
        await transaction.execute(
            "UPDATE template_drafts SET form_values = NULL, problem = ''"
            f" WHERE {OF_OWNER} AND form_values IS NOT NULL AND name IN (SELECT value FROM json_each(?))",
            *owner,
            json.dumps(sorted(names)),
        )
        await _rewrite_versions(transaction, owner, words)
        await _rewrite_drafts(transaction, owner, words)
        await _rewrite_uses(transaction, owner, words)
    if rows:
        await transaction.execute("DELETE FROM row_outcomes")
        transaction.mark_erased()
    return bool(rows)


async def forget_moderator(transaction: Transaction, platform: str, author_id: str) -> None:
    """Remove a person as an author: published texts stay with the server; their reasons and drafts are deleted.

    Templates in the person's direct messages are deleted.
    """
    for table in ("server_templates", "template_drafts"):
        channels = await transaction.execute(
            f"SELECT DISTINCT channel FROM {table} WHERE platform = ? AND server = ? AND author_id = ?",
            platform,
            DIRECT_MESSAGES,
            author_id,
        )
        for row in channels:
            await transaction.execute(
                f"DELETE FROM server_templates WHERE {OF_OWNER}", platform, DIRECT_MESSAGES, row["channel"]
            )
    await transaction.execute("DELETE FROM template_drafts WHERE platform = ? AND author_id = ?", platform, author_id)
    await transaction.execute(
        "UPDATE server_templates SET author_id = '', author_name = '', reason = '', change = ?"
        " WHERE platform = ? AND author_id = ?",
        await next_change(transaction),
        platform,
        author_id,
    )
    await forget_unused_templates(transaction)


async def _find_words(transaction: Transaction, owner: Owner, names: Set[str], sha256s: Set[str]) -> set[str]:
    """Return the words with these checksums, found in the templates' rows."""
    rows: list[Row] = []
    for table, order in (("server_templates", "number DESC"), ("template_drafts", "name")):
        rows += await transaction.execute(
            f"SELECT name, source_text FROM {table} WHERE {OF_OWNER} AND source_text IS NOT NULL"
            f" AND name IN (SELECT value FROM json_each(?)) ORDER BY {order}",
            *owner,
            json.dumps(sorted(names)),
        )

    texts = tuple((str(row["name"]), str(row["source_text"])) for row in rows)

    def find() -> set[str]:
        found: dict[str, str] = {}
        for name, text in texts:
            # Usually the newest versions have all of them; reading hundreds of long ones would be slow.
            if missing := sha256s - found.keys():
                words = find_words(text, name=name, sha256s=missing)
                found |= {words_sha256(one): one for one in words}
        return set(found.values())

    return await _computed(transaction, ("find", frozenset(sha256s), texts), find, sum(len(text) for _, text in texts))


async def _rewrite_versions(transaction: Transaction, owner: Owner, words: Set[str]) -> None:
    rows = await transaction.execute(
        f"SELECT id, name, source_text FROM server_templates WHERE {OF_OWNER} AND source_text IS NOT NULL"
        f" AND {_MAY_SAY.format('source_text')}",
        *owner,
        _parts(words),
    )
    rewritten = await _rewrite(transaction, ((row["id"], row["name"], row["source_text"]) for row in rows), words)
    for row_id, template in rewritten.items():
        await transaction.execute(
            "UPDATE server_templates SET source_text = ?, version = ?, score = NULL, score_model = NULL WHERE id = ?",
            None if template is None else template.source_text,
            None if template is None else template.version,
            row_id,
        )
    for name in sorted({row["name"] for row in rows if row["id"] in rewritten}):
        await _note_forgotten(transaction, owner, name)


async def _note_forgotten(transaction: Transaction, owner: Owner, name: str) -> None:
    """Add a version which says that something was forgotten; move drafts of the version before to it."""
    rows = await transaction.execute(
        f"SELECT * FROM server_templates WHERE {OF_OWNER} AND name = ? AND is_newest = 1", *owner, name
    )
    (newest,) = rows
    values = ("forget", "", "", "", newest["number"])
    number = await insert_version(transaction, owner, name, values, newest["source_text"], newest["version"])
    await transaction.execute(
        f"UPDATE server_templates SET score = ?, score_model = ? WHERE {OF_OWNER} AND name = ? AND number = ?",
        newest["score"],
        newest["score_model"],
        *owner,
        name,
        number,
    )
    if newest["source_text"] is not None:
        await transaction.execute(
            f"UPDATE template_drafts SET based_on = ? WHERE {OF_OWNER} AND name = ? AND based_on = ?",
            number,
            *owner,
            name,
            newest["number"],
        )


async def _rewrite_drafts(transaction: Transaction, owner: Owner, words: Set[str]) -> None:
    rows = await transaction.execute(
        f"SELECT name, author_id, source_text, form_values FROM template_drafts WHERE {OF_OWNER}"
        f" AND (form_values IS NOT NULL OR {_MAY_SAY.format('source_text')})",
        *owner,
        _parts(words),
    )
    texts = (
        (number, row["name"], row["source_text"]) for number, row in enumerate(rows) if row["source_text"] is not None
    )
    for number, template in (await _rewrite(transaction, texts, words)).items():
        await transaction.execute(
            f"UPDATE template_drafts SET source_text = ? WHERE {OF_OWNER} AND name = ? AND author_id = ?",
            None if template is None else template.source_text,
            *owner,
            rows[number]["name"],
            rows[number]["author_id"],
        )
    for row in rows:
        typed = "" if row["form_values"] is None else "\n".join(map(str, json.loads(row["form_values"]).values()))
        if any(says_words(typed, one) for one in words):
            await transaction.execute(
                "UPDATE template_drafts SET form_values = NULL, problem = ''"
                f" WHERE {OF_OWNER} AND name = ? AND author_id = ?",
                *owner,
                row["name"],
                row["author_id"],
            )


async def _rewrite_uses(transaction: Transaction, owner: Owner, words: Set[str]) -> None:
    """Link the server's answers to the template without the words instead of the one they used."""
    rows = await transaction.execute(
        f"SELECT id, name, source_text FROM template_versions t WHERE {_MAY_SAY.format('source_text')}"
        f" AND EXISTS (SELECT 1 FROM replies r WHERE r.template_id = t.id AND r.id IN ({_ANSWERS_OF_OWNER}))",
        _parts(words),
        *owner,
    )
    rewritten = await _rewrite(transaction, ((row["id"], row["name"], row["source_text"]) for row in rows), words)
    for row_id, template in rewritten.items():
        await transaction.execute(
            "UPDATE replies SET template_id = ?, prompt_sha256 = NULL"
            f" WHERE template_id = ? AND id IN ({_ANSWERS_OF_OWNER})",
            None
            if template is None
            else await used_template_id(transaction, template.name, template.version, template.source_text),
            row_id,
            *owner,
        )
    await forget_unused_templates(transaction)


async def _rewrite(
    transaction: Transaction, texts: Iterable[tuple[int, str, str]], words: Set[str]
) -> dict[int, PromptTemplate | None]:
    """Return the changed templates by row id; None if the rest is not a valid template."""
    given = tuple(texts)

    def rewrite() -> dict[int, PromptTemplate | None]:
        rewritten: dict[int, PromptTemplate | None] = {}
        for row_id, name, text in given:
            try:
                template = forget_words(text, name=name, words=words)
            except TemplateError:
                rewritten[row_id] = None
            else:
                if template is not None:
                    rewritten[row_id] = template
        return rewritten

    size = sum(len(text) for _, _, text in given)
    return await _computed(transaction, ("rewrite", frozenset(words), given), rewrite, size)


async def _computed(transaction: Transaction, key: Hashable, compute: Callable[[], T], size: int) -> T:
    """Return the result of `compute`; of texts with many characters (`size`), it is computed between transactions."""
    if key in transaction.prepared:
        result: T = transaction.prepared[key]
        return result
    if size <= _QUICK_CHARACTERS:
        return await asyncio.to_thread(compute)
    raise Unprepared(lambda: {key: compute()})


def _parts(words: Set[str]) -> str:
    return json.dumps(sorted({longest_word(one) for one in words}), ensure_ascii=False)
