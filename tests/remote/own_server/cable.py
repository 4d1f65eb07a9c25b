"""A cable between a front and its engine's server, which a test can cut at any byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Cable:
    """Passes bytes on; `base` is the address of its near end.

    While it `is_out`, connections are refused. The answers to calls, one after another, are cut after so many bytes as
    `cuts` say, with a reset or an end of the stream; where `is_silent`, they stop and the connection stays.
    """

    target: str
    base: str = ""
    is_out: bool = False
    is_silent: bool = False
    resets: bool = True
    cuts: list[int] = field(default_factory=list)
    num_cut: int = 0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @classmethod
    @asynccontextmanager
    async def laid(cls, target: str) -> AsyncIterator["Cable"]:
        """Lay a cable to the server at `target` for a block."""
        cable = cls(target)
        listener = await asyncio.start_server(cable._begin, "127.0.0.1", 0)
        cable.base = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
        try:
            yield cable
        finally:
            listener.close()
            for task in cable._tasks:
                task.cancel()
            await asyncio.gather(*cable._tasks, return_exceptions=True)
            for writer in cable._writers:
                writer.transport.abort()
            await listener.wait_closed()
            await asyncio.sleep(0)  # the aborted ones are closed

    def lose(self) -> None:
        """Break every connection, and refuse new ones."""
        self.is_out = True
        for writer in self._writers:
            writer.transport.abort()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._writers.discard(writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_out:
            writer.transport.abort()
            return
        there = urlsplit(self.target)
        try:
            far_reader, far_writer = await asyncio.open_connection(there.hostname, there.port)
        except OSError:
            writer.transport.abort()
            return
        limit: list[int] = []  # how many bytes of the answer may still come back

        async def ask() -> None:
            while data := await reader.read(65536):
                if data.startswith(b"POST") and self.cuts:
                    limit[:] = [self.cuts.pop(0)]
                far_writer.write(data)

        async def answer() -> None:
            while data := await far_reader.read(65536):
                if not limit:
                    writer.write(data)
                    continue
                writer.write(data[: limit[0]])
                limit[0] -= len(data)
                if limit[0] <= 0:
                    self.num_cut += 1
                    if self.is_silent:
                        await asyncio.Event().wait()
                    await writer.drain()
                    return

        both = [asyncio.create_task(ask()), asyncio.create_task(answer())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            far_writer.transport.abort()
            if self.resets:
                writer.transport.abort()
            else:
                writer.close()
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
