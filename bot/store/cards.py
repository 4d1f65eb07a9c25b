"""Open cards: the state behind buttons and typed choices, its owner, revision and expiry."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.core.messages import Scope, now_utc
from bot.store.backend import Row, Transaction
from bot.store.messages import is_erased
from bot.store.opting_out import check_may_store
from bot.store.records import Records, conversation_id, from_microseconds, scope_values, to_microseconds


@dataclass(frozen=True, slots=True)
class OpenCard:
    """The state behind a card's buttons or typed choices.

    `revision` counts from 1. `state` can be stored as JSON. `source_message_id` names the message whose words the state
    holds: if that message is deleted, so is the card.
    """

    id: str
    scope: Scope
    owner_id: str
    kind: str
    revision: int
    state: Mapping[str, Any]
    created_at_utc: datetime
    expires_at_utc: datetime
    source_message_id: str | None = None


class OpenCards(Records):
    """The part of the store that holds open cards. Expired cards are never returned."""

    async def save_open_card(self, card: OpenCard) -> bool:
        """Save a new card (revision 1), or the next revision of a stored one (its revision plus 1).

        Return False, and change nothing, if another save came first: the id exists already, the stored revision
        differs, or the card was closed; also if the message that a new card is about was deleted. The owner, scope,
        kind, source and creation time of a stored card never change. Raises OptedOut for a card with words, in its
        state or its source, of an owner who asked not to be read.
        """

        async def update(transaction: Transaction) -> bool:
            await _check_owner(transaction, card)
            rows = await transaction.execute(
                "UPDATE open_cards SET revision = ?, state = ?, saved_at_utc = ?, expires_at_utc = ?"
                " WHERE id = ? AND conversation_id = ? AND revision = ? RETURNING id",
                card.revision,
                _to_json(card.state),
                to_microseconds(now_utc()),
                to_microseconds(card.expires_at_utc),
                card.id,
                await conversation_id(transaction, card.scope),
                card.revision - 1,
            )
            return bool(rows)

        if card.revision == 1:
            return await self._database.write(lambda transaction: insert_card(transaction, card))
        return await self._database.write(update)

    async def get_open_card(self, scope: Scope, card_id: str) -> OpenCard | None:
        """Return the card `card_id` of `scope`; None if there is none or it has expired."""
        return await self._load_card(scope, "AND o.id = ?", card_id)

    async def latest_open_card(self, scope: Scope, owner_id: str) -> OpenCard | None:
        """Return the card of `owner_id` in `scope` that was saved last; None if there is none."""
        return await self._load_card(
            scope, "AND o.owner_id = ? ORDER BY o.saved_at_utc DESC, o.created_at_utc DESC, o.id LIMIT 1", owner_id
        )

    async def parts_of_cards(
        self, scope: Scope, owner_id: str, kind: str, *parts: str
    ) -> tuple[tuple[str, datetime, tuple[Any, ...]], ...]:
        """Return somebody's cards of a kind in `scope`, the one that was saved last first.

        Of each: its id, when it was saved last, and `parts` of its state, which are SQL expressions of `state`.
        """
        shown = "".join(f", {part} AS part_{number}" for number, part in enumerate(parts))
        rows = await self._database.read(
            f"SELECT o.id, o.saved_at_utc{shown} FROM conversations c JOIN open_cards o ON o.conversation_id = c.id"
            " WHERE c.platform = ? AND c.server = ? AND c.channel = ? AND c.thread = ? AND o.owner_id = ?"
            " AND o.kind = ? AND o.expires_at_utc > ?"
            " ORDER BY o.saved_at_utc DESC, o.created_at_utc DESC, o.id",
            *scope_values(scope),
            owner_id,
            kind,
            to_microseconds(now_utc()),
        )
        return tuple((row["id"], from_microseconds(row["saved_at_utc"]), tuple(row[2:])) for row in rows)

    async def count_cards(self, platform: str, owner_id: str, kind: str) -> int:
        """Return how many cards of a kind somebody has on a platform."""
        (row,) = await self._database.read(
            "SELECT count(*) AS num FROM open_cards o CROSS JOIN conversations c ON c.id = o.conversation_id"
            " WHERE o.owner_id = ? AND c.platform = ? AND o.kind = ? AND o.expires_at_utc > ?",
            owner_id,
            platform,
            kind,
            to_microseconds(now_utc()),
        )
        return int(row["num"])

    async def was_asked_since(self, card: OpenCard, *, except_id: str) -> bool:
        """Say whether a request other than `except_id` was accepted in the card's scope after `card` was saved last."""
        rows = await self._database.read(
            "SELECT 1 FROM open_cards o JOIN inbox i ON i.conversation_id = o.conversation_id"
            " WHERE o.id = ? AND i.message_id <> ? AND i.accepted_at_utc > o.saved_at_utc LIMIT 1",
            card.id,
            except_id,
        )
        return bool(rows)

    async def close_open_card(self, scope: Scope, card_id: str, *, erases: bool = False) -> bool:
        """Delete a card and its state, with `erases` also from the files; return False if there was none."""

        async def delete(transaction: Transaction) -> bool:
            rows = await transaction.execute(
                "DELETE FROM open_cards WHERE id = ? AND conversation_id = ? RETURNING id",
                card_id,
                await conversation_id(transaction, scope),
            )
            if rows and erases:
                transaction.mark_erased()
            return bool(rows)

        return await self._database.write(delete)

    async def _load_card(self, scope: Scope, which: str, value: str) -> OpenCard | None:
        rows = await self._database.read(
            "SELECT o.* FROM conversations c JOIN open_cards o ON o.conversation_id = c.id"
            " WHERE c.platform = ? AND c.server = ? AND c.channel = ? AND c.thread = ? AND o.expires_at_utc > ?"
            f" {which}",
            *scope_values(scope),
            to_microseconds(now_utc()),
            value,
        )
        return to_open_card(rows[0], scope) if rows else None


