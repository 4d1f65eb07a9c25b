"""The smallest platform: a board of messages in memory, with only what the shared code needs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bot.core.cards import Card, Text
from bot.core.messages import Author, Message, Scope
from bot.core.platform_traits import PlatformTraits
from bot.platforms.shared.platform import Platform, Reopened
from bot.platforms.shared.streaming import Outlet
from bot.services.ledger import Accepted

TRAITS: Final = PlatformTraits(key="board", name="Board", answerable_s=900.0)
HERE: Final = Scope(TRAITS.key, "home", "general")
ANN: Final = Author("ann", "Ann")


def said(message_id: str, text: str = "Hello") -> Message:
    """Return a message from Ann to the bot."""
    return Message(message_id, HERE, ANN, text, reach="public")


def text_of(card: Card) -> str:
    """Return the text that the board shows for a card."""
    return card.error or " ".join(block.text for block in card.blocks if isinstance(block, Text))


@dataclass
class Board:
    """All messages by id, in order, with every text that each has had. `failures` are raised, one per try."""

    versions: dict[str, list[str]] = field(default_factory=dict)
    stop_ids: list[str | None] = field(default_factory=list)
    num_typings: int = 0
    failures: list[Exception | None] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [versions[-1] for versions in self.versions.values()]

    def fail_if_told(self) -> None:
        error = self.failures.pop(0) if self.failures else None
        if error is not None:
            raise error


class BoardOutlet(Outlet):
    """One message on the board. `after_showing` is called when the whole answer is shown."""

    traits = TRAITS
    shows_waiting = True

    def __init__(self, board: Board, request_id: str, *, after_showing: Callable[[], None] = lambda: None) -> None:
        self._board = board
        self._id = f"{request_id}.0"
        self._after_showing = after_showing

    @property
    def sent_ids(self) -> tuple[str, ...]:
        return (self._id,) if self._id in self._board.versions else ()

    async def show_snapshot(self, card: Card, *, stop_id: str | None) -> None:
        if self._board.versions.get(self._id, [""])[-1] != text_of(card):
            self._show(card, stop_id)

    async def show_whole(self, card: Card) -> None:
        self._show(card, None)
        self._after_showing()

    async def remove(self) -> None:
        self._board.versions.pop(self._id, None)

    async def show_typing(self) -> None:
        self._board.num_typings += 1

    def _show(self, card: Card, stop_id: str | None) -> None:
        self._board.fail_if_told()
        self._board.versions.setdefault(self._id, []).append(text_of(card))
        self._board.stop_ids.append(stop_id)


@dataclass
class BoardPlatform(Platform):
    """The board as a platform; `notices` holds its other channels."""

    board: Board
    notices: dict[str, list[str]] = field(default_factory=dict)

    async def reopen(self, request: Accepted) -> Reopened:
        self.board.fail_if_told()
        outlet = BoardOutlet(self.board, request.message.id)
        shown = [self.board.versions[sent_id][-1] for sent_id in outlet.sent_ids]
        return Reopened(outlet, is_whole=shown == [request.reply_text])

    async def post_notice(self, channel_id: str, notice: Card, cause: Message, notice_id: str) -> None:
        self.board.fail_if_told()
        self.notices[channel_id].append(f"{notice_id}: {text_of(notice)}")

    async def delete(self, scope: Scope, sent_id: str) -> None:
        self.board.versions.pop(sent_id, None)
