"""Several prompts in one request: each is continued as if alone, in the same passes; what they share is read once."""

import itertools
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.core.prompt_parts import Prompt
from bot.core.results import Delta
from bot.core.sampling_params import MAX_SEED, SamplingParams
from bot.core.sentences import end_of_sentence
from bot.engine.loaded_model import LoadedModel
from bot.engine.networks.network import BLOCK_TOKENS, Segment
from bot.engine.requests.batch import plan_batch
from bot.engine.requests.generation import GenerationResult, plan_generation, plan_job
from bot.engine.requests.work import Job
from bot.errors import GenerationError, PromptTooLong
from tests.engine.running import Pair, load_pair, run_job, run_transformers
from tests.engine.watching import Arrival, WatchedNetwork, check_nothing_is_left, drive, watch

BASE = "The cat sat on the mat and the dog ran to the door. Once upon a time"
TEXTS = tuple(BASE + option for option in (" there was", " a", "", " the cats did this and that", "\nHello 日本"))
PLAIN = {"repetition_penalty": 1.0}
OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0, **PLAIN},
    "greedy, penalties": {"temperature": 0, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "defaults": {},
    "the whole vocabulary": {"top_k": 0, "top_p": 1.0, "temperature": 1.3, **PLAIN},
    "everything": {"temperature": 0.6, "top_k": 30, "top_p": 0.9, "repetition_penalty": 1.4, "no_repeat_ngram_size": 3},
    "beams": {"num_beams": 3, "no_repeat_ngram_size": 2},
}


@pytest.fixture(scope="module")
def loaded(tiny_model: Callable[[str], Path]) -> Callable[[str], Pair]:
    return cache(lambda name: load_pair(tiny_model(name)))


@pytest.fixture(params=["gpt2", "llama"])
def pair(request: pytest.FixtureRequest, loaded: Callable[[str], Pair]) -> Pair:
    return loaded(request.param)


def plan(
    model: LoadedModel,
    texts: Sequence[str],
    params: SamplingParams,
    emit: Callable[[Delta], None] = lambda delta: None,
    **options: Any,
) -> Job[GenerationResult]:
    plans = [plan_generation(model, Prompt.plain(text), params, heal=False, **options) for text in texts]
    return plan_batch(model, plans, [params.shift_seed(k) for k in range(len(texts))], emit)


def token_ids(result: GenerationResult) -> list[list[int]]:
    return [list(completion.token_ids) for completion in result.completions]


@cache
def written_alone(pair: Pair, texts: Sequence[str], params: SamplingParams) -> list[list[int]]:
    """Return what transformers' generate writes after each text alone, after text k from the seed plus k."""
    return [run_transformers(pair, text, params.shift_seed(k))[0] for k, text in enumerate(texts)]


def num_tokens(model: LoadedModel, text: str) -> int:
    return len(model.tokenizer.encode_prompt(Prompt.plain(text)).ids)


