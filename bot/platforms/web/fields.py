"""The fields of a window's frames, checked, so that a name or an id of megabytes keeps nobody waiting."""

from typing import Final

from bot.errors import RequestError
from bot.platforms.web.wire import Json

OUT_OF_DATE: Final = "The page is out of date. Reload it."
MAX_SHORT: Final = 1_000  # characters of a name, an id or a reason


def text_field(frame: Json, name: str) -> str:
    """Return a field that is a short text, "" if it is not there. Raises RequestError for anything else."""
    value = long_field(frame, name)
    if len(value) > MAX_SHORT:
        raise RequestError(f"That is too long: {len(value):,} characters, at most {MAX_SHORT:,}. Shorten it.")
    return value


def long_field(frame: Json, name: str, *, max_bytes: int | None = None) -> str:
    """Return a field that is a text of any length, or of `max_bytes`. Raises RequestError for anything else."""
    value = frame.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RequestError(OUT_OF_DATE)
    if max_bytes is not None and (len(value) > max_bytes or len(value.encode(errors="replace")) > max_bytes):
        raise RequestError(f"The text is too long: at most {max_bytes:,} bytes. Shorten it.")
    return value


def thread_field(frame: Json) -> str:
    """Return the id of the message that a thread hangs on, "" outside threads. Raises RequestError."""
    thread = text_field(frame, "thread")
    if thread and message_number(thread) is None:
        raise RequestError(OUT_OF_DATE)
    return thread


def message_number(message_id: str | None) -> int | None:
    """Return the number in the id of a message; None if it is none that the store can hold."""
    return int(message_id) if message_id and message_id.isdecimal() and len(message_id) < 19 else None


def number_field(frame: Json, name: str, least: int, most: int) -> int:
    """Return a field that is a whole number, brought into its range. Raises RequestError for anything else."""
    value = frame.get(name, least)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RequestError(OUT_OF_DATE)
    return max(least, min(most, value))
