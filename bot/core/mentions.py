"""Names of commands and options in sentences: marked where the sentence is written, spelled for its reader later."""

import re
import secrets
from collections.abc import Callable
from typing import Final

# Private-use characters; four of each mark are drawn when the program starts, so nobody can write a mention in a
# message or a template, and the words of people are never taken for one. A mention is spelled by the process that wrote
# it, and is never stored.
_DRAWN: Final = "".join(chr(0xF0000 + secrets.randbelow(0xFFFE)) for _ in range(4))
_OPEN: Final = f"\ue0f0{_DRAWN}"
_CLOSE: Final = f"\ue0f1{_DRAWN}"
OPTION_SIGN: Final = "--"
_MENTION: Final = re.compile(f"{_OPEN}(.*?){_CLOSE}", re.DOTALL)


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
