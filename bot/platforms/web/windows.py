"""The open windows of the page: who speaks in each, which channel it shows, and what is on its way to it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from bot.core.messages import Scope
from bot.services.hosted_places import HostedPerson

# A window that does not read for so many frames is closed: it reconnects and reads the channel as it is then.
_MAX_FRAMES: Final = 2_000
_MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
# A long row of frames goes on when the browser has taken most of those before.
_MAX_STREAMED: Final = 100


class Window:
    """One connection of a browser. Frames are sent in the order in which they were put."""

    def __init__(self, person: HostedPerson) -> None:
        self.person = person
        self.scopes: frozenset[Scope] = frozenset()
        self._frames: asyncio.Queue[str | None] = asyncio.Queue()
        self._num_bytes = 0
        self._has_room = asyncio.Event()
        self.is_closed = False

    def put(self, frame: dict[str, Any]) -> None:
        """Send a frame as soon as the browser takes it."""
        self.put_text(json.dumps(frame, ensure_ascii=False))

    def put_text(self, text: str) -> None:
        """Send a frame that is JSON already."""
        if self.is_closed:
            return
        self._num_bytes += len(text)
        if self._frames.qsize() >= _MAX_FRAMES or self._num_bytes > _MAX_WAITING_BYTES:
            self.close()
            return
        self._frames.put_nowait(text)

    def tell_loading(self, asked: int, sentence: str) -> None:
        """Tell what is loaded before the frame with the number `asked` can be answered."""
        self.put({"op": "loading", "asked": asked, "sentence": sentence})

    async def put_soon(self, frame: dict[str, Any]) -> None:
        """Send a frame of a long row when the browser has taken most of those before, so that it can keep up."""
        while self._frames.qsize() >= _MAX_STREAMED and not self.is_closed:
            self._has_room.clear()
            await self._has_room.wait()
        self.put(frame)

    def close(self) -> None:
        """End the connection; what is on its way is dropped."""
        self.is_closed = True
        self._has_room.set()
        while not self._frames.empty():
            self._frames.get_nowait()
        self._frames.put_nowait(None)

    async def next_frame(self) -> str | None:
        """Return the next frame, None when the window is to be closed."""
        text = await self._frames.get()
        self._has_room.set()
        if text is not None:
            self._num_bytes -= len(text)
        return text


class Windows:
    """All open windows."""

    def __init__(self) -> None:
        self._windows: set[Window] = set()

    def __iter__(self) -> Iterator[Window]:
        return iter(tuple(self._windows))

    def __len__(self) -> int:
        return len(self._windows)

    def __contains__(self, window: object) -> bool:
        return window in self._windows

    def add(self, window: Window) -> None:
        """Note an opened window."""
        self._windows.add(window)

    def remove(self, window: Window) -> None:
        """Note that a window is closed."""
        self._windows.discard(window)

    def broadcast(self, frame: dict[str, Any], *, where: Callable[[Window], bool] = lambda _: True) -> None:
        """Send a frame to all windows of which `where` holds."""
        text = ""
        for window in self:
            if where(window):
                text = text or json.dumps(frame, ensure_ascii=False)
                window.put_text(text)
