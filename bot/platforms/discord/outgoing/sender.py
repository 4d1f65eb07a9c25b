"""The one sender: all that the bot says on Discord goes through it, at most once, pinging nobody, within a deadline."""

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
from bot.platforms.discord.outgoing.rendering import Rendering
from bot.platforms.discord.outgoing.request_limit import InvalidRequests
from bot.platforms.discord.outgoing.retries import DEADLINE_S, MissingPermissionCallback, Retries

logger = logging.getLogger(__name__)

_TYPING_S: Final = 5.0
_MAX_NONCE: Final = 25
# Without Read Message History a message may be sent, but not as a reply.
_MAY_NOT_REPLY: Final = 160002
_NO_REPLIES_S: Final = 600.0
_NO_PINGS: Final = discord.AllowedMentions.none()

Editable = discord.Message | discord.PartialMessage
ReplyTo = discord.Message | discord.PartialMessage | discord.MessageReference


def nonce_of(request_id: str, chunk: int) -> str:
    """Return the nonce by which Discord knows a message that is sent again: at most 25 characters."""
    suffix = f".{chunk}"
    if len(request_id) + len(suffix) <= _MAX_NONCE:
        return request_id + suffix
    return hashlib.sha256(request_id.encode()).hexdigest()[: _MAX_NONCE - len(suffix)] + suffix


