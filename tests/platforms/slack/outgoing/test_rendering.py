"""Cards as Slack takes them: within its limits, with all of their words somewhere, and safe."""

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.core.cards import (
    Bars,
    Block,
    Button,
    Card,
    Choices,
    Contrast,
    ContrastedText,
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
from bot.pictures.picture import Picture
from bot.platforms.slack.outgoing import rich_text
from bot.platforms.slack.outgoing.rendering import MAX_ALT_TEXT, prepare, render
from tests.bots import Talk
from tests.platforms.slack.outgoing.checks import assert_fits, blocks_of, labels, markdown, shown

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
    "!prompt list",
    "!prompt show sentiment",
    "!settings",
    "!privacy",
    "hello there",
    "!context",
    "!why",
    "!stats",
    "!help",
    "!help complete",
    "!complete --temperature 9 x",
]
LONG = "Some words of the model. " * 40
HOSTILE = (
    "[a](http://b.example) <@U1> <!channel> <!subteam^S1|x> <http://c.example|d> `x` *y* e@f.org & www.g.com ## h "
)


async def test_every_card_of_the_commands_fits_slack(talk: Talk):
    for line in COMMANDS:
        async for card in talk.snapshots(line, has_buttons=True):
            assert_fits(render(card, pictures=await prepare(card), stop_id="T1:C1:1.1"))
            assert_fits(render(card, allows_files=False))


@pytest.mark.parametrize(
    "blocks",
    [
        (Verbatim("x" * 9000),),
        (Verbatim("```" * 4000),),
        (Text(LONG * 8, is_model_text=True), Facts((("a", "b"),))),
        (Text(HOSTILE * 80, is_model_text=True),),
        (Text("&" * 9000, is_model_text=True),),
        (Text(LONG * 8),),
        (Text(LONG * 8, is_quiet=True),),
        (Table(("name", "what"), tuple((f"name{i}", LONG) for i in range(60))),),
        (Table(("name", "n"), tuple((f"name{i}", str(i)) for i in range(800))),),
        (Table(("a", "b"), (("name", LONG),)), Table(("c", "d"), tuple((f"n{i}", "x" * 40) for i in range(200)))),
        (Choices("The prompt " * 500, tuple(HOSTILE * 60 for _ in range(9))),),
        (Bars(tuple((HOSTILE * 5, 0.1) for _ in range(60)), 0.2),),
        (Facts((("name", LONG),)),),
        (Facts(tuple((f"name {i}", LONG) for i in range(60))),),
        (TintedText(tuple((HOSTILE, 20.0) for _ in range(500))),),
        (*(Text(f"paragraph {i} {HOSTILE}") for i in range(120)), Progress("x", 1, 2)),
        (Text("😀" * 9000, is_model_text=True), Progress("x")),
        (Verbatim(LONG * 9), Verbatim(LONG * 9), Facts((("kept", "whole"),))),
    ],
)
def test_text_that_does_not_fit_is_in_a_file_and_a_line_says_so(blocks: tuple[Block, ...]):
    rendering = render(Card(blocks=blocks))
    assert_fits(rendering)
    assert [file.name for file in rendering.files] == ["whole.txt"]
    assert "The complete text is in the file." in shown(rendering)
    text = rendering.files[0].data.decode()
    for block in blocks:
        match block:
            case Text() | Verbatim():
                assert block.text.rstrip() in text
            case Table():
                assert all(row[0] in text for row in block.rows)
            case Choices():
                assert all(option.rstrip() in text for option in block.options)
            case Facts():
                assert all(f"{name}: {value}" in text for name, value in block.items)
    without = render(Card(blocks=blocks), allows_files=False)
    assert_fits(without)
    assert "files:write" in shown(without)
    assert without.files == ()


def test_a_short_block_beside_a_long_one_is_shown_whole():
    rendering = render(Card(blocks=(Verbatim(LONG * 9), Facts((("kept", "whole"),)))))
    assert "kept\u00a0\nwhole" in shown(rendering)


