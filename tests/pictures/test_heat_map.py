import io
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import manimgx_fonts
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from bot.pictures.canvas import QUIET_INK
from bot.pictures.fonts import Fonts
from bot.pictures.heat_map import draw_heat_map, heat_map_alt_text
from bot.pictures.layout import Word, lay_out
from bot.pictures.page import MAX_HEIGHT, WIDTH
from bot.pictures.tints import NUM_INKS, NUM_TINTS, PALETTE, Color, tint_of

PAPER = PALETTE[0]
PIECES = st.lists(
    st.tuples(st.text(st.characters(), max_size=60), st.none() | st.floats()),
    max_size=12,
)


def png_of(pieces: Sequence[tuple[str, float | None]]) -> bytes:
    return draw_heat_map(pieces, max_alt_characters=1024).png


def picture_of(*pieces: tuple[str, float | None]) -> Image.Image:
    return Image.open(io.BytesIO(png_of(pieces))).convert("RGB")


def colors_in(picture: Image.Image) -> set[Color]:
    return {color for _, color in picture.getcolors(256)}


def full_tint(bits: float) -> Color:
    return PALETTE[tint_of(bits) * NUM_INKS]


def words(n: int, bits: float = 5.0) -> list[tuple[str, float | None]]:
    return [piece for i in range(n) for piece in ((f"word{i}", bits), (" ", None))]


def luminance(color: Color) -> float:
    parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: Color, other: Color) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def words_by_line(text: str, width: float = 400, *, max_lines: int = 50) -> list[list[str]]:
    layout = lay_out([(text, 1.0)], Fonts(20), width=width, padding=4, max_lines=max_lines)
    return [
        ["".join(run.text for run in item.runs) for item in line.items if isinstance(item, Word)]
        for line in layout.lines
    ]


