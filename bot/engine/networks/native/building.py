"""The compiled library of the native step: built once on this machine from the C++ sources, then cached."""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import platformdirs

from bot.engine.models.pull_progress import ProgressDisplay

logger = logging.getLogger(__name__)

COMPILERS: Final = ("c++", "g++", "clang++")
_SOURCES: Final = ("step.cpp", "abi.cpp", "choosing.cpp")
# Every kernel must add in the same order, so no flag may let the compiler reorder sums.
_FLAGS: Final = ("-O3", "-std=c++20", "-shared", "-fPIC", "-pthread", "-ffp-contract=fast", "-fno-math-errno")
# The CPUs that the library can be compiled for besides this machine's.
_FLAGS_FOR: Final[Mapping[str, Sequence[str]]] = {"avx2": ("-mavx2", "-mfma", "-mf16c")}
_NATIVE: Final = "native"
_COMPILE_TIMEOUT_S: Final = 120.0
_QUESTION_TIMEOUT_S: Final = 10.0


class NativeUnavailable(Exception):
    """The native step is not available on this machine; the message says why, in one sentence."""


def compile_for(target: str) -> None:
    """Set the CPU that libraries are compiled for from now on: "native", this machine's, or "avx2", any with AVX2.

    Raises ValueError for another target.
    """
    global _target  # noqa: PLW0603
    if target != _NATIVE and target not in _FLAGS_FOR:
        raise ValueError(f"COMPILE_FOR has no target {target!r}.")
    _target = target


def compile_target() -> str:
    """Return the CPU that libraries are compiled for; see `compile_for`."""
    return _target


def load_library(cache_folder: Path | None = None) -> ctypes.CDLL:
    """Return the compiled library; compile it first (10 to 20 seconds) if `cache_folder` has no matching one.

    `cache_folder` defaults to the user's cache folder. Two processes may do this at once, as each writes its own file
    and renames it. Raises NativeUnavailable.
    """
    folder = cache_folder or Path(platformdirs.user_cache_dir("fewshot", appauthor=False)) / "native"
    compiler = _find_compiler()
    target = folder / f"step-{_make_key(compiler)}.so"
    if not target.exists():
        _compile(compiler, target)
    try:
        return ctypes.CDLL(str(target))
    except OSError as e:
        raise NativeUnavailable(f"The compiled native step {target} can't be loaded: {e}.") from e


def _find_compiler() -> str:
    """Return the first known C++ compiler on the PATH."""
    for name in COMPILERS:
        path = shutil.which(name)
        if path is not None:
            return path
    raise NativeUnavailable(f"No C++ compiler was found on this machine (looked for {', '.join(COMPILERS)}).")


def _make_key(compiler: str) -> str:
    """Return a digest of all that the library depends on: sources, compiler, flags and the CPU."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.iterdir()):
        if path.suffix in (".cpp", ".h"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    digest.update(" ".join([compiler, *_FLAGS, *_processor_flags()]).encode())
    digest.update(_ask([compiler, "--version"]).encode())
    digest.update(_read_processor().encode())
    return digest.hexdigest()[:24]


def _ask(command: list[str]) -> str:
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_QUESTION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise NativeUnavailable(f"The C++ compiler {command[0]} does not run: {e}.") from e
    return answer.stdout + answer.stderr


def _processor_flags() -> Sequence[str]:
    machine = platform.machine().lower()
    if _target == _NATIVE:
        return ["-mcpu=native"] if machine in ("arm64", "aarch64") else ["-march=native"]
    if machine not in ("x86_64", "amd64"):
        raise NativeUnavailable(f"The native step can't be compiled for {_target} on this CPU ({machine}).")
    return _FLAGS_FOR[_target]


def _read_processor() -> str:
    """Return a description of the CPU, as several machines may share one cache folder."""
    described = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return described
    chosen = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return described + "\n".join(sorted(chosen))


def _compile(compiler: str, target: Path) -> None:
    started = time.perf_counter()
    ProgressDisplay().tell("Compiling the native step for this CPU (only once, 10 to 20 seconds) …")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".building-", suffix=".so")
        os.close(handle)
    except OSError as e:
        raise NativeUnavailable(f"The native step can't be saved in {target.parent}: {e.strerror or e}.") from e
    built = Path(name)
    sources = [str(Path(__file__).parent / source) for source in _SOURCES]
    try:
        done = subprocess.run(
            [compiler, *_FLAGS, *_processor_flags(), *sources, "-o", str(built)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMPILE_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise NativeUnavailable(f"The native step does not compile with {compiler}: {_first_error(done.stderr)}")
        built.replace(target)
    except subprocess.TimeoutExpired as e:
        raise NativeUnavailable(f"The C++ compiler {compiler} took more than {_COMPILE_TIMEOUT_S:.0f} s.") from e
    except OSError as e:
        raise NativeUnavailable(f"The C++ compiler {compiler} can't be used: {e.strerror or e}.") from e
    finally:
        built.unlink(missing_ok=True)
    logger.info("Compiled the native step in %.1f s.", time.perf_counter() - started)


def _first_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    chosen = next((line for line in lines if "error" in line), lines[0] if lines else "no reason given")
    return f"{chosen[:200].rstrip('.')}."


_target = _NATIVE
