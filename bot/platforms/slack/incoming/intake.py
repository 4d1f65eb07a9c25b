"""Incoming messages, edits and deletions: those for the bot are accepted, none is lost, none is handled twice."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

import aiohttp

from bot.background import run_in_background
from bot.commands.bot import Bot
from bot.core.cards import error_card
from bot.core.messages import DIRECT_MESSAGES, Message, now_utc
from bot.errors import FewshotError, RequestError, Unavailable
from bot.platforms.shared.answering import MAX_RUNNING, Answering, Responder, answer_with
from bot.platforms.shared.arrivals import Arrivals
from bot.platforms.shared.attached_files import FileOrigins
from bot.platforms.shared.picture_files import read_pictures
from bot.platforms.shared.text_files import read_text_file
from bot.platforms.shared.trying import until_available
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.incoming.channels import Channels
from bot.platforms.slack.incoming.edits import Edits
from bot.platforms.slack.incoming.files import with_files
from bot.platforms.slack.incoming.gone import GonePlaces
from bot.platforms.slack.incoming.hearing import Hearing
from bot.platforms.slack.incoming.marks import OVERLAP_S, Marks, not_too_old
from bot.platforms.slack.incoming.message_reader import NO_NAMES, MessageReader
from bot.platforms.slack.incoming.missed import Found, MissedMessages
from bot.platforms.slack.incoming.people import People
from bot.platforms.slack.incoming.reading import (
    Said,
    deleted_ts_of,
    picture_ids_of,
    present_files,
    read_said,
)
from bot.platforms.slack.incoming.root_cards import word_to_root_card
from bot.platforms.slack.incoming.thread_roots import ThreadRoots
from bot.platforms.slack.incoming.threads import Threads
from bot.platforms.slack.incoming.too_late import TooLate
from bot.platforms.slack.outgoing.outlets import AnswerOutlet
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.traits import ANSWERABLE_S, SLACK
from bot.platforms.slack.workspaces import Workspace, Workspaces
from bot.services.ledger import Delivery
from bot.services.places import Place
from bot.trace import note_step

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

# A message that mentions the bot only after an edit counts as new for this long.
_EDITED_IN: Final = timedelta(minutes=5)
_MAX_PAUSE_S: Final = 30.0
# After an outage there may be more to answer than may be answered at once; the rest waits for its turn.
_MAX_AT_ONCE: Final = MAX_RUNNING // 2
_NUM_LOOKED_AT: Final = 8
_MAX_TOLD: Final = 1_000
_TAKEN_BACK: Final = "An earlier edit took this question back. Send it as a new message."


class Intake:
    """Handles what the sockets and the Web API deliver. Up to the mark of a workspace, every message was handled."""

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
        overlap_s: float = OVERLAP_S,
    ) -> None:
        self._bot = bot
        self._delivery = delivery
        self._answering = answering
        self._sender = sender
        self._people = people
        self._workspaces = workspaces
        self._session = session
        self._file_origins = file_origins
        self._overlap_s = overlap_s
        self._marks: dict[str, Marks] = {}
        self._threads = Threads(delivery)
        self._reader = MessageReader(bot, people, self._threads)
        self._roots = ThreadRoots(bot, sender, people, self._reader)
        self._channels = Channels(sender, workspaces)
        self._hearing = Hearing(sender, workspaces, self._channels)
        self._missed = MissedMessages(delivery, sender, self._channels)
        self._changes_since: dict[str, str] = {}
        self._following: set[str] = set()
        self._edits = Edits()
        # Those that the database did not take: a mention is two events, and both would be told.
        self._told: OrderedDict[str, None] = OrderedDict()
        self._too_late = TooLate(sender)
        self._arrivals = Arrivals()
        self._stack = AsyncExitStack()
        self._is_closing = False
        self._waiting_ids: set[str] = set()
        self.places = GonePlaces(bot, delivery, answering, self._channels, gives_up=lambda: self._is_closing)

    async def open(self) -> None:
        """Load the marks of all workspaces. Raises Unavailable."""
        for workspace in self._workspaces:
            watermark = await self._stack.enter_async_context(self._delivery.watermark(workspace.team))
            marks = Marks(watermark, overlap_s=self._overlap_s)
            await marks.begin()
            marks.lost()  # until what was missed is read back
            self._marks[workspace.team] = marks

    async def close(self) -> None:
        """Accept nothing more, and save the marks."""
        self._is_closing = True
        await self._stack.aclose()

    def stop_taking(self) -> None:
        """Accept nothing more; the next start handles what comes from now on."""
        self._is_closing = True

    def lost(self, since: float) -> None:
        """Note that messages may be missing since a time, in seconds since 1970."""
        for marks in self._marks.values():
            marks.lost(since)

    async def is_anything_missed(self, on_its_way_s: float) -> bool:
        """Say whether something was said lately that no socket has delivered; never raises.

        What was said in the last `on_its_way_s` may still be on its way.
        """
        try:
            stored = await self._delivery.visible_ids(
                [*self._marks, DIRECT_MESSAGES], num_conversations=_NUM_LOOKED_AT, num_each=1
            )
        except Unavailable:
            stored = {}
        known = [Address.of(ids[0], scope) for scope, ids in stored.items() if ids]
        return await self._hearing.is_anything_missed(known, on_its_way_s=on_its_way_s)

    # ---- messages

    async def take(self, event: Json, workspace: Workspace) -> None:
        """Handle an event about a message: said, edited or deleted."""
        deleted_ts = deleted_ts_of(event)
        if self._is_closing and not deleted_ts:
            return
        event = await self._channels.with_type(event, workspace)
        workspace = self._workspaces[self._channels.home_of(str(event.get("channel")), workspace.team)]
        if deleted_ts:
            await self.deleted([str(SlackId(workspace.team, str(event.get("channel")), deleted_ts))])
            return
        if event.get("subtype") == "message_changed":
            await self._changed(event, workspace)
            return
        self._hearing.delivered(event, workspace.team, str(event.get("channel")))
        if (said := read_said(event, workspace)) is not None:
            self._marks[workspace.team].saw(said.id.ts)
            await self._take_until_known(said, workspace)

    async def _take_until_known(self, said: Said, workspace: Workspace) -> None:
        """Accept a message if it is for the bot, and start its answer; try until the database can be read."""
        num_tries = 0
        while not self._is_closing:
            try:
                await self._accept(said, workspace)
            except Unavailable as e:
                logger.warning("could not handle a message in channel %s yet: %s", said.id.channel, e)
            except BaseException:
                self._done(said)
                raise
            else:
                self._done(said)
                break
            self._waiting_ids.add(str(said.id))
            await asyncio.sleep(min(_MAX_PAUSE_S, 2.0**num_tries))
            if str(said.id) not in self._waiting_ids:  # deleted meanwhile
                self._done(said)
                break
            num_tries += 1
        self._waiting_ids.discard(str(said.id))

    def _done(self, said: Said) -> None:
        self._marks[said.id.team].done(said.id.ts)

    async def _accept(self, said: Said, workspace: Workspace) -> None:
        with self._arrivals.storing([str(said.id)]):
            await self._accept_arrived(said, workspace)

    async def _accept_arrived(self, said: Said, workspace: Workspace) -> None:
        if str(said.id) in self._told:
            return
        # Most messages are not for the bot, and nobody has to be looked up for them.
        read = await self._reader.read(said, workspace, NO_NAMES)
        to_card = await word_to_root_card(self._bot, self._sender, said, read, workspace)
        read = read if to_card is None else to_card.message
        try:
            place = await self._bot.place_where_wanted(read)
        except Unavailable as e:
            if not self._bot.is_meant(read) or self._is_too_old(read):
                raise
            self._tell(read, e)
            return
        if place is None:
            return
        text = self._reader.text_of(said, workspace, await self._reader.names_in(said, workspace))
        read = replace(read, text=text, author=await self._people.author(workspace, said.user_id))
        if read.author.is_bot:
            return
        if self._is_too_old(read):
            if not await self._delivery.is_known(read.id):
                self._too_late.note(read)
            return
        answer: Responder = partial(self._bot.answer, place=place)
        said = await with_files(self._sender, said)
        read = replace(read, picture_ids=picture_ids_of(said))
        origins = self._origins_of(workspace)
        try:
            file = await read_text_file(said.files, self._session, origins)
            if file is not None:
                read = replace(read, attachment=file.text, attachment_format=file.format)
            if self._bot.sees_pictures(read, place):
                read = replace(read, pictures=await read_pictures(said.files, self._session, origins))
        except RequestError as e:
            answer = answer_with(error_card(str(e)))
        try:
            if not place.is_opted_out:
                read = await self._with_root(said, read, workspace, place)
            # Deleted meanwhile: from here to the start of the answer nothing else runs.
            if not await self._delivery.accept(read) or self._bot.is_gone(SLACK.key, read.id):
                return
            note_step(read.id, "received")
        except Unavailable as e:
            self._tell(read, e)
            return
        if read.is_addressed:
            self._threads.join(read.scope, said.id.ts)
        if (latest := self._arrivals.latest(read.id)) is not None:
            read = read.with_edit(latest)
        outlet = AnswerOutlet.for_message(self._sender, read) if to_card is None else to_card.outlet
        self._answering.begin(read, outlet, answer=answer)

    async def _with_root(self, said: Said, message: Message, workspace: Workspace, place: Place) -> Message:
        """Store the message above a thread where it is asked about; a command without a text is a reply to it.

        Raises Unavailable.
        """
        if not said.is_in_thread or not message.scope.thread:
            return message
        line = self._bot.line_of(message)
        if line.startswith(self._bot.command_prefix):
            if message.attachment is None and said.kind != "direct" and self._bot.lacks_text(line):
                root_id = await self._roots.keep(said, message, workspace, kind="command")
                return message if root_id is None else replace(message, reply_to=str(root_id))
        elif message.is_addressed and not self._threads.knows(message.scope):
            await self._roots.keep(said, message, workspace, see=partial(self._see_root, place, workspace))
        return message

    async def _see_root(self, place: Place, workspace: Workspace, root: Said, read: Message) -> Message:
        """Return `read`, the message `root` above a thread, with the pictures that the model sees. Raises Unavailable.

        Those that can't be read are left out: who asks can't change them.
        """
        root = await with_files(self._sender, root)
        read = replace(read, picture_ids=picture_ids_of(root))
        if not self._bot.sees_pictures(read, place) or await self._bot.is_stored_in(read.scope, [read.id]):
            return read
        try:
            return replace(read, pictures=await read_pictures(root.files, self._session, self._origins_of(workspace)))
        except RequestError as e:
            logger.info("pictures of a message in channel %s can't be read: %s", root.id.channel, e)
            return read

    def _origins_of(self, workspace: Workspace) -> FileOrigins:
        headers = {"Authorization": f"Bearer {workspace.client.token}"}
        return FileOrigins(SLACK.name, self._file_origins, headers)

    def _is_too_old(self, message: Message) -> bool:
        return now_utc() - message.created_at_utc > timedelta(seconds=ANSWERABLE_S)

    def _tell(self, message: Message, error: FewshotError) -> None:
        """Answer a message that could not be accepted with the sentence of `error`."""
        if message.id in self._told:
            return
        self._told[message.id] = None
        while len(self._told) > _MAX_TOLD:
            self._told.popitem(last=False)
        self._refuse(message, str(error))

    def _refuse(self, message: Message, sentence: str) -> None:
        outlet = AnswerOutlet.for_message(self._sender, message)
        self._answering.begin(message, outlet, is_kept=False, answer=answer_with(error_card(sentence)))

    # ---- edits and deletions

    async def _changed(self, event: Json, workspace: Workspace) -> None:
        """Store the new text of an edited message, and start its answer again if it is being written."""
        changed, before = event.get("message") or {}, event.get("previous_message") or {}
        # The event also comes when a link preview is added.
        if changed.get("text") != before.get("text") or len(present_files(changed)) < len(present_files(before)):
            channel, kind = str(event.get("channel") or ""), str(event.get("channel_type") or "")
            await self._edited(changed, workspace, channel, kind, changed_ts=str(event.get("ts") or ""))

    async def _edited(
        self, changed: Json, workspace: Workspace, channel: str, channel_type: str, *, changed_ts: str = ""
    ) -> None:
        said = read_said(changed, workspace, channel=channel, channel_type=channel_type)
        # A file that is taken away is no edit to Slack.
        edited_ts = changed_ts or str((changed.get("edited") or {}).get("ts") or "")
        if said is None or not self._edits.is_new(said.id, edited_ts):
            return
        stored: list[Message] = []

        async def store() -> None:
            if self._edits.is_newest(said.id, edited_ts):
                described = await with_files(self._sender, said)
                message = await self._reader.read(described, workspace, await self._reader.names_in(said, workspace))
                await self._arrivals.edited(message.id, message)
                await self._bot.edited(message)
                stored.append(message)

        await self._until_done(store, "an edit")
        if stored and self._edits.is_newest(said.id, edited_ts):
            await self._answer_edited(stored[0], said, workspace)

    async def _answer_edited(self, message: Message, said: Said, workspace: Workspace) -> None:
        """Start the answer to an edited message again, or answer one that an edit has made a question."""
        try:
            if self._answering.is_open(message.id) and not await self._bot.is_wanted(message):
                # An edit that removes the bot's name takes the question back.
                await self.deleted([message.id])
                return
            if self._bot.is_gone(SLACK.key, message.id):
                # Taken back by an earlier edit; its id was answered, so it can't be asked again.
                if await self._bot.is_wanted(message):
                    self._refuse(message, _TAKEN_BACK)
                return
            if self._answering.is_open(message.id):
                message = replace(message, author=await self._people.author(workspace, said.user_id))
            is_answered_again = await self._answering.edited(message)
            if not is_answered_again:
                # An answer that has ended just now may have stored the old words after the new ones had come.
                await self._bot.edited(message)
            if not is_answered_again and now_utc() - message.created_at_utc < _EDITED_IN:
                await self._accept(said, workspace)
        except Unavailable as e:
            logger.warning("could not handle an edit in channel %s: %s", said.id.channel, e)

    async def deleted(self, message_ids: list[str]) -> None:
        """Erase deleted messages, also the bot's own, and cancel the answers being written to them."""
        self._waiting_ids.difference_update(message_ids)
        self._bot.note_gone(SLACK.key, message_ids)
        for message_id in message_ids:
            await self._answering.withdrawn(message_id)
        await self._until_done(lambda: self._bot.deleted(SLACK.key, message_ids), "a deletion")

    async def _until_done(self, store: Callable[[], Awaitable[None]], what: str) -> None:
        """Try to store what happened until the database takes it: Slack says it once."""
        await until_available(store, what, gives_up=lambda: self._is_closing)

    # ---- what was missed

    async def read_back(self) -> None:
        """Handle what was sent without a socket, in every workspace; try until everything is read."""
        # Before anything is read it has to be known which channels several workspaces share.
        await asyncio.gather(*(self._channels.look(workspace.team) for workspace in self._workspaces))
        await asyncio.gather(*(self._read_back(workspace) for workspace in self._workspaces))
        if not self._is_closing:
            await self._too_late.tell()

    async def _read_back(self, workspace: Workspace) -> None:
        marks = self._marks[workspace.team]
        num_tries, gap = 0, marks.gap
        done: set[str] = set()
        while not self._is_closing:
            if marks.gap != gap:  # another one has started
                done.clear()
            gap, after = marks.gap, marks.start_of_gap
            try:
                async for found in self._missed.read(workspace.team, not_too_old(after), done=done):
                    await self._take_found(found, workspace)
            except Unavailable as e:
                logger.warning("could not read back workspace %s: %s", workspace.team, e)
            except FewshotError as e:
                # Its token was revoked or lacks a scope: the other workspaces go on.
                logger.warning("workspace %s can't be read back: %s", workspace.team, e)
                return
            else:
                marks.was_read(gap)
                # It takes many calls, and nobody waits for it.
                run_in_background(self._follow_changes(workspace, after), "following edits and deletions on Slack")
                return
            await asyncio.sleep(min(_MAX_PAUSE_S, 2.0**num_tries))
            num_tries += 1

    async def _take_found(self, missed: Sequence[Found], workspace: Workspace) -> None:
        """Accept messages in the order in which they were sent; one that can't be read is skipped."""
        for found in sorted(missed, key=lambda one: str(one.message.get("ts", ""))):
            try:
                await self._take_one(found, workspace)
            except FewshotError:
                raise
            except Exception:
                # It must not cost the others their answers.
                logger.exception("a message of channel %s can't be handled", found.channel)

    async def _take_one(self, found: Found, workspace: Workspace) -> None:
        said = read_said(found.message, workspace, channel=found.channel, channel_type=found.channel_type)
        self._hearing.note(found.message, workspace.team, found.channel)
        if said is not None:
            self._marks[workspace.team].saw(said.id.ts)
            await self._answering.wait_for_room(_MAX_AT_ONCE)
            try:
                await self._accept(said, workspace)
            except Unavailable:
                raise  # it is read once more
            except BaseException:
                self._done(said)
                raise
            self._done(said)

    async def _follow_changes(self, workspace: Workspace, since: str) -> None:
        """Handle the edits and deletions of a gap; one look after another, a later one includes those before it."""
        team = workspace.team
        self._changes_since[team] = min(since, self._changes_since.get(team, since))
        if team in self._following:
            return
        self._following.add(team)
        try:
            while team in self._changes_since and not self._is_closing:
                async for deleted, edited in self._missed.find_changes(team, self._changes_since.pop(team)):
                    if deleted:
                        await self.deleted(deleted)
                    for found in edited:
                        await self._edited(found.message, workspace, found.channel, found.channel_type)
        except FewshotError as e:
            logger.warning("could not follow the edits and deletions in workspace %s: %s", team, e)
        finally:
            self._following.discard(team)
