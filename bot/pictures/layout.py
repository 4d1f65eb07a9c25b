"""The layout of a picture's text: words in lines, as many as there is room for."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from PIL.ImageFont import FreeTypeFont

from bot.core.safe_text import MAX_COMBINING_MARKS
from bot.pictures.fonts import Fonts

_BREAKS: Final = "\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029"
_SEGMENTS: Final = re.compile(f"(?P<line_break>\r\n|[{_BREAKS}])|(?P<space>[^\\S{_BREAKS}]+)|(?P<word>\\S+)")
_TAB_SPACES: Final = 4
_WIDE_SPACE: Final = "\u3000"
# Zero-width joiners change how letters join; all other invisible characters (such as direction marks) are dropped.
_JOINERS: Final = "\u200c\u200d"
_SKIN_TONES: Final = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
_FLAG_LETTERS: Final = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_MAX_CLUSTER: Final = 12
_MAX_BLANK_LINES: Final = 1
_MAX_INDENT: Final = 0.4  # of a line's width


@dataclass(frozen=True, slots=True)
class Run:
    """Characters of one font; `font` is None for those without a font, drawn as one box per character of `text`."""

    text: str
    font: FreeTypeFont | None
    width: float


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or its part on this line; `width` includes the padding of its box, and has room for the `caption`."""

    runs: tuple[Run, ...]
    bits: float | None
    width: float
    is_right_to_left: bool | None
    caption: str = ""


@dataclass(slots=True)
class Space:
    """White space between two words."""

    width: float


@dataclass(slots=True)
class Line:
    """The items of a line in reading order; `is_right_to_left` is the direction of the paragraph."""

    items: list[Word | Space]
    width: float = 0.0
    is_right_to_left: bool = False

    def placed(self, width: float) -> Iterator[tuple[float, Word]]:
        """Yield each word with its x position on a line `width` wide, in visual order."""
        items = self.items
        while items and isinstance(items[-1], Space):
            items = items[:-1]
        x = max(0.0, width - sum(item.width for item in items)) if self.is_right_to_left else 0.0
        for item in _in_visual_order(items, self.is_right_to_left):
            if isinstance(item, Word):
                yield x, item
            x += item.width


@dataclass(frozen=True, slots=True)
class Layout:
    """The lines that there was room for, and the number of words after them."""

    lines: tuple[Line, ...]
    num_left_out: int

    @property
    def num_boxes(self) -> int:
        """Return how many characters are drawn as boxes, as no font has them."""
        words = (item for line in self.lines for item in line.items if isinstance(item, Word))
        return sum(len(run.text) for word in words for run in word.runs if run.font is None)


@dataclass(frozen=True, slots=True)
class Captions:
    """What is written below the words: a short text made of a word's bits, in a font."""

    make: Callable[[float | None], str]
    font: FreeTypeFont


class _Full(Exception):
    """There is no line left."""


class _Typesetter:
    def __init__(self, fonts: Fonts, width: float, padding: float, max_lines: int, captions: Captions | None) -> None:
        self._fonts = fonts
        self._captions = captions
        self._width = width
        self._padding = padding
        self._max_lines = max_lines
        self._space = fonts.main.getlength(" ")
        self._starts_paragraph = True
        self._is_rest = False  # of a word that began on the line before, where its caption is
        self.lines: list[Line] = [Line([])]

    def add_line_break(self) -> None:
        num_blank = 0
        for line in reversed(self.lines):
            if line.items:
                break
            num_blank += 1
        if num_blank <= _MAX_BLANK_LINES and num_blank < len(self.lines):
            self._start_line()
        self._line.is_right_to_left = False
        self._starts_paragraph = True

    def add_space(self, text: str) -> None:
        if not self._line.items and not self._starts_paragraph:
            return
        num_wide = text.count(_WIDE_SPACE)
        num_narrow = len(text) - num_wide + text.count("\t") * (_TAB_SPACES - 1)
        width = self._fonts.size * num_wide + self._space * num_narrow
        items = self._line.items
        if len(items) <= 1 and not any(isinstance(item, Word) for item in items):  # the indent
            width = min(width, max(0.0, self._width * _MAX_INDENT - self._line.width))
        if items and isinstance(last := items[-1], Space):
            last.width += width
            self._line.width += width
        else:
            self._add(Space(width))

    def add_word(self, text: str, bits: float | None) -> None:
        room = self._width - 2 * self._padding
        clusters: list[str] = []
        width = 0.0
        self._is_rest = False
        for cluster in _clusters(text):
            clusters.append(cluster)
            width += self._fonts.width(cluster)
            while width > room:
                clusters = self._break_word(clusters, bits)
                width = sum(map(self._fonts.width, clusters))
        if not clusters:
            return
        word = self._word(clusters, bits)
        if self._line.items and self._line.width + word.width > self._width:
            if any(unicodedata.east_asian_width(cluster[0]) in "WF" for cluster in clusters):
                clusters = self._break_word(clusters, bits)
                word = self._word(clusters, bits)
            else:
                self._wrap()
        self._add_word(word)

    @property
    def _line(self) -> Line:
        return self.lines[-1]

    def _start_line(self) -> None:
        if len(self.lines) >= self._max_lines:
            raise _Full
        self.lines.append(Line([], is_right_to_left=self._line.is_right_to_left))

    def _wrap(self) -> None:
        self._start_line()
        self._starts_paragraph = False

    def _add(self, item: Word | Space) -> None:
        self._line.items.append(item)
        self._line.width += item.width

    def _add_word(self, word: Word) -> None:
        if self._starts_paragraph and word.is_right_to_left is not None:
            self._line.is_right_to_left = word.is_right_to_left
            self._starts_paragraph = False
        self._add(word)

    def _break_word(self, clusters: list[str], bits: float | None) -> list[str]:
        """Put as much of a word as fits on this line, start the next line, and return the rest."""
        num_here = self._num_fitting(clusters)
        if num_here:
            self._add_word(self._word(clusters[:num_here], bits))
            self._is_rest = True
        self._wrap()
        return clusters[num_here:]

    def _num_fitting(self, clusters: Sequence[str]) -> int:
        room = self._width - self._line.width - 2 * self._padding
        for i, cluster in enumerate(clusters):
            room -= self._fonts.width(cluster)
            if room < 0:
                return i
        return len(clusters) - 1

    def _word(self, clusters: Sequence[str], bits: float | None) -> Word:
        runs = []
        for face, group in groupby(clusters, key=self._fonts.find):
            members = list(group)
            if face is None:
                runs.append(Run("x" * len(members), None, self._fonts.box_width * len(members)))
                continue
            text = "".join(members)
            font = face.font_for(text)
            runs.append(Run(text, font, font.getlength(text)))
        direction = _direction_of("".join(clusters))
        if direction:
            runs.reverse()
        caption = self._captions.make(bits) if self._captions and not self._is_rest else ""
        room = self._captions.font.getlength(caption + " ") if self._captions and caption else 0.0
        full_width = max(sum(run.width for run in runs) + 2 * self._padding, room)
        return Word(tuple(runs), bits, full_width, direction, caption)