def test_the_text_stands_out_from_every_tint_and_quiet_text_from_the_paper() -> None:
    for tint in range(NUM_TINTS):
        background, ink = PALETTE[tint * NUM_INKS], PALETTE[tint * NUM_INKS + NUM_INKS - 1]
        assert contrast(background, ink) >= 4.5
    assert contrast(PAPER, PALETTE[QUIET_INK * (NUM_INKS - 1) // 255]) >= 4.5


def test_tints_get_darker_with_the_bits_and_no_darker_than_at_20() -> None:
    tints = [luminance(full_tint(bits)) for bits in range(0, 21, 2)]
    assert tints == sorted(set(tints), reverse=True)
    assert tint_of(20) == tint_of(1000) == tint_of(float("inf")) == NUM_TINTS - 1
    assert tint_of(0) == tint_of(-3) == 1


def test_a_word_has_the_tint_of_its_bits_and_an_unscored_one_none() -> None:
    assert full_tint(9.0) in colors_in(picture_of(("dog", 9.0)))
    box = (0, 0, WIDTH, 110)
    plain = colors_in(picture_of(("dog", None), (" ", None), ("cat", float("nan"))).crop(box))
    assert plain <= {PALETTE[ink] for ink in range(NUM_INKS)}


def test_white_space_has_no_box() -> None:
    empty = png_of([])
    assert png_of([(" \t\n ", 12.0)]) == empty
    assert png_of([("\u200b\u202e", 12.0)]) == empty


def test_the_same_text_gives_the_same_file_in_every_thread() -> None:
    texts = [words(20, bits) for bits in (1.0, 8.0, 15.0)] * 4
    expected = [png_of(text) for text in texts]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(png_of, texts)) == expected


def test_the_width_is_fixed_and_the_height_follows_the_text() -> None:
    short, longer = picture_of(*words(3)), picture_of(*words(60))
    assert short.width == longer.width == WIDTH
    assert short.height < 300 < longer.height < MAX_HEIGHT


@pytest.mark.parametrize("unit", ["word ", "x", "我", "e\u0301\u0301", "\n", " ", "\u200b", "a\n", "\U0010ffff"])
def test_a_text_of_256_kib_gives_a_picture_of_bounded_height(unit: str) -> None:
    text = unit * (2**18 // len(unit.encode()))
    picture = picture_of((text, 4.0))
    assert picture.height <= MAX_HEIGHT


def test_a_narrow_or_broken_sign_can_be_tinted() -> None:
    for sign in ("\x1b", "\ud83d", "i", "\u0301", "\u200d", "\ufe0f", ".", "\U000e0041"):
        assert picture_of((sign, 3.0)).width == WIDTH


def test_words_without_room_are_counted() -> None:
    layout = lay_out([("one two", 1.0), (" ", None), ("three\nfour five", 2.0), (" six", None)], Fonts(20),
                     width=400, padding=4, max_lines=1)  # fmt: skip
    assert layout.num_left_out == 3
    assert lay_out(words(3), Fonts(20), width=400, padding=4, max_lines=1).num_left_out == 0


def test_lines_break_between_words_and_within_words_longer_than_a_line() -> None:
    lines = words_by_line("alpha beta gamma " + "x" * 100 + " end", 140)
    assert lines[0] == ["alpha", "beta"]
    assert lines[1][0] == "gamma"
    assert lines[-1][-1] == "end"
    parts = [word for line in lines for word in line if set(word) == {"x"}]
    assert len(parts) > 3
    assert "".join(parts) == "x" * 100


def test_line_breaks_are_kept_and_many_blank_lines_become_one() -> None:
    assert words_by_line("\n\na\r\nb\n\n\n\n\nc\u2028d\n\n") == [["a"], ["b"], [], ["c"], ["d"]]


def test_control_characters_become_dots_and_marks_stay_with_their_letter() -> None:
    assert words_by_line("a\x00\x07b") == [["a\u00b7\u00b7b"]]
    assert words_by_line("q\u0301x") == [["q\u0301x"]]
    assert words_by_line("z" + "\u0301" * 50 + "a") == [["\u017a" + "\u0301" * 4 + "a"]]


@pytest.mark.parametrize(
    ("text", "from_left"),
    [
        ("שלום one two 12 עולם", [4.0, 3.0, 1.0, 2.0, 0.0]),
        ("one שלום 12 עולם two", [0.0, 3.0, 2.0, 1.0, 4.0]),
        ("one two", [0.0, 1.0]),
    ],
)
def test_words_against_the_direction_of_their_line_are_turned_around(text: str, from_left: list[float]) -> None:
    pieces = [piece for i, word in enumerate(text.split()) for piece in ((word, float(i)), (" ", None))]
    (line,) = lay_out(pieces, Fonts(20), width=400, padding=4, max_lines=5).lines
    placed = sorted(line.placed(400), key=lambda item: item[0])
    assert [word.bits for _, word in placed] == from_left
    x, last = placed[-1]
    assert (x + last.width == pytest.approx(400)) is line.is_right_to_left is (from_left[-1] == 0.0)


def test_a_machine_without_any_font_still_draws(tmp_path: Path) -> None:
    no_font = tmp_path / "broken.ttf"
    no_font.write_bytes(b"not a font")
    fonts = Fonts(20, [no_font, tmp_path / "missing.ttf"])
    assert isinstance(fonts.main, ImageFont.FreeTypeFont)
    assert fonts.find("a") is not None
    assert fonts.find("我") is None
    layout = lay_out([("a我我", 1.0)], fonts, width=400, padding=4, max_lines=5)
    (word,) = layout.lines[0].items
    assert isinstance(word, Word)
    assert [(run.font is None, len(run.text)) for run in word.runs] == [(False, 1), (True, 2)]


@pytest.mark.parametrize("text", ["Füße", "Съешь", "τὴν", "हिन्दी", "Ærøskøbing", "naïve", "“quoted” — …"])
def test_the_font_package_covers_common_scripts(text: str) -> None:
    fonts = Fonts(20, sorted(Path(manimgx_fonts.__file__).parent.rglob("*.ttf")))
    assert all(fonts.find(unicodedata.normalize("NFC", c)) for c in text if c != " ")


@pytest.mark.parametrize(
    "text", ["😀", "🫨", "👍🏽", "👩‍👩‍👧", "🇩🇪", "1️⃣", "❤️", "✅", "☺", "ไทย", "مرحبا", "שלום", "ქართული"]
)
def test_the_font_package_covers_emoji_and_more_scripts(text: str) -> None:
    fonts = Fonts(20, sorted(Path(manimgx_fonts.__file__).parent.rglob("*.ttf")))
    (line,) = lay_out([(text, 1.0)], fonts, width=400, padding=4, max_lines=5).lines
    assert all(run.font is not None for word in line.items if isinstance(word, Word) for run in word.runs)


@pytest.mark.parametrize("joined", ["👩‍👩‍👧", "🇩🇪", "👍🏽"])
def test_an_emoji_of_several_code_points_is_one_sign(joined: str) -> None:
    fonts = Fonts(20, sorted(Path(manimgx_fonts.__file__).parent.rglob("*.ttf")))
    (line,) = lay_out([(joined, 1.0)], fonts, width=400, padding=0, max_lines=5).lines
    assert line.width < 2.5 * fonts.width("😀") / 1.2


def test_a_character_without_a_font_is_a_box_and_the_picture_and_its_alt_text_say_so() -> None:
    no_font = "\U0010ffff"
    plain = draw_heat_map([("a", 3.0)], max_alt_characters=1024)
    one = draw_heat_map([(f"a{no_font}", 3.0)], max_alt_characters=1024)
    two = draw_heat_map([(no_font * 2, 3.0)], max_alt_characters=1024)
    assert "box" not in plain.alt
    assert "1 character is shown as a box: the bot has no font for it." in one.alt
    assert "2 characters are shown as boxes: the bot has no font for them." in two.alt
    heights = [Image.open(io.BytesIO(picture.png)).height for picture in (plain, one)]
    assert heights[1] > heights[0], "a line below the text"


@settings(max_examples=40, deadline=None)
@given(PIECES)
def test_any_text_can_be_drawn_and_described(pieces: list[tuple[str, float | None]]) -> None:
    picture = picture_of(*pieces)
    assert picture.width == WIDTH
    assert picture.height <= MAX_HEIGHT
    assert len(heat_map_alt_text(pieces, max_characters=150)) <= 150


def test_the_alt_text_names_the_most_surprising_words_first() -> None:
    text = heat_map_alt_text(
        [("Can", None), (" ", None), ("it", 2.0), (" ", None), ("does\n", 14.26), ("what?", 9.0)], max_characters=1024
    )
    assert text == (
        "Heat map of the text: the darker the background of a word, the more it surprised the model. "
        "Most surprising: “does” 14.3 bits, “what?” 9.0 bits, “it” 2.0 bits."
    )


def test_the_alt_text_names_the_first_word_only_if_no_other_was_scored() -> None:
    shown = heat_map_alt_text([("Zounds", 20.0), (" ", None), ("it", 2.0)], max_characters=1024)
    assert shown.endswith("Most surprising: “it” 2.0 bits.")
    alone = heat_map_alt_text([(" ", None), ("Zounds", 20.0), (" ", None), ("it", None)], max_characters=1024)
    assert alone.endswith("Most surprising: “Zounds” 20.0 bits.")


def test_the_alt_text_stays_short_and_says_when_nothing_was_scored() -> None:
    text = heat_map_alt_text([("🦊" * 300, float(bits)) for bits in range(50)], max_characters=1024)
    assert len(text.encode("utf-16-le")) // 2 <= 1024
    assert text.endswith("bits.")
    assert heat_map_alt_text([("Hi", None)], max_characters=1024).endswith("No word was scored.")
