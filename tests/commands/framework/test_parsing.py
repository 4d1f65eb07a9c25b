"""What a typed line means: command, leading words, options, text; and the sentence for each mistake."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.commands.bot import COMMANDS
from bot.commands.framework.parsing import format_command_line, parse_command_line
from bot.core.mentions import type_mentions
from bot.core.sampling_params import SamplingParams, apply_options
from bot.errors import RequestError

LINES = [
    ("complete a b", "complete", {}, {}, "a b"),
    ("COMPLETE a", "complete", {}, {}, "a"),
    ("complete", "complete", {}, {}, ""),
    ("complete\na\nb\n", "complete", {}, {}, "a\nb\n"),
    ("complete  two spaces ", "complete", {}, {}, " two spaces "),
    ("complete \n\tx", "complete", {}, {}, "\n\tx"),
    ("complete --n 2 a --seed 3", "complete", {}, {"n": 2}, "a --seed 3"),
    ("complete --n 2   a", "complete", {}, {"n": 2}, "  a"),
    ("complete --n=2 --top-p=0.5 a", "complete", {}, {"n": 2, "top_p": 0.5}, "a"),
    ("complete --n   2 --max-new-tokens\t5 a", "complete", {}, {"n": 2, "max_new_tokens": 5}, "a"),
    ("complete --n 2\na\nb", "complete", {}, {"n": 2}, "a\nb"),
    ("complete --temperature 1 a", "complete", {}, {"temperature": 1.0}, "a"),
    ("complete --stop 'a b' --stop=\"c\" x", "complete", {}, {"stop": ("a b", "c")}, "x"),
    ("complete --stop \\n --stop “q r” x", "complete", {}, {"stop": ("\n", "q r")}, "x"),
    (r'complete --stop "say \"no\" \\" x', "complete", {}, {"stop": ('say "no" \\',)}, "x"),
    ("complete --stop='two words' x", "complete", {}, {"stop": ("two words",)}, "x"),
    ("complete —n 2 a", "complete", {}, {"n": 2}, "a"),
    ("complete –-n 2 a", "complete", {}, {"n": 2}, "a"),
    ("complete —n=2 –top-p 0.5 —seed 3 a — b", "complete", {}, {"n": 2, "top_p": 0.5, "seed": 3}, "a — b"),
    ("complete ——n 2 a", "complete", {}, {"n": 2}, "a"),
    ("complete — —n 2", "complete", {}, {}, "—n 2"),
    ("complete --n 2 — —n is text", "complete", {}, {"n": 2}, "—n is text"),
    ("complete — he said", "complete", {}, {}, "— he said"),
    ("complete —he said", "complete", {}, {}, "—he said"),
    ("complete – not now –n", "complete", {}, {}, "– not now –n"),
    ("perplexity —n 2", "perplexity", {}, {}, "—n 2"),
    ("prompt story —n 2 a", "prompt run", {"NAME": "story"}, {"n": 2}, "a"),
    ("complete —stop “a b” x", "complete", {}, {"stop": ("a b",)}, "x"),
    ("complete --stop ”a b” x", "complete", {}, {"stop": ("a b",)}, "x"),
    ("complete --stop „a b“ --stop „c d” x", "complete", {}, {"stop": ("a b", "c d")}, "x"),
    ("complete --stop ‘a b’ --stop ‘don’t go’ x", "complete", {}, {"stop": ("a b", "don’t go")}, "x"),
    ("complete --stop «a b» x", "complete", {}, {"stop": ("a b",)}, "x"),
    ("complete --stop “say \\” now” x", "complete", {}, {"stop": ("say ” now",)}, "x"),
    ("complete --preset wild a", "complete", {}, {"preset": "wild"}, "a"),
    ("complete --n 2 -- --seed 3", "complete", {}, {"n": 2}, "--seed 3"),
    ("complete -- ", "complete", {}, {}, ""),
    ("complete --  a", "complete", {}, {}, " a"),
    ("complete - a", "complete", {}, {}, "- a"),
    ("complete -n 2 a", "complete", {}, {"n": 2}, "a"),
    ("complete -top_p=0.5 -seed 3 a", "complete", {}, {"top_p": 0.5, "seed": 3}, "a"),
    ("complete -n of them", "complete", {}, {}, "-n of them"),
    ("complete -stop it now", "complete", {}, {}, "-stop it now"),
    ("complete - n 2", "complete", {}, {}, "- n 2"),
    ("complete -- -n 2", "complete", {}, {}, "-n 2"),
    ("perplexity -n 2", "perplexity", {}, {}, "-n 2"),
    ("help --n", "help", {}, {}, "--n"),
    ("help -- --n", "help", {}, {}, "-- --n"),
    ("perplexity -- --n is text", "perplexity", {}, {}, "--n is text"),
    ("prompt story a --n 2", "prompt run", {"NAME": "story"}, {}, "a --n 2"),
    ("prompt  story  a", "prompt run", {"NAME": "story"}, {}, " a"),
    ("prompt run story a", "prompt run", {"NAME": "story"}, {}, "a"),
    ("prompt --n 2 story a", "prompt run", {"NAME": "story"}, {"n": 2}, "a"),
    ("prompt story --n 2 a", "prompt run", {"NAME": "story"}, {"n": 2}, "a"),
    ("prompt --n 2 story --seed 3 a", "prompt run", {"NAME": "story"}, {"n": 2, "seed": 3}, "a"),
    ("prompt story -- --n 2", "prompt run", {"NAME": "story"}, {}, "--n 2"),
    ("prompt story\na\n b", "prompt run", {"NAME": "story"}, {}, "a\n b"),
    ("prompt list", "prompt list", {}, {}, ""),
    ("prompt SHOW  story ", "prompt show", {"NAME": "story"}, {}, ""),
    ("settings", "settings", {}, {}, ""),
    ("settings preset", "settings", {"NAME": "preset"}, {}, ""),
    ("settings  preset  wild ", "settings", {"NAME": "preset", "VALUE": "wild"}, {}, ""),
    ("settings --level server preset wild", "settings", {"NAME": "preset", "VALUE": "wild"}, {"level": "server"}, ""),
    ("settings preset wild --level=server", "settings", {"NAME": "preset", "VALUE": "wild"}, {"level": "server"}, ""),
    ("settings a b  c ", "settings", {"NAME": "a", "VALUE": "b c"}, {}, ""),
    ('settings a "b  c"', "settings", {"NAME": "a", "VALUE": "b  c"}, {}, ""),
    ('prompt "story" a', "prompt run", {"NAME": "story"}, {}, "a"),
    ("fresh  ", "fresh", {}, {}, ""),
]

SAY_WHICH = (
    "A word is missing. Write !prompt run NAME TEXT, or one of these after !prompt: list, show, test, tune,"
    " neighbours, example, new, edit, draft, discard, import, examples, tests, publish, delete, history, diff,"
    " rollback, export."
)
MISTAKES = [
    ("complet a", "There is no command 'complet'; did you mean !complete?"),
    ("xyzzy a", "There is no command 'xyzzy'; !help lists all commands."),
    ("q" * 99, f"There is no command '{'q' * 40}…'; !help lists all commands."),
    ("prompt", SAY_WHICH),
    ("prompt run", "NAME is missing. Write !prompt run NAME TEXT, such as !prompt sentiment I love this."),
    ("prompt show", "NAME is missing. Write !prompt show NAME, such as !prompt show sentiment."),
    ("prompt list now", "!prompt list takes no text after it."),
    ("fresh now", "!fresh takes no text after it."),
    ("privacy Export", "!privacy takes no text after it; did you mean !privacy --do export?"),
    ("privacy off", "!privacy takes no text after it; did you mean !privacy --read off?"),
    ("settings --level world a b", "level takes one of server, channel, not 'world'."),
    ("complete --sede 3 a", "There is no option --sede; did you mean --seed?"),
    ("complete --Seed 3 a", "There is no option --Seed; did you mean --seed?"),
    ("complete --temprature=1 a", "There is no option --temprature; did you mean --temperature?"),
    (
        "complete --max-length 9 a",
        "There is no option --max-length here. Use --max_new_tokens, which counts the answer without the prompt.",
    ),
    (
        "complete --num_return_sequences=2 a",
        "There is no option --num_return_sequences here. Use --n, the number of answers.",
    ),
    (
        "prompt story --early_stopping true a",
        "There is no option --early_stopping here. Beam search here compares continuations by their mean"
        " log-probability and stops when none can get better. Only --num_beams can be set.",
    ),
    ("report --n 3 a", "This command has no options. If the text starts with --, write -- and a space before it."),
    ("complete --n 2 --n 3 a", "--n is given twice."),
    ("prompt --n 2 story --n 3 a", "--n is given twice."),
    ("complete --n", "--n needs a value."),
    ("complete --n= ", "--n needs a value."),
    ("complete --stop 'a b", "The quoted value of --stop has no closing '"),
    ("complete --n two a", "n takes a whole number from 1 to 5, not 'two'."),
    ("complete --n 2.5 a", "n takes a whole number from 1 to 5, not '2.5'."),
    ("complete --n 100 a", "n takes a whole number from 1 to 5, not 100."),
    ("complete --n 0 a", "n takes a whole number from 1 to 5, not 0."),
    ("complete --max_new_tokens 513 a", "max_new_tokens takes a whole number from 1 to 512, not 513."),
    ("complete --temperature=nan a", "temperature takes a number from 0 to 2, not nan."),
    ("complete --temperature inf a", "temperature takes a number from 0 to 2, not inf."),
    ("complete --temperature -inf a", "temperature takes a number from 0 to 2, not -inf."),
    ("complete --temperature -1 a", "temperature takes a number from 0 to 2, not -1."),
    ("complete --temperature hot a", "temperature takes a number from 0 to 2, not 'hot'."),
    ("complete --top_p 0 a", "top_p takes a number above 0 and up to 1, not 0."),
    ("complete --min_p 1.01 a", "min_p takes a number from 0 to 1, not 1.01."),
    ("complete --min_p 2 a", "min_p takes a number from 0 to 1, not 2."),
    ("complete --min_p 2.0 a", "min_p takes a number from 0 to 1, not 2.0."),
    ("complete --top_k 1001 a", "top_k takes a whole number from 0 to 1000, not 1001."),
    ("complete --repetition_penalty 0.5 a", "repetition_penalty takes a number from 0.8 to 2, not 0.5."),
    ("complete --seed -1 a", "seed takes a whole number from 0 to 2^63-1, not -1."),
    (f"complete --seed {2**63} a", f"seed takes a whole number from 0 to 2^63-1, not {2**63}."),
    (f"complete --seed {'9' * 60} a", "seed takes a whole number from 0 to 2^63-1, not a number that long."),
    (f"complete --seed {'9' * 9999} a", f"seed takes a whole number from 0 to 2^63-1, not '{'9' * 40}…'."),
    ("complete --preset wid a", "preset takes one of careful, normal, wild, greedy, beam, not 'wid'."),
]

CLASHES = [
    ("--num_beams 3 --temperature 1", "Beam search does not sample: leave out temperature, or set num_beams to 1."),
    (
        "--top_k 5 --num_beams 3 --top_p 1",
        "Beam search does not sample: leave out top_k, top_p, or set num_beams to 1.",
    ),
    ("--min_p 0.1 --num_beams 3", "Beam search does not sample: leave out min_p, or set num_beams to 1."),
    ("--num_beams 2 --n 3", "n takes at most num_beams (2) when beams are used, not 3."),
    ("--temperature 0 --n 3", "temperature 0 always picks the likeliest token, so n must be 1, not 3."),
    ("--preset greedy --n 3", "temperature 0 always picks the likeliest token, so n must be 1, not 3."),
    ("--preset beam --top_k 3", "Beam search does not sample: leave out top_k, or set num_beams to 1."),
    ("--stop ''", "stop takes texts of 1 to 32 characters, not 0."),
    (f"--stop {'x' * 33}", "stop takes texts of 1 to 32 characters, not 33."),
    ("--stop a --stop b --stop c --stop d --stop e", "stop takes at most 4 texts, not 5."),
]


@pytest.mark.parametrize(("line", "name", "arguments", "options", "text"), LINES)
def test_a_line_is_a_command_with_words_options_and_text(
    line: str, name: str, arguments: dict[str, str], options: dict[str, Any], text: str
) -> None:
    parsed = parse_command_line(line, COMMANDS)
    assert (parsed.command.name, parsed.arguments, parsed.options, parsed.text) == (name, arguments, options, text)
    assert [type(value) for value in parsed.options.values()] == [type(value) for value in options.values()]


@pytest.mark.parametrize(("line", "sentence"), MISTAKES, ids=[line[:40] for line, _ in MISTAKES])
def test_a_mistake_gets_one_sentence_that_says_what_is_taken(line: str, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_command_line(line, COMMANDS)
    assert type_mentions(str(caught.value), "!") == sentence


@pytest.mark.parametrize(("options", "sentence"), CLASHES)
def test_options_that_contradict_each_other_are_refused(options: str, sentence: str) -> None:
    line = parse_command_line(f"complete {options} a", COMMANDS)
    with pytest.raises(RequestError) as caught:
        apply_options(SamplingParams(n=3), line.options)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_a_word_of_any_length_gives_a_short_sentence(command: Any) -> None:
    options = (f"{command.name} --{'x' * 9999}", f"{command.name} --level={'x' * 9999} a")
    for line in ("x" * 9999, *(() if command.is_text_raw else options)):
        with pytest.raises(RequestError) as caught:
            parse_command_line(line, COMMANDS)
        assert len(type_mentions(str(caught.value), "!")) < 300


_WORDS = st.sampled_from(
    [
        *COMMANDS,
        "prompt",
        "--",
        "--n",
        "--n=2",
        "--seed",
        "--stop",
        "--level=server",
        "'",
        '"',
        "“a”",
        "\\",
        "=",
        "3",
        "—n",
        "–-n 2",
        "— ",
        "‘",
        "”",
    ]
)
_ANYTHING = st.text(st.characters(exclude_categories=()), max_size=30)


@given(st.lists(st.one_of(_WORDS, st.sampled_from(" \t\n\u2028"), _ANYTHING), max_size=12).map("".join))
@settings(max_examples=400, deadline=None)
def test_whatever_is_typed_is_a_command_or_one_sentence(line: str) -> None:
    sentence = text = ""
    try:
        text = parse_command_line(line, COMMANDS).text
    except RequestError as e:
        sentence = type_mentions(str(e), "!")
    assert "\n" not in sentence
    assert len(sentence) < 300
    assert line.endswith(text)


@given(st.text(st.characters(exclude_categories=()), max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_text_behind_the_options_stays_as_it_is(text: str) -> None:
    assert parse_command_line(f"complete --n 2 -- {text}", COMMANDS).text == text
    assert parse_command_line(f"prompt story -- {text}", COMMANDS).text == text


TEXTS = st.one_of(
    st.text(),
    st.sampled_from(["--", "-- x", "--n 2", "\n--x", " --n", '"', "'a", "“", "\\n", "run", "\x85 x"]),
    st.sampled_from(["—n 2", "— —n 2", "–-seed", "—", "– x", "‘a", "”x", "»", "—stop", "−−n=1"]),
)


def options_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return options that the command takes, any of them or none."""
    if not COMMANDS[name].options:
        return st.just({})
    if name == "perplexity":
        return st.fixed_dictionaries({}, optional={"model": st.text(min_size=1)})
    return st.fixed_dictionaries(
        {},
        optional={
            "n": st.integers(1, 5),
            "seed": st.integers(0, 2**63 - 1),
            "temperature": st.floats(0, 2),
            "top_p": st.floats(0, 1, exclude_min=True),
            "min_p": st.floats(0, 1),
            "preset": st.sampled_from(["careful", "wild"]),
            "stop": st.lists(TEXTS, min_size=1, max_size=4).map(tuple),
        },
    )


