"""Requests that fail in every way beside others: the failing ones end, the others are right, nothing leaks.

`FEWSHOT_FAULTS=5000 pytest tests/engine/test_faults.py` takes as many faults as named.
"""

import asyncio
import contextlib
import gc
import os
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pytest
import torch

from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.engine.engine import LocalEngine
from bot.engine.loaded_model import LoadedModel
from bot.engine.networks.choosing_network import open_network
from bot.engine.networks.network import Network, Segment
from bot.engine.paged_cache import PagedCache
from bot.engine.requests.generation import GenerationResult, plan_generation, plan_job
from bot.engine.requests.work import Feed, Job, QuickWork, Steps, Work, WorkCancelled
from bot.engine.sampler.sampler import Choice, TokenChooser
from bot.engine.stream import LocalGeneration
from bot.errors import FewshotError, GenerationError
from tests.engine.running import Ends, Pair, load_pair, run_transformers
from tests.engine.watching import Arrival, WatchedNetwork, check_nothing_is_left, drive, on_network

NUM_FAULTS: Final = int(os.environ.get("FEWSHOT_FAULTS", "1000"))
TEXTS = (
    "The cat sat on the mat and looked at the other cats.",
    "Once upon a time",
    "Text: I love this. Mood: Positive\nText: I hate this. Mood:",
    "Hello there, who are you?",
)
GOOD = (
    SamplingParams(temperature=0, max_new_tokens=10),
    SamplingParams(temperature=0, max_new_tokens=14, repetition_penalty=1.0),
    SamplingParams(seed=3, max_new_tokens=10),
    SamplingParams(n=3, seed=4, max_new_tokens=8, top_k=0),
    SamplingParams(num_beams=3, n=2, max_new_tokens=6),
    SamplingParams(seed=9, max_new_tokens=12, repetition_penalty=1.3, no_repeat_ngram_size=2, top_p=0.8),
)
POISON = "%"  # a token that no good text begins with: rows that do get logits of NaN
CURSE = "@"  # … make the whole pass fail
BURDEN = "#"  # … need more memory than there is


class FaultyNetwork(WatchedNetwork):
    """A real network that fails where a row begins with a certain token, and now and then where many rows meet."""

    def __init__(
        self, network: Network, *, poison: int, curse: int, burden: int, num_blocks: int | None = None
    ) -> None:
        super().__init__(network, num_blocks=num_blocks)
        self._poison, self._curse, self._burden = poison, curse, burden

    def forward_by_layers(self, segments: Sequence[Segment]) -> Generator[None, None, torch.Tensor]:
        yield from ()
        return self.forward(segments)

    def make_twin(self) -> Self:
        return self

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Read the segments unless there is something in the way."""
        for segment in segments:
            known = segment.ids[:2]  # the first one may be BOS
            if self._curse in known:
                raise RuntimeError("The network stumbles.")
            if self._burden in known:
                raise torch.OutOfMemoryError("One row is too much.")
        if len(segments) > 6 and len(self.passes) % 3 == 0:
            self.passes.append(self.passes[-1])
            raise torch.OutOfMemoryError("Too many rows.")
        logits = super().forward(segments)
        at = 0
        for segment in segments:
            if self._poison in segment.ids[:2]:
                logits[at : at + segment.num_logits] = float("nan")
            at += segment.num_logits
        return logits


def single_id(model: LoadedModel, text: str) -> int:
    (token_id,) = model.tokenizer.encode_text(text).ids
    return token_id


@pytest.fixture(scope="module")
def loaded(tiny_model: Callable[[str], Path]) -> Callable[[str], Pair]:
    return cache(lambda name: load_pair(tiny_model(name)))


@cache
def written_alone(pair: Pair, text: str, params: SamplingParams) -> list[list[int]]:
    return run_transformers(pair, text, params)


def plan(model: LoadedModel, text: str, params: SamplingParams, **options: Any) -> Job[GenerationResult]:
    planned = plan_generation(model, Prompt.plain(text), params, heal=False, **options)
    return plan_job(model, planned, params, lambda delta: None)


def with_broken(params: SamplingParams, **values: Any) -> SamplingParams:
    """Return options that no check has seen."""
    broken = replace(params)
    for name, value in values.items():
        object.__setattr__(broken, name, value)
    return broken


def steps_of(model: LoadedModel, feed: Callable[[Any], Feed]) -> Steps[object]:
    with model.writing.cache.rows() as rows:
        while True:
            answer = (yield [feed(rows)])[0]
            if isinstance(answer, str):
                return answer


class StubbornSteps:
    """What a request must not do: go on after it was cancelled."""

    @staticmethod
    def make(model: LoadedModel) -> Steps[object]:
        with model.writing.cache.rows() as rows:
            for _ in range(6):
                try:
                    yield [Feed(rows.open([5, 6, 7]))]
                except WorkCancelled:
                    continue
        return "at last"


def raise_error(*_: Any) -> Any:
    raise ZeroDivisionError("secret text")


class BadIds(list[int]):
    """A row's tokens that break when a processor looks at them."""

    def __len__(self) -> int:
        raise ZeroDivisionError("secret text")


