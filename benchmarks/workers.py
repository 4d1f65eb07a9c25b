"""Each engine in a process of its own, so that memory, imports and threads of one never touch another."""

import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final

_CONTEXT: Final = multiprocessing.get_context("spawn")
_MAX_CALL_S: Final = 1200.0


class WorkerError(Exception):
    """An engine's process failed; the message is for the reader of the run."""


class Progress:
    """Say on stderr what is being measured: one line that changes on a terminal, a line each elsewhere."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._is_terminal = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Show `text` as what runs now."""
        elapsed = time.perf_counter() - self._started
        line = f"[{int(elapsed) // 60}:{int(elapsed) % 60:02}] {text}"
        sys.stderr.write(f"\r\x1b[K{line}" if self._is_terminal else f"{line}\n")
        sys.stderr.flush()

    def note(self, text: str) -> None:
        """Show `text` and keep it."""
        self.show(text)
        if self._is_terminal:
            sys.stderr.write("\n")


class Worker:
    """An object that lives in another process; `call` runs one of its methods there. Close it, or use `with`."""

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        self._connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, make, arguments), daemon=False)
        self._process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        """Wait for the object to be made. Raises WorkerError with the reason why it could not be."""
        self._receive()

    def call(self, method: str, *arguments: Any) -> Any:
        """Run `method` there and return its result. Raises WorkerError."""
        try:
            self._connection.send((method, arguments))
        except OSError as e:
            raise WorkerError(f"the process of the engine is gone: {e}") from e
        return self._receive()

    def close(self) -> None:
        """End the process."""
        self._connection.close()  # it ends by itself when nobody listens
        self._process.join(30)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self) -> Any:
        if not self._connection.poll(_MAX_CALL_S):
            raise WorkerError(f"no answer within {_MAX_CALL_S:.0f} s")
        try:
            is_good, result = self._connection.recv()
        except (EOFError, OSError) as e:
            raise WorkerError("the process ended") from e
        if not is_good:
            raise WorkerError(result)
        return result


def run_apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run `function` in a fresh process and return its result. Raises WorkerError."""
    with Worker(_Call, function) as worker:
        worker.wait_until_ready()
        return worker.call("run", *arguments)


class _Call:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.run = function


def _serve(connection: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Make the object, then run its methods until nobody calls any more."""
    try:
        made = make(*arguments)
    except (Exception, SystemExit) as e:
        connection.send((False, _reason(e)))
        return
    connection.send((True, None))
    try:
        while True:
            method, given = connection.recv()
            try:
                connection.send((True, getattr(made, method)(*given)))
            except Exception as e:
                connection.send((False, _reason(e)))
    except (EOFError, OSError):
        pass
    finally:
        close = getattr(made, "close", None)
        if close is not None:
            close()


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit | ImportError):
        return str(error)
    return "".join(traceback.format_exception(error)).strip()
