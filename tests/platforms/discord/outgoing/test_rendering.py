"""Cards as Discord takes them: within its limits, with all of their words somewhere, and safe."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import discord
import pytest
from discord.http import handle_message_parameters
from hypothesis import given
from hypothesis import strategies as st

from bot.core.cards import (
    Bars,
    Block,
    Button,
    Card,
    Choices,
    Facts,
    Progress,
    Select,
    SelectOption,
    Table,
    Text,
    TextFile,
    TintedText,
    Verbatim,
    error_card,
)
from bot.platforms.discord.outgoing.rendering import MAX_CONTENT, MAX_LAYOUT_TEXT, Rendering, prepare, render
from bot.platforms.discord.outgoing.safe_markdown import utf16_length
from bot.platforms.discord.outgoing.sender import create_body
from tests.bots import Talk
from tests.servers.discord.checking import check_body
from tests.servers.discord.texts import walk


def bodies(rendering: Rendering) -> list[tuple[dict[str, Any], list[str]]]:
    """Return the body of each message, and the names of the files sent with it."""
    made = []
    for chunk in range(rendering.num_messages):
        arguments = create_body(rendering, chunk)
        suppresses = arguments.pop("suppress_embeds", False)
        flags = discord.MessageFlags(suppress_embeds=suppresses)
        with handle_message_parameters(**arguments, flags=flags) as parameters:
            if parameters.payload is not None:
                made.append((parameters.payload, []))
                continue
            multipart = parameters.multipart or []
            names = [part["filename"] for part in multipart[1:]]
            made.append((json.loads(multipart[0]["value"]), names))
    return made


def assert_fits(rendering: Rendering) -> None:
    for body, files in bodies(rendering):
        assert check_body("POST", "/channels/{channel_id}/messages", body, files=files) == []
    for content in rendering.content:
        assert utf16_length(content) <= MAX_CONTENT
    if rendering.layout is not None:
        assert sum(map(utf16_length, displays(rendering))) <= MAX_LAYOUT_TEXT


def displays(rendering: Rendering) -> list[str]:
    components = rendering.layout.to_components() if rendering.layout else []
    return [part["content"] for part in walk(components) if part["type"] == 10]


def shown(rendering: Rendering) -> str:
    return "\n".join([*rendering.content, *displays(rendering)])


def labels(rendering: Rendering) -> list[str]:
    views = [view for view in (rendering.view, rendering.layout) if view is not None]
    return [part["label"] for view in views for part in walk(view.to_components()) if part["type"] == 2]


def rows(rendering: Rendering) -> list[list[str]]:
    view = rendering.view or rendering.layout
    assert view is not None
    return [
        [part.get("label") or part["placeholder"] for part in row["components"]]
        for row in walk(view.to_components())
        if row["type"] == 1
    ]


COMMANDS = [
    "!perplexity Can it does what the great big house said to me?",
    "!perplexity hi",
    "!compare Can it do that? | Can it does what? | Now",
    "!compare a | " + "the very long one " * 20,
    "!next The capital of France is",
    "!complete --n 5 --seed 4 The best thing about rain is",
    "!complete " + "A long text. " * 20,
    "!strategies --seed 4 The best thing about rain is",
    "!strategies --max_new_tokens 200 " + "A long text. " * 20,
    "!prompt sentiment I love this",
    "!prompt translate-en-fr --n 3 house",
    "!prompt translate-en-fr house",
    "!prompt list",
    "!prompt show sentiment",
    "!settings",
    "!fresh",
    "hello there",
    "!context",
    "!why",
    "!stats",
    "!help",
    "!help complete",
    "!help prompt",
    "!complete --temperature 9 x",
]


async def test_every_card_of_the_commands_fits_discord(talk: Talk):
    for line in COMMANDS:
        async for card in talk.snapshots(line):
            pictures = await prepare(card)
            assert_fits(render(card, pictures=pictures, stop_id="123"))
            assert_fits(render(card, pictures=pictures, as_layout=True))
            assert_fits(render(card, is_one_message=True, allows_files=False))
    assert len(pictures) == 0


async def test_a_heat_map_is_a_picture_with_alt_text(talk: Talk):
    card = await talk.card("!perplexity Can it does what?")
    rendering = render(card, pictures=await prepare(card))
    ((body, files),) = bodies(rendering)
    (gallery,) = [part for part in walk(body["components"]) if part["type"] == 12]
    assert files == ["heat-map-2.png"]
    assert gallery["items"][0]["media"]["url"] == "attachment://heat-map-2.png"
    assert "does" in gallery["items"][0]["description"]
    assert body["attachments"][0]["description"] == gallery["items"][0]["description"]
    assert rendering.files[0].data.startswith(b"\x89PNG")


def test_without_a_picture_the_most_surprising_words_are_bold():
    card = Card(blocks=(TintedText((("Can", 1.0), (" ", None), ("cows", 14.0), (" fly*", None))),))
    assert shown(render(card)) == "Can **cows** fly\\*"


LONG = "Some words of the model. " * 40
HOSTILE = "[a](http://b.example) <@1> `x` *y* "


@pytest.mark.parametrize(
    "blocks",
    [
        (Verbatim("x" * 4000),),
        (Verbatim("```" * 2000),),
        (Text(LONG * 8, is_model_text=True), Facts((("a", "b"),))),
        (Table(("name", "what"), tuple((f"name{i}", LONG) for i in range(60))),),
        (Table(("name", "n"), tuple((f"name{i}", str(i)) for i in range(400))),),
        (Choices("The prompt " * 500, tuple(HOSTILE * 60 for _ in range(9))),),
        (Bars(tuple((HOSTILE * 5, 0.1) for _ in range(60)), 0.2),),
        (Facts(tuple((f"name {i}", LONG) for i in range(60))),),
        (TintedText(tuple((HOSTILE, 20.0) for _ in range(500))),),
        (*(Text(f"paragraph {i} {HOSTILE}") for i in range(120)), Progress("x", 1, 2)),
        (Text("😀" * 5000, is_model_text=True), Progress("x")),
        (Verbatim(LONG * 9), Verbatim(LONG * 9), Facts((("kept", "whole"),))),
    ],
)
def test_text_that_does_not_fit_is_in_a_file_and_a_line_says_so(blocks: tuple[Block, ...]):
    rendering = render(Card(blocks=blocks))
    assert_fits(rendering)
    assert [file.name for file in rendering.files] == ["whole.txt"]
    assert "in the file" in shown(rendering)
    text = rendering.files[0].data.decode()
    for block in blocks:
        match block:
            case Text() | Verbatim():
                assert block.text in text
            case Table():
                assert all(row[0] in text for row in block.rows)
            case Choices():
                assert all(option in text for option in block.options)
            case Facts():
                assert all(name in text for name, _ in block.items)
    assert "needs the permission Attach Files" in shown(render(Card(blocks=blocks), allows_files=False))


def test_a_short_block_beside_a_long_one_is_shown_whole():
    rendering = render(Card(blocks=(Verbatim(LONG * 9), Facts((("kept", "whole"),)))))
    assert "kept\u00a0**whole**" in shown(rendering)


def test_a_card_at_each_limit_fits_without_a_file():
    buttons = tuple(Button(f"{i}" * 20, "label " * 30) for i in range(10))
    options = tuple(SelectOption(f"{i:0100}", "l" * 200, "h" * 200) for i in range(25))
    selects = (Select("a", "p" * 300, options), Select("b", "p", options))
    card = Card(
        blocks=(Choices("p" * 90, tuple("o" * 300 for _ in range(9))), Text("seed 1", is_quiet=True)),
        buttons=buttons,
        selects=selects,
        open_card_id="c" * 36,
        revision=999,
    )
    rendering = render(card)
    assert_fits(rendering)
    assert rendering.files == ()
    assert len(displays(rendering)) == 10


def test_an_answer_is_a_plain_message_with_its_buttons_under_the_last():
    text = LONG * 5
    card = Card(
        blocks=(Text(text, is_model_text=True), Text("one remark", is_quiet=True)),
        buttons=(Button("again", "again"), Button("why", "why")),
        reply_id="r1",
    )
    rendering = render(card)
    assert_fits(rendering)
    assert len(rendering.content) == 3
    assert rendering.content[-1].endswith("\n-# one remark")
    assert " ".join(" ".join(rendering.content).split()).startswith(text.strip())
    first, *_, last = bodies(rendering)
    assert "components" not in first[0]
    assert [part["custom_id"] for part in walk(last[0]["components"]) if part["type"] == 2] == [
        "fewshot:reply-r1:0:again",
        "fewshot:reply-r1:0:why",
    ]
    assert labels(rendering) == ["Again", "Why"]
    assert all(body["flags"] == 4 for body, _ in bodies(rendering))


def test_a_whole_book_is_rendered_at_once():
    book = "*a* `b` <c> " * 20_000
    start = time.monotonic()
    books = (Text(book), Text(book, is_model_text=True), Verbatim(book), Choices(book, (book, book)))
    for block in (*books, Text("\n" * 200_000 + "x"), Text("- " * 100_000, is_model_text=True)):
        for as_layout in (False, True):
            rendering = render(Card(blocks=(block,)), as_layout=as_layout)
            assert rendering.files
            assert_fits(rendering)
        assert_fits(render(Card(blocks=(block,), is_final=False)))
    assert time.monotonic() - start < 5


def test_a_very_long_answer_is_one_line_and_a_file():
    rendering = render(Card(blocks=(Text(LONG * 8, is_model_text=True),)))
    assert rendering.content == ("The answer is too long for a message, so it is in the file.",)
    assert rendering.files[0].data.decode().strip() == (LONG * 8).strip()
    assert_fits(rendering)


def test_an_answer_to_an_interaction_is_one_message():
    longer = render(Card(blocks=(Text(LONG * 3, is_model_text=True),)), is_one_message=True)
    assert longer.layout is not None
    assert shown(longer).count("Some words") == 120
    longest = render(Card(blocks=(Text(LONG * 8, is_model_text=True),)), is_one_message=True)
    assert len(longest.content) == 1
    assert longest.files
    for rendering in (longer, longest):
        assert_fits(rendering)


def test_while_it_is_written_the_end_of_a_long_answer_is_shown_with_stop():
    card = Card(blocks=(Text(LONG * 4 + "the end", is_model_text=True),), is_final=False)
    rendering = render(card, stop_id="77")
    assert_fits(rendering)
    (content,) = rendering.content
    assert content.startswith("…\n")
    assert content.endswith("the end")
    assert labels(rendering) == ["Stop"]
    assert labels(render(card)) == []


def test_an_error_is_one_plain_line():
    assert render(error_card("temperature takes 0 to 2, not *9*.")).content == (
        "⚠️ temperature takes 0 to 2, not \\*9\\*.",
    )
    assert render(error_card("No.")).is_private
    rendering = render(error_card("No."), as_layout=True)
    assert_fits(rendering)
    assert shown(rendering) == "⚠️ No."


def test_choices_are_numbered_with_the_new_words_bold_and_a_button_each():
    names = ["1", "2", "3", "more", "longer", "again"]
    card = Card(
        blocks=(Choices("The best thing about rain is", (" the smell.", "*\nyes", "")), Text("seed 1", is_quiet=True)),
        buttons=tuple(Button(name, name) for name in names),
        open_card_id="c1",
        revision=4,
    )
    rendering = render(card)
    assert displays(rendering) == [
        "`1` The best thing about rain is **the smell.**",
        "`2` The best thing about rain is**\\***\n**yes**",
        "`3` The best thing about rain is…",
        "-# seed 1",
    ]
    assert rows(rendering) == [["1", "2", "3"], ["More", "Longer", "Again"]]
    styles = [part["style"] for part in walk(rendering.layout.to_components()) if part["type"] == 2]  # type: ignore[union-attr]
    assert styles == [1, 1, 1, 2, 2, 2]


def test_of_a_long_text_the_last_words_stand_before_each_continuation():
    (display,) = displays(render(Card(blocks=(Choices("word " * 100 + "the end", (" is near",)),))))
    assert display.startswith("`1` …word")
    assert display.endswith("the end **is near**")
    assert len(display) < 100


def test_a_perplexity_card_begins_with_its_figure():
    facts = Facts((("perplexity", "1,093.21"), ("tokens", "14"), ("model", "tiny_1")))
    first = displays(render(Card(blocks=(facts, Bars((("a", 0.5),), 0.5)))))[0]
    assert first == "## 1,093.21 perplexity\ntokens\u00a0**14** · model\u00a0**tiny\\_1**"


def test_bars_precede_their_names():
    card = Card(blocks=(Bars((("cat", 0.3), ("Größe", 0.15)), 0.55, "all other words"),))
    assert shown(render(card)) == (
        "`██████████  30.0%` **cat**\n`█████░░░░░  15.0%` **Größe**\n-# 55.0% all other words"
    )
    labels_only = Card(blocks=(Bars((("yes", 0.75), ("no", 0.25)), rest_name=""),))
    assert shown(render(labels_only)) == "`███████▌░░  75.0%` **yes**\n`██▌░░░░░░░  25.0%` **no**"


def test_a_narrow_table_is_in_fixed_width_and_a_wide_one_a_list():
    narrow = Table(("part", "tokens"), (("history", "1,234"), ("free", "7")))
    assert shown(render(Card(blocks=(narrow,)))) == "```\npart     tokens\nhistory   1,234\nfree          7\n```"
    wide = Table(("name", "kind", "what"), (("sentiment", "classify", "Is a message friendly or not?"),))
    assert shown(render(Card(blocks=(wide,)))) == (
        "-# name · kind · what\n**sentiment** · classify\n-# Is a message friendly or not?"
    )
    figures = Table(("", "text", "bits"), (("A", "Can it do that for me, or can it not?", "30.1"),))
    assert shown(render(Card(blocks=(figures,)))) == "**A** Can it do that for me, or can it not?\n-# bits 30.1"
    assert shown(render(Card(blocks=(Table(("a", "b"), ()),)))) == "-# nothing here yet"
    counted = Table(("", "input", "output", "by"), (("1", "What a day!", "Positive", "Moe, a moderator here"),))
    assert shown(render(Card(blocks=(counted,)))) == (
        "-# input · output · by\n**1** What a day! · Positive\n-# Moe, a moderator here"
    )
    confusion = Table(
        ("right ↓ answered →", "Positive", "Negative"), (("Positive", "49", "1"), ("Negative", "2", "48"))
    )
    assert shown(render(Card(blocks=(confusion,)))) == (
        "-# right ↓ answered →\n**Positive**\n-# Positive 49 · Negative 1\n**Negative**\n-# Positive 2 · Negative 48"
    )


def test_the_cells_of_a_row_stay_in_the_order_of_the_columns():
    sampling = "temperature 0.4, top_p 0.9, repetition_penalty 1.05"
    settings = Table(
        ("setting", "value", "from", "meaning"),
        (
            ("preset", sampling, "template chat", "sampling preset for chat answers"),
            ("quota", "12", "default", "how many requests a member may make"),
        ),
    )
    assert shown(render(Card(blocks=(settings,)))).replace("\\", "") == (
        "-# setting · value · from · meaning\n"
        f"**preset**\n-# {sampling} · template chat\n-# sampling preset for chat answers\n"
        "**quota** · 12 · default\n-# how many requests a member may make"
    )
    history = Table(
        ("version", "what", "by", "when", "reason", "score"),
        (
            ("2", "edit", "Moe", "2026-11-30 00:32 UTC", "", "89%"),
            ("1", "edit", "Moe", "2026-11-29 00:32 UTC", "x", ""),
        ),
    )
    assert shown(render(Card(blocks=(history,)))) == (
        "-# version · what · by · when · reason · score\n"
        "**2** · edit · Moe\n-# 2026-11-30 00:32 UTC · — · 89%\n"
        "**1** · edit · Moe\n-# 2026-11-29 00:32 UTC · x"
    )
    scored = Table(
        ("name", "version", "score", "what"), (("a", "1", "", "long " * 9), ("b", "2", "5 of 7", "long " * 9))
    )
    assert shown(render(Card(blocks=(scored,)))).startswith("-# name · score · what\n**a** · —\n-# long")


def test_progress_has_a_bar_if_the_total_is_known():
    assert shown(render(Card(blocks=(Progress("rows tested", 3, 4),)))) == "rows tested\n`███████▌░░  75%` 3 of 4"
    assert shown(render(Card(blocks=(Progress("waiting"),)))) == "waiting …"


def test_a_select_and_a_file_of_a_card_are_shown():
    select = Select("kind", "Kind", (SelectOption("c", "complete", "continues", is_chosen=True),))
    card = Card(
        blocks=(Progress("x", 1, 2),),
        selects=(select,),
        open_card_id="d1",
        file=TextFile("my prompt/é.prompt", "+++\n"),
    )
    rendering = render(card)
    assert_fits(rendering)
    assert rows(rendering) == [["Kind"]]
    assert [file.name for file in rendering.files] == ["my_prompt_.prompt"]
    words = render(Card(blocks=(Text("Here it is."),), file=TextFile("a.prompt", "x")))
    assert words.content == ("Here it is.",)
    assert [file.name for file in words.files] == ["a.prompt"]
    assert_fits(words)


def test_an_empty_card_still_says_something():
    for card in (Card(), Card(blocks=(Text(""),)), Card(blocks=(Text(""),), is_final=False)):
        assert_fits(render(card))
        assert_fits(render(card, as_layout=True))


def test_files_can_be_built_again_for_each_try():
    rendering = render(Card(blocks=(Verbatim(LONG * 9),)))
    first, second = rendering.build_files()[0], rendering.build_files()[0]
    first.close()
    assert second.fp.read() == rendering.files[0].data


WORDS = st.text(max_size=3000) | st.sampled_from(["```", "**", HOSTILE * 30, "|" * 2000, "\n" * 500, "`" * 1990])
BLOCKS = st.one_of(
    st.builds(Text, WORDS, st.booleans(), st.booleans()),
    st.builds(Verbatim, WORDS),
    st.builds(lambda cells: Table(("a", "b"), tuple(cells)), st.lists(st.tuples(WORDS, WORDS), max_size=4)),
    st.builds(lambda words: Choices("some words", tuple(words)), st.lists(WORDS, max_size=5)),
    st.builds(lambda names: Bars(tuple((name, 0.1) for name in names), 0.5), st.lists(WORDS, min_size=1, max_size=4)),
)


@given(st.lists(BLOCKS, max_size=6), st.booleans(), st.booleans(), st.booleans())
def test_no_card_breaks_a_limit(blocks: Sequence[Block], is_final: bool, as_layout: bool, is_one_message: bool):
    card = Card(blocks=tuple(blocks), is_final=is_final)
    assert_fits(render(card, stop_id="1", as_layout=as_layout, is_one_message=is_one_message))


@pytest.mark.parametrize(
    ("line", "name", "alt"),
    [
        ("!compare Can it do that? | Can it does what?", "comparison-2.png", "Comparison word by word with"),
        ("!next The capital of France is", "bars-1.png", "Bars of the words that the model expects after"),
    ],
)
async def test_comparisons_and_next_words_are_pictures_with_alt_text_and_words_without_one(
    talk: Talk, line: str, name: str, alt: str
):
    card = await talk.card(line)
    ((body, files),) = bodies(render(card, pictures=await prepare(card)))
    (gallery,) = [part for part in walk(body["components"]) if part["type"] == 12]
    assert files == [name]
    assert gallery["items"][0]["media"]["url"] == f"attachment://{name}"
    assert gallery["items"][0]["description"].startswith(alt)
    with_picture, without = shown(render(card, pictures=await prepare(card))), shown(render(card, allows_files=False))
    assert len(with_picture) < len(without)
    assert card.blocks[0].text in with_picture.replace("\\", "")


async def test_a_picture_that_cannot_be_drawn_leaves_the_words(monkeypatch: pytest.MonkeyPatch):
    def fail(_: object, **__: object) -> None:
        raise OSError("no fonts")

    monkeypatch.setattr("bot.pictures.blocks.draw_heat_map", fail)
    card = Card(blocks=(TintedText((("Can", 1.0),)),))
    assert await asyncio.wait_for(prepare(card), 5) == ()
