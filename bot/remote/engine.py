"""A model of a server behind the face that all engines have."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar
from weakref import WeakSet

from bot.core.chat_prompt import PromptTools
from bot.core.ending import EndRule
from bot.core.engine import MAX_QUEUE_S, NOBODY, Asker, Priority
from bot.core.prompt_parts import ChatTurn, Prompt
from bot.core.request_counts import RequestCounts
from bot.core.results import (
    SERVED_PRECISION,
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
from bot.errors import FewshotError, RequestError, SetupError
from bot.remote.abilities import NO_DRAWABLE, NO_DRAWN, NO_IDS, NO_SKETCH, Abilities
from bot.remote.admission import Admission
from bot.remote.bodies import most_pieces, options_of, put
from bot.remote.choice import RemoteChoice
from bot.remote.continuation import Continuation
from bot.remote.counting import Counting, estimate
from bot.remote.failures import ServerFailure
from bot.remote.generation import RemoteGeneration
from bot.remote.kept import keep_abilities, read_abilities
from bot.remote.probe import Probe
from bot.remote.scoring import Scoring
from bot.remote.server import Server
from bot.remote.writing import Part, Writing
from bot.trace import note_step

ResultT = TypeVar("ResultT")

_LOOK_S: Final = 15.0
_MOST_CONTEXT: Final = 100_000_000


class RemoteEngine:
    """A model of a server. Open it once and use it from one event loop; every call is one request in its queue."""

    def __init__(
        self,
        server: Server,
        abilities: Abilities,
        admission: Admission,
        on_answer: Callable[[Timings], None] | None = None,
    ) -> None:
        choice = server.choice
        context_length = abilities.context_length or choice.context_length
        self.info = _info_of(choice, abilities, context_length)
        self._server = server
        self._abilities = abilities
        self._admission = admission
        self._counting = Counting(server, abilities)
        self._scoring = Scoring(server, abilities, context_length=context_length)
        self._counts = RequestCounts(time.perf_counter(), on_answer)
        self._writings: WeakSet[Writing] = WeakSet()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        choice: RemoteChoice,
        *,
        max_waiting: int = 64,
        max_running: int = 32,
        max_running_per_person: int = 1,
        tell: Callable[[str], None] = lambda _: None,
        on_answer: Callable[[Timings], None] | None = None,
    ) -> AsyncIterator["RemoteEngine"]:
        """Find out what the server can do, unless that is known of its version; at the end cancel all requests.

        At most `max_waiting` requests wait and `max_running` run; `tell` gets sentences about the progress, and
        `on_answer` the timings of each generation. Raises SetupError.
        """
        async with Server.open(choice) as server:
            abilities = await find_abilities(server, tell)
            admission = Admission(
                max_waiting=max_waiting, max_running=max_running, max_running_per_person=max_running_per_person
            )
            engine = cls(server, abilities, admission, on_answer)
            try:
                yield engine
            finally:
                await engine.close()

    def pinned(self) -> "RemoteEngine":
        """Return this engine: its server tells nobody when it changes a model."""
        return self

    async def close(self) -> None:
        """Refuse what waits, and end what runs."""
        self._admission.close()
        await asyncio.gather(*(writing.close() for writing in list(self._writings)))

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
    ) -> RemoteGeneration:
        """Return a generation of `params.n` continuations; it starts when it is entered (see Engine.generate).

        A half-typed word is continued as the server's tokens have it: no server heals it. It never runs alone.
        """
        params = params.with_seed()
        at_once = params.n if self._abilities.takes_n else 1

        def start() -> Writing:
            parts = [
                self._part(prompt, params.shift_seed(first), range(first, first + at_once), end_at, end_from)
                for first in range(0, params.n, at_once)
            ]
            return self._begin(parts, timeout_s, asker, priority)

        return RemoteGeneration(start, params)

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
    ) -> RemoteGeneration:
        """Return a generation of one continuation for each of `prompts`, each by its own request to the server.

        Raises ValueError without a prompt, without options for each, or if an `n` is not 1.
        """
        given, options = tuple(prompts), tuple(one.with_seed() for one in params)
        if not given or len(options) != len(given) or any(one.n != 1 for one in options):
            raise ValueError("A batch needs at least one prompt, options for each prompt, and n = 1.")

        def start() -> Writing:
            pairs = enumerate(zip(given, options, strict=True))
            parts = [self._part(prompt, one, range(i, i + 1), end_at, 0) for i, (prompt, one) in pairs]
            return self._begin(parts, timeout_s, asker, "chat")

        return RemoteGeneration(start, options[0])

    async def score(
        self,
        text: str,
        *,
        num_expected: int = 0,
        asker: Asker = NOBODY,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> tuple[TokenScore, ...]:
        """Return the log-probability of each of the server's tokens of `text`; the first one's is not known.

        A token's rank is known only among the `num_expected` likeliest. Raises RequestError, Unavailable.
        """
        scores = self._scoring.score(text, num_expected=num_expected, on_progress=on_progress)
        return await self._ask(lambda: scores, asker)

    async def score_tokens(
        self,
        prompt: Prompt,
        new_ids: Sequence[int] = (),
        *,
        num_likeliest: int = 0,
        with_prompt: bool = True,
        asker: Asker = NOBODY,
    ) -> tuple[ScoredToken, ...]:
        """Raise RequestError: servers name no token ids."""
        raise RequestError(NO_IDS)

    async def score_continuations(
        self, prompt: Prompt, continuations: Sequence[str], *, asker: Asker = NOBODY
    ) -> tuple[float, ...]:
        """Return the log-probability (nats) of each continuation after `prompt`.

        Of a server without scores of given texts, several continuations are weighed by their first tokens, if these
        tell them apart. Raises RequestError, PromptTooLong, Unavailable.
        """
        return await self._ask(lambda: self._scoring.score_continuations(prompt, tuple(continuations)), asker)

    async def score_and_sketch(
        self, prompt: Prompt, continuations: Sequence[str], *, asker: Asker = NOBODY
    ) -> SketchedScores:
        """Raise RequestError: no server tells what a sketch needs."""
        raise RequestError(NO_SKETCH)

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
        """Raise RequestError: no server tells with what probability its options draw a token."""
        raise RequestError(NO_DRAWN)

    async def next_tokens(self, prompt: Prompt, *, num: int, asker: Asker = NOBODY) -> tuple[WordProbability, ...]:
        """Return the likeliest next tokens at temperature 1, `num` or as many as the server tells.

        Raises RequestError, Unavailable.
        """
        return await self._ask(lambda: self._scoring.next_tokens(prompt, num=num), asker)

    async def drawn_tokens(
        self, prompt: Prompt, params: SamplingParams, *, num: int, asker: Asker = NOBODY
    ) -> NextTokens:
        """Raise RequestError: no server tells what its options leave."""
        raise RequestError(NO_DRAWABLE)

    async def next_words(self, prompt: Prompt, *, num: int, asker: Asker = NOBODY) -> tuple[WordProbability, ...]:
        """Return the likeliest next words: of each likely next token the likeliest word that begins with it.

        Raises RequestError, Unavailable.
        """
        return await self._ask(lambda: self._scoring.next_words(prompt, num=num), asker)

    async def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        """Return the number of tokens of each prompt, estimated where the server does not count. Raises Unavailable."""
        return await self._counting.count(tuple(prompts))

    async def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        """Return `turns` as a prompt whose markup the server adds. Raises ModelError for a server without chat."""
        given = tuple(turns)
        return await self._counting.make(lambda tools: tools.render_chat(given))

    async def make_prompt(self, make: Callable[[PromptTools], ResultT]) -> ResultT:
        """Return the result of `make`, a pure function: it may be called several times, as counts come from the server.

        Raises Unavailable, and the errors of `make`.
        """
        return await self._counting.make(make)

    def stats(self) -> EngineStats:
        """Return counts, rates and percentiles since the engine was opened."""
        return self._counts.snapshot(
            num_waiting=self._admission.num_waiting,
            num_running=self._admission.num_running,
            num_restarts=0,
            now=time.perf_counter(),
        )

    def _part(
        self, prompt: Prompt, params: SamplingParams, indexes: range, end_at: EndRule | None, end_from: int
    ) -> Part:
        """Return the request for continuations of one prompt. Raises RequestError for beam search."""
        self._abilities.check_beams(params.num_beams)
        ask = put(prompt, self._server.choice.model, self._abilities)
        num_prompt = estimate(prompt)
        room = self.info.context_length - num_prompt
        if 0 < room < params.max_new_tokens:  # servers refuse what may not fit
            params = replace(params, max_new_tokens=room)
        body = ask.body | options_of(params, self._abilities, n=len(indexes), path=ask.path)
        if self._abilities.tells_usage:
            body["stream_options"] = {"include_usage": True}
        continuations = [
            Continuation(
                index,
                stops=params.stop,
                end_at=end_at,
                end_from=end_from,
                max_pieces=most_pieces(params.max_new_tokens, self._abilities, ask.path),
                before=prompt.text,
                join=ask.join,
            )
            for index in indexes
        ]
        is_cold = params.is_greedy and "temperature" in self._abilities.options
        return Part(ask.path, body, continuations, is_cold or self._abilities.keeps_seed, num_prompt)

    def _begin(self, parts: Sequence[Part], timeout_s: float, asker: Asker, priority: Priority) -> Writing:
        writing = Writing(
            self._server,
            self._admission,
            parts,
            timeout_s=timeout_s,
            asker=asker,
            priority=priority,
            on_end=self._count,
        )
        self._writings.add(writing)
        return writing

    def _count(self, writing: Writing) -> None:
        self._counts.count_end(writing.ended)
        if writing.timings is not None:
            self._counts.count_answer(writing.timings)

    async def _ask(self, ask: Callable[[], Awaitable[ResultT]], asker: Asker) -> ResultT:
        """Return the result of `ask` when it has had its turn."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended.add_done_callback(lambda done: done.cancelled() or done.exception())
        note_step(asker.request_id, "queued", waiting=self._admission.num_waiting)
        try:
            async with self._admission.turn(asker, "scoring", timeout_s=MAX_QUEUE_S):
                result = await ask()
        except FewshotError as e:
            ended.set_exception(e)
            raise
        except BaseException:
            ended.cancel()
            raise
        else:
            ended.set_result(None)
        finally:
            self._counts.count_end(ended)
        note_step(asker.request_id, "scored")
        return result


