"""Tokens chosen for many rows at once are those of transformers' processors and torch.multinomial, row by row."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.sampling_params import SamplingParams
from bot.engine.networks.native import row_chooser
from bot.engine.networks.native.row_chooser import find_row_chooser
from bot.engine.requests.beams import search_beams
from bot.engine.sampler import sampler
from bot.engine.sampler.compiled import choose_natively
from bot.engine.sampler.draws import DrawStream
from bot.engine.sampler.log_sums import are_finite, log_sums
from bot.engine.sampler.rows import OpenRow
from bot.engine.sampler.sampler import Choice, Chosen, TokenChooser, choose_tokens
from bot.engine.sampler.vectorized import choose_among_candidates
from bot.errors import GenerationError
from tests.engine.sampler.reference import INF, Reference, random_logits, token_ids

pytestmark = pytest.mark.usefixtures("way_to_choose")

CPU = torch.device("cpu")


shapes = st.sampled_from(["flat", "peaked", "ties", "bfloat16", "impossible", "equal", "shifted"])
params_strategy = st.builds(
    SamplingParams,
    n=st.integers(1, 4),
    temperature=st.one_of(st.floats(0.01, 2), st.sampled_from([0.8, 1.0, 2.0, 1e-4])),
    top_k=st.one_of(st.integers(0, 60), st.sampled_from([0, 1, 50, 199, 200, 201, 400, 1000])),
    top_p=st.one_of(st.floats(0.001, 1), st.sampled_from([0.95, 1.0, 1e-6, 0.9999999])),
    min_p=st.one_of(st.just(0.0), st.floats(0, 1), st.sampled_from([0.05, 0.1, 1e-6, 0.5, 0.99999, 1.0, 1e-300])),
    repetition_penalty=st.one_of(st.floats(0.8, 2), st.sampled_from([1.0, 1.1])),
    no_repeat_ngram_size=st.sampled_from([0, 0, 0, 1, 2, 3]),
    seed=st.integers(0, 2**63 - 1),
)
greedy_strategy = st.builds(
    SamplingParams,
    temperature=st.just(0),
    repetition_penalty=st.one_of(st.floats(0.8, 2), st.just(1.0)),
    no_repeat_ngram_size=st.integers(0, 3),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(params_strategy, greedy_strategy), min_size=1, max_size=4),
    st.integers(0, 10**6),
    st.sampled_from([40, 400, 400, 5000, 20000]),
    shapes,
)
def test_any_rows_in_one_call_are_exact_step_after_step(
    requests: list[SamplingParams], seed: int, vocab_size: int, shape: str
) -> None:
    choosers = [TokenChooser(params, CPU) for params in requests]
    references = [Reference(params) for params in requests]
    prompt = torch.randint(0, vocab_size, (20,), generator=torch.Generator().manual_seed(seed)).tolist() * 2
    texts = [[list(prompt[i:]) for _ in range(params.n)] for i, params in enumerate(requests)]
    is_alive = [True] * len(requests)
    for step in range(4):
        num_rows = sum(params.n for params in requests)
        logits = random_logits(seed + step, num_rows, vocab_size, shape)
        before = logits.clone()
        choices = [
            Choice(chooser, index, texts[i][index], None)
            for i, chooser in enumerate(choosers)
            for index in range(chooser.params.n)
        ]
        results = choose_tokens(logits, choices)
        assert torch.equal(logits, before)
        first = 0
        for i, params in enumerate(requests):
            rows = slice(first, first + params.n)
            first += params.n
            wanted = references[i].choose(logits[rows], texts[i])
            if wanted is None:
                is_alive[i] = False
                assert any(isinstance(result, GenerationError) for result in results[rows])
            elif is_alive[i]:
                assert token_ids(results[rows]) == wanted
            for index, text in enumerate(texts[i]):
                text.append(wanted[index] if wanted else prompt[step])


def test_the_log_probability_is_the_models_own() -> None:
    logits = random_logits(3, 6, 9000, "peaked")
    choosers = [
        TokenChooser(SamplingParams(seed=i, temperature=1.5 if i % 2 else 0, top_k=i * 90), CPU) for i in range(6)
    ]
    results = choose_tokens(logits, [Choice(chooser, 0, [1, 2, 3], None) for chooser in choosers])
    for row, result in zip(logits.log_softmax(dim=-1), results, strict=True):
        assert isinstance(result, Chosen)
        assert result.logprob == pytest.approx(float(row[result.token_id]), abs=1e-4)


def make_chooser(**options: Any) -> TokenChooser:
    return TokenChooser(SamplingParams(**{"seed": 7, **options}), CPU)


VARIED: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"top_k": 0, "top_p": 0.98, "temperature": 1.2},
    {"no_repeat_ngram_size": 2},
    {"top_k": 5, "repetition_penalty": 0.8},
    {"temperature": 0, "repetition_penalty": 1.0},
    {"top_k": 1000, "top_p": 0.3},
    {"top_k": 0, "top_p": 1.0, "min_p": 0.1},
    {"top_k": 30, "min_p": 0.02, "temperature": 1.5},
]


def test_a_row_beside_others_gets_what_it_gets_alone() -> None:
    logits = random_logits(1, len(VARIED), 8000, "flat")
    ids = [5, 9, 5, 9, 5]
    together = choose_tokens(logits, [Choice(make_chooser(**options), 0, ids, None) for options in VARIED])
    for at, options in enumerate(VARIED):
        alone = choose_tokens(logits[at : at + 1], [Choice(make_chooser(**options), 0, ids, None)])
        assert alone == together[at : at + 1]


Choose = Callable[[torch.Tensor, Sequence[Choice]], list[Chosen | GenerationError]]


def choose_each_alone(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Chosen | GenerationError]:
    return [choose_tokens(logits[at : at + 1], [choice])[0] for at, choice in enumerate(choices)]


def choose_in_another_order(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Chosen | GenerationError]:
    return choose_tokens(logits.flip(0), choices[::-1])[::-1]


def choose_beside_a_row_of_no_numbers(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Any]:
    bad = torch.full_like(logits[:1], float("nan"))
    return choose_tokens(torch.cat([bad, logits]), [Choice(make_chooser(), 0, [1]), *choices])[1:]


def choose_beside_a_row_of_no_options(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Any]:
    unfit = make_chooser(temperature=1)
    object.__setattr__(unfit.params, "repetition_penalty", "x")
    return choose_tokens(torch.cat([logits[:1], logits]), [Choice(unfit, 0, [1]), *choices])[1:]


def choose_from_a_wider_table(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Chosen | GenerationError]:
    wide = torch.cat([torch.zeros(len(logits), 3), logits, torch.zeros(len(logits), 2)], dim=1)
    return choose_tokens(wide[:, 3:-2], choices)


def choose_from_every_other_row(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Chosen | GenerationError]:
    return choose_tokens(logits.repeat_interleave(2, dim=0)[::2], choices)


def choose_from_columns(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Chosen | GenerationError]:
    return choose_tokens(logits.T.contiguous().T, choices)


def choose_with_threads(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Chosen | GenerationError]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        return choose_tokens(logits, choices)
    finally:
        torch.set_num_threads(before)


@contextmanager
def failing(*names: str) -> Iterator[None]:
    """Let functions that `choosing` calls fail for all rows."""
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(sampler, name, raise_memory_error)
        yield


def choose_without_memory_for_cpp(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Chosen | GenerationError]:
    with failing("choose_natively"):
        return choose_tokens(logits, choices)


def choose_one_after_the_other(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Chosen | GenerationError]:
    with failing("choose_natively", "choose_among_candidates"):
        return choose_tokens(logits, choices)


def choose_step_by_step(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Chosen | GenerationError]:
    with failing("choose_natively", "choose_among_candidates"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "choose_by_quotients", lambda *_: None)
        return choose_tokens(logits, choices)


def choose_where_only_one_row_has_room(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Any]:
    def sum_one(rows: torch.Tensor) -> torch.Tensor:
        return log_sums(rows) if len(rows) == 1 else raise_memory_error()

    with failing("choose_natively"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "log_sums", sum_one)
        return choose_tokens(logits, choices)


WAYS: Sequence[Choose] = (
    choose_tokens,
    choose_each_alone,
    choose_in_another_order,
    choose_beside_a_row_of_no_numbers,
    choose_beside_a_row_of_no_options,
    choose_from_a_wider_table,
    choose_from_every_other_row,
    choose_from_columns,
    choose_with_threads,
    choose_without_memory_for_cpp,
    choose_one_after_the_other,
    choose_step_by_step,
    choose_where_only_one_row_has_room,
)


@settings(max_examples=25)
@given(
    st.lists(st.one_of(params_strategy, greedy_strategy), min_size=1, max_size=6),
    st.integers(0, 10**6),
    st.sampled_from([7, 40, 2003, 8000, 40_000]),
    shapes,
)
def test_every_way_to_a_token_gives_its_log_probability_to_the_last_bit(
    requests: list[SamplingParams], seed: int, vocab_size: int, shape: str
) -> None:
    logits = random_logits(seed, len(requests), vocab_size, shape)
    sums = log_sums(logits)
    ids = [seed % 7, 5, seed % 7]
    wanted = choose_tokens(logits, [Choice(TokenChooser(params, CPU), 0, ids, None) for params in requests])
    for row, one in enumerate(wanted):
        if isinstance(one, Chosen):
            assert one.logprob == float(logits[row, one.token_id] - sums[row])
    for choose in WAYS:
        results = choose(logits, [Choice(TokenChooser(params, CPU), 0, ids, None) for params in requests])
        assert [one if isinstance(one, Chosen) else str(one) for one in results] == [
            one if isinstance(one, Chosen) else str(one) for one in wanted
        ], choose


def test_a_beams_log_probabilities_are_to_the_last_bit_those_of_chosen_tokens() -> None:
    logits = random_logits(3, 1, 40_000, "flat")
    params = SamplingParams(num_beams=4, n=4, repetition_penalty=1.0)
    steps = search_beams(
        None,  # type: ignore[arg-type]
        SimpleNamespace(ids=(1, 2)),  # type: ignore[arg-type]
        logits[0],
        params=params,
        max_new_tokens=1,  # so nothing is read
        eos_ids=(0,),
        healing=SimpleNamespace(typed=b""),  # type: ignore[arg-type]
    )
    with pytest.raises(StopIteration) as stopped:
        next(steps)
    beams, _ = stopped.value.value
    assert len(beams) == 4
    for beam in beams:
        [allowed] = beam.token_ids
        assert choose_tokens(logits, [Choice(make_chooser(temperature=0), 0, [1], [allowed])]) == [
            Chosen(allowed, beam.logprobs[0])
        ]


@pytest.mark.parametrize("bad", ["nan", "inf", "all -inf", "allowed outside", "ids of no number", "negative id"])
def test_one_bad_row_harms_no_other(bad: str) -> None:
    logits = random_logits(2, len(VARIED) + 1, 8000, "flat")
    ids: list[Any] = [5, 9, 5, 9, 5]
    wanted = choose_tokens(logits[1:], [Choice(make_chooser(**options), 0, ids, None) for options in VARIED])
    if bad in ("nan", "inf"):
        logits[0, 77] = float(bad)
    if bad == "all -inf":
        logits[0] = -INF
    bad_ids = {"ids of no number": [1, "x"], "negative id": [1, -5]}.get(bad, ids)
    first = Choice(make_chooser(), 0, bad_ids, [9000] if bad == "allowed outside" else None)
    results = choose_tokens(logits, [first, *(Choice(make_chooser(**options), 0, ids, None) for options in VARIED)])
    assert isinstance(results[0], GenerationError)
    assert results[1:] == wanted


# Options that no check has seen, and numbers that are to be indices and are none.
UNFIT: dict[str, dict[str, Any]] = {
    "index beyond the last": {"index": 3},
    "index far away": {"index": 2**70},
    "index below zero": {"index": -1},
    "index of no number": {"index": "x"},
    "top_k of no number": {"top_k": "x"},
    "top_p of no number": {"top_p": "x"},
    "min_p of no number": {"min_p": "x"},
    "penalty of no number": {"repetition_penalty": "x"},
    "n-grams of no number": {"no_repeat_ngram_size": "x"},
    "allowed: the size of the vocabulary": {"allowed": [4, 8000]},
    "allowed: far away": {"allowed": [2**70]},
    "allowed: below zero": {"allowed": [4, -1]},
    "allowed: no number": {"allowed": [4, "x"]},
    "token above the vocabulary": {"ids": [5, 8000]},
    "token far away": {"ids": [5, 2**70]},
    "token below zero": {"ids": [5, -1]},
    "banned token below zero": {"ids": [5, -9000, 5], "no_repeat_ngram_size": 2, "repetition_penalty": 1.0},
    "banned token above the vocabulary": {"ids": [5, 9000, 5], "no_repeat_ngram_size": 2, "repetition_penalty": 1.0},
}


@pytest.mark.parametrize("unfit", UNFIT)
@pytest.mark.parametrize("options", [{}, {"n": 3}, {"temperature": 0}, {"top_k": 0}])
def test_a_row_that_no_check_has_seen_is_its_own_error(options: dict[str, Any], unfit: str) -> None:
    broken = dict(UNFIT[unfit])
    if options.get("temperature") == 0 and unfit.startswith(("top_", "min_p")):
        pytest.skip("a greedy row has no use for it")
    logits, ids = random_logits(2, len(VARIED) + 1, 8000, "flat"), [5, 9, 5, 9, 5]
    wanted = choose_tokens(logits[1:], [Choice(make_chooser(**varied), 0, ids, None) for varied in VARIED])
    chooser = make_chooser(**options)
    index, own_ids, allowed = broken.pop("index", 0), broken.pop("ids", ids), broken.pop("allowed", None)
    for name, value in broken.items():
        object.__setattr__(chooser.params, name, value)
    bad = Choice(chooser, index, own_ids, allowed)
    results = choose_tokens(logits, [bad, *(Choice(make_chooser(**varied), 0, ids, None) for varied in VARIED)])
    assert isinstance(results[0], GenerationError)
    assert results[1:] == wanted


def test_where_cpp_has_no_memory_numpy_chooses_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    native = find_row_chooser()
    if native is None:
        pytest.skip("chooses in numpy")
    choosers = [make_chooser(**options) for options in VARIED]
    references = [make_chooser(**options) for options in VARIED]
    ids = [5, 9, 5, 9, 5]
    for step in range(6):
        logits = random_logits(step, len(VARIED), 3000, "flat")
        wanted = choose_tokens(logits, [Choice(chooser, 0, ids, None) for chooser in references])
        with monkeypatch.context() as patch:
            if step % 2:
                patch.setattr(native, "choose", raise_memory_error)
            results = choose_tokens(logits, [Choice(chooser, 0, ids, None) for chooser in choosers])
        assert results == wanted


def raise_memory_error(*_: Any) -> NoReturn:
    raise MemoryError


def test_a_row_can_go_on_with_a_vocabulary_of_another_size() -> None:
    chooser = make_chooser(temperature=0)
    for vocab_size in (300, 5000, 40):
        logits = random_logits(vocab_size, 1, vocab_size, "flat")
        [fresh] = choose_tokens(logits, [Choice(make_chooser(temperature=0), 0, [5, 9], None)])
        assert choose_tokens(logits, [Choice(chooser, 0, [5, 9], None)]) == [fresh]


@pytest.mark.parametrize("vocab_size", [1, 7, 256, 511, 49_152])
@pytest.mark.parametrize("num_rows", [0, 1, 2, 33])
@pytest.mark.parametrize("shape", ["flat", "peaked", "impossible", "shifted"])
def test_log_sums_are_those_of_torch(shape: str, num_rows: int, vocab_size: int) -> None:
    logits = random_logits(vocab_size, num_rows, vocab_size, shape)
    wanted = logits.double().logsumexp(dim=-1)
    found, is_finite = log_sums(logits).double(), wanted.isfinite()
    assert torch.equal(found.isfinite(), is_finite)
    np.testing.assert_allclose(found[is_finite], wanted[is_finite], rtol=1e-6, atol=1e-6)
    assert are_finite(logits) == bool(is_finite.all())


@pytest.mark.parametrize("at", [0, 500, 2000, 2002])
@pytest.mark.parametrize("bad", [float("nan"), INF, -INF])
def test_a_number_that_is_none_shows_in_its_rows_sum_only(bad: float, at: int) -> None:
    logits = random_logits(9, 3, 2003, "flat")
    logits[1, at] = bad
    assert are_finite(logits) == (bad == -INF)  # an impossible token is nothing bad
    assert log_sums(logits).isfinite().tolist() == [True, bad == -INF, True]
    logits[1] = bad
    assert not are_finite(logits)
    assert log_sums(logits).isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("vocab_size", [1, 7, 2003, 50_257])
def test_a_rows_log_sum_is_the_same_bits_wherever_the_row_lies(vocab_size: int, num_threads: int) -> None:
    logits = random_logits(9, 11, vocab_size, "flat")
    wanted = log_sums(logits)
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        for found in (
            log_sums(logits),
            torch.cat([log_sums(logits[at : at + 1]) for at in range(11)]),
            torch.cat([log_sums(logits[:3]), log_sums(logits[3:])]),
            log_sums(torch.cat([torch.full_like(logits, float("nan")), logits]))[11:],
            log_sums(torch.cat([logits[:, :1], logits], dim=1)[:, 1:]),
            log_sums(logits.repeat_interleave(2, dim=0)[::2]),
            log_sums(logits.T.contiguous().T),
            torch.stack([log_sums(row.expand(5, -1))[4] for row in logits]),
        ):
            assert torch.equal(found, wanted)
    finally:
        torch.set_num_threads(before)
    assert are_finite(logits[:, ::2])


@pytest.mark.parametrize("shape", ["flat", "peaked", "shifted"])
def test_without_the_library_a_log_sum_is_another_by_rounding_only(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = random_logits(5, 8, 50_257, shape)
    wanted = log_sums(logits)
    monkeypatch.setattr(row_chooser, "_row_chooser", None)
    np.testing.assert_allclose(log_sums(logits), wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_row_with_no_token_left_says_which_option_to_lower(temperature: float) -> None:
    chooser = make_chooser(no_repeat_ngram_size=1, temperature=temperature)
    [result] = choose_tokens(torch.zeros(1, 8), [Choice(chooser, 0, list(range(8)), None)])
    assert isinstance(result, GenerationError)
    assert "no_repeat_ngram_size" in str(result)


@pytest.mark.parametrize("options", [{}, {"top_k": 0}, {"temperature": 0.0, "n": 1}])
def test_finished_rows_still_take_their_draws(options: dict[str, Any]) -> None:
    params = SamplingParams(**{"n": 3, "seed": 11, **options})
    chooser, reference = TokenChooser(params, CPU), Reference(params)
    texts = [[1, 2, 3] for _ in range(params.n)]
    for step in range(6):
        logits = random_logits(step, params.n, 3000, "flat")
        rows = [row for row in range(params.n) if row != 1 or step < 2]
        results = choose_tokens(logits[rows], [Choice(chooser, row, texts[row], None) for row in rows])
        wanted = reference.choose(logits, texts)
        assert wanted is not None
        assert token_ids(results) == [wanted[row] for row in rows]
        for text, token_id in zip(texts, wanted, strict=True):
            text.append(token_id)


WILD = {"temperature": 1.2, "top_k": 0, "top_p": 0.98}


def check_steps(options: dict[str, Any], steps: Sequence[torch.Tensor], rows: Sequence[int]) -> TokenChooser:
    """Let the continuations `rows` of one request choose by each of `steps` (n, vocab), and compare with transformers.

    Returns the chooser.
    """
    params = SamplingParams(**{"seed": 21, **options})
    chooser, reference = TokenChooser(params, CPU), Reference(params)
    texts = [[0] for _ in range(params.n)]
    for logits in steps:
        results = choose_tokens(logits[list(rows)], [Choice(chooser, row, texts[row], None) for row in rows])
        wanted = reference.choose(logits, texts)
        assert wanted is not None
        assert token_ids(results) == [wanted[row] for row in rows]
        for row, result in zip(rows, results, strict=True):
            assert isinstance(result, Chosen)
            logprob = float(logits[row].log_softmax(dim=-1)[result.token_id])
            assert result.logprob == pytest.approx(logprob, rel=1e-5, abs=1e-5)
        for text, token_id in zip(texts, wanted, strict=True):
            text.append(token_id)
    return chooser


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0}, WILD, {"top_k": 300, "repetition_penalty": 0.8}, {"top_k": 0, "min_p": 0.1, "top_p": 0.9}],
)
@pytest.mark.parametrize("vocab_size", [1, 2, 7, 16, 255, 257, 511, 1001, 4097])
def test_a_vocabulary_of_any_size_is_exact(options: dict[str, Any], vocab_size: int) -> None:
    check_steps(options, [random_logits(step, 1, vocab_size, "flat") for step in range(8)], [0])


@pytest.mark.parametrize("top_k", [1, 2, 50, 199, 700])
@pytest.mark.parametrize("top_p", [1.0, 0.6])
def test_tokens_as_likely_as_the_last_that_top_k_keeps_are_kept_too(top_k: int, top_p: float) -> None:
    steps = []
    for step in range(6):
        logits = random_logits(step, 1, 3001, "flat")
        smallest = logits.topk(top_k).values[0, -1]
        logits[0, step::101] = smallest
        steps.append(logits)
    check_steps({"top_k": top_k, "top_p": top_p, "repetition_penalty": 1.0}, steps, [0])


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, WILD, {"top_k": 5}])
def test_impossible_tokens_never_come(options: dict[str, Any]) -> None:
    steps = []
    for step in range(6):
        logits = torch.full((1, 2003), -INF)
        logits[0, step::700] = random_logits(step, 1, 3, "flat")[0, : len(logits[0, step::700])]
        steps.append(logits)
    check_steps(options, steps, [0])


@pytest.mark.parametrize("top_k", [0, 50, 1000])
@pytest.mark.parametrize("top_p", [1.0, 0.8])
@pytest.mark.parametrize("min_p", [0.01, 0.25, 0.5, 1.0])
def test_tokens_at_the_edge_of_min_p_are_kept_or_not_as_in_transformers(min_p: float, top_p: float, top_k: int) -> None:
    steps = []
    for step in range(6):
        logits = random_logits(step, 1, 3001, "flat")
        # The nearer to the edge, the more it is rounding that decides.
        edge = logits.max() + torch.tensor(min_p).log()
        logits[0, step::101] = edge + torch.linspace(-1e-3, 1e-3, len(logits[0, step::101])) ** 3 * 1e3
        logits[0, step + 7 :: 303] = edge
        logits[0, step + 9 :: 999] = logits.max()
        steps.append(logits)
    options = {"temperature": 1.0, "top_k": top_k, "top_p": top_p, "min_p": min_p, "repetition_penalty": 1.0}
    check_steps(options, steps, [0])


@pytest.mark.parametrize("repetition_penalty", [1.0, 1.8])
@pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": 0, "top_p": 1.0}, {"top_k": 1000}, {"top_k": 30}])
def test_a_few_candidates_prove_what_min_p_leaves(options: dict[str, Any], repetition_penalty: float) -> None:
    num_proven = 0
    for seed in range(60):
        params = SamplingParams(**{"seed": seed, "min_p": 0.05, "repetition_penalty": repetition_penalty, **options})
        logits = random_logits(seed, 1, 9001, "peaked")
        text = logits[0].topk(8).indices.tolist()[2:]
        chooser = TokenChooser(params, CPU)
        row = OpenRow(0, Choice(chooser, 0, text), chooser.remember(0, text, 9001))
        assert row.stream is not None
        row.draws = row.stream.draw(9001)
        found = choose_among_candidates(logits, [row], log_sums(logits))
        if found:
            assert token_ids([found[0]]) == Reference(params).choose(logits, [text])
        num_proven += len(found)
    assert num_proven >= 54


def test_candidates_that_min_p_may_not_cut_off_prove_nothing() -> None:
    params = SamplingParams(seed=1, min_p=0.01, top_k=0, repetition_penalty=1.0)
    chooser = TokenChooser(params, CPU)
    row = OpenRow(0, Choice(chooser, 0, [1]), chooser.remember(0, [1], 9001))
    assert row.stream is not None
    row.draws = row.stream.draw(9001)
    logits = random_logits(1, 1, 9001, "flat") / 4
    assert choose_among_candidates(logits, [row], log_sums(logits)) == {}


@pytest.mark.parametrize("options", [{"top_k": 1000}, {"top_k": 0, "top_p": 1.0}, {"top_k": 1000, "top_p": 0.5}])
def test_a_top_k_above_the_vocabulary_keeps_all(options: dict[str, Any]) -> None:
    check_steps(options, [random_logits(step, 1, 601, "flat") for step in range(8)], [0])


@pytest.mark.parametrize("options", [{}, WILD, {"top_k": 400}])
def test_the_draws_of_many_steps_are_where_those_of_torch_are(options: dict[str, Any]) -> None:
    steps = [random_logits(step, 5, 1009, "flat") for step in range(60)]
    chooser = check_steps({"n": 5, **options}, steps, [4, 1])  # the others have ended
    generator = torch.Generator().manual_seed(21)
    for _ in steps:
        torch.empty(5, 1009).exponential_(1, generator=generator)
    assert chooser.stream is not None
    drawn, wanted = chooser.stream.draw(333), torch.empty(5, 333).exponential_(1, generator=generator)
    for row in range(5):
        assert torch.equal(drawn.row(row), wanted[row])


@pytest.mark.parametrize("at", [0, 500, 2000, 2002])
@pytest.mark.parametrize("bad", [float("nan"), INF])
@pytest.mark.parametrize("options", [{}, {"temperature": 0, "repetition_penalty": 1.0}, WILD])
def test_a_number_that_is_none_is_found_wherever_it_is(options: dict[str, Any], bad: float, at: int) -> None:
    logits = random_logits(8, 2, 2003, "flat")
    logits[1, at] = bad
    choosers = [make_chooser(**options), make_chooser(**options)]
    results = choose_tokens(logits, [Choice(chooser, 0, [1, 2], None) for chooser in choosers])
    assert isinstance(results[0], Chosen)
    assert isinstance(results[1], GenerationError)
    assert "returned invalid numbers" in str(results[1])


MIN_P = {"min_p": 0.1, "top_k": 0, "top_p": 1.0, "temperature": 1.2}


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0}, WILD, MIN_P, {"min_p": 0.05}, {"n": 3}, {"no_repeat_ngram_size": 2}]
)
def test_cpp_proves_nearly_every_choice(options: dict[str, Any]) -> None:
    native = find_row_chooser()
    if native is None:
        pytest.skip("chooses in numpy")
    chooser, num_unproven = make_chooser(**options), 0
    for step in range(100):
        rows = [
            OpenRow(row, choice, chooser.remember(row, choice.ids, 9001))
            for row in range(chooser.params.n)
            for choice in [Choice(chooser, row, [3, 4, 3], None)]
        ]
        found = choose_natively(native, random_logits(step, len(rows), 9001, "flat"), rows)
        num_unproven += found.count(None)
    assert num_unproven <= 3


def test_a_request_that_began_before_the_library_was_there_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    params = SamplingParams(seed=2)
    with monkeypatch.context() as patch:
        patch.setattr(row_chooser, "_row_chooser", None)
        old = TokenChooser(params, CPU)
    new, reference = TokenChooser(params, CPU), Reference(params)
    for step in range(5):
        logits = random_logits(step, 1, 3000, "flat")
        results = choose_tokens(logits.repeat(2, 1), [Choice(old, 0, [7], None), Choice(new, 0, [7], None)])
        wanted = reference.choose(logits, [[7]])
        assert wanted is not None
        assert token_ids(results) == [*wanted, *wanted]


@pytest.mark.parametrize("options", [{}, {"top_k": 0, "top_p": 0.5}, {"top_k": 3}, {"temperature": 0}])
def test_only_allowed_tokens_come_and_penalties_leave_them_alone(options: dict[str, Any]) -> None:
    logits = random_logits(4, 1, 3000, "flat")
    allowed = [17, 4, 2999, 1200]
    params = SamplingParams(**{"seed": 3, "repetition_penalty": 2.0, **options})
    restricted = torch.full_like(logits, -INF)
    restricted[0, allowed] = logits[0, allowed]
    chooser = TokenChooser(params, CPU)
    reference = Reference(SamplingParams(**{"seed": 3, **options, "repetition_penalty": 1.0}))
    for _ in range(20):
        results = choose_tokens(logits, [Choice(chooser, 0, allowed, allowed)])
        assert token_ids(results) == reference.choose(restricted, [allowed])


@pytest.mark.parametrize("options", [{}, WILD, {"temperature": 0}])
def test_a_row_that_is_allowed_nothing_gets_nothing(options: dict[str, Any]) -> None:
    [result] = choose_tokens(random_logits(4, 1, 3000, "flat"), [Choice(make_chooser(**options), 0, [1], [])])
    assert isinstance(result, GenerationError)


def test_an_almost_zero_temperature_is_greedy() -> None:
    logits = random_logits(5, 1, 3000, "peaked")
    cold, greedy = make_chooser(temperature=1e-40), make_chooser(temperature=0)
    assert choose_tokens(logits, [Choice(cold, 0, [1], None)]) == choose_tokens(logits, [Choice(greedy, 0, [1], None)])


def test_ids_that_were_taken_back_and_replaced_are_forgotten() -> None:
    logits = torch.zeros(1, 500)
    chooser = make_chooser(temperature=0, repetition_penalty=2.0, no_repeat_ngram_size=2)
    logits[0, [8, 9]] = torch.tensor([2.0, 3.0])
    assert token_ids(choose_tokens(logits, [Choice(chooser, 0, [1, 9], None)])) == [8]
    assert token_ids(choose_tokens(logits, [Choice(chooser, 0, [1, 8], None)])) == [9]


def test_nothing_to_choose_is_no_trouble() -> None:
    assert choose_tokens(torch.zeros(0, 500), []) == []


def test_draws_are_those_of_torch() -> None:
    for seed, num_rows, vocab_size in [
        (0, 1, 5),
        (2**63 - 1, 3, 311),
        (2**32 + 1, 2, 624),
        (9, 1, 50257),
        (5, 5, 49_152),
    ]:
        generator = torch.Generator()
        generator.manual_seed(seed)
        stream = DrawStream(seed, num_rows, CPU)
        for _ in range(3):
            wanted = torch.empty(num_rows, vocab_size).exponential_(1, generator=generator)
            drawn = stream.draw(vocab_size)
            ids = np.array([vocab_size - 1, 0, 3])
            for row in range(num_rows):
                assert torch.equal(drawn.row(row), wanted[row])
                np.testing.assert_allclose(drawn.at(row, ids), wanted[row].numpy()[ids], rtol=1e-6)
                np.testing.assert_allclose(drawn.quick_row(row), wanted[row].numpy(), rtol=0.05)
