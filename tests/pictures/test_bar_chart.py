import io

from PIL import Image

from bot.core.cards import Bars
from bot.pictures.bar_chart import bars_alt_text, draw_bars
from bot.pictures.page import WIDTH
from bot.pictures.tints import NUM_INKS, PALETTE

WHAT = "Bars of the next words"
_BAR_COLOR = PALETTE[12 * NUM_INKS]


def lengths_of(*fractions: float, name: str = "word") -> list[int]:
    """Return how many pixels long each bar is."""
    bars = Bars(tuple((f"{name}{i}", fraction) for i, fraction in enumerate(fractions)), 0.3, what=WHAT)
    picture = Image.open(io.BytesIO(draw_bars(bars, max_alt_characters=1024).png)).convert("RGB")
    rows = [42 + 66 * i + 28 for i in range(len(fractions))]
    return [sum(picture.getpixel((x, y)) == _BAR_COLOR for x in range(WIDTH)) for y in rows]


def test_a_bar_of_1_percent_is_told_from_one_of_4() -> None:
    longest, four, one, tiny, none = lengths_of(0.5, 0.04, 0.01, 0.0001, 0.0)
    assert longest > 500
    assert four > 3 * one
    assert four - one > 15
    assert one > tiny >= 2
    assert none >= 2


def test_names_of_any_length_and_script_leave_room_for_the_bars() -> None:
    for name in ("x" * 200, "今天" * 40, "a b c d " * 20, "\U0010ffff", "\x00", "", "🍕🇩🇪"):
        assert lengths_of(0.4, 0.1, name=name)[0] > 300


def test_the_alt_text_names_the_words_with_their_percentages_and_the_rest() -> None:
    bars = Bars((("Paris", 0.342), ("the", 0.04), ("a", 0.0001)), 0.6179, "all other words", what=WHAT)
    text = f"{WHAT}: “Paris” 34.2%, “the” 4.0%, “a” <0.1%, all other words 61.8%."
    assert bars_alt_text(bars, max_characters=1024) == text
    assert len(bars_alt_text(bars, max_characters=40)) <= 40
    assert "no font" in draw_bars(Bars((("\U0010ffff", 0.5),), what=WHAT), max_alt_characters=1024).alt


def test_names_of_white_space_are_told_apart_in_the_picture() -> None:
    pngs = {
        draw_bars(Bars(((f"2 line breaks and {num} spaces", 0.9),), 0.1, "", what=WHAT), max_alt_characters=500).png
        for num in (12, 13, 14)
    }
    assert len(pngs) == 3
