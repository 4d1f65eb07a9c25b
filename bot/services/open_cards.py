"""The stored state of cards with buttons."""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from bot.core.messages import Scope, now_utc
from bot.store.cards import OpenCard
from bot.store.store import Store

COMPLETION_CARD: Final = "completion"
COMPLETE: Final = "complete"  # the commands whose answers such cards are
STRATEGIES: Final = "strategies"
COMPLETING: Final = (COMPLETE, STRATEGIES)
COMMAND_CARD: Final = "command"  # a private or form command with an Open button
# The card is erased with the message that it is about; nothing else ends it.
FOR_GOOD: Final = timedelta(days=3650)


async def open_card(
    store: Store,
    scope: Scope,
    owner_id: str,
    kind: str,
    state: Mapping[str, Any],
    *,
    source_message_id: str | None = None,
    lives: timedelta,
) -> OpenCard:
    """Store a new card with `state` for as long as it `lives`; return it. Raises OptedOut as `save_open_card` does."""
    card = new_card(scope, owner_id, kind, state, source_message_id=source_message_id, lives=lives)
    await store.save_open_card(card)
    return card


def new_card(
    scope: Scope,
    owner_id: str,
    kind: str,
    state: Mapping[str, Any],
    *,
    source_message_id: str | None = None,
    lives: timedelta,
) -> OpenCard:
    """Return a card with an id of its own that is not stored yet."""
    now = now_utc()
    return OpenCard(
        id=uuid.uuid4().hex,
        scope=scope,
        owner_id=owner_id,
        kind=kind,
        revision=1,
        state=state,
        created_at_utc=now,
        expires_at_utc=now + lives,
        source_message_id=source_message_id,
    )
