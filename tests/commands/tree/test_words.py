"""Words that may stand in the place of another one: where they go, and what stays before them."""

import math
from dataclasses import replace

import pytest

from bot.commands.tree.lists import named_by_number, tail_of
from bot.commands.tree.words import instead_of, put_word, show_word, show_words, stem_before
from bot.core.cards import Bars, Text
from bot.core.results import WordProbability
from bot.core.sampling_params import SamplingParams
from bot.core.text_tree import BEGINNING, Branch, TextTree
from bot.core.written_words import words_here
from bot.services.completions import CompletionState, View

EXPECTED = (WordProbability(" roof", 0.3), WordProbability(",", 0.2), WordProbability("\n", 0.1))


def written(*pieces: str) -> CompletionState:
    """Return the state with one option, each of whose tokens has the probability 0.5."""
    text, ends = "", []
    for piece in pieces:
        text += piece
        ends.append(len(text))
    logprobs = (math.log(0.5),) * len(ends)
    branch = Branch(text, BEGINNING, 0, sum(logprobs), "stop", 7, tuple(ends), logprobs)
    return CompletionState("m1", True, SamplingParams(n=1, seed=7)).offer([branch])


def put(state: CompletionState, given: str, word: str, number: int) -> tuple[CompletionState, str]:
    """Return the state behind the expected word `number` in the place of `word`, and its whole text."""
    (found,) = [one for one in words_here(state.tree, given) if one.text == word]
    opened = replace(state, view=instead_of(state, given, found, EXPECTED))
    moved = put_word(opened, named_by_number(number))
    assert moved is not None
    return moved, given + moved.taken


@pytest.mark.parametrize(
    ("given", "pieces", "word", "stem", "texts"),
    [
        ("It sat", (" on", " the", " mat", "."), "mat", "It sat on the", ("It sat on the roof", "It sat on the,")),
        ("It sat", (" on", " the"), "on", "It sat", ("It sat roof", "It sat,")),
        ("It sat ", ("on", " the"), "on", "It sat", ("It sat roof",)),
        ("It sat.\n", ("On", " it"), "On", "It sat.\n", ("It sat.\n roof", "It sat.\n,")),
        ("It sat:", ("\n", "- on"), "-", "It sat:\n", ("It sat:\n roof", "It sat:\n,")),
    ],
)
def test_another_word_stands_where_the_first_one_stood(
    given: str, pieces: tuple[str, ...], word: str, stem: str, texts: tuple[str, ...]
) -> None:
    state = written(*pieces)
    (found,) = [one for one in words_here(state.tree, given) if one.text == word]
    assert stem_before(given, state.tree.text_of(found.branch_id), found.start) == stem
    for number, text in enumerate(texts, 1):
        moved, whole = put(state, given, word, number)
        assert whole == text
        assert moved.tree.branch(moved.tree.here.at).is_word
        assert moved.view == View()


def test_where_the_space_is_a_person_s_own_only_words_behind_a_space_are_offered() -> None:
    state = written("on", " the")
    view = instead_of(state, "It sat ", words_here(state.tree, "It sat ")[0], EXPECTED)
    assert view.instead == (("roof", 0.3),)


def test_the_word_itself_is_not_offered_and_equal_names_are_offered_once() -> None:
    state = written(" on", " the")
    expected = (WordProbability(" on", 0.5), WordProbability(" in", 0.2), WordProbability(" in ", 0.1))
    view = instead_of(state, "It sat", words_here(state.tree, "It sat")[0], expected)
    assert view.instead == ((" in", 0.2),)


def test_the_beginning_of_a_word_before_its_apostrophe_counts_without_that_word() -> None:
    state = written(" it", "'s", " so")  # 0.25
    expected = tuple(WordProbability(text, share) for text, share in ((" it", 0.8), (" i", 0.1), (" we", 0.6)))
    view = instead_of(state, "They say", words_here(state.tree, "They say")[0], expected)
    assert view.instead == ((" we", 0.6), (" it", pytest.approx(0.55)), (" i", 0.1))


def test_a_word_is_shown_with_what_was_expected_and_with_the_rest() -> None:
    state = written(" on", " the", " mat")
    found = words_here(state.tree, "It sat")[2]
    opened = replace(state, view=instead_of(state, "It sat", found, EXPECTED))
    shown = show_word(opened, "It sat", has_buttons=True)
    sentence, bars, _ = shown.blocks
    assert sentence == Text("After “It sat on the” the model wrote “mat” (50%). Also expected there:")
    assert isinstance(bars, Bars)
    assert bars.items == (("1 roof", 0.3), ("2 ,", 0.2), ("3 a line break", 0.1))
    assert bars.rest == 0.0, "float32 and the precision of writing differ a little"
    (select,) = shown.selects
    assert [option.label for option in select.options] == ["1 · roof", "2 · ,", "3 · a line break"]
    lonely = replace(state, view=instead_of(state, "It sat", found, ()))
    assert show_word(lonely, "It sat", has_buttons=True).selects == ()


def test_a_list_of_words_without_any_says_so() -> None:
    state = CompletionState("m1", True, SamplingParams(n=1), view=View("words"))
    shown = show_words(state, "It sat", has_buttons=False)
    assert Text("There are no words of the model here yet.") in shown.blocks


def test_what_was_not_picked_from_the_view_moves_nothing() -> None:
    state = written(" on", " the")
    opened = replace(state, view=instead_of(state, "It sat", words_here(state.tree, "It sat")[0], EXPECTED))
    for value in ("", "#0", "#4", "#", "1", "#x"):
        assert put_word(opened, value) is None
    assert put_word(replace(opened, tree=TextTree()), "#1") is None


def test_the_last_words_of_a_text_are_one_line() -> None:
    assert tail_of("One\ntwo") == "One⏎two"
    assert tail_of("word " * 20 + "end") == "…" + "word " * 7 + "end"
    assert len(tail_of("x" * 100)) == 41
