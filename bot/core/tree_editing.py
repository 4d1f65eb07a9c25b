"""A text that a person writes, as a tree: what is typed, what the model wrote and was taken, and words put in place.

Branches that a person typed have no tokens. Nothing that was written goes: a change inside an earlier branch begins a
new one there. Only the last branch of one's own, which nothing goes on from, is changed in place while one types.
"""

from dataclasses import replace
from typing import Final

from bot.core.text_tree import BEGINNING, FULL, MAX_BRANCHES, Branch, Position, TextTree
from bot.errors import RequestError

MAX_TEXT_BYTES: Final = 256 * 1024  # of all branches together
TOO_LONG: Final = (
    f"A text and its branches may have {MAX_TEXT_BYTES // 1024} KB together. Begin another text for what follows."
)


def typed(tree: TextTree, at: int, text: str, *, is_aside: bool = False) -> TextTree:
    """Return the tree at `text`, which a person made of the text of the branch `at`.

    With `is_aside` the text becomes a branch of its own in any case, since somebody else may have changed that one.
    Raises RequestError if the tree is full.
    """
    before = tree.text_of(at)
    if text == before:
        return gone(tree, at)
    num_same = _num_common(before, text)
    start = len(tree.text_before(at))
    if at != BEGINNING and num_same >= start and not is_aside and _is_open(tree, at):
        branches = tuple(replace(one, text=text[start:]) if one.id == at else one for one in tree.branches)
        return gone(_checked(replace(tree, branches=branches)), at)
    parent, kept = tree.place_in(at, num_same)
    if num_same == len(text) and kept == _length(tree, parent):
        return gone(tree, parent)
    return _branched(tree, Branch(text[num_same:], parent, kept))


def taken(tree: TextTree, at: int, added: str, *, seed: int | None) -> TextTree:
    """Return the tree behind what the model wrote at the end of the branch `at`. Raises RequestError if it is full."""
    return _branched(tree, Branch(added, at, _length(tree, at), finish_reason="length", seed=seed))


def word_put(tree: TextTree, at: int, before: str, word: str, *, logprob: float) -> TextTree:
    """Return the tree behind a `word` that a person chose: the text is `before` with that word.

    `logprob` (nats) is that of the word where it stands. Raises RequestError if the tree is full.
    """
    whole = before + word
    # The whole word is the branch's, with the space before it, though the other one began with the same letters.
    num_same = min(_num_common(tree.text_of(at), whole), len(before) - before.endswith(" "))
    parent, kept = tree.place_in(at, num_same)
    word = whole[num_same:]
    return _branched(tree, Branch(word, parent, kept, logprob, ends=(len(word),), logprobs=(logprob,)))


def gone(tree: TextTree, branch_id: int) -> TextTree:
    """Return the tree behind a branch. An empty branch that is left is removed."""
    left = tree.here.at
    if branch_id == left:
        return tree
    there = Position(branch_id, (), tree.here.pruned)
    if left == BEGINNING or tree.branch(left).text or any(one.parent == left for one in tree.branches):
        return tree.step(there)
    branches = tuple(one for one in tree.branches if one.id != left)
    return TextTree(branches, there, tuple(one for one in tree.past if one.at != left))


def _branched(tree: TextTree, branch: Branch) -> TextTree:
    """Return the tree behind a branch, which is added unless it is there."""
    for one in tree.children(branch.parent):
        if (one.kept, one.text, one.is_word) == (branch.kept, branch.text, branch.is_word):
            return gone(tree, one.id)
    # Only what is pruned may make room: everything else was written or chosen by somebody.
    if sum(1 for _ in tree.listed()) >= MAX_BRANCHES:
        raise RequestError(FULL)
    added, (branch_id,) = tree.add([branch])
    return gone(_checked(added), branch_id)


def _is_open(tree: TextTree, branch_id: int) -> bool:
    """Say whether a branch is a person's own, without a name, and nothing goes on from it."""
    branch = tree.branch(branch_id)
    is_typed = branch.is_word and not branch.ends
    return is_typed and not branch.name and not any(one.parent == branch_id for one in tree.branches)


def _length(tree: TextTree, branch_id: int) -> int:
    return 0 if branch_id == BEGINNING else len(tree.branch(branch_id).text)


def _num_common(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their start."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _checked(tree: TextTree) -> TextTree:
    if sum(len(branch.text.encode()) for branch in tree.branches) > MAX_TEXT_BYTES:
        raise RequestError(TOO_LONG)
    return tree
