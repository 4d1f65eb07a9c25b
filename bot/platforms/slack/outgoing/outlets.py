"""Outlets on Slack: a message in a channel or thread, streamed where Slack can; and answers to interactions."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bot.core.cards import Card, Form, Progress, Text
from bot.core.messages import Message, PlaceKind
from bot.core.wording import shorten
from bot.errors import MessageGone, MissingPermission, RequestError, SendRefused
from bot.platforms.shared.streaming import WAITING, Outlet
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.outgoing.rendering import Attached, Rendering, prepare, render
from bot.platforms.slack.outgoing.rich_text import quiet
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.outgoing.streamed import StreamedWords, words_of
from bot.platforms.slack.outgoing.views import Origin, open_view
from bot.platforms.slack.traits import SLACK

logger = logging.getLogger(__name__)

# A snapshot is soon replaced by the next one, so it is tried only for this long.
SNAPSHOT_DEADLINE_S: Final = 8.0
_REFUSED: Final = "warning"
_MAX_STATUS: Final = 50
_THINKING: Final = "is thinking…"
_COMES_HERE: Final = "The result comes here; this line does not change."
_FILES_WENT: Final = "Files went to the person who asked, as direct messages."
_NO_MEMBER: Final = "I am not in this channel, so I hear nothing here. To talk with me, add me with /invite."
_STOPPED_TALKING: Final = ""


class SlackOutlet(Outlet):
    """A place on Slack that shows one message."""

    traits = SLACK

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._shown: Rendering | None = None
        self._uploaded: set[Attached] = set()
        # An earlier run may have uploaded the files.
        self._may_have_files = False
        self._has_told_progress = False

    async def _tell_progress(self, place: Address, asker: str, card: Card, stop_id: str | None) -> None:
        """Say once, to the asker only, that a private answer takes a while: such a message can't be changed later."""
        if not self._has_told_progress and any(isinstance(block, Progress) for block in card.blocks):
            self._has_told_progress = True
            rendering = render(replace(card, blocks=(*card.blocks, Text(_COMES_HERE, is_quiet=True))), stop_id=stop_id)
            await self._sender.post_private(place, asker, rendering)

    async def _upload(self, address: Address, files: Sequence[Attached], *, below: SlackId | None) -> None:
        """Upload the files of a finished answer below it, each once."""
        after = "" if below is None else below.ts
        for file in files:
            if file not in self._uploaded:
                await self._sender.upload(address, file, after=after, is_unsure=self._may_have_files)
                self._uploaded.add(file)