async def insert_card(transaction: Transaction, card: OpenCard) -> bool:
    """Insert a new card; return False if its id exists, or the message that it is about was deleted meanwhile.

    Raises OptedOut as `save_open_card` does.
    """
    await _check_owner(transaction, card)
    source_id = card.source_message_id
    if source_id is not None and await is_erased(transaction, card.scope.platform, source_id):
        return False
    rows = await transaction.execute(
        "INSERT INTO open_cards (id, conversation_id, owner_id, kind, revision, state, source_message_id,"
        " created_at_utc, saved_at_utc, expires_at_utc) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING RETURNING id",
        card.id,
        await conversation_id(transaction, card.scope),
        card.owner_id,
        card.kind,
        _to_json(card.state),
        card.source_message_id,
        to_microseconds(card.created_at_utc),
        to_microseconds(now_utc()),
        to_microseconds(card.expires_at_utc),
    )
    return bool(rows)


async def _check_owner(transaction: Transaction, card: OpenCard) -> None:
    # The card of privacy holds no words, and the person who opted out needs it.
    if card.state or card.source_message_id is not None:
        await check_may_store(transaction, card.scope.platform, card.owner_id)


async def close_all(transaction: Transaction, card_ids: Sequence[str]) -> bool:
    """Delete the cards with these ids; return False, deleting nothing, if one of them is gone."""
    ids = json.dumps(list(card_ids))
    there = await transaction.execute(
        "SELECT id FROM open_cards WHERE id IN (SELECT value FROM json_each(?)) AND expires_at_utc > ?",
        ids,
        to_microseconds(now_utc()),
    )
    if len(there) != len(set(card_ids)):
        return False
    await transaction.execute("DELETE FROM open_cards WHERE id IN (SELECT value FROM json_each(?))", ids)
    return True


def to_open_card(row: Row, scope: Scope) -> OpenCard:
    """Return the card in a row of `open_cards`, whose conversation is `scope`."""
    return OpenCard(
        id=row["id"],
        scope=scope,
        owner_id=row["owner_id"],
        kind=row["kind"],
        revision=row["revision"],
        state=json.loads(row["state"]),
        created_at_utc=from_microseconds(row["created_at_utc"]),
        expires_at_utc=from_microseconds(row["expires_at_utc"]),
        source_message_id=row["source_message_id"],
    )


def _to_json(state: Mapping[str, Any]) -> str:
    return json.dumps(dict(state), ensure_ascii=False, allow_nan=False)
