"""Open cards: the state behind buttons and typed choices, its owner, revision and expiry."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.core.messages import DIRECT_MESSAGES, Scope, now_utc
from bot.store.database import Transaction
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
        differs, or the card was closed. The owner, scope, kind, source and creation time of a stored card never
        change. Raises OptedOut for a card with words, in its state or its source, of an owner who asked not to be
        read.
        """

        async def check_owner(transaction: Transaction) -> None:
            # The card of privacy holds no words, and the person who opted out needs it.
            if card.state or card.source_message_id is not None:
                await check_may_store(transaction, card.scope.platform, card.owner_id)

        async def insert(transaction: Transaction) -> bool:
            await check_owner(transaction)
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

        async def update(transaction: Transaction) -> bool:
            await check_owner(transaction)
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

        return await self._database.write(insert if card.revision == 1 else update)

    async def get_open_card(self, scope: Scope, card_id: str) -> OpenCard | None:
        """Return the card `card_id` of `scope`; None if there is none or it has expired."""
        return await self._load_card(scope, "AND o.id = ?", card_id)

    async def latest_open_card(self, scope: Scope, owner_id: str) -> OpenCard | None:
        """Return the card of `owner_id` in `scope` that was saved last; None if there is none."""
        return await self._load_card(
            scope, "AND o.owner_id = ? ORDER BY o.saved_at_utc DESC, o.rowid DESC LIMIT 1", owner_id
        )

    async def close_open_card(self, scope: Scope, card_id: str) -> bool:
        """Delete a card and its state; return False if there was none."""

        async def delete(transaction: Transaction) -> bool:
            rows = await transaction.execute(
                "DELETE FROM open_cards WHERE id = ? AND conversation_id = ? RETURNING id",
                card_id,
                await conversation_id(transaction, scope),
            )
            return bool(rows)

        return await self._database.write(delete)

    async def list_open_cards(self, scope: Scope, kind: str, *, limit: int) -> list[OpenCard]:
        """Return the newest cards of `kind` on the server of `scope`; in direct messages, of this conversation only."""
        rows = await self._database.read(
            "SELECT o.*, c.channel, c.thread FROM open_cards o JOIN conversations c ON c.id = o.conversation_id"
            " WHERE c.platform = ? AND c.server = ? AND (c.server <> ? OR c.channel = ?) AND o.kind = ?"
            " AND o.expires_at_utc > ? ORDER BY o.created_at_utc DESC, o.rowid DESC LIMIT ?",
            scope.platform,
            scope.server,
            DIRECT_MESSAGES,
            scope.channel,
            kind,
            to_microseconds(now_utc()),
            max(limit, 0),
        )
        return [_to_open_card(row, Scope(scope.platform, scope.server, row["channel"], row["thread"])) for row in rows]

    async def _load_card(self, scope: Scope, which: str, value: str) -> OpenCard | None:
        rows = await self._database.read(
            "SELECT o.* FROM conversations c JOIN open_cards o ON o.conversation_id = c.id"
            " WHERE c.platform = ? AND c.server = ? AND c.channel = ? AND c.thread = ? AND o.expires_at_utc > ?"
            f" {which}",
            *scope_values(scope),
            to_microseconds(now_utc()),
            value,
        )
        return _to_open_card(rows[0], scope) if rows else None


def _to_open_card(row: sqlite3.Row, scope: Scope) -> OpenCard:
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
