"""Escaping of texts for Slack: foreign text can ping nobody, hide no link and start no markup that it may not use.

People's words go into rich text, where nothing is markup, so they need no escaping. The model's words are Slack's
Markdown: code, bold, italics and lists keep their look; mentions, links and headings are shown literally.
"""

import re
from typing import Final

from bot.core.safe_text import clean_model_text

_ZERO_WIDTH: Final = "\u200b"
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_FENCE: Final = "```"
_BLOCK: Final = re.compile(r"(?<!`)```.*?(?:```|\Z)", re.DOTALL)
# Each is broken behind characters that are already there, so that the markdown of a longer text starts with that of a
# shorter one: a stream can only add.
_ANYWHERE: Final = (
    r"[&<>]"
    r"|(?<=```)`"  # a longer fence, which nothing shorter would close
    r"|(?<=~~)~"  # a fence of tildes
    r"|(?<=:/)/|(?<=\])[(\[:]"  # a link, and the address behind its words
    r"|(?<=\bmailto):|(?<=\btel):|(?<=\bslack):|(?<=_mailto):|(?<=_tel):|(?<=_slack):|(?<=\w@)\w"
)
_RISKY_CODE: Final = re.compile(_ANYWHERE, re.IGNORECASE)
_RISKY: Final = re.compile(
    rf"{_ANYWHERE}"
    r"|(?<=\w\.)[^\W\d_]"  # a link without its scheme: Slack takes many words with a dot for one
    r"|(?:(?<=\n)|\A)#",  # a heading
    re.IGNORECASE,
)


def escape_entities(text: str) -> str:
    """Return `text` with the three characters escaped that Slack reads as control characters in every text."""
    return re.sub("[&<>]", lambda found: _ENTITIES[found[0]], text)


def show_model_text(text: str) -> str:
    """Return model text as Slack's Markdown: nobody is mentioned, and no link can be clicked.

    An open code block is closed.
    """
    shown = escape_model_text(clean_model_text(text))
    return shown + closing_of(shown)


def closing_of(markdown: str) -> str:
    """Return what closes the code block that is open at the end of `markdown`, "" if none is."""
    return f"\n{_FENCE}" if markdown.count(_FENCE) % 2 else ""


def escape_model_text(text: str) -> str:
    """Return cleaned model text as Slack's Markdown, without closing anything: that of a longer text starts with it."""
    shown, end = [], 0
    for block in _BLOCK.finditer(text):
        shown += [_broken(_RISKY, text, end, block.start()), _broken(_RISKY_CODE, text, *block.span())]
        end = block.end()
    return "".join([*shown, _broken(_RISKY, text, end, len(text))])


def _broken(pattern: re.Pattern[str], text: str, start: int, end: int) -> str:
    """Return `text` from `start` to `end` with everything escaped or broken that `pattern` finds."""
    shown = []
    for found in pattern.finditer(text, start, end):
        shown += [text[start : found.start()], _ENTITIES.get(found[0], f"{_ZERO_WIDTH}{found[0]}")]
        start = found.end()
    return "".join([*shown, text[start:end]])
