"""The two halves of a prompt file; for the TOML in the first one, the line of each key."""

import re
import tomllib
from dataclasses import dataclass
from typing import Any, Final

from bot.errors import TemplateError

FENCE: Final = "+++"
# The path of a key: table names, row numbers (from 0) and key names, such as ("examples", 1, "input").
Path = tuple[str | int, ...]

_PLACE: Final = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_HEADER: Final = re.compile(r"(\[\[?)([^\[\]]*)\]")
_KEY: Final = re.compile(r"""("[^"]*"|'[^']*'|[\w-]+(?:[ \t]*\.[ \t]*[\w-]+)*)[ \t]*=""")
_STRING: Final = re.compile(r'"""|\'\'\'|"(?:\\.|[^"\\])*"|\'[^\']*\'|#.*')
# Any string or comment. The possessive quantifiers never backtrack, so the time is linear.
_LITERAL: Final = re.compile(
    r'''"""(?:[^"\\]++|\\.|"(?!""))*+"""|'{3}(?:[^']++|'(?!''))*+'{3}|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+'|#[^\n]*+''',
    re.DOTALL,
)
_LONG_KEY: Final = re.compile(r"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){8}")


@dataclass(frozen=True, slots=True)
class FileHalves:
    """The TOML between the fences and the text below them; `body_line` is the file's line on which the body starts."""

    front_matter: str
    body: str
    body_line: int


def split_file(text: str, *, source: str) -> FileHalves:
    """Split a prompt file whose line breaks are LF. The body's trailing white space is dropped.

    Raises TemplateError if a fence is missing.
    """
    lines = text.split("\n")
    if lines[0] != FENCE:
        raise TemplateError(f"The first line must be exactly {FENCE}.", source=source, line=1)
    try:
        end = lines.index(FENCE, 1)
    except ValueError as e:
        problem = f"The front matter does not end. Add a line that is exactly {FENCE} below it."
        raise TemplateError(problem, source=source, line=len(lines)) from e
    return FileHalves("\n".join(lines[1:end]), "\n".join(lines[end + 1 :]).rstrip(), end + 2)


def parse_front_matter(toml: str, *, source: str) -> dict[str, Any]:
    """Return the front matter's values. Raises TemplateError with the file's line of the mistake."""
    _refuse_long_keys(toml, source)
    try:
        # With a line break at the end, tomllib also numbers the last line, instead of naming "end of document".
        return tomllib.loads(f"{toml}\n")
    except RecursionError as e:
        raise TemplateError("The front matter is nested too deeply.", source=source) from e
    except ValueError as e:
        # TOMLDecodeError is a ValueError; int() raises a bare one for numbers of thousands of digits.
        message = str(e)
        place = _PLACE.search(message)
        if place is None:
            raise TemplateError("A number in the front matter is too long.", source=source) from e
        problem = message[: place.start()]
        if place[1] is None:
            # The front matter starts on line 2; the closing fence is one line below its last.
            raise TemplateError(
                f"The front matter is not valid TOML: {problem} before the closing {FENCE}.",
                source=source,
                line=toml.count("\n") + 3,
            ) from e
        problem = f"The front matter is not valid TOML: {problem} (column {place[2]})."
        raise TemplateError(problem, source=source, line=int(place[1]) + 1) from e


def _refuse_long_keys(toml: str, source: str) -> None:
    """Raise TemplateError for a key of many dotted names: tomllib's time grows with the cube of their number."""
    without_strings = _LITERAL.sub(lambda found: "_" + "\n" * found[0].count("\n"), toml)
    if found := _LONG_KEY.search(without_strings):
        line = without_strings.count("\n", 0, found.start()) + 2
        raise TemplateError("This key has too many dotted names.", source=source, line=line)


class LineIndex:
    """The file's line of each key in front matter that is known to be valid TOML.

    Only headers and the starts of lines are read: a key inside an inline table has the line of its table. Lines are
    needed only for errors, so they are read at the first call of `line_of`.
    """

    def __init__(self, toml: str) -> None:
        self._toml = toml
        self._lines: dict[Path, int] = {}

    def _read(self) -> None:
        table: Path = ()
        num_rows: dict[Path, int] = {}
        open_string = ""
        for number, line in enumerate(self._toml.split("\n"), start=2):
            start = line.strip()
            if not open_string:
                if header := _HEADER.match(start):
                    table = _names(header[2])
                    if header[1] == "[[":
                        row = num_rows.get(table, 0)
                        num_rows[table] = row + 1
                        self._lines.setdefault(table, number)
                        table = (*table, row)
                    self._lines.setdefault(table, number)
                elif key := _KEY.match(start):
                    self._add((*table, *_names(key[1])), len(table), number)
            open_string = _open_string_after(line, open_string)

    def _add(self, path: Path, num_known: int, number: int) -> None:
        for end in range(num_known + 1, len(path) + 1):
            self._lines.setdefault(path[:end], number)

    def line_of(self, *path: str | int) -> int | None:
        """Return the line of `path`, or of the nearest table around it, or None."""
        if not self._lines:
            self._read()
        for end in range(len(path), 0, -1):
            if path[:end] in self._lines:
                return self._lines[path[:end]]
        return None


def _names(key: str) -> Path:
    """Return the names in a possibly dotted or quoted key; a quoted key is one name."""
    if key.strip()[:1] in {'"', "'"}:
        return (key.strip()[1:-1],)
    return tuple(part.strip() for part in key.split("."))


def _open_string_after(line: str, open_string: str) -> str:
    """Return the triple quote that is still open after `line`, given the one open before it; "" for none."""
    at = 0
    while True:
        if open_string:
            at = _end_of_string(line, at, open_string)
            if at < 0:
                return open_string
            open_string = ""
        found = _STRING.search(line, at)
        if found is None:
            return ""
        at = found.end()
        if found[0] in {'"""', "'''"}:
            open_string = found[0]


def _end_of_string(line: str, at: int, quote: str) -> int:
    """Return the index after the end of the string that `quote` opened, -1 if it does not end in `line`."""
    while (end := line.find(quote, at)) >= 0:
        num_backslashes = 0
        while quote == '"""' and end - num_backslashes > at and line[end - num_backslashes - 1] == "\\":
            num_backslashes += 1
        if num_backslashes % 2 == 0:
            return end + 3
        at = end + 1
    return -1


_ESCAPES: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def toml_string(text: str) -> str:
    """Return `text` as a TOML basic string on one line, with every control character escaped."""
    escaped = (_ESCAPES.get(c) or (f"\\u{ord(c):04x}" if ord(c) < 32 or 127 <= ord(c) < 160 else c) for c in text)
    return f'"{"".join(escaped)}"'
