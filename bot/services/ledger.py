"""The ledger of a platform's requests, from accepted to finished: none is lost, none is answered twice."""

import asyncio
import contextlib
import heapq
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Final, Literal

from bot.background import keep_running
from bot.core.messages import Author, Message, Scope
from bot.core.platform_traits import PlatformTraits
from bot.errors import Unavailable
from bot.services.sharing import Sharer, Sharing, Signal
from bot.store.inbox import Accepted, Outcome
from bot.store.store import Store

__all__ = ["Accepted", "Delivery", "Outcome", "SeenUntil", "Signal", "Watermark"]

logger = logging.getLogger(__name__)

_SAVING_PAUSE_S: Final = 2.0


class Delivery:
    """The requests of one platform, from accepted to finished. Every method may raise Unavailable.

    The order for one request: `accept`, before anything about it is visible; `note_sent` after each visible message;
    `finish` at the end. After a restart, the sent messages and stored answers of `unfinished` requests show how far
    each one came; only the platform knows whether more is visible. With `sharing` other programs answer on the same
    platform, and take over what this one can't answer.
    """

    def __init__(self, store: Store, traits: PlatformTraits, sharing: Sharing | None = None) -> None:
        self._store = store
        self._sharing = sharing
        self._platform = traits.key
        self._answerable_s = traits.answerable_s

    async def accept(self, message: Message, *, token: str = "") -> bool:
        """Record a request; return False if its id was accepted before, whatever its outcome.

        With `token` the platform can answer later; it is deleted when the request is finished.
        """
        if message.scope.platform != self._platform:
            raise ValueError(f"a message of {message.scope.platform} can't be delivered on {self._platform}")
        return await self._store.accept_request(message, token=token)

    async def note_sent(self, message_id: str, sent_id: str, position: int) -> None:
        """Record the id of a visible message: part `position` (from 0) of the answer to a request."""
        await self._store.note_sent(self._platform, message_id, sent_id, position)

    async def finish(self, message_id: str, outcome: Outcome) -> bool:
        """End a request; return False if it is unknown or has ended already."""
        return await self._store.finish_request(self._platform, message_id, outcome)

    @property
    def is_shared(self) -> bool:
        """Say whether other programs may answer on the platform too."""
        return self._sharing is not None

    @property
    def may_show(self) -> bool:
        """Say whether nobody else may answer yet what this program has accepted."""
        return self._sharing is None or self._sharing.is_held

    def share(self, sharer: Sharer) -> None:
        """Let `sharer` take over what other programs leave, and follow what they tell."""
        if self._sharing is not None:
            self._sharing.attach(self._platform, sharer)

    async def take_over(self, limit: int) -> tuple[str, ...]:
        """Take over at most `limit` requests that no living program answers; return their ids, the oldest first."""
        if self._sharing is None or limit <= 0 or not await self._store.has_orphans(self._platform):
            return ()
        return await self._store.take_over(self._platform, limit=limit)

    async def stop_elsewhere(self, message_id: str, author: Author) -> Literal["told", "not open", "no"]:
        """Tell the program that answers a request to stop, if `author` asked it or is a moderator."""
        if self._sharing is None:
            return "not open"
        return await self._store.stop_elsewhere(self._platform, message_id, author)

    async def holds(self, message_id: str) -> bool:
        """Say whether a request is not finished, and this program is to answer it."""
        return await self._store.holds_request(self._platform, message_id)

    async def unfinished(self) -> tuple[Accepted, ...]:
        """Return the requests that have not ended, in the order in which they were written."""
        return await self._store.unfinished_requests(self._platform, answerable_s=self._answerable_s)

    async def withdraw(self, message_id: str) -> bool:
        """Erase a message that its author deleted, and cancel its request.

        Return False if there was no request, or it had ended before; the text is erased in any case.
        """
        return await self._store.withdraw_request(self._platform, message_id)

    async def sent_of(self, message_id: str) -> tuple[str, ...]:
        """Return the ids of the visible messages that answer a request, in order of their positions."""
        return await self._store.sent_of(self._platform, message_id)

    async def request_of(self, sent_id: str) -> str | None:
        """Return the id of the request that a visible message of the bot answers, None if it is unknown."""
        return await self._store.request_of(self._platform, sent_id)

    async def reply_of(self, sent_id: str) -> str | None:
        """Return the id of the stored answer that a visible message of the bot shows, None if there is none."""
        return await self._store.reply_of(self._platform, sent_id)

    async def resolve(self, message: Message) -> Message:
        """Return `message` with the stored answer's id as `reply_to` if it replies to a visible message of the bot.

        The store has its own ids for answers. Call this right before the bot answers, when that answer is stored.
        """
        reply_id = None if message.reply_to is None else await self.reply_of(message.reply_to)
        return message if reply_id is None else replace(message, reply_to=reply_id)

    async def discard_reply(self, message_id: str) -> None:
        """Delete the stored answers to a request before it is answered again, so that the history never holds two."""
        await self._store.discard_reply(self._platform, message_id)

    async def is_known(self, message_id: str) -> bool:
        """Say whether a request was accepted before, whatever its outcome."""
        return await self._store.is_known_request(self._platform, message_id)

    async def regroup_watermarks(self, *keys: str) -> None:
        """Keep only the watermarks `keys`; if there are others, all start at the lowest, to skip no event."""
        await self._store.regroup_watermarks(self._platform, keys)

    def watermark(self, key: str = "") -> AbstractAsyncContextManager["Watermark"]:
        """Open the watermark `key` of the platform for a block."""
        return Watermark.open(self._store, self._platform, key)

    async def direct_channels(self) -> tuple[str, ...]:
        """Return the channels of direct messages with the latest messages, the latest first."""
        return await self._store.direct_channels(self._platform)

    async def visible_ids(
        self, servers: Sequence[str], *, num_conversations: int, num_each: int
    ) -> Mapping[Scope, Sequence[str]]:
        """Return the ids of stored messages visible on the platform: the newest of the latest conversations."""
        return await self._store.visible_ids(
            self._platform, servers, num_conversations=num_conversations, num_each=num_each
        )

    async def first_chat_id(self, scope: Scope, *, but: str = "") -> str | None:
        """Return the id of the first message in `scope` with which somebody talked with the bot, None without any.

        The message `but` does not count.
        """
        return await self._store.first_chat_id(scope, but=but)

    async def remember(self, name: str, value: str) -> None:
        """Store `value` under `name` for the next start."""
        await self._store.set_note(self._platform, name, value)

    async def change(self, name: str, change: Callable[[str | None], str]) -> None:
        """Store what `change` makes of the value under `name`, None without one; it may be called several times."""
        await self._store.change_note(self._platform, name, change)

    async def claim(self, name: str, for_s: float) -> float:
        """Have `name` to oneself, of all programs on the platform, for `for_s` seconds.

        Return 0.0, or after how many seconds it is free if another one has it.
        """
        return await self._store.claim(self._platform, name, for_s)

    async def prolong(self, name: str, for_s: float) -> None:
        """Have a claim for `for_s` seconds from now, whatever was left of it."""
        await self._store.prolong(self._platform, name, for_s)

    async def release(self, name: str) -> None:
        """Give a claim back."""
        await self._store.release(self._platform, name)

    async def recall(self, name: str) -> str | None:
        """Return the value stored under `name`, None if there is none."""
        return await self._store.get_note(self._platform, name)