def test_a_long_answer_of_the_model_is_one_message_without_a_file():
    rendering = render(Card(blocks=(Text(LONG * 5, is_model_text=True),)))
    assert_fits(rendering)
    assert rendering.files == ()
    assert markdown(rendering) == [(LONG * 5).strip()]


def test_a_card_at_each_limit_fits_without_a_file():
    buttons = tuple(Button(f"{i}" * 20, "label " * 30) for i in range(30))
    options = tuple(SelectOption(f"{i:0100}", "l" * 200, "h" * 200) for i in range(120))
    selects = (Select("a", "p" * 300, options), Select("b", "p", options[:1]), Select("c", "none", ()))
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
    # The first buttons stand in a row; a menu at its end has the others.
    assert [len(row) for row in labels(rendering)] == [1, 1, 10]
    assert labels(rendering)[-1][-1] == "Other actions"


def test_an_answer_has_its_buttons_below_the_words_and_the_remark():
    card = Card(
        blocks=(Text("Hello.", is_model_text=True), Text("one remark", is_quiet=True)),
        buttons=(Button("again", "again"), Button("why", "why")),
        reply_id="r1",
    )
    rendering = render(card)
    assert_fits(rendering)
    assert [block["type"] for block in rendering.blocks] == ["markdown", "context", "actions"]
    assert [element["action_id"] for element in rendering.blocks[-1]["elements"]] == [
        "fewshot:reply-r1:0:again",
        "fewshot:reply-r1:0:why",
    ]
    assert labels(rendering) == [["Again", "Why"]]
    assert rendering.text == "Hello.\none remark"


def test_while_it_is_written_an_answer_has_stop_and_no_other_button():
    card = Card(blocks=(Text(LONG * 9, is_model_text=True),), is_final=False, buttons=(Button("a", "a"),), reply_id="r")
    rendering = render(card, stop_id="T1:C1:7.7")
    assert_fits(rendering)
    assert labels(rendering) == [["Stop"]]
    assert rendering.files == ()
    assert labels(render(card)) == []


def test_an_error_is_one_plain_line_for_the_asker():
    rendering = render(error_card("temperature takes 0 to 2, not *9* <!here>."))
    assert_fits(rendering)
    assert shown(rendering) == "⚠️ temperature takes 0 to 2, not *9* <!here>."
    assert rendering.blocks[0]["type"] == "rich_text"
    assert rendering.text.endswith("not *9* &lt;!here&gt;.")
    assert rendering.is_private


def test_choices_are_numbered_with_the_new_words_bold_and_a_button_each():
    card = Card(
        blocks=(Choices("Rain is", (" good", "*\nyes", "")), Text("seed 1", is_quiet=True)),
        buttons=tuple(Button(name, name) for name in ("1", "2", "3", "more")),
        open_card_id="c1",
        revision=4,
    )
    rendering = render(card)
    assert_fits(rendering)
    lines = [block["elements"][0]["elements"] for block in rendering.blocks[:3]]
    assert [[(one["text"], one.get("style")) for one in line] for line in lines] == [
        [(f"{number}", {"code": True}), (" Rain is", None), (new, {"bold": True})]
        for number, new in ((1, " good"), (2, "*\nyes"), (3, "…"))
    ]
    assert labels(rendering) == [["1", "2", "3", "More"]]
    # Of several equal buttons none is the main one.
    assert not [one for one in rendering.blocks[-1]["elements"] if "style" in one]


def test_a_figure_of_a_card_is_its_title():
    facts = Facts((("perplexity", "1,093.21"), ("tokens", "14"), ("model", "tiny_1")))
    title, rest, *_ = render(Card(blocks=(facts, Bars((("a", 0.5),), 0.5)))).blocks
    assert (title["type"], title["text"]["text"]) == ("header", "1,093.21 perplexity")
    assert "".join(one["text"] for one in rest["elements"][0]["elements"]) == "tokens\u00a014 · model\u00a0tiny_1"


