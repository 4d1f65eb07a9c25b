"""Every sampler supports every option of the table, or leaves the row to the one that does."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from bot.core.sampling_params import OPTIONS, SamplingParams
from bot.engine.networks.native.row_chooser import find_row_chooser
from bot.engine.sampler import compiled, exact, vectorized
from bot.engine.sampler.compiled import can_choose_natively, choose_natively
from bot.engine.sampler.exact import choose_as_transformers
from bot.engine.sampler.log_sums import log_sums
from bot.engine.sampler.rows import Choice, Chosen, OpenRow, TokenChooser
from bot.engine.sampler.sampler import choose_tokens
from bot.engine.sampler.vectorized import choose_among_candidates, choose_by_quotients
from bot.errors import GenerationError
from tests.engine.sampler.reference import Reference, random_logits

pytestmark = pytest.mark.usefixtures("way_to_choose")

VOCAB_SIZE = 2003
TEXT = (5, 9, 70, 5, 9, 5)
CHOOSING = {name: option for name, option in OPTIONS.items() if option.role in ("processor", "warper")}
OFF = {name: option.off for name, option in CHOOSING.items()}
# For each option, a value that matters, alone and beside others.
TELLING: Mapping[str, Any] = {
    "temperature": 0.3,
    "top_k": 3,
    "top_p": 0.3,
    "min_p": 0.3,
    "repetition_penalty": 2.0,
    "no_repeat_ngram_size": 1,
}
# What lets few candidates prove a result.
NARROW = {"top_k": 40}


def open_row(params: SamplingParams) -> OpenRow:
    """Return the row of a request; its draws are not taken yet."""
    chooser = TokenChooser(params, torch.device("cpu"))
    return OpenRow(0, Choice(chooser, 0, TEXT), chooser.remember(0, TEXT, VOCAB_SIZE))


def choose_step_by_step(logits: torch.Tensor, row: OpenRow) -> int | None:
    return int(choose_as_transformers(logits[0], row, log_sums(logits)[0])[0])


def choose_by_candidates(logits: torch.Tensor, row: OpenRow) -> int | None:
    return token_of(choose_among_candidates(logits, [row], log_sums(logits)).get(0))


def choose_in_numpy(logits: torch.Tensor, row: OpenRow) -> int | None:
    return token_of(choose_by_quotients(logits[0], row, float(log_sums(logits)[0])))


def choose_in_cpp(logits: torch.Tensor, row: OpenRow) -> int | None:
    native = find_row_chooser()
    if native is None:
        pytest.skip("there is no compiled library")
    if not can_choose_natively(native, logits, [row]):
        return None
    row.draws = None  # it takes them itself
    return token_of(choose_natively(native, logits, [row])[0])


def token_of(found: Chosen | GenerationError | None) -> int | None:
    assert not isinstance(found, GenerationError), found
    return None if found is None else found.token_id


SAMPLERS: Mapping[str, Callable[[torch.Tensor, OpenRow], int | None]] = {
    "step by step": choose_step_by_step,
    "candidates": choose_by_candidates,
    "numpy": choose_in_numpy,
    "C++": choose_in_cpp,
}


def choose(sampler: str, logits: torch.Tensor, params: SamplingParams) -> int | None:
    """Let one sampler choose the first token of a request; None where it leaves that to another."""
    row = open_row(params)
    if row.stream is not None and sampler != "C++":
        row.draws = row.stream.draw(VOCAB_SIZE)
    return SAMPLERS[sampler](logits, row)


def likely_where_it_was(seed: int) -> torch.Tensor:
    """Return logits in which tokens of the text are likely, as penalties need it."""
    logits = random_logits(seed, 1, VOCAB_SIZE, "flat")
    logits[0, list(TEXT)] += 7
    return logits


def test_each_option_has_a_value_that_matters() -> None:
    assert TELLING.keys() == CHOOSING.keys()
    assert not any(TELLING[name] == OFF[name] for name in CHOOSING)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", CHOOSING)
def test_an_option_changes_what_a_sampler_chooses_as_it_does_in_transformers(name: str, sampler: str) -> None:
    others = {**OFF, **(NARROW if sampler == "candidates" else {})}
    num_changed = num_proven = 0
    for seed in range(40):
        logits = likely_where_it_was(seed)
        without = SamplingParams(**{"seed": seed, **others})
        params = SamplingParams(**{"seed": seed, **others, name: TELLING[name]})
        wanted = Reference(params).choose(logits, [TEXT])
        found = choose(sampler, logits, params)
        assert found is None or [found] == wanted
        num_proven += found is not None
        num_changed += found is not None and wanted != Reference(without).choose(logits, [TEXT])
    assert num_proven >= 38
    assert num_changed >= 4


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_all_options_together_are_honoured(sampler: str) -> None:
    gentle = {"temperature": 1.3, "top_k": 40, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.2}
    num_proven = 0
    for seed in range(40):
        logits, params = likely_where_it_was(seed), SamplingParams(**{"seed": seed, **TELLING, **gentle})
        found = choose(sampler, logits, params)
        assert found is None or [found] == Reference(params).choose(logits, [TEXT])
        num_proven += found is not None
    assert num_proven >= 36


@pytest.mark.parametrize("name", CHOOSING)
@pytest.mark.parametrize("sampler", ["candidates", "numpy", "C++"])
def test_a_sampler_leaves_a_row_with_an_option_that_it_does_not_know(
    sampler: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (compiled, vectorized):
        monkeypatch.setattr(module, "SUPPORTED", module.SUPPORTED - {name})
    for seed in range(5):
        logits = likely_where_it_was(seed)
        params = SamplingParams(**{"seed": seed, **OFF, **NARROW, name: TELLING[name]})
        assert choose(sampler, logits, params) is None
        [result] = choose_tokens(logits, [Choice(TokenChooser(params, torch.device("cpu")), 0, TEXT)])
        assert isinstance(result, Chosen)
        assert [result.token_id] == Reference(params).choose(logits, [TEXT])
        if name != "top_k":
            without = SamplingParams(**{"seed": seed, **OFF, **NARROW})
            assert choose(sampler, logits, without) is not None


@pytest.mark.parametrize("name", CHOOSING)
def test_an_option_that_no_sampler_knows_is_an_error_and_not_ignored(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (compiled, vectorized):
        monkeypatch.setattr(module, "SUPPORTED", module.SUPPORTED - {name})
    for table in ("_PROCESSORS", "_WARPERS"):
        monkeypatch.setattr(exact, table, {k: v for k, v in getattr(exact, table).items() if k != name})
    chooser = TokenChooser(SamplingParams(**{"seed": 1, **OFF, name: TELLING[name]}), torch.device("cpu"))
    [result] = choose_tokens(likely_where_it_was(1), [Choice(chooser, 0, TEXT)])
    assert isinstance(result, GenerationError)
    assert isinstance(result.__cause__, NotImplementedError)


def test_no_option_is_left_to_the_slowest_sampler() -> None:
    assert compiled.SUPPORTED == vectorized.SUPPORTED == CHOOSING.keys()


def test_a_greedy_choice_needs_no_sampler_that_knows_the_warpers() -> None:
    greedy = open_row(SamplingParams(**{**TELLING, "temperature": 0}))
    assert greedy.active == {name for name, option in CHOOSING.items() if option.role == "processor"}
