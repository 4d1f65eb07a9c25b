"""What a server and its clients send each other comes back as it was; what is wrong in it is named."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.ending import AfterSentence, AfterWhole, EndRule, UnlessExactly
from bot.core.engine import Asker
from bot.core.engine_calls import (
    RESULTS,
    Call,
    CountTokens,
    Ended,
    Failed,
    Frame,
    Generate,
    GenerateBatch,
    Hello,
    Sender,
    error_of,
    fail,
    key_of,
)
from bot.core.prompt_parts import Prompt, PromptPart
from bot.core.results import DrawnScore, EngineStats, ModelInfo
from bot.core.sampling_params import OPTIONS, SamplingParams
from bot.core.wire import WireError, from_wire, to_wire
from bot.errors import DeliveryFailed, GenerationError, ModelError, PromptTooLong, RequestError, TemplateError

INFO = ModelInfo("tiny", "", "cpu", "float32", 512, 1000, "gpt2", True, False, 256, weights_digest="abc")
STATS = EngineStats(0, 1, 2, 3, 4, 5, 6.5, None, None, None, None)

options = st.fixed_dictionaries(
    {
        name: st.floats(max(option.lowest, 0.01), option.highest)
        if option.is_real
        else st.integers(int(option.lowest), int(option.highest))
        for name, option in OPTIONS.items()
        if name not in ("n", "num_beams", "temperature", "max_new_tokens")
    }
)
stops = st.lists(st.text("ab\n", min_size=1)).map(tuple)
chosen = st.builds(lambda given, stop: SamplingParams(**given, stop=stop), options, stops)
st.register_type_strategy(SamplingParams, chosen)
parts = st.lists(st.builds(PromptPart)).map(tuple)
token_ids = st.lists(st.integers(0), min_size=1).map(Prompt.of_tokens)
st.register_type_strategy(Mapping, st.dictionaries(st.text(), st.text()))
st.register_type_strategy(Prompt, st.builds(Prompt, parts, st.booleans(), st.just(())) | token_ids)
CALLS = [one for one in get_args(Call) if one is not GenerateBatch]
FRAMES = [st.from_type(one) for one in get_args(Frame) if one is not Ended]


def sent(kind: Any, value: Any) -> Any:
    """Return `value` as it arrives: through JSON."""
    return from_wire(kind, json.loads(json.dumps(to_wire(kind, value), allow_nan=False)))


@pytest.mark.parametrize("kind", [*RESULTS.values(), Hello, Sender], ids=str)
def test_every_result_comes_back_as_it_was(kind: Any) -> None:
    @given(st.from_type(kind))
    @settings(max_examples=20)
    def comes_back(value: Any) -> None:
        arrived = sent(kind, value)
        assert repr(arrived) == repr(value), "by repr, as nan is not equal to itself"

    comes_back()


@pytest.mark.parametrize("kind", CALLS, ids=lambda one: one.__name__)
def test_every_call_comes_back_as_it_was(kind: Any) -> None:
    short = {
        "num": st.integers(0, 1000),
        "num_expected": st.integers(0, 1000),
        "num_likeliest": st.integers(0, 1000),
        "timeout_s": st.floats(0, 3600),
    }
    names = {field.name for field in fields(kind)}

    @given(st.builds(kind, **{name: one for name, one in short.items() if name in names}))
    @settings(max_examples=20)
    def comes_back(value: Any) -> None:
        assert sent(kind, value) == value

    comes_back()


@given(st.one_of(*FRAMES, st.just(Ended({"a": [1]}, STATS))))
@settings(max_examples=50)
def test_every_frame_comes_back_with_its_class(frame: Any) -> None:
    assert repr(sent(Frame, frame)) == repr(frame)


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), 0.1, 5e-324, -0.0, 1e308])
def test_numbers_come_back_to_the_last_bit(number: float) -> None:
    score = DrawnScore(1, "a", 0, 1, -0.3, number)
    assert repr(sent(DrawnScore, score)) == repr(score)


def test_names_with_values_come_back() -> None:
    assert sent(Mapping[str, float], {"a": 1.5, "": float("inf")}) == {"a": 1.5, "": float("inf")}


def test_half_a_character_comes_back() -> None:
    prompt = Prompt.plain("a \ud83d lone surrogate, and \x00 \u2028")
    assert sent(Prompt, prompt) == prompt


@dataclass(frozen=True)
class _Newer:
    token_id: int
    text: str
    start: int
    end: int
    logprob: float
    drawn_logprob: float
    colour: str


def test_a_field_of_a_newer_server_is_ignored() -> None:
    newer = to_wire(_Newer, _Newer(1, "a", 0, 1, -1.0, -2.0, "green"))
    assert from_wire(DrawnScore, newer) == DrawnScore(1, "a", 0, 1, -1.0, -2.0)


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        (Prompt, {"parts": []}, "Prompt lacks the field is_document"),
        (CountTokens, {"prompts": "text"}, "CountTokens.prompts: it takes a list, not str"),
        (Prompt, {"parts": [{"text": 5, "is_markup": False}], "is_document": False}, "PromptPart.text: it takes str"),
        (Prompt, {"parts": [], "is_document": 1}, "Prompt.is_document: it takes bool, not int"),
        (Prompt, None, "Prompt takes an object, not nothing"),
        (EndRule, {"is": "Elsewhere"}, "it takes one of AfterSentence, AfterWhole, UnlessExactly"),
        (EndRule, {"is": ["AfterSentence"]}, "it takes one of AfterSentence"),
        (bytes, "\u20ac", "it takes bytes"),
        (float, True, "it takes a number, not bool"),
        (float, 10**400, "not one that long"),
        (tuple[int, int], [1], "it takes 2 values, not 1"),
        (Mapping[str, int], [1], "a mapping takes an object, not list"),
    ],
)
def test_what_is_wrong_is_named(kind: Any, value: Any, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        from_wire(kind, value)


@pytest.mark.parametrize("rule", [AfterSentence(), AfterWhole("It is"), UnlessExactly("yes"), None])
def test_a_rule_for_the_end_ends_the_same_texts_elsewhere(rule: EndRule | None) -> None:
    arrived = sent(EndRule | None, rule)
    assert arrived == rule
    texts = ("", "yes", " yes", "no", "yes and", "It is. So", "One. Two", " a cat.")
    assert arrived is None or rule is None or [arrived(text) for text in texts] == [rule(text) for text in texts]


def test_an_option_out_of_range_is_refused_with_its_sentence() -> None:
    wrong = {**to_wire(SamplingParams, SamplingParams()), "top_p": 7.0}
    with pytest.raises(RequestError, match="top_p takes a number above 0"):
        from_wire(SamplingParams, wrong)


@pytest.mark.parametrize("timeout_s", [-1.0, 1e9, float("inf"), float("nan")])
def test_a_call_that_would_wait_for_ever_is_refused(timeout_s: float) -> None:
    with pytest.raises(RequestError, match="timeout_s takes 0 to 3600 seconds"):
        Generate(Prompt.plain("a"), SamplingParams(), False, False, None, 0, timeout_s, "chat", False)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(RequestError, match="at least one prompt"):
        GenerateBatch((), (), False, False, None, 5.0)


@pytest.mark.parametrize(
    ("error", "arrives"),
    [
        (PromptTooLong(num_tokens=12, max_tokens=10), PromptTooLong),
        (TemplateError("a problem", source="x", line=1), RequestError),
        (DeliveryFailed("later"), None),
        (GenerationError("non-finite"), GenerationError),
        (ModelError("no chat template"), ModelError),
    ],
)
def test_an_error_arrives_as_what_a_caller_can_do_about_it(error: Any, arrives: Any) -> None:
    arrived = error_of(sent(Failed, fail(error)))
    assert str(arrived) == str(error)
    assert arrives is None or type(arrived) is arrives


def test_fronts_people_and_conversations_are_told_apart_without_their_names() -> None:
    ann = Asker(("discord", "home"), ("discord", "ann"), "m1")
    one, two = (Sender.of(ann, front=front, call="c", model="m") for front in ("f1", "f2"))
    assert "ann" not in str(to_wire(Sender, one))
    assert one.asker.person != two.asker.person
    assert one.asker.conversation != two.asker.conversation
    assert one.asker == Sender.of(ann, front="f1", call="d", model="m").asker
    assert Sender.of(Asker(), front="f1", call="c", model="m").asker == Asker()


def test_the_key_of_a_model_changes_with_its_weights_and_not_with_its_machine() -> None:
    assert key_of(INFO) == key_of(replace(INFO, device="cuda", folder="/elsewhere", notices=("slow",)))
    for change in ({"name": "b"}, {"weights_digest": "b"}, {"precision": "int8"}, {"start_token": "<s>"}):
        assert key_of(replace(INFO, **change)) != key_of(INFO)