def _info_of(choice: RemoteChoice, abilities: Abilities, context_length: int) -> ModelInfo:
    return ModelInfo(
        name=choice.name,
        folder="",
        device=choice.host,
        precision=SERVED_PRECISION,
        context_length=context_length,
        num_parameters=0,
        model_type="",
        has_cache=False,
        has_chat_template=abilities.has_chat,
        vocab_size=0,
        server=f"{choice.host} {abilities.server}".strip(),
        counts_tokens=abilities.counts_tokens,
        abilities=abilities.rows,
        lacking=abilities.lacking,
        reads_pictures=abilities.reads_pictures,
        weights_digest=hashlib.sha256(f"{choice.api_base} {abilities.server}".encode()).hexdigest()[:16],
    )


async def find_abilities(server: Server, tell: Callable[[str], None]) -> Abilities:
    """Return what the server does with its model: as it is known of its version, else by asking. Raises SetupError."""
    choice = server.choice
    try:
        async with asyncio.timeout(_LOOK_S):
            version, context_length = await look_at(server)
    except (ServerFailure, TimeoutError) as e:
        known = read_abilities(choice, None)
        if known is None or (isinstance(e, ServerFailure) and e.status in (401, 403)):
            reason = str(e.error) if isinstance(e, ServerFailure) else f"It does not answer within {_LOOK_S:.0f} s."
            raise SetupError(f"{choice.name} at {choice.host} can't be used now. {reason}") from e
        tell(f"{choice.host} does not answer now; what it could do before holds until the next start.")
        return known
    known = read_abilities(choice, version)
    if known is not None and known.context_length == context_length:
        return known
    found = await Probe(server, server_version=version, tell=tell).run(context_length)
    keep_abilities(choice, found)
    return found


async def look_at(server: Server) -> tuple[str, int | None]:
    """Return the server's version, as far as it tells it, and the model's context length, None if it does not.

    Raises ServerFailure for a wrong key and a server that can't be reached.
    """
    entry: dict[str, Any] = {}
    try:
        listed = await server.get("/models")
    except ServerFailure as e:
        if e.may_pass or e.status in (401, 403):
            raise
        listed = None  # there is no list
    rows = listed.get("data") if isinstance(listed, dict) else None
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row.get("id") == server.choice.model:
            entry = row
    try:
        told = await server.get(server.beside("/version"))
    except ServerFailure:
        told = None  # most servers have none
    version = told.get("version") if isinstance(told, dict) else None
    length = entry.get("max_model_len")
    is_length = isinstance(length, int) and not isinstance(length, bool) and 0 < length <= _MOST_CONTEXT
    names = [one for one in (entry.get("owned_by"), version) if isinstance(one, str)]
    return " ".join(names), length if is_length else None