@pytest.mark.parametrize("name", ["gpt2", "llama", "llama2", "openai_gpt"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_each_prompt_is_continued_as_transformers_continues_it_alone(
    loaded: Callable[[str], Pair], name: str, options: dict[str, Any]
) -> None:
    pair = loaded(name)
    model, _ = watch(pair.ours)
    for seed in (4, MAX_SEED):
        params = SamplingParams(seed=seed, max_new_tokens=12, **options)
        for _ in range(2):  # the prompts unread, then remembered
            result = run_job(plan(model, TEXTS, params))
            assert token_ids(result) == written_alone(pair, TEXTS, params)
            assert [completion.index for completion in result.completions] == list(range(5))
    check_nothing_is_left(model.writing.cache)


def test_each_prompt_of_a_batch_may_have_its_own_options(pair: Pair) -> None:
    model, network = watch(pair.ours)
    params = [SamplingParams(seed=4, max_new_tokens=12, **options) for options in OPTIONS.values()]
    texts = [BASE] * len(params)
    plans = [
        plan_generation(model, Prompt.plain(text), one, heal=False) for text, one in zip(texts, params, strict=True)
    ]
    written = token_ids(run_job(plan_batch(model, plans, params, lambda delta: None)))
    assert written == [run_transformers(pair, BASE, one)[0] for one in params]
    assert max(one.num_rows for one in network.passes) == len(params) - 1 + 3, "all at once, beams too"
    check_nothing_is_left(model.writing.cache)


def test_one_prompt_and_equal_prompts_are_batches_too(pair: Pair) -> None:
    model, _ = watch(pair.ours)
    params = SamplingParams(seed=4, max_new_tokens=8)
    for texts in ((BASE,), ("a",), (BASE, BASE, BASE), ("The", "Once upon a time", "The cat")):
        assert token_ids(run_job(plan(model, texts, params))) == written_alone(pair, texts, params)
    check_nothing_is_left(model.writing.cache)


def test_prompts_read_in_chunks_give_the_same_tokens(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.engine.step_loop.CHUNK_TOKENS", 7)
    monkeypatch.setattr("bot.engine.step_loop.BUSY_CHUNK_TOKENS", 3)
    monkeypatch.setattr("bot.engine.step_loop.SHORT_TOKENS", 2)
    for options in OPTIONS.values():
        model, network = watch(pair.ours)
        params = SamplingParams(seed=9, max_new_tokens=10, **options)
        assert token_ids(run_job(plan(model, TEXTS, params))) == written_alone(pair, TEXTS, params)
        assert len(network.passes) > 10 + num_tokens(model, BASE) // 7


def test_all_go_through_the_network_together_and_what_they_share_is_read_once(pair: Pair) -> None:
    params = SamplingParams(temperature=0, max_new_tokens=12, **PLAIN)
    model, network = watch(pair.ours)
    result = run_job(plan(model, TEXTS, params))
    lengths = [len(completion.token_ids) for completion in result.completions]
    assert max(lengths) == 12
    first, prompts, *steps = network.passes
    num_shared = first.num_tokens
    assert first.num_rows == 1
    assert num_shared >= (num_tokens(model, BASE) - 2) // BLOCK_TOKENS * BLOCK_TOKENS > 0  # two may join what follows
    assert prompts.num_rows == 5
    assert prompts.num_tokens == sum(num_tokens(model, text) - num_shared for text in TEXTS)
    assert [one.num_rows for one in steps] == [sum(length > at for length in lengths) for at in range(1, 12)]

    del network.passes[:]
    assert run_job(plan(model, TEXTS, params)).completions == result.completions
    prompts, *steps = network.passes  # what is remembered needs no pass of its own
    assert prompts.num_rows == 5
    assert prompts.num_tokens <= 5 * BLOCK_TOKENS
    assert len(steps) == 11


@pytest.mark.parametrize(("num_blocks", "most_rows"), [(12, 3), (24, 6), (1000, 15)])
def test_what_the_cache_cannot_hold_at_once_waits_within_the_request(
    pair: Pair, num_blocks: int, most_rows: int
) -> None:
    model, network = watch(pair.ours, num_blocks=num_blocks)
    for options in OPTIONS.values():
        params = SamplingParams(seed=1, max_new_tokens=20, **options)
        job = plan(model, TEXTS * 3, params)
        assert job.num_blocks <= num_blocks
        assert job.num_rows <= 16
        assert token_ids(run_job(job)) == written_alone(pair, TEXTS * 3, params)
    assert max(one.num_rows for one in network.passes) == most_rows
    check_nothing_is_left(model.writing.cache)


MANY_BEAMS = {"num_beams": 16}
FEW_BLOCKS, MANY_BLOCKS = (24, 60), (70, 120)  # 16 beams need many


def requests_among(options: Sequence[dict[str, Any]]) -> st.SearchStrategy[list[Any]]:
    one = st.tuples(
        st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6),
        st.sampled_from(options),
        st.integers(0, 12),  # comes at this step
        st.none() | st.integers(0, 30),  # is cancelled at this one
    )
    return st.lists(one, min_size=1, max_size=4)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    load=st.tuples(requests_among(list(OPTIONS.values())), st.integers(*FEW_BLOCKS))
    | st.tuples(requests_among([MANY_BEAMS, OPTIONS["beams"], {}]), st.integers(*MANY_BLOCKS)),
    chunk_tokens=st.sampled_from((5, 17, 256)),
)
def test_batches_that_come_and_go_keep_to_the_blocks_that_they_were_promised(
    loaded: Callable[[str], Pair], load: tuple[list[Any], int], chunk_tokens: int
) -> None:
    requests, num_blocks = load
    pair = loaded("gpt2")
    model, network = watch(pair.ours, num_blocks=num_blocks)
    keep_watch_over_promises(model, network)
    asked = [(tuple(texts), SamplingParams(seed=3, max_new_tokens=9, **options)) for texts, options, _, _ in requests]
    arrivals = [
        Arrival(lambda one=one: plan(model, *one), step, cancelled_at)  # type: ignore[misc]
        for one, (_, _, step, cancelled_at) in zip(asked, requests, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bot.engine.step_loop.CHUNK_TOKENS", chunk_tokens)
        patched.setattr("bot.engine.step_loop.BUSY_CHUNK_TOKENS", max(1, chunk_tokens // 2))
        patched.setattr("bot.engine.step_loop.SHORT_TOKENS", min(8, chunk_tokens))
        ends = drive(arrivals)
    assert not ends.errors
    for (texts, params), arrival in zip(asked, arrivals, strict=True):
        result = ends.results[arrival.work]
        assert isinstance(result, GenerationResult)
        for completion, whole in zip(result.completions, written_alone(pair, texts, params), strict=True):
            if completion.finish_reason != "cancelled":
                assert list(completion.token_ids) == whole
            elif params.num_beams == 1:
                assert list(completion.token_ids) == whole[: len(completion.token_ids)]
            assert completion.finish_reason != "cancelled" or arrival.cancelled_at is not None
    check_nothing_is_left(model.writing.cache)


@pytest.mark.parametrize("num_beams", [2, 3, 8, 16])
def test_a_cancelled_search_gives_its_best_beam_and_an_empty_one_only_if_there_is_no_other(
    pair: Pair, num_beams: int
) -> None:
    params = SamplingParams(num_beams=num_beams, max_new_tokens=12)
    for text in TEXTS:
        for cancelled_at in range(2, 12):
            model, _ = watch(pair.ours)
            arrival = Arrival(lambda text=text, model=model: plan(model, [text], params), 0, cancelled_at)  # type: ignore[misc]
            result = drive([arrival]).results[arrival.work]
            assert isinstance(result, GenerationResult)
            (completion,) = result.completions
            if completion.finish_reason == "cancelled":
                assert completion.token_ids
                assert completion.token_ids[0] not in model.eos_ids
            else:
                assert [list(completion.token_ids)] == written_alone(pair, (text,), params)
            check_nothing_is_left(model.writing.cache)


@pytest.mark.parametrize(("num_beams", "num_results"), [(3, 3), (5, 5), (16, 5)])
def test_the_beams_of_a_cancelled_search_are_in_the_order_of_their_scores(
    pair: Pair, num_beams: int, num_results: int
) -> None:
    params = SamplingParams(num_beams=num_beams, n=num_results, max_new_tokens=12, **PLAIN)
    num_mixed = 0
    for text, cancelled_at in itertools.product(TEXTS, range(2, 12)):
        model, network = watch(pair.ours)
        make_ends_likely(model, network)
        planned = plan_generation(model, Prompt.plain(text), params, heal=False)
        job = plan_job(model, planned, params, lambda delta: None)
        arrival = Arrival(lambda job=job: job, 0, cancelled_at)  # type: ignore[misc]
        result = drive([arrival]).results[arrival.work]
        assert isinstance(result, GenerationResult)
        if {completion.finish_reason for completion in result.completions} != {"cancelled"}:
            continue  # the search had ended
        assert len(result.completions) == num_results
        ids = [completion.token_ids for completion in result.completions]
        empty = [one[0] in model.eos_ids for one in ids]
        assert empty == sorted(empty), "empty ones last"
        scores = [c.logprob / len(c.token_ids) for c in result.completions][: num_results - sum(empty)]
        assert scores == pytest.approx(sorted(scores, reverse=True), rel=1e-4)
        num_finished = sum(one[-1] in model.eos_ids for one in ids[: len(scores)])
        num_mixed += 0 < num_finished < len(scores)
    assert num_mixed > 0, "some are finished, some are not"


def make_ends_likely(model: LoadedModel, network: WatchedNetwork) -> None:
    """Let EOS be as likely as the likeliest other token."""
    forward = network.forward

    def forward_to_an_end(segments: Sequence[Segment]) -> torch.Tensor:
        logits = forward(segments).clone()
        logits[:, list(model.eos_ids)] = logits.amax(dim=-1, keepdim=True)
        return logits

    network.forward = forward_to_an_end  # type: ignore[method-assign]


def keep_watch_over_promises(model: LoadedModel, network: WatchedNetwork) -> None:
    """Fail a pass for which the requests hold more blocks than they were promised."""
    forward = network.forward

    def forward_within_promises(segments: Sequence[Segment]) -> torch.Tensor:
        assert model.writing.cache.num_used_blocks <= model.writing.cache.num_reserved_blocks
        return forward(segments)

    network.forward = forward_within_promises  # type: ignore[method-assign]


def test_stop_texts_and_sentences_end_each_as_if_alone(pair: Pair) -> None:
    for seed in range(6):
        params = SamplingParams(seed=seed, max_new_tokens=40, temperature=1.5, top_k=0, stop=("th", "b"))
        for end_at in (None, end_of_sentence):
            deltas: list[Delta] = []
            model, _ = watch(pair.ours)
            result = run_job(plan(model, TEXTS, params, deltas.append, end_at=end_at))
            for k, completion in enumerate(result.completions):
                own = params.shift_seed(k)
                planned = plan_generation(model, Prompt.plain(TEXTS[k]), own, heal=False, end_at=end_at)
                (alone,) = run_job(plan_job(model, planned, own, lambda delta: None)).completions
                assert (completion.text, completion.token_ids) == (alone.text, alone.token_ids)
                assert completion.logprob == pytest.approx(alone.logprob, rel=1e-4)
                assert completion.finish_reason == alone.finish_reason
                assert "".join(delta.text for delta in deltas if delta.index == k) == completion.text
            assert [d.completion for d in sorted(deltas, key=lambda d: d.index) if d.completion] == [
                *result.completions
            ]


@pytest.mark.parametrize(("cancelled_at", "num_blocks"), [(1, 1000), (2, 1000), (6, 1000), (6, 10)])
def test_a_cancelled_batch_keeps_what_was_written(pair: Pair, cancelled_at: int, num_blocks: int) -> None:
    params = SamplingParams(temperature=0, max_new_tokens=20, **PLAIN)
    model, _ = watch(pair.ours, num_blocks=num_blocks)
    deltas: list[Delta] = []
    arrival = Arrival(lambda: plan(model, TEXTS, params, deltas.append), 0, cancelled_at)
    result = drive([arrival]).results[arrival.work]
    assert isinstance(result, GenerationResult)
    whole = written_alone(pair, TEXTS, params)
    assert [c.index for c in result.completions] == list(range(5))
    lengths = [len(completion.token_ids) for completion in result.completions]
    for completion, ids in zip(result.completions, whole, strict=True):
        assert list(completion.token_ids) == ids[: len(completion.token_ids)]
        assert completion.finish_reason == "cancelled"
        assert completion in [delta.completion for delta in deltas]
    if cancelled_at == 1:  # only what they share was read
        assert lengths == [0] * 5
    elif num_blocks == 1000:
        assert lengths == [cancelled_at - 1] * 5
    else:
        assert 0 in lengths
        assert max(lengths) == cancelled_at - 1
    check_nothing_is_left(model.writing.cache)


def test_at_the_end_of_its_time_what_has_not_begun_stays_empty_and_says_so(pair: Pair) -> None:
    params = SamplingParams(temperature=0, max_new_tokens=20, **PLAIN)
    model, _ = watch(pair.ours, num_blocks=10)
    arrival = Arrival(lambda: plan(model, TEXTS, params))

    def end_its_time(text: str) -> None:
        if len(text) > 3:
            arrival.work.deadline = 0.0

    arrival.plan = lambda: plan(model, TEXTS, params, end_at=end_its_time)
    result = drive([arrival]).results[arrival.work]
    assert isinstance(result, GenerationResult)
    ends = [(completion.finish_reason, bool(completion.token_ids)) for completion in result.completions]
    assert set(ends) == {("length", True), ("cancelled", False)}
    assert all(completion.text == "" for completion in result.completions if completion.finish_reason == "cancelled")
    check_nothing_is_left(model.writing.cache)


@pytest.mark.parametrize("num_blocks", [10, 1000])
def test_each_continuation_has_its_own_times(pair: Pair, num_blocks: int) -> None:
    params = SamplingParams(temperature=0, max_new_tokens=20, **PLAIN)
    model, _ = watch(pair.ours, num_blocks=num_blocks)
    result = run_job(plan(model, TEXTS, params))
    assert [part.prompt_lengths for part in result.parts] == [(length,) for length in result.prompt_lengths]
    assert [part.completions[0].token_ids for part in result.parts] == [c.token_ids for c in result.completions]
    whole_ms = result.prefill_ms + result.decode_ms
    for part in result.parts:
        assert part.prefill_ms > 0
        assert part.prefill_ms + part.decode_ms <= whole_ms
    if num_blocks == 10:  # the last ones began when the first ones had ended
        own_ms = [part.prefill_ms + part.decode_ms for part in result.parts]
        assert max(own_ms) < whole_ms
        assert sum(part.decode_ms for part in result.parts) < len(TEXTS) * result.decode_ms * 0.9


def test_the_longest_prompt_decides_whether_they_fit_and_each_writes_as_far_as_it_can(pair: Pair) -> None:
    model, _ = watch(pair.ours)
    room = model.info.context_length
    texts = ("a" * (room - 3), "a", "b")
    assert [num_tokens(model, text) for text in texts] == [room - 3, 1, 1]
    params = SamplingParams(temperature=0, max_new_tokens=8, **PLAIN)
    result = run_job(plan(model, texts, params))
    assert result.prompt_lengths == (room - 3, 1, 1)
    assert len(result.completions[0].token_ids) == 3
    assert token_ids(result) == [
        run_transformers(pair, text, SamplingParams(temperature=0, max_new_tokens=length, **PLAIN))[0]
        for text, length in zip(texts, (3, 8, 8), strict=True)
    ]
    with pytest.raises(PromptTooLong):
        plan(model, ("a", "a" * room), params)


def test_what_breaks_in_one_of_them_ends_the_request_and_leaves_nothing_behind(pair: Pair) -> None:
    model, network = watch(pair.ours)
    forward = network.forward

    def forward_until_broken(segments: Sequence[Segment]) -> torch.Tensor:
        logits = forward(segments)
        if len(network.passes) == 4:
            logits[2] = float("nan")
        return logits

    network.forward = forward_until_broken  # type: ignore[method-assign]
    params = SamplingParams(temperature=0, max_new_tokens=20, **PLAIN)
    with pytest.raises(GenerationError):
        run_job(plan(model, TEXTS, params))
    check_nothing_is_left(model.writing.cache)
    network.forward = forward  # type: ignore[method-assign]
    assert token_ids(run_job(plan(model, TEXTS, params))) == written_alone(pair, TEXTS, params)
