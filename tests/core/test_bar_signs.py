from bot.core.bar_signs import bar_of


def test_a_bar_has_the_length_of_its_fraction() -> None:
    assert bar_of(1.0, 10) == bar_of(7.0, 10) == "█" * 10
    assert bar_of(0.5, 10) == "█" * 5
    assert bar_of(0.55, 10) == "█" * 5 + "▌"
    assert bar_of(0.0, 10) == bar_of(-1.0, 10) == ""


def test_small_fractions_are_seen_and_told_apart() -> None:
    assert len({bar_of(percent / 100, 10) for percent in (0, 1, 4, 7)}) == 4
    assert bar_of(1e-9, 10) == "▏"
