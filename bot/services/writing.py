"""Texts that people write with the model: each a tree of branches, kept until its writer removes it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from weakref import WeakValueDictionary

from bot.core.messages import DIRECT_MESSAGES, Scope
from bot.core.safe_text import clean_model_text, cut_text, one_line
from bot.core.text_tree import BEGINNING, EMPTY_TREE, Position, TextTree
from bot.errors import OptedOut, RequestError
from bot.services.open_cards import FOR_GOOD, new_card
from bot.store.cards import OpenCard
from bot.store.opting_out import NOT_STORED
from bot.store.store import Store

WRITING_CARD: Final = "writing"
MAX_WRITINGS: Final = 200
MAX_NAME: Final = 60
NOT_THERE: Final = "That text is not there any more."
NO_BRANCH: Final = "That branch is not there any more."
NOTHING_TO_UNDO: Final = "There is nothing to undo."
_UNNAMED: Final = "A new text"
_NAMED_BY: Final = 40  # characters of its beginning
_MAX_CLEANED: Final = 10 * MAX_NAME  # cleaning takes a while for each character
_NUM_TRIES: Final = 5
# What a list shows of a stored text: its name, the number of its branches, and how it begins.
_ENTRY: Final = (
    "json_extract(state, '$.name')",
    "json_array_length(state, '$.tree.branches')",
    "substr(json_extract(state, '$.tree.branches[0].text'), 1, 200)",
)


@dataclass(frozen=True, slots=True)
class Writing:
    """A text with its branches. `name` is "" until somebody gives one; `revision` counts its changes from 1."""

    id: str
    name: str
    tree: TextTree
    revision: int

    @property
    def text(self) -> str:
        """Return the text where the writer is."""
        return self.tree.text_of(self.tree.here.at)

    @property
    def shown_name(self) -> str:
        """Return its name, or else how it begins."""
        return self.name or _named_by(self.tree.branches[0].text[:200] if self.tree.branches else "")


@dataclass(frozen=True, slots=True)
class WritingEntry:
    """A text in the list of somebody's texts."""

    id: str
    name: str
    num_branches: int
    changed_at_utc: datetime


Change = Callable[[Writing], Writing]


class Writings:
    """The texts of the people of a platform; nobody reads those of others.

    Every method may raise Unavailable, those that store something OptedOut, and those that name a text RequestError if
    it is not there.
    """

    def __init__(self, store: Store, platform: str) -> None:
        self._store = store
        self._platform = platform
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def list(self, owner_id: str) -> tuple[WritingEntry, ...]:
        """Return somebody's texts, the one that was changed last first. Raises OptedOut where nothing may be kept."""
        if await self._store.is_opted_out(self._platform, owner_id):
            raise OptedOut(NOT_STORED)
        cards = await self._store.parts_of_cards(self._scope(owner_id), owner_id, WRITING_CARD, *_ENTRY)
        return tuple(
            WritingEntry(card_id, name or _named_by(first or ""), num, saved_at)
            for card_id, saved_at, (name, num, first) in cards
        )

    async def get(self, owner_id: str, writing_id: str) -> Writing:
        """Return a text."""
        return _writing(await self._card(owner_id, writing_id))

    async def add(self, owner_id: str, tree: TextTree = EMPTY_TREE) -> Writing:
        """Store a new text. Raises RequestError above MAX_WRITINGS of one person."""
        async with self._turn(owner_id):
            if len(await self.list(owner_id)) >= MAX_WRITINGS:
                raise RequestError(f"You have {MAX_WRITINGS} texts, which is the limit. Remove some of them first.")
            state = {"name": "", "tree": tree.to_dict()}
            card = new_card(self._scope(owner_id), owner_id, WRITING_CARD, state, lives=FOR_GOOD)
            await self._store.save_open_card(card)
            return _writing(card)

    async def change(self, owner_id: str, writing_id: str, change: Change) -> Writing:
        """Store what `change` makes of a text, and return it; what changes nothing is not stored.

        Changes of one text follow one another. Raises what `change` raises.
        """
        async with self._turn(writing_id):
            for _ in range(_NUM_TRIES):
                card = await self._card(owner_id, writing_id)
                before = _writing(card)
                after = change(before)
                if (after.name, after.tree) == (before.name, before.tree):
                    return before
                state = {"name": after.name, "tree": after.tree.to_dict()}
                following = replace(card, revision=card.revision + 1, state=state)
                if await self._store.save_open_card(following):
                    return replace(after, revision=following.revision)
        raise RequestError(NOT_THERE)

    async def remove(self, owner_id: str, writing_id: str) -> None:
        """Erase a text with all its branches."""
        await self._card(owner_id, writing_id)
        await self._store.close_open_card(self._scope(owner_id), writing_id, erases=True)

    def _scope(self, owner_id: str) -> Scope:
        # A place of its own, in which nobody speaks: a card in a channel would take what is typed there.
        return Scope(self._platform, DIRECT_MESSAGES, f"writing {owner_id}", kind="direct")

    def _turn(self, of: str) -> asyncio.Lock:
        return self._turns.setdefault(of, asyncio.Lock())

    async def _card(self, owner_id: str, writing_id: str) -> OpenCard:
        card = await self._store.get_open_card(self._scope(owner_id), writing_id)
        if card is None or card.kind != WRITING_CARD or card.owner_id != owner_id:
            raise RequestError(NOT_THERE)
        return card


def renamed(writing: Writing, name: str) -> Writing:
    """Return a text with another name; an empty one lets its beginning be its name."""
    return replace(writing, name=_clean_name(name))


def moved_to(writing: Writing, branch_id: int, go: Callable[[TextTree, int], TextTree]) -> Writing:
    """Return a text behind a branch, by the function that goes there. Raises RequestError if there is none."""
    if not writing.tree.is_shown(branch_id):
        raise RequestError(NO_BRANCH)
    return replace(writing, tree=go(writing.tree, branch_id))


def branch_named(writing: Writing, branch_id: int, name: str) -> Writing:
    """Return a text with a branch named, "" for no name. Raises RequestError if there is none."""
    _check_branch(writing, branch_id)
    return replace(writing, tree=writing.tree.name(branch_id, _clean_name(name)))


def branch_pruned(writing: Writing, branch_id: int) -> Writing:
    """Return a text without a branch and what goes on from it; undo brings it back. Raises RequestError."""
    _check_branch(writing, branch_id)
    tree = writing.tree.prune(branch_id, 0)
    return replace(writing, tree=replace(tree, here=Position(tree.here.at, (), tree.here.pruned)))


def undone(writing: Writing) -> Writing:
    """Return a text where it was before its last step. Raises RequestError at the start."""
    if not writing.tree.past:
        raise RequestError(NOTHING_TO_UNDO)
    return replace(writing, tree=writing.tree.undo())


def _check_branch(writing: Writing, branch_id: int) -> None:
    if branch_id == BEGINNING or not writing.tree.is_shown(branch_id):
        raise RequestError(NO_BRANCH)


def _clean_name(name: str) -> str:
    return cut_text(one_line(clean_model_text(name[:_MAX_CLEANED])), MAX_NAME).strip()


def _named_by(first: str) -> str:
    """Return the name of a text without one, by the beginning of its first branch."""
    return cut_text(one_line(clean_model_text(first)), _NAMED_BY) or _UNNAMED


def _writing(card: OpenCard) -> Writing:
    state: Mapping[str, Any] = card.state
    return Writing(card.id, state["name"], TextTree.from_dict(state["tree"]), card.revision)