class Sender:
    """Sends, edits, deletes and reacts; tries again what may be tried again.

    `pace` spaces the edits of all streams. `on_missing_permission` is told a channel's id once, at its first 403. Give
    `invalid_requests.trace()` to the client as `http_trace`, so that the refusals of all requests are counted.
    Every method raises DeliveryFailed, MissingPermission, MessageGone or SendRefused.
    """

    def __init__(
        self,
        *,
        on_missing_permission: MissingPermissionCallback | None = None,
        invalid_requests: InvalidRequests | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._retries = Retries(
            on_missing_permission=on_missing_permission, invalid_requests=invalid_requests, deadline_s=deadline_s
        )
        self.figures = self._retries.figures
        self.invalid_requests = self._retries.invalid_requests
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
        """Send the messages of `rendering` from `first_chunk` on and return them; sent twice they appear once.

        The first one answers `reply_to`, if that is still there. `on_sent` is told of each message as soon as it is
        there.
        """
        messages = []
        for chunk in range(first_chunk, rendering.num_messages):
            create = partial(
                self._create, channel, rendering, chunk, nonce_of(request_id, chunk), None if chunk else reply_to
            )
            message = await self._retries.run(
                create, place=channel, channel_id=_channel_id(channel), deadline_s=deadline_s
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
        """Send one message once, as a reply where that may be done."""
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
        return await channel.send(**create_body(rendering, chunk), nonce=nonce, mention_author=False)

    async def edit(
        self, message: Editable, rendering: Rendering, *, chunk: int = 0, deadline_s: float | None = None
    ) -> discord.Message | None:
        """Let the bot's own `message` show part `chunk` of `rendering`; buttons and files that it has go away.

        A message that shows components V2 can't go back to plain text: render such a card `as_layout`.
        """
        channel_id = message.channel.id
        if isinstance(message, discord.Message) and not isinstance(message, discord.InteractionMessage):
            # A partial message leaves the flags as they are; Message.edit would bring previews of links back.
            message = discord.PartialMessage(channel=cast(Any, message.channel), id=message.id)
        target = message
        edited = await self._retries.run(
            lambda: target.edit(**edit_body(rendering, chunk)),
            place=target,
            channel_id=channel_id,
            deadline_s=deadline_s,
        )
        self.figures.num_edited += 1
        return edited

    async def respond(
        self, interaction: "discord.Interaction[Any]", rendering: Rendering, *, deadline_s: float | None = None
    ) -> discord.Message:
        """Show `rendering`, which must be one message, as the answer to an interaction that was deferred.

        To a click that was deferred as an update, that is the clicked message.
        """
        # An edit of the one answer there is: tried again it does no harm, so there is nothing to read back.
        message = await self._retries.run(
            lambda: interaction.edit_original_response(**edit_body(rendering, 0)),
            channel_id=interaction.channel_id or 0,
            deadline_s=deadline_s,
        )
        self.figures.num_edited += 1
        return message

    async def respond_by_token(
        self, webhook: discord.Webhook, rendering: Rendering, *, deadline_s: float | None = None
    ) -> None:
        """Show `rendering` as the answer to an interaction of which only the token is left, as in `Webhook.partial`."""

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
        """Take away the answer to an interaction; one that is gone already is as good."""
        try:
            await self._retries.run(interaction.delete_original_response, channel_id=interaction.channel_id or 0)
        except MessageGone:
            logger.debug("an answer to take away is gone already")

    async def follow_up(
        self, webhook: discord.Webhook, rendering: Rendering, *, is_ephemeral: bool
    ) -> discord.WebhookMessage:
        """Send a further message for an interaction: `interaction.followup`.

        There is no nonce for it, so it is tried again only where it has certainly not arrived.
        """

        async def create() -> discord.WebhookMessage:
            return await webhook.send(**create_body(rendering, 0), ephemeral=is_ephemeral, wait=True)

        message = await self._retries.run(create, channel_id=0, is_repeatable=False)
        self.figures.num_sent += 1
        return message

    async def delete(self, message: Editable) -> None:
        """Delete the bot's own message; one that is gone already is as good."""
        try:
            await self._retries.run(message.delete, place=message, channel_id=message.channel.id)
        except MessageGone:
            logger.debug("a message to delete is gone already")

    async def react(self, message: Editable, emoji: str) -> bool:
        """Add a reaction where that may be done; return whether it was."""
        if self._skips():
            return False
        try:
            await self._retries.run(lambda: message.add_reaction(emoji), place=message, channel_id=message.channel.id)
        except FewshotError as e:
            logger.info("no reaction: %s", type(e).__name__)
            return False
        return True

    async def show_typing(self, channel: discord.abc.Messageable) -> None:
        """Show for ten seconds that the bot is writing; nothing depends on it, so nothing is raised or tried again."""
        if self._skips():
            return
        try:
            await self._retries.run_once(channel.typing().wrapped_typer(), _TYPING_S, channel)
        except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as e:
            self._retries.count_refusal(e)
            logger.info("the typing indicator can't be shown: %s", type(e).__name__)

    def skips_edits(self) -> bool:
        """Say whether an edit that only shows progress is to be left out for now."""
        return self._skips()

    def _may_reply(self, channel: discord.abc.Messageable) -> bool:
        """Say whether a reply is worth a try: not where one was refused a moment ago."""
        oldest = asyncio.get_running_loop().time() - _NO_REPLIES_S
        self._no_replies = {kept: at for kept, at in self._no_replies.items() if at > oldest}
        return _channel_id(channel) not in self._no_replies

    def _skips(self) -> bool:
        is_near = self.invalid_requests.is_near_limit
        self.figures.num_skipped += is_near
        return is_near


def _reference_to(target: ReplyTo) -> discord.MessageReference:
    """Return a reply that is sent even where the message replied to is gone."""
    if isinstance(target, discord.MessageReference):
        reference = target
    else:
        reference = discord.MessageReference(message_id=target.id, channel_id=target.channel.id)
    reference.fail_if_not_exists = False
    return reference


def create_body(rendering: Rendering, chunk: int) -> dict[str, Any]:
    """Return what a new message is made of; the files are fresh, for one try."""
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
    """Return what an existing message becomes: nothing that it had before stays."""
    is_last = rendering.is_last(chunk)
    return {
        # A message that becomes a layout must lose its text.
        "content": None if rendering.layout is not None else rendering.content[chunk],
        "view": rendering.layout if rendering.layout is not None else rendering.view if is_last else None,
        "attachments": rendering.build_files() if is_last else [],
        "allowed_mentions": _NO_PINGS,
    }


def _channel_id(channel: discord.abc.Messageable) -> int:
    return int(getattr(channel, "id", 0))
