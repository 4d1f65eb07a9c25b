"""The engine of another process, with the same face and the same results as one in this program."""

import asyncio
import copy
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, TypeVar

from bot.background import keep_running
from bot.core.chat_prompt import PromptTools
from bot.core.ending import EndRule
from bot.core.engine import MAX_QUEUE_S, NOBODY, Asker, Priority
from bot.core.engine_calls import (
    RESULTS,
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
    OtherModel,
    Progress,
    RenderChat,
    Rendered,
    Score,
    ScoreAndSketch,
    ScoreContinuations,
    ScoreDrawn,
    ScoreTokens,
    key_of,
)
from bot.core.prompt_parts import ChatTurn, Prompt
from bot.core.results import (
    DrawnText,
    DrawnTokens,
    EngineStats,
    ModelInfo,
    NextTokens,
    ScoredToken,
    SketchedScores,
    Timings,
    TokenScore,
    WordProbability,
)
from bot.core.sampling_params import SamplingParams
from bot.core.wire import WireError, from_wire
from bot.errors import FewshotError, GenerationError, ModelChanged, ModelError
from bot.remote.choice import PREFIX, RemoteChoice
from bot.remote.own_server.connection import Connection, NotOurs, ServerAway
from bot.remote.own_server.generation import GenerationCall, ServedGeneration
from bot.remote.own_server.patience import Patience
from bot.remote.prompt_making import KnownCounts, make_with
from bot.trace import note_step

ResultT = TypeVar("ResultT")

logger = logging.getLogger(__name__)

_LOOK_S: Final = 2.0