@given(
    st.data(), st.sampled_from(["complete", "perplexity", "prompt run", "prompt show", "prompt list", "help"]), TEXTS
)
@settings(max_examples=500, deadline=None)
def test_what_is_formatted_is_read_back_exactly(data: st.DataObject, name: str, text: str) -> None:
    command = COMMANDS[name]
    options = data.draw(options_of(name))
    arguments = {argument: data.draw(TEXTS) for argument in command.arguments}
    line = format_command_line(command, arguments, options, text, "!")
    assert line.startswith("!")
    read = parse_command_line(line[1:], COMMANDS)
    assert read.command is command
    assert read.arguments == arguments
    assert read.options == options
    assert read.text == ("" if command.text == "none" else text)


@given(st.lists(TEXTS, max_size=2), st.sampled_from([{}, {"level": "server"}]))
@settings(max_examples=200, deadline=None)
def test_leading_words_that_may_be_left_out_are_read_back_too(values: list[str], options: dict[str, str]) -> None:
    command = COMMANDS["settings"]
    arguments = dict(zip(command.arguments, values, strict=False))
    read = parse_command_line(format_command_line(command, arguments, options, "ignored", "")[0:], COMMANDS)
    assert (read.command, read.arguments, read.options, read.text) == (command, arguments, options, "")
