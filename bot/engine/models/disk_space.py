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


def is_disk_full(error: Exception) -> bool:
    """Say whether `error` means a full disk; libraries in Rust report it in words, without a number."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return any(f"(os error {number})" in str(error) for number in _FULL)


def explain_os_error(name: str, error: OSError, folder: Path) -> str:
    """Return one sentence for an operating system error while the model `name` is downloaded into `folder`."""
    # Where a write fails, the system does not say which file it was.
    place = f" ({error.filename or folder})"
    if error.errno in _FULL:
        return f"The disk is full{place}, so {name} was not downloaded; free some space and pull again."
    if isinstance(error, PermissionError):
        return f"{name} was not downloaded: this user has no permission to write there{place}."
    return f"{name} was not downloaded: {error.strerror or error}{place}."
