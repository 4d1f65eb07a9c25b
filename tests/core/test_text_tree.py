"""The tree of a text: branches, places in them, walking, pruning, undo, and what is forgotten when it is full."""

import json
from dataclasses import replace

import pytest

from bot.core.text_tree import BEGINNING, FULL, MAX_BRANCHES, MAX_TOKENS, Branch, Position, TextTree
from bot.errors import RequestError


def written(text: str, parent: int = BEGINNING, kept: int = 0) -> Branch:
    """Return a branch as the model writes it."""
    return Branch(text, parent, kept, -1.0, "stop", 7)


def offered(tree: TextTree, *texts: str) -> TextTree:
    """Return the tree after a round that drew `texts`."""
    at = tree.here.at
    kept = 0 if at == BEGINNING else len(tree.branch(at).text)
    tree, ids = tree.add([written(text, at, kept) for text in texts])
    return tree.move(replace(tree.here, options=ids))


def taken(tree: TextTree, index: int) -> TextTree:
    """Return the tree behind one of its options."""
    return tree.move(replace(tree.here, at=tree.here.options[index], options=()))


@pytest.fixture
def tree() -> TextTree:
    """Return: 1 on the mat. (3 It purred. 4 It slept.), 2 in the garden. The person stands behind 1."""
    return offered(taken(offered(TextTree(), " on the mat.", " in the garden."), 0), " It purred.", " It slept.")


def listed(tree: TextTree) -> list[tuple[str, int]]:
    return [(branch.text, depth) for branch, depth in tree.listed()]


def test_a_text_is_the_pieces_on_the_way_to_it(tree: TextTree) -> None:
    assert tree.text_of(BEGINNING) == ""
    assert tree.text_of(3) == " on the mat. It purred."
    assert tree.text_before(3) == " on the mat."
    assert tree.text_of(2) == " in the garden."


def test_the_list_has_each_branch_right_before_what_goes_on_from_it(tree: TextTree) -> None:
    assert listed(tree) == [(" on the mat.", 1), (" It purred.", 2), (" It slept.", 2), (" in the garden.", 1)]
    assert [branch.text for branch, _ in tree.listed(1)] == [" It purred.", " It slept."]


@pytest.mark.parametrize(
    ("num_characters", "place"),
    [(0, (BEGINNING, 0)), (1, (1, 1)), (7, (1, 7)), (12, (1, 12)), (13, (3, 1)), (23, (3, 11))],
)
def test_every_place_of_a_text_is_in_one_branch(tree: TextTree, num_characters: int, place: tuple[int, int]) -> None:
    assert tree.place_in(3, num_characters) == place


def test_a_branch_in_the_middle_leaves_the_old_text_as_it_was(tree: TextTree) -> None:
    parent, kept = tree.place_in(3, len(" on the"))
    tree, (word,) = tree.add([Branch(" roof", parent, kept)])
    tree = offered(tree.move(Position(word)), ". The end.")
    assert tree.text_of(tree.here.options[0]) == " on the roof. The end."
    assert tree.text_of(3) == " on the mat. It purred."
    assert tree.replaced_by(tree.branch(word)) == " mat."
    assert tree.replaced_by(tree.branch(3)) == ""
    assert (" roof", 2) in listed(tree)
    assert tree.undo().here.options == (3, 4)


def test_going_to_a_branch_offers_what_the_model_wrote_there_and_no_words_that_were_chosen(tree: TextTree) -> None:
    tree, _ = tree.add([Branch(" under", BEGINNING, 0)])
    at_start = tree.go(BEGINNING, 9)
    assert at_start.here == Position(BEGINNING, (1, 2))
    assert tree.go(BEGINNING, 1).here.options == (2,)
    assert tree.go(2, 9).here == Position(2)
    assert at_start.undo().here == tree.here


def test_pruning_takes_what_goes_on_from_it_and_undo_brings_it_back(tree: TextTree) -> None:
    pruned = tree.prune(3, 9)
    assert pruned.here.options == (4,)
    assert (" It purred.", 2) not in listed(pruned)
    assert not pruned.is_shown(3)
    gone = pruned.prune(1, 9)
    assert listed(gone) == [(" in the garden.", 1)]
    assert gone.here == Position(BEGINNING, (2,), (3, 1)), "the person stood on it"
    assert not gone.is_shown(4)
    assert listed(gone.undo().undo()) == listed(tree)
    assert gone.undo().undo().here == tree.here


def test_undo_leads_through_every_step_to_the_start(tree: TextTree) -> None:
    stepped = offered(taken(tree.go(BEGINNING, 9).prune(3, 9), 1), " A", " B").go(1, 9)
    positions = [stepped.here]
    while stepped.past:
        stepped = stepped.undo()
        positions.append(stepped.here)
    assert positions[-1] == Position(BEGINNING, (1, 2))
    assert tree.here in positions
    with pytest.raises(IndexError):
        stepped.undo()


def test_a_tree_is_read_as_it_was_written(tree: TextTree) -> None:
    grown, _ = tree.add([Branch("😀 ü", 1, 4, -2.5, ends=(1, 3), logprobs=(-1.5, -1.0), name="a name")])
    walked = grown.go(2, 9).prune(3, 9)
    assert TextTree.from_dict(json.loads(json.dumps(walked.to_dict()))) == walked


def test_a_full_tree_forgets_its_oldest_ends_but_none_that_is_named_or_on_the_way() -> None:
    tree = offered(TextTree(), " first", " second", " third").name(1, "mine").prune(3, 9)
    tree = taken(offered(tree, " on the way"), 0)
    way = tree.here.at
    for number in range(MAX_BRANCHES):
        tree = offered(tree, f" {number}")
    assert len(tree.branches) == MAX_BRANCHES
    shown = [branch.text for branch, _ in tree.listed()]
    assert " first" in shown
    assert " on the way" in shown
    assert " second" not in shown
    assert shown[-1] == f" {MAX_BRANCHES - 1}"
    assert {" third"}.isdisjoint(branch.text for branch in tree.branches), "what was pruned goes first"
    ids = {branch.id for branch in tree.branches}
    for position in (tree.here, *tree.past):
        assert ids >= {*position.options, *position.pruned, position.at} - {BEGINNING}
    assert tree.here.at == way


def test_a_tree_of_long_branches_is_full_sooner_but_what_is_on_offer_stays() -> None:
    tree = TextTree()
    num_tokens = MAX_TOKENS // 4
    for number in range(3):
        long = Branch(f" {number}", BEGINNING, 0, -1.0, "stop", 7, tuple(range(num_tokens)), (0.0,) * num_tokens)
        tree, ids = tree.add([long, long])
        tree = tree.move(replace(tree.here, options=ids))
    assert [branch.text for branch in tree.branches] == [" 1", " 1", " 2", " 2"]
    tree, ids = tree.add([long] * 5)
    assert len(tree.move(replace(tree.here, options=ids)).branches) == 5


def test_a_full_tree_of_named_branches_takes_no_more() -> None:
    tree = offered(TextTree(), *(f" {number}" for number in range(MAX_BRANCHES)))
    for branch in tree.branches:
        tree = tree.name(branch.id, "kept")
    with pytest.raises(RequestError, match="Prune") as error:
        offered(tree, " one more")
    assert str(error.value) == FULL
