"""The models that this program offers: opened when they are first asked for, closed when others need their memory."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from bot.background import run_in_background
from bot.core.engine import Engine
from bot.core.results import EngineStats, ModelInfo
from bot.core.wording import MAX_PATH, list_words, quote
from bot.errors import FewshotError, RequestError, Unavailable

logger = logging.getLogger(__name__)

MAX_WAIT_S: Final = 60.0  # for memory that other models use
_CLOSING: Final = "The bot is shutting down; try again when it is back."


@dataclass(frozen=True, slots=True)
class ModelOffer:
    """A model that can be opened: `num_bytes` is the memory that it takes then, 0 for one of a server.

    `context_length` (tokens) and `num_parameters` are known before it is opened, 0 for one of a server. `own_name` is
    what its server calls it, and perhaps what it calls itself once it is open ("": `name`), and `host`
    is that server. `reads_pictures` says that it was found to take pictures before.
    """

    name: str
    open: Callable[[], AbstractAsyncContextManager[Engine]] = field(repr=False)
    num_bytes: int = 0
    context_length: int = 0
    num_parameters: int = 0
    own_name: str = ""
    host: str = ""
    reads_pictures: bool = False


@dataclass(frozen=True, slots=True)
class Offers:
    """The models besides the default one: they share `max_bytes` of memory, and the default one has `default_bytes`.

    `default_name` is the default one's name here, "" for what it calls itself.
    """

    others: tuple[ModelOffer, ...] = ()
    max_bytes: int = 0
    default_bytes: int = 0
    default_name: str = ""


NO_OTHERS: Final = Offers()


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model as people see it; `info` and `stats` are those of the last time that it was loaded, None before.

    `num_done` and `num_failed` count its requests since the program started, however often it was loaded.
    """

    name: str
    is_default: bool
    is_loaded: bool
    context_length: int
    num_parameters: int
    num_bytes: int
    num_done: int = 0
    num_failed: int = 0
    info: ModelInfo | None = None
    stats: EngineStats | None = None


class _Opened:
    """An opened model. A task of its own opens and closes it, so that the end of the request that asked is no end."""

    def __init__(self, offer: ModelOffer, on_end: "Callable[[_Opened], None]") -> None:
        self.num_leases = 0
        self.used_at = time.monotonic()
        self._close = asyncio.Event()
        self.engine: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()
        # Nobody may wait for it any more.
        self.engine.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.task = run_in_background(self._hold(offer), f"the model {offer.name}")
        self.task.add_done_callback(lambda _: on_end(self))

    async def _hold(self, offer: ModelOffer) -> None:
        try:
            async with offer.open() as engine:
                self.engine.set_result(engine)
                await self._close.wait()
        except FewshotError as e:
            if self.engine.done():
                raise
            self.engine.set_exception(e)
        except BaseException as e:
            if self.engine.done():
                raise
            logger.error("%s could not be opened: %s", offer.name, type(e).__name__, exc_info=e)
            self.engine.set_exception(Unavailable(f"The model {offer.name} could not be opened; try again later."))

    @property
    def is_ready(self) -> bool:
        """Say whether it is open, and not being closed."""
        is_open = self.engine.done() and not self.engine.cancelled() and self.engine.exception() is None
        return is_open and not self._close.is_set()

    async def settle(self) -> None:
        """Wait while it is being opened or closed."""
        if self._close.is_set():
            await asyncio.wait((self.task,))
        elif not self.engine.done():
            await asyncio.wait((self.engine,))

    async def close(self) -> None:
        """Close it, and wait for the end."""
        self._close.set()
        await asyncio.wait((self.task,))


