"""The bot as a separate program: `python -m bot` in a subprocess, with a home folder and a model of the test."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from bot.engine.networks.native.building import NativeUnavailable, load_library
from tests.platforms.preloaded import Preloaded

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Program:
    """How to start the bot: its home folder, its model, and further environment.

    One that `is_preloaded` starts with the libraries imported, which is quicker (see `preloaded`).
    """

    home: Path
    model: Path
    environment: dict[str, str] = field(default_factory=dict)
    is_preloaded: bool = hasattr(os, "fork")

    @property
    def database(self) -> Path:
        """Return the database file."""
        return self.home / "fewshot.db"

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start `python -m bot` with `arguments`; the caller ends it."""
        share_compiled_step(self.home)
        environment = {
            **os.environ,
            "HOME": str(self.home),
            "MODEL": str(self.model),
            "DATABASE": str(self.database),
            "NUM_THREADS": "1",
            "PYTHONPATH": str(PROJECT),
            **self.environment,
        }
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        start = Preloaded if self.is_preloaded and "preexec_fn" not in options else subprocess.Popen
        return start([sys.executable, "-m", "bot", *arguments], env=environment, cwd=self.home, **{**pipes, **options})

    def run(self, *arguments: str, typed: bytes = b"") -> "Finished":
        """Run `python -m bot` with `arguments` and standard input `typed` to its end."""
        with self.start(*arguments) as process:
            try:
                out, err = process.communicate(typed, timeout=240)
            except BaseException:
                process.kill()
                raise
        return Finished(process.returncode, out.decode(), err.decode())

    def ask(self, *lines: str) -> list[dict[str, Any]]:
        """Return the JSON objects that answer `lines`, one each."""
        finished = self.run("terminal", "--json", typed="".join(f"{line}\n" for line in lines).encode())
        if finished.status:
            raise AssertionError(finished.err)
        return finished.objects


def share_compiled_step(home: Path) -> None:
    """Let programs at `home` find the native step as the tester's own account has it: compiling takes 10 seconds."""
    folder = Path(platformdirs.user_cache_dir("fewshot", appauthor=False)) / "native"
    if not folder.is_relative_to(Path.home()):
        return  # named by the environment, which the programs have, too
    link = home / folder.relative_to(Path.home())
    if link.is_symlink():
        return
    try:
        load_library()
    except NativeUnavailable:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(folder, target_is_directory=True)


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Return each line of standard output as a JSON object."""
        return [json.loads(line) for line in self.out.splitlines()]
