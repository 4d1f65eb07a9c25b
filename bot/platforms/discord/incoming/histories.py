"""The messages of a channel, read over REST; one that can't be read is skipped, and the reading goes on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import discord

from bot.platforms.discord.incoming.payloads import id_of, read_message_payload

PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Page:
    """The messages of one request, oldest first.

    `ids` are those of all, also of unreadable messages; `num` counts also those whose id can't be read.
    """

    messages: tuple[discord.Message, ...]
    ids: frozenset[int]
    num: int

    @property
    def knows_all(self) -> bool:
        """Say whether the id of every message is known."""
        return len(self.ids) == self.num


async def read_page(channel: discord.abc.Messageable, *, limit: int = PAGE, after: int | None = None) -> Page:
    """Return the newest messages of `channel`, or the oldest after `after`. Raises discord.HTTPException and others."""
    place: Any = await channel._get_channel()
    state: Any = place._state
    found = await state.http.logs_from(place.id, limit, after=after)
    messages = [read_message_payload(state, place, data) for data in found]
    readable = sorted((message for message in messages if message is not None), key=lambda message: message.id)
    ids = frozenset(known for data in found if (known := id_of(data)) is not None)
    return Page(tuple(readable), ids, len(found))


async def read_history(
    channel: discord.abc.Messageable, *, after: int, before: int | None = None, limit: int | None = None
) -> AsyncIterator[discord.Message]:
    """Return the messages after `after` and before `before`, oldest first; `limit` counts unreadable ones too."""
    while limit is None or limit > 0:
        num = PAGE if limit is None else min(PAGE, limit)
        page = await read_page(channel, limit=num, after=after)
        for message in page.messages:
            if before is None or message.id < before:
                yield message
        # A page on which no id can be read has no next one.
        if page.num < num or not page.ids or max(page.ids) <= after:
            return
        after = max(page.ids)
        if before is not None and after >= before:
            return
        limit = None if limit is None else limit - page.num
