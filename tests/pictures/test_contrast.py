import io

from PIL import Image

from bot.core.cards import Contrast, ContrastedText
from bot.pictures.contrast import contrast_alt_text, draw_contrast
from bot.pictures.page import MAX_HEIGHT, WIDTH
from bot.pictures.tints import (
    DIFFERENCE_PALETTE,
    DIFFERENCE_PAPER,
    MAX_DIFFERENCE,
    NUM_INKS,
    NUM_TINTS,
    Color,
    difference_tint,
)
from tests.pictures.test_heat_map import contrast, luminance

FIRST = ContrastedText("A", 12.0, (("Can", 4.0), (" ", None), ("it", 8.0)))
OTHER = ContrastedText("B", 20.5, (("Can", 0.0), (" ", None), ("does", 9.5), (" ", None), ("[it]", -1.0)))
CONTRAST = Contrast((FIRST, OTHER))


def color_of(bits: float) -> Color:
    return DIFFERENCE_PALETTE[difference_tint(bits) * NUM_INKS]


def picture_of(shown: Contrast) -> Image.Image:
    return Image.open(io.BytesIO(draw_contrast(shown, max_alt_characters=1024).png)).convert("RGB")


def test_more_bits_are_orange_fewer_blue_and_none_is_paper() -> None:
    colors = {color for _, color in picture_of(CONTRAST).getcolors(256)}
    assert {color_of(9.5), color_of(-1.0)} <= colors
    red, _, blue = color_of(MAX_DIFFERENCE)
    assert red > blue
    red, _, blue = color_of(-MAX_DIFFERENCE)
    assert blue > red
    assert difference_tint(0.0) == DIFFERENCE_PAPER
    assert difference_tint(1e9) == difference_tint(float("inf")) == NUM_TINTS - 1


def test_the_text_stands_out_from_every_tint_of_a_difference() -> None:
    for tint in range(NUM_TINTS):
        inks = DIFFERENCE_PALETTE[tint * NUM_INKS : (tint + 1) * NUM_INKS]
        assert contrast(inks[0], inks[-1]) >= 4.5


def test_the_tints_get_darker_with_the_difference() -> None:
    for sign in (1, -1):
        shades = [luminance(color_of(sign * bits)) for bits in range(0, 11, 2)]
        assert shades == sorted(shades, reverse=True)


def test_one_hue_is_told_from_the_other_without_seeing_red_or_green() -> None:
    # Deuteranopia: Machado, Oliveira, Fernandes 2009, severity 1.
    matrix = (0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881)

    def seen(color: Color) -> list[float]:
        return [sum(matrix[3 * i + j] * color[j] for j in range(3)) for i in range(3)]

    for bits in (2.0, 5.0, 10.0):
        orange, blue = seen(color_of(bits)), seen(color_of(-bits))
        assert sum(abs(one - other) for one, other in zip(orange, blue, strict=True)) > 20


def test_five_long_texts_fit_and_the_words_without_room_are_counted() -> None:
    pieces = tuple(piece for i in range(600) for piece in ((f"word{i}", 3.0), (" ", None)))
    texts = tuple(ContrastedText(name, 1800.0, pieces) for name in "ABCDE")
    picture = picture_of(Contrast(texts))
    assert picture.width == WIDTH
    assert picture.height <= MAX_HEIGHT


def test_any_piece_can_be_drawn() -> None:
    for piece in ("\x1b", "\ud83d", "", " ", "\u0301", "今天", "\U0010ffff", "x" * 500):
        other = ContrastedText("B", float("inf"), ((piece, float("nan")), (piece, None), (piece, float("inf"))))
        assert picture_of(Contrast((FIRST, other))).height <= MAX_HEIGHT


def test_the_alt_text_says_the_totals_and_the_largest_differences() -> None:
    assert contrast_alt_text(CONTRAST, max_characters=1024) == (
        "Comparison word by word with A, which takes 12.0 bits: orange words take more bits than in A, blue words"
        " fewer. B takes 8.5 bits more, most of it by “does” +9.5, “[it]” -1.0."
    )


def test_the_alt_text_stays_within_its_limit_and_names_every_text_if_it_can() -> None:
    pieces = tuple((f"{'🦊' * 50}{i}", float(i)) for i in range(20))
    many = Contrast((FIRST, *(ContrastedText(name, 99.0, pieces) for name in "BCDE")))
    for limit in (150, 400, 1024):
        alt = contrast_alt_text(many, max_characters=limit)
        assert len(alt.encode("utf-16-le")) // 2 <= limit
        assert alt.endswith(".")
    assert all(f" {name} takes 87.0 bits more" in alt for name in "BCDE")
