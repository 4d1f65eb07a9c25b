"""A text as a tree: each continuation is a branch that goes on from a place in another one, which stays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from bot.errors import RequestError

BEGINNING: Final = 0  # the id that stands for the text that was given; the tree does not hold it
MAX_BRANCHES: Final = 200
MAX_TOKENS: Final = 12_000  # of all branches; the whole tree is read and written at each step
MAX_PAST: Final = 200
FULL: Final = f"This text has {MAX_BRANCHES} branches, which is the limit. Prune some of them first."


@dataclass(frozen=True, slots=True)
class Branch:
    """A piece of text that goes on from `parent`, behind the first `kept` characters of the parent's own text.

    `logprob` (nats) is its own, at temperature 1; None if nobody knows it. `ends` are where its tokens end
    in `text`, `logprobs` their log-probabilities; both are empty if they are not known. `seed` is that of the round
    that drew it, `strategy` the name of the one that did, if several took part.
    """

    text: str
    parent: int = BEGINNING
    kept: int = 0
    logprob: float | None = 0.0
    finish_reason: str | None = None
    seed: int | None = None
    ends: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    name: str = ""
    id: int = 0
    strategy: str = ""

    @property
    def is_word(self) -> bool:
        """Say whether a person chose it as a word, so that the model ended nothing."""
        return self.finish_reason is None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a person stands: behind the branch `at`, with the branches on offer there.

    An option is a branch at the end of `at`, or what makes one longer. `pruned` branches are not shown, nor are those
    that go on from them.
    """

    at: int = BEGINNING
    options: tuple[int, ...] = ()
    pruned: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TextTree:
    """The branches of a text, oldest first, the present position, and earlier ones for undo, oldest first."""

    branches: tuple[Branch, ...] = ()
    here: Position = Position()
    past: tuple[Position, ...] = ()

    def branch(self, branch_id: int) -> Branch:
        """Return a branch. Raises KeyError."""
        for branch in self.branches:
            if branch.id == branch_id:
                return branch
        raise KeyError(branch_id)

    def path(self, branch_id: int) -> tuple[tuple[Branch, int], ...]:
        """Return the branches from the beginning to `branch_id`, each with how many characters of it count there."""
        by_id = {branch.id: branch for branch in self.branches}
        found: list[tuple[Branch, int]] = []
        kept = None
        while branch_id != BEGINNING:
            branch = by_id[branch_id]
            found.append((branch, len(branch.text) if kept is None else kept))
            branch_id, kept = branch.parent, branch.kept
        return tuple(reversed(found))

    def text_of(self, branch_id: int) -> str:
        """Return the text from behind the beginning to the end of a branch."""
        return "".join(branch.text[:kept] for branch, kept in self.path(branch_id))

    def text_before(self, branch_id: int) -> str:
        """Return the text from behind the beginning to where a branch starts."""
        return "".join(branch.text[:kept] for branch, kept in self.path(branch_id)[:-1])

    def place_in(self, branch_id: int, num_characters: int) -> tuple[int, int]:
        """Return where the first `num_characters` of the text of `branch_id` end: a branch, and how many it keeps."""
        left = num_characters
        at, kept_of_at = BEGINNING, 0
        for branch, kept in self.path(branch_id):
            if left <= 0:
                break
            at, kept_of_at = branch.id, min(left, kept)
            left -= kept
        return at, kept_of_at

    def replaced_by(self, branch: Branch, *, num_characters: int | None = None) -> str:
        """Return the text of the parent that goes on where `branch` starts, "" if it starts at the parent's end.

        With `num_characters` only so many of it, since a parent may be long and have many branches.
        """
        end = None if num_characters is None else branch.kept + num_characters
        return "" if branch.parent == BEGINNING else self.branch(branch.parent).text[branch.kept : end]

    def children(self, branch_id: int) -> tuple[Branch, ...]:
        """Return the branches that go on from a branch and are not pruned, oldest first."""
        pruned = self.here.pruned
        return tuple(one for one in self.branches if one.parent == branch_id and one.id not in pruned)

    def listed(self, branch_id: int = BEGINNING, depth: int = 1) -> Iterator[tuple[Branch, int]]:
        """Yield the branches behind `branch_id`, each with its depth and right before what goes on from it."""
        children: dict[int, list[Branch]] = {}
        for branch in self.branches:
            if branch.id not in self.here.pruned:
                children.setdefault(branch.parent, []).append(branch)
        waiting = [(branch, depth) for branch in reversed(children.get(branch_id, ()))]
        while waiting:
            branch, depth = waiting.pop()
            yield branch, depth
            waiting += [(child, depth + 1) for child in reversed(children.get(branch.id, ()))]

    def offered_at(self, branch_id: int, num: int) -> tuple[int, ...]:
        """Return the newest `num` branches that the model wrote at the end of `branch_id`."""
        length = 0 if branch_id == BEGINNING else len(self.branch(branch_id).text)
        found = [one.id for one in self.children(branch_id) if one.kept == length and not one.is_word]
        return tuple(found[-num:])

    def is_shown(self, branch_id: int) -> bool:
        """Say whether there is such a branch that is not pruned; the beginning always is."""
        ids = {branch.id for branch in self.branches}
        if branch_id != BEGINNING and branch_id not in ids:
            return False
        return not any(branch.id in self.here.pruned for branch, _ in self.path(branch_id))

    def add(self, branches: Sequence[Branch]) -> tuple["TextTree", tuple[int, ...]]:
        """Return the tree with new branches, and their ids. Raises RequestError if it is full."""
        first = max((branch.id for branch in self.branches), default=BEGINNING) + 1
        added = tuple(replace(branch, id=first + i) for i, branch in enumerate(branches))
        return replace(self, branches=self.branches + added), tuple(branch.id for branch in added)

    def move(self, position: Position) -> "TextTree":
        """Return the tree at another position; undo leads back to the present one if it offers anything."""
        past = (*self.past, self.here) if self.here.options or self.here.pruned != position.pruned else self.past
        return replace(self, here=position, past=past[-MAX_PAST:])._trimmed()

    def step(self, position: Position) -> "TextTree":
        """Return the tree at another position; undo leads back to the present one."""
        return replace(self, here=position, past=(*self.past, self.here)[-MAX_PAST:])._trimmed()

    def go(self, branch_id: int, num_options: int) -> "TextTree":
        """Return the tree behind a branch, with at most `num_options` of what the model wrote there before."""
        return self.move(replace(self.here, at=branch_id, options=self.offered_at(branch_id, num_options)))

    def prune(self, branch_id: int, num_options: int) -> "TextTree":
        """Return the tree without a branch and all that goes on from it."""
        pruned = replace(self, here=replace(self.here, pruned=(*self.here.pruned, branch_id)))
        at = self.here.at
        if pruned.is_shown(at):
            options = tuple(one for one in self.here.options if pruned.is_shown(one))
        else:
            at = self.branch(branch_id).parent
            options = pruned.offered_at(at, num_options)
        # From a position without options there is no way back either: what is pruned comes back only by undo.
        past = (*self.past, self.here)[-MAX_PAST:]
        return replace(self, here=replace(pruned.here, at=at, options=options), past=past)

    def name(self, branch_id: int, name: str) -> "TextTree":
        """Return the tree with a branch named."""
        named = (replace(one, name=name) if one.id == branch_id else one for one in self.branches)
        return replace(self, branches=tuple(named))

    def undo(self) -> "TextTree":
        """Return the tree at the position before. Raises IndexError at the start."""
        return replace(self, here=self.past[-1], past=self.past[:-1])

    def _trimmed(self) -> "TextTree":
        """Return the tree without the oldest ends that nobody chose or named, pruned ones first, if it has too many."""
        num_over = len(self.branches) - MAX_BRANCHES
        tokens_over = sum(len(branch.ends) for branch in self.branches) - MAX_TOKENS
        if num_over <= 0 and tokens_over <= 0:
            return self
        shown = {branch.id for branch, _ in self.listed()}
        needed = [self.here.at, *self.here.options, *(one.id for one in self.branches if one.name and one.id in shown)]
        in_use = {branch.id for branch_id in needed for branch, _ in self.path(branch_id)}
        gone: set[int] = set()
        while len(gone) < num_over or tokens_over > 0:
            parents = {one.parent for one in self.branches if one.id not in gone}
            ends = [one for one in self.branches if one.id not in {*gone, *in_use, *parents}]
            if not ends and len(gone) < num_over:
                raise RequestError(FULL)
            if not ends:
                break
            oldest = min(ends, key=lambda one: (one.id in shown, one.id))
            gone.add(oldest.id)
            tokens_over -= len(oldest.ends)
        return self._without(gone)

    def _without(self, gone: set[int]) -> "TextTree":
        """Return the tree without branches, and without the positions from the last one on that needs them."""
        past: list[Position] = []
        for position in reversed(self.past):
            if not gone.isdisjoint((position.at, *position.options)):
                break
            past.append(_still_pruned(position, gone))
        return TextTree(
            tuple(one for one in self.branches if one.id not in gone),
            _still_pruned(self.here, gone),
            tuple(reversed(past)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as JSON-able values."""
        return {
            "branches": [_values(branch) for branch in self.branches],
            "here": _values(self.here),
            "past": [_values(position) for position in self.past],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TextTree":
        """Return the tree that `to_dict()` wrote."""
        return cls(
            tuple(
                Branch(**{**branch, "ends": tuple(branch["ends"]), "logprobs": tuple(branch["logprobs"])})
                for branch in values["branches"]
            ),
            _position(values["here"]),
            tuple(_position(position) for position in values["past"]),
        )


EMPTY_TREE: Final = TextTree()


def _values(record: Branch | Position) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _position(values: Mapping[str, Any]) -> Position:
    return Position(values["at"], tuple(values["options"]), tuple(values["pruned"]))


def _still_pruned(position: Position, gone: set[int]) -> Position:
    return replace(position, pruned=tuple(one for one in position.pruned if one not in gone))
