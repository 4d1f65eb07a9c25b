"""What the stand-in knows, and what it does with each request of a window."""

import asyncio
import contextlib
import re
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web

from tests.servers.page import cards
from tests.servers.page.cards import Json, card, text
from tests.servers.page.writings import Asker, Gone, Writings

_PAGE: Final = 50
_BOT: Final = {"id": "bot", "name": "Fewshot", "is_bot": True}
_WORDS: Final = re.findall(r"\S+", "Paris is the capital of France, and a good place to eat bread in the morning.")
_CARDS: Final = {
    "perplexity": cards.PERPLEXITY,
    "compare": cards.COMPARE,
    "next": cards.NEXT,
    "complete": cards.COMPLETE,
    "help": cards.HELP,
    "export": cards.EXPORT,
}


class Refusal(Exception):
    """A request that is refused with a sentence."""


class Page:
    """The bot's side: places, people, messages, and the windows that look at them.

    `asked` has every request. Faults: `refusals` are sentences with which requests are refused, by their names,
    `closes_at` codes with which the socket is closed in their place; the next answer to one of `drops_answers_to` is
    lost with the connection; those that `hold` names wait for `release`. `step_s` is the time between
    two words of an answer.
    """

    def __init__(self) -> None:
        self.address = ""
        self.is_open = True
        self.refusal = 4001
        self.max_frame_bytes = 4_000_000
        self.step_s = 0.0
        self.windows: list[Window] = []
        self.asked: list[Json] = []
        self.refusals: dict[str, str] = {}
        self.closes_at: dict[str, int] = {}
        self.drops_answers_to: set[str] = set()
        self.refuses_connections = False
        self.people: list[Json] = [
            {"id": "p1", "name": "Ada", "is_moderator": True},
            {"id": "p2", "name": "Ben", "is_moderator": False},
        ]
        self.servers: list[Json] = [
            {
                "id": "s1",
                "name": "Home",
                "is_direct": False,
                "channels": [{"id": "c1", "name": "general"}, {"id": "c2", "name": "experiments"}],
            },
            {"id": "s0", "name": "Direct messages", "is_direct": True, "channels": [{"id": "c9", "name": "Fewshot"}]},
        ]
        self.messages: dict[str, Json] = {}
        self.writings = Writings(self._tell_others, self.wait_for)
        self._next_id = 1000
        self._nonces: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[str, asyncio.Event] = {}
        self._stopped: set[str] = set()

    async def close(self) -> None:
        """End what is being written, and all windows."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.drop()

    async def drop(self, code: int = 1001) -> None:
        """Close the sockets of all windows."""
        for window in list(self.windows):
            await window.socket.close(code=code)

    @property
    def channel_address(self) -> str:
        """Return the address of the first channel."""
        return f"{self.address}/#/c/c1"

    def say_requests(self) -> list[Json]:
        """Return what was asked to be said."""
        return [one for one in self.asked if one["op"] == "say"]

    def new_id(self) -> str:
        """Return a fresh id, larger than all before."""
        self._next_id += 1
        return str(self._next_id)

    def add(self, author: str, words: str, *, channel: str = "c1", minutes_ago: float = 0, **fields: Any) -> Json:
        """Add a message without telling anybody."""
        person = next((one for one in self.people if author in (one["id"], one["name"])), None)
        who = _BOT if person is None else {"id": person["id"], "name": person["name"], "is_bot": False}
        message = {
            "id": self.new_id(),
            "channel": channel,
            "thread": "",
            "author": who,
            "text": words,
            "reply_to": None,
            "at": (datetime.now(UTC) - timedelta(minutes=minutes_ago)).isoformat(),
            "is_edited": False,
            "file_name": "",
            "asked": None,
            "card": None,
            "num_replies": 0,
            "revision": 1,
            **fields,
        }
        self.messages[message["id"]] = message
        return message

    async def show(self, message: Json) -> None:
        """Tell all windows of a new or changed message."""
        await self.tell(message["channel"], {"op": "message", "message": message, "nonce": ""})

    async def change(self, message: Json, **fields: Any) -> None:
        """Change a message, and tell it."""
        message.update(fields, revision=message["revision"] + 1)
        await self.show(message)

    async def say(self, author: str, words: str, **fields: Any) -> Json:
        """Add a message, and tell it."""
        message = self.add(author, words, **fields)
        await self.show(message)
        return message

    async def remove(self, id_: str) -> None:
        """Remove a message, and tell it."""
        message = self.messages.pop(id_)
        await self.tell(message["channel"], {"op": "removed", "id": id_})

    async def tell(self, channel: str | None, event: Json) -> None:
        """Send an event to the windows that look at the channel (None: to all)."""
        for window in list(self.windows):
            if channel is None or window.channel == channel:
                await window.send(event)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def hold(self, op: str) -> None:
        """Let requests of this name wait."""
        self._held[op] = asyncio.Event()

    def release(self, op: str) -> None:
        """Let them go on."""
        self._held.pop(op).set()

    async def _tell_others(self, who: Asker, frame: Json) -> None:
        for window in list(self.windows):
            if window is not who and window.me["id"] == who.me["id"]:
                await window.send(frame)

    async def wait_for(self, op: str) -> None:
        """Wait while requests of this name are held."""
        if op in self._held:
            await self._held[op].wait()

    def stop(self, id_: str) -> None:
        """End the answer that is being written."""
        self._stopped.add(id_)

    async def said(self, message: Json, nonce: str) -> str:
        """Take a message of a person, once for a nonce; answer it."""
        if nonce in self._nonces:
            return self._nonces[nonce]
        self._nonces[nonce] = message["id"]
        self.messages[message["id"]] = message
        await self.show(message)
        root = self.messages.get(message["thread"])
        if root is not None:
            await self.change(root, num_replies=root["num_replies"] + 1)
        self.spawn(self._answer(message))
        return str(message["id"])

    async def _answer(self, message: Json) -> None:
        name = next((one for one in _CARDS if message["text"].startswith(f"/{one}")), None)
        place = {"channel": message["channel"], "thread": message["thread"], "asked": message["id"]}
        if name is not None:
            await self.say("bot", "", card={**_CARDS[name], "card_id": f"card-{message['id']}"}, **place)
        elif f"@{_BOT['name']}" in message["text"] or message["thread"]:
            await self._write(place)

    async def _write(self, place: Json) -> None:
        answer = self.add("bot", "", card=card(is_final=False), **place)
        answer["card"]["stop_id"] = answer["id"]
        await self.show(answer)
        done = ""
        for word in _WORDS:
            await asyncio.sleep(self.step_s)
            if answer["id"] in self._stopped:
                break
            done = f"{done} {word}".strip()
            await self.change(answer, card=card(text(done, is_model_text=True), is_final=False, stop_id=answer["id"]))
        buttons = [cards.button("again", "Again"), cards.button("why", "Why")]
        final = card(text(done, is_model_text=True), buttons=buttons, card_id=f"card-{answer['id']}")
        await self.change(answer, card=final)


class Window:
    """One open page: its socket, who speaks, and the channel that it looks at."""

    def __init__(self, page: Page, socket: web.WebSocketResponse) -> None:
        self.page = page
        self.socket = socket
        self.me = page.people[0]
        self.channel = ""

    async def send(self, frame: Json) -> None:
        """Send a frame; a closed window misses it."""
        with contextlib.suppress(ConnectionError):
            await self.socket.send_json(frame)

    async def answer(self, asked: Json) -> None:
        """Do what is asked, and say how it went."""
        self.page.asked.append(asked)
        await self.page.wait_for(asked["op"])
        if code := self.page.closes_at.get(asked["op"]):
            await self.socket.close(code=code)
            return
        try:
            if sentence := self.page.refusals.get(asked["op"]):
                raise Refusal(sentence)
            if (write := self.page.writings.answers.get(asked["op"])) is not None:
                fields = await write(self, asked)
            else:
                fields = await getattr(self, f"_{asked['op']}")(asked)
        except (Refusal, Gone) as e:
            await self.send({"op": "error", "n": asked["n"], "sentence": str(e)})
        else:
            if asked["op"] in self.page.drops_answers_to:
                self.page.drops_answers_to.remove(asked["op"])
                await self.socket.close()
                return
            await self.send({"op": "ok", "n": asked["n"], **(fields or {})})

    async def _hello(self, _: Json) -> Json:
        page = self.page
        return {
            "me": self.me,
            "people": page.people,
            "bot_name": "Fewshot",
            "model": "smollm2-135m · 135 M parameters",
            "servers": page.servers,
            "commands": cards.commands(),
            "max_text_bytes": 1_000_000,
        }

    async def _open(self, asked: Json) -> Json:
        self.channel = asked["channel"]
        here = [one for one in self.page.messages.values() if self._is_in(one, asked)]
        here.sort(key=lambda one: (one["at"], int(one["id"])))
        ids = [one["id"] for one in here]
        end = len(here) if asked["before"] is None else ids.index(asked["before"])
        return {"messages": here[max(0, end - _PAGE) : end], "has_more": end > _PAGE}

    def _is_in(self, message: Json, place: Json) -> bool:
        is_root = place["thread"] != "" and message["id"] == place["thread"]
        return message["channel"] == place["channel"] and (message["thread"] == place["thread"] or is_root)

    async def _say(self, asked: Json) -> Json:
        page = self.page
        if asked["text"].startswith("/prompt new"):
            where = {"channel": asked["channel"], "thread": asked["thread"], "cause": "x", "form": cards.FORM}
            await self.send({"op": "form", **where})
        if asked["text"].startswith("/why"):
            await self._show_private(asked, cards.WHY)
        file_name = asked["file"]["name"] if asked["file"] else ""
        fields = {"thread": asked["thread"], "reply_to": asked["reply_to"], "file_name": file_name}
        message = page.add(self.me["id"], asked["text"], channel=asked["channel"], **fields)
        del page.messages[message["id"]]
        return {"id": await page.said(message, asked["nonce"])}

    async def _show_private(self, place: Json, shown: Json) -> None:
        where = {"channel": place["channel"], "thread": place["thread"], "key": "why"}
        await self.send({"op": "private", **where, "card": shown})

    async def _edit(self, asked: Json) -> None:
        await self.page.change(self._own(asked["id"]), text=asked["text"], is_edited=True)

    async def _remove(self, asked: Json) -> None:
        self._own(asked["id"])
        await self.page.remove(asked["id"])

    def _own(self, id_: str) -> Json:
        message = self.page.messages[id_]
        if message["author"]["id"] != self.me["id"] and not self.me["is_moderator"]:
            raise Refusal("You can only change your own messages.")
        return message

    async def _click(self, asked: Json) -> None:
        if asked["action"] == "why":
            await self._show_private(asked, cards.WHY)
            return
        message = self.page.messages[asked["message"]]
        if asked["action"] == "undo":
            raise Refusal("There is nothing to undo.")
        chosen = f"You chose {asked['action']} {asked['value']}".strip() + "."
        blocks = [*message["card"]["blocks"], text(chosen)]
        await self.page.change(message, card={**message["card"], "blocks": blocks})

    async def _submit(self, asked: Json) -> None:
        if asked["values"]["name"] != asked["values"]["name"].lower():
            raise Refusal("A name has only small letters. Your text is still here.")

    async def _stop(self, asked: Json) -> None:
        self.page.stop(asked["id"])

    async def _expect(self, asked: Json) -> Json:
        line: str = asked["line"]
        start = line.rfind(" ") + 1
        values = ["--temperature", "--top_k", "--seed"]
        found = [{"value": one, "help": "an option"} for one in values if line[start:] and one.startswith(line[start:])]
        return {
            "values": [one["value"] for one in found],
            "offers": found,
            "start": start,
            "help": "" if found else "Type TEXT.",
        }

    async def _suggest(self, asked: Json) -> Json:
        return {"values": [f"{asked['typed']} and then", f"{asked['typed']} or not"]}

    async def _context(self, _: Json) -> Json:
        return {"card": cards.CONTEXT}

    async def _add_server(self, asked: Json) -> Json:
        id_ = self.page.new_id()
        channels = [{"id": self.page.new_id(), "name": "general"}]
        self.page.servers.append({"id": id_, "name": _named(asked), "is_direct": False, "channels": channels})
        await self._tell_places()
        return {"id": id_}

    async def _rename_server(self, asked: Json) -> None:
        self._server(asked["id"])["name"] = _named(asked)
        await self._tell_places()

    async def _remove_server(self, asked: Json) -> None:
        self.page.servers.remove(self._server(asked["id"]))
        await self._tell_places()

    async def _add_channel(self, asked: Json) -> Json:
        id_ = self.page.new_id()
        self._server(asked["server"])["channels"].append({"id": id_, "name": _named(asked)})
        await self._tell_places()
        return {"id": id_}

    async def _rename_channel(self, asked: Json) -> None:
        self._channel(asked["id"])[1]["name"] = _named(asked)
        await self._tell_places()

    async def _remove_channel(self, asked: Json) -> None:
        server, channel = self._channel(asked["id"])
        server["channels"].remove(channel)
        await self._tell_places()

    def _server(self, id_: str) -> Json:
        return next(one for one in self.page.servers if one["id"] == id_)

    def _channel(self, id_: str) -> tuple[Json, Json]:
        return next((one, channel) for one in self.page.servers for channel in one["channels"] if channel["id"] == id_)

    async def _tell_places(self) -> None:
        await self.page.tell(None, {"op": "places", "servers": self.page.servers})

    async def _add_person(self, asked: Json) -> Json:
        id_ = self.page.new_id()
        self.page.people.append({"id": id_, "name": _named(asked), "is_moderator": asked["is_moderator"]})
        await self.page.tell(None, {"op": "people", "people": self.page.people})
        return {"id": id_}

    async def _become(self, asked: Json) -> None:
        self.me = next(one for one in self.page.people if one["id"] == asked["id"])


def _named(asked: Json) -> str:
    name: str = asked["name"]
    if len(name) > 80:
        raise Refusal("A name has at most 80 characters.")
    return name
