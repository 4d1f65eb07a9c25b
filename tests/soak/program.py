"""The bot as people run it: `python -m bot discord`, `slack` or `web` in a process of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

START_S = 180.0
END_S = 30.0
_ROOT = Path(__file__).resolve().parent.parent.parent


class Program:
    """One run of the bot on `platform`; `said` is what it has told its operator, of which `tell` gets each line."""

    def __init__(self, process: asyncio.subprocess.Process, platform: str, tell: Callable[[str], None]) -> None:
        self.process = process
        self.said = ""
        self._sign = "The page is at " if platform == "web" else f"is on {platform.capitalize()}"
        self._tell = tell
        self._listening = asyncio.create_task(self._listen())

    async def is_there(self) -> None:
        """Wait until it says that it is on the platform. Raises AssertionError where it ended instead."""
        async with asyncio.timeout(START_S):
            while self._sign not in self.said:
                if self._listening.done():
                    raise AssertionError(f"the bot ended with {self.process.returncode}: {self.said}")
                await asyncio.sleep(0.05)

    async def end(self, number: signal.Signals) -> int:
        """Send it a signal and return the exit status; a process that does not end is killed, with status -9."""
        if self.process.returncode is None:
            self.process.send_signal(number)
            try:
                await asyncio.wait_for(self.process.wait(), END_S)
            except TimeoutError:
                self.process.kill()
        await self._listening
        return await self.process.wait()

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said += line.decode()
            self._tell(line.decode().rstrip())


async def start_program(
    platform: str, environment: Mapping[str, str], *arguments: str, tell: Callable[[str], None] = lambda _: None
) -> Program:
    """Start the bot with `environment`, which names the stand-in; `arguments` follow `python -m bot discord`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        platform,
        *arguments,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    return Program(process, platform, tell)


@asynccontextmanager
async def running_program(
    platform: str, environment: Mapping[str, str], *arguments: str, tell: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Program]:
    """Run the bot while the block runs."""
    program = await start_program(platform, environment, *arguments, tell=tell)
    try:
        await program.is_there()
        yield program
    finally:
        await program.end(signal.SIGTERM)
