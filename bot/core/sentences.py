"""Where sentences end: in a text that still grows, and in one that was cut off."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

_SENTENCE_END: Final = re.compile(
    r"""(?<![.!?…])[.!?…]+["'”’»)\]*_]*(?=\s)"""
    r"|(?<![。！？])[。！？]+[」』”’）]*(?=[^。！？」』”’）])"
    r"|\n"
)
_LETTER_OR_DIGIT: Final = re.compile(r"[^\W_]")
# The text before a full stop that does not end a sentence: titles, abbreviations, initials ("J."), a list's number.
_NO_END: Final = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|sr|jr|vs|etc|e\.g|i\.e|cf|approx|dept|fig|inc|ltd|mt|no|vol)|\b[^\W\d_]|(?:\A|\n)\s*\d+)\Z",
    re.IGNORECASE,
)
_END_OF_TEXT: Final = re.compile(r"(?P<mark>[.!?…。！？]+)[\"'”’»)\]*_`」』）]*\Z")
_FENCE: Final = "```"
_PROMISES_MORE: Final = tuple(",;:([{“‘„«-–—")


def end_of_sentence(text: str) -> int | None:
    """Return the index after the first sentence of `text` that has certainly ended, None if none has.

    That is certain if white space follows the end mark (so it is not "3.14") or the line ends; a Chinese or Japanese
    end mark may be followed by any character. A sentence holds at least one letter or digit. More text at the end never
    changes the result.
    """
    return next(_sentence_ends(text), None)


def _sentence_ends(text: str) -> Iterator[int]:
    worded = _LETTER_OR_DIGIT.search(text)
    for found in _SENTENCE_END.finditer(text, worded.end()) if worded else ():
        if not _is_inner_stop(text, found.start(), found[0]):
            yield found.start() if found[0] == "\n" else found.end()


def _is_inner_stop(text: str, start: int, mark: str) -> bool:
    """Say whether the full stop at `start` ends no sentence ("Dr.")."""
    is_full_stop = mark.startswith(".") and not mark.startswith("..")
    return is_full_stop and _NO_END.search(text, max(0, start - 20), start) is not None


def split_sentences(text: str) -> tuple[tuple[int, int], ...]:
    """Return the start and end of each sentence or line of `text` in order, without code blocks; the last may grow."""
    fences = [found.end() for found in re.finditer(_FENCE, text)]
    spans = []
    start = 0
    for end in (*_sentence_ends(text), len(text)):
        if bisect_right(fences, end) % 2 == 0 and _FENCE not in text[start:end]:
            spans.append((start, end))
        start = end
    return tuple(spans)


def ends_whole(text: str) -> bool:
    """Say whether an answer may end with `text`: after a sentence, a line, a smiley or a closed code block.

    A full stop after a digit is not sure to end a sentence ("3." of "3.14"), and neither is an end mark in an open
    quotation; a line that announces more (a colon) is no end.
    """
    if text.count(_FENCE) % 2:
        return False
    stripped = text.rstrip()
    if not _LETTER_OR_DIGIT.search(stripped) or stripped.endswith(_PROMISES_MORE):
        return False
    if stripped.endswith(_FENCE) or "\n" in text[len(stripped) :] or unicodedata.category(stripped[-1]) == "So":
        return True
    found = _END_OF_TEXT.search(stripped, max(0, len(stripped) - 20))
    if found is None or _is_inner_stop(stripped, found.start(), found["mark"]):
        return False
    is_number = found["mark"] == "." and stripped[found.start() - 1 : found.start()].isdigit()
    line = stripped[stripped.rfind("\n") + 1 :]
    is_in_quotation = line.count('"') % 2 == 1 or line.count("“") > line.count("”")
    return not is_number and not is_in_quotation


def cut_to_whole(text: str) -> str:
    """Return `text` up to its last whole sentence or line, all of it if there is none.

    A code block that is still open ends after its last whole line and is closed.
    """
    if ends_whole(text):
        return text
    if text.count(_FENCE) % 2:
        start = text.rindex(_FENCE)
        first_line = text.find("\n", start)
        last_line = text.rfind("\n")
        if 0 <= first_line < last_line and text[first_line:last_line].strip():
            return f"{text[:last_line].rstrip()}\n{_FENCE}"
        before = text[:start].rstrip()
        return cut_to_whole(f"{before}\n").rstrip() if before else text
    fences = [found.end() for found in re.finditer(_FENCE, text)]
    ends = [*(end for end in _sentence_ends(text) if bisect_right(fences, end) % 2 == 0), *fences[-1:]]
    whole = (end for end in sorted(ends, reverse=True) if not text[:end].rstrip().endswith(_PROMISES_MORE))
    return text[: next(whole, len(text))]
