"""The answer to an interaction, in one message: shown at once if it is ready, else deferred in time and edited."""

import asyncio
import logging
from typing import Any, Final, Literal

import aiohttp
import discord

from bot.background import run_in_background
from bot.core.cards import Form
from bot.errors import MessageGone, RequestError
from bot.platforms.discord.interactions.forms import modal_of
from bot.platforms.discord.outgoing.outlets import SNAPSHOT_DEADLINE_S, DiscordOutlet
from bot.platforms.discord.outgoing.rendering import Rendering
from bot.platforms.discord.outgoing.sender import Sender

logger = logging.getLogger(__name__)

# Discord accepts the first response within 3 s. If the answer is not ready after this time, it is deferred. Without
# generation its kind (public, private, modal) is known earlier.
ACKNOWLEDGE_AFTER_S: Final = 0.2
# A form can only be the first response, so what may open one is deferred as late as possible.
ACKNOWLEDGE_FORM_AFTER_S: Final = 2.5
# If Discord has not taken an answer within this time, it is deferred after all, while there is time for that.
_AT_ONCE_S: Final = 1.0
_LATEST_S: Final = 2.5
_SHORTEST_S: Final = 0.3
_NUM_TRIES: Final = 4
_PAUSE_S: Final = 0.2
_ALREADY_ACKNOWLEDGED: Final = 40060
_UNKNOWN_INTERACTION: Final = 10062

_TOO_LATE: Final = "The form took too long to open. Try again."

# How the interaction was acknowledged.
Promise = Literal["none", "public", "private", "update", "form"]


class InteractionOutlet(DiscordOutlet):
    """The answer to a slash command, a click or a modal.

    With `updates`, the public answer to a click, or to the form that a button opened, replaces the button's message.
    `is_private` is what the command declares; a card may differ, and a private card is never shown to others. With
    `may_open_form`, the answer may be a form, which a slow database delays.
    """

    def __init__(
        self,
        sender: Sender,
        interaction: "discord.Interaction[Any]",
        *,
        is_private: bool = False,
        updates: bool = False,
        may_open_form: bool = False,
    ) -> None:
        super().__init__(sender)
        self._interaction = interaction
        self.pace_id = interaction.channel_id or 0
        self._is_private = is_private
        self._updates = updates
        self._promise: Promise = "none"
        self._lock = asyncio.Lock()
        self._began_at = asyncio.get_running_loop().time()
        self._extra: discord.WebhookMessage | None = None
        self._message_id: str | None = None
        # Link previews can't be suppressed in this response, and components V2 have none.
        self.is_layout = not updates or (interaction.message is not None and interaction.message.flags.components_v2)
        self._acknowledge_after_s = ACKNOWLEDGE_FORM_AFTER_S if may_open_form else ACKNOWLEDGE_AFTER_S
        run_in_background(self._acknowledge_later(), "acknowledging an interaction")

    @property
    def sent_ids(self) -> tuple[str, ...]:
        """Return the id of the answer if everyone can see it."""
        return () if self._message_id is None else (self._message_id,)

    async def _acknowledge_later(self) -> None:
        await asyncio.sleep(self._acknowledge_after_s)
        try:
            await self._acknowledge(is_private=self._is_private)
        except MessageGone:
            logger.warning("could not acknowledge an interaction in time")

    async def _acknowledge(self, *, is_private: bool) -> None:
        """Defer the answer unless it was acknowledged. Raises MessageGone if it is too late."""
        async with self._lock:
            if self._promise == "none":
                await self._defer(is_private=is_private)

    def _promise_of(self, *, is_private: bool) -> Promise:
        return "private" if is_private else "update" if self._updates else "public"

    async def _defer(self, *, is_private: bool) -> None:
        """Defer the answer; the lock is held. Raises MessageGone if it is too late."""
        promise = self._promise_of(is_private=is_private)
        for number in range(_NUM_TRIES):
            try:
                if promise == "update":
                    await self._interaction.response.defer()
                else:
                    await self._interaction.response.defer(ephemeral=is_private, thinking=True)
                break
            except discord.InteractionResponded:
                break
            except discord.HTTPException as e:
                if e.code == _ALREADY_ACKNOWLEDGED:
                    break
                if e.code == _UNKNOWN_INTERACTION or number == _NUM_TRIES - 1:
                    raise MessageGone("The interaction can't be answered any more.") from e
            except (aiohttp.ClientError, OSError, TimeoutError) as e:
                if number == _NUM_TRIES - 1:
                    raise MessageGone("The interaction could not be answered.") from e
            await asyncio.sleep(_PAUSE_S)
        self._promise = promise

    async def _answer_at_once(self, rendering: Rendering) -> bool:
        """Show the answer as the first response; the lock is held. Return False if it is to be deferred instead.

        A response with an unknown result may have been accepted: the deferral is then refused as the second one, and
        the edit after it changes the one answer that there is. Raises MessageGone if it is too late.
        """
        promise = self._promise_of(is_private=rendering.is_private)
        left_s = self._began_at + _LATEST_S - asyncio.get_running_loop().time()
        try:
            message_id = await self._sender.answer_at_once(
                self._interaction,
                rendering,
                updates=promise == "update",
                limit_s=max(_SHORTEST_S, min(_AT_ONCE_S, left_s)),
            )
        except discord.HTTPException as e:
            if e.code == _UNKNOWN_INTERACTION:
                raise MessageGone("The interaction can't be answered any more.") from e
            logger.info("an interaction was not answered at once (%s, %s)", e.status, e.code)
            return False
        except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as e:
            logger.info("an interaction was not answered at once: %s", type(e).__name__)
            return False
        self._promise = promise
        self._note_shown(rendering, message_id)
        return True

    def _note_shown(self, rendering: Rendering, message_id: int | None) -> None:
        self.is_layout = self.is_layout or rendering.layout is not None
        if self._promise == "public" and message_id is not None:
            self._message_id = str(message_id)

    async def open_form(self, form: Form) -> None:
        """Open a modal, which must be the first response. Raises RequestError if the interaction was deferred."""
        async with self._lock:
            if self._promise != "none":
                raise RequestError(_TOO_LATE)
            try:
                await self._interaction.response.send_modal(modal_of(form))
            except discord.HTTPException as e:
                raise MessageGone("The form could not be opened any more.") from e
            self._promise = "form"

    async def show(self, rendering: Rendering, *, is_final: bool) -> None:
        """Show a snapshot. Raises what the sender raises."""
        async with self._lock:
            if self._promise == "none":
                if await self._answer_at_once(rendering):
                    return
                await self._defer(is_private=rendering.is_private)
        if not rendering.is_private or self._promise == "private":
            deadline_s = None if is_final else SNAPSHOT_DEADLINE_S
            message = await self._sender.respond(self._interaction, rendering, deadline_s=deadline_s)
            self._note_shown(rendering, message.id)
            return
        if self._promise == "public" and self._extra is None:
            # The answer was deferred as public and turned out to be private.
            await self._sender.drop_response(self._interaction)
        if self._extra is None:
            self._extra = await self._sender.follow_up(self._interaction.followup, rendering, is_ephemeral=True)
        else:
            deadline_s = None if is_final else SNAPSHOT_DEADLINE_S
            await self._sender.change_follow_up(self._extra, rendering, deadline_s=deadline_s)

    async def remove(self) -> None:
        """Delete the answer."""
        if self._promise in ("public", "private"):
            await self._sender.drop_response(self._interaction)
