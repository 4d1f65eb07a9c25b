"""What a server may send that makes no sense: it is left out, and what makes sense is kept."""

from dataclasses import replace
from typing import Any

import httpx2
import openai
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.remote.answers import pieces_of, usage_of
from bot.remote.continuation import Continuation
from bot.remote.counting import count_of
from bot.remote.failures import translate
from tests.remote.remotes import engine_on, written
from tests.servers.openai.behaviour import VLLM
from tests.servers.openai.server import serve_openai

NAMES = (
    "choices", "content", "delta", "finish_reason", "index", "logprob", "logprobs", "message", "text", "text_offset",
    "token", "token_logprobs", "tokens", "top_logprobs", "usage", "prompt_tokens", "completion_tokens",
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)
LOGPROBS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("content", "tokens", "token_logprobs", "top_logprobs", "text_offset"), VALUES)
)
CHOICES = st.lists(st.fixed_dictionaries({"text": VALUES, "logprobs": VALUES | LOGPROBS}), max_size=2)


@settings(max_examples=500, deadline=None)
@given(VALUES | st.fixed_dictionaries({"choices": VALUES | CHOICES, "usage": VALUES}))
def test_any_json_is_read(answer: Any) -> None:
    for piece in pieces_of(answer):
        assert isinstance(piece.text, str)
    usage = usage_of(answer)
    assert usage is None or 0 < usage.num_prompt_tokens < 2**63
    count_of(answer)


async def test_more_prompt_tokens_than_can_be_are_estimated_instead() -> None:
    async with serve_openai(replace(VLLM, usage="huge")) as server, engine_on(server) as engine:
        generation = engine.generate(Prompt.plain("Once upon a time"), SamplingParams(seed=7, max_new_tokens=8))
        await written(generation)
    assert generation.timings is not None
    assert generation.timings.num_prompt_tokens < 100


def test_a_character_cut_in_two_pieces_is_shown_whole() -> None:
    one = Continuation(0)
    assert [one.push("Hi \ud83d"), one.push("\ude00!"), one.push("\ud83d"), one.finish("stop")] == [
        "Hi ", "\U0001f600!", "", "\ufffd",
    ]  # fmt: skip
    assert one.completion is not None
    assert one.completion.text == "Hi \U0001f600!\ufffd"


def test_a_wait_that_nobody_would_count_is_told_as_later() -> None:
    response = httpx2.Response(429, headers={"Retry-After": "1e300"}, request=httpx2.Request("POST", "http://a"))
    failure = translate(openai.RateLimitError("", response=response, body=None), model="m", key="k")
    assert str(failure.error) == "The model's server has too many requests now. Try again later."
