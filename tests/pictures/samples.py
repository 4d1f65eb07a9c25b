"""Pictures as people attach them."""

import io
from typing import Any

from PIL import Image

RED = (250, 10, 10)
BLUE = (10, 10, 250)


def picture_file(
    colour: tuple[int, ...] = RED, *, size: tuple[int, int] = (64, 48), kind: str = "PNG", mode: str = "RGB", **how: Any
) -> bytes:
    """Return a file with a picture of one colour."""
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, kind, **how)
    return file.getvalue()
