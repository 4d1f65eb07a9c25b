"""The engine's whole face for a front of this bot: each call is answered by frames, which are lines of JSON."""

import asyncio
import json
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, Final

from aiohttp import web

from bot.core.chat_prompt import PromptTools
from bot.core.engine import Asker, Engine, Generation
from bot.core.engine_calls import (
    PREFIX,
    PROTOCOL,
    RESULTS,
    Accepted,
    Beat,
    Call,
    CountTokens,
    Ended,
    ExpectDrawn,
    ExpectTokens,
    ExpectWords,
    Frame,
    Generate,
    GenerateBatch,
    Hello,
    Progress,
    RenderChat,
    Rendered,
    Score,
    ScoreAndSketch,
    ScoreContinuations,
    ScoreDrawn,
    ScoreTokens,
    Sender,
    Written,
    Wrote,
    beat_s,
    fail,
    key_of,
)
from bot.core.prompt_parts import Prompt
from bot.core.wire import from_wire, to_wire
from bot.errors import FewshotError, GenerationError
from bot.serving.bodies import read_object
from bot.serving.context import Serving, serving_of
from bot.serving.errors import ApiError, refuse, route_of
from bot.serving.streams import WRITE_S

logger = logging.getLogger(__name__)

ROUTES: Final = web.RouteTableDef()
_MAX_UNREAD: Final = 256  # frames that a slow front has not taken; then the model's writing waits in memory
_MAX_EARLY: Final = 1024


