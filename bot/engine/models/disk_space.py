"""Whether a folder's disk has room for what is about to be written, and what a full one is called."""

import errno
import shutil
from pathlib import Path
from typing import Final

from bot.errors import ModelError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def require_space(folder: Path, num_bytes: int, *, what: str) -> None:
    """Raise ModelError where the disk of the existing `folder` has less than `num_bytes` free for `what`."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise ModelError(
            f"The disk of {folder} has {free / 1e6:,.0f} MB free; "
            f"{what} needs {num_bytes / 1e6:,.0f} MB while it is fetched."
        )


def explain_os_error(name: str, error: OSError) -> str:
    """Return one sentence for an operating system's error while the model `name` was fetched."""
    place = f" ({error.filename})" if error.filename else ""
    if error.errno in _FULL:
        return f"The disk is full{place}, so {name} was not fetched; make room and pull again."
    if isinstance(error, PermissionError):
        return f"{name} was not fetched, because this user may not write there{place}."
    return f"{name} was not fetched: {error.strerror or error}{place}."
