"""The sampling strategies that are shown side by side."""

import pytest

from bot.core.sampling_params import PRESETS, SamplingParams
from bot.core.strategies import STRATEGIES, Strategy, active_options, find_strategy


def test_each_preset_is_a_strategy_and_is_found_by_its_name() -> None:
    assert {one.name for one in STRATEGIES} == set(PRESETS)
    assert [find_strategy(one.name) for one in STRATEGIES] == [*STRATEGIES]
    assert find_strategy("") is None


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: one.name)
def test_a_strategy_sets_its_presets_options_and_leaves_length_seed_and_stops(strategy: Strategy) -> None:
    base = SamplingParams(max_new_tokens=9, seed=4, stop=("x",))
    params = strategy.params_from(base)
    assert (params.n, params.max_new_tokens, params.seed, params.stop) == (1, 9, 4, ("x",))
    for name, value in PRESETS[strategy.name].items():
        assert getattr(params, name) == value


def test_only_options_with_an_effect_are_named() -> None:
    base = SamplingParams()
    found = {one.name: dict(active_options(one.params_from(base))) for one in STRATEGIES}
    assert found["greedy"] == {"temperature": 0, "repetition_penalty": 1.1}
    assert found["beam"] == {"no_repeat_ngram_size": 2, "num_beams": 4}
    assert found["careful"] == {"temperature": 0.5, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.1}
    assert found["wild"] == {"temperature": 1.2, "top_p": 0.98, "repetition_penalty": 1.1}


def test_the_sentence_about_beams_has_the_figures_of_the_preset() -> None:
    (beam,) = (one for one in STRATEGIES if one.name == "beam")
    assert f"the {PRESETS['beam']['num_beams']} likeliest beginnings" in beam.sentence
    assert f"no run of {PRESETS['beam']['no_repeat_ngram_size']} tokens" in beam.sentence
