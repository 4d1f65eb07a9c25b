"""Many requests at once, arriving, cancelled and finished at any time: each gets what it would have got alone."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from bot.core.engine import Asker
from bot.core.perplexity import rolling_windows
from bot.core.prompt_parts import Prompt
from bot.core.results import Completion, TokenScore, WordProbability
from bot.core.sampling_params import SamplingParams
from bot.engine.engine import LocalEngine
from bot.engine.loaded_model import LoadedModel
from bot.engine.networks.choosing_network import open_network
from bot.engine.networks.network import Network
from bot.engine.paged_cache import PagedCache
from bot.engine.requests.generation import GenerationResult, plan_generation, plan_job
from bot.engine.requests.next_words import plan_expect_tokens, plan_expect_words
from bot.engine.requests.scoring import plan_score_continuations, plan_score_text
from bot.engine.requests.work import Job
from bot.errors import FewshotError
from tests.engine.running import Pair, load_pair, run_job, run_transformers
from tests.engine.watching import Arrival, WatchedNetwork, check_nothing_is_left, drive, watch

MODELS = ("gpt2", "llama")
TEMPLATE = "Text: I love this. Mood: Positive\nText: I hate this. Mood: Negative\n"
TEXTS = (
    *(TEMPLATE + f"Text: {text} Mood:" for text in ("The cat sat.", "It can do this and that.", "the other cats")),
    "Text: I love that. Mood: Positive\nText: I hate this. Mood: Negative\nText: The cat sat. Mood:",
    "The cat sat on the mat and looked at the other cats.",
    "The cat sat on the mat and the dog",
    "Once upon a time",
    "Can it do that? It can do this and that. Can it do that? It can do",
    "a",
    "def add(a, b):\n    return",
    "😀 日本語",
)
LABELS = (" Positive", " Negative", " a", " the other cats")
PLAIN = {"repetition_penalty": 1.0}
OPTIONS: tuple[dict[str, Any], ...] = (
    {"temperature": 0, **PLAIN},
    {"temperature": 0},
    {"temperature": 0, "no_repeat_ngram_size": 2},
    {"temperature": 1.0, "top_k": 0, "top_p": 1.0, **PLAIN},
    {},
    {"top_k": 5, "top_p": 1.0, **PLAIN},
    {"top_k": 0, "top_p": 0.7, "temperature": 1.3, **PLAIN},
    {"temperature": 0.6, "top_k": 30, "top_p": 0.9, "repetition_penalty": 1.4, "no_repeat_ngram_size": 3},
    {"temperature": 0.2, "top_k": 3, **PLAIN},
    {"min_p": 0.1, "top_k": 0, "top_p": 1.0, "temperature": 1.5, **PLAIN},
    {"n": 2, "min_p": 0.05, "temperature": 1.2},
    {"repetition_penalty": 0.8, "top_k": 0},
    {"n": 3, "top_k": 0},
    {"n": 5, "temperature": 1.5, "top_k": 0, "top_p": 1.0, **PLAIN},
    {"num_beams": 2, **PLAIN},
    {"num_beams": 4, "n": 2, "no_repeat_ngram_size": 2},
    {"num_beams": 3, "n": 3},
    {"num_beams": 16, "n": 2},
)


@dataclass(frozen=True)
class Ask:
    """A request for text: what `generate` is given."""

    text: str
    params: SamplingParams

    def plan(self, model: LoadedModel) -> Job[GenerationResult]:
        """Return its job."""
        plan = plan_generation(model, Prompt.plain(self.text), self.params, heal=False)
        return plan_job(model, plan, self.params, lambda delta: None)


def asks(max_new_tokens: int = 14) -> st.SearchStrategy[Ask]:
    def make(text: str, options: dict[str, Any], seed: int, length: int) -> Ask:
        return Ask(text, SamplingParams(**{"seed": seed, "max_new_tokens": length, **options}))

    return st.builds(
        make, st.sampled_from(TEXTS), st.sampled_from(OPTIONS), st.integers(0, 50), st.integers(1, max_new_tokens)
    )


@cache
def written_alone(pair: Pair, ask: Ask) -> list[list[int]]:
    return run_transformers(pair, ask.text, ask.params)


def check(pair: Pair, ask: Ask, completions: Sequence[Completion]) -> bool:
    """Raise AssertionError where `completions` are not what transformers writes; return whether they are all of it."""
    expected = written_alone(pair, ask)
    found = [list(completion.token_ids) for completion in completions]
    if all(completion.finish_reason != "cancelled" for completion in completions):
        assert found == expected
        return True
    if ask.params.num_beams == 1:  # what a search has found up to now is no beginning of what it would find
        for completion, ids, whole in zip(completions, found, expected, strict=True):
            assert ids == (whole[: len(ids)] if completion.finish_reason == "cancelled" else whole)
    return False


@pytest.fixture(scope="module")
def loaded(tiny_model: Callable[[str], Path], parrot: Path) -> Callable[[str], Pair]:
    return cache(lambda name: load_pair(parrot if name == "parrot" else tiny_model(name)))


@pytest.fixture(scope="module")
def parrot(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that repeats itself: it hardly looks at anything but the last token."""
    folder = Path(shutil.copytree(tiny_llama, tmp_path_factory.mktemp("parrot") / "model"))
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if "o_proj" in name or "down_proj" in name:
            weights[name] *= 0.02
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@dataclass(frozen=True)
class Timed:
    """A request with the steps at which it comes and is cancelled."""

    ask: Ask
    step: int
    cancelled_at: int | None