class Models:
    """The default model, which is always open, and others, opened when they are first asked for.

    The one of the others that was idle for the longest time is closed when another needs its memory; what is leased is
    not. Never are two of this machine opened at the same time. Each has its own thread and KV cache.
    """

    def __init__(self, default: Engine, offers: Offers = NO_OTHERS) -> None:
        self.default = default
        self._first = offers.default_name or default.info.name  # the model of a server may become another one
        self._default_bytes = offers.default_bytes
        self._offers = {offer.name: offer for offer in offers.others}
        self._max_bytes = offers.max_bytes
        self._opened: dict[str, _Opened] = {}
        self._last: dict[str, tuple[ModelInfo, EngineStats]] = {}
        self._counted: dict[str, tuple[int, int]] = {}  # done and failed, before it was closed the last time
        self._opening: dict[str, asyncio.Lock] = {}  # one for all models of this machine, one for each of a server
        self._has_changed = asyncio.Event()
        self._is_closing = False

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all models, the default one first."""
        return (self._first, *self._offers)

    @property
    def listed(self) -> str:
        """Return the end of a sentence that says which models there are."""
        return f"the models are {list_words(self.names)}" if len(self.names) > 1 else f"the only one is {self.names[0]}"

    @property
    def hosts(self) -> Mapping[str, str]:
        """Return the servers of the models that run elsewhere, by the names of these."""
        info = self.default.info
        first = {self._first: info.device} if info.server else {}
        return {**first, **{name: offer.host for name, offer in self._offers.items() if offer.host}}

    def check(self, name: str) -> str:
        """Return the name of a model as it is written here. Raises RequestError, with the names, for an unknown one."""
        found = next((one for one in self.names if one.casefold() == name.casefold()), None)
        if found is None:
            raise RequestError(f"There is no model {quote(name, MAX_PATH)} here; {self.listed}.")
        return found

    def find(self, called: str) -> str | None:
        """Return the name of the model that is or calls itself `called`, None if there is none here."""
        if called in self.names:
            return called
        if called == self.default.info.name:
            return self._first
        return next((one.name for one in self._offers.values() if one.own_name == called), None)

    def is_ready(self, name: str) -> bool:
        """Say whether the model `name` is open now."""
        opened = self._opened.get(name)
        return name == self._first or (opened is not None and opened.is_ready)

    def reads_pictures(self, name: str) -> bool:
        """Say whether the model `name` takes pictures, as far as that is known before it is open.

        Raises RequestError for an unknown name.
        """
        name = self.check(name)
        if name == self._first:
            return self.default.info.reads_pictures
        offer = self._offers[name]
        opened = self._opened.get(offer.name)
        if opened is not None and opened.is_ready:
            return opened.engine.result().info.reads_pictures
        info, _ = self._last.get(offer.name, (None, None))
        return offer.reads_pictures if info is None else info.reads_pictures

    @asynccontextmanager
    async def lease(self, name: str, *, wait_s: float = MAX_WAIT_S) -> AsyncIterator[Engine]:
        """Return the model `name`, opened and pinned; it stays open until the end.

        Raises RequestError for an unknown name, what opening it raises, and Unavailable if the models in use leave no
        memory for it within `wait_s`.
        """
        name = self.check(name)
        if name == self._first:
            yield self.default.pinned()
            return
        opened = await self._take(self._offers[name], wait_s)
        try:
            yield (await asyncio.shield(opened.engine)).pinned()
        finally:
            opened.num_leases -= 1
            opened.used_at = time.monotonic()
            self._has_changed.set()

    def states(self) -> tuple[ModelState, ...]:
        """Return all models as they are now, the default one first."""
        info, stats = self.default.info, self.default.stats()
        first = ModelState(
            self._first,
            is_default=True,
            is_loaded=True,
            context_length=info.context_length,
            num_parameters=info.num_parameters,
            num_bytes=self._default_bytes,
            num_done=stats.num_done,
            num_failed=stats.num_failed,
            info=info,
            stats=stats,
        )
        return (first, *self.states_of_others())

    def states_of_others(self) -> tuple[ModelState, ...]:
        """Return all models but the default one as they are now."""
        return tuple(map(self._state_of, self._offers.values()))

    async def close(self) -> None:
        """Close all models but the default one."""
        self._is_closing = True
        for opened in list(self._opened.values()):
            await opened.close()

    def _state_of(self, offer: ModelOffer) -> ModelState:
        opened = self._opened.get(offer.name)
        num_done, num_failed = self._counted.get(offer.name, (0, 0))
        is_loaded = opened is not None and opened.is_ready
        if opened is not None and is_loaded:
            engine = opened.engine.result()
            self._last[offer.name] = engine.info, engine.stats()
            num_done, num_failed = num_done + engine.stats().num_done, num_failed + engine.stats().num_failed
        info, stats = self._last.get(offer.name, (None, None))
        return ModelState(
            offer.name,
            is_default=False,
            is_loaded=is_loaded,
            context_length=info.context_length if info is not None else offer.context_length,
            num_parameters=offer.num_parameters,
            num_bytes=offer.num_bytes,
            num_done=num_done,
            num_failed=num_failed,
            info=info,
            stats=stats,
        )

    async def _take(self, offer: ModelOffer, wait_s: float) -> _Opened:
        """Return the model with one more lease, opened or being opened."""
        opened = self._opened.get(offer.name)
        if opened is not None and opened.is_ready:
            opened.num_leases += 1
            return opened
        turn = _turn_of(offer)
        async with self._opening.setdefault(turn, asyncio.Lock()):
            for name, other in list(self._opened.items()):
                if _turn_of(self._offers[name]) == turn:
                    await other.settle()  # the request that asked for it may be gone
            opened = self._opened.get(offer.name)
            if opened is None or not opened.is_ready:
                await self._make_room(offer, wait_s)
                if self._is_closing:
                    raise Unavailable(_CLOSING)
                opened = self._opened[offer.name] = _Opened(offer, lambda ended: self._forget(offer.name, ended))
            opened.num_leases += 1
            try:
                await asyncio.shield(opened.engine)
            except BaseException:
                opened.num_leases -= 1
                raise
            return opened

    async def _make_room(self, offer: ModelOffer, wait_s: float) -> None:
        """Close idle models until there is memory for `offer`. Raises Unavailable."""
        deadline = time.monotonic() + wait_s
        while self._num_bytes() + offer.num_bytes > self._max_bytes and offer.num_bytes:
            self._has_changed.clear()
            idle = [
                (opened.used_at, name)
                for name, opened in self._opened.items()
                if opened.num_leases == 0 and self._offers[name].num_bytes
            ]
            if idle:
                _, name = min(idle)
                state = self._state_of(self._offers[name])
                self._counted[name] = state.num_done, state.num_failed
                logger.info("closing %s, as %s needs its memory", name, offer.name)
                await self._opened[name].close()
                continue
            try:
                await asyncio.wait_for(self._has_changed.wait(), max(0.0, deadline - time.monotonic()))
            except TimeoutError as e:
                raise Unavailable(
                    f"The models in use leave no memory for {offer.name} now; try again in a minute."
                ) from e

    def _num_bytes(self) -> int:
        return sum(self._offers[name].num_bytes for name in self._opened)

    def _forget(self, name: str, ended: _Opened) -> None:
        if self._opened.get(name) is ended:
            del self._opened[name]
        self._has_changed.set()


def _turn_of(offer: ModelOffer) -> str:
    """Return what a model is opened in turn with: all others of this machine, or a server's only with itself."""
    return "" if offer.num_bytes else offer.name
