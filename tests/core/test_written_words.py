"""The words that the model wrote: whole, as people see them, with the probability of all their tokens."""

import math
from dataclasses import replace

from bot.core.text_tree import BEGINNING, Branch, Position, TextTree
from bot.core.written_words import WrittenWord, words_here, words_of_branch


def branch_of(*pieces: tuple[str, float], parent: int = BEGINNING, kept: int = 0) -> Branch:
    """Return a branch of tokens, each a text with its probability."""
    ends, text = [], ""
    for piece, _ in pieces:
        text += piece
        ends.append(len(text))
    logprobs = tuple(math.log(probability) for _, probability in pieces)
    return Branch(text, parent, kept, sum(logprobs), "stop", 7, tuple(ends), logprobs)


def tree_of(*branches: Branch, here: Position) -> TextTree:
    tree, _ = TextTree().add(branches)
    return replace(tree, here=here)


def named(words: tuple[WrittenWord, ...]) -> list[tuple[str, float]]:
    return [(word.text, round(word.probability, 4)) for word in words]


def test_a_word_is_all_its_tokens_without_the_marks_after_it() -> None:
    branch = branch_of((" the", 0.5), (" gar", 0.1), ("den", 0.8), (",", 0.3), (" it's", 0.5), ("...", 0.2))
    tree = tree_of(branch, here=Position(1))
    assert named(words_of_branch(tree, 1, "I see")) == [("the", 0.5), ("garden", 0.08), ("it's", 0.5)]


def test_a_word_of_marks_alone_is_one_and_a_space_of_its_own_belongs_to_the_word_behind_it() -> None:
    tree = tree_of(branch_of((" -", 0.5), (" ", 0.5), ("7", 0.1), ("\n", 0.9), ("On", 0.25)), here=Position(1))
    assert named(words_of_branch(tree, 1, "It is")) == [("-", 0.5), ("7", 0.05), ("On", 0.25)]


def test_the_end_of_a_word_that_a_person_began_is_not_the_model_s() -> None:
    tree = tree_of(branch_of(("me", 0.5), (" there", 0.5)), here=Position(1))
    assert [word.text for word in words_of_branch(tree, 1, "Once upon a ti")] == ["there"]
    assert [word.start for word in words_of_branch(tree, 1, "Once upon a ti")] == [3]


def test_tokens_that_are_parts_of_a_character_count_with_it() -> None:
    branch = Branch(" 😀 yes", BEGINNING, 0, -4.0, "stop", 7, (1, 1, 2, 6), tuple(map(math.log, (0.5, 0.5, 0.4, 0.3))))
    tree = tree_of(branch, here=Position(1))
    assert named(words_of_branch(tree, 1, "So"))[0] == ("😀", 0.1)


def test_each_option_has_its_own_words_and_what_is_before_them_all_is_listed_once() -> None:
    tree = tree_of(
        branch_of((" It", 0.5), (" gar", 0.5)),
        branch_of(("den", 0.4), (" grew", 0.5), parent=1, kept=7),
        branch_of(("gled", 0.2), parent=1, kept=7),
        here=Position(1, (2, 3)),
    )
    words = words_here(tree, "So.")
    assert [(word.text, word.option) for word in words] == [("It", 0), ("gar", 0), ("grew", 1)]
    deeper = replace(tree, here=Position(2))
    assert named(words_here(deeper, "So.")) == [("It", 0.5), ("garden", 0.2), ("grew", 0.5)]


def test_what_has_no_known_tokens_has_no_words() -> None:
    tree = tree_of(Branch(" old text", BEGINNING, 0, -3.0, "stop", 7), here=Position(1))
    assert words_here(tree, "So") == ()
    assert words_here(TextTree(), "So") == ()


def test_a_word_in_the_middle_of_a_branch_goes_on_in_the_next_one() -> None:
    first = branch_of((" on", 0.5), (" the", 0.5), (" mat", 0.5))
    word = branch_of((" roof", 0.1), parent=1, kept=len(" on the"))
    tree = tree_of(first, word, here=Position(2))
    assert named(words_of_branch(tree, 2, "It sat")) == [("on", 0.5), ("the", 0.5), ("roof", 0.1)]


def test_words_with_which_several_options_begin_are_listed_once() -> None:
    tree = tree_of(
        branch_of((" that", 0.5), (" it", 0.5)),
        branch_of((" that", 0.5), (" we", 0.5)),
        here=Position(BEGINNING, (1, 2)),
    )
    assert [(word.text, word.option) for word in words_here(tree, "Say")] == [("that", 1), ("it", 1), ("we", 2)]
