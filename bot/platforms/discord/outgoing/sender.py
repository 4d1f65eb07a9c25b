"""The sender of all the bot's messages on Discord: each at most once, without pings, within a deadline."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

import aiohttp
import discord
from discord.http import handle_message_parameters
from discord.webhook.async_ import async_context

from bot.errors import FewshotError, MessageGone
from bot.platforms.discord.outgoing.pace import ChannelPace
from bot.platforms.discord.outgoing.permissions import TO_ATTACH, TO_REACT, TO_REPLY, TO_SEND, TO_VIEW
from bot.platforms.discord.outgoing.rendering import Rendering
from bot.platforms.discord.outgoing.request_limit import RequestLeftOut, RequestLimit, Snapshot
from bot.platforms.discord.outgoing.retries import DEADLINE_S, MissingPermissionCallback, Retries

logger = logging.getLogger(__name__)

_TYPING_S: Final = 5.0
_MAX_NONCE: Final = 25
# Without Read Message History the bot may send a message, but not as a reply.
_MAY_NOT_REPLY: Final = 160002
_NO_REPLIES_S: Final = 600.0
_NO_PINGS: Final = discord.AllowedMentions.none()

Editable = discord.Message | discord.PartialMessage
ReplyTo = discord.Message | discord.PartialMessage | discord.MessageReference


def nonce_of(request_id: str, chunk: int) -> str:
    """Return the nonce by which Discord recognises a message that is sent again; at most 25 characters."""
    suffix = f".{chunk}"
    if len(request_id) + len(suffix) <= _MAX_NONCE:
        return request_id + suffix
    return hashlib.sha256(request_id.encode()).hexdigest()[: _MAX_NONCE - len(suffix)] + suffix


class Sender:
    """Sends, edits, deletes and reacts, with retries where they are safe.

    `pace` spaces the edits of all answers. `on_missing_permission` is called at the first 403 of each kind of request
    in a channel. Give `requests.trace()` to the client as `http_trace`, so that all requests keep to the limit, and
    their refusals are counted. Every method raises DeliveryFailed, MissingPermission, MessageGone or SendRefused.
    """

    def __init__(
        self,
        *,
        on_missing_permission: MissingPermissionCallback | None = None,
        requests: RequestLimit | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._retries = Retries(on_missing_permission=on_missing_permission, requests=requests, deadline_s=deadline_s)
        self.figures = self._retries.figures
        self.requests = self._retries.requests
        self.pace = ChannelPace()
        self._no_replies: dict[int, float] = {}

    async def send(
        self,
        channel: discord.abc.Messageable,
        rendering: Rendering,
        *,
        request_id: str,
        reply_to: ReplyTo | None = None,
        first_chunk: int = 0,
        deadline_s: float | None = None,
        on_sent: Callable[[discord.Message, int], Awaitable[None]] | None = None,
    ) -> list[discord.Message]:
        """Send the messages of `rendering` from `first_chunk` on and return them; sent twice, they appear once.

        The first one replies to `reply_to` if that still exists. `on_sent` is called for each message as soon as it is
        sent.
        """
        messages = []
        for chunk in range(first_chunk, rendering.num_messages):
            create = partial(
                self._create, channel, rendering, chunk, nonce_of(request_id, chunk), None if chunk else reply_to
            )
            message = await self._retries.run(
                create,
                place=channel,
                channel_id=_channel_id(channel),
                needs=_needs(rendering, chunk, TO_SEND),
                deadline_s=deadline_s,
            )
            self.figures.num_sent += 1
            messages.append(message)
            if on_sent:
                await on_sent(message, chunk)
        return messages

    async def _create(
        self,
        channel: discord.abc.Messageable,
        rendering: Rendering,
        chunk: int,
        nonce: str,
        reply_to: ReplyTo | None,
    ) -> discord.Message:
        """Send one message once, as a reply if that is allowed."""
        if reply_to is not None and self._may_reply(channel):
            reference = _reference_to(reply_to)
            try:
                body = create_body(rendering, chunk)
                return await channel.send(**body, nonce=nonce, reference=reference, mention_author=False)
            except discord.HTTPException as e:
                if e.code != _MAY_NOT_REPLY:
                    raise
                self._retries.count_refusal(e)
                self._no_replies[_channel_id(channel)] = asyncio.get_running_loop().time()
                await self._retries.tell_missing(_channel_id(channel), TO_REPLY)
        return await channel.send(**create_body(rendering, chunk), nonce=nonce, mention_author=False)

    async def edit(
        self, message: Editable, rendering: Rendering, *, chunk: int = 0, deadline_s: float | None = None
    ) -> discord.Message | None:
        """Replace the bot's own `message`, with its buttons and files, by part `chunk` of `rendering`.

        A message with components V2 can't become plain text again: render its card `as_layout`.
        """
        channel_id = message.channel.id
        if isinstance(message, discord.Message) and not isinstance(message, discord.InteractionMessage):
            # A partial message keeps the flags; Message.edit would bring link previews back.
            message = discord.PartialMessage(channel=cast(Any, message.channel), id=message.id)
        target = message
        edited = await self._retries.run(
            lambda: target.edit(**edit_body(rendering, chunk)),
            place=target,
            channel_id=channel_id,
            needs=_needs(rendering, chunk, TO_VIEW),
            deadline_s=deadline_s,
        )
        self.figures.num_edited += 1
        return edited

    async def drop_buttons(self, message: discord.Message) -> None:
        """Take the buttons and selects from the bot's own `message`, and change nothing else."""
        view = None
        if message.flags.components_v2:
            view = discord.ui.LayoutView.from_message(message)
            for item in list(view.children):
                if isinstance(item, discord.ui.ActionRow):
                    view.remove_item(item)
        target = discord.PartialMessage(channel=cast(Any, message.channel), id=message.id)
        await self._retries.run(
            lambda: target.edit(view=view, allowed_mentions=_NO_PINGS), place=target, channel_id=message.channel.id
        )
        self.figures.num_edited += 1

    async def answer_at_once(
        self, interaction: "discord.Interaction[Any]", rendering: Rendering, *, updates: bool, limit_s: float
    ) -> int | None:
        """Show `rendering`, which must be one message, as the first response; return the id of the message.

        With `updates` it replaces the message whose button or form was used. It is tried once, for `limit_s`: raises
        discord.HTTPException if it is refused, and aiohttp.ClientError, OSError or TimeoutError if the result is
        unknown.
        """
        for view in (rendering.view, rendering.layout):
            if view is not None:
                # Buttons are found by their custom_id; discord.py would keep an unfinished view for 15 minutes.
                view.stop()

        async def respond() -> int | None:
            response = interaction.response
            if updates:
                edited = await response.edit_message(**edit_body(rendering, 0))
                return edited.message_id if edited else None
            body = create_body(rendering, 0)
            return (await response.send_message(**body, ephemeral=rendering.is_private)).message_id

        message_id = await self._retries.run_once(respond(), limit_s, interaction)
        self.figures.num_sent += not updates
        self.figures.num_edited += updates
        return message_id

    async def respond(
        self, interaction: "discord.Interaction[Any]", rendering: Rendering, *, deadline_s: float | None = None
    ) -> discord.Message:
        """Show `rendering`, which must be one message, as the answer to a deferred interaction.

        For a click that was deferred as an update, this edits the clicked message.
        """
        # This edits the one answer, so a retry is harmless.
        message = await self._retries.run(
            lambda: interaction.edit_original_response(**edit_body(rendering, 0)),
            channel_id=interaction.channel_id or 0,
            needs=_needs(rendering, 0, TO_VIEW),
            deadline_s=deadline_s,
        )
        self.figures.num_edited += 1
        return message

    async def respond_by_token(
        self, webhook: discord.Webhook, rendering: Rendering, *, deadline_s: float | None = None
    ) -> None:
        """Show `rendering` as the answer to an interaction, given only its token (see `Webhook.partial`)."""

        async def edit() -> None:
            with handle_message_parameters(**edit_body(rendering, 0)) as parameters:
                await async_context.get().edit_original_interaction_response(
                    webhook.id,
                    webhook.token or "",
                    session=webhook.session,
                    payload=parameters.payload,
                    multipart=parameters.multipart,
                    files=parameters.files,
                )

        await self._retries.run(edit, channel_id=0, deadline_s=deadline_s)
        self.figures.num_edited += 1

    async def drop_response(self, interaction: "discord.Interaction[Any]") -> None:
        """Delete the answer to an interaction; do nothing if it is already gone."""
        try:
            await self._retries.run(interaction.delete_original_response, channel_id=interaction.channel_id or 0)
        except MessageGone:
            logger.debug("an answer to delete is already gone")

    async def follow_up(
        self, webhook: discord.Webhook, rendering: Rendering, *, is_ephemeral: bool
    ) -> discord.WebhookMessage:
        """Send another message for an interaction through `interaction.followup`.

        It has no nonce, so it is retried only if it has certainly not arrived.
        """

        async def create() -> discord.WebhookMessage:
            return await webhook.send(**create_body(rendering, 0), ephemeral=is_ephemeral, wait=True)

        message = await self._retries.run(create, channel_id=0, is_repeatable=False)
        self.figures.num_sent += 1
        return message

    async def change_follow_up(
        self, message: discord.WebhookMessage, rendering: Rendering, *, deadline_s: float | None = None
    ) -> None:
        """Show `rendering` in a message that `follow_up` sent; unlike others it may be visible to one person only."""

        async def edit() -> None:
            await message.edit(**edit_body(rendering, 0))

        await self._retries.run(edit, channel_id=0, deadline_s=deadline_s)
        self.figures.num_edited += 1

    async def drop_response_by_token(self, webhook: discord.Webhook) -> None:
        """Delete the answer to an interaction, given its token; do nothing if it is already gone."""

        async def drop() -> None:
            await async_context.get().delete_original_interaction_response(
                webhook.id, webhook.token or "", session=webhook.session
            )

        try:
            await self._retries.run(drop, channel_id=0)
        except MessageGone:
            logger.debug("an answer to delete is already gone")

    async def is_response_private(self, webhook: discord.Webhook) -> bool:
        """Say whether the answer to an interaction is visible to one person only, given its token."""

        async def read() -> bool:
            found = await async_context.get().get_original_interaction_response(
                webhook.id, webhook.token or "", session=webhook.session
            )
            return bool(found.get("flags", 0) & discord.MessageFlags.ephemeral.flag)

        return await self._retries.run(read, channel_id=0)

    async def delete(self, message: Editable) -> None:
        """Delete the bot's own message; do nothing if it is already gone."""
        try:
            await self._retries.run(message.delete, place=message, channel_id=message.channel.id)
        except MessageGone:
            logger.debug("a message to delete is already gone")

    async def react(self, message: Editable, emoji: str) -> bool:
        """Add a reaction if possible; return whether it was added."""
        if self._skips():
            return False
        try:
            await self._retries.run(
                lambda: message.add_reaction(emoji), place=message, channel_id=message.channel.id, needs=TO_REACT
            )
        except FewshotError as e:
            logger.info("could not add a reaction: %s", type(e).__name__)
            return False
        return True

    async def show_typing(self, channel: discord.abc.Messageable) -> None:
        """Show the typing indicator for ten seconds; nothing depends on it, so it never raises or retries."""
        if self._skips():
            return
        try:
            await self._retries.run_once(channel.typing().wrapped_typer(), _TYPING_S, channel)
        except RequestLeftOut:
            self.figures.num_skipped += 1
        except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as e:
            self._retries.count_refusal(e)
            logger.info("could not show the typing indicator: %s", type(e).__name__)

    async def wait_for_snapshot(self, channel_id: int) -> Snapshot:
        """Wait until a snapshot may be shown in the channel, by its own limit and by that of all requests together."""
        while True:
            await self.pace.wait_turn(channel_id)
            snapshot = await self.requests.wait_for_snapshot()
            if self.pace.take_turn(channel_id):
                return snapshot
            # Another answer in the channel was edited meanwhile.
            self.requests.give_back(snapshot)

    async def tell_missing(self, channel_id: int, needs: tuple[str, ...]) -> None:
        """Report once that a channel does not allow what requests with `needs` do."""
        await self._retries.tell_missing(channel_id, needs)

    def skips_edits(self) -> bool:
        """Say whether to leave out an edit that only shows progress."""
        return self._skips()

    def _may_reply(self, channel: discord.abc.Messageable) -> bool:
        """Say whether to try a reply: not if one was refused in this channel in the last ten minutes."""
        oldest = asyncio.get_running_loop().time() - _NO_REPLIES_S
        self._no_replies = {kept: at for kept, at in self._no_replies.items() if at > oldest}
        return _channel_id(channel) not in self._no_replies

    def _skips(self) -> bool:
        is_near = self.requests.invalid.is_near_limit
        self.figures.num_skipped += is_near
        return is_near


