"""One window's side of the socket: its frames become calls, and their results frames."""

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final

from bot.background import run_in_background
from bot.commands.bot import COMMANDS, MAX_TEXT_BYTES, Bot
from bot.commands.framework.model_choice import loading_sentence
from bot.core.cards import BROKEN, LOADING, Card
from bot.core.messages import Message, Scope
from bot.core.stopping import Stopper
from bot.errors import FewshotError, RequestError
from bot.platforms.shared.drawing import draw_pictures
from bot.platforms.web.fields import OUT_OF_DATE, long_field, message_number, text_field, thread_field
from bot.platforms.web.intake import Intake, Said
from bot.platforms.web.interactions import Interactions
from bot.platforms.web.stage import Stage
from bot.platforms.web.windows import Window
from bot.platforms.web.wire import Json, card_json, person_json
from bot.platforms.web.workbench import Workbenches, WorkbenchSession
from bot.platforms.web.writing import WritingSession
from bot.services.hosted_messages import PAGE
from bot.services.writing import Writings

logger = logging.getLogger(__name__)

# Nobody types so fast; a script that does is cut off.
_FRAMES_PER_S: Final = 50.0
_MAX_BURST: Final = 300.0
_MAX_AT_ONCE: Final = 32
_MAX_ALT_TEXT: Final = 2_000


class TooFast(Exception):
    """A window sends more frames than people can."""


