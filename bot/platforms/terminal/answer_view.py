"""An answer on the screen while it is written: what has changed since the last snapshot is drawn again."""

import math

from prompt_toolkit import print_formatted_text
from prompt_toolkit.application import get_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.formatted_text import FormattedText, StyleAndTextTuples
from prompt_toolkit.formatted_text.utils import fragment_list_width, split_lines

from bot.core.cards import Card, Text
from bot.platforms.terminal.rendering import render_card
from bot.platforms.terminal.tables import QUIET_STYLE
from bot.platforms.terminal.wrapping import Row


def screen_size() -> Size:
    """Return the present size of the terminal."""
    return get_app_session().output.get_size()


def show_lines(fragments: StyleAndTextTuples) -> None:
    """Print styled lines, each of which ends in a line break."""
    print_formatted_text(FormattedText(fragments), end="", flush=True)


class AnswerView:
    """Shows the snapshots of one answer, each in the place of the one before.

    A row stays as long as it is the same, so that a text that grows is only written on at its end. What has left the
    screen at the top can't be changed any more: a text that differs there follows below as a whole. So does one after
    the width has changed, since terminals differ in what they do then with the rows that are there.
    """

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._columns = 0

    def wait(self) -> None:
        """Show that an answer is being written."""
        self._draw([[(QUIET_STYLE, "…")]])

    def show(self, card: Card) -> None:
        """Show what is new in this snapshot."""
        size = screen_size()
        rows = _rows_of(render_card(card, is_colored=True, width=size.columns))
        is_growing = bool(card.blocks) and isinstance(card.blocks[0], Text) and card.blocks[0].is_model_text
        if card.is_final or is_growing or _height(rows, size.columns) < size.rows - 1:
            self._draw(rows)

    def _draw(self, rows: list[Row]) -> None:
        size = screen_size()
        num_same = 0
        while num_same < min(len(rows), len(self._rows)) and rows[num_same] == self._rows[num_same]:
            num_same += 1
        height = _height(self._rows[num_same:], size.columns)
        if height >= size.rows or size.columns != self._columns:
            height = num_same = 0
        if height:
            output = get_app_session().output
            output.cursor_up(height)
            output.erase_down()
        show_lines([fragment for row in rows[num_same:] for fragment in [*row, ("", "\n")]])
        self._rows, self._columns = rows, size.columns


def _rows_of(fragments: StyleAndTextTuples) -> list[Row]:
    """Return styled lines without their line breaks."""
    rows = [[part for part in row if part[1]] for row in split_lines(fragments)]
    return rows if rows and rows[-1] else rows[:-1]


def _height(rows: list[Row], columns: int) -> int:
    """Return how many rows of a screen of so many columns they take: one that is too long goes on in the next."""
    return sum(max(1, math.ceil(fragment_list_width(row) / columns)) for row in rows)