def faults(model: LoadedModel) -> list[Callable[[], Job[Any]]]:
    """Return every kind of request that goes wrong, planned when called."""
    vocab_size, context = model.info.vocab_size, model.info.context_length
    good, text = GOOD[2], TEXTS[0]

    def job(feed: Callable[[Any], Feed], num_blocks: int = 8) -> Callable[[], Job[Any]]:
        return lambda: Job(steps_of(model, feed), model.writing, 1, num_blocks)

    def choices(
        ids: Sequence[int], params: SamplingParams = good, *, index: Any = 0, allowed: Any = None
    ) -> list[Choice]:
        return [Choice(TokenChooser(params, model.device), index, ids, allowed)]

    def row_of_choices(**options: Any) -> Callable[[], Job[Any]]:
        return job(lambda rows: Feed(rows.open([5, 6]), choices(**{"ids": [5, 6], **options})))

    banning = replace(good, repetition_penalty=1.0, no_repeat_ngram_size=2)
    return [
        job(lambda rows: Feed(rows.open([vocab_size]))),
        job(lambda rows: Feed(rows.open([3, -1, 4]))),
        job(lambda rows: Feed(rows.open([2**70]))),
        job(lambda rows: Feed(rows.open([]))),
        job(lambda rows: Feed(rows.open(["a", None]))),
        job(lambda rows: Feed(rows.open([5] * (context + 1)))),
        job(lambda rows: Feed(rows.open([5] * 400), take=raise_error, num_logits=400), 30),
        job(lambda rows: Feed(rows.open([5, 6]), take=raise_error, num_logits=2)),
        job(lambda rows: Feed(rows.open([5, 6]), choices([-7, 3], replace(good, repetition_penalty=1.3)))),
        job(lambda rows: Feed(rows.open([5, 6]), choices(BadIds([5, 6])))),
        row_of_choices(ids=[5, vocab_size]),
        row_of_choices(ids=[5, 2**70]),
        row_of_choices(ids=[5, -9000, 5], params=banning),
        row_of_choices(ids=[5, vocab_size, 5], params=banning),
        row_of_choices(index=good.n),
        row_of_choices(index=-1),
        row_of_choices(index=2**70),
        row_of_choices(index="a"),
        row_of_choices(allowed=[3, vocab_size]),
        row_of_choices(allowed=[3, -1]),
        row_of_choices(allowed=[2**70]),
        row_of_choices(allowed=["a"]),
        *[
            row_of_choices(params=with_broken(good, **{name: "a"}))
            for name in ("top_k", "top_p", "min_p", "repetition_penalty", "no_repeat_ngram_size")
        ],
        job(lambda rows: Feed(rows.open([5, 6]), choices([5, 6]), drafts=[vocab_size + 5])),
        job(lambda rows: Feed(rows.open([5, 6]), choices([5, 6]), drafts=["a"])),  # type: ignore[list-item]
        job(raise_error),
        lambda: plan(model, text, with_broken(good, temperature=float("nan"))),
        lambda: plan(model, text, with_broken(good, temperature=float("inf"))),
        lambda: plan(model, text, with_broken(good, top_p=float("nan"), top_k=0)),
        lambda: plan(model, text, with_broken(good, min_p=float("nan"), top_k=0)),
        lambda: plan(model, text, with_broken(good, min_p=-0.5)),
        lambda: plan(model, text, with_broken(good, repetition_penalty=float("nan"))),
        lambda: plan(model, text, with_broken(good, top_k=-5)),
        lambda: plan(model, text, with_broken(good, top_k="a")),
        lambda: plan(model, text, with_broken(GOOD[3], top_p="a")),
        lambda: plan(model, text, with_broken(GOOD[0], repetition_penalty="a")),
        lambda: plan(model, text, with_broken(GOOD[4], repetition_penalty=float("nan"))),
        lambda: plan(model, text, replace(good, max_new_tokens=80, no_repeat_ngram_size=1)),
        lambda: plan(model, text, good, end_at=raise_error),
        lambda: plan(model, text, good, end_at=lambda shown: raise_error() if len(shown) > 3 else None),
        lambda: plan(model, text, good, end_at=lambda shown: "soon"),  # type: ignore[arg-type, return-value]
        lambda: plan(model, "cat " * 300, good),
        lambda: plan(model, f"{POISON} The cat", good),
        lambda: plan(model, f"{POISON} The cat", GOOD[4]),
        lambda: plan(model, f"{CURSE} The cat sat", GOOD[3]),
        lambda: plan(model, f"{BURDEN} The cat sat", GOOD[3]),
        lambda: Job(StubbornSteps.make(model), model.writing, 1, 12),
    ]


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep the many lines about what goes wrong out of the way."""
    caplog.set_level("CRITICAL")


def count_objects() -> dict[str, int]:
    gc.collect()
    kinds = (
        Job,
        Work,
        QuickWork,
        Feed,
        LocalGeneration,
        torch.Tensor,
        asyncio.Future,
        asyncio.Task,
        BaseException,
        np.ndarray,
    )
    num_of = Counter(map(type, gc.get_objects()))
    return {kind.__name__: sum(num for one, num in num_of.items() if issubclass(one, kind)) for kind in kinds}


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.usefixtures("quiet")
def test_requests_that_go_wrong_end_alone_whenever_they_come(loaded: Callable[[str], Pair], name: str) -> None:
    pair = loaded(name)
    ids = {word: single_id(pair.ours, mark) for word, mark in zip(("poison", "curse", "burden"), "%@#", strict=True)}
    model = on_network(pair.ours, FaultyNetwork(pair.ours.writing.network, num_blocks=120, **ids))
    kinds = faults(model)
    drawn = random.Random(name)
    num_ended = dict.fromkeys(range(len(kinds)), 0)
    sizes: list[dict[str, int]] = []
    for batch in range(max(4, NUM_FAULTS // 2 // 50)):
        good = [(drawn.choice(TEXTS), drawn.choice(GOOD), drawn.randrange(60)) for _ in range(10)]
        arrivals = [
            Arrival(lambda text=text, params=params: plan(model, text, params), step)  # type: ignore[misc]
            for text, params, step in good
        ]
        bad = [(at % len(kinds), drawn.randrange(60)) for at in range(batch * 50, batch * 50 + 50)]
        broken = []
        for kind, step in bad:
            try:
                job = kinds[kind]()
            except FewshotError:
                num_ended[kind] += 1  # refused when planned: it never reaches the loop
                continue
            cancelled_at = step + drawn.randrange(30) if drawn.random() < 0.2 else None
            broken.append((kind, Arrival(lambda job=job: job, step, cancelled_at)))  # type: ignore[misc]
        stalled = [Arrival(lambda: plan(model, TEXTS[0], GOOD[2]), at, at + at) for at in range(12)]
        late = Arrival(lambda: plan(model, TEXTS[0], GOOD[1]), 5)
        late.work.deadline = 0.0
        ends = drive([*arrivals, *(arrival for _, arrival in broken), *stalled, late])
        for (text, params, _), arrival in zip(good, arrivals, strict=True):
            assert arrival.work in ends.results, ends.errors.get(arrival.work)
            found = [list(one.token_ids) for one in ends.results[arrival.work].completions]  # type: ignore[attr-defined]
            assert found == written_alone(pair, text, params)
        for kind, arrival in broken:
            num_ended[kind] += 1
            assert (arrival.work in ends.results) != (arrival.work in ends.errors)
            error = ends.errors.get(arrival.work)
            assert error is None or isinstance(error, FewshotError | WorkCancelled)
            assert "secret" not in str(error)
        check_stalled(pair, ends, stalled)
        assert ends.results[late.work].completions[0].finish_reason == "length"  # type: ignore[attr-defined]
        check_nothing_is_left(model.writing.cache)
        del ends, arrivals, broken, stalled, late, arrival, error
        sizes.append(count_objects())
    assert all(num_ended.values())
    assert sizes[-1] == sizes[1]


def check_stalled(pair: Pair, ends: Ends, stalled: Sequence[Arrival]) -> None:
    (whole,) = written_alone(pair, TEXTS[0], GOOD[2])
    for arrival in stalled:
        if arrival.work in ends.results:
            (one,) = ends.results[arrival.work].completions  # type: ignore[attr-defined]
            assert list(one.token_ids) == whole[: len(one.token_ids)]
            assert one.finish_reason == "cancelled" or len(one.token_ids) == len(whole)
        else:  # it was still waiting
            assert isinstance(ends.errors[arrival.work], WorkCancelled)


@pytest.fixture
async def engine(
    loaded: Callable[[str], Pair], tiny_gpt2: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LocalEngine]:
    """Return an engine on a network that fails now and then; in the end see that none of its blocks is left in use."""
    pair = loaded("gpt2")
    ids = {word: single_id(pair.ours, mark) for word, mark in zip(("poison", "curse", "burden"), "%@#", strict=True)}
    opened: list[PagedCache] = []

    def open_faulty(*arguments: Any, **options: Any) -> Network:
        return FaultyNetwork(open_network(*arguments, **options), **ids)

    def open_cache(network: Network) -> PagedCache:
        opened.append(PagedCache(network))
        return opened[-1]

    monkeypatch.setattr("bot.engine.loading.open_network", open_faulty)
    monkeypatch.setattr("bot.engine.loading.PagedCache", open_cache)
    async with LocalEngine.open(
        tiny_gpt2, name="tiny", device="cpu", precision="float32", num_threads=1, max_waiting=2000
    ) as engine:
        yield engine
    (blocks,) = opened
    check_nothing_is_left(blocks)


async def good_one(engine: LocalEngine, pair: Pair, text: str, params: SamplingParams) -> None:
    async with engine.generate(Prompt.plain(text), params) as generation:
        async for _ in generation:
            pass
    assert [list(one.token_ids) for one in generation.completions] == written_alone(pair, text, params)


async def fault_of_kind(engine: LocalEngine, kind: int) -> None:
    """Do something wrong with the engine, in one of many ways, and take note of nothing."""
    prompt, params = Prompt.plain(TEXTS[kind % len(TEXTS)]), GOOD[kind % len(GOOD)]
    ends_at: list[Callable[[str], Any]] = [raise_error, lambda shown: raise_error() if len(shown) > 2 else None]
    with contextlib.suppress(FewshotError):
        match kind % 12:
            case 0:  # looks once, and goes away
                async with engine.generate(prompt, params) as generation:
                    async for _ in generation:
                        break
            case 1:  # vanishes without a word
                generation = await engine.generate(prompt, params).__aenter__()
                await asyncio.sleep(0)
                del generation
            case 2:
                await consume(engine.generate(prompt, replace(params, max_new_tokens=40), end_at=ends_at[kind % 2]))
            case 3:
                await consume(engine.generate(Prompt.plain(f"{'%@#'[kind // 12 % 3]} The cat"), params))
            case 4:
                await consume(engine.generate(Prompt.plain("cat " * 300), params))
            case 5:
                await consume(engine.generate(prompt, with_broken(GOOD[2], temperature=float("nan"), top_k=kind)))
            case 6:
                task = asyncio.create_task(consume(engine.generate(prompt, replace(params, max_new_tokens=40))))
                await asyncio.sleep(0.001 * (kind % 17))
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            case 7:
                await consume(engine.generate(prompt, params, timeout_s=0.0005 * (kind % 9)))
            case 8:
                await engine.score(f"{'%@#'[kind // 12 % 3]} The cat sat")
            case 9:
                marked = Prompt.plain(f"{'%@#'[kind // 12 % 3]} {prompt.text}")
                await engine.score_continuations(marked, [" a", " the other cats"])
            case 10:
                task = asyncio.create_task(engine.score("The cat sat on the mat. " * 40))
                await asyncio.sleep(0.001 * (kind % 17))
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            case 11:
                await engine._ask_quick(raise_error)


async def consume(generation: LocalGeneration) -> None:
    async with generation:
        async for _ in generation:
            pass


@pytest.mark.usefixtures("quiet")
async def test_a_thousand_faults_leave_two_hundred_answers_right_and_nothing_behind(
    engine: LocalEngine, loaded: Callable[[str], Pair]
) -> None:
    pair = loaded("gpt2")
    drawn = random.Random(5)
    sizes = []
    threads = threading.active_count()
    for batch in range(4):
        kinds = [batch * 1000 + at for at in range(NUM_FAULTS // 4)]
        works: list[Any] = [fault_of_kind(engine, kind) for kind in kinds]
        works += [
            good_one(engine, pair, drawn.choice(TEXTS), drawn.choice(GOOD)) for _ in range(max(10, NUM_FAULTS // 20))
        ]
        drawn.shuffle(works)
        await asyncio.gather(*works)
        await idle(engine)
        del works
        await asyncio.sleep(0.01)
        sizes.append(count_objects())
    assert threading.active_count() == threads
    assert engine.num_restarts == 0
    assert not engine._scheduler._in_flight
    assert not engine._scheduler._num_running_of
    assert len(asyncio.all_tasks()) == 2  # this one, and that which watches the thread
    assert sizes[-1] == sizes[1]
    await good_one(engine, pair, TEXTS[0], GOOD[0])


async def idle(engine: LocalEngine) -> None:
    async with asyncio.timeout(20):
        while engine.stats().num_running or engine.stats().num_waiting:
            await asyncio.sleep(0.001)


async def test_a_request_that_needs_more_than_all_blocks_is_refused(loaded: Callable[[str], Pair]) -> None:
    pair = loaded("llama")
    model = on_network(pair.ours, WatchedNetwork(pair.ours.writing.network, num_blocks=3))
    with pytest.raises(TimeoutError):
        drive([Arrival(lambda: plan(model, TEXTS[0], GOOD[3]))], max_steps=5)
    model = on_network(pair.ours, WatchedNetwork(pair.ours.writing.network, num_blocks=10))
    ends = drive([Arrival(lambda: Job(greedy_for_blocks(model), model.writing, 1, 2))])
    (error,) = ends.errors.values()
    assert isinstance(error, GenerationError)
    check_nothing_is_left(model.writing.cache)


def greedy_for_blocks(model: LoadedModel) -> Steps[object]:
    with model.writing.cache.rows() as rows:
        yield [Feed(rows.open([at % 50] * 60)) for at in range(20)]
    return None