class OpenCalls:
    """The calls that are being answered, generations by their ids, and the id of this run of the server."""

    def __init__(self) -> None:
        self.instance = secrets.token_hex(8)
        self.num_answering = 0
        self._cancel_of: dict[tuple[str, str], Callable[[], None]] = {}
        self._early: OrderedDict[tuple[str, str], None] = OrderedDict()  # cancelled before they came

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Count a call as open while the block runs."""
        self.num_answering += 1
        try:
            yield
        finally:
            self.num_answering -= 1

    @contextmanager
    def opened(self, sender: Sender, generation: Generation) -> Iterator[None]:
        """Let the call be cancelled while the block runs."""
        key = (sender.front, sender.call)
        self._cancel_of[key] = generation.cancel
        if key in self._early:
            del self._early[key]
            generation.cancel()
        try:
            yield
        finally:
            del self._cancel_of[key]

    def cancel(self, front: str, call: str) -> None:
        """Cancel the call, or one that comes with this id later."""
        key = (front, call)
        if key in self._cancel_of:
            self._cancel_of[key]()
            return
        self._early[key] = None
        while len(self._early) > _MAX_EARLY:
            self._early.popitem(last=False)


OPEN_CALLS: Final = web.AppKey("open_calls", OpenCalls)


@ROUTES.get(f"{PREFIX}/engine")
async def say_hello(request: web.Request) -> web.Response:
    """Describe the engine."""
    engine = serving_of(request).engine
    hello = Hello(PROTOCOL, request.app[OPEN_CALLS].instance, engine.info, engine.stats())
    return web.json_response(to_wire(Hello, hello))


@ROUTES.delete(f"{PREFIX}/calls/{{front}}/{{call}}")
async def cancel_call(request: web.Request) -> web.Response:
    """End a generation within one token."""
    request.app[OPEN_CALLS].cancel(request.match_info["front"], request.match_info["call"])
    return web.Response(status=204)


@ROUTES.post(f"{PREFIX}/calls")
async def answer_call(request: web.Request) -> web.StreamResponse:
    """Answer one call with frames until its result or its error."""
    serving, calls = serving_of(request), request.app[OPEN_CALLS]
    sender, call = _read_call(await read_object(request))
    info = serving.engine.info
    if sender.model != key_of(info):
        raise ApiError(409, f"The server has the model {info.name} now.", "sender", "other_model")
    response = web.StreamResponse(headers={"Content-Type": "application/jsonl", "Cache-Control": "no-store"})
    answer = _Answer(serving, calls, sender, call, route_of(request))
    try:
        with calls.answering():
            await response.prepare(request)
            await response.write(_line(Accepted(calls.instance)))
            async with aclosing(answer.frames()) as frames, aclosing(_in_time(frames, answer.beat, calls)) as batches:
                async for batch in batches:
                    async with asyncio.timeout(WRITE_S):
                        await response.write(b"".join(map(_line, batch)))
    except (ConnectionError, TimeoutError):
        logger.info("a front went away before its answer was whole")
        if request.transport is not None:
            request.transport.abort()
    return response


def _read_call(body: Mapping[str, Any]) -> tuple[Sender, Call]:
    """Return what was sent. Raises ApiError and RequestError, one sentence."""
    try:
        return from_wire(Sender, body.get("sender")), from_wire(Call, body.get("call"))  # type: ignore[arg-type]
    except ValueError as e:  # of the wire, or of a class that checks itself
        raise refuse(f"The call can't be read: {str(e).removesuffix('.')}.") from e


def _line(frame: Frame) -> bytes:
    return json.dumps(to_wire(Frame, frame), separators=(",", ":")).encode() + b"\n"


async def _in_time(
    frames: AsyncGenerator[Frame], beat: Callable[[], Frame], calls: OpenCalls
) -> AsyncGenerator[list[Frame]]:
    """Yield the frames, as many at once as there are, and a beat where none comes for a moment."""
    ready: asyncio.Queue[Frame | None] = asyncio.Queue(_MAX_UNREAD)

    async def take() -> None:
        async for frame in frames:
            await ready.put(frame)
        await ready.put(None)

    taking = asyncio.create_task(take())
    try:
        while True:
            try:
                async with asyncio.timeout(beat_s(calls.num_answering)):
                    batch = [await ready.get()]
            except TimeoutError:
                yield [beat()]
                continue
            while not ready.empty():
                batch.append(ready.get_nowait())
            yield [frame for frame in batch if frame is not None]
            if batch[-1] is None:
                return
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)


class _Answer:
    """One call and the frames that answer it."""

    def __init__(self, serving: Serving, calls: OpenCalls, sender: Sender, call: Call, route: str) -> None:
        self._serving = serving
        self._calls = calls
        self._sender = sender
        self._call = call
        self._route = route
        self._generation: Generation | None = None

    def beat(self) -> Frame:
        """Return the frame that says it still waits or runs."""
        return Beat(0 if self._generation is None else self._generation.num_ahead)

    async def frames(self) -> AsyncGenerator[Frame]:
        """Yield its frames; the last one is Ended or Failed."""
        engine, asker = self._serving.engine, self._sender.asker
        try:
            if isinstance(self._call, Generate | GenerateBatch):
                async with aclosing(self._write(_generation_of(engine, self._call, asker))) as wrote:
                    async for frame in wrote:
                        yield frame
            elif isinstance(self._call, Score):
                async with aclosing(self._score(self._call, asker)) as scored:
                    async for frame in scored:
                        yield frame
            else:
                yield self._end(await _ask(engine, self._call, asker))
        except FewshotError as e:
            yield fail(e)
        except Exception:
            logger.exception("a call of a front failed")
            yield fail(GenerationError("The engine's server failed at this; its log says why."))

    def _end(self, result: Any) -> Ended:
        return Ended(to_wire(RESULTS[type(self._call)], result), self._serving.engine.stats())

    async def _write(self, generation: Generation) -> AsyncGenerator[Frame]:
        started_at = time.perf_counter()
        self._generation = generation
        is_first = True
        async with generation:
            with self._calls.opened(self._sender, generation):
                async for delta in generation:
                    if is_first:
                        self._serving.metrics.count_first_token(self._route, time.perf_counter() - started_at)
                    is_first = False
                    yield Wrote(delta)
        timings = generation.timings
        if timings is not None:
            self._serving.metrics.count_tokens(num_in=timings.num_prompt_tokens, num_out=timings.num_new_tokens)
        yield self._end(
            Written(generation.completions, timings, generation.part_timings, generation.was_alone, generation.notice)
        )

    async def _score(self, call: Score, asker: Asker) -> AsyncGenerator[Frame]:
        """Score a text; yield how far it is."""
        news: asyncio.Queue[Progress | None] = asyncio.Queue()
        scoring = asyncio.create_task(
            self._serving.engine.score(
                call.text,
                num_expected=call.num_expected,
                asker=asker,
                on_progress=lambda num_done, num_all: news.put_nowait(Progress(num_done, num_all)),
            )
        )
        scoring.add_done_callback(lambda _: news.put_nowait(None))
        try:
            while (progress := await news.get()) is not None:
                yield progress
            yield self._end(await scoring)
        finally:
            scoring.cancel()
            await asyncio.wait((scoring,))


def _generation_of(engine: Engine, call: Generate | GenerateBatch, asker: Asker) -> Generation:
    if isinstance(call, Generate):
        return engine.generate(
            call.prompt,
            call.params,
            heal=call.heal,
            is_word_whole=call.is_word_whole,
            end_at=call.end_at,
            end_from=call.end_from,
            timeout_s=call.timeout_s,
            asker=asker,
            priority=call.priority,
            is_alone=call.is_alone,
        )
    return engine.generate_batch(
        call.prompts,
        call.params,
        heal=call.heal,
        is_word_whole=call.is_word_whole,
        end_at=call.end_at,
        timeout_s=call.timeout_s,
        asker=asker,
    )


def _ask(
    engine: Engine,
    call: (
        ScoreTokens
        | ScoreContinuations
        | ScoreAndSketch
        | ScoreDrawn
        | ExpectTokens
        | ExpectDrawn
        | ExpectWords
        | CountTokens
        | RenderChat
    ),
    asker: Asker,
) -> Awaitable[Any]:
    """Ask the engine for the result of a call that has no other frames."""
    match call:
        case ScoreTokens():
            return engine.score_tokens(
                call.prompt,
                call.new_ids,
                num_likeliest=call.num_likeliest,
                with_prompt=call.with_prompt,
                asker=asker,
            )
        case ScoreContinuations():
            return engine.score_continuations(call.prompt, call.continuations, asker=asker)
        case ScoreAndSketch():
            return engine.score_and_sketch(call.prompt, call.continuations, asker=asker)
        case ScoreDrawn():
            return engine.score_drawn(
                call.prompt, call.text, call.params, leads=call.leads, drawn=call.drawn, asker=asker
            )
        case ExpectTokens():
            return engine.next_tokens(call.prompt, num=call.num, asker=asker)
        case ExpectDrawn():
            return engine.drawn_tokens(call.prompt, call.params, num=call.num, asker=asker)
        case ExpectWords():
            return engine.next_words(call.prompt, num=call.num, asker=asker)
        case CountTokens():
            return engine.count_tokens(call.prompts)
        case RenderChat():
            return _render(engine, call)


async def _render(engine: Engine, call: RenderChat) -> Rendered:
    """Return the conversation in markup with its number of tokens, in one trip to the model's thread."""

    def render(tools: PromptTools) -> tuple[Prompt, int]:
        prompt = tools.render_chat(call.turns)
        return prompt, tools.count_tokens([prompt])[0]

    return Rendered(*await engine.make_prompt(render))