class ServedEngine:
    """The engine of a server that `connection` leads to; `hello` is what it said at the start.

    A server that is away is waited for, and asked again: an answer depends on nothing but what was asked and the model.
    If it comes back with another model, what was meant for the first is refused with one sentence, and `info` is new;
    that of a pinned one stays.
    """

    def __init__(
        self, connection: Connection, hello: Hello, on_answer: Callable[[Timings], None] | None = None
    ) -> None:
        self._on_answer = on_answer
        self._connection = connection
        self._counts = KnownCounts()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_away = False
        self.num_lost = 0  # calls that the server had started when it was lost
        self._hello = hello
        self._model = key_of(hello.info)
        self._stats = hello.stats
        self._root = self  # what hears of the server, also for those that are pinned

    @classmethod
    @asynccontextmanager
    async def open(
        cls, connection: Connection, hello: Hello, on_answer: Callable[[Timings], None] | None = None
    ) -> AsyncIterator["ServedEngine"]:
        """Use the server for a block; `on_answer` is given the timings of each generation."""
        engine = cls(connection, hello, on_answer)
        looking = keep_running(engine._watch, "looking at the model's server")
        try:
            yield engine
        finally:
            for task in (looking, *engine._tasks):
                task.cancel()
            await asyncio.gather(looking, *engine._tasks, return_exceptions=True)

    def pinned(self) -> "ServedEngine":
        """Return this engine with the model of now: where the server has another one later, that is refused."""
        return copy.copy(self)

    @property
    def info(self) -> ModelInfo:
        """Return the facts about the model, as last heard."""
        return self._hello.info

    def stats(self) -> EngineStats:
        """Return the server's counts, rates and percentiles, as last heard."""
        return self._root._stats

    @property
    def num_calls(self) -> int:
        """Return how many calls were sent."""
        return self._connection.num_calls

    async def _watch(self) -> None:
        """Hear the server's figures now and then, and whether it is there."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self._look()

    async def _look(self) -> None:
        try:
            hello = await self._connection.hello()
        except (ServerAway, FewshotError) as e:
            if not self._is_away:
                logger.warning("The model's server is away: %s", e)
            self._is_away = True
            return
        if self._is_away:
            logger.warning("The model's server is back.")
        self._is_away = False
        self._take(hello)

    def _take(self, hello: Hello) -> None:
        model = key_of(hello.info)
        if model != self._model:
            logger.warning("The model's server has another model now: %s.", hello.info.name)
        self._hello, self._model, self._stats = hello, model, hello.stats

    async def _send(self, call: Call, asker: Asker, model: str, call_id: str = "") -> AsyncGenerator[Frame]:
        """Yield the frames that answer `call`. Raises ServerAway, and FewshotError as the engine does."""
        try:
            async with aclosing(self._connection.ask(call, asker, model=model, call_id=call_id)) as frames:
                async for frame in frames:
                    if isinstance(frame, Ended):
                        self._root._stats = frame.stats
                    yield frame
        except ServerAway as e:
            self._root.num_lost += e.was_accepted
            raise
        except OtherModel as e:
            await self._root._look()
            raise ModelChanged(f"The model changed: it is {self._root.info.name} now. Ask again.") from e

    async def _ask(
        self, call: Call, asker: Asker, model: str, on_progress: Callable[[int, int], None] | None = None
    ) -> Any:
        """Return the result of `call`; ask again while the server is away, up to a minute each time."""
        patience = Patience(MAX_QUEUE_S)
        while True:
            try:
                async with aclosing(self._send(call, asker, model)) as frames:
                    async for frame in frames:
                        patience.hear(restarts_clock=True)
                        if isinstance(frame, Progress) and on_progress is not None:
                            on_progress(frame.num_done, frame.num_all)
                        if isinstance(frame, Ended):
                            return _result_of(call, frame)
            except ServerAway as e:
                await patience.wait(e)

    async def _score(self, call: Call, asker: Asker, on_progress: Callable[[int, int], None] | None = None) -> Any:
        note_step(asker.request_id, "queued")
        result = await self._ask(call, asker, self._model, on_progress)
        note_step(asker.request_id, "scored")
        return result

    def _cancel(self, call_id: str) -> None:
        """Tell the server that nobody wants more of a generation; without it, it is told by its closed connection."""

        async def tell() -> None:
            try:
                await self._connection.cancel(call_id)
            except ServerAway as e:
                logger.info("a generation could not be cancelled: %s", e)

        task = asyncio.create_task(tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _generation(
        self, call: GenerationCall, params: SamplingParams, num_completions: int, asker: Asker
    ) -> ServedGeneration:
        model = self._model

        def send(call: GenerationCall, call_id: str) -> AsyncGenerator[Frame]:
            return self._send(call, asker, model, call_id)

        return ServedGeneration(
            send,
            self._cancel,
            call,
            params,
            num_completions=num_completions,
            asker=asker,
            on_answer=self._on_answer,
        )

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        heal: bool = False,
        is_word_whole: bool = False,
        end_at: EndRule | None = None,
        end_from: int = 0,
        timeout_s: float = MAX_QUEUE_S,
        asker: Asker = NOBODY,
        priority: Priority = "chat",
        is_alone: bool = False,
    ) -> ServedGeneration:
        """Return a generation, as bot.core.engine.Engine says. Raises TypeError for an `end_at` that is no EndRule."""
        params = params.with_seed()
        call = Generate(prompt, params, heal, is_word_whole, end_at, end_from, timeout_s, priority, is_alone)
        return self._generation(call, params, params.n, asker)

    def generate_batch(
        self,
        prompts: Sequence[Prompt],
        params: Sequence[SamplingParams],
        *,
        heal: bool = False,
        is_word_whole: bool = False,
        end_at: EndRule | None = None,
        timeout_s: float = MAX_QUEUE_S,
        asker: Asker = NOBODY,
    ) -> ServedGeneration:
        """Return a generation of one continuation for each of `prompts`, as bot.core.engine.Engine says."""
        given, options = tuple(prompts), tuple(one.with_seed() for one in params)
        if not given or len(options) != len(given) or any(one.n != 1 for one in options):
            raise ValueError("A batch needs at least one prompt, options for each prompt, and n = 1.")
        call = GenerateBatch(given, options, heal, is_word_whole, end_at, timeout_s)
        return self._generation(call, options[0], len(given), asker)

    async def score(
        self,
        text: str,
        *,
        num_expected: int = 0,
        asker: Asker = NOBODY,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> tuple[TokenScore, ...]:
        """Return the scores of the tokens of `text`, as bot.core.engine.Engine says."""
        found: tuple[TokenScore, ...] = await self._score(Score(text, num_expected), asker, on_progress)
        return found

    async def score_tokens(
        self,
        prompt: Prompt,
        new_ids: Sequence[int] = (),
        *,
        num_likeliest: int = 0,
        with_prompt: bool = True,
        asker: Asker = NOBODY,
    ) -> tuple[ScoredToken, ...]:
        """Return the tokens of `prompt` and `new_ids` with their scores, as bot.core.engine.Engine says."""
        call = ScoreTokens(prompt, tuple(new_ids), num_likeliest, with_prompt)
        found: tuple[ScoredToken, ...] = await self._score(call, asker)
        return found

    async def score_continuations(
        self, prompt: Prompt, continuations: Sequence[str], *, asker: Asker = NOBODY
    ) -> tuple[float, ...]:
        """Return the total log-probability (nats) of each continuation, as bot.core.engine.Engine says."""
        found: tuple[float, ...] = await self._score(ScoreContinuations(prompt, tuple(continuations)), asker)
        return found

    async def score_and_sketch(
        self, prompt: Prompt, continuations: Sequence[str], *, asker: Asker = NOBODY
    ) -> SketchedScores:
        """Return what `score_continuations` does, and a sketch, as bot.core.engine.Engine says."""
        found: SketchedScores = await self._score(ScoreAndSketch(prompt, tuple(continuations)), asker)
        return found

    async def score_drawn(
        self,
        prompt: Prompt,
        text: str,
        params: SamplingParams,
        *,
        leads: Sequence[str] = ("",),
        drawn: DrawnTokens | None = None,
        asker: Asker = NOBODY,
    ) -> DrawnText:
        """Return the tokens of an answer as `params` draw them, as bot.core.engine.Engine says."""
        found: DrawnText = await self._score(ScoreDrawn(prompt, text, params, tuple(leads), drawn), asker)
        return found

    async def next_tokens(self, prompt: Prompt, *, num: int, asker: Asker = NOBODY) -> tuple[WordProbability, ...]:
        """Return the likeliest next tokens, as bot.core.engine.Engine says."""
        found: tuple[WordProbability, ...] = await self._score(ExpectTokens(prompt, num), asker)
        return found

    async def drawn_tokens(
        self, prompt: Prompt, params: SamplingParams, *, num: int, asker: Asker = NOBODY
    ) -> NextTokens:
        """Return how `params` draw the likeliest next tokens, as bot.core.engine.Engine says."""
        found: NextTokens = await self._score(ExpectDrawn(prompt, params, num), asker)
        return found

    async def next_words(self, prompt: Prompt, *, num: int, asker: Asker = NOBODY) -> tuple[WordProbability, ...]:
        """Return the likeliest next words, as bot.core.engine.Engine says."""
        found: tuple[WordProbability, ...] = await self._score(ExpectWords(prompt, num), asker)
        return found

    async def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        """Return the number of tokens of each prompt, as bot.core.engine.Engine says."""
        return await self.make_prompt(lambda tools: tools.count_tokens(prompts))

    async def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        """Return `turns` in the model's own chat markup, as bot.core.engine.Engine says."""
        return await self.make_prompt(lambda tools: tools.render_chat(turns))

    async def make_prompt(self, make: Callable[[PromptTools], ResultT]) -> ResultT:
        """Return the result of `make`, as bot.core.engine.Engine says; it is called again after each trip."""
        model = self._model

        async def count(prompts: tuple[Prompt, ...]) -> tuple[int, ...]:
            found: tuple[int, ...] = await self._ask(CountTokens(prompts), NOBODY, model)
            return found

        async def render(turns: tuple[ChatTurn, ...]) -> Rendered:
            found: Rendered = await self._ask(RenderChat(turns), NOBODY, model)
            return found

        return await make_with(make, self._counts, model, count=count, render=render)


