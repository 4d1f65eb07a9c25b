from typing import Any

import pytest
from discord import AppCommandOptionType
from hypothesis import given
from hypothesis import strategies as st

from bot.commands.bot import COMMANDS
from bot.commands.framework.command import Cards, Command, Option, Request
from bot.commands.framework.parsing import parse_command_line, split_text_parts
from bot.core.sampling_params import OPTIONS
from bot.errors import RequestError
from bot.platforms.discord.interactions.slash_options import SlashOption, command_line_of, description_of, slash_options

ATTACHMENT, TEXT = AppCommandOptionType.attachment, AppCommandOptionType.string


async def answer(request: Request) -> Cards:
    raise NotImplementedError
    yield


def values_of(option: SlashOption) -> st.SearchStrategy[Any]:
    """Return whatever Discord would let a person give."""
    if option.choices:
        return st.sampled_from(option.choices)
    if option.kind is AppCommandOptionType.integer:
        return st.integers(int(option.lowest or 0), int(option.highest or 0))
    if option.kind is AppCommandOptionType.number:
        number = OPTIONS[option.declared_name]
        exclude_min = not number.takes_lowest
        return st.floats(number.lowest, number.highest, exclude_min=exclude_min, allow_subnormal=False)
    # A text is given by hand, in one line; white space at its ends does not arrive.
    texts = st.text(st.characters(exclude_characters="\n\r|"), min_size=1, max_size=20)
    lines = st.sampled_from(["--n 3", "-- x", '"a" b', "\\", "a\\nb", "“q", "--", "!help", "<@1> @everyone"])
    return (texts | lines).filter(lambda text: text == text.strip())


@st.composite
def given_options(draw: st.DrawFn, command: Command) -> dict[str, Any]:
    """Draw what a person gives: all that is required, and some of the rest."""
    given: dict[str, Any] = {}
    optional_arguments = list(command.arguments)[len(command.arguments) - command.num_optional_arguments :]
    num_optional = draw(st.integers(0, len(optional_arguments)))
    left_out = {name.lower() for name in optional_arguments[num_optional:]}
    for option in slash_options(command):
        if option.kind is ATTACHMENT or option.name in left_out:
            continue
        is_argument = option.declared_name in command.arguments
        if left_out and option.declared_name == command.text_name:
            continue
        if option.is_required or is_argument or draw(st.booleans()):
            given[option.name] = draw(values_of(option))
        else:
            # discord.py gives None for what was left out.
            given[option.name] = None
    return given


@pytest.mark.parametrize("name", COMMANDS)
@given(data=st.data())
def test_the_line_says_exactly_what_was_given(name: str, data: st.DataObject) -> None:
    command = COMMANDS[name]
    given = data.draw(given_options(command))
    line = command_line_of(command, given, "!")
    assert line.startswith("!")
    parsed = parse_command_line(line[1:], COMMANDS)
    assert parsed.command is command
    assert parsed.arguments == {
        argument: given[argument.lower()] for argument in command.arguments if argument.lower() in given
    }
    expected: dict[str, Any] = {}
    for option in command.options:
        names = [option.name, *(f"{option.name}_{i}" for i in (2, 3, 4))] if option.is_repeatable else [option.name]
        found = [given[one] for one in names if given.get(one) is not None]
        if option.is_repeatable and found:
            expected[option.name] = tuple(value.replace("\\n", "\n") for value in found)
        elif found:
            expected[option.name] = found[0]
    assert parsed.options == expected
    parts = command.text_parts or {"text", command.text_name.lower()}
    text = " | ".join(given[part] for part in parts if given.get(part)) if command.text != "none" else ""
    assert parsed.text == text


def test_a_text_without_the_word_before_it_is_refused_with_the_usage() -> None:
    with pytest.raises(RequestError, match=r"^rows also needs action: /prompt-edit examples name "):
        command_line_of(COMMANDS["prompt examples"], {"name": "story", "rows": "a => b"}, "!")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_part_of_a_declaration_has_its_option(name: str) -> None:
    command = COMMANDS[name]
    options = slash_options(command)
    names = [option.name for option in options]
    assert len(set(names)) == len(names) <= 25
    assert {option.declared_name for option in options} >= {*command.arguments, *(o.name for o in command.options)}
    required = [option.is_required for option in options]
    assert required == sorted(required, reverse=True)
    if command.text_parts:
        assert {*command.text_parts} <= set(names)
    elif command.text != "none":
        assert {command.text_name.lower(), "text"} & set(names)


def test_a_required_text_may_be_a_file_so_neither_option_is_required() -> None:
    by_name = {option.name: option for option in slash_options(COMMANDS["perplexity"])}
    assert not by_name["text"].is_required
    assert by_name["text"].highest == 6000
    assert by_name["file"].kind is ATTACHMENT
    assert command_line_of(COMMANDS["perplexity"], {"text": None, "file": object()}, "!") == "!perplexity"


def test_a_repeatable_option_has_four_names() -> None:
    names = [option.name for option in slash_options(COMMANDS["complete"])]
    assert [name for name in names if name.startswith("stop")] == ["stop", "stop_2", "stop_3", "stop_4"]
    given = {"text": "a", "stop_2": "b", "stop": "\\n", "stop_4": "."}
    line = parse_command_line(command_line_of(COMMANDS["complete"], given, ""), COMMANDS)
    assert line.options == {"stop": ("\n", "b", ".")}


def test_a_whole_number_goes_no_higher_than_discord_s() -> None:
    seed = next(option for option in slash_options(COMMANDS["complete"]) if option.name == "seed")
    assert (seed.lowest, seed.highest) == (0, 2**53 - 1)


def test_parts_of_a_text_are_joined_and_may_contain_the_separator() -> None:
    command = COMMANDS["compare"]
    assert command_line_of(command, {"a": "x", "b": "y", "c": None, "d": "z"}, "!") == "!compare x | y | z"
    line = command_line_of(command, {"a": "x | y", "b": "\\| z"}, "!")
    assert split_text_parts(parse_command_line(line[1:], COMMANDS).text) == ["x | y", "\\| z"]


def test_an_option_without_the_one_before_it_is_refused_with_the_usage() -> None:
    with pytest.raises(RequestError, match="value also needs name: /settings"):
        command_line_of(COMMANDS["settings"], {"name": None, "value": "careful"}, "!")


def test_what_has_more_choices_than_discord_shows_is_suggested() -> None:
    options = tuple(Option(f"o{n}", "choice", "h", choices=tuple(map(str, range(n)))) for n in (25, 26))
    few, many = slash_options(Command("x", "y", answer, options=options))
    assert (len(few.choices), few.is_suggested) == (25, False)
    assert (many.choices, many.is_suggested) == ((), True)


@given(st.text())
def test_a_description_is_one_line_that_fits(text: str) -> None:
    description = description_of(text)
    assert 1 <= len(description) <= 100
    assert "\n" not in description


def test_a_description_is_cut_between_words() -> None:
    assert description_of("word " * 30) == "word " * 19 + "…"
