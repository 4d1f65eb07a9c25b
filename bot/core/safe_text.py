"""Removal of Unicode tricks from names, chat history and model output; nothing else is changed."""

import re
import unicodedata
from typing import Final

MAX_NAME_CHARACTERS: Final = 32
FALLBACK_NAME: Final = "member"
# Vietnamese, Hebrew with points and Thai need at most 3 marks on one letter after NFC; more is decoration ("zalgo").
MAX_COMBINING_MARKS: Final = 4

_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]+")
# Direction marks, embeddings, overrides and isolates.
_BIDI: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# The tag block (invisible ASCII), other invisible fillers, interlinear annotation, the byte order mark.
_INVISIBLE: Final = (
    "\u00ad\u115f\u1160\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff"
)
# C0 and C1 controls except tab and newline; carriage returns have become newlines before.
_CONTROL: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_UNWANTED: Final = re.compile(f"[{_BIDI}{_INVISIBLE}{_CONTROL}]")
_LINE_BREAKS: Final = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SPACES: Final = re.compile(r"\s+")


def replace_lone_surrogates(text: str) -> str:
    """Return `text` with U+FFFD for each lone surrogate, so that UTF-8 can encode it; the length stays the same."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATES.sub(lambda run: "\ufffd" * len(run[0]), text)
    return text


class JoinedHalves:
    """Joins the pieces of a text that may be cut inside a character: some senders cut it in two surrogates."""

    def __init__(self) -> None:
        self._half = ""

    def push(self, piece: str) -> str:
        """Return the text of `piece` with what was held back of the one before; a half at its end waits."""
        text = self._half + piece
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = text[: len(text) - len(self._half)]
        if not _LONE_SURROGATES.search(text):
            return text
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def finish(self) -> str:
        """Return a half that has no other one, as U+FFFD."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""


def one_line(text: str) -> str:
    """Return `text` with every run of white space and line breaks (also U+2028) as one space, none at the ends."""
    return _SPACES.sub(" ", text).strip()


def clean_name(name: str) -> str:
    """Return a member's name as the model may read it: one line, at most 32 characters, no colon, no Unicode tricks.

    A colon would end the name in a transcript. The result is FALLBACK_NAME if no letter, digit or symbol is left.
    """
    text = one_line(_clean(name).translate(_NO_COLONS))
    text = cut_text(text, MAX_NAME_CHARACTERS).strip()
    return text if any(unicodedata.category(c)[0] in "LNPS" for c in text) else FALLBACK_NAME


def clean_history_text(text: str) -> str:
    """Return a person's or the bot's text as the model may read it; line breaks are LF, tabs are kept."""
    return _clean(text)


def clean_model_text(text: str) -> str:
    """Return the model's text as people may see it: NFC, no direction, tag or control characters, few marks."""
    return _clean(text)


# The colon, and the characters that NFC or a reader takes for one.
_NO_COLONS: Final = {ord(c): " " for c in ":\uff1a\ufe55\ufe13\ua789\u2236\u02d0\u02f8"}


def _clean(text: str) -> str:
    text = _LINE_BREAKS.sub("\n", replace_lone_surrogates(text))
    text = unicodedata.normalize("NFC", _UNWANTED.sub("", text))
    return _cap_marks(text)


def _cap_marks(text: str) -> str:
    """Return `text` with at most MAX_COMBINING_MARKS marks in a row."""
    if text.isascii():
        return text
    kept: list[str] = []
    num_marks = 0
    for c in text:
        num_marks = num_marks + 1 if unicodedata.category(c) in {"Mn", "Me"} else 0
        if num_marks <= MAX_COMBINING_MARKS:
            kept.append(c)
    return "".join(kept)


def is_inside_character(text: str, index: int) -> bool:
    """Say whether a cut before `text[index]` would split what a reader sees as one character.

    Such are a letter with its marks, a joined or tinted emoji, a flag, and a surrogate pair.
    """
    if not 0 < index < len(text):
        return False
    before, after = text[index - 1], text[index]
    if unicodedata.category(after)[0] == "M" or "\u200d" in before + after or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff":
        return True
    # A flag is a pair of regional indicators: a cut inside one has an odd number of them before it.
    return _num_flag_letters_before(text, index) % 2 == 1 and _is_flag_letter(after)


def _is_flag_letter(c: str) -> bool:
    return "\U0001f1e6" <= c <= "\U0001f1ff"


def _num_flag_letters_before(text: str, index: int) -> int:
    num = 0
    while num < index and _is_flag_letter(text[index - num - 1]):
        num += 1
    return num


def cut_text(text: str, limit: int) -> str:
    """Return the first `limit` characters of `text`, fewer if the last one would be split."""
    end = min(limit, len(text))
    while is_inside_character(text, end):
        end -= 1
    return text[: end or limit]
