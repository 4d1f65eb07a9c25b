"""What is typed after a slash: the command that is meant, and a value for each of its options."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.discord.options import (
    ATTACHMENT,
    BOOLEAN,
    GROUP,
    INTEGER,
    NUMBER,
    STRING,
    SUBCOMMAND,
    NotOffered,
)


@dataclass(frozen=True, slots=True)
class SlashLine:
    """A slash command as a member gives it: `name` with its subcommand, such as "prompt run"."""

    name: str
    values: Mapping[str, Any]


def parse_slash(line: str, commands: Sequence[Mapping[str, Any]]) -> SlashLine:
    """Read `next Once upon a`, `complete text:Once upon a n:3` or `prompt run sentiment I love it`.

    What stands before the first `option:` goes to the options that a typed command takes without a name, in order: a
    word each and all the rest to the last one. Several texts may be divided by `|`, as in `compare A | B`. Raises
    NotOffered.
    """
    first, _, rest = line.strip().partition(" ")
    found = next((command for command in commands if command["name"] == first), None)
    if found is None:
        raise NotOffered(f"There is no command /{first}; a single / lists them.")
    path, options = [first], found.get("options", ())
    while any(option["type"] in (SUBCOMMAND, GROUP) for option in options):
        word, _, rest = rest.strip().partition(" ")
        inner = next((option for option in options if option["name"] == word), None)
        if inner is None:
            raise NotOffered(f"/{' '.join(path)} needs one of {', '.join(option['name'] for option in options)}.")
        path.append(word)
        options = inner.get("options", ())
    return SlashLine(" ".join(path), _values(rest.strip(), options))


def _values(rest: str, options: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    by_name = {option["name"]: option for option in options}
    names = "|".join(map(re.escape, by_name)) or "(?!)"
    words, *pairs = re.split(rf"(?:^|\s)({names}):", rest)
    typed = dict(zip(pairs[::2], pairs[1::2], strict=True))
    free = [name for name in _unnamed(options) if name not in typed]
    if words.strip() and not free:
        raise NotOffered(f"{words.strip()!r} is for no option; give it as option:value, with one of {names}.")
    num_required = sum(bool(option.get("required")) for option in options)
    if num_required > 1 and "|" in words:
        free = [option["name"] for option in options if option["type"] == STRING and option["name"] not in typed]
        parts = [part.strip() for part in words.split("|", maxsplit=len(free) - 1)]
    else:
        parts = words.split(maxsplit=len(free) - 1) if free else []
    typed |= dict(zip(free, parts, strict=False))
    return {name: _value(by_name[name], value.strip()) for name, value in typed.items() if value.strip()}


def _unnamed(options: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the options that need no name: those required, then the text and what is suggested while it is typed."""
    required = [option["name"] for option in options if option.get("required")]
    others = [
        option["name"]
        for option in options
        if not option.get("required")
        and option["type"] == STRING
        and (option["name"] == "text" or option.get("autocomplete"))
    ]
    unnamed = required + others
    return unnamed[: unnamed.index("text") + 1] if "text" in unnamed else unnamed  # the text takes all that is left


def _value(option: Mapping[str, Any], text: str) -> Any:
    """Return `text` as the option's type takes it: a number, yes or no, a file by its path."""
    try:
        if option["type"] == INTEGER:
            return int(text)
        if option["type"] == NUMBER:
            return float(text)
        if option["type"] == ATTACHMENT:
            path = Path(text).expanduser()
            return path.name, path.read_bytes()
    except (ValueError, OSError) as e:
        raise NotOffered(f"{option['name']} does not take {text!r}: {e}.") from e
    return text.lower() in ("true", "yes") if option["type"] == BOOLEAN else text
