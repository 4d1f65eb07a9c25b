"""The question that shows whether a server's model sees pictures: two small ones, and what counts as a right answer."""

import re
import struct
import zlib
from collections.abc import Mapping
from typing import Final

# Models that cut pictures into patches refuse those of a few pixels.
_EDGE: Final = 64
_END_OF_THINKING: Final = "</think>"

COLOUR_QUESTION: Final = "What colour is this picture? Answer with one word."


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _plain_png(red: int, green: int, blue: int) -> bytes:
    """Return a square of one colour as a PNG."""
    header = struct.pack(">IIBBBBB", _EDGE, _EDGE, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes((red, green, blue)) * _EDGE) * _EDGE
    parts = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


PICTURES: Final[Mapping[str, bytes]] = {"red": _plain_png(255, 0, 0), "blue": _plain_png(0, 0, 255)}


def names_colour(answer: str, colour: str) -> bool:
    """Say whether `answer` names `colour` and none of the others, besides what a model thinks aloud before."""
    said = set(re.findall(r"[a-z]+", answer.rpartition(_END_OF_THINKING)[2].lower()))
    return said & set(PICTURES) == {colour}
