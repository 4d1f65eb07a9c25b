"""The visible messages of a platform that this program hosts: said, answered, changed, removed, read by page."""

import time
from collections.abc import Mapping
from typing import Any, Final

from bot.core.messages import Scope
from bot.store.hosted import HostedMessage
from bot.store.store import Store

__all__ = ["PAGE", "Clock", "HostedMessage", "HostedMessages"]

PAGE: Final = 50  # messages


class Clock:
    """Times in microseconds since 1970 UTC, each greater than all before: the ids and revisions of messages."""

    def __init__(self, last: int = 0) -> None:
        self._last = last

    def next(self) -> int:
        """Return the time, or the next free number if the clock has not moved or was set back."""
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return self._last


class HostedMessages:
    """The messages of one platform, by the times that are their ids. Every method but one may raise Unavailable."""

    def __init__(self, store: Store, platform: str) -> None:
        self._store = store
        self._platform = platform

    async def start_of_clock(self) -> int:
        """Return the greatest id in use."""
        return await self._store.last_hosted_revision()

    async def add(self, message: HostedMessage, *, nonce: str | None = None) -> HostedMessage:
        """Keep a message; return the one that is there if its `nonce` was used before."""
        return await self._store.add_hosted(message, nonce=nonce)

    async def change(
        self,
        message_id: int,
        revision: int,
        *,
        text: str | None = None,
        card: Mapping[str, Any] | None = None,
        loses_file: bool = False,
    ) -> bool:
        """Give a message a new text or card; return False if it is gone or has a later revision already."""
        return await self._store.change_hosted(message_id, revision, text=text, card=card, loses_file=loses_file)

    async def remove(self, message_id: int) -> None:
        """Erase a message and the answers to it."""
        await self._store.remove_hosted(message_id)

    async def get(self, message_id: int) -> HostedMessage | None:
        """Return a message, None if it is gone."""
        found = await self._store.hosted_message(message_id)
        return found if found is not None and found.scope.platform == self._platform else None

    async def said_with(self, nonce: str) -> int | None:
        """Return the id of the message that was said with `nonce`, None if there is none."""
        return await self._store.said_with(nonce)

    async def answers_to(self, asked: int) -> tuple[HostedMessage, ...]:
        """Return the visible answers to a request, the oldest first."""
        return await self._store.hosted_answers(asked)

    async def has_answer(self, scope: Scope) -> bool:
        """Say whether the bot said something in a channel or thread that is still visible."""
        return await self._store.has_hosted_answer(scope)

    async def page(self, scope: Scope, *, before: int | None = None) -> tuple[HostedMessage, ...]:
        """Return the newest PAGE messages of a channel or thread, those before `before`, and one more if there is."""
        return await self._store.hosted_page(scope, limit=PAGE + 1, before=before)

    async def is_opted_out(self, person_id: str) -> bool:
        """Say whether a person asked not to be read: what they say is shown and not kept."""
        return await self._store.is_opted_out(self._platform, person_id)

    def take_erased(self) -> tuple[int, ...]:
        """Return the ids of the messages that were erased since the last call, in whatever way."""
        return self._store.take_erased_hosted()
