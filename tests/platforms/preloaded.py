"""Programs that start at once: a process that has imported the libraries forks `python -m bot` for the tests.

Importing torch and transformers is nearly all of a start, and the tests start the bot a hundred times. All else is as
in a program of its own: its process, environment, folder, standard streams, signals and end.
"""

import atexit
import fcntl
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).resolve().parents[2]
_MAX_BYTES: Final = 1 << 20
# What has no settings of its own: `bot.settings` and what reads it are imported by each program.
_IMPORTED: Final = (
    "bot.commands.bot",
    "bot.engine.language_model",
    "bot.engine.engine",
    "bot.platforms.discord.client",
    "bot.platforms.discord.running",
    "bot.platforms.slack.running",
    "bot.platforms.terminal.interactive",
    "bot.platforms.web.running",
    # What opening a model imports first then.
    "bot.engine.footprint",
    "bot.engine.models.catalog",
    "bot.engine.step_loop",
    "bot.platforms.terminal.piped",
    "bot.remote.engine",
    "bot.remote.own_server.served_engine",
    "bot.serving.running",
    "dotenv",
    "transformers.activations",
    "transformers.models.gpt2.configuration_gpt2",
    "transformers.models.llama.configuration_llama",
    "transformers.tokenization_utils_tokenizers",
)


class Preloaded(subprocess.Popen[bytes]):
    """A program as `subprocess.Popen` starts it, forked from the process that has imported the libraries."""

    def _execute_child(self, args: Any, _executable: Any, _preexec_fn: Any, *options: Any) -> None:
        _, _, cwd, env, _, _, _, *pipes = options
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = pipes[:6]
        ends, told = os.pipe()
        streams = [p2cread, c2pwrite, errwrite]
        passed = [own if stream == -1 else stream for own, stream in enumerate(streams)]
        request = {"arguments": args, "cwd": str(cwd), "env": dict(env)}
        with _turn:
            server = _server()
            socket.send_fds(server, [json.dumps(request).encode()], [*passed, told])
            self.pid = int(server.recv(64))
        os.close(told)
        self._ends = ends
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

    def _internal_poll(self, _deadstate: object = None, **_: Any) -> int | None:
        if self.returncode is None and select.select([self._ends], [], [], 0)[0]:
            self._note_end()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            if not select.select([self._ends], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._note_end()
        return self.returncode

    def _note_end(self) -> None:
        """Take the exit status; a second reader, in another thread, may have done so."""
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None:
                told = os.read(self._ends, 4)
                # Nothing is told where the forking process was killed with its programs.
                self.returncode = os.waitstatus_to_exitcode(array("i", told)[0]) if told else -signal.SIGKILL
                os.close(self._ends)


@dataclass(frozen=True, slots=True)
class _Shared:
    """One forking process for all that are forked from this one: the first that needs it starts it.

    `has_started` is a file that says so. It ends with the last of them, as `heard` tells it.
    """

    listener: socket.socket
    heard: int
    has_started: int

    def connect(self) -> socket.socket:
        fcntl.lockf(self.has_started, fcntl.LOCK_EX)
        try:
            if not os.fstat(self.has_started).st_size:
                _start(self.listener, self.heard)
                os.write(self.has_started, b"started")
        finally:
            fcntl.lockf(self.has_started, fcntl.LOCK_UN)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(self.listener.getsockname())
        return connection


_shared: _Shared | None = None
_started: "list[subprocess.Popen[bytes]]" = []
_turn = threading.Lock()  # tests start programs in several threads


@contextmanager
def sharing_forking_process(folder: Path) -> Iterator[None]:
    """Let all processes forked from this one within the block have their programs from one; `folder` is new."""
    global _shared  # noqa: PLW0603
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / "preloaded"))
        listener.listen(64)
        heard, held = os.pipe()  # the other end is open as long as one of the processes is there
        has_started = os.open(folder / "preloaded-started", os.O_CREAT | os.O_RDWR)
        _shared = _Shared(listener, heard, has_started)
        try:
            yield
        finally:
            _shared = None
            for fd in (heard, held, has_started):
                os.close(fd)


@cache
def _server() -> socket.socket:
    """Return the connection to the forking process; without a shared one to this process's, which ends with it."""
    if _shared is not None:
        return _shared.connect()
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"{folder}/preloaded")
        listener.listen(1)
        heard, lifeline = os.pipe()
        started = _start(listener, heard)
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.connect(listener.getsockname())
    os.close(heard)

    def end() -> None:
        ours.close()
        os.close(lifeline)
        started.wait()

    atexit.register(end)
    return ours


def _start(listener: socket.socket, heard: int) -> "subprocess.Popen[bytes]":
    """Start a forking process, which ends when nobody holds the other end of `heard` any more."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    fds = (listener.fileno(), heard)
    command = [sys.executable, "-m", "tests.platforms.preloaded", *map(str, fds)]
    nothing = subprocess.DEVNULL
    started = subprocess.Popen(command, pass_fds=fds, env=environment, cwd=PROJECT, stdin=nothing, stdout=nothing)
    _started.append(started)
    return started


def _serve(listener: socket.socket, heard: int) -> dict[str, Any] | None:
    """Fork for every request; return it in the new process, and None in this one when nobody asks any more."""
    running: dict[int, int] = {}  # the end of the pipe that tells the exit status, by process
    connections: list[socket.socket] = []
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    while True:
        watched: list[Any] = [listener, heard, reader, *connections]
        ready = select.select(watched, [], [])[0]
        if reader in ready:
            os.read(reader, 4096)
            _reap(running)
        if heard in ready:
            return None
        if listener in ready:
            connections.append(listener.accept()[0])
        for connection in [one for one in connections if one in ready]:
            data, fds, _, _ = socket.recv_fds(connection, _MAX_BYTES, 4)
            if not data:
                connections.remove(connection)
                connection.close()
                continue
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                sockets = [one.detach() for one in (listener, *connections)]
                for fd in (reader, writer, heard, *sockets, *running.values()):
                    os.close(fd)
                for own, fd in enumerate(fds[:3]):
                    os.dup2(fd, own)
                for fd in fds:
                    os.close(fd)
                return dict(json.loads(data))
            for fd in fds[:3]:
                os.close(fd)
            running[pid] = fds[3]
            connection.send(str(pid).encode())


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        told = running.pop(pid)
        os.write(told, array("i", [status]).tobytes())
        os.close(told)


def _become(request: dict[str, Any]) -> None:
    """Be the program that was asked for: `python -m bot` with its arguments."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    _, _, module, *arguments = request["arguments"]  # python -m bot …
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _import_all() -> None:
    for name in _IMPORTED:
        __import__(name)
    forbidden = [name for name in sys.modules if name.startswith(("bot.settings", "bot.program", "bot.__main__"))]
    if forbidden:
        raise RuntimeError(f"These read the settings of the program, so they must not be imported before: {forbidden}")
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _import_all()
    asked = _serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
    if asked is not None:
        _become(asked)
