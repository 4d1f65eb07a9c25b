"""What the bot itself says in the text that the model writes: no speaker's label, no other speaker."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from bot.core.safe_text import clean_name

# Speakers of the dialogues that models learnt from, beside those of the conversation.
_ROLES: Final = ("User", "Assistant", "Human", "AI", "Bot", "Question", "Q", "A")
# "Answer:" within a text introduces a result; only at its start it is a label.
_ROLES_AT_START: Final = ("Answer",)
_OPENING: Final = r"*_[(<\"“"
_CLOSING: Final = r"*_\])>\"”"
# Where another speaker may begin: at the start of a line, or after a sentence. A bullet before a name makes it an item.
_PLACE: Final = r"(?:(?<=\n)[^\S\n]*|(?<=[.!?…。！？])(?P<closing>[\"'”’»)\]*_]{0,3})[^\S\n]+)"
_PLACE_AT_END: Final = re.compile(r"\A\s*|(?<=\n)[^\S\n]*|(?<=[.!?…。！？])[\"'”’»)\]*_]{0,3}[^\S\n]+")
_LONGEST_LABEL: Final = 48
# After "A:", it shows that both are options of a list and no speakers.
_OPTION_B: Final = re.compile(r"(?:^|[\s,;(])[*_]{0,2}B[*_]{0,2}\s?[:)：]")
# An item of a numbered list begins after it.
_NUMBER: Final = re.compile(r"(?:\A|\n)\s*\d+\.\Z")
_FENCE: Final = "```"


def clean_reply(text: str, *, names: Iterable[str], num_said: int = 0, is_growing: bool = False) -> str:
    """Return the part of the model's text that the bot says itself, "" if there is none.

    A speaker's label at the start is dropped, in any case and also in bold: the bot's own, a member's (`names`), or a
    role's (User, Assistant, Q, A). From where another speaker begins, everything is dropped. The first `num_said`
    characters were shown before and stay. With `is_growing`, an end that may become a label is left out too.
    """
    names = tuple(names)
    if not num_said:
        text = _without_labels(text.strip(), names)
    end = next((start for start, _ in _other_speakers(text, names, num_said)), len(text))
    if is_growing:
        end = min(end, _start_of_label(text, names, num_said))
    return text[: max(end, num_said)].rstrip()


def has_other_speaker(text: str, *, names: Iterable[str], num_said: int = 0) -> bool:
    """Say whether another speaker has certainly started in `text`, whatever follows."""
    names = tuple(names)
    if not num_said:
        text = _without_labels(text.strip(), names)
    return any(is_certain for _, is_certain in _other_speakers(text, names, num_said))


def _without_labels(text: str, names: tuple[str, ...]) -> str:
    label, last_b, start = _label_at_start(names), _last_option_b(text), 0
    while (found := label.match(text, start)) and not _is_option(found, last_b):
        start = found.end()
    return text[start:].lstrip()


def _other_speakers(text: str, names: tuple[str, ...], start: int) -> Iterator[tuple[int, bool]]:
    """Yield where another speaker begins after `start`, and whether that is certain. Code blocks have no speakers."""
    last_b = _last_option_b(text)
    for found in _label_inside(names).finditer(text, start):
        is_in_code = text.count(_FENCE, 0, found.start()) % 2 == 1
        is_item = _NUMBER.search(text, max(0, found.start() - 8), found.start()) is not None
        if is_in_code or is_item or _is_option(found, last_b):
            continue
        yield (found.start() if found["closing"] is None else found.end("closing")), found["name"].casefold() != "a"


def _is_option(found: re.Match[str], last_b: int) -> bool:
    """Say whether the label is the first of a list: "A: apples, B: pears"."""
    return found["name"].casefold() == "a" and found.end() <= last_b


def _last_option_b(text: str) -> int:
    """Return where the last option B of a list begins, -1 if there is none."""
    return max((found.start() for found in _OPTION_B.finditer(text)), default=-1)


def _start_of_label(text: str, names: tuple[str, ...], num_said: int) -> int:
    """Return where the end of `text` may become a label, its length if it can't."""
    first = max(0, len(text) - _LONGEST_LABEL)
    for place in _PLACE_AT_END.finditer(text, first):
        start = place.end()
        if start < num_said:
            continue
        name_start = text[start:].lstrip(f"#>{_OPENING} \t").rstrip(_CLOSING + " \t").casefold()
        if start < len(text) and any(name.casefold().startswith(name_start) for name in _speakers(names)):
            return place.start()
    return len(text)


def _speakers(names: tuple[str, ...]) -> tuple[str, ...]:
    return (*map(clean_name, names), *_ROLES, *_ROLES_AT_START)


@lru_cache(maxsize=256)
def _label_at_start(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"\s*" + _label(_speakers(names)), re.IGNORECASE)


@lru_cache(maxsize=256)
def _label_inside(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(_PLACE + _label((*map(clean_name, names), *_ROLES)), re.IGNORECASE)


def _label(speakers: tuple[str, ...]) -> str:
    """Return the pattern of a speaker's name with a colon, perhaps in bold, brackets or quotes, or as a heading."""
    longest_first = sorted(set(speakers), key=len, reverse=True)
    name = "|".join(r"\s+".join(map(re.escape, speaker.split())) for speaker in longest_first)
    return (
        rf"(?:\#{{1,6}}[ \t]+|>[ \t]*)?(?P<opening>[{re.escape(_OPENING)}]{{1,4}})?(?P<name>{name})"
        rf"[{_CLOSING}]{{0,4}}[ \t]?[:：](?(opening)[{_CLOSING}]{{0,4}})(?![\d/\\])"
    )
