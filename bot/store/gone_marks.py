"""What was deleted, left or forgotten lately, for the other programs that share the database.

Words may be on their way there. One program alone knows it from `GoneIds`, without the database.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Final

from bot.core.messages import Message, Scope, now_utc
from bot.store.backend import Transaction
from bot.store.gone_ids import ANSWERING
from bot.store.records import to_microseconds

# Nothing is on its way for so long.
KEPT_US: Final = 3_600_000_000


async def refuses(transaction: Transaction, message: Message) -> bool:
    """Say whether a message was deleted, or its place or author forgotten, after it had arrived."""
    if transaction.gone_ids.refuses(message):
        return True
    if not transaction.is_shared:
        return False
    scope, author = message.scope, message.author
    # The bot's own answer arrives when it is written; what it answers arrived before.
    arrived_at_us = to_microseconds(message.arrived_at_utc - ANSWERING if author.is_me else message.arrived_at_utc)
    rows = await transaction.execute(
        "SELECT 1 FROM gone_marks WHERE platform = ?1 AND (key = ?2"
        " OR gone_at_utc >= ?4 AND key IN (SELECT value FROM json_each(?3))) LIMIT 1",
        scope.platform,
        _message_key(message.id),
        json.dumps([_person_key(author.id), *_place_keys(scope)]),
        arrived_at_us,
    )
    return bool(rows)


async def is_marked(transaction: Transaction, platform: str, message_id: str) -> bool:
    """Say whether a message was deleted lately."""
    if transaction.gone_ids.has(platform, message_id):
        return True
    if not transaction.is_shared:
        return False
    return bool(
        await transaction.execute(
            "SELECT 1 FROM gone_marks WHERE platform = ? AND key = ?", platform, _message_key(message_id)
        )
    )


async def mark_message(transaction: Transaction, platform: str, message_id: str) -> None:
    """Mark a message as deleted."""
    await _mark(transaction, platform, _message_key(message_id))


async def mark_person(transaction: Transaction, platform: str, author_id: str) -> None:
    """Mark that a person's words are forgotten now."""
    await _mark(transaction, platform, _person_key(author_id))


async def mark_place(transaction: Transaction, platform: str, server: str, channel: str = "", thread: str = "") -> None:
    """Mark that a server, channel or thread is gone now."""
    await _mark(transaction, platform, _place_key(server, channel, thread))


async def _mark(transaction: Transaction, platform: str, key: str) -> None:
    if transaction.is_shared:
        await transaction.execute(
            "INSERT INTO gone_marks (platform, key, gone_at_utc) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (platform, key) DO UPDATE SET gone_at_utc = ?3",
            platform,
            key,
            to_microseconds(now_utc()),
        )


def _message_key(message_id: str) -> str:
    return _hashed("message", message_id)


def _person_key(author_id: str) -> str:
    return _hashed("person", author_id)


def _place_keys(scope: Scope) -> Iterable[str]:
    yield _place_key(scope.server)
    yield _place_key(scope.server, scope.channel)
    yield _place_key(scope.server, scope.channel, scope.thread)


def _place_key(server: str, channel: str = "", thread: str = "") -> str:
    return _hashed("place", server, channel, thread)


def _hashed(*parts: str) -> str:
    """Return a hash (hex): who was forgotten is written nowhere."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
