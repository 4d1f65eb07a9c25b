"""Options, presets and ranges."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.sampling_params import (
    MAX_DRAWN_SEED,
    MAX_SEED,
    OPTIONS,
    PRESETS,
    WARPERS,
    SamplingParams,
    apply_options,
    check_lacking,
    check_stops,
    leave_out,
)
from bot.errors import RequestError


@pytest.mark.parametrize("name", OPTIONS)
def test_both_ends_of_a_range_are_taken_and_what_lies_beyond_is_not(name: str) -> None:
    option = OPTIONS[name]
    low, high = option.lowest, option.highest
    assert option.check(high) == high
    if option.takes_lowest:
        assert option.check(low) == low
    else:
        assert option.check(low + 1e-9) == low + 1e-9
        with pytest.raises(RequestError, match=f"^{name} takes a number above {low:g} and up to {high:g}, not "):
            option.check(low)
    for wrong in (low - 1, high + 1, float("nan"), float("inf"), -float("inf"), 10**5000, True, "1", None):
        with pytest.raises(RequestError, match=f"^{name} takes ") as caught:
            option.check(wrong)
        assert option.takes in str(caught.value)
        assert len(str(caught.value)) < 120


def test_whole_options_take_no_fractions_and_real_ones_become_floats() -> None:
    for option in OPTIONS.values():
        if option.is_real:
            assert isinstance(option.check(1), float)
        else:
            with pytest.raises(RequestError, match="a whole number"):
                option.check(1.0)


def test_params_are_checked_however_they_are_made() -> None:
    for fields in (
        {"n": 6},
        {"seed": MAX_SEED + 1},
        {"stop": ("",)},
        {"num_beams": 2, "n": 3},
        {"temperature": 0, "n": 2},
    ):
        with pytest.raises(RequestError):
            SamplingParams(**fields)
        with pytest.raises(RequestError):
            SamplingParams.from_dict(SamplingParams().to_dict() | fields)
    assert SamplingParams(temperature=0).is_greedy
    assert not SamplingParams(temperature=0).is_sampled
    assert not SamplingParams(num_beams=2).is_sampled
    assert SamplingParams().is_sampled


def test_a_seed_is_drawn_once() -> None:
    params = SamplingParams().with_seed()
    assert params.seed is not None
    assert params.with_seed() is params
    assert SamplingParams(seed=0).with_seed().seed == 0


def test_a_drawn_seed_fits_everywhere() -> None:
    drawn = [SamplingParams().with_seed().seed for _ in range(100)]
    assert all(seed is not None and 0 <= seed < MAX_DRAWN_SEED < 2**53 for seed in drawn)
    assert len(set(drawn)) > 90


@given(
    st.builds(
        SamplingParams,
        max_new_tokens=st.integers(1, 512),
        temperature=st.floats(0.1, 2),
        top_p=st.floats(0.01, 1),
        seed=st.none() | st.integers(0, MAX_SEED),
        stop=st.lists(st.text(min_size=1), max_size=4).map(tuple),
    )
)
def test_params_survive_being_stored(params: SamplingParams) -> None:
    assert SamplingParams.from_dict(params.to_dict()) == params


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_its_values_and_options_beat_it(preset: str) -> None:
    params = apply_options(SamplingParams(n=3), {"preset": preset})
    for name, value in PRESETS[preset].items():
        assert getattr(params, name) == value
    assert apply_options(SamplingParams(), {"preset": preset, "repetition_penalty": 1.7}).repetition_penalty == 1.7


def test_a_preset_without_beams_takes_beams_back() -> None:
    base = SamplingParams(num_beams=4, temperature=0.5)
    assert apply_options(base, {"preset": "wild"}).num_beams == 1
    assert apply_options(base, {"preset": "greedy"}).is_greedy
    assert apply_options(base, {"num_beams": 1, "temperature": 0.3}).is_sampled


@pytest.mark.parametrize("options", [{"temperature": 0}, {"num_beams": 4}, {"preset": "greedy"}, {"preset": "beam"}])
def test_what_gives_one_answer_brings_n_down_to_one(options: dict[str, Any]) -> None:
    assert apply_options(SamplingParams(n=3), options).n == 1


@pytest.mark.parametrize("name", WARPERS)
def test_beams_refuse_options_of_sampling(name: str) -> None:
    for beams in ({"num_beams": 3}, {"preset": "beam"}):
        with pytest.raises(RequestError, match=f"leave out {name}, or set num_beams to 1"):
            apply_options(SamplingParams(), {**beams, name: 1})
        assert apply_options(SamplingParams(), {**beams, name: 1, "num_beams": 1}).num_beams == 1


def test_an_unknown_preset_names_those_that_there_are() -> None:
    with pytest.raises(RequestError, match="preset takes one of careful, normal, wild, greedy, beam, not 'x'"):
        apply_options(SamplingParams(), {"preset": "x"})


def test_a_person_may_give_four_short_stops() -> None:
    stops = ("a", "b" * 32, "\n", "d")
    assert check_stops(stops) == stops
    assert apply_options(SamplingParams(), {"stop": stops}).stop == stops
    for wrong in ((*stops, "e"), ("",), ("x" * 33,)):
        with pytest.raises(RequestError, match=r"^stop takes "):
            check_stops(wrong)


def test_every_option_is_a_field_of_the_params() -> None:
    assert {*OPTIONS, "stop"} == {f.name for f in dataclasses.fields(SamplingParams)}


def test_an_option_that_a_model_lacks_is_refused_unless_it_is_off_and_is_off_where_nobody_asked_for_it() -> None:
    lacking = {"top_k": "There is no top_k.", "seed": "There is no seed."}
    check_lacking({"top_k": 0, "temperature": 0.5}, lacking)
    for option in ({"top_k": 5}, {"seed": 1}):
        with pytest.raises(RequestError, match=r"^There is no (top_k|seed)\.$"):
            check_lacking(option, lacking)
    params = leave_out(SamplingParams(top_k=5, seed=1, top_p=0.5), lacking)
    assert (params.top_k, params.seed, params.top_p) == (0, None, 0.5)