class Session:
    """Carries out the frames of one window. What changes something is done in the order in which it came."""

    def __init__(
        self,
        bot: Bot,
        stage: Stage,
        intake: Intake,
        interactions: Interactions,
        workbenches: Workbenches,
        writings: Writings,
        window: Window,
    ) -> None:
        self._bot = bot
        self._stage = stage
        self._intake = intake
        self._interactions = interactions
        self._window = window
        self._workbench = WorkbenchSession(bot, stage, workbenches, window)
        self._writing = WritingSession(bot, writings, stage, window)
        self._in_order = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()
        self._credit = _MAX_BURST
        self._credited_at_s = time.monotonic()
        self._ordered: Mapping[str, Callable[[Json], Awaitable[Json]]] = {
            "hello": self._hello,
            "open": self._open,
            "say": self._say,
            "edit": self._edit,
            "remove": self._remove,
            "click": self._click,
            "submit": self._submit,
            "become": self._become,
            "add_person": self._add_person,
            "add_server": self._add_server,
            "rename_server": self._rename_server,
            "remove_server": self._remove_server,
            "add_channel": self._add_channel,
            "rename_channel": self._rename_channel,
            "remove_channel": self._remove_channel,
            **self._workbench.ordered,
            **self._writing.ordered,
        }
        self._at_once: Mapping[str, Callable[[Json], Awaitable[Json]]] = {
            "stop": self._stop,
            "expect": self._expect,
            "suggest": self._suggest,
            "context": self._context,
            "look": self._look,
            **self._workbench.at_once,
            **self._writing.at_once,
        }
        self._looking: Stopper | None = None

    def take(self, frame: Any) -> None:
        """Begin to carry out a frame. Raises TooFast."""
        now = time.monotonic()
        self._credit = min(_MAX_BURST, self._credit + (now - self._credited_at_s) * _FRAMES_PER_S) - 1
        self._credited_at_s = now
        if self._credit < 0 or len(self._running) >= _MAX_AT_ONCE * 4:
            raise TooFast
        task = run_in_background(self._carry_out(frame), "answering a window")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Give up what only this window waits for."""
        self._workbench.leave()
        for task in self._running:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _carry_out(self, frame: Any) -> None:
        if not isinstance(frame, dict) or not isinstance(frame.get("n"), int):
            return
        number, op = frame["n"], str(frame.get("op"))
        try:
            if op in self._ordered:
                async with self._in_order:
                    result = await self._ordered[op](frame)
            elif op in self._at_once:
                if len(self._running) > _MAX_AT_ONCE:
                    raise RequestError("Too much at once. Wait a moment.")
                result = await self._at_once[op](frame)
            else:
                raise RequestError(OUT_OF_DATE)
        except FewshotError as e:
            self._window.put({"op": "error", "n": number, "sentence": str(e)})
        except Exception:
            logger.exception("carrying out a window's %s failed", op)
            self._window.put({"op": "error", "n": number, "sentence": BROKEN})
        else:
            self._window.put({"op": "ok", "n": number, **result})

    # ---- the page

    async def _hello(self, _: Json) -> Json:
        places, person = self._stage.places, self._window.person
        return {
            "me": person_json(person),
            "people": [person_json(one) for one in places.people.values()],
            "bot_name": self._bot.name,
            "model": self._bot.models_line,
            "servers": self._stage.servers_for(person),
            "commands": _commands_json(),
            "max_text_bytes": MAX_TEXT_BYTES,
        }

    async def _open(self, frame: Json) -> Json:
        channel, thread = text_field(frame, "channel"), thread_field(frame)
        scope = self._stage.places.scope_of(self._window.person, channel, thread)
        before = frame.get("before")
        if before is None:
            # From before the page is read, so that nothing falls in between; the newer revision counts.
            whole = Scope(scope.platform, scope.server, scope.channel, "", scope.kind)
            self._window.scopes = frozenset({whole, scope})
        number = message_number(before) if isinstance(before, str) else None
        messages = await self._stage.messages.page(scope, before=number)
        shown = messages[-PAGE:]
        has_more = len(messages) > PAGE
        if (thread_number := message_number(thread)) is not None and not has_more:
            root = await self._stage.messages.get(thread_number)
            shown = shown if root is None else (root, *shown)
        return {"messages": [self._stage.json_of(one) for one in shown], "has_more": has_more}

    # ---- messages

    async def _say(self, frame: Json) -> Json:
        file = frame.get("file")
        if file is not None and not isinstance(file, dict):
            raise RequestError(OUT_OF_DATE)
        said = Said(
            channel=text_field(frame, "channel"),
            text=long_field(frame, "text"),
            nonce=text_field(frame, "nonce"),
            thread=thread_field(frame),
            reply_to=text_field(frame, "reply_to") or None,
            file_name=long_field(file, "name")[:200] if file else "",
            file_text=long_field(file, "text") if file else None,
        )
        return {"id": await self._intake.say(said, self._window)}

    async def _edit(self, frame: Json) -> Json:
        await self._intake.edit(text_field(frame, "id"), long_field(frame, "text"), self._window)
        return {}

    async def _remove(self, frame: Json) -> Json:
        await self._intake.remove(text_field(frame, "id"), self._window)
        return {}

    async def _click(self, frame: Json) -> Json:
        revision = frame.get("revision")
        await self._interactions.click(
            self._scope(frame),
            self._window,
            message_id=text_field(frame, "message"),
            card_id=text_field(frame, "card"),
            revision=revision if isinstance(revision, int) else 0,
            action=text_field(frame, "action"),
            value=text_field(frame, "value"),
        )
        return {}

    async def _submit(self, frame: Json) -> Json:
        values = frame.get("values")
        if not isinstance(values, dict) or not all(isinstance(one, str) for one in values.values()):
            raise RequestError(OUT_OF_DATE)
        problem = await self._interactions.submit(
            self._scope(frame),
            self._window,
            form_id=text_field(frame, "form"),
            values=values,
            cause=text_field(frame, "cause"),
        )
        if problem:
            raise RequestError(problem)
        return {}

    async def _stop(self, frame: Json) -> Json:
        await self._interactions.stop(text_field(frame, "id"), self._scope(frame), self._window)
        return {}

    # ---- what is being typed

    async def _expect(self, frame: Json) -> Json:
        known = await self._bot.known_names(self._scope(frame))
        expected = self._bot.expected_in(long_field(frame, "line", max_bytes=MAX_TEXT_BYTES), known)
        offers = [{"value": one.value, "help": one.help} for one in expected.offers]
        command = expected.command.name if expected.command else ""
        return {
            "start": expected.start,
            "values": [one["value"] for one in offers],
            "offers": offers,
            "help": expected.hint,
            "command": command,
            "is_text": expected.is_text,
        }

    async def _suggest(self, frame: Json) -> Json:
        values = await self._bot.suggest_values(
            self._scope(frame),
            text_field(frame, "command"),
            text_field(frame, "option"),
            text_field(frame, "typed"),
            who=self._stage.places.author(self._window.person),
            tell=partial(self._window.tell_loading, frame["n"]),
        )
        return {"values": list(values)}

    async def _context(self, frame: Json) -> Json:
        tell = partial(self._window.tell_loading, frame["n"])
        return {"card": card_json(await self._bot.context_card(self._scope(frame), tell))}

    async def _look(self, frame: Json) -> Json:
        """Measure a text for the views that change while somebody types; a newer look ends the one before.

        A frame that `draws` asks for its picture.
        """
        if self._looking is not None:
            self._looking.stop()
        stopper = self._looking = Stopper()
        line = f"{self._bot.command_prefix}{long_field(frame, 'line')}"
        author = self._stage.places.author(self._window.person)
        message = Message(str(self._stage.clock.next()), self._scope(frame), author, line, reach="form")
        last: Card | None = None
        async with aclosing(self._bot.look(message, stopper)) as cards:
            async for card in cards:
                last = card
                if stopper.is_stopped:
                    continue
                if LOADING in card.data:
                    self._window.tell_loading(frame["n"], loading_sentence(card.data[LOADING]))
                elif not card.is_final:
                    self._window.put({"op": "looking", "look": frame["n"], "card": card_json(card)})
        if last is None or stopper.is_stopped:
            return {"card": None, "data": None}
        if last.error is not None:
            raise RequestError(last.error)
        if frame.get("draws") is not True:
            return {"card": card_json(last), "data": dict(last.data)}
        pictures = await draw_pictures(last, max_alt_characters=_MAX_ALT_TEXT)
        if not pictures:
            raise RequestError("There is nothing in this answer to draw.")
        return {"png": base64.b64encode(pictures[0].png).decode(), "alt": pictures[0].alt}

    # ---- places and people

    async def _become(self, frame: Json) -> Json:
        person = self._stage.places.person(text_field(frame, "id"))
        self._workbench.leave()
        self._window.person = person
        self._window.scopes = frozenset()
        self._window.put({"op": "places", "servers": self._stage.servers_for(self._window.person)})
        return {"me": person_json(self._window.person)}

    async def _add_person(self, frame: Json) -> Json:
        self._check_moderator()
        person_id = await self._stage.places.add_person(
            text_field(frame, "name"), is_moderator=frame.get("is_moderator") is True
        )
        self._stage.tell_people()
        return {"id": person_id}

    async def _add_server(self, frame: Json) -> Json:
        self._check_moderator()
        server_id = await self._stage.places.add_server(text_field(frame, "name"))
        self._stage.tell_places()
        return {"id": server_id}

    async def _rename_server(self, frame: Json) -> Json:
        self._check_moderator()
        await self._stage.places.rename_server(text_field(frame, "id"), text_field(frame, "name"))
        self._stage.tell_places()
        return {}

    async def _remove_server(self, frame: Json) -> Json:
        self._check_moderator()
        await self._intake.remove_server(text_field(frame, "id"))
        return {}

    async def _add_channel(self, frame: Json) -> Json:
        self._check_moderator()
        channel_id = await self._stage.places.add_channel(text_field(frame, "server"), text_field(frame, "name"))
        self._stage.tell_places()
        return {"id": channel_id}

    async def _rename_channel(self, frame: Json) -> Json:
        self._check_moderator()
        await self._stage.places.rename_channel(text_field(frame, "id"), text_field(frame, "name"))
        self._stage.tell_places()
        return {}

    async def _remove_channel(self, frame: Json) -> Json:
        self._check_moderator()
        await self._intake.remove_channel(text_field(frame, "id"))
        return {}

    def _check_moderator(self) -> None:
        if not self._window.person.is_moderator:
            raise RequestError("Only a moderator can change servers, channels and people.")

    def _scope(self, frame: Json) -> Scope:
        return self._stage.places.scope_of(self._window.person, text_field(frame, "channel"), thread_field(frame))


def _commands_json() -> list[Json]:
    return [
        {
            "name": command.name,
            "group": command.name.split()[0],
            "summary": command.summary,
            "text_name": command.text_name if command.text != "none" else "",
            "usage": command.usage,
            "answers": command.answers,
            "is_for_moderators": command.who == "moderators",
            "options": [{"name": one.name, "help": one.help} for one in command.options],
        }
        for command in COMMANDS.values()
    ]
