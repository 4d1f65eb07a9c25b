"""Names of commands and options in sentences: marked where the sentence is written, spelled for its reader later."""

import re
from collections.abc import Callable
from typing import Final

# Private-use characters, which no keyboard types.
_OPEN: Final = "\ue0f0"
_CLOSE: Final = "\ue0f1"
OPTION_SIGN: Final = "--"
_MENTION: Final = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")


def mention(line: str) -> str:
    """Return the command `line` (`prompt edit NAME`, without a prefix) marked, for a sentence that names it."""
    return f"{_OPEN}{line.replace(_OPEN, '').replace(_CLOSE, '')}{_CLOSE}"


def mention_option(name: str) -> str:
    """Return the option `name` of a command marked, for a sentence that names it."""
    return mention(f"{OPTION_SIGN}{name}")


def spell_mentions(text: str, spell: Callable[[str], str]) -> str:
    """Return `text` with each marked command line as `spell` writes it."""
    return _MENTION.sub(lambda found: spell(found[1]), text) if _OPEN in text else text


def type_mentions(text: str, prefix: str) -> str:
    """Return `text` with each marked command line typed behind `prefix`, for readers outside of the bot's cards."""
    return spell_mentions(text, lambda line: line if line.startswith(OPTION_SIGN) else f"{prefix}{line}")