def test_a_narrow_table_is_in_fixed_width_and_the_first_wide_one_a_table():
    narrow = Table(("part", "tokens"), (("history", "1,234"), ("free", "7")))
    assert shown(render(Card(blocks=(narrow,)))) == "part     tokens\nhistory   1,234\nfree          7"
    wide = Table(("name", "kind", "what"), (("sentiment", "classify", "Is a message friendly or not?"), ("b", "", "")))
    rendering = render(Card(blocks=(wide, wide)))
    assert_fits(rendering)
    table, *lines = rendering.blocks
    assert [[cell["text"] for cell in row] for row in table["rows"]] == [
        ["name", "kind", "what"],
        ["sentiment", "classify", "Is a message friendly or not?"],
        ["b", "\u00a0", "\u00a0"],
    ]
    # Slack takes one table in a message.
    assert ["".join(one["text"] for one in line["elements"][0]["elements"]) for line in lines] == [
        "sentiment  kind: classify · what: Is a message friendly or not?",
        "b",
    ]
    assert shown(render(Card(blocks=(Table(("a", "b"), ()),)))) == "nothing here yet"


def test_rows_that_are_lines_name_their_figures_and_end_with_what_they_are_about():
    wide = Table(("name", "what"), (("sentiment", "Is a message friendly or not?"),))
    counts = Table(("right ↓ answered →", "Positive", "Negative"), (("Positive", "43", "7"), ("Negative", "0", "50")))
    text = shown(render(Card(blocks=(wide, counts)))).replace("\n  ", "  ").splitlines()
    assert text[-3:] == [
        "right ↓ answered →",
        "Positive  Positive: 43 · Negative: 7",
        "Negative  Positive: 0 · Negative: 50",
    ]
    about = ("headline", "complete", "built-in", "A newspaper headline for a piece of news.")
    templates = Table(("name", "kind", "version", "what it does"), (about, ("b", "chat", "1", "")))
    text = shown(render(Card(blocks=(wide, templates)))).replace("\n  ", "  ").splitlines()
    assert text[-3:] == [
        "headline  kind: complete · version: built-in",
        "A newspaper headline for a piece of news.",
        "b  kind: chat · version: 1",
    ]


def test_a_label_is_cut_at_a_word():
    select = Select("choose", "Choose", (SelectOption("topic", "topic", help="word " * 14 + "politics or food"),))
    (actions,) = render(Card(selects=(select,), open_card_id="c", revision=1)).blocks[-1:]
    cut = actions["elements"][0]["options"][0]["description"]["text"]
    assert cut == "word " * 13 + "word…"
    assert len("x" * 80) > len(rich_text.label("x" * 80, 75)["text"]) == 75


def test_progress_has_a_bar_if_the_total_is_known():
    assert shown(render(Card(blocks=(Progress("rows tested", 3, 4),)))) == "███████▌░░  75% rows tested 3 of 4"
    assert shown(render(Card(blocks=(Progress("waiting"),)))) == "waiting …"


def test_a_select_and_a_file_of_a_card_are_shown():
    select = Select("kind", "Kind", (SelectOption("c", "complete", "continues", is_chosen=True),))
    card = Card(blocks=(Text("Here it is."),), selects=(select,), open_card_id="d1", file=TextFile("a.prompt", "+++\n"))
    rendering = render(card)
    assert_fits(rendering)
    assert labels(rendering) == [["Kind"]]
    assert rendering.blocks[-1]["elements"][0]["initial_option"]["value"] == "c"
    assert [(file.name, file.data) for file in rendering.files] == [("a.prompt", b"+++\n")]