class AnswerOutlet(SlackOutlet):
    """The bot's answer to a message or a slash command: one message in its channel or thread.

    `asker` is the user id of the person who asked, who alone sees a private card. `request_id` ensures that nothing is
    posted twice. `sent` is the message that an earlier run posted, or with `is_clicked` that whose button was pressed.
    """

    def __init__(
        self,
        sender: Sender,
        address: Address,
        *,
        request_id: str,
        asker: str,
        target: SlackId | None = None,
        is_direct: bool = False,
        sent: SlackId | None = None,
        is_clicked: bool = False,
    ) -> None:
        super().__init__(sender)
        self._may_have_files = sent is not None and not is_clicked
        self._address = address
        self._request_id = request_id
        self._asker = asker
        self._target = target
        self._is_direct = is_direct
        self._sent = sent
        self._is_from_before = sent is not None
        self._is_gone = False
        # Slack streams only into threads.
        self._may_stream = bool(address.thread) and sent is None
        self._stream: StreamedWords | None = None
        self._first_words = ""
        self._was_streamed = False
        # A call that may have posted the answer has failed or was cancelled.
        self._is_unsure = False

    @classmethod
    def for_message(cls, sender: Sender, message: Message, *, sent: SlackId | None = None) -> "AnswerOutlet":
        """Return the place of the answer to `message`."""
        target = SlackId.parse(message.id)
        return cls(
            sender,
            Address(target.team, target.channel, message.scope.thread),
            request_id=message.id,
            asker=message.author.id,
            target=target,
            is_direct=message.scope.kind == "direct",
            sent=sent,
        )

    @property
    def sent_ids(self) -> tuple[str, ...]:
        """Return the id of the posted message."""
        return () if self._sent is None else (str(self._sent),)

    async def show_typing(self) -> None:
        """Show in the thread that the bot is at work."""
        await self._sender.show_status(self._address, _THINKING)

    async def show_snapshot(self, card: Card, *, stop_id: str | None) -> None:
        """Show an unfinished answer: what can only be waited for as a status, words as a stream, else a message."""
        self._check_not_gone()
        if card.answers == "private" and not self._is_direct:
            await self._tell_progress(self._private_place, self._asker, card, stop_id)
            return
        if (status := _status_of(card)) is not None and self._sent is None:
            await self._sender.show_status(self._address, status)
            return
        if self._sent is None and self._may_stream and (words := words_of(card)):
            await self._start_stream(words)
            if self._may_stream:
                return
        if self._stream is not None:
            if await self._stream.show(card):
                return
            self._stream = None
        rendering = render(card, stop_id=stop_id)
        if not rendering.looks_like(self._shown):
            await self._show(rendering, deadline_s=SNAPSHOT_DEADLINE_S)

    async def wait_turn(self) -> None:
        """Wait until Slack's limits allow another snapshot."""
        is_streamed = self._stream is not None
        await self._sender.wait_turn(self._address, self._sent, is_streamed=is_streamed)

    async def show_whole(self, card: Card) -> None:
        """Show the finished answer; without its files if the bot may not upload files."""
        self._check_not_gone()
        pictures = await prepare(card)
        rendering = render(card, pictures=pictures)
        if rendering.is_private and not self._is_direct:
            await self._show_private(rendering)
            return
        if self._stream is not None:
            stream, self._stream = self._stream, None
            if await stream.end(card, pictures, self._request_id):
                self._shown = rendering
                await self._upload(self._address, rendering.files, below=self._sent)
                return
        try:
            await self._show(rendering)
            await self._upload(self._address, rendering.files, below=self._sent)
        except MissingPermission:
            if not (rendering.pictures or rendering.files):
                raise
            await self._show(render(card, allows_files=False))

    async def _show_private(self, rendering: Rendering) -> None:
        await self._delete_shown()  # words that everybody sees, before an error
        await self._sender.post_private(self._private_place, self._asker, _with_hint(rendering))
        await self._sender.send_files(self._address, self._asker, rendering.files)
        await self._sender.show_status(self._address, _STOPPED_TALKING)

    async def _delete_shown(self) -> None:
        """Delete what everybody sees of the answer."""
        self._stream = None
        if self._sent is None and self._is_unsure:
            await self._find_sent()
        if self._sent is not None:
            await self._sender.delete(self._sent)
            self._sent = None

    async def _find_sent(self) -> None:
        """Find out whether a failed or cancelled call has posted the answer."""
        found = await self._sender.find(self._address, self._request_id)
        if found is not None:
            self._sent = SlackId(self._address.team, self._address.channel, str(found["ts"]))
        elif self._address.thread:
            self._sent = await self._sender.streams.find_lost(self._address, self._after_ts)
            self._was_streamed = self._sent is not None
        self._is_unsure = False

    @property
    def _private_place(self) -> Address:
        """Return where only one person sees something: nothing is visible there in a thread without replies."""
        begins_thread = self._target is not None and self._target.ts == self._address.thread
        return replace(self._address, thread="") if begins_thread else self._address

    @property
    def _after_ts(self) -> str:
        return self._target.ts if self._target is not None else self._address.thread

    async def _start_stream(self, words: str) -> None:
        """Begin with the first words, unless too many streams have started in this minute."""
        if not self._sender.streams.may_start(self._address.team):
            return
        # An earlier try may have started it with these.
        self._first_words = self._first_words or words
        was_unsure, self._is_unsure = self._is_unsure, True
        try:
            self._sent = await self._sender.streams.start(
                self._address, self._asker, self._first_words, after_ts=self._after_ts, is_unsure=was_unsure
            )
        except (SendRefused, MissingPermission) as e:
            # An unknown method, or a workspace without streams: the answer is posted and updated instead.
            logger.info("an answer in channel %s is not streamed: %s", self._address.channel, e)
            self._may_stream, self._is_unsure = False, was_unsure
        else:
            self._is_unsure, self._was_streamed = False, True
            self._stream = StreamedWords(self._sender, self._sent, self._first_words)

    async def _show(self, rendering: Rendering, *, deadline_s: float | None = None) -> None:
        self._shown = None  # after a failure it is unknown what is shown
        if self._sent is None and self._is_unsure:
            await self._find_sent()
        if self._sent is None:
            self._is_unsure = True
            try:
                self._sent = await self._sender.post(
                    self._address, rendering, request_id=self._request_id, deadline_s=deadline_s
                )
            except (MissingPermission, SendRefused):
                self._is_unsure = False
                raise
            self._is_unsure = False
        else:
            is_begun_before = self._is_from_before and self._target is not None
            request_id = self._request_id if self._was_streamed or is_begun_before else ""
            try:
                await self._sender.update(self._sent, rendering, deadline_s=deadline_s, request_id=request_id)
            except MessageGone:
                self._is_gone = True
                raise
        self._is_from_before = False
        self._shown = rendering

    async def keep_shown(self) -> bool:
        """Take the buttons from the message that an earlier run posted; return False if this run has changed it."""
        if not self._is_from_before or self._sent is None:
            return False
        for message in await self._sender.newest(self._address, after=self._sent.ts, is_inclusive=True):
            if message.get("ts") == self._sent.ts:
                kept = tuple(block for block in message.get("blocks", []) if block.get("type") != "actions")
                await self._sender.update(self._sent, Rendering(str(message.get("text", "")), kept))
                return True
        return False

    async def mark_refused(self) -> bool:
        """Add a reaction to the refused message, unless its answer is already visible."""
        if self._sent is not None or self._target is None:
            return False
        return await self._sender.react(self._target, _REFUSED)

    async def remove(self) -> None:
        """Delete what was posted."""
        self._is_gone = True
        await self._delete_shown()

    async def open_form(self, form: Form) -> None:
        """Refuse: Slack opens a form only from a click, a shortcut or a slash command."""
        raise RequestError("A form can't be opened from a message. Use the button.")

    def _check_not_gone(self) -> None:
        if self._is_gone:
            raise MessageGone("The answer was deleted.")


