"""The workbench of a window: templates are edited, tested and published there, and every change is told to others."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from bot.background import keep_running
from bot.commands.bot import Bot
from bot.commands.workbench.workbench import Workbench
from bot.core.messages import AttachmentFormat, Author, Scope
from bot.core.stopping import Stopper
from bot.errors import FewshotError, RequestError
from bot.platforms.web.fields import long_field, number_field, text_field
from bot.platforms.web.stage import Stage
from bot.platforms.web.windows import Window
from bot.platforms.web.wire import Json

_LOOK_S: Final = 0.5
_FORMATS: Final[Mapping[str, AttachmentFormat]] = {"csv": "csv", "tsv": "tsv", "jsonl": "jsonl"}
Owner = tuple[str, str, str]
Op = Callable[[Json], Awaitable[Json]]


def _owner(scope: Scope) -> Owner:
    """Return what the templates of `scope` belong to: its server, in direct messages its channel."""
    return scope.platform, scope.server, "" if scope.has_server else scope.channel


@dataclass(slots=True)
class _Watch:
    """What a window looks at: a server's templates, and the one that it edits ("" none)."""

    scope: Scope
    is_moderator: bool
    name: str = ""


class Workbenches:
    """All windows that show templates: each is told when they change, by whatever means, and who edits what."""

    def __init__(self, bot: Bot, stage: Stage) -> None:
        self._bot = bot
        self._stage = stage
        self._watches: dict[Window, _Watch] = {}
        self._marks: dict[Owner, tuple[int, ...]] = {}
        self._looking: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Look for changes, such as those by commands in a channel, while a window shows templates."""
        self._looking = keep_running(self._look, "telling the workbench what changed")

    async def close(self) -> None:
        """End the looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def watch(self, window: Window, watch: _Watch) -> None:
        """Note what a window shows from now on, and tell the others who edits what."""
        before = self._watches.get(window)
        self._watches[window] = watch
        owner = _owner(watch.scope)
        if owner not in self._marks:
            self._marks[owner] = await self._bot.workbench.mark(watch.scope)
        if before is not None and _owner(before.scope) != owner:
            self._tell_editors(before.scope)
        self._tell_editors(watch.scope)

    def left(self, window: Window) -> None:
        """Note that a window shows no templates any more."""
        watch = self._watches.pop(window, None)
        if watch is not None:
            self._tell_editors(watch.scope)
            if not any(_owner(one.scope) == _owner(watch.scope) for one in self._watches.values()):
                self._marks.pop(_owner(watch.scope), None)

    def tell_news(self, scope: Scope, window: Window, sentence: str, name: str) -> None:
        """Tell the other moderators' windows what somebody did with the template `name`."""
        frame = {"op": "workbench_news", "sentence": sentence, "name": name}
        for one, watch in list(self._watches.items()):
            if one is not window and watch.is_moderator and _owner(watch.scope) == _owner(scope):
                one.put(frame)

    async def look_at(self, scope: Scope) -> None:
        """Tell the windows of a server whether its templates have changed since the last look."""
        owner = _owner(scope)
        before = self._marks.get(owner)
        mark = await self._bot.workbench.mark(scope)
        if before is None or before == mark or self._marks.get(owner) == mark:
            return
        self._marks[owner] = mark
        for window, watch in list(self._watches.items()):
            if _owner(watch.scope) == owner:
                window.put({"op": "workbench_changed"})

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            for scope in {_owner(one.scope): one.scope for one in self._watches.values()}.values():
                await self.look_at(scope)

    def _tell_editors(self, scope: Scope) -> None:
        """Tell the moderators of a server who edits which template."""
        here = {
            window: watch
            for window, watch in self._watches.items()
            if watch.is_moderator and _owner(watch.scope) == _owner(scope)
        }
        people = self._stage.places.people
        for window in here:
            # The own other windows are the same person, and say nothing new.
            editors = sorted(
                {
                    (watch.name, people[one.person.id].name)
                    for one, watch in here.items()
                    if watch.name and one.person.id != window.person.id and one.person.id in people
                }
            )
            window.put({"op": "workbench_editors", "editors": [{"name": name, "who": who} for name, who in editors]})


