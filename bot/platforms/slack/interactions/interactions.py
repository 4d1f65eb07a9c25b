"""Slash commands, shortcuts, clicks and modals: each is acknowledged at once, accepted, and answered in place."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

import aiohttp

from bot.commands.bot import COMMANDS, Bot
from bot.core.cards import error_card
from bot.core.messages import Author, Click, FormSubmitted, Message
from bot.core.safe_text import FALLBACK_NAME
from bot.errors import FewshotError, OptedOut, RequestError, Unavailable
from bot.platforms.shared.answering import Answering, Cards, Responder, answer_with
from bot.platforms.shared.attached_files import FileOrigins
from bot.platforms.shared.kept_clicks import as_request
from bot.platforms.shared.submitting import Submitting, problem_of
from bot.platforms.shared.text_files import read_text_file
from bot.platforms.slack.ids import SlackId
from bot.platforms.slack.incoming.files import with_files
from bot.platforms.slack.incoming.people import People
from bot.platforms.slack.incoming.reading import mentioned_ids, message_of, plain_text, read_file, read_said, scope_at
from bot.platforms.slack.interactions.home import ViewOutlet
from bot.platforms.slack.interactions.items import read_action, read_stop
from bot.platforms.slack.interactions.names import GENERAL, line_of_slash, menu_command
from bot.platforms.slack.interactions.places import (
    Happened,
    interaction_id,
    read_click,
    read_message_action,
    read_slash,
    read_view,
    team_of,
)
from bot.platforms.slack.outgoing.outlets import InteractionOutlet, SlackOutlet
from bot.platforms.slack.outgoing.rendering import render
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.outgoing.views import Origin, Submission, field_errors, read_submission
from bot.platforms.slack.traits import SLACK
from bot.platforms.slack.workspaces import Workspace, Workspaces
from bot.services.ledger import Delivery
from bot.trace import note_step

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]
Acknowledge = Callable[..., Awaitable[Any]]

_NOT_OURS: Final = "I am not set up for this workspace. The operator of the bot can add its token to SLACK_BOT_TOKEN."
_NO_COMMAND: Final = "That is no command. Write the name of one after {0}; {0} alone lists them."
_INTRO: Final = (
    "I am {name}. Mention me in a channel that I am in, or write to me under Messages; {help_line} lists what I can do."
)
_CLOSING: Final = "The bot is restarting. Try again in a minute."
_NOTED_AFTER_S: Final = (0.2, 0.5, 1.0, 2.0)


class Interactions:
    """Turns interactions into requests. Commands are stored before they run, so that a restart loses none."""

    def __init__(
        self,
        bot: Bot,
        delivery: Delivery,
        answering: Answering,
        sender: Sender,
        people: People,
        workspaces: Workspaces,
        *,
        session: aiohttp.ClientSession,
        file_origins: Collection[str],
        name_prefix: str = "",
    ) -> None:
        self._bot = bot
        self._delivery = delivery
        self._answering = answering
        self._sender = sender
        self._people = people
        self._workspaces = workspaces
        self._session = session
        self._file_origins = file_origins
        self._name_prefix = name_prefix
        self._is_closing = False
        help_line = f"/{name_prefix}{GENERAL} help"
        self._intro = _INTRO.format(name=bot.name, help_line=help_line)

    def stop_taking(self) -> None:
        """Refuse interactions from now on, with a sentence."""
        self._is_closing = True

    async def is_ours(self, body: Json) -> bool:
        """Say whether an interaction comes from a workspace whose token is set; in any other it is told so."""
        team = team_of(body)
        if self._workspaces.get(team) is not None:
            return True
        logger.warning("somebody uses the app in workspace %s, whose token is not set", team)
        if response_url := str(body.get("response_url") or ""):
            try:
                await self._sender.respond(team, response_url, render(error_card(_NOT_OURS)))
            except FewshotError as e:
                logger.info("could not show a refusal: %s", type(e).__name__)
        return False

    # ---- slash commands and shortcuts

    async def slash(self, body: Json) -> None:
        """Answer a slash command."""
        happened = read_slash(body)
        workspace = self._workspaces[happened.address.team]
        text = plain_text(
            f"{self._bot.command_prefix}x {body.get('text') or ''}",
            workspace,
            command_prefix=self._bot.command_prefix,
            name_of=lambda _: "",
        ).partition(" ")[2]
        line = line_of_slash(str(body["command"]), text, prefix=self._name_prefix)
        line = line.removeprefix(self._bot.command_prefix)
        if not line[:1].isalpha():
            await self._refuse(happened, _NO_COMMAND.format(body["command"]))
            return
        await self._ask(happened, f"{self._bot.command_prefix}{line}")

    async def message_action(self, body: Json) -> None:
        """Answer a shortcut of a message's menu."""
        happened, target = read_message_action(body)
        command = menu_command(str(body.get("callback_id")), COMMANDS)
        if command is None:
            return
        if happened.address.thread == target.ts and await self._is_of_channel(happened, target):
            happened = replace(happened, address=replace(happened.address, thread=""), begins_thread=False)
        line = f"{self._bot.command_prefix}{command.name}"
        await self._ask(happened, line, target=target, target_event=body.get("message") or {})

    async def _is_of_channel(self, happened: Happened, target: SlackId) -> bool:
        """Say whether a message outside threads belongs to the channel's conversation, and begins none of its own."""
        if happened.kind == "direct":
            return True
        scope = scope_at(replace(happened.address, thread=""), happened.kind)
        try:
            reply_id = await self._delivery.reply_of(str(target))
            return await self._bot.is_stored_in(scope, [one for one in (str(target), reply_id) if one])
        except Unavailable:
            return False

    async def shortcut(self, body: Json) -> None:
        """Open the template browser on the Home tab's terms: a modal with what `prompt list` shows."""
        happened = read_view(body, Origin(read_click({**body, "container": {"type": "view"}}).address))
        outlet = ViewOutlet(self._sender, happened, opens_modal=True)
        # Slack is asked who this is, which has to wait where many people are new.
        await outlet.open_at_once()
        message = await self._message(happened, f"{self._bot.command_prefix}prompt list")
        self._answering.begin(message, outlet, is_kept=False)

    async def home_opened(self, workspace: Workspace, user_id: str) -> None:
        """Show the template browser on a person's Home tab."""
        body = {"team": {"id": workspace.team}, "user": {"id": user_id}, "container": {"type": "view"}}
        happened = replace(read_click(body), id=interaction_id(workspace.team, uuid.uuid4().hex))
        message = await self._message(happened, f"{self._bot.command_prefix}prompt list")
        self._answering.begin(message, ViewOutlet(self._sender, happened, intro=self._intro), is_kept=False)

    async def _ask(
        self, happened: Happened, line: str, *, target: SlackId | None = None, target_event: Json | None = None
    ) -> None:
        message = await self._message(happened, line)
        outlet = self._outlet(happened)
        if self._is_closing:
            await self._refuse(happened, _CLOSING)
            return
        answer: Responder | None = None
        is_kept = self._bot.answers_of(line) != "form"
        try:
            if target is not None:
                await self._keep_target(message, target, target_event or {})
                # The answer stands in a thread, where commands are typed.
                message = replace(message, reply_to=str(target), reach="private" if is_kept else "form")
            if is_kept and not await self._delivery.accept(message, token=happened.response_url):
                return
        except (RequestError, Unavailable) as e:
            answer, is_kept = answer_with(error_card(str(e))), False
        self._answering.begin(message, outlet, is_kept=is_kept, answer=answer)

    async def _keep_target(self, message: Message, target: SlackId, event: Json) -> None:
        """Store the message whose menu was used, so that it can be read."""
        workspace = self._workspaces[target.team]
        said = read_said({**event, "ts": target.ts}, workspace, channel=target.channel)
        if said is None:  # the bot's own
            return
        author = await self._people.author(workspace, said.user_id)
        names = await self._people.names(workspace, mentioned_ids(said.text))
        text = plain_text(
            said.text, workspace, command_prefix=self._bot.command_prefix, name_of=lambda id: names.get(id, "")
        )
        read = replace(message_of(said, author, text=text, is_addressed=False), scope=message.scope)
        said = await with_files(self._sender, said)
        file = await self._read_file(workspace, said.files, is_required=False)
        if file is not None:
            read = replace(read, attachment=file.text, attachment_format=file.format)
        await self._bot.keep(read, kind="command")

    async def _read_file(self, workspace: Workspace, files: Any, *, is_required: bool) -> Any:
        return await read_text_file(
            files,
            self._session,
            FileOrigins(SLACK.name, self._file_origins, {"Authorization": f"Bearer {workspace.client.token}"}),
            is_required=is_required,
        )

    # ---- clicks

    async def clicked(self, body: Json, action: Json) -> None:
        """Handle a press of a button, or a choice in a select."""
        happened = read_click(body)
        if self._is_closing:
            await self._refuse(happened, _CLOSING)
            return
        if (request_id := read_stop(action)) is not None:
            await self._stop(happened, request_id)
            return
        pressed = read_action(action)
        if pressed is None:
            return
        message = await self._message(happened, "")
        click = Click(
            id=message.id,
            scope=message.scope,
            author=message.author,
            card_id=pressed.card_id,
            revision=pressed.revision,
            action=pressed.action,
            value=pressed.value,
            message_id=str(happened.clicked) if happened.clicked else None,
            # Slash commands don't work in threads, so there commands are named as they are typed.
            reach="private" if happened.address.thread else "form",
        )
        # A view has no address to which an answer could come after a restart.
        may_keep = self._bot.may_take_long(pressed.action) and not happened.is_home
        is_kept = may_keep and await self._keep(click, happened.response_url)
        self._answering.begin(
            message,
            self._outlet(happened),
            is_kept=is_kept,
            answer=lambda _, stopper: self._bot.click(click, stopper),
        )

    async def _keep(self, click: Click, token: str) -> bool:
        """Keep a click until it is done, so that a restart does not lose it; return whether that was possible."""
        try:
            return await self._delivery.accept(as_request(click), token=token)
        except (OptedOut, Unavailable):
            return False

    async def stopped(self, workspace: Workspace, channel: str, user_id: str, sent_ts: Iterable[str]) -> None:
        """End the answers whose streams a person has stopped by Slack's own button."""
        for ts in sent_ts:
            request_id = await self._request_of(SlackId(workspace.team, channel, str(ts)))
            if request_id is not None:
                author = await self._people.author(workspace, user_id)
                # Slack has ended the stream already, no matter who it was.
                await self._answering.stop(request_id, replace(author, is_moderator=True))

    async def _request_of(self, sent: SlackId) -> str | None:
        """Return the id of the request that a stream answers; that it does may be stored a moment after its start."""
        for pause_s in (*_NOTED_AFTER_S, 0.0):
            try:
                request_id = await self._delivery.request_of(str(sent))
            except Unavailable as e:
                logger.info("could not look up whose answer was stopped: %s", e)
                request_id = None
            if request_id is not None:
                return request_id
            await asyncio.sleep(pause_s)
        return None

    async def _stop(self, happened: Happened, request_id: str) -> None:
        # The person who asked may do that in any case.
        sentence = await self._answering.stop(request_id, Author(happened.user_id, FALLBACK_NAME))
        if sentence is not None:
            author = (await self._message(happened, "")).author
            try:
                author = await self._bot.with_rights(happened.scope, author)
            except Unavailable as e:
                logger.info("could not look up somebody's rights: %s", e)
            sentence = await self._answering.stop(request_id, author)
        if sentence is not None:
            await self._refuse(happened, sentence)
        note_step(happened.id, "finished")

    # ---- modals

    async def submitted(self, acknowledge: Acknowledge, body: Json) -> None:
        """Handle a submitted modal: a mistake is shown at its field, and nothing typed is lost."""
        view = body.get("view") or {}
        submission = read_submission(view)
        if submission is None:
            await acknowledge()
            return
        if self._is_closing:
            await acknowledge(**field_errors(view, _CLOSING))
            return
        happened = read_view(body, submission.origin)
        submitting = Submitting(self._submit(happened, submission))
        card = await submitting.first_card()
        problem = "" if card is None else problem_of(card)
        await acknowledge(**(field_errors(view, problem) if problem else {}))
        if card is not None and problem and (card.error is not None or not submission.origin.has_card):
            await submitting.close()
            return
        # Who it is may still be asked of Slack, and does not matter for showing the answer.
        message = Message(happened.id, happened.scope, Author(happened.user_id, FALLBACK_NAME), "", reach="form")
        self._answering.begin(message, self._outlet(happened), is_kept=False, answer=submitting.answer)

    async def _submit(self, happened: Happened, submission: Submission) -> Cards:
        message = await self._message(happened, "")
        try:
            values = dict(submission.values)
            workspace = self._workspaces[submission.origin.address.team]
            for name, file in submission.files.items():
                read = await self._read_file(workspace, [read_file(file)], is_required=True)
                values[name] = read.text if read else ""
        except RequestError as e:
            yield error_card(str(e))
            return
        submitted = FormSubmitted(
            message.id,
            message.scope,
            message.author,
            submission.form_id,
            values,
            is_on_card=submission.origin.is_on_private_card,
        )
        async with aclosing(self._bot.submit(submitted)) as cards:
            async for card in cards:
                yield card

    # ---- all of them

    async def _message(self, happened: Happened, line: str) -> Message:
        author = await self._people.author(self._workspaces[happened.address.team], happened.user_id)
        note_step(happened.id, "received")
        return Message(happened.id, happened.scope, author, line, reach="form")

    def _outlet(self, happened: Happened) -> SlackOutlet:
        if happened.is_home:
            return ViewOutlet(self._sender, happened, intro=self._intro)
        return InteractionOutlet(
            self._sender,
            happened.address,
            asker=happened.user_id,
            request_id=happened.id,
            response_url=happened.response_url,
            trigger_id=happened.trigger_id,
            clicked=happened.clicked,
            clicked_is_private=happened.is_private,
            kind=happened.kind,
            begins_thread=happened.begins_thread,
        )

    async def _refuse(self, happened: Happened, sentence: str) -> None:
        """Show one sentence to the asker only."""
        try:
            await self._outlet(happened).show_whole(error_card(sentence))
        except FewshotError as e:
            logger.warning("could not show a refusal: %s", type(e).__name__)
