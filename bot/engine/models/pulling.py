"""Pulling a model: starts the pull process, shows its progress, and stops it if it stalls."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

from bot.engine.models.catalog import (
    AUTO,
    GPT2,
    SMOLLM2,
    ModelChoice,
    ModelNotPulled,
    check_name,
    record_choice,
    resolve_model,
)
from bot.engine.models.pull_progress import ProgressDisplay
from bot.errors import ModelError

# Time to start Python and import the hub's client on a slow, busy machine.
_START_S: Final = 30.0

_Events: TypeAlias = "queue.SimpleQueue[dict[str, Any] | None]"


@dataclass(frozen=True, slots=True)
class PullLimits:
    """How long a pull may take, how long it may show no progress, and how long `auto` waits for the hub."""

    timeout_s: float = 3600.0
    stall_s: float = 60.0
    probe_s: float = 3.0


def pull_model(
    name: str, models_dir: Path, limits: PullLimits | None = None, display: ProgressDisplay | None = None
) -> ModelChoice:
    """Return the model `name`; download it first if files are missing. Progress goes to standard error.

    Blocks: call it in the main thread, where nothing else waits. Ctrl-C ends it (KeyboardInterrupt, after the pull
    process has ended); a later call resumes the download. Raises ModelError, one sentence.
    """
    limits = limits or PullLimits()
    display = display or ProgressDisplay()
    with contextlib.suppress(ModelNotPulled):
        return resolve_model(name, models_dir)
    if name == AUTO:
        return _pull_auto(models_dir, limits, display)
    check_name(name)
    _run(["pull", name, str(models_dir)], name, limits, display)
    return resolve_model(name, models_dir)


def _pull_auto(models_dir: Path, limits: PullLimits, display: ProgressDisplay) -> ModelChoice:
    """Decide which model `auto` is, download it, and record the choice."""
    reason = f"the Hugging Face hub did not answer within {limits.probe_s:g} s"
    if _hub_answers(limits, display):
        try:
            choice = pull_model(GPT2, models_dir, limits, display)
            return _record(ModelChoice(GPT2, choice.folder, "the Hugging Face hub has it"), models_dir, display)
        except ModelError as e:
            reason = f"gpt2 could not be downloaded: {str(e).rstrip('.')}"
            display.tell(str(e))
    try:
        choice = pull_model(SMOLLM2, models_dir, limits, display)
    except ModelError as e:
        raise ModelError(f"No model could be downloaded: {reason}; {e}") from e
    return _record(ModelChoice(SMOLLM2, choice.folder, reason), models_dir, display)


def _record(choice: ModelChoice, models_dir: Path, display: ProgressDisplay) -> ModelChoice:
    try:
        record_choice(choice, models_dir)
    except ModelError as e:
        display.tell(str(e))
    return choice


def _hub_answers(limits: PullLimits, display: ProgressDisplay) -> bool:
    display.tell(f"Asking the Hugging Face hub for gpt2 (at most {limits.probe_s:g} s) …")
    probe = PullLimits(timeout_s=_START_S + limits.probe_s, stall_s=limits.probe_s)
    try:
        _run(["probe"], GPT2, probe, display)
    except ModelError:
        return False
    return True


def _run(arguments: list[str], name: str, limits: PullLimits, display: ProgressDisplay) -> None:
    """Run the pull process to its end. Raises ModelError if it fails or exceeds a limit."""
    with _open_log(name) as log:
        with _start_process(arguments, log) as events:
            try:
                result = _follow(events, name, limits, display)
            finally:
                display.close()
        if "failed" in result:
            raise ModelError(str(result["failed"]))
        if "folder" not in result:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            detail = f" ({lines[-1].rstrip('.')})" if lines else ""
            raise ModelError(f"The download of {name} ended unexpectedly{detail}; pull again.")


def _open_log(name: str) -> IO[bytes]:
    """Return an empty file for what the pull process says. Raises ModelError."""
    try:
        return tempfile.TemporaryFile()
    except OSError as e:  # for example, no folder for temporary files has room
        raise ModelError(f"{name} can't be downloaded, as no temporary file can be written: {e.strerror or e}.") from e


def _follow(events: _Events, name: str, limits: PullLimits, display: ProgressDisplay) -> dict[str, Any]:
    """Show `events` until the last one, and return it; empty if the process ended without one."""
    deadline = time.monotonic() + limits.timeout_s
    patience_s = max(_START_S, limits.stall_s)
    while True:
        left_s = deadline - time.monotonic()
        try:
            event = events.get(timeout=max(0.0, min(left_s, patience_s)))
        except queue.Empty:
            is_over = left_s <= patience_s
            problem = (
                f"took longer than {limits.timeout_s:,g} s" if is_over else f"made no progress for {patience_s:,g} s"
            )
            raise ModelError(f"The download of {name} {problem} and was stopped; pull again to resume it.") from None
        patience_s = limits.stall_s
        if event is None:
            return {}
        if "folder" in event or "failed" in event:
            return event
        if "phase" in event:
            display.phase(event["phase"], event["total"], event["unit"])
        elif "done" in event:
            display.advance(event["done"])


@contextlib.contextmanager
def _start_process(arguments: list[str], log: IO[bytes]) -> Iterator[_Events]:
    """Run the pull process while the block runs, and yield the queue of its events, which ends with None."""
    # These variables keep this process offline; only the pull process may use the network.
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    events: _Events = queue.SimpleQueue()
    with subprocess.Popen(
        [sys.executable, "-m", "bot.engine.models.pull_process", *arguments],
        stdin=subprocess.PIPE,  # closes when this process ends, which ends the pull process
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        start_new_session=True,  # one process group with pip, which the terminal's Ctrl-C does not reach
    ) as process:
        reader = threading.Thread(target=_read_events, args=(process.stdout, events), daemon=True)
        reader.start()
        try:
            yield events
        finally:
            _kill(process)
            reader.join()


def _read_events(lines: IO[bytes], events: _Events) -> None:
    with contextlib.suppress(ValueError):  # the last line of a killed process may be incomplete
        for line in lines:
            events.put(json.loads(line))
    events.put(None)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill `process` and its children; safe, because a finished file always appears in one step."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
