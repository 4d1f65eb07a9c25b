"""The one sender: all that the bot says on Discord goes through it, at most once, pinging nobody, within a deadline."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import aiohttp
import discord
from discord.http import handle_message_parameters
from discord.webhook.async_ import async_context

from bot.errors import DeliveryFailed, FewshotError, MessageGone, MissingPermission, SendRefused
from bot.platforms.discord.outgoing.bodies import ReplyTo, create_body, edit_body, reference_to
from bot.platforms.discord.outgoing.pace import ChannelPace
from bot.platforms.discord.outgoing.rendering import Rendering
from bot.platforms.discord.outgoing.request_limit import InvalidAnswers

logger = logging.getLogger(__name__)

T = TypeVar("T")

DEADLINE_S: Final = 30.0
# One try: with a nonce it is safe to begin anew rather than wait for a server that went silent.
_TRY_S: Final = 15.0
_TYPING_S: Final = 5.0
_MAX_NONCE: Final = 25
_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 8.0
_MIN_WAIT_S: Final = 0.05
_GATE_S: Final = 1.0
_MAX_TOLD: Final = 1000

MissingPermissionCallback = Callable[[int], Awaitable[None]]
Editable = discord.Message | discord.PartialMessage


@dataclass(slots=True)
class SenderFigures:
    """What the sender did since the start; `num_skipped` counts things left out because of too many refusals."""

    num_sent: int = 0
    num_edited: int = 0
    num_retried: int = 0
    num_failed: int = 0
    num_skipped: int = 0


def nonce_of(request_id: str, suffix: str) -> str:
    """Return the nonce by which Discord knows a message that is sent again: at most 25 characters."""
    nonce = f"{request_id}.{suffix}"
    if len(nonce) <= _MAX_NONCE:
        return nonce
    return hashlib.sha256(request_id.encode()).hexdigest()[: _MAX_NONCE - 1 - len(suffix)] + f".{suffix}"


class Sender:
    """Sends, edits, deletes and reacts; tries again what may be tried again.

    `pace` spaces the edits of all streams. `on_missing_permission` is told a channel's id once, at its first 403. Give
    `invalid_answers.trace()` to the client as `http_trace`, so that the refusals of all requests are counted.
    Every method raises DeliveryFailed, MissingPermission, MessageGone or SendRefused.
    """

    def __init__(
        self,
        *,
        on_missing_permission: MissingPermissionCallback | None = None,
        invalid_answers: InvalidAnswers | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.invalid_answers = invalid_answers or InvalidAnswers()
        self.figures = SenderFigures()
        self.pace = ChannelPace()
        self._counts_itself = invalid_answers is None
        self._on_missing_permission = on_missing_permission
        self._deadline_s = deadline_s
        self._told: dict[int, None] = {}
        self._no_replies: dict[int, float] = {}
        self._left: set[asyncio.Task[Any]] = set()

    async def send(
        self,
        channel: discord.abc.Messageable,
        rendering: Rendering,
        *,
        request_id: str,
        reply_to: ReplyTo | None = None,
        first_chunk: int = 0,
        is_failure: bool = False,
        deadline_s: float | None = None,
        on_sent: Callable[[discord.Message, int], Awaitable[None]] | None = None,
    ) -> list[discord.Message]:
        """Send the messages of `rendering` from `first_chunk` on and return them; sent twice they appear once.

        The first one answers `reply_to`, if that is still there. `is_failure` marks a notice that an answer failed,
        which is not to be taken for the answer itself. `on_sent` is told of each message as soon as it is there.
        """
        messages = []
        for chunk in range(first_chunk, rendering.num_messages):
            suffix = "f" if is_failure else str(chunk)

            async def create(chunk: int = chunk, suffix: str = suffix) -> discord.Message:
                nonce = nonce_of(request_id, suffix)
                if chunk == 0 and reply_to is not None and self._may_reply(channel):
                    try:
                        body = create_body(rendering, chunk)
                        return await channel.send(
                            **body, nonce=nonce, reference=reference_to(reply_to), mention_author=False
                        )
                    except discord.HTTPException as e:
                        if e.code != _MAY_NOT_REPLY:
                            raise
                        self._count_refusal(e)
                        self._no_replies[_channel_id(channel)] = asyncio.get_running_loop().time()
                return await channel.send(**create_body(rendering, chunk), nonce=nonce, mention_author=False)

            message = await self._retried(create, place=channel, channel_id=_channel_id(channel), deadline_s=deadline_s)
            self.figures.num_sent += 1
            messages.append(message)
            if on_sent:
                await on_sent(message, chunk)
        return messages

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
        edited = await self._retried(
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
        message = await self._retried(
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

        await self._retried(edit, channel_id=0, deadline_s=deadline_s)
        self.figures.num_edited += 1

    async def drop_response(self, interaction: "discord.Interaction[Any]") -> None:
        """Take away the answer to an interaction; one that is gone already is as good."""
        try:
            await self._retried(interaction.delete_original_response, channel_id=interaction.channel_id or 0)
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

        message = await self._retried(create, channel_id=0, is_repeatable=False)
        self.figures.num_sent += 1
        return message

    async def delete(self, message: Editable) -> None:
        """Delete the bot's own message; one that is gone already is as good."""
        try:
            await self._retried(message.delete, place=message, channel_id=message.channel.id)
        except MessageGone:
            logger.debug("a message to delete is gone already")

    async def react(self, message: Editable, emoji: str) -> bool:
        """Add a reaction where that may be done; return whether it was."""
        if self._skips():
            return False
        try:
            await self._retried(lambda: message.add_reaction(emoji), place=message, channel_id=message.channel.id)
        except FewshotError as e:
            logger.info("no reaction: %s", type(e).__name__)
            return False
        return True

    async def show_typing(self, channel: discord.abc.Messageable) -> None:
        """Show for ten seconds that the bot is writing; nothing depends on it, so nothing is raised or tried again."""
        if self._skips():
            return
        try:
            await self._within(channel.typing().wrapped_typer(), _TYPING_S, channel)
        except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as e:
            self._count_refusal(e)
            logger.info("the typing indicator can't be shown: %s", type(e).__name__)

    def skips_edits(self) -> bool:
        """Say whether an edit that only shows progress is to be left out for now."""
        return self._skips()

    def _may_reply(self, channel: discord.abc.Messageable) -> bool:
        """Say whether a reply is worth a try: not where one was refused a moment ago."""
        oldest = asyncio.get_running_loop().time() - _NO_REPLIES_S
        self._no_replies = {kept: at for kept, at in self._no_replies.items() if at > oldest}
        return _channel_id(channel) not in self._no_replies

    # ---- tries

    def _skips(self) -> bool:
        is_near = self.invalid_answers.is_near_limit
        self.figures.num_skipped += is_near
        return is_near

    async def _retried(
        self,
        make: Callable[[], Coroutine[Any, Any, T]],
        *,
        channel_id: int,
        place: object = None,
        is_repeatable: bool = True,
        deadline_s: float | None = None,
    ) -> T:
        """Do it until it is done, refused for good, or the deadline has passed.

        `place` is the channel or message through which it goes.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._deadline_s if deadline_s is None else deadline_s)
        num_tries = 0
        while True:
            left = deadline - loop.time()
            try:
                return await self._within(make(), min(left, _TRY_S) if is_repeatable else left, place)
            except discord.HTTPException as e:
                self._count_refusal(e)
                if not _is_temporary(e) or (not is_repeatable and e.status != 429):
                    raise await self._translated(e, channel_id) from e
                failure: Exception = e
            except (aiohttp.ClientError, OSError, TimeoutError, discord.RateLimited) as e:
                if not is_repeatable and not isinstance(e, aiohttp.ClientConnectorError | discord.RateLimited):
                    self.figures.num_failed += 1
                    raise DeliveryFailed("Discord did not answer in time.") from e
                failure = e
            except RuntimeError as e:
                if "closed" not in str(e):
                    raise
                raise DeliveryFailed("The connection to Discord is closed.") from e
            wait = _wait_s(failure, num_tries)
            if loop.time() + wait >= deadline:
                self.figures.num_failed += 1
                raise DeliveryFailed("Discord did not answer in time.") from failure
            num_tries += 1
            self.figures.num_retried += 1
            logger.info("Discord is asked again in %.1f s after %s", wait, type(failure).__name__)
            await asyncio.sleep(wait)

    async def _within(self, work: Coroutine[Any, Any, T], limit_s: float, place: object) -> T:
        """Return what `work` gives; raise TimeoutError at the limit, even where it does not end when cancelled.

        discord.py sleeps out a rate limit on leaving a request, cancelled or not.
        """
        task = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=max(0.0, limit_s))
        except asyncio.CancelledError:
            self._leave(task, place)
            raise
        if not done:
            self._leave(task, place)
            raise TimeoutError
        return task.result()

    def _leave(self, task: "asyncio.Task[Any]", place: object) -> None:
        """Cancel a request and let it end by itself."""

        def end(task: "asyncio.Task[Any]") -> None:
            self._left.discard(task)
            if not task.cancelled() and (error := task.exception()):
                logger.info("a request that was given up ended in %s", type(error).__name__)
            _open_global_limit(place)

        task.cancel()
        self._left.add(task)
        task.add_done_callback(end)

    def _count_refusal(self, error: Exception) -> None:
        if self._counts_itself and isinstance(error, discord.HTTPException):
            self.invalid_answers.note(error.status)

    async def _translated(self, error: discord.HTTPException, channel_id: int) -> FewshotError:
        self.figures.num_failed += 1
        if error.status == 403:
            await self._tell_missing(channel_id)
            return MissingPermission("The bot may not do that in this channel.")
        if error.status == 404 or error.code in _GONE_CODES:
            return MessageGone("That is no longer there.")
        return SendRefused(f"Discord refused the message ({error.status}, {error.code}).")

    async def _tell_missing(self, channel_id: int) -> None:
        if self._on_missing_permission is None or channel_id in self._told:
            return
        self._told[channel_id] = None
        while len(self._told) > _MAX_TOLD:
            del self._told[next(iter(self._told))]
        try:
            await self._on_missing_permission(channel_id)
        except Exception:
            logger.exception("telling of a missing permission in channel %s failed", channel_id)


# Without Read Message History a message may be sent, but not as a reply.
_MAY_NOT_REPLY: Final = 160002
_NO_REPLIES_S: Final = 600.0
# Unknown or expired: message, channel, interaction, webhook; a token that ran out.
_GONE_CODES: Final = frozenset({10003, 10008, 10015, 10062, 50027})


def _open_global_limit(place: object) -> None:
    """Let requests go on after one was cancelled while it slept out a limit that holds for all of them.

    discord.py has that one request open the gate again: without it, none would ever be sent.
    """
    http = getattr(getattr(place, "_state", None), "http", None)
    gate = getattr(http, "_global_over", None)
    if isinstance(gate, asyncio.Event) and not gate.is_set():
        asyncio.get_running_loop().call_later(_GATE_S, gate.set)


def _is_temporary(error: discord.HTTPException) -> bool:
    return error.status == 429 or error.status >= 500


def _wait_s(failure: Exception, num_tries: int) -> float:
    """Return how long to wait: as long as Discord says, else longer each time, never all at the same moment."""
    if isinstance(failure, discord.RateLimited):
        return failure.retry_after
    backoff = min(_MAX_BACKOFF_S, _BACKOFF_S * 2.0**num_tries) * random.uniform(0.5, 1.0)
    if isinstance(failure, discord.HTTPException):
        try:
            return max(float(failure.response.headers.get("Retry-After", "")), _MIN_WAIT_S)
        except ValueError:
            return backoff
    return backoff


def _channel_id(channel: discord.abc.Messageable) -> int:
    return int(getattr(channel, "id", 0))