def lay_out(
    pieces: Iterable[tuple[str, float | None]],
    fonts: Fonts,
    *,
    width: float,
    padding: float,
    max_lines: int,
    captions: Captions | None = None,
) -> Layout:
    """Lay out the pieces in at most `max_lines` lines; count the words after them."""
    typesetter = _Typesetter(fonts, width, padding, max_lines, captions)
    rest = iter(pieces)
    num_left_out = 0
    for text, bits in rest:
        end = 0
        try:
            for match in _SEGMENTS.finditer(text):
                end = match.start()
                if match["line_break"]:
                    typesetter.add_line_break()
                elif match["space"]:
                    typesetter.add_space(match["space"])
                else:
                    typesetter.add_word(match["word"], bits)
        except _Full:
            num_left_out = len(text[end:].split()) + sum(len(text.split()) for text, _ in rest)
    lines = typesetter.lines
    while len(lines) > 1 and not any(isinstance(item, Word) for item in lines[-1].items):
        lines.pop()
    return Layout(tuple(lines), num_left_out)


def _clusters(text: str) -> Iterator[str]:
    """Yield the characters of `text`, each with a limited number of combining marks; drop invisible ones."""
    cluster = ""
    num_marks = 0
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        if (category == "Cf" and character not in _JOINERS) or "\ufe00" <= character <= "\ufe0f":
            continue
        shown = "\u00b7" if category == "Cc" else "\ufffd" if category == "Cs" else character
        is_mark = category[0] == "M" or character in _JOINERS or character in _SKIN_TONES or _ends_flag(cluster, shown)
        if cluster and (is_mark or cluster[-1] == "\u200d"):
            num_marks += is_mark
            if num_marks <= MAX_COMBINING_MARKS and len(cluster) < _MAX_CLUSTER:
                cluster += shown
        elif character not in _JOINERS:
            if cluster:
                yield cluster
            cluster, num_marks = shown, 0
    if cluster:
        yield cluster


def _ends_flag(cluster: str, character: str) -> bool:
    """Return whether `character` is the second letter of a flag that `cluster` starts."""
    return len(cluster) == 1 and cluster in _FLAG_LETTERS and character in _FLAG_LETTERS


def _direction_of(text: str) -> bool | None:
    """Return whether `text` runs from right to left; None if none of its characters has a direction."""
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in ("R", "AL"):
            return True
        if direction == "L":
            return False
    return None


def _in_visual_order(items: Sequence[Word | Space], is_right_to_left: bool) -> Iterator[Word | Space]:
    """Yield the items of a line from left to right: reverse runs of words against the line's direction."""
    ordered: list[Word | Space] = []
    turned: list[Word | Space] = []
    waiting: list[Word | Space] = []  # items without a direction: part of a reversed run if it continues after them
    for item in items:
        direction = item.is_right_to_left if isinstance(item, Word) else None
        if direction is None:
            waiting.append(item)
        elif direction is is_right_to_left:
            ordered += [*reversed(turned), *waiting, item]
            turned, waiting = [], []
        else:
            if turned:
                turned += waiting
            else:
                ordered += waiting
            turned.append(item)
            waiting = []
    ordered += [*reversed(turned), *waiting]
    return iter(reversed(ordered)) if is_right_to_left else iter(ordered)