timed = st.builds(Timed, asks(), st.integers(0, 25), st.none() | st.none() | st.none() | st.integers(0, 40))


@pytest.mark.parametrize("name", [*MODELS, "parrot"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    requests=st.lists(timed, min_size=1, max_size=8),
    num_scoring=st.integers(0, 3),
    num_blocks=st.sampled_from((40, 64, 1000)),
    max_rows=st.sampled_from((1, 6, 16)),
    chunk_tokens=st.sampled_from((5, 17, 256)),
    max_speculating=st.sampled_from((0, 2, 16)),
)
def test_whenever_requests_come_and_go_each_is_as_if_alone(
    loaded: Callable[[str], Pair],
    name: str,
    requests: list[Timed],
    num_scoring: int,
    num_blocks: int,
    max_rows: int,
    chunk_tokens: int,
    max_speculating: int,
) -> None:
    pair = loaded(name)
    model, _ = watch(pair.ours, num_blocks=num_blocks)
    arrivals = [Arrival(lambda r=r: r.ask.plan(model), r.step, r.cancelled_at) for r in requests]  # type: ignore[misc]
    scoring = [
        Arrival(lambda: plan_score_text(model, TEXTS[0] * 3, num_expected=2), 1, None, "scoring"),
        Arrival(lambda: plan_score_continuations(model, Prompt.plain(TEXTS[1]), LABELS), 2, None, "scoring"),
        Arrival(lambda: plan_expect_words(model, Prompt.plain(TEXTS[4]), num=5), 3, None, "scoring"),
    ][:num_scoring]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bot.engine.step_loop.CHUNK_TOKENS", chunk_tokens)
        patched.setattr("bot.engine.step_loop.BUSY_CHUNK_TOKENS", max(1, chunk_tokens // 2))
        patched.setattr("bot.engine.step_loop.SHORT_TOKENS", min(8, chunk_tokens))
        patched.setattr("bot.engine.step_loop.SCORING_CHUNK_TOKENS", chunk_tokens)
        patched.setattr("bot.engine.step_loop.MAX_SPECULATING", max_speculating)
        ends = drive([*arrivals, *scoring], max_rows=max_rows)
    assert not ends.errors
    for request, arrival in zip(requests, arrivals, strict=True):
        result = ends.results[arrival.work]
        assert isinstance(result, GenerationResult)
        assert check(pair, request.ask, result.completions) or request.cancelled_at is not None
    for arrival, is_right in zip(scoring, (is_score_right, are_labels_right, are_words_right), strict=False):
        assert is_right(pair, ends.results[arrival.work])
    check_nothing_is_left(model.writing.cache)


def plain_logprobs(pair: Pair, ids: Sequence[int]) -> torch.Tensor:
    """Return log-probabilities (len(ids), vocab) after each of `ids`, by one plain forward pass."""
    with torch.inference_mode():
        return pair.theirs(torch.tensor([list(ids)])).logits[0].log_softmax(-1)  # type: ignore[no-any-return]


def plain_scores(pair: Pair, text: str) -> list[float]:
    start = pair.ours.tokenizer.start_id
    fed = [start, *pair.ours.chat_tokenizer(text, add_special_tokens=False).input_ids]
    found: list[float] = []
    for window in rolling_windows(len(fed) - 1, pair.ours.info.context_length):
        rows = plain_logprobs(pair, fed[window.context_start + 1 : window.end])[-(window.end - window.start) :]
        found += [float(row[i]) for row, i in zip(rows, fed[window.start + 1 : window.end + 1], strict=True)]
    return found


def is_score_right(pair: Pair, scores: Sequence[TokenScore], text: str = TEXTS[0] * 3) -> bool:
    expected = plain_scores(pair, text)
    return [score.logprob for score in scores] == pytest.approx(expected, abs=1e-4, rel=1e-4)


def are_labels_right(pair: Pair, totals: Sequence[float], text: str = TEXTS[1]) -> bool:
    prompt = pair.ours.chat_tokenizer(text).input_ids
    expected = []
    for label in LABELS:
        ids = pair.ours.chat_tokenizer(text + label).input_ids
        rows = plain_logprobs(pair, ids)
        expected.append(sum(float(rows[at - 1, ids[at]]) for at in range(len(prompt), len(ids))))
    return list(totals) == pytest.approx(expected, abs=1e-4, rel=1e-4)


def are_tokens_right(pair: Pair, words: Sequence[WordProbability], text: str = TEXTS[4]) -> bool:
    expected = plain_logprobs(pair, pair.ours.chat_tokenizer(text).input_ids)[-1].exp().topk(len(words)).values
    return [word.probability for word in words] == pytest.approx(expected.tolist(), abs=1e-4)


def are_words_right(pair: Pair, words: Sequence[WordProbability], text: str = TEXTS[4]) -> bool:
    model, _ = watch(pair.ours)  # its cache knows nothing of what other tests left in the blocks
    alone = run_job(plan_expect_words(model, Prompt.plain(text), num=len(words)))
    return [w.probability for w in words] == pytest.approx([w.probability for w in alone], abs=1e-4)


def test_guesses_of_a_text_that_repeats_itself_save_passes_and_change_nothing(loaded: Callable[[str], Pair]) -> None:
    pair = loaded("parrot")
    for options, most_passes in ((OPTIONS[0], 0.7), ({"temperature": 0.2, "top_k": 3, "seed": 4, **PLAIN}, 0.99)):
        model, network = watch(pair.ours)
        num_tokens = 0
        for text in TEXTS:
            ask = Ask(text, SamplingParams(max_new_tokens=30, **options))
            (written,) = run_job(ask.plan(model)).completions
            assert check(pair, ask, [written])
            num_tokens += len(written.token_ids)
        assert len(network.passes) < most_passes * num_tokens
        assert network.num_guesses >= network.num_right_guesses > 0
        check_nothing_is_left(model.writing.cache)


def test_rows_that_guess_together_are_each_as_if_alone(
    loaded: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.engine.step_loop.MAX_SPECULATING", 16)
    pair = loaded("parrot")
    model, network = watch(pair.ours)
    asked = [Ask(text, SamplingParams(max_new_tokens=30, **OPTIONS[0])) for text in TEXTS]
    arrivals = [Arrival(lambda ask=ask: ask.plan(model), step) for step, ask in enumerate(asked)]  # type: ignore[misc]
    ends = drive(arrivals)
    for ask, arrival in zip(asked, arrivals, strict=True):
        assert check(pair, ask, ends.results[arrival.work].completions)  # type: ignore[attr-defined]
    assert max(one.num_rows for one in network.passes) > 8
    assert network.num_guesses > network.num_right_guesses > 20
    check_nothing_is_left(model.writing.cache)


@dataclass
class Crowd:
    """Many requests with random texts, options, seeds and times, a share of them cancelled; the same for one seed."""

    seed: int
    size: int

    def make(self) -> list[tuple[Ask, float, float | None]]:
        """Return each request with the seconds at which it comes and is cancelled."""
        drawn = random.Random(self.seed)
        made = []
        for _ in range(self.size):
            options = {"seed": drawn.randrange(2**40), "max_new_tokens": drawn.randint(1, 20)}
            ask = Ask(drawn.choice(TEXTS), SamplingParams(**(options | drawn.choice(OPTIONS))))
            made.append((ask, drawn.uniform(0, 0.8), drawn.uniform(0, 0.3) if drawn.random() < 0.15 else None))
        return made


@pytest.fixture
def lanes(loaded: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch) -> list[tuple[WatchedNetwork, PagedCache]]:
    """Return a list that gets the networks, with their caches, of the engines that are opened from now on."""
    opened: list[tuple[WatchedNetwork, PagedCache]] = []
    for name in MODELS:
        loaded(name)  # not among them

    def open_cache(network: Network) -> PagedCache:
        opened.append((cast(WatchedNetwork, network), PagedCache(network)))
        return opened[-1][1]

    monkeypatch.setattr("bot.engine.loading.open_network", lambda *a, **o: WatchedNetwork(open_network(*a, **o)))
    monkeypatch.setattr("bot.engine.loading.PagedCache", open_cache)
    return opened


@asynccontextmanager
async def open_engine(folder: Path) -> AsyncIterator[LocalEngine]:
    async with LocalEngine.open(
        folder, name="tiny", device="cpu", precision="float32", num_threads=1, max_waiting=400, kv_cache_mb=1
    ) as engine:
        yield engine


async def ask_engine(
    engine: LocalEngine, ask: Ask, comes_at: float, cancelled_after: float | None
) -> Sequence[Completion]:
    await asyncio.sleep(comes_at)
    asker = Asker(conversation=ask.params.seed % 7 if ask.params.seed else None)
    async with engine.generate(Prompt.plain(ask.text), ask.params, asker=asker) as generation:
        if cancelled_after is not None:
            asyncio.get_running_loop().call_later(cancelled_after, generation.cancel)
        shown = ["" for _ in range(ask.params.n)]
        async for delta in generation:
            shown[delta.index] += delta.text
    assert shown == [completion.text for completion in generation.completions]
    return generation.completions


@pytest.mark.parametrize("name", MODELS)
async def test_two_hundred_requests_at_random_times_are_each_as_if_alone(
    loaded: Callable[[str], Pair],
    lanes: list[tuple[WatchedNetwork, PagedCache]],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.engine.step_loop.MAX_SPECULATING", 100)
    pair = loaded(name)
    crowd = Crowd(seed=len(name), size=200).make()
    async with open_engine(Path(pair.ours.info.folder)) as engine:
        asked = [asyncio.create_task(ask_engine(engine, *one)) for one in crowd]
        prompts = [Prompt.plain(text) for text in TEXTS]
        scores = [asyncio.create_task(engine.score(text * 3, num_expected=1)) for text in TEXTS]
        labels = [asyncio.create_task(engine.score_continuations(prompt, LABELS)) for prompt in prompts[:4]]
        tokens = [asyncio.create_task(engine.next_tokens(prompt, num=9)) for prompt in prompts]
        words = [asyncio.create_task(engine.next_words(prompt, num=5)) for prompt in prompts]
        written = await asyncio.gather(*asked)
        stats = engine.stats()
        figures = [await asyncio.gather(*tasks) for tasks in (scores, labels, tokens, words)]
    whole = [check(pair, ask, completions) for (ask, _, _), completions in zip(crowd, written, strict=True)]
    assert sum(whole) >= 150
    for (_, _, cancelled_after), is_whole in zip(crowd, whole, strict=True):
        assert is_whole or cancelled_after is not None
    checks: list[Callable[..., bool]] = [is_score_right, are_labels_right, are_tokens_right, are_words_right]
    for is_right, found in zip(checks, figures, strict=True):
        for text, one in zip(TEXTS, found, strict=False):
            assert is_right(pair, one, text * 3 if is_right is is_score_right else text), (is_right, text)
    ((network, cache_of_blocks),) = lanes
    assert max(one.num_rows for one in network.passes) > 8
    assert sum(one.num_rows for one in network.passes) > 2 * len(network.passes)
    assert cache_of_blocks.num_reused_tokens > 1000
    check_nothing_is_left(cache_of_blocks)
    assert stats.num_failed == stats.num_refused == 0


def test_a_batch_that_must_be_halved_for_memory_draws_the_same(loaded: Callable[[str], Pair]) -> None:
    pair = loaded("gpt2")
    ask = Ask(TEXTS[0], SamplingParams(n=5, seed=3, max_new_tokens=12, temperature=1.5, top_k=0))
    other = replace(ask, params=replace(ask.params, seed=8))
    model, network = watch(pair.ours)
    forward = network.forward

    def forward_few(segments: Any) -> torch.Tensor:
        if len(segments) > 2:
            raise torch.OutOfMemoryError("Too much at once.")
        return forward(segments)

    network.forward = forward_few  # type: ignore[method-assign]
    for asked in ([ask], [ask, other]):
        arrivals = [Arrival(lambda one=one: one.plan(model)) for one in asked]  # type: ignore[misc]
        ends = drive(arrivals)
        for one, arrival in zip(asked, arrivals, strict=True):
            assert check(pair, one, ends.results[arrival.work].completions)  # type: ignore[attr-defined]


def test_what_cannot_be_served_is_told_in_a_sentence(loaded: Callable[[str], Pair]) -> None:
    model, _ = watch(loaded("gpt2").ours)
    with pytest.raises(FewshotError):
        Ask("cat " * 300, SamplingParams()).plan(model)
    with pytest.raises(FewshotError):
        plan_score_text(model, "", num_expected=0)
    assert are_tokens_right(loaded("gpt2"), run_job(plan_expect_tokens(model, Prompt.plain(TEXTS[4]), num=4)))
