"""The native step is compiled once, found again, and refused with one sentence where it is not available."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bot.engine.networks.native import building
from bot.engine.networks.native.building import COMPILERS, NativeUnavailable, compile_for, compile_target, load_library


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


def test_a_run_for_another_processor_is_one() -> None:
    asked = os.environ.get("ATEN_CPU_CAPABILITY")
    assert not asked or torch.backends.cpu.get_cpu_capability() == asked.upper()
    asked = os.environ.get("COMPILE_FOR")
    assert not asked or compile_target() == asked
    if asked:
        load_library()  # without it other tests would be skipped


def test_each_target_has_a_library_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_target", compile_target())  # what it is now comes back in the end
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    script = 'for last; do :; done; case "$1" in --version) ;; *) echo "$*" > "$last";; esac'
    put_compiler(tmp_path / "bin", script, monkeypatch)
    commands = []
    for target in ("native", "avx2"):
        compile_for(target)
        with pytest.raises(NativeUnavailable, match="can't be loaded"):
            load_library(tmp_path / target)
        [built] = (tmp_path / target).iterdir()
        commands.append((built.name, built.read_text()))
    (native, for_native), (avx2, for_avx2) = commands
    assert native != avx2
    assert "-march=native" in for_native
    assert "-mavx2" in for_avx2
    assert "-march=native" not in for_avx2


def test_a_target_of_another_make_of_processor_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_compiler()
    monkeypatch.setattr(building, "_target", "avx2")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(NativeUnavailable, match=r"^The native step can't be compiled for avx2 on this CPU"):
        load_library(tmp_path)
    with pytest.raises(ValueError, match="has no target"):
        compile_for("avx3")


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
    with pytest.raises(NativeUnavailable, match="can't be saved"):
        load_library(tmp_path / "cache" / "native")


def test_two_processes_may_build_at_once(tmp_path: Path, library_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each waits for the other, and then writes what took the compiler ten seconds.
    compiler, path, (built,) = find_compiler(), os.environ["PATH"], library_folder.glob("*.so")
    both_are_here = f"echo >> {tmp_path}/here; while [ $(wc -l < {tmp_path}/here) -lt 2 ]; do sleep 0.05; done"
    writes = f'for last; do :; done; {both_are_here}; cp {built} "$last"'
    script = f'case "$1" in --version) exec {compiler} "$@";; *) {writes};; esac'
    put_compiler(tmp_path / "bin", script, monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{path}")
    program = (
        "import sys, pathlib; from bot.engine.networks.native.building import load_library;"
        "load_library(pathlib.Path(sys.argv[1])).native_destroy(None)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cache")]
    both = [subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path.cwd())}) for _ in range(2)]
    assert [process.wait(timeout=240) for process in both] == [0, 0]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_without_memory_the_samplers_buffers_stay_as_they_were_and_a_later_try_makes_all_of_them(
    tmp_path: Path,
) -> None:
    sources = Path(building.__file__).parent
    program = tmp_path / "allocation_failures"
    subprocess.run(
        [
            find_compiler(),
            "-O0",
            "-std=c++20",
            *building._processor_flags(),
            "-pthread",
            f"-I{sources}",
            str(Path(__file__).with_name("allocation_failures.cpp")),
            str(sources / "choosing.cpp"),
            "-o",
            str(program),
        ],
        check=True,
    )
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "10 allocations\n")
