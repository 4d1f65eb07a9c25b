"""How the parts of a story become one text, and what of it the model reads."""

from collections.abc import Sequence

from bot.core.prompt_parts import Prompt
from bot.core.story import StoryFit, StoryPart, count_words, join_parts, last_passage
from tests.bots import ScriptedTools


def said(text: str) -> StoryPart:
    return StoryPart(text, is_bot=False)


def written(text: str) -> StoryPart:
    return StoryPart(text, is_bot=True)


def test_members_words_are_set_apart_by_a_space_and_the_bot_s_are_written_on() -> None:
    parts = [said("Once up"), written("on a time"), said("there was a fox"), said(", who slept"), written(".\n")]
    assert join_parts([*parts, said("The end")]) == "Once upon a time there was a fox, who slept.\nThe end"


def test_a_story_whose_beginning_was_deleted_does_not_begin_with_white_space() -> None:
    assert join_parts([written(" and so on."), said("Yes")]) == "and so on. Yes"
    assert join_parts([]) == ""


def fitted(parts: Sequence[StoryPart], *, context_length: int = 300) -> tuple[str, int]:
    found = StoryFit(parts, context_length, 60)(ScriptedTools())
    assert found.prompt == Prompt.document(join_parts(parts)[found.start :])
    assert found.num_tokens == len(found.prompt.text) <= context_length - 60
    # The first part that is read is the one in which the prompt begins.
    assert found.prompt.text in join_parts(parts[found.start_part :])
    assert found.prompt.text not in join_parts(parts[found.start_part + 1 :])
    return found.prompt.text, found.start


def test_a_story_that_fits_is_read_as_a_whole() -> None:
    parts = [said("The cat sat on the mat."), written(" It was warm there.")]
    assert fitted(parts) == ("The cat sat on the mat. It was warm there.", 0)


def test_the_beginning_of_a_longer_story_is_left_out_in_steps_so_that_prompts_share_their_beginning() -> None:
    parts = [said(f"This is sentence {i} of it.") for i in range(60)]
    starts = [fitted(parts[:num])[1] for num in range(1, 61)]
    assert starts == sorted(starts)
    assert starts[0] == 0 < starts[-1]
    assert len(set(starts)) < 15
    whole = join_parts(parts)
    assert all(start == 0 or whole[start - 1] == " " for start in starts)
    # Also where a token is a character, half of the room is used.
    assert all(len(fitted(parts[:num])[0]) > 120 - 30 for num in range(20, 61))


def test_a_very_long_word_and_a_very_long_text_fit_as_well() -> None:
    assert len(fitted([said("x" * 5000)])[0]) > 0
    assert fitted([said("word " * 50_000 + "end")])[0].endswith("word end")


def test_the_passage_on_a_card_begins_with_a_sentence_or_else_a_word() -> None:
    assert last_passage("A short one.", 20) == "A short one."
    assert last_passage("The first sentence is here. The second one is it.", 30) == "… The second one is it."
    assert last_passage("one two three four five six seven", 15) == "… five six seven"
    assert last_passage("x" * 50, 10) == "… " + "x" * 10


def test_words_are_counted_as_white_space_separates_them() -> None:
    assert count_words("One, two\nthree  ") == 3
