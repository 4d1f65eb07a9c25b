"""A text that a person writes, as a tree: nothing that was written goes, and what is typed is one branch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core import tree_editing
from bot.core.text_tree import BEGINNING, FULL, MAX_BRANCHES, TextTree
from bot.core.tree_editing import MAX_TEXT_BYTES, gone, taken, typed, word_put
from bot.errors import RequestError


def here(tree: TextTree) -> str:
    return tree.text_of(tree.here.at)


def type_in(tree: TextTree, text: str) -> TextTree:
    """Return the tree after a text was typed key by key from where it parts from the present one."""
    return typed(tree, tree.here.at, text)


def texts(tree: TextTree) -> list[str]:
    return [branch.text for branch in tree.branches]


def test_what_is_typed_key_by_key_is_one_branch() -> None:
    tree = TextTree()
    for end in range(1, 11):
        tree = type_in(tree, "Once upon "[:end])
    tree = type_in(type_in(tree, "Once uqon "), "Once upon a time")
    assert texts(tree) == ["Once upon a time"]


def test_behind_what_the_model_wrote_a_new_branch_begins() -> None:
    tree = taken(type_in(TextTree(), "Once"), 1, " upon a time", seed=7)
    tree = type_in(type_in(tree, "Once upon a time, "), "Once upon a time, a fox")
    assert texts(tree) == ["Once", " upon a time", ", a fox"]
    assert [branch.seed for branch in tree.branches] == [None, 7, None]
    assert [branch.is_word for branch in tree.branches] == [True, False, True]


def test_a_change_inside_what_the_model_wrote_leaves_that_as_it_is() -> None:
    tree = taken(type_in(TextTree(), "Once"), 1, " upon a time", seed=7)
    changed = type_in(tree, "Once upon a day")
    assert here(changed) == "Once upon a day"
    assert here(gone(changed, 2)) == "Once upon a time"
    assert texts(changed) == ["Once", " upon a time", "day"]


def test_shortening_a_text_and_writing_again_leaves_nothing_empty_behind() -> None:
    tree = taken(type_in(TextTree(), "Once"), 1, " upon", seed=7)
    shorter = type_in(tree, "Once up")
    assert here(shorter) == "Once up"
    assert here(gone(shorter, 2)) == "Once upon"
    assert texts(gone(shorter, 2)) == ["Once", " upon"]
    # At the end of a branch nothing new is needed.
    assert type_in(tree, "Once").branches == tree.branches
    assert type_in(tree, "").here.at == BEGINNING


def test_a_word_in_place_of_another_is_a_branch_and_the_old_text_stays() -> None:
    tree = taken(type_in(TextTree(), "The quick brown"), 1, " dot jumps", seed=7)
    put = word_put(tree, tree.here.at, "The quick brown ", "dog", logprob=-2.0)
    assert here(put) == "The quick brown dog"
    assert put.branches[-1].text == " dog"
    assert put.replaced_by(put.branches[-1]) == ""  # it begins where the model's branch does
    # The same word again is the same branch.
    assert word_put(gone(put, 2), 2, "The quick brown", " dog", logprob=-2.0).branches == put.branches
    first = word_put(type_in(TextTree(), "Cats purr"), 1, "", "Dogs", logprob=-1.0)
    assert here(first) == "Dogs"
    assert first.replaced_by(first.branches[-1]) == ""


@pytest.mark.parametrize(
    ("text", "before", "word", "own"),
    [
        ("我爱你", "我爱", "他", "他"),  # no spaces between words
        ("a\tcat sat", "a\t", "dog", "dog"),
        ("see 🦊🦊 fox", "see 🦊🦊 ", "fur", " fur"),
        ("say “hello”", "say “", "hi", "hi"),
        ("one\ntwo", "one\n", "ten", "ten"),
        ("a  b", "a  ", "c", " c"),
    ],
)
def test_a_word_is_put_where_it_stands_whatever_is_before_it(text: str, before: str, word: str, own: str) -> None:
    put = word_put(type_in(TextTree(), text), 1, before, word, logprob=-1.0)
    assert here(put) == before + word
    assert put.branches[-1].text == own


def test_a_full_tree_refuses_and_drops_nothing_but_what_is_pruned() -> None:
    tree = taken(type_in(TextTree(), "Once"), 1, " upon", seed=7)
    for number in range(MAX_BRANCHES - 2):
        tree = typed(gone(tree, 2), 2, f"Once upon {number}", is_aside=True)
    with pytest.raises(RequestError) as caught:
        typed(gone(tree, 2), 2, "Once upon one more", is_aside=True)
    assert str(caught.value) == FULL
    assert {f" {number}" for number in range(MAX_BRANCHES - 2)} <= set(texts(tree))
    # What is there is still changed in place, and what is pruned makes room.
    assert here(type_in(tree, f"{here(tree)}!")) == f"{here(tree)}!"
    pruned = gone(tree, 2).prune(tree.branches[50].id, 0)
    more = typed(pruned, 2, "Once upon one more", is_aside=True)
    assert here(more) == "Once upon one more"
    assert set(texts(tree)) - set(texts(more)) == {tree.branches[50].text}


def test_undo_leads_back_through_steps() -> None:
    tree = taken(type_in(TextTree(), "Once"), 1, " upon", seed=7)
    tree = type_in(tree, "Once upon a")
    tree = word_put(tree, tree.here.at, "", "Twice", logprob=-1.0)
    seen = []
    while tree.past:
        tree = tree.undo()
        seen.append(here(tree))
    assert seen == ["Once upon a", "Once upon", "Once", ""]


def test_what_another_window_typed_stays_beside_what_is_typed_here() -> None:
    tree = type_in(TextTree(), "Once there")
    aside = typed(tree, 1, "Once here", is_aside=True)
    assert here(aside) == "Once here"
    assert here(gone(aside, 1)) == "Once there"


def test_a_text_has_a_limit() -> None:
    with pytest.raises(RequestError) as caught:
        type_in(TextTree(), "x" * (MAX_TEXT_BYTES + 1))
    assert str(caught.value) == tree_editing.TOO_LONG


@given(st.lists(st.tuples(st.sampled_from("tmwgu"), st.text("ab ", max_size=6), st.integers(0, 20)), max_size=25))
def test_whatever_is_done_the_text_is_what_was_typed_and_no_model_text_is_lost(
    steps: list[tuple[str, str, int]],
) -> None:
    tree = TextTree()
    written: set[str] = set()
    for kind, text, number in steps:
        before = here(tree)
        if kind == "t":
            tree = type_in(tree, before[:number] + text + before[number + 2 :])
            assert here(tree) == before[:number] + text + before[number + 2 :]
        elif kind == "m" and text:
            tree = taken(tree, tree.here.at, text, seed=1)
            assert here(tree) == before + text
            written.add(here(tree))
        elif kind == "w" and text.strip():
            tree = word_put(tree, tree.here.at, before[:number], text, logprob=-1.0)
            assert here(tree) == before[:number] + text
        elif kind == "g" and tree.branches:
            tree = gone(tree, tree.branches[number % len(tree.branches)].id)
        elif kind == "u" and tree.past:
            tree = tree.undo()
        assert TextTree.from_dict(tree.to_dict()) == tree
    found = {tree.text_of(branch.id) for branch in tree.branches}
    assert written <= found
