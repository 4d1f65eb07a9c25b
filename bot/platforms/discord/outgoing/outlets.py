"""Outlets on Discord: replies in a channel, and the answer to an interaction after a restart."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import discord

from bot.core.cards import Card
from bot.errors import MessageGone, MissingPermission
from bot.pictures.picture import Picture
from bot.platforms.discord.outgoing.permissions import TO_ATTACH, missing_in
from bot.platforms.discord.outgoing.rendering import Rendering, prepare, render
from bot.platforms.discord.outgoing.request_limit import Snapshot, showing
from bot.platforms.discord.outgoing.sender import Sender
from bot.platforms.discord.traits import DISCORD
from bot.platforms.shared.refusals import MARK
from bot.platforms.shared.streaming import Outlet

# A snapshot is soon replaced by the next one, so it is tried only for this long.
SNAPSHOT_DEADLINE_S: Final = 8.0


class DiscordOutlet(Outlet):
    """A place on Discord: renders cards to match the kind of message that it already shows.

    `pace_id` is the id of the channel whose edits are limited together. `is_layout` says that it shows components V2,
    which can never become plain text again. `is_one_message` says that a second message can't be sent safely.
    """

    traits = DISCORD
    is_layout: bool = False
    is_one_message: bool = True
    pace_id: int = 0
    _shown: Rendering | None = None
    # The snapshot whose turn it is.
    _snapshot: Snapshot | None = None

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    @property
    def has_snapshot_left(self) -> bool:
        """Say whether the snapshot is on its way to Discord."""
        return self._snapshot is not None and self._snapshot.has_left

    async def wait_turn(self) -> None:
        """Wait until the answer may be edited again."""
        self._snapshot = None
        self._snapshot = await self._sender.wait_for_snapshot(self.pace_id)

    @abstractmethod
    async def show(self, rendering: Rendering, *, is_final: bool) -> None:
        """Replace what is shown by `rendering`. Raises what the sender raises."""

    async def show_snapshot(self, card: Card, *, stop_id: str | None) -> None:
        """Show an unfinished answer, unless it looks the same as what is shown."""
        rendering = self._render(card, stop_id=stop_id)
        self._snapshot = self._snapshot or Snapshot()
        if rendering.looks_like(self._shown):
            self._sender.requests.give_back(self._snapshot)
            return
        with showing(self._snapshot):
            await self._show(rendering, is_final=False)

    async def show_whole(self, card: Card) -> None:
        """Show the finished answer; without its files if the bot may not attach files."""
        self._snapshot = None
        rendering = self._render(card, pictures=await prepare(card))
        if rendering.files and not await self.may_attach():
            rendering = self._render(card, allows_files=False)
        try:
            await self._show(rendering, is_final=True)
        except MissingPermission:
            if not rendering.files:
                raise
            # The likeliest cause: the bot may not attach files there.
            await self._show(self._render(card, allows_files=False), is_final=True)

    async def may_attach(self) -> bool:
        """Say whether files are allowed, as far as that is known."""
        return True

    def _render(
        self, card: Card, *, pictures: Sequence[Picture] = (), stop_id: str | None = None, allows_files: bool = True
    ) -> Rendering:
        return render(
            card,
            pictures=pictures,
            stop_id=stop_id,
            as_layout=self.is_layout,
            is_one_message=self.is_one_message,
            allows_files=allows_files,
        )

    async def _show(self, rendering: Rendering, *, is_final: bool) -> None:
        # After a failure it is unknown what is shown.
        self._shown = None
        await self.show(rendering, is_final=is_final)
        self._shown = rendering


class ChannelOutlet(DiscordOutlet):
    """The bot's reply to a message: one to three messages in its channel.

    `request_id` ensures that none is sent twice. `sent` are the messages that an earlier run sent.
    """

    is_one_message = False
    shows_waiting = True

    def __init__(
        self,
        sender: Sender,
        channel: discord.abc.Messageable,
        *,
        request_id: str,
        reply_to: "discord.Message | discord.PartialMessage | discord.MessageReference | None" = None,
        sent: Sequence[discord.Message] = (),
    ) -> None:
        super().__init__(sender)
        self._channel = channel
        self.pace_id = int(getattr(channel, "id", 0))
        self._request_id = request_id
        self._reply_to = reply_to
        self._messages = list(sent)
        self._is_gone = False
        self._is_from_before = bool(sent)
        # After a try with an unknown result, sending may return the message of that try, which shows older text.
        self._is_unsure = False
        self.is_layout = bool(sent) and sent[0].flags.components_v2

    @property
    def sent_ids(self) -> tuple[str, ...]:
        """Return the ids of the messages sent, in order."""
        return tuple(str(message.id) for message in self._messages)

    async def show(self, rendering: Rendering, *, is_final: bool) -> None:
        """Send `rendering`, or edit what was sent. Raises MessageGone if somebody deleted it."""
        if self._is_gone:
            raise MessageGone("The answer was deleted.")
        if not is_final and self._messages and self._sender.skips_edits():
            return
        self._is_from_before = False
        deadline_s = None if is_final else SNAPSHOT_DEADLINE_S
        if is_final and self._messages:
            await self._sender.pace.wait_room(self.pace_id)
        num_old = len(self._messages)
        for chunk in range(min(num_old, rendering.num_messages)):
            try:
                await self._sender.edit(self._messages[chunk], rendering, chunk=chunk, deadline_s=deadline_s)
            except MessageGone:
                self._is_gone = True
                raise
        self.is_layout = self.is_layout or (num_old > 0 and rendering.layout is not None)
        if num_old < rendering.num_messages:
            await self._send(rendering, num_old, deadline_s)
        for message in self._messages[rendering.num_messages :]:
            await self._sender.delete(message)
        del self._messages[rendering.num_messages :]

    async def _send(self, rendering: Rendering, first_chunk: int, deadline_s: float | None) -> None:
        async def note(message: discord.Message, chunk: int) -> None:
            self._messages.append(message)
            self.is_layout = self.is_layout or message.flags.components_v2
            if was_unsure:
                await self._sender.edit(message, rendering, chunk=chunk)

        was_unsure, self._is_unsure = self._is_unsure, True
        try:
            await self._sender.send(
                self._channel,
                rendering,
                request_id=self._request_id,
                reply_to=self._reply_to,
                first_chunk=first_chunk,
                deadline_s=deadline_s,
                on_sent=note,
            )
            self._is_unsure = False
        finally:
            if self._snapshot is not None and not self._snapshot.has_left:
                self._is_unsure = was_unsure

    async def may_attach(self) -> bool:
        """Say whether files are allowed in the channel, as far as that is known; if not, report that."""
        if not missing_in(self._channel, TO_ATTACH):
            return True
        await self._sender.tell_missing(self.pace_id, TO_ATTACH)
        return False

    async def keep_shown(self) -> bool:
        """Take the buttons from the messages that an earlier run sent; return False if this run has changed them."""
        if not self._is_from_before:
            return False
        for message in self._messages:
            await self._sender.drop_buttons(message)
        return True

    async def mark_refused(self) -> bool:
        """Add a reaction to the refused message, unless its answer is already visible."""
        if self._messages or not isinstance(self._reply_to, discord.Message | discord.PartialMessage):
            return False
        return await self._sender.react(self._reply_to, MARK)

    async def show_typing(self) -> None:
        """Show the typing indicator."""
        await self._sender.show_typing(self._channel)

    async def remove(self) -> None:
        """Delete what was sent."""
        for message in self._messages:
            await self._sender.delete(message)
        self._messages.clear()
        self._is_gone = True


class TokenOutlet(DiscordOutlet):
    """The answer to an interaction of an earlier run, by its token, which is valid for 15 minutes.

    What is private is never shown in an answer that others see, but in a message of its own to the asker; with
    `is_apart` everything is, since the answer to a click may be the clicked card itself.
    """

    # It is unknown what is shown: a layout can replace both a layout and a text.
    is_layout = True

    def __init__(self, sender: Sender, client: discord.Client, token: str, *, is_apart: bool = False) -> None:
        if client.application_id is None:
            raise ValueError("the client is not logged in")
        super().__init__(sender)
        # As discord.py makes it for an interaction: only an application's own webhook sends private messages.
        data: Any = {"id": client.application_id, "type": discord.WebhookType.application.value, "token": token}
        self._webhook = discord.Webhook.from_state(data, state=client._connection)
        self.pace_id = self._webhook.id
        self._is_apart = is_apart
        self._extra: discord.WebhookMessage | None = None

    async def show(self, rendering: Rendering, *, is_final: bool) -> None:
        """Show `rendering` as the one answer to the interaction, or to the asker alone."""
        deadline_s = None if is_final else SNAPSHOT_DEADLINE_S
        if not self._is_apart and rendering.is_private:
            self._is_apart = not await self._sender.is_response_private(self._webhook)
            if self._is_apart:
                # Discord would show the next message in place of one that is still "thinking", to all.
                await self._sender.drop_response_by_token(self._webhook)
        if not self._is_apart:
            await self._sender.respond_by_token(self._webhook, rendering, deadline_s=deadline_s)
        elif self._extra is None:
            self._extra = await self._sender.follow_up(self._webhook, rendering, is_ephemeral=True)
        else:
            await self._sender.change_follow_up(self._extra, rendering, deadline_s=deadline_s)

    async def remove(self) -> None:
        """Do nothing: the answer expires with its token."""