class WorkbenchSession:
    """Carries out the workbench frames of one window. Each frame names a channel of the server that is meant."""

    def __init__(self, bot: Bot, stage: Stage, workbenches: Workbenches, window: Window) -> None:
        self._bot = bot
        self._bench = bot.workbench
        self._stage = stage
        self._all = workbenches
        self._window = window
        self._stopper: Stopper | None = None
        self.ordered: Mapping[str, Op] = {
            name: self._spelled(op)
            for name, op in {
                "workbench_watch": self._watch,
                "workbench_save": self._save,
                "workbench_create": self._create,
                "workbench_import": self._import,
                "workbench_join": self._join,
                "workbench_discard": self._discard,
                "workbench_publish": self._publish,
                "workbench_roll_back": self._roll_back,
                "workbench_delete": self._delete,
                "workbench_propose": self._propose,
                "workbench_settle": self._settle,
                "workbench_take": self._take,
            }.items()
        }
        self.at_once: Mapping[str, Op] = {
            name: self._spelled(op)
            for name, op in {
                "workbench_list": self._list,
                "workbench_open": self._open,
                "workbench_rows": self._rows,
                "workbench_preview": self._preview,
                "workbench_try": self._try,
                "workbench_test": self._test,
                "workbench_tune": self._tune,
                "workbench_stop": self._stop,
                "workbench_history": self._history,
                "workbench_compare": self._compare,
            }.items()
        }

    def leave(self) -> None:
        """Give up what only this window waits for, and tell others that it edits nothing any more."""
        if self._stopper is not None:
            self._stopper.stop()
        self._all.left(self._window)

    def _spelled(self, op: Op) -> Op:
        """Return `op` with its refusals in the spelling of the page."""

        async def spelled(frame: Json) -> Json:
            try:
                return await op(frame)
            except RequestError as e:
                raise RequestError(self._bench.spell(str(e))) from e

        return spelled

    def _bench_for(self, frame: Json) -> Workbench:
        """Return the workbench that tells the window what is loaded before a frame can be answered."""
        return self._bench.telling(partial(self._window.tell_loading, frame["n"]))

    async def _where(self, frame: Json) -> tuple[Scope, Author]:
        """Return the scope of a frame, and the person with their rights there."""
        scope = self._stage.places.scope_of(self._window.person, text_field(frame, "channel"))
        return scope, await self._bot.with_rights(scope, self._stage.places.author(self._window.person))

    # ---- looking

    async def _watch(self, frame: Json) -> Json:
        if not text_field(frame, "channel"):
            self._all.left(self._window)
            return {}
        scope, author = await self._where(frame)
        await self._all.watch(self._window, _Watch(scope, author.is_moderator, text_field(frame, "name")))
        return {}

    async def _list(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        templates = await self._bench_for(frame).list_all(scope, author)
        people = self._stage.places.people
        for one in templates:
            owners = one.pop("drafts_of")
            one["has_draft"] = author.id in owners
            one["drafts_of"] = sorted(people[id_].name for id_ in owners if id_ != author.id and id_ in people)
        return {"templates": templates, "is_moderator": author.is_moderator}

    async def _open(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        found = await self._bench_for(frame).open(scope, author, text_field(frame, "name"))
        return {"template": {**found, "is_moderator": author.is_moderator}}

    async def _preview(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        return await self._bench_for(frame).preview(
            scope, author, text_field(frame, "name"), frame.get("state"), long_field(frame, "input")
        )

    async def _history(self, frame: Json) -> Json:
        scope, _ = await self._where(frame)
        return {"versions": await self._bench_for(frame).history(scope, text_field(frame, "name"))}

    async def _compare(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        versions = tuple(one for one in (text_field(frame, "a"), text_field(frame, "b")) if one)
        return await self._bench_for(frame).compare(scope, author, text_field(frame, "name"), versions)

    # ---- the draft

    async def _save(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        saved = await self._bench_for(frame).save(
            scope,
            author,
            text_field(frame, "name"),
            state=frame.get("state"),
            base=frame.get("base"),
            revision=text_field(frame, "revision"),
        )
        await self._all.look_at(scope)
        return saved

    async def _create(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        await self._bench_for(frame).create(scope, author, text_field(frame, "name"), text_field(frame, "like"))
        await self._all.look_at(scope)
        return {}

    async def _import(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        await self._bench_for(frame).import_file(scope, author, text_field(frame, "name"), long_field(frame, "text"))
        await self._all.look_at(scope)
        return {}

    async def _rows(self, frame: Json) -> Json:
        """Read a table that was pasted, dropped or chosen; the page puts its rows where they belong."""
        labels = frame.get("labels")
        known = tuple(one for one in labels if isinstance(one, str)) if isinstance(labels, list) else ()
        format_ = _FORMATS.get(text_field(frame, "format"))
        if format_ is None:
            raise RequestError("Rows are read from .csv, .tsv and .jsonl files.")
        return {"rows": await self._bench_for(frame).read_rows(long_field(frame, "text"), format_, known)}

    async def _join(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        joined = await self._bench_for(frame).take_newest(scope, author, text_field(frame, "name"))
        await self._all.look_at(scope)
        return joined

    async def _discard(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        await self._bench_for(frame).discard(scope, author, text_field(frame, "name"))
        await self._all.look_at(scope)
        return {}

    async def _publish(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        name, over, reason = text_field(frame, "name"), frame.get("over"), text_field(frame, "reason")
        done = await self._bench_for(frame).publish(
            scope,
            author,
            name,
            revision=text_field(frame, "revision"),
            reason=reason,
            over=over if isinstance(over, int) and not isinstance(over, bool) else None,
        )
        if not done["missing"]:
            because = f": {reason.strip()}" if reason.strip() else "."
            self._tell(scope, f"published version {done['number']} of {name}{because}", name)
            await self._all.look_at(scope)
        return done

    async def _roll_back(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        name = text_field(frame, "name")
        version, reason = text_field(frame, "version"), text_field(frame, "reason")
        done = await self._bench_for(frame).roll_back(scope, author, name, version, reason)
        self._tell(scope, f"published {name} again as it was in version {version}.", name)
        await self._all.look_at(scope)
        return done

    async def _delete(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        name, number = text_field(frame, "name"), number_field(frame, "number", 0, 2**31)
        done = await self._bench_for(frame).delete(scope, author, name, number, text_field(frame, "reason"))
        self._tell(scope, f"deleted {name}.", name)
        await self._all.look_at(scope)
        return done

    async def _propose(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        name, row = text_field(frame, "name"), (long_field(frame, "input"), long_field(frame, "output"))
        sentence = await self._bench_for(frame).propose(scope, author, name, *row)
        self._tell(scope, f"proposed an example for {name}.", name)
        await self._all.look_at(scope)
        return {"sentence": sentence}

    async def _settle(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        names = [text_field(frame, one) for one in ("name", "number", "table")]
        await self._bench_for(frame).settle_proposal(scope, author, *names)
        await self._all.look_at(scope)
        return {}

    # ---- the model

    async def _try(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        return await self._bench_for(frame).try_out(
            scope, author, text_field(frame, "name"), frame.get("state"), long_field(frame, "input"), self._id()
        )

    async def _test(self, frame: Json) -> Json:
        """Run the tests; each result is an event of its own, and the answer comes with the last one."""
        scope, author = await self._where(frame)
        name, stopper = text_field(frame, "name"), self._begin()
        results = await self._follow(
            frame, self._bench_for(frame).run_tests(scope, author, name, self._id(), stopper), "figures", stopper
        )
        if results is not None:
            asked = [one["is_right"] for one in results if one["is_right"] is not None]
            figures = f": {sum(asked)} of {len(asked)} tests are right." if asked else "."
            self._tell(scope, f"tested {name}{figures}", name)
        await self._all.look_at(scope)
        return {"is_stopped": results is None}

    async def _tune(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        stopper = self._begin()
        steps = self._bench_for(frame).search(scope, author, text_field(frame, "name"), self._id(), stopper)
        return {"found": await self._follow(frame, steps, "found", stopper)}

    async def _take(self, frame: Json) -> Json:
        scope, author = await self._where(frame)
        name, version = text_field(frame, "name"), text_field(frame, "version")
        await self._bench_for(frame).take_found(scope, author, name, version, frame.get("indexes"))
        await self._all.look_at(scope)
        return {}

    async def _stop(self, _: Json) -> Json:
        if self._stopper is not None:
            self._stopper.stop()
        return {}

    def _begin(self) -> Stopper:
        """Return the stopper of new work. Raises RequestError while this window's last work runs."""
        if self._stopper is not None:
            raise RequestError("A test or a search is running here. Stop it first.")
        self._stopper = Stopper()
        return self._stopper

    async def _follow(self, frame: Json, steps: AsyncGenerator[Json], last: str, stopper: Stopper) -> Any:
        """Send each step to the window and return the last one's value; None when stopped."""
        found = None
        try:
            async with aclosing(steps):
                async for step in steps:
                    if last in step:
                        found = step[last]
                    else:
                        await self._window.put_soon({"op": "workbench_step", "work": frame["n"], **step})
        except FewshotError:
            if not stopper.is_stopped:
                raise
        finally:
            self._stopper = None
        return found

    def _id(self) -> str:
        return str(self._stage.clock.next())

    def _tell(self, scope: Scope, what: str, name: str) -> None:
        self._all.tell_news(scope, self._window, f"{self._window.person.name} {what}", name)