def _rank(message_id: str) -> tuple[int, str]:
    """Return the key that sorts ids as numbers of any length."""
    return len(message_id), message_id


class SeenUntil:
    """The id up to which every seen event is done, in memory; ids are time-ordered numbers as text.

    Call `saw` when an event arrives and `done` when it is accepted or needs no answer. After `freeze` (events may be
    missing from here on) `value` does not change until `thaw` says that the missing events were fetched and seen.
    """

    def __init__(self, value: str | None = None) -> None:
        self.value = value
        self._gap = 0
        self._is_frozen = False
        self._order: list[tuple[int, str]] = []  # a heap of the seen ids above `value`
        self._is_done: dict[str, bool] = {}  # of the ids in it

    @property
    def is_frozen(self) -> bool:
        """Say whether events may be missing."""
        return self._is_frozen

    @property
    def gap(self) -> int:
        """Return the number of the last gap, for `thaw`."""
        return self._gap

    def saw(self, message_id: str) -> None:
        """Record an event to handle. A second call has no effect while `value` is below it."""
        if message_id not in self._is_done:
            self._is_done[message_id] = False
            heapq.heappush(self._order, _rank(message_id))

    def done(self, message_id: str) -> None:
        """Record that an event was accepted or needs no answer."""
        self.saw(message_id)
        self._is_done[message_id] = True
        self._advance()

    def freeze(self) -> int:
        """Stop `value` because the connection broke. Return the number of this gap, for `thaw`."""
        self._is_frozen = True
        self._gap += 1
        return self._gap

    def thaw(self, gap: int) -> bool:
        """Let `value` advance again: the events missed in `gap` were seen. False, without effect, after a later gap."""
        if gap != self._gap:
            return False
        self._is_frozen = False
        self._advance()
        return True

    def _advance(self) -> None:
        while not self._is_frozen and self._order and self._is_done[self._order[0][1]]:
            _, message_id = heapq.heappop(self._order)
            del self._is_done[message_id]
            # A late event, after higher ones were done, does not lower the value.
            if self.value is None or _rank(message_id) > _rank(self.value):
                self.value = message_id


class Watermark:
    """A SeenUntil whose value is saved in the store, every two seconds if it changed, and at the end."""

    def __init__(self, store: Store, platform: str, key: str, value: str | None) -> None:
        self.seen = SeenUntil(value)
        self._store = store
        self._platform = platform
        self._key = key
        self._saved = value

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, store: Store, platform: str, key: str = "", *, pause_s: float = _SAVING_PAUSE_S
    ) -> AsyncIterator["Watermark"]:
        """Load a watermark, and save it regularly while the block runs. Raises Unavailable."""
        watermark = cls(store, platform, key, await store.get_watermark(platform, key))
        saving = keep_running(lambda: watermark._save_for_ever(pause_s), f"saving the watermark {key or platform}")
        try:
            yield watermark
        finally:
            saving.cancel()
            await asyncio.wait([saving])
            await watermark.save()

    async def save(self) -> None:
        """Save the value if it changed; if that fails, a later save tries again."""
        value = self.seen.value
        if value is None or value == self._saved:
            return
        try:
            await self._store.advance_watermark(self._platform, self._key, value)
        except Unavailable as e:
            logger.info("the watermark of %s could not be stored: %s", self._platform, e)
        else:
            self._saved = value

    async def _save_for_ever(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            await self.save()
