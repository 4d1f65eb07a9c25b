"""What may stand at the end of a command line that is being typed."""

import pytest

from bot.commands.bot import COMMANDS
from bot.commands.suggestions import KnownNames, expected_in
from bot.core.channel_settings import declare_settings

KNOWN = KnownNames(("chat", "sentiment", "story"), ("chat",), declare_settings(["chat"], retention_days=30))
CASES = {
    "a command": ("per", 0, ["perplexity"]),
    "a command in capitals": ("PER", 0, ["perplexity"]),
    "a family": ("pro", 0, ["prompt"]),
    "a subcommand or a template": ("prompt s", 7, ["show", "sentiment", "story"]),
    "a subcommand": ("prompt examp", 7, ["example", "examples"]),
    "a template": ("prompt show s", 12, ["sentiment", "story"]),
    "a template to run is none for chat": ("prompt run ", 11, ["sentiment", "story"]),
    "an option": ("complete --te", 9, ["--temperature"]),
    "an option with hyphens": ("complete --no-rep", 9, ["--no_repeat_ngram_size"]),
    "an option after another": ("complete --n 2 --se", 15, ["--seed"]),
    "an option is offered once": ("complete --seed 1 --se", 18, []),
    "a repeatable option is offered again": ("complete --stop a --st", 18, ["--stop"]),
    "an option after a quoted value": ('complete --stop "a b" --pre', 22, ["--preset"]),
    "an option after a leading word": ("prompt sentiment --tempe", 17, ["--temperature"]),
    "a value": ("complete --preset w", 18, ["wild"]),
    "a value behind an equals sign": ("complete --preset=w", 18, ["wild"]),
    "a level": ("settings --level ", 17, ["server", "channel"]),
    "a setting": ("settings pre", 9, ["preset"]),
    "a setting's value": ("settings preset g", 16, ["greedy"]),
    "a setting's value in another setting": ("settings answer_when g", 21, []),
    "a template for an option": ("prompt example --template st", 26, ["story"]),
    "a topic of help": ("help temp", 5, ["temperature"]),
    "a setting is a topic of help": ("help hist", 5, ["history_length"]),
    "no topic of help is left to the model": ("help zzz", 5, []),
    "a topic of two words": ("help prompt sh", 5, ["prompt show"]),
    "nothing follows": ("stats ", 6, []),
    "an unknown command": ("nonsense x", 10, []),
}


@pytest.mark.parametrize("case", CASES)
def test_the_end_of_a_line_is_completed(case: str) -> None:
    line, start, values = CASES[case]
    expected = expected_in(COMMANDS, KNOWN, line)
    assert (expected.start, [offer.value for offer in expected.offers]) == (start, values)
    assert expected.offers or expected.hint


TEXTS = {"complete Once": 9, "complete ": 9, "complete --n 2 Once": 15, "complete -- --n": 12, "next a --te": 5}


@pytest.mark.parametrize("line", TEXTS)
def test_free_text_is_left_to_the_model_without_the_options_before_it(line: str) -> None:
    expected = expected_in(COMMANDS, KNOWN, line)
    assert (expected.is_text, expected.start, expected.offers) == (True, TEXTS[line], ())


def test_an_option_without_a_list_states_its_range() -> None:
    expected = expected_in(COMMANDS, KNOWN, "complete --temperature ")
    assert expected.hint.startswith("temperature takes a number from 0 to 2: ")
