"""Tests in several processes, `--processes N`: forked from the one that has collected them, so each begins at once.

A process takes a file's tests at a time, in the order of the collection. What it reports is shown and counted here, as
if all had run in this process.
"""

import contextlib
import gc
import os
import random
import signal
import time
import traceback
from collections import deque
from dataclasses import dataclass
from itertools import groupby
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from _pytest.terminal import TerminalReporter

from bot.engine.processors import count_processors
from tests.platforms.preloaded import sharing_forking_process

_PER_PROCESSOR: Final = 3  # most tests wait most of the time
_MOST: Final = 8
_PATIENCE_S: Final = 10.0

# The tests from one index of the session's items to another one.
Tests = range


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--processes",
        type=_num_processes,
        default=1,
        metavar="N",
        help="Run the files of tests in N processes at a time; auto: three for each processor.",
    )


def _num_processes(typed: str) -> int:
    return min(_PER_PROCESSOR * count_processors(), _MOST) if typed == "auto" else int(typed)


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Give each process one thread: more only spin while they wait for one another.

    Before the import of torch, which reads it once; the programs that tests start have it, too.
    """
    if early_config.known_args_namespace.processes > 1:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Any:
    """Collect no garbage meanwhile: there is next to none, and each look at all imported objects takes a while."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in processes, if there are to be several."""
    num, options = session.config.getoption("processes"), session.config.option
    is_other = session.testsfailed or options.collectonly or options.usepdb
    if num < 2 or is_other or not session.items or not hasattr(os, "fork"):
        return None
    _Run(session, num).run()
    return True


@dataclass(eq=False)
class _Process:
    """A process, the tests that it was given and has not ended, and whether it ended as it should."""

    pid: int
    connection: Connection
    tests: Tests = range(0)
    is_done: bool = False


class _Run:
    """The processes of a session, and the files that none of them has begun."""

    def __init__(self, session: pytest.Session, num: int) -> None:
        self._session = session
        self._config = session.config
        self._files: deque[Tests] = deque()
        for _, file in groupby(range(len(session.items)), key=lambda at: session.items[at].path):
            first, *others = file
            self._files.append(range(first, first + 1 + len(others)))
        self._num = min(num, len(self._files))
        self._processes: set[_Process] = set()
        # Made before the others, so that all have their folders in the same one.
        self._folders = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        self._num_started = 0

    def run(self) -> None:
        """Run all tests. Raises as pytest's own loop does when a failure is to end them."""
        with sharing_forking_process(self._folders):
            try:
                for _ in range(self._num):
                    self._start()
                while self._processes:
                    ready = wait([process.connection for process in self._processes])
                    for process in [process for process in self._processes if process.connection in ready]:
                        self._listen(process)
            finally:
                self._end_all()
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def _end_all(self) -> None:
        """End those that still run something: nobody hears them any more, so that they stop with what they do."""
        for process in self._processes:
            process.connection.close()
        end = time.monotonic() + _PATIENCE_S
        for process in self._processes:
            while os.waitpid(process.pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > end:
                    os.kill(process.pid, signal.SIGKILL)
                time.sleep(0.02)

    @property
    def _is_to_stop(self) -> bool:
        return bool(self._session.shouldfail or self._session.shouldstop)

    def _start(self) -> None:
        ours, theirs = Pipe()
        self._num_started += 1
        pid = os.fork()
        if pid == 0:
            ours.close()
            for other in self._processes:
                other.connection.close()
            _be_process(self._session, theirs, self._folders / f"process{self._num_started}")
        theirs.close()
        self._processes.add(_Process(pid, ours))

    def _listen(self, process: _Process) -> None:
        heard = None
        with contextlib.suppress(EOFError, OSError):
            heard = process.connection.recv()
        if heard is None:
            self._end(process)
            return
        hook, (what, said) = self._config.hook, heard
        if what == "next":
            process.tests = self._files.popleft() if self._files and not self._is_to_stop else range(0)
            process.is_done = not process.tests
            with contextlib.suppress(OSError):
                process.connection.send(process.tests)
        elif what == "report":
            hook.pytest_runtest_logreport(report=hook.pytest_report_from_serializable(config=self._config, data=said))
        elif what == "ends":
            item = self._session.items[said]
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            process.tests = range(said + 1, process.tests.stop)
        elif what == "failed":
            self._fail(self._session.items[process.tests.start if process.tests else 0], said)

    def _end(self, process: _Process) -> None:
        """Note the end of a process: of one that ended within a test, another one goes on after that."""
        self._processes.discard(process)
        process.connection.close()
        _, status = os.waitpid(process.pid, 0)
        if process.is_done and status == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        at = process.tests.start if process.tests else 0
        self._fail(self._session.items[at], f"The process that ran this test ended with {code}.")
        if len(process.tests) > 1:
            self._files.appendleft(range(at + 1, process.tests.stop))
        if self._files and not self._is_to_stop:
            self._start()

    def _fail(self, item: pytest.Item, words: str) -> None:
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", words, "call")
        self._config.hook.pytest_runtest_logreport(report=report)


class _Teller:
    """Tells the process that collected the tests what happens to them."""

    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self._config = config
        self._connection = connection

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Hand a report on."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self.tell("report", data)

    def tell(self, what: str, said: Any = None) -> None:
        self._connection.send((what, said))


def _be_process(session: pytest.Session, connection: Connection, folder: Path) -> NoReturn:
    """Run what this process is given, until there is no more, and end it."""
    status = 1
    try:
        random.seed()
        folder.mkdir(mode=0o700)
        teller = _set_apart(session, connection, folder)
        try:
            _run_given(session, connection, teller)
            session._setupstate.teardown_exact(None)
            gc.collect()  # what nobody closed warns of that
            status = 0
        except BaseException:
            with contextlib.suppress(OSError):
                teller.tell("failed", traceback.format_exc())
            with contextlib.suppress(Exception):
                session._setupstate.teardown_exact(None)  # programs and browsers that it has started end with it
    finally:
        os._exit(status)


def _set_apart(session: pytest.Session, connection: Connection, folder: Path) -> _Teller:
    """Give pytest in this process a temporary folder, files for what tests print, and reports of its own."""
    config, plugins = session.config, session.config.pluginmanager
    config._tmp_path_factory._basetemp = folder  # type: ignore[attr-defined]
    capturing: Any = plugins.getplugin("capturemanager")
    if config.getoption("capture") != "no":
        capturing.stop_global_capturing()
        capturing.start_global_capturing()
        capturing.suspend_global_capture()
    plugins.unregister(name="terminalreporter")
    reporter = TerminalReporter(config, Path(os.devnull).open("w"))  # noqa: SIM115 - open to the end of the process
    reporter._session = session
    plugins.register(reporter, "terminalreporter")
    teller = _Teller(config, connection)
    plugins.register(teller)
    return teller


def _run_given(session: pytest.Session, connection: Connection, teller: _Teller) -> None:
    items = session.items
    while True:
        teller.tell("next")
        tests = connection.recv()
        if not tests:
            return
        for at in tests:
            # With a file all ends but what is the session's; which one comes then is not known yet.
            following = items[at + 1] if at + 1 < tests.stop else session
            session.config.hook.pytest_runtest_protocol(item=items[at], nextitem=following)
            teller.tell("ends", at)
