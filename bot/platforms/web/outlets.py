"""The place of one answer on the page: a message for all, a card for the person who asked, or a form."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from bot.core.cards import Card, Form
from bot.core.messages import Scope
from bot.errors import MessageGone, RequestError
from bot.platforms.shared.streaming import Outlet
from bot.platforms.web.stage import Stage
from bot.platforms.web.traits import WEB
from bot.platforms.web.windows import Window
from bot.platforms.web.wire import Json, card_json, form_json
from bot.services.hosted_messages import HostedMessage

# More often than that nobody sees the difference.
_BETWEEN_SNAPSHOTS_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Asked:
    """What is answered: its id, where, who asked, and the window that they asked in, if it may still be there.

    `is_kept` is False for people who asked not to be read. `clicked_key` is that of the private card that was clicked.
    """

    id: str
    scope: Scope
    person_id: str
    window: Window | None = None
    is_kept: bool = True
    clicked_key: str = ""


class WebOutlet(Outlet):
    """Shows an answer; `shown` is the message that shows it already, or the clicked one, which it then replaces."""

    traits = WEB
    shows_waiting = True

    def __init__(
        self, stage: Stage, asked: Asked, *, shown: HostedMessage | None = None, is_click: bool = False
    ) -> None:
        self._stage = stage
        self._asked = asked
        self._shown = shown
        self._is_click = is_click
        self._shown_at_s = 0.0
        self._last: Json | None = None

    @property
    def sent_ids(self) -> tuple[str, ...]:
        """Return the id of the message; a clicked one belongs to an earlier request."""
        return () if self._shown is None or self._is_click else (str(self._shown.id),)

    async def wait_turn(self) -> None:
        """Wait until the last snapshot was there for a moment."""
        await asyncio.sleep(max(0.0, self._shown_at_s + _BETWEEN_SNAPSHOTS_S - time.monotonic()))

    async def show_typing(self) -> None:
        """Show that the bot is writing."""
        if not self._is_click:
            self._stage.show_typing(self._asked.scope)

    async def show_snapshot(self, card: Card, *, stop_id: str | None) -> None:
        """Show an unfinished answer."""
        self._shown_at_s = time.monotonic()
        json = card_json(card, stop_id=stop_id)
        if json == self._last:
            return
        self._last = json
        if card.answers == "private" or self._asked.clicked_key:
            self._show_private(json, replaces=card.answers == "public")
        else:
            # What is written meanwhile is on the disk once, when it is whole: a restart writes it again.
            await self._show(json, is_kept=self._shown is None)

    async def show_whole(self, card: Card) -> None:
        """Show the finished answer: in place of what was clicked, to everybody, or to the asker only."""
        json = card_json(card)
        if card.withdraws_all:
            self._stage.tell_writings(self._asked.person_id)
        if card.answers == "private" or self._asked.clicked_key:
            self._show_private(json, replaces=card.answers == "public" and card.error is None)
            if self._shown is not None and not self._is_click:  # words that everyone saw became a refusal
                await self._stage.remove(self._shown.id)
                self._shown = None
        else:
            await self._show(json, is_kept=True)

    async def keep_shown(self) -> bool:
        """Take the Stop button from what an earlier run showed."""
        if self._shown is None or self._shown.card is None or self._is_click:
            return False
        await self._show({**self._shown.card, "is_final": True, "stop_id": None}, is_kept=True)
        return True

    async def remove(self) -> None:
        """Remove the answer; a clicked message stays."""
        if self._shown is not None and not self._is_click:
            await self._stage.remove(self._shown.id)

    async def open_form(self, form: Form) -> None:
        """Open a form in the window. Raises RequestError if that is closed."""
        asked = self._asked
        if not self._stage.show_form(asked.scope, asked.person_id, asked.window, asked.clicked_key, form_json(form)):
            raise RequestError("The window was closed before the form could open. Try again.")

    async def _show(self, json: Json, *, is_kept: bool) -> None:
        stage, asked = self._stage, self._asked
        is_kept = is_kept and asked.is_kept
        if self._shown is None:
            number = stage.clock.next()
            message = HostedMessage(
                number, asked.scope, "", asked=int(asked.id), asker_id=asked.person_id, card=json, revision=number
            )
            self._shown = await stage.add(message, is_kept=is_kept)
            return
        changed = await stage.change(self._shown, card=json, is_kept=is_kept)
        if changed is None:
            raise MessageGone("The message is no longer there.")
        self._shown = changed

    def _show_private(self, json: Json, *, replaces: bool) -> None:
        asked = self._asked
        key = asked.clicked_key if replaces and asked.clicked_key else asked.id
        self._stage.show_private(asked.scope, asked.person_id, asked.window, key, json)