def _needs(rendering: Rendering, chunk: int, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    return TO_ATTACH if rendering.files and rendering.is_last(chunk) else otherwise


def _reference_to(target: ReplyTo) -> discord.MessageReference:
    """Return a reference that lets the reply be sent even if its target is gone."""
    if isinstance(target, discord.MessageReference):
        reference = target
    else:
        reference = discord.MessageReference(message_id=target.id, channel_id=target.channel.id)
    reference.fail_if_not_exists = False
    return reference


def create_body(rendering: Rendering, chunk: int) -> dict[str, Any]:
    """Return the arguments that send a new message; its file objects are for one try."""
    body: dict[str, Any] = {"allowed_mentions": _NO_PINGS}
    if rendering.layout is not None:
        body["view"] = rendering.layout
    else:
        body.update(content=rendering.content[chunk], suppress_embeds=True)
    if rendering.is_last(chunk):
        if rendering.view is not None:
            body["view"] = rendering.view
        if rendering.files:
            body["files"] = rendering.build_files()
    return body


def edit_body(rendering: Rendering, chunk: int) -> dict[str, Any]:
    """Return the arguments that edit an existing message; they replace everything in it."""
    is_last = rendering.is_last(chunk)
    return {
        # A message that becomes a layout may not keep its text.
        "content": None if rendering.layout is not None else rendering.content[chunk],
        "view": rendering.layout if rendering.layout is not None else rendering.view if is_last else None,
        "attachments": rendering.build_files() if is_last else [],
        "allowed_mentions": _NO_PINGS,
    }


def _channel_id(channel: discord.abc.Messageable) -> int:
    return int(getattr(channel, "id", 0))
