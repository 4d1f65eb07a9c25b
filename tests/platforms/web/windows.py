"""A browser's window without a browser: its cookie, its socket, and what it shows."""

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

Json = dict[str, Any]


class Refused(Exception):
    """The page answered with a sentence."""


class BrowserWindow:
    """One window: it keeps messages by id as the page's front end does, the newest revision of each."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.messages: dict[str, Json] = {}
        self.removed: list[str] = []
        self.private: dict[str, Json] = {}
        self.forms: list[Json] = []
        self.welcome: Json = {}
        self.channel = ""
        self.frames: list[Json] = []
        self.close_code: int | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._changed = asyncio.Event()

    async def ask(self, op: str, **fields: Any) -> Json:
        """Send a request and return its result. Raises Refused with the sentence."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_str(json.dumps({"op": op, "n": number, **fields}))
        async with asyncio.timeout(20):
            result = await answer
        del self._answers[number]
        if result["op"] == "error":
            raise Refused(result["sentence"])
        return result

    async def say(self, text: str, **fields: Any) -> str:
        """Say something in the open channel and return its id."""
        where = {"channel": self.channel, "nonce": uuid.uuid4().hex}
        return str((await self.ask("say", text=text, **{**where, **fields}))["id"])

    async def open(self, channel: str, thread: str = "", **fields: Any) -> Json:
        """Show a channel."""
        page = await self.ask("open", channel=channel, thread=thread, **fields)
        self.channel = channel
        for message in page["messages"]:
            self.take(message)
        return page

    async def click(self, message: Json, label: str, **fields: Any) -> None:
        """Press the button with a label."""
        await self.click_card(message["card"], label, message=message["id"], **fields)

    async def click_card(self, card: Json, label: str, *, message: str = "", **fields: Any) -> None:
        """Press a button of a card; one that only this person sees is no message."""
        (button,) = [one for one in card["buttons"] if one["label"] == label]
        pressed = {"card": card["card_id"], "revision": card["card_revision"], "action": button["action"]}
        await self.ask("click", channel=self.channel, message=message, **pressed, **fields)

    async def until(self, is_so: Callable[[], Any], what: str, timeout_s: float = 30) -> Any:
        """Wait until something is shown, and return it."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (found := is_so()):
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            closed = "" if self.close_code is None else f" (closed: {self.close_code})"
            raise AssertionError(f"never saw {what}{closed}; shown: {list(self.messages.values())[-3:]}") from None

    async def answer_to(self, message_id: str) -> Json:
        """Wait for the whole answer to a message, and return the message that shows it."""

        def whole() -> Json | None:
            found = [one for one in self.messages.values() if one["asked"] == message_id]
            return found[-1] if found and found[-1]["card"]["is_final"] else None

        return dict(await self.until(whole, f"the answer to {message_id}"))

    async def private_card(self, num_before: int = 0) -> Json:
        """Wait for a whole card that only this person sees, after the first `num_before`."""
        cards = self.private
        return dict(
            await self.until(
                lambda: len(cards) > num_before and list(cards.values())[-1]["is_final"] and list(cards.values())[-1],
                "a private card",
            )
        )

    def take(self, message: Json) -> None:
        """Merge a message as the front end does."""
        known = self.messages.get(message["id"])
        if known is None or known["revision"] <= message["revision"]:
            self.messages[message["id"]] = message

    async def listen(self) -> None:
        """Take frames until the socket is closed."""
        async for frame in self.socket:
            taken = json.loads(frame.data)
            self._take(taken)
            self._changed.set()
        self.close_code = self.socket.close_code
        self._changed.set()

    def _take(self, frame: Json) -> None:
        self.frames.append(frame)
        match frame["op"]:
            case "ok" | "error":
                if frame["n"] in self._answers:
                    self._answers[frame["n"]].set_result(frame)
            case "message":
                self.take(frame["message"])
            case "removed":
                self.removed.append(frame["id"])
                self.messages.pop(frame["id"], None)
            case "private":
                self.private.pop(frame["key"], None)
                self.private[frame["key"]] = {**frame["card"], "key": frame["key"]}
            case "form":
                self.forms.append(frame)
            case "places":
                self.welcome["servers"] = frame["servers"]
            case "people":
                self.welcome["people"] = frame["people"]


def texts_of(card: Json) -> str:
    """Return the words of a card."""
    return card["error"] or "\n".join(str(one.get("text") or one.get("items") or one) for one in card["blocks"])


@asynccontextmanager
async def a_browser(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the printed address as a browser does: the cookie is kept."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(address) as response:
            response.raise_for_status()
        yield session


@asynccontextmanager
async def a_window(session: aiohttp.ClientSession, address: str) -> AsyncIterator[BrowserWindow]:
    """Open a window on the first channel of the first server."""
    origin = address.split("/?", maxsplit=1)[0]
    async with session.ws_connect(f"{origin}/socket", origin=origin, max_msg_size=0) as socket:
        window = BrowserWindow(socket)
        listening = asyncio.ensure_future(window.listen())
        try:
            window.welcome = await window.ask("hello")
            await window.open(window.welcome["servers"][1]["channels"][0]["id"])
            yield window
        finally:
            await socket.close()
            await asyncio.gather(listening, return_exceptions=True)