def _status_of(card: Card) -> str | None:
    """Return the status for a card that only asks to wait, None for any other; Slack shows it behind the bot's name."""
    texts = [block for block in card.blocks if isinstance(block, Text) and block.is_quiet]
    if card.is_final or not texts or len(texts) != len(card.blocks):
        return None
    if card.blocks == WAITING.blocks:
        return _THINKING
    return shorten(f"is waiting: {' '.join(text.text for text in texts)}", _MAX_STATUS)


class InteractionOutlet(SlackOutlet):
    """The answer to a slash command, a shortcut, a click or a modal, through its response address.

    `clicked` is the message whose button was pressed: a public answer replaces it. With `clicked_is_private` only the
    asker sees it. Everything else is posted at `address`, or shown to the asker only. With `begins_thread` nobody has
    replied in its thread yet. `sent` is what an earlier run has posted.
    """

    def __init__(
        self,
        sender: Sender,
        address: Address,
        *,
        asker: str,
        request_id: str,
        response_url: str = "",
        trigger_id: str = "",
        clicked: SlackId | None = None,
        clicked_is_private: bool = False,
        kind: PlaceKind = "server",
        begins_thread: bool = False,
        sent: SlackId | None = None,
    ) -> None:
        super().__init__(sender)
        self._address = address
        # Slack shows nothing in a thread without a reply that only one person would see.
        self._private_place = replace(address, thread="") if begins_thread else address
        self._kind = kind
        self._asker = asker
        self._response_url = response_url
        self._trigger_id = trigger_id
        self._clicked = clicked
        self._clicked_is_private = clicked_is_private
        self._origin = Origin(
            address, clicked, kind, response_url, is_private=clicked_is_private, begins_thread=begins_thread
        )
        self._answer = AnswerOutlet(
            sender,
            address,
            request_id=request_id,
            asker=asker,
            is_direct=kind == "direct",
            sent=clicked or sent,
            is_clicked=clicked is not None,
        )

    @property
    def sent_ids(self) -> tuple[str, ...]:
        """Return the id of a posted message; a clicked one belongs to an earlier request."""
        return () if self._clicked is not None or self._clicked_is_private else self._answer.sent_ids

    async def open_form(self, form: Form) -> None:
        """Open a modal. Raises RequestError if that is not possible."""
        if not self._trigger_id:
            raise RequestError("A form can't be opened from here. Use the button.")
        await open_view(self._sender, self._trigger_id, form, self._origin)

    async def wait_turn(self) -> None:
        """Wait until Slack's limits allow another snapshot."""
        await self._answer.wait_turn()

    async def show_snapshot(self, card: Card, *, stop_id: str | None) -> None:
        """Show an unfinished answer that everybody sees."""
        if card.answers == "private" or self._clicked_is_private:
            await self._tell_progress(self._private_place, self._asker, card, stop_id)
            return
        if self._clicked is None or not _is_waiting(card):
            await self._answer.show_snapshot(card, stop_id=stop_id)

    async def show_whole(self, card: Card) -> None:
        """Show the finished answer: in place of what was clicked, to everybody, or to the asker only."""
        rendering = render(card, pictures=await prepare(card))
        if self._clicked_is_private or rendering.is_private:
            await self._show_private(rendering, replaces=self._clicked_is_private and not rendering.is_private)
            return
        try:
            await self._answer.show_whole(card)
        except MissingPermission:
            # Slash commands and their buttons work in channels in which the bot is not a member.
            if not self._response_url:
                raise
            hints = [_FILES_WENT] if rendering.files else []
            hints += [_NO_MEMBER] if self._kind == "server" and self._clicked is None else []
            blocks = (*rendering.blocks, *map(quiet, hints))
            await self._respond(replace(rendering, blocks=blocks), replaces=self._clicked is not None)
            if rendering.files:
                await self._sender.send_files(self._address, self._asker, rendering.files)

    async def _show_private(self, rendering: Rendering, *, replaces: bool) -> None:
        """Show the answer to the asker only; one that `replaces` the clicked card takes its place."""
        private = replace(rendering, is_private=True)
        shown = private if self._kind == "direct" else _with_hint(private)
        # By the response address an answer that only one person sees can't be in a thread.
        is_by_address = replaces or not (rendering.pictures or self._private_place.thread)
        if self._response_url and is_by_address:
            try:
                await self._respond(shown, replaces=replaces)
            except (MessageGone, SendRefused):
                await self._post_private(shown)
        else:
            try:
                await self._post_private(shown)
            except (MissingPermission, SendRefused):
                if not self._response_url or rendering.pictures:
                    raise
                await self._respond(shown, replaces=False)
        if rendering.files:
            await self._sender.send_files(self._address, self._asker, rendering.files)

    async def _post_private(self, rendering: Rendering) -> None:
        await self._sender.post_private(self._private_place, self._asker, rendering)

    async def _respond(self, rendering: Rendering, *, replaces: bool) -> None:
        thread = "" if replaces or rendering.is_private else self._address.thread
        # Slash commands don't work in threads; by the address of a click the clicked card would be replaced.
        is_first = self._clicked is None and not (self._clicked_is_private or self._address.thread)
        await self._sender.respond(
            self._address.team, self._response_url, rendering, replaces=replaces, thread=thread, is_first=is_first
        )

    async def keep_shown(self) -> bool:
        """Take the buttons from what an earlier run posted."""
        return self._clicked is None and await self._answer.keep_shown()

    async def remove(self) -> None:
        """Delete the posted answer; a clicked message stays."""
        if self._clicked is None:
            await self._answer.remove()


def _with_hint(rendering: Rendering) -> Rendering:
    """Return a private rendering that says where its files are."""
    if not rendering.files:
        return rendering
    noun = "file is" if len(rendering.files) == 1 else "files are"
    return replace(rendering, blocks=(*rendering.blocks, quiet(f"The {noun} in your direct messages with me.")))


def _is_waiting(card: Card) -> bool:
    return _status_of(card) is not None
