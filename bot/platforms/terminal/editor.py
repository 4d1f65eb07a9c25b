"""Forms in the person's own editor: each file of a form is opened, edited and read back."""

import asyncio
import shlex
import tempfile
from pathlib import Path

from bot.core.cards import Form, FormField
from bot.errors import RequestError


async def fill_in(form: Form, editor: str) -> dict[str, str]:
    """Open each file of `form` in the editor (a command line) and return the edited values.

    The field's help is written above the text as a comment. Raises RequestError if nothing was changed or the editor
    can't be used.
    """
    return {field.name: await _edit(field, editor) for field in form.fields if field.kind == "file"}


async def _edit(field: FormField, editor: str) -> str:
    header = "".join(f"# {line}\n" for line in field.help.splitlines())
    try:
        folder = tempfile.TemporaryDirectory(prefix="fewshot-")
    except OSError as e:
        raise _not_written(tempfile.gettempdir(), e) from e
    with folder:
        path = Path(folder.name) / field.label
        try:
            path.write_text(header + field.value, encoding="utf-8")
        except OSError as e:
            raise _not_written(path, e) from e
        try:
            process = await asyncio.create_subprocess_exec(*shlex.split(editor), str(path))
            status = await process.wait()
        except (OSError, ValueError) as e:
            raise RequestError(f"The editor {editor!r} can't be started. Set VISUAL or EDITOR to another one.") from e
        if status:
            raise RequestError(f"The editor ended with status {status}, so nothing was changed.")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise RequestError("The edited file is missing or not UTF-8 text, so nothing was changed.") from e
    text = _without_comments(text)
    if not text.strip() or text == field.value:
        raise RequestError("Nothing was changed.")
    return text


def _not_written(path: Path | str, error: OSError) -> RequestError:
    return RequestError(
        f"The text for the editor can't be written to {path}: {(error.strerror or str(error)).lower()}."
    )


def keep_text(text: str) -> Path:
    """Write `text` to a file that only this person can read, and return its path; nothing deletes the file.

    Raises OSError.
    """
    with tempfile.NamedTemporaryFile("w", prefix="fewshot-", suffix=".prompt", encoding="utf-8", delete=False) as file:
        file.write(text)
    return Path(file.name)


def _without_comments(text: str) -> str:
    """Return `text` without the comments above it; a prompt file never starts with one."""
    lines = text.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return "".join(lines[start:])