def test_an_empty_card_still_says_something():
    for card in (Card(), Card(blocks=(Text(""),)), Card(blocks=(Text(""),), is_final=False), Card(blocks=(Bars(()),))):
        assert_fits(render(card))
        assert shown(render(card)).strip()


def test_a_whole_book_is_rendered_at_once():
    book = "*a* `b` <c> " * 20_000
    start = time.monotonic()
    books = (Text(book), Text(book, is_model_text=True), Verbatim(book), Choices(book, (book, book)))
    for block in (*books, Text("\n" * 200_000 + "x"), Text("- " * 100_000, is_model_text=True)):
        assert_fits(render(Card(blocks=(block,))))
        assert_fits(render(Card(blocks=(block,), is_final=False)))
    assert time.monotonic() - start < 10


def test_a_picture_has_an_alt_text_that_slack_takes():
    picture = Picture(png=b"png", name="heat-map", alt="word " * 1000)
    rendering = render(Card(blocks=(TintedText((("Can", 1.0),)), Text("below"))), pictures=(picture,))
    assert_fits(rendering)
    image, _ = blocks_of(rendering)
    assert image["slack_file"] == {"id": "F0"}
    assert len(image["alt_text"]) == MAX_ALT_TEXT
    assert [(file.name, file.data) for file in rendering.pictures] == [("heat-map.png", b"png")]
    # Slack takes less of it with the file.
    assert len(rendering.pictures[0].alt) == 1000


@pytest.mark.parametrize(
    ("line", "alt"),
    [
        ("!perplexity Can it does what?", "Heat map of the text"),
        ("!compare Can it do that? | Can it does what?", "Comparison word by word with"),
        ("!next The capital of France is", "Bars of the words that the model expects after"),
    ],
)
async def test_pictures_have_alt_text_and_words_stand_for_them_without_one(talk: Talk, line: str, alt: str):
    card = await talk.card(line)
    rendering = render(card, pictures=await prepare(card))
    assert_fits(rendering)
    (image,) = [block for block in rendering.blocks if block["type"] == "image"]
    assert image["alt_text"].startswith(alt)
    assert rendering.pictures[0].data.startswith(b"\x89PNG")
    assert len(shown(render(card, allows_files=False))) > len(shown(rendering)) - len(image["alt_text"])


