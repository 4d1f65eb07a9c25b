"""The native step is compiled once, found again, and refused in one sentence where it can't be had."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bot.engine.networks.native.building import COMPILERS, NativeUnavailable, load_library


def find_compiler() -> str:
    """Return a real compiler's path, or skip."""
    found = next((path for path in map(shutil.which, COMPILERS) if path), None)
    if found is None:
        pytest.skip("No C++ compiler on this machine.")
    return found


def put_compiler(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `script` the only compiler on the path."""
    folder.mkdir()
    program = folder / "c++"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_library_that_was_built_before_is_not_built_again(library_folder: Path) -> None:
    (built,) = library_folder.glob("*.so")
    before = built.stat().st_mtime_ns
    load_library(library_folder)
    assert [path.name for path in library_folder.iterdir()] == [built.name]
    assert built.stat().st_mtime_ns == before


def test_without_a_compiler_the_native_step_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NativeUnavailable, match=r"^No C\+\+ compiler was found on this machine \(looked for c\+\+, "):
        load_library(tmp_path / "cache")


def test_a_compiler_that_fails_is_quoted_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'case "$1" in --version) echo broken;; *) echo "cc1plus: fatal error: disk on fire" >&2; exit 1;; esac'
    put_compiler(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(NativeUnavailable, match=r"does not compile with .*: cc1plus: fatal error: disk on fire\.$"):
        load_library(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_library_that_can_not_be_loaded_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'for last; do :; done; case "$last" in --version) ;; *) echo "no library" > "$last";; esac'
    put_compiler(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(NativeUnavailable, match="can't be loaded"):
        load_library(tmp_path / "cache")


def test_a_folder_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    find_compiler()
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(NativeUnavailable, match="can't be stored"):
        load_library(tmp_path / "cache" / "native")


def test_two_processes_may_build_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, path = find_compiler(), os.environ["PATH"]
    put_compiler(tmp_path / "bin", f'exec {compiler} "$@" -O0', monkeypatch)  # half the time
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{path}")
    program = (
        "import sys, pathlib; from bot.engine.networks.native.building import load_library;"
        "load_library(pathlib.Path(sys.argv[1])).native_destroy(None)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cache")]
    both = [subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path.cwd())}) for _ in range(2)]
    assert [process.wait(timeout=240) for process in both] == [0, 0]
    assert len(list((tmp_path / "cache").iterdir())) == 1
