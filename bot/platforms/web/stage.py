"""What the windows show: messages as they come and change, and what only one person sees."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from bot.background import keep_running
from bot.core.messages import Scope
from bot.platforms.web.windows import Window, Windows
from bot.platforms.web.wire import Json, message_json, person_json, servers_json
from bot.services.hosted_messages import Clock, HostedMessage, HostedMessages
from bot.services.hosted_places import HostedPerson, Places, direct_channel_of

_LOOK_S: Final = 0.25
# The keys of private cards by the card whose buttons they carry.
_MAX_PRIVATE: Final = 2_000


class Stage:
    """Keeps messages and tells every window that shows their channel. Whatever is kept may raise Unavailable."""

    def __init__(
        self, messages: HostedMessages, places: Places, windows: Windows, clock: Clock, *, bot_name: str
    ) -> None:
        self.messages = messages
        self.places = places
        self.windows = windows
        self.clock = clock
        self._bot_name = bot_name
        self._private: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._looking: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Watch for messages that are erased by a command, by their age or with their channel."""
        self._looking = keep_running(self._look, "telling the page what was erased")

    async def close(self) -> None:
        """End the watching, and every window."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for window in self.windows:
            window.close()

    # ---- messages

    async def add(self, message: HostedMessage, *, nonce: str | None = None, is_kept: bool = True) -> HostedMessage:
        """Show a message to all, kept unless its author asked not to be read; return it as it is kept."""
        if is_kept:
            message = await self.messages.add(message, nonce=nonce)
        self.show(message, nonce=nonce or "")
        if message.scope.thread and is_kept:
            await self._show_root(message.scope)
        return message

    async def change(
        self,
        message: HostedMessage,
        *,
        text: str | None = None,
        card: Mapping[str, Any] | None = None,
        loses_file: bool = False,
        is_kept: bool = True,
    ) -> HostedMessage | None:
        """Show a message with a new text or card; return it, or None if it is gone. Unkept it is shown all the same."""
        changed = replace(
            message,
            text=message.text if text is None else text,
            card=message.card if card is None else card,
            is_edited=message.is_edited or text is not None,
            file_name="" if loses_file else message.file_name,
            revision=self.clock.next(),
        )
        if is_kept and not await self.messages.change(
            message.id, changed.revision, text=text, card=card, loses_file=loses_file
        ):
            return None
        self.show(changed)
        return changed

    def show(self, message: HostedMessage, *, nonce: str = "") -> None:
        """Show a message as it is now to all windows with its channel; a new one with what it was said with."""
        frame = {"op": "message", "message": message_json(message, self.places.people, self._bot_name), "nonce": nonce}
        self.windows.broadcast(frame, where=lambda window: message.scope in window.scopes)

    def json_of(self, message: HostedMessage) -> Json:
        """Return a message as the page draws it."""
        return message_json(message, self.places.people, self._bot_name)

    async def remove(self, message_id: int) -> None:
        """Erase a message and the answers to it, and take them from all windows."""
        await self.messages.remove(message_id)
        self._tell_erased()

    async def _show_root(self, scope: Scope) -> None:
        """Show the message that a thread hangs on: it says how many replies there are."""
        root = await self.messages.get(int(scope.thread)) if scope.thread.isdecimal() else None
        if root is not None:
            self.show(replace(root, revision=max(root.revision, self.clock.next())))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self._tell_erased()

    def _tell_erased(self) -> None:
        for message_id in self.messages.take_erased():
            self.windows.broadcast({"op": "removed", "id": str(message_id)})

    # ---- what one person sees

    def show_private(self, scope: Scope, person_id: str, window: Window | None, key: str, card: Json) -> bool:
        """Show a card in the window of a person that asked, else in all of theirs; return whether there was one."""
        if card["card_id"]:
            self._private[(person_id, card["card_id"])] = key
            while len(self._private) > _MAX_PRIVATE:
                self._private.popitem(last=False)
        frame = {"op": "private", "channel": scope.channel, "thread": scope.thread, "key": key, "card": card}
        return self._send(person_id, window, frame)

    def key_of(self, person_id: str, card_id: str) -> str:
        """Return the key of the private card with these buttons, "" if it is not known any more."""
        return self._private.get((person_id, card_id), "")

    def show_form(self, scope: Scope, person_id: str, window: Window | None, cause: str, form: Json) -> bool:
        """Open a form in the window of a person that asked; return whether it is there."""
        frame = {"op": "form", "channel": scope.channel, "thread": scope.thread, "cause": cause, "form": form}
        return self._send(person_id, window, frame)

    def show_typing(self, scope: Scope) -> None:
        """Show that the bot is writing; it ends with the next message."""
        frame = {"op": "typing", "channel": scope.channel, "thread": scope.thread, "is_typing": True}
        self.windows.broadcast(frame, where=lambda window: scope in window.scopes)

    def _send(self, person_id: str, window: Window | None, frame: Json) -> bool:
        if window is not None and window in self.windows:
            window.put(frame)
            return True
        theirs = [one for one in self.windows if one.person.id == person_id]
        for one in theirs:
            one.put(frame)
        return bool(theirs)

    # ---- places and people

    def tell_places(self) -> None:
        """Show all windows which servers and channels there are now."""
        for window in self.windows:
            window.put({"op": "places", "servers": self.servers_for(window.person)})

    def tell_people(self) -> None:
        """Show all windows which people there are now."""
        self.windows.broadcast({"op": "people", "people": [person_json(one) for one in self.places.people.values()]})

    def tell_writings(self, person_id: str) -> None:
        """Let a person's windows look again which texts of theirs there are: all may be erased."""
        self.windows.broadcast({"op": "writings"}, where=lambda window: window.person.id == person_id)

    def servers_for(self, person: HostedPerson) -> list[Json]:
        """Return the places that a person sees."""
        return servers_json(self.places.servers, direct_channel_of(person), self._bot_name)
