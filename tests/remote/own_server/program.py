"""`python -m bot serve` in a process of its own, which a test may kill and start again at the same address."""

import asyncio
import random
import re
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bot.remote.choice import PREFIX, RemoteChoice
from tests.platforms.programs import Program

KEY = "a-key-of-the-tests"
_SERVED = re.compile(r"^(.+) is served at (http://\S+)$", re.MULTILINE)
_START_S = 240.0


def find_free_port() -> int:
    """Return a port on which nothing listens, outside the range from which systems take those of connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@dataclass
class ServerProgram:
    """The server of the model in the folder `model`, with its home folder, on one port; `num_kills` counts its ends."""

    home: Path
    model: Path
    port: int = field(default_factory=find_free_port)
    name: str = ""
    num_kills: int = 0
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def said(self) -> str:
        """Return what this run has told its operator."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def environment(self) -> dict[str, str]:
        """Return the settings of a front that uses it."""
        return {
            "MODEL": f"{PREFIX}{self.name}",
            "MODEL_API_BASE": f"http://127.0.0.1:{self.port}/v1",
            "MODEL_API_KEY": KEY,
        }

    @property
    def choice(self) -> RemoteChoice:
        """Return the choice of a front that uses it."""
        settings = self.environment
        return RemoteChoice(settings["MODEL"], settings["MODEL_API_BASE"], self.home, 2048, KEY)

    @property
    def _log(self) -> Path:
        return self.home / f"serve-{self.num_kills}.log"

    def start(self) -> None:
        """Start it, and return at once."""
        self.home.mkdir(exist_ok=True)
        settings = {"SERVE_PORT": str(self.port), "API_KEY": KEY, "DEVICE": "cpu", "KV_CACHE_MB": "64"}
        program = Program(self.home, self.model, settings)
        with self._log.open("wb") as log:
            self._process = program.start(
                "serve", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log.fileno()
            )

    async def is_up(self) -> None:
        """Wait until it serves. Raises AssertionError if it ended instead."""
        async with asyncio.timeout(_START_S):
            while (found := _SERVED.search(self.said)) is None:
                if self._process is None or self._process.poll() is not None:
                    raise AssertionError(f"the server ended: {self.said}")
                await asyncio.sleep(0.02)
        self.name = found[1]

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.num_kills += 1


@asynccontextmanager
async def running_server(home: Path, model: Path) -> AsyncIterator[ServerProgram]:
    """Run a server for a block, which may kill and start it."""
    server = ServerProgram(home, model)
    server.start()
    try:
        await server.is_up()
        yield server
    finally:
        server.kill()
