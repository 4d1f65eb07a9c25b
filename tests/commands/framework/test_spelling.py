"""A command is named as its reader calls it: typed behind the prefix, or as a slash command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands.bot import COMMANDS
from bot.commands.framework.spelling import Spelling
from bot.core.cards import (
    Bars,
    Button,
    Card,
    Facts,
    Form,
    FormField,
    SelectOption,
    Table,
    Text,
    TextFile,
    Verbatim,
    error_card,
)
from bot.core.mentions import mention, mention_option, type_mentions

TYPED = Spelling(COMMANDS, "!")
SLASH = Spelling(COMMANDS, "/", is_slash=True)
# The characters that mark a mention, among others.
TEXTS_WITH_MARKS = st.text(st.sampled_from("\ue0f0\ue0f1help -|/!0123456789abcdef\n")) | st.text()


@pytest.mark.parametrize(
    ("line", "typed", "slash"),
    [
        ("help", "!help", "/help"),
        ("help COMMAND", "!help COMMAND", "/help command:COMMAND"),
        ("prompt list", "!prompt list", "/prompt list"),
        ("prompt edit sentiment", "!prompt edit sentiment", "/prompt-edit edit name:sentiment"),
        ("privacy --read off", "!privacy --read off", "/privacy read:off"),
        ("settings report_channel", "!settings report_channel", "/settings name:report_channel"),
        ("settings history_length 20", "!settings history_length 20", "/settings name:history_length value:20"),
        ("prompt publish greeting because it is new", "!prompt publish greeting because it is new", None),
        ("next Once upon a", "!next Once upon a", "/next text:Once upon a"),
        ("compare A | B", "!compare A | B", "/compare a:A b:B"),
        ("complete --stop . --stop ! Once", "!complete --stop . --stop ! Once", "/complete stop:. stop_2:! text:Once"),
        ("nonsense", "!nonsense", "/nonsense"),
    ],
)
def test_a_command_line_is_spelled_for_who_types_and_for_who_uses_slash_commands(
    line: str, typed: str, slash: str | None
) -> None:
    assert TYPED.line(line) == typed
    if slash is not None:
        assert SLASH.line(line) == slash


def test_every_example_of_help_has_a_slash_form_that_names_only_declared_options() -> None:
    for command in COMMANDS.values():
        for example in command.examples:
            spelled = SLASH.line(example)
            assert spelled.startswith(f"/{command.slash_name}"), spelled
            assert "--" not in spelled, spelled


def test_every_part_of_a_card_is_spelled_but_what_people_and_the_model_wrote() -> None:
    marked = f"see {mention('prompt list')}."
    card = Card(
        blocks=(Text(marked), Table(("a",), ((marked,),)), Text(marked, is_model_text=True), Verbatim(marked)),
        data={"hint": marked},
        buttons=(Button("go", "Go"),),
    )
    spelled = SLASH.card(card)
    assert spelled.blocks[0] == Text("see /prompt list.")
    assert spelled.blocks[1] == Table(("a",), (("see /prompt list.",),))
    assert spelled.blocks[2:] == card.blocks[2:]
    assert spelled.data == {"hint": "see /prompt list."}
    assert SLASH.card(error_card(marked)).error == "see /prompt list."


def test_a_card_without_a_mention_is_the_same_object() -> None:
    card = Card(blocks=(Text("nothing"),), data={"a": ["b"], "c": 1})
    assert TYPED.card(card) is card


def test_an_option_is_spelled_as_the_reader_gives_it() -> None:
    card = error_card(f"{mention_option('n')} is given twice.")
    assert TYPED.card(card).error == "--n is given twice."
    assert SLASH.card(card).error == "n is given twice."


def test_a_mention_is_typed_where_no_card_carries_it() -> None:
    text = f"See {mention('help')} for {mention_option('n')}."
    assert type_mentions(text, "!") == "See !help for --n."


def test_a_mention_in_a_mention_is_one_mention() -> None:
    assert TYPED.card(error_card(mention(f"help {mention('next')}"))).error == "!help next"


def test_mentions_in_the_lists_of_the_data_are_spelled_too() -> None:
    card = Card(data={"hints": [mention("help"), "none"], "more": {"hints": (mention("why"),)}, "tokens": [{"a": 1.0}]})
    assert SLASH.card(card).data == {"hints": ["/help", "none"], "more": {"hints": ("/why",)}, "tokens": [{"a": 1.0}]}


@pytest.mark.parametrize("spelling", [TYPED, SLASH], ids=["typed", "slash"])
@given(text=TEXTS_WITH_MARKS)
def test_what_a_person_wrote_is_never_changed_wherever_a_card_shows_it(spelling: Spelling, text: str) -> None:
    sentence = f"{text} {mention('help')} {text}"
    card = Card(
        blocks=(Text(text), Facts(((text, text),)), Table((text,), ((text,),)), Verbatim(text), Bars(((text, 0.5),))),
        data={"input": text, "texts": [text], "inputs": {text: text}},
        file=TextFile("a.txt", text),
        form=Form("f", text, (FormField("a", text, value=text, options=(SelectOption(text, text, text),)),)),
    )
    assert spelling.card(card) is card
    assert spelling.card(Card(error=sentence)).error == f"{text} {spelling.prefix}help {text}"
    assert spelling.card(Card(error=mention(f"nonsense {text}"))).error == f"{spelling.prefix}nonsense {text}"
