"""An operator of `python -m bot discord`: starts it, reads its output, and ends it in different ways."""

import asyncio
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.bots import write_prompts
from tests.platforms.programs import Program
from tests.servers.discord import Discord

START_S = 240.0
_CHAT = (
    '+++\ndescription = "{0}."\nkind = "chat"\n[sampling]\ntemperature = 0\nmax_new_tokens = {1}\n+++\n'
    "$history\n$bot_name:\n"
)
# An answer that is there at once, and one that takes long enough to be seen while it is written.
PROMPTS = {"chat": _CHAT.format("Short", 6), "saga": _CHAT.format("Long", 512)}


@dataclass(slots=True)
class Run:
    """One run of the program. `out` and `err` are its output so far."""

    process: "subprocess.Popen[bytes]"
    out: str = ""
    err: str = ""
    _readers: list[threading.Thread] = field(default_factory=list)

    def listen(self) -> None:
        for name in ("out", "err"):
            stream = getattr(self.process, f"std{name}")
            reader = threading.Thread(target=self._read, args=(stream, name), daemon=True)
            reader.start()
            self._readers.append(reader)

    def _read(self, stream: IO[bytes], name: str) -> None:
        for line in stream:
            setattr(self, name, getattr(self, name) + line.decode())

    async def says(self, words: str, timeout: float = START_S) -> None:
        """Wait until it has printed `words` for the operator."""
        end = time.monotonic() + timeout
        while words not in self.err:
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"{words!r} was not said, but {self.err!r}")
            await asyncio.sleep(0.02)

    async def ended(self, timeout: float = START_S) -> int:
        """Wait until it has ended by itself, and return its exit status."""
        end = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise AssertionError(f"the program goes on after {timeout:g} s; it said {self.err!r}")
            await asyncio.sleep(0.02)
        for reader in self._readers:
            await asyncio.to_thread(reader.join)
        return self.process.returncode

    async def end(self, number: signal.Signals = signal.SIGTERM, timeout: float = 25.0) -> "Ended":
        """Send a signal and wait for the end."""
        began = time.monotonic()
        self.process.send_signal(number)
        return Ended(await self.ended(timeout), time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit status, and the seconds from the signal on."""

    status: int
    after_s: float


@dataclass(frozen=True, slots=True)
class Operator:
    """Runs the bot at `home` with `model`; all runs share its database."""

    home: Path
    model: Path

    def program(self, environment: dict[str, str]) -> Program:
        """Return how to start the bot with that environment."""
        self.home.mkdir(exist_ok=True)
        prompts = write_prompts(self.home / "prompts", PROMPTS)
        return Program(self.home, self.model, {"PROMPTS_DIR": str(prompts), "PRECISION": "float32", **environment})

    @asynccontextmanager
    async def run(self, environment: dict[str, str], *arguments: str) -> AsyncIterator[Run]:
        """Start the program; it is killed at the end of the block if it goes on until then."""
        program = self.program(environment)
        process = program.start("discord", *arguments)
        run = Run(process)
        run.listen()
        try:
            yield run
        finally:
            process.kill()
            await run.ended()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    @asynccontextmanager
    async def online(self, discord: Discord, *arguments: str, **environment: str) -> AsyncIterator[Run]:
        """Start the program on the stand-in and wait until it is there."""
        async with self.run({**discord.environment, **environment}, *arguments) as run:
            await run.says("is on Discord")
            yield run