def _result_of(call: Call, frame: Ended) -> Any:
    try:
        return from_wire(RESULTS[type(call)], frame.result)
    except WireError as e:
        raise GenerationError("The engine's server gave a result that can't be read.") from e


async def wait_for_server(connection: Connection, tell: Callable[[str], None], *, limit_s: float) -> Hello | None:
    """Return what the server says of itself once it is there, None if it is none of this bot.

    `tell` is told of the waiting. Raises Unavailable after `limit_s`, ModelError for another version of this bot.
    """
    patience, is_told = Patience(limit_s), False
    while True:
        try:
            return await connection.hello()
        except NotOurs:
            return None
        except ServerAway as e:
            if not is_told:
                tell(f"Waiting for the model's server at {connection.host}, at most {limit_s:.0f} s …")
            is_told = True
            await patience.wait(e)


@asynccontextmanager
async def open_own_server(
    choice: RemoteChoice,
    tell: Callable[[str], None],
    *,
    limit_s: float,
    on_answer: Callable[[Timings], None] | None = None,
) -> AsyncIterator[ServedEngine | None]:
    """Wait for the server of `choice` and use it for a block; None if it is none of this bot.

    Raises ModelError if it has another model, or is another version of this bot, and Unavailable after `limit_s`.
    """
    async with Connection.open(choice.api_base, choice.api_key) as connection:
        hello = await wait_for_server(connection, tell, limit_s=limit_s)
        if hello is None:
            yield None
            return
        if hello.info.name != choice.model:
            raise ModelError(
                f"The server at {choice.host} has the model {hello.info.name}, not {choice.model}. Set"
                f" MODEL={PREFIX}{hello.info.name}, or MODEL_API_BASE to another server."
            )
        async with ServedEngine.open(connection, hello, on_answer) as engine:
            yield engine
