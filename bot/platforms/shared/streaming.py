"""Streaming of an answer: the newest snapshot from time to time while it is written, then the whole answer."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from bot.background import run_in_background
from bot.core.cards import Card, Form, Text, error_card
from bot.core.platform_traits import PlatformTraits
from bot.errors import DeliveryFailed, MessageGone, MissingPermission, RequestError, SendRefused

logger = logging.getLogger(__name__)

WAITING: Final = Card(blocks=(Text("Thinking …", is_quiet=True),), is_final=False)


class Outlet(ABC):
    """The place where one answer is shown, from its first snapshot to its end.

    It renders cards within the platform's limits: text that does not fit becomes a file; if a file may not be sent, the
    answer says that it is missing. `shows_waiting` asks for a line while there is nothing to show yet. Both ways to
    show raise DeliveryFailed, MissingPermission, MessageGone or SendRefused.
    """

    traits: PlatformTraits
    shows_waiting: bool = False

    @property
    def has_snapshot_left(self) -> bool:
        """Say whether a snapshot that is being shown may have reached the platform; if not, the end replaces it."""
        return True

    @property
    def sent_ids(self) -> tuple[str, ...]:
        """Return the ids of the messages that everyone can see, in order."""
        return ()

    @abstractmethod
    async def show_snapshot(self, card: Card, *, stop_id: str | None) -> None:
        """Replace what is shown by an unfinished answer, with a Stop button for `stop_id`.

        Try only for a short time, and skip a snapshot that looks the same as what is shown.
        """

    @abstractmethod
    async def show_whole(self, card: Card) -> None:
        """Replace what is shown by the finished answer."""

    async def keep_shown(self) -> bool:
        """Take the Stop button from what an earlier run showed; return False if nothing of it is visible any more."""
        return False

    @abstractmethod
    async def remove(self) -> None:
        """Remove everything that is shown."""

    async def open_form(self, form: Form) -> None:
        """Open a form instead. Raises RequestError if that is not possible here."""
        hint = " Use the slash command." if self.traits.slash_prefix else ""
        raise RequestError(f"A form can't be opened here.{hint}")

    async def mark_refused(self) -> bool:
        """Show without text that the request was refused; return whether that was possible."""
        return False

    async def show_typing(self) -> None:  # noqa: B027 - most places need none
        """Show the typing indicator for about ten seconds; never raises."""

    async def wait_turn(self) -> None:  # noqa: B027
        """Wait until the rate limit allows another edit."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Delays in seconds. An answer that is ready before `visible_after_s` is shown once, as a whole."""

    typing_after_s: float = 0.25
    typing_every_s: float = 8.0
    visible_after_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The result of a delivery: the last card, the messages that show it, and whether it is shown."""

    card: Card | None
    sent_ids: tuple[str, ...] = ()
    is_shown: bool = False


OnSent = Callable[[str, int], Awaitable[None]]
OnShown = Callable[[], None]
MayShow = Callable[[], bool]


async def deliver(
    cards: AsyncIterator[Card],
    outlet: Outlet,
    *,
    stop_id: str | None = None,
    on_sent: OnSent | None = None,
    on_shown: OnShown | None = None,
    may_show: MayShow = lambda: True,
    timings: Timings | None = None,
) -> Delivered:
    """Show the snapshots in `outlet`, the last one in any case; return the result.

    `stop_id` is the id behind the Stop button. `on_sent` is called with the id and position of each message as soon as
    it is sent; `on_shown` once, as soon as the answer is shown without one: to the asker only, in place of the clicked
    card, or as a form. `may_show` is asked before anything is shown. Raises DeliveryFailed if the platform can't be
    reached or `may_show` says no, and whatever `cards` raises.
    """
    stream = _Stream(outlet, stop_id, on_sent, on_shown, may_show, timings or Timings())
    last: Card | None = None
    try:
        stream.start()
        async for card in cards:
            last = card
            if not card.is_final:
                stream.offer(card)
        await stream.pause()
        is_shown = await stream.show_last(last) if last is not None else False
    finally:
        await stream.end()
        close = getattr(cards, "aclose", None)
        if close is not None:
            await close()
    return Delivered(last, outlet.sent_ids, is_shown)


class _Stream:
    """One answer that is being shown: one task edits, one shows the typing indicator; both end with it."""

    def __init__(
        self,
        outlet: Outlet,
        stop_id: str | None,
        on_sent: OnSent | None,
        on_shown: OnShown | None,
        may_show: MayShow,
        timings: Timings,
    ) -> None:
        self._outlet = outlet
        self._stop_id = stop_id
        self._on_sent = on_sent
        self._on_shown = on_shown
        self._may_show = may_show
        self._timings = timings
        self._newest: Card | None = None
        self._has_news = asyncio.Event()
        # Held while something is being shown, so that the platform gets the snapshots in order.
        self._showing = asyncio.Lock()
        self._noted: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            run_in_background(self._edit(), "showing an answer while it is written"),
            run_in_background(self._type(), "showing that an answer is being written"),
        ]

    def offer(self, card: Card) -> None:
        """Replace the snapshot that is shown next."""
        self._newest = card
        self._has_news.set()

    async def pause(self) -> None:
        """Show no more snapshots; return when none is being sent. One that has not left is dropped."""
        if not self._outlet.has_snapshot_left:
            for task in self._tasks:
                task.cancel()
        async with self._showing:
            for task in self._tasks:
                task.cancel()

    async def show_last(self, card: Card) -> bool:
        """Show the whole answer; return whether it is visible."""
        if card.form is not None:
            try:
                await self._show(self._outlet.open_form(card.form))
                return True
            except RequestError as e:
                card = error_card(str(e))
            except MessageGone:
                return False
        try:
            try:
                if not card.keeps_shown or not self._may_show() or not await self._outlet.keep_shown():
                    await self._show(self._outlet.show_whole(card))
            except SendRefused as e:
                logger.error("an answer could not be shown: %s", e)
                refused = error_card(f"{self._outlet.traits.name} refused the answer. Ask again in other words.")
                await self._show(self._outlet.show_whole(refused))
        except (MissingPermission, MessageGone, SendRefused) as e:
            logger.info("an answer could not be shown: %s", type(e).__name__)
            return False
        return True

    async def end(self) -> None:
        """End both tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _edit(self) -> None:
        await asyncio.sleep(self._timings.visible_after_s)
        # What is visible from before a restart says more.
        if self._newest is None and self._outlet.shows_waiting and not self._outlet.sent_ids:
            self.offer(WAITING)
        while True:
            await self._has_news.wait()
            await self._outlet.wait_turn()
            async with self._showing:
                self._has_news.clear()
                if not await self._show_snapshot():
                    return

    async def _show_snapshot(self) -> bool:
        """Show the newest snapshot; return whether to show further ones."""
        if self._newest is None:
            return True
        try:
            await self._show(self._outlet.show_snapshot(self._newest, stop_id=self._stop_id))
        except DeliveryFailed as e:
            # The next snapshot or the whole answer replaces it.
            logger.info("a snapshot was not shown: %s", type(e).__name__)
        except (MissingPermission, MessageGone, SendRefused) as e:
            logger.info("no more snapshots are shown: %s", type(e).__name__)
            return False
        return True

    async def _show(self, showing: Coroutine[Any, Any, None]) -> None:
        if not self._may_show():
            showing.close()
            raise DeliveryFailed("Another program may answer this by now.")
        try:
            await showing
        finally:
            await self._note_sent()
        if self._on_shown and not self._noted:
            self._on_shown()
            self._on_shown = None

    async def _note_sent(self) -> None:
        for place, message_id in enumerate(self._outlet.sent_ids):
            if message_id not in self._noted:
                self._noted.append(message_id)
                if self._on_sent:
                    await self._on_sent(message_id, place)

    async def _type(self) -> None:
        await asyncio.sleep(self._timings.typing_after_s)
        while not self._outlet.sent_ids:
            await self._outlet.show_typing()
            await asyncio.sleep(self._timings.typing_every_s)