# One character to a reader each: a family, a flag, a letter with marks, a skin tone, a syllable, and plain ones.
CLUSTERS = ("👩‍👩‍👧‍👦", "🇫🇷", "ệ̂", "👍🏽", "กำ", "한", "é", "x", "😀")


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("length", [40, 70, 80, 149, 160, 1990, 3100, 6500])
def test_nothing_is_cut_inside_what_a_reader_sees_as_one_character(cluster: str, length: int):
    text = cluster * (length // len(cluster) + 1)
    option = SelectOption("v", text, text)
    blocks = (
        Text(text),
        Text(text, is_model_text=True),
        Text(text, is_quiet=True),
        Facts(((text, text), (text, text))),
        Table(("a", "b"), ((text, text),)),
        Bars(((text, 0.5),), 0.5, text),
        Choices(text, (text, text)),
        Verbatim(text),
        TintedText(((text, 1.0), (text, 20.0))),
        Progress(text),
    )
    for card in (*(Card(blocks=(block,)) for block in blocks), Card(blocks=blocks), error_card(text)):
        items = {"buttons": (Button("b", text),), "selects": (Select("s", text, (option,)),), "open_card_id": "c"}
        rendering = render(replace(card, **items))
        assert_fits(rendering)
        for part in (rendering.text, shown(rendering)):
            found = [piece for piece in part.replace(cluster, "\0").split("\0") if set(piece) & set(cluster)]
            assert [piece for piece in found if len(cluster) > 1 and piece in cluster] == []


SCRIPTS = st.text(max_size=2500) | st.text(alphabet="\u200d🇫🇷👩👍🏽é̂กำ한x \n`", max_size=400)
WORDS = SCRIPTS | st.sampled_from(
    ["```", "````", "```py\nx", "~~~", "**", HOSTILE * 60, "|" * 2000, "\n" * 500, "`" * 5990, "<" * 7000, "&" * 2999]
)
BLOCKS = st.one_of(
    st.builds(Text, WORDS, st.booleans(), st.booleans()),
    st.builds(Verbatim, WORDS),
    st.builds(lambda pairs: Facts(tuple(pairs)), st.lists(st.tuples(WORDS, WORDS), max_size=4)),
    st.builds(lambda cells: Table(("a", "b"), tuple(cells)), st.lists(st.tuples(WORDS, WORDS), max_size=4)),
    st.builds(
        lambda rows, names: Table(names, tuple(row[: len(names)] for row in rows)),
        st.lists(st.tuples(*[st.text(max_size=20)] * 25), max_size=120),
        st.sampled_from([("",), ("", "b"), ("a", "b", "c"), tuple("abcdefghijklmnopqrstuvwxy")]),
    ),
    st.builds(lambda prompt, words: Choices(prompt, tuple(words)), WORDS, st.lists(WORDS, max_size=9)),
    st.builds(lambda names: Bars(tuple((name, 0.1) for name in names), 0.5), st.lists(WORDS, max_size=4)),
    st.builds(lambda pieces: TintedText(tuple(pieces)), st.lists(st.tuples(WORDS, st.none() | st.floats(0, 60)))),
    st.builds(
        lambda name, tables: Contrast((ContrastedText(name, 1.0, ((name, 1.0),)),), tuple(tables)),
        WORDS,
        st.lists(st.builds(lambda cell: Table(("a", "b"), ((cell, cell),)), WORDS), max_size=3),
    ),
    st.builds(Progress, WORDS, st.integers(0, 9), st.none() | st.integers(0, 9)),
)
LABELS = st.text(max_size=120)
BUTTONS = st.lists(
    st.builds(Button, st.text("abc-", min_size=1, max_size=40), LABELS), max_size=30, unique_by=lambda one: one.action
)
OPTIONS = st.lists(
    st.builds(SelectOption, st.text(min_size=1, max_size=100), LABELS, LABELS, st.booleans()),
    max_size=120,
    unique_by=lambda one: one.value,
)
SELECTS = st.lists(
    st.builds(lambda action, label, options: Select(action, label, tuple(options)), st.just("s"), LABELS, OPTIONS),
    max_size=3,
)


@example([Text(""), Text("\x08", is_model_text=True)], [], [], False, None)
@example([Text("\x08", is_model_text=True)], [], [], True, None)
@given(st.lists(BLOCKS, max_size=6), BUTTONS, SELECTS, st.booleans(), st.none() | WORDS)
def test_no_card_breaks_a_limit_pings_or_links(
    blocks: Sequence[Block], buttons: Sequence[Button], selects: Sequence[Select], is_final: bool, file: str | None
):
    card = Card(
        blocks=tuple(blocks),
        buttons=tuple(buttons),
        selects=tuple(selects),
        open_card_id="0" * 36,
        revision=12,
        is_final=is_final,
        file=None if file is None else TextFile("a.txt", file),
    )
    rendering = render(card, stop_id="T1:C1:1.1")
    assert_fits(rendering)
    assert_fits(render(card, allows_files=False))
    assert not (file is not None and not rendering.files)


@given(WORDS, st.booleans(), st.booleans())
def test_every_word_is_in_the_message_or_in_its_file(text: str, is_model_text: bool, is_quiet: bool):
    rendering = render(Card(blocks=(Text(text, is_model_text, is_quiet),)))
    if rendering.files:
        assert text.strip() in rendering.files[0].data.decode()
    elif not is_model_text:
        # A long text stands in several elements, which look like one.
        assert text.strip().replace("\n", "") in shown(rendering).replace("\n", "")
