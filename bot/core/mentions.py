"""A command named in a sentence: marked by whoever writes the sentence, spelled as the reader would call it."""

import re
from collections.abc import Callable
from typing import Final

# Private-use characters, which no keyboard types.
_OPEN: Final = "\ue0f0"
_CLOSE: Final = "\ue0f1"
_MENTION: Final = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")


def mention(line: str) -> str:
    """Return the command `line` (`prompt edit NAME`, without a prefix) marked, for a sentence that names it."""
    return f"{_OPEN}{line}{_CLOSE}"


def spell_mentions(text: str, spell: Callable[[str], str]) -> str:
    """Return `text` with each marked command line as `spell` writes it."""
    return _MENTION.sub(lambda found: spell(found[1]), text) if _OPEN in text else text
