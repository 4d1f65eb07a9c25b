"""The Home tab and the modals beside it: cards as views, for the one person who opened them."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bot.core.cards import Block, Card, Form, Text
from bot.core.safe_text import clean_model_text
from bot.errors import DeliveryFailed, MessageGone, MissingPermission, SendRefused
from bot.platforms.slack.ids import Address
from bot.platforms.slack.interactions.items import item_blocks, stop_block
from bot.platforms.slack.interactions.places import Happened
from bot.platforms.slack.outgoing.blocks import show_block
from bot.platforms.slack.outgoing.outlets import SlackOutlet
from bot.platforms.slack.outgoing.rendering import render
from bot.platforms.slack.outgoing.rich_text import Json, header, label, paragraph, quiet, words
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.outgoing.views import Origin, open_view, show_modal

logger = logging.getLogger(__name__)

_MAX_BLOCKS: Final = 90
_ROOM: Final = 2_500
_MAX_TITLE: Final = 24
_PROGRESS_EVERY_S: Final = 2.0
_TITLE: Final = "Templates"
_SETTINGS: Final = "Settings"
_FAILED: Final = "That did not work"
_DONE: Final = "Done."
_OPENING: Final = Card(blocks=(Text("One moment …", is_quiet=True),))
_CUT: Final = "… This is not all of it: give the command in a message to see the rest."
_SENT: Final = "The file is in your direct messages with me."


class ViewOutlet(SlackOutlet):
    """What a person sees on their Home tab, or in a modal: a public answer replaces it, a private one opens a modal.

    With `opens_modal` the first answer opens a modal, whatever it is. `intro` stands above the list of templates on the
    Home tab.
    """

    def __init__(self, sender: Sender, happened: Happened, *, intro: str = "", opens_modal: bool = False) -> None:
        super().__init__(sender)
        self._intro = intro
        self._happened = happened
        self._opens_modal = opens_modal
        self._has_opened = False
        self._may_open = bool(happened.trigger_id)
        self._shown_at = -_PROGRESS_EVERY_S

    async def open_at_once(self) -> None:
        """Open the modal before anything is known: its trigger is valid for three seconds only."""
        self._may_open = False
        try:
            await self._open({**_modal(_OPENING), "external_id": self._happened.id})
            self._has_opened = True
        except (MessageGone, SendRefused, MissingPermission, DeliveryFailed) as e:
            logger.info("a modal did not open: %s", e)  # the answer tries again, and is a direct message at last

    async def show_snapshot(self, card: Card, *, stop_id: str | None) -> None:
        """Show the progress of what will stand beside the view; it is not yet known what replaces the view."""
        if not self._is_beside(card) or time.monotonic() - self._shown_at < _PROGRESS_EVERY_S:
            return
        self._shown_at = time.monotonic()
        stop = [] if stop_id is None else [stop_block(stop_id)]
        view = {**_modal(card), "external_id": self._happened.id}
        view["blocks"] = [*view["blocks"], *stop]
        if self._has_opened:
            await self._update_opened(view)
        elif self._may_open:
            self._may_open = False  # a trigger opens one modal
            await self._open(view)
            self._has_opened = True

    def _is_beside(self, card: Card) -> bool:
        return self._opens_modal or card.error is not None or card.answers == "private"

    async def _open(self, view: Json) -> None:
        happened = self._happened
        is_above = bool(happened.modal_id)
        await show_modal(self._sender, happened.address.team, happened.trigger_id, view, is_above=is_above)

    async def _update_opened(self, view: Json) -> None:
        happened = self._happened
        await self._sender.call(happened.address.team, "views_update", external_id=happened.id, view=view)

    async def show_whole(self, card: Card) -> None:
        """Show the finished answer in place of the view, or beside it."""
        happened, team = self._happened, self._happened.address.team
        # Only a click can open a modal; what comes of opening the tab is shown there.
        if self._is_beside(card) and happened.trigger_id:
            await self._show_beside(card)
        elif happened.modal_id:
            await self._sender.call(team, "views_update", view_id=happened.modal_id, view=_modal(card))
        else:
            await self._sender.call(team, "views_publish", user_id=happened.user_id, view=_home(card, self._intro))
        if card.file is not None:
            files = render(replace(card, blocks=())).files
            await self._sender.send_files(Address(team, ""), happened.user_id, files)

    async def _show_beside(self, card: Card) -> None:
        """Show the answer in a modal; what comes too late for that is a direct message."""
        happened, team = self._happened, self._happened.address.team
        try:
            if self._has_opened:
                await self._update_opened({**_modal(card), "external_id": happened.id})
            else:
                await self._open(_modal(card))
        except (MessageGone, SendRefused, MissingPermission, DeliveryFailed) as e:
            logger.info("an answer is a direct message instead of a modal: %s", e)
            opened = await self._sender.call(team, "conversations_open", users=happened.user_id)
            # Its buttons belong to the Home tab, and would not be found there.
            shown = replace(card, open_card_id=None, reply_id=None, file=None)
            address = Address(team, str(opened["channel"]["id"]))
            await self._sender.post(address, render(shown), request_id=happened.id)

    async def open_form(self, form: Form) -> None:
        """Open a modal. Raises RequestError if that is not possible."""
        happened = self._happened
        origin = Origin(happened.address, modal_id=happened.modal_id)
        await open_view(self._sender, happened.trigger_id, form, origin)

    async def remove(self) -> None:
        """Do nothing: the next answer replaces the view."""


def _modal(card: Card) -> Json:
    title = _FAILED if card.error is not None else _SETTINGS if "settings" in card.data else _TITLE
    return {
        "type": "modal",
        "title": label(title, _MAX_TITLE),
        "close": label("Close", _MAX_TITLE),
        "blocks": view_blocks(card),
    }


def _home(card: Card, intro: str = "") -> Json:
    about = [paragraph([words(intro)])] if intro else []
    title = [] if _has_title(card.blocks) else [*about, header(_TITLE)]
    return {"type": "home", "blocks": [*title, *view_blocks(card)]}


def view_blocks(card: Card) -> list[Json]:
    """Return a card as the blocks of a view, which has no tables, no Markdown and no files."""
    if card.error is not None:
        return [paragraph([words(f"⚠️ {card.error}")])]
    blocks: list[Json] = []
    is_whole = True
    for number, block in enumerate(card.blocks):
        plain = _without_markdown(block)
        shown = show_block(plain, _ROOM, is_title=number == 0 and plain is block, allows_table=False)
        blocks += shown.blocks
        is_whole = is_whole and shown.is_whole
    items = item_blocks(card)
    if not is_whole or len(blocks) + len(items) > _MAX_BLOCKS:
        blocks = [*blocks[: _MAX_BLOCKS - len(items) - 1], quiet(_CUT)]
    if card.file is not None:
        blocks.append(quiet(_SENT))
    return [*blocks, *items] or [quiet(_DONE)]


def _has_title(blocks: Sequence[Block]) -> bool:
    return bool(blocks) and isinstance(blocks[0], Text) and not blocks[0].is_quiet


def _without_markdown(block: Block) -> Block:
    """Return the model's words as words that Slack takes literally, as those of people."""
    if isinstance(block, Text) and block.is_model_text:
        return replace(block, text=clean_model_text(block.text), is_model_text=False)
    return block
