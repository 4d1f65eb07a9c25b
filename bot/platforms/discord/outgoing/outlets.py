"""Outlets on Discord: replies in a channel, and the answer to an interaction after a restart."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

import discord

from bot.core.cards import Card
from bot.errors import MessageGone, MissingPermission
from bot.platforms.discord.outgoing.rendering import Rendering, prepare, render
from bot.platforms.discord.outgoing.sender import Sender
from bot.platforms.discord.traits import DISCORD
from bot.platforms.shared.refusals import MARK
from bot.platforms.shared.streaming import Outlet

# A snapshot is soon replaced by the next one, so it is tried only for this long.
SNAPSHOT_DEADLINE_S: Final = 8.0


class DiscordOutlet(Outlet):
    """A place on Discord: renders cards to match the kind of message that it already shows.

    `is_layout` says that it shows components V2, which can never become plain text again. `is_one_message` says that a
    second message can't be sent safely.
    """

    traits = DISCORD
    is_layout: bool = False
    is_one_message: bool = True
    _shown: Rendering | None = None

    @abstractmethod
    async def show(self, rendering: Rendering, *, is_final: bool) -> None:
        """Replace what is shown by `rendering`. Raises what the sender raises."""

    async def show_snapshot(self, card: Card, *, stop_id: str | None) -> None:
        """Show an unfinished answer, unless it looks the same as what is shown."""
        rendering = self._render(card, stop_id=stop_id)
        if not rendering.looks_like(self._shown):
            await self._show(rendering, is_final=False)

    async def show_whole(self, card: Card) -> None:
        """Show the finished answer; without its files if the bot may not attach files."""
        rendering = self._render(card, pictures=await prepare(card))
        try:
            await self._show(rendering, is_final=True)
        except MissingPermission:
            if not rendering.files:
                raise
            # The likeliest cause: the bot may not attach files there.
            await self._show(self._render(card, allows_files=False), is_final=True)

    def _render(
        self, card: Card, *, pictures: Sequence[bytes] = (), stop_id: str | None = None, allows_files: bool = True
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
        self._sender = sender
        self._channel = channel
        self._channel_id = int(getattr(channel, "id", 0))
        self._request_id = request_id
        self._reply_to = reply_to
        self._messages = list(sent)
        self._is_gone = False
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
        deadline_s = None if is_final else SNAPSHOT_DEADLINE_S
        if is_final and self._messages:
            await self._sender.pace.wait_room(self._channel_id)
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

    async def mark_refused(self) -> bool:
        """Add a reaction to the refused message, unless its answer is already visible."""
        if self._messages or not isinstance(self._reply_to, discord.Message | discord.PartialMessage):
            return False
        return await self._sender.react(self._reply_to, MARK)

    async def show_typing(self) -> None:
        """Show the typing indicator."""
        await self._sender.show_typing(self._channel)

    async def wait_turn(self) -> None:
        """Wait until messages of the channel may be edited again."""
        await self._sender.pace.wait_turn(self._channel_id)

    async def remove(self) -> None:
        """Delete what was sent."""
        for message in self._messages:
            await self._sender.delete(message)
        self._messages.clear()
        self._is_gone = True


class TokenOutlet(DiscordOutlet):
    """The answer to an interaction of an earlier run, by its token, which is valid for 15 minutes."""

    # It is unknown what is shown: a layout can replace both a layout and a text.
    is_layout = True

    def __init__(self, sender: Sender, client: discord.Client, token: str) -> None:
        if client.application_id is None:
            raise ValueError("the client is not logged in")
        self._sender = sender
        self._webhook = discord.Webhook.partial(client.application_id, token, client=client)

    async def show(self, rendering: Rendering, *, is_final: bool) -> None:
        """Show `rendering` as the one answer to the interaction."""
        await self._sender.respond_by_token(
            self._webhook, rendering, deadline_s=None if is_final else SNAPSHOT_DEADLINE_S
        )

    async def wait_turn(self) -> None:
        """Wait until the answer may be edited again."""
        await self._sender.pace.wait_turn(self._webhook.id)

    async def remove(self) -> None:
        """Do nothing: the answer expires with its token."""
