"""The fields of a window's frames, checked."""

from typing import Final

from bot.errors import RequestError
from bot.platforms.web.wire import Json

OUT_OF_DATE: Final = "The page is out of date. Reload it."


def text_field(frame: Json, name: str) -> str:
    """Return a field that is a text, "" if it is not there. Raises RequestError for anything else."""
    value = frame.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RequestError(OUT_OF_DATE)
    return value


def number_field(frame: Json, name: str, least: int, most: int) -> int:
    """Return a field that is a whole number, brought into its range. Raises RequestError for anything else."""
    value = frame.get(name, least)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RequestError(OUT_OF_DATE)
    return max(least, min(most, value))
