"""Slash commands, message menus, clicks and modals: each is acknowledged in time, accepted, and answered in place."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import discord

from bot.commands.bot import Bot
from bot.core.cards import error_card
from bot.core.messages import Click, FormSubmitted, Message
from bot.core.stopping import Stopper
from bot.errors import OptedOut, RequestError, Unavailable
from bot.platforms.discord.incoming.attachments import read_text_attachment
from bot.platforms.discord.incoming.reading import read_interaction, read_target
from bot.platforms.discord.interactions.forms import Submission, read_submission
from bot.platforms.discord.outgoing.interaction_outlet import InteractionOutlet
from bot.platforms.discord.outgoing.rendering import render
from bot.platforms.discord.outgoing.sender import Sender
from bot.platforms.shared.answering import Answering, Cards, Responder, answer_with
from bot.platforms.shared.arrivals import Arrivals
from bot.platforms.shared.kept_clicks import as_request
from bot.services.ledger import Delivery
from bot.trace import note_step

logger = logging.getLogger(__name__)

_CLOSING = "The bot is restarting. Try again in a minute."


class Interactions:
    """Turns interactions into requests. Commands are stored before they run, so that a restart loses none."""

    def __init__(
        self,
        bot: Bot,
        delivery: Delivery,
        answering: Answering,
        sender: Sender,
        arrivals: Arrivals,
        *,
        me: discord.abc.User,
        session: aiohttp.ClientSession,
        owner_ids: frozenset[str],
        file_origins: Sequence[str],
    ) -> None:
        self._bot = bot
        self._delivery = delivery
        self._answering = answering
        self._sender = sender
        self._arrivals = arrivals
        self._session = session
        self._me = me
        self._owner_ids = owner_ids
        self._file_origins = file_origins
        self._is_closing = False

    def stop_taking(self) -> None:
        """Refuse interactions from now on, with a sentence."""
        self._is_closing = True

    async def invoked(
        self, interaction: "discord.Interaction[Any]", line: str, attachment: discord.Attachment | None
    ) -> None:
        """Answer a slash command."""
        files = [attachment] if attachment is not None else []
        await self._ask(interaction, line, files=files)

    async def invoked_on(
        self, interaction: "discord.Interaction[Any]", command_name: str, target: discord.Message
    ) -> None:
        """Answer a command of the menu of `target`."""
        line = f"{self._bot.command_prefix}{command_name}"
        await self._ask(interaction, line, target=target, files=target.attachments)

    async def clicked(
        self, interaction: "discord.Interaction[Any]", card_id: str, revision: int, action: str, value: str
    ) -> None:
        """Handle a click on a button or a choice in a select."""
        message = self._read(interaction, "")
        if isinstance(message, str):
            await self._refuse(interaction, message)
            return
        click = Click(
            id=message.id,
            scope=message.scope,
            author=message.author,
            card_id=card_id,
            revision=revision,
            action=action,
            value=value,
            message_id=str(interaction.message.id) if interaction.message else None,
        )
        may_open_form = self._bot.may_open_form(action)
        outlet = InteractionOutlet(self._sender, interaction, updates=True, may_open_form=may_open_form)
        is_kept = self._bot.may_take_long(action) and await self._keep(click, interaction.token)
        self._answering.begin(
            message, outlet, is_kept=is_kept, answer=lambda _, stopper: self._bot.click(click, stopper)
        )

    async def _keep(self, click: Click, token: str) -> bool:
        """Keep a click until it is done, so that a restart does not lose it; return whether that was possible."""
        try:
            return await self._delivery.accept(as_request(click), token=token)
        except (OptedOut, Unavailable):
            return False

    async def stop_clicked(self, interaction: "discord.Interaction[Any]", message_id: str) -> None:
        """Stop an answer that is being written."""
        message = self._read(interaction, "")
        if isinstance(message, str):
            await self._refuse(interaction, message)
            return
        try:
            author = await self._bot.with_rights(message.scope, message.author)
        except Unavailable:
            # Roles for moderators can't be read; the asker and the platform's moderators can stop it all the same.
            author = message.author
        sentence = await self._answering.stop(message_id, author)
        if sentence is not None:
            await self._refuse(interaction, sentence)
            return
        # The click shows nothing: the answer itself ends.
        await interaction.response.defer()
        note_step(message.id, "finished")

    async def suggest_values(
        self, interaction: "discord.Interaction[Any]", command_name: str, option_name: str, typed: str
    ) -> tuple[str, ...]:
        """Return values for an option that start with `typed` or are similar to it."""
        scope, author = read_interaction(interaction, owner_ids=self._owner_ids)
        return await self._bot.suggest_values(scope, command_name, option_name, typed, who=author)

    async def take(self, interaction: "discord.Interaction[Any]") -> None:
        """Handle a submitted modal; for all other interactions discord.py calls the methods above."""
        submission = read_submission(interaction)
        if submission is not None:
            await self._submitted(interaction, submission)

    async def _submitted(self, interaction: "discord.Interaction[Any]", submission: Submission) -> None:
        message = self._read(interaction, "")
        if isinstance(message, str):
            await self._refuse(interaction, message)
            return
        card = interaction.message
        # Others see what a public card turns into, so the answer to its form is a private message beside it.
        is_on_card = card is not None and card.flags.ephemeral
        outlet = InteractionOutlet(self._sender, interaction, is_private=not is_on_card, updates=is_on_card)

        async def answer(_: Message, __: Stopper) -> Cards:
            try:
                values = dict(submission.values)
                for name, file in submission.files.items():
                    read = await read_text_attachment(
                        [file], self._session, allowed_origins=self._file_origins, is_required=True
                    )
                    values[name] = read.text if read else ""
            except RequestError as e:
                yield error_card(str(e))
                return
            submitted = FormSubmitted(
                message.id, message.scope, message.author, submission.form_id, values, is_on_card=is_on_card
            )
            async for card in self._bot.submit(submitted):
                yield card

        self._answering.begin(message, outlet, is_kept=False, answer=answer)

    async def _ask(
        self,
        interaction: "discord.Interaction[Any]",
        line: str,
        *,
        target: discord.Message | None = None,
        files: Sequence[discord.Attachment] = (),
    ) -> None:
        message = self._read(interaction, line)
        if isinstance(message, str):
            await self._refuse(interaction, message)
            return
        answers = self._bot.answers_of(line)
        outlet = InteractionOutlet(
            self._sender, interaction, is_private=answers != "public", may_open_form=answers == "form"
        )
        answer: Responder | None = None
        may_keep = False
        try:
            if target is not None:
                read = read_target(target, self._me, message.scope)
                if read is not None:
                    with self._arrivals.storing([target.id]):
                        await self._bot.keep(read, kind="command")
                message = replace(message, reply_to=str(target.id))
            # A file given to the command itself must be a text; a file of the message whose menu was used need not be.
            file = await read_text_attachment(
                files, self._session, allowed_origins=self._file_origins, is_required=target is None
            )
            if file is not None and target is None:
                message = replace(message, attachment=file.text, attachment_format=file.format)
            is_kept = answers != "form"
            if is_kept and not await self._delivery.accept(message, token=interaction.token):
                return
        except RequestError as e:
            answer, is_kept = answer_with(error_card(str(e))), False
        except Unavailable:
            # Commands that store nothing work on a full disk as well; the others say why they can't.
            is_kept, may_keep = False, answers != "form"
        self._answering.begin(message, outlet, is_kept=is_kept, answer=answer)
        if may_keep:
            self._answering.keep_later(message, token=interaction.token)

    def _read(self, interaction: "discord.Interaction[Any]", line: str) -> Message | str:
        """Return the interaction as a message, or the sentence that refuses it."""
        if self._is_closing:
            return _CLOSING
        try:
            scope, author = read_interaction(interaction, owner_ids=self._owner_ids)
        except RequestError as e:
            return str(e)
        note_step(str(interaction.id), "received")
        return Message(
            id=str(interaction.id),
            scope=scope,
            author=author,
            text=line,
            created_at_utc=interaction.created_at,
            reach="form",
        )

    async def _refuse(self, interaction: "discord.Interaction[Any]", sentence: str) -> None:
        """Show one sentence to the asker only."""
        try:
            text = render(error_card(sentence)).content[0]
            await interaction.response.send_message(text, ephemeral=True, suppress_embeds=True)
        except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as e:
            logger.warning("could not show a refusal: %s", type(e).__name__)
