"""Free disk space: the check before a download, and the sentences for errors while files are written."""

import errno
import shutil
from pathlib import Path
from typing import Final

from bot.errors import ModelError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def require_space(folder: Path, num_bytes: int, *, what: str) -> None:
    """Raise ModelError if the disk of the existing `folder` has less than `num_bytes` free for `what`."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise ModelError(
            f"The disk of {folder} has {free / 1e6:,.0f} MB free, but {what} needs "
            f"{num_bytes / 1e6:,.0f} MB during the download; free some space and pull again."
        )


def explain_os_error(name: str, error: OSError) -> str:
    """Return one sentence for an operating system error during the download of the model `name`."""
    place = f" ({error.filename})" if error.filename else ""
    if error.errno in _FULL:
        return f"The disk is full{place}, so {name} was not downloaded; free some space and pull again."
    if isinstance(error, PermissionError):
        return f"{name} was not downloaded: this user has no permission to write there{place}."
    return f"{name} was not downloaded: {error.strerror or error}{place}."
