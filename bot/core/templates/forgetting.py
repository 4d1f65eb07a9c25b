"""Removal of a member's words from a prompt file: from its rows, its description and its text."""

import hashlib
import re
from collections.abc import Collection, Set
from dataclasses import replace
from typing import Final

from bot.core.templates.parsing import MAX_TEMPLATE_BYTES, format_template, parse_template
from bot.core.templates.template import Example, PromptTemplate
from bot.errors import TemplateError

# Outside rows, shorter words than this may occur by chance.
_MIN_CHARACTERS: Final = 12
_OMITTED: Final = "…"
_ESCAPE: Final = re.compile(r'\\(?:[btnfr"\\]|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})')


def words_key(words: str) -> str:
    """Return `words` in the form in which they are compared: runs of white space become one space."""
    return " ".join(words.split())


def words_sha256(words: str) -> str:
    """Return the checksum that identifies words taken from a message, whatever their white space."""
    return hashlib.sha256(words_key(words).encode("utf-8", "replace")).hexdigest()


def longest_word(words: str) -> str:
    """Return the longest part of `words` that no escaping in a prompt file changes."""
    return max(re.findall(r"[^\W_]+", words), key=len, default="")


def find_words(text: str, *, name: str, sha256s: Collection[str]) -> set[str]:
    """Return the inputs and outputs in a prompt file's rows with one of the checksums; none for an invalid file."""
    try:
        template = parse_template(text, name=name, source=name)
    except TemplateError:
        return set()
    sides = {side for row in (*template.examples, *template.tests) for side in (row.input, row.output)}
    return {words_key(side) for side in sides if words_sha256(side) in sha256s}


def says_words(text: str, words: str) -> bool:
    """Say whether `text` contains `words`, also if escaped, quoted or with other line breaks."""
    letters = _letters(words)
    if not letters:
        return words in words_key(text)
    return letters in _letters(text) or letters in _letters(_ESCAPE.sub("", text))


def forget_words(text: str, *, name: str, words: Set[str]) -> PromptTemplate | None:
    """Return a prompt file's template without `words` (in the form of `words_key`), None if it does not contain them.

    Every row with one of them as its input or output is removed. The slot $examples and the stop texts stay even if the
    last example is removed. Comments are removed; in the description and the text, longer words are replaced by "…".
    Raises TemplateError if the result is not valid.
    """
    long_words = {one for one in words if len(one) >= _MIN_CHARACTERS}
    try:
        template = parse_template(text, name=name, source=name)
    except TemplateError:
        if any(says_words(text, one) for one in words):
            raise
        return None
    kept = replace(template, examples=_without(template.examples, words), tests=_without(template.tests, words))
    if kept == template and not any(says_words(text, one) for one in long_words):
        return None
    left = kept
    for one in sorted(long_words, key=len, reverse=True):
        left = replace(
            left,
            description=_omit(one, left.description),
            instruction=_omit(one.replace("$", "$$"), left.instruction),
            query=_omit(one.replace("$", "$$"), left.query),
        )
    text = format_template(left)
    if left != kept or len(text.encode()) > MAX_TEMPLATE_BYTES:
        return parse_template(text, name=name, source=name)
    # Removing rows keeps the file valid; parsing it again would double the time for hundreds of versions.
    return replace(left, source_text=text, version=hashlib.sha256(text.encode()).hexdigest()[:12])


def _without(rows: tuple[Example, ...], words: Set[str]) -> tuple[Example, ...]:
    return tuple(row for row in rows if words_key(row.input) not in words and words_key(row.output) not in words)


def _omit(words: str, text: str) -> str:
    return re.sub(r"\s+".join(map(re.escape, words.split())), _OMITTED, text)


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum()).casefold()
