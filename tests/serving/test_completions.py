"""/v1/completions as the openai client sees it: texts, token ids, log-probabilities, streams."""

from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from openai import AsyncOpenAI
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.serving.served import Served

TEXT = "The cat sat on the mat and looked at 日本."


def ids_of(served: Served, text: str = TEXT) -> list[int]:
    return list(AutoTokenizer.from_pretrained(served.engine.info.folder)(text).input_ids)


def plain_logprobs(served: Served, ids: list[int]) -> torch.Tensor:
    """Return the log-probabilities (len(ids), vocab) after each of `ids`, by transformers."""
    network = AutoModelForCausalLM.from_pretrained(served.engine.info.folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return torch.as_tensor(network(torch.tensor([ids])).logits[0].log_softmax(-1))


async def ask(client: AsyncOpenAI, prompt: Any = TEXT, **options: Any) -> Any:
    return await client.completions.create(model="tiny", prompt=prompt, **options)


async def test_the_server_names_its_one_model(gpt2: AsyncOpenAI) -> None:
    assert [model.id async for model in gpt2.models.list()] == ["tiny"]
    assert (await gpt2.models.retrieve("tiny")).id == "tiny"
    with pytest.raises(openai.NotFoundError, match="This server has the model tiny, not gpt-4"):
        await gpt2.models.retrieve("gpt-4")
    with pytest.raises(openai.NotFoundError) as caught:
        await gpt2.completions.create(model="gpt-4", prompt="a")
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


async def test_a_greedy_completion_is_that_of_transformers(served_gpt2: Served, gpt2: AsyncOpenAI) -> None:
    ids = ids_of(served_gpt2)
    network = AutoModelForCausalLM.from_pretrained(served_gpt2.engine.info.folder, dtype=torch.float32).eval()
    written = network.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False)[0, len(ids) :]
    expected = AutoTokenizer.from_pretrained(served_gpt2.engine.info.folder).decode(written)
    for prompt in (TEXT, ids, [TEXT], [ids]):
        answer = await ask(gpt2, prompt, max_tokens=8, temperature=0)
        assert (answer.object, answer.model) == ("text_completion", "tiny")
        assert [choice.text for choice in answer.choices] == [expected]
        assert answer.choices[0].logprobs is None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(ids), len(written))


async def test_echo_with_logprobs_gives_those_of_the_prompt(served_gpt2: Served, gpt2: AsyncOpenAI) -> None:
    ids = ids_of(served_gpt2)
    expected = plain_logprobs(served_gpt2, ids)
    for prompt in (TEXT, ids):
        answer = await ask(gpt2, prompt, max_tokens=0, echo=True, logprobs=2)
        (choice,) = answer.choices
        assert (choice.text, choice.finish_reason, answer.usage.completion_tokens) == (TEXT, "length", 0)
        found = choice.logprobs
        assert found.token_logprobs[0] is found.top_logprobs[0] is None
        assert found.token_logprobs[1:] == pytest.approx(
            [float(expected[at, token_id]) for at, token_id in enumerate(ids[1:])], rel=1e-5, abs=1e-5
        )
        for at, top in enumerate(found.top_logprobs[1:]):
            assert found.token_logprobs[at + 1] == top[found.tokens[at + 1]]
            assert max(top.values()) == pytest.approx(float(expected[at].max()), rel=1e-5)
            assert 2 <= len(top) <= 3
        # A token of a part of a character is named by its bytes, and starts where the character does.
        assert all(text == TEXT[start:][: len(text)] or text.startswith("bytes:\\x") for text, start in pairs(found))


def pairs(found: Any) -> list[tuple[str, int]]:
    return list(zip(found.tokens, found.text_offset, strict=True))


async def test_the_tokens_of_a_continuation_have_logprobs_too(served_gpt2: Served, gpt2: AsyncOpenAI) -> None:
    ids = ids_of(served_gpt2)
    answer = await ask(gpt2, ids, max_tokens=5, temperature=0, logprobs=0)
    echoed = await ask(gpt2, ids, max_tokens=5, temperature=0, logprobs=1, echo=True)
    alone, whole = answer.choices[0], echoed.choices[0]
    assert whole.text == TEXT + alone.text
    assert whole.logprobs.tokens[-5:] == alone.logprobs.tokens
    assert whole.logprobs.token_logprobs[-5:] == alone.logprobs.token_logprobs
    assert [offset - len(TEXT) for offset in whole.logprobs.text_offset[-5:]] == alone.logprobs.text_offset
    # It is greedy, so the likeliest token is the one that was written.
    assert [max(top.values()) for top in whole.logprobs.top_logprobs[-5:]] == alone.logprobs.token_logprobs
    tops = [list(top.values()) for top in alone.logprobs.top_logprobs]
    assert tops == [[one] for one in alone.logprobs.token_logprobs]


async def test_several_prompts_and_choices_have_their_indexes(served_gpt2: Served, gpt2: AsyncOpenAI) -> None:
    prompts = ["The cat", "Once upon a time", "Hello"]
    answer = await ask(gpt2, prompts, n=2, best_of=2, seed=7, max_tokens=4, echo=True, user="ada")
    assert [choice.index for choice in answer.choices] == list(range(6))
    for choice in answer.choices:
        assert choice.text.startswith(prompts[choice.index // 2])
    again = await ask(gpt2, prompts[1], n=2, seed=7, max_tokens=4, echo=True)
    assert [choice.text for choice in again.choices] == [choice.text for choice in answer.choices[2:4]]
    assert again.system_fingerprint == answer.system_fingerprint


async def test_a_stream_is_the_same_text_in_pieces(served_gpt2: Served, gpt2: AsyncOpenAI) -> None:
    options = {"n": 2, "seed": 3, "max_tokens": 6, "logprobs": 1, "echo": True}
    whole = await ask(gpt2, ["The cat", "Hello"], **options)
    texts, ends, usage = ["", "", "", ""], dict[int, Any](), None
    stream = await ask(gpt2, ["The cat", "Hello"], **options, stream=True, stream_options={"include_usage": True})
    async for event in stream:
        assert event.id.startswith("cmpl-")
        usage = event.usage or usage
        for choice in event.choices:
            texts[choice.index] += choice.text
            if choice.finish_reason:
                ends[choice.index] = (choice.finish_reason, choice.logprobs)
    assert texts == [choice.text for choice in whole.choices]
    assert ends == {choice.index: (choice.finish_reason, choice.logprobs) for choice in whole.choices}
    assert usage == whole.usage


async def test_a_stop_text_ends_the_answer_and_is_not_listed(gpt2: AsyncOpenAI) -> None:
    whole = (await ask(gpt2, max_tokens=12, temperature=0, logprobs=0)).choices[0]
    listed = list(enumerate(pairs(whole.logprobs)))
    num_kept, stop, at = next((k, text, at) for k, (text, at) in listed[1:] if whole.text.find(text) == at)
    for given in (stop, ["never there", stop]):
        cut = (await ask(gpt2, max_tokens=12, temperature=0, logprobs=0, stop=given)).choices[0]
        assert (cut.text, cut.finish_reason) == (whole.text[:at], "stop")
        assert cut.logprobs.tokens == whole.logprobs.tokens[:num_kept]


async def test_special_tokens_of_a_text_are_read_as_such_unless_they_are_split(gpt2: AsyncOpenAI) -> None:
    text = "<|endoftext|>Hello"
    read = await ask(gpt2, text, max_tokens=0, echo=True, logprobs=0)
    split = await ask(gpt2, text, max_tokens=0, echo=True, logprobs=0, extra_body={"split_special_tokens": True})
    assert read.choices[0].logprobs.tokens[0] == "<|endoftext|>"
    assert split.choices[0].logprobs.tokens[0] == "<"
    assert read.choices[0].text == split.choices[0].text == text
    empty = await ask(gpt2, "", max_tokens=1, echo=True, logprobs=1, temperature=0)
    assert len(empty.choices[0].logprobs.tokens) == 1


async def test_what_the_tokenizer_puts_first_is_read_but_not_listed(tiny_llama2: Path) -> None:
    from tests.serving.served import open_served

    async with (
        open_served(tiny_llama2) as (engine, base),
        AsyncOpenAI(base_url=base, api_key="none", max_retries=0) as client,
    ):
        (choice,) = (await ask(client, "Hello there", max_tokens=0, echo=True, logprobs=0)).choices
        assert choice.logprobs.token_logprobs[0] is None
        assert "".join(choice.logprobs.tokens) == " Hello there"
        assert choice.logprobs.text_offset[:2] == [0, len(choice.logprobs.tokens[0]) - 1]
        ids = list(AutoTokenizer.from_pretrained(engine.info.folder)("Hello there").input_ids)
        (given,) = (await ask(client, ids, max_tokens=0, echo=True, logprobs=0)).choices
        assert given.logprobs.tokens[0] == "<s>"
        assert given.logprobs.token_logprobs[2:] == choice.logprobs.token_logprobs[1:]


@pytest.mark.parametrize(
    ("options", "param", "sentence"),
    [
        ({"prompt": []}, "prompt", "prompt takes a text, a list of texts"),
        ({"prompt": ["a", 1]}, "prompt", "prompt takes a text, a list of texts"),
        ({"prompt": [400]}, "prompt", "The token id 400 is not one of this model's; they go from 0 to 399."),
        ({"prompt": [-1]}, "prompt", "The token id -1 is not one of this model's"),
        ({"prompt": ["a"] * 129}, "prompt", "at most 128 continuations (prompts times n), not 129"),
        ({"prompt": "a " * 2000}, "prompt", "Shorten the text"),
        ({"n": 6}, "n", "n takes a whole number from 1 to 5, not 6"),
        ({"n": 2, "best_of": 3}, "best_of", "best_of must be the same as n"),
        ({"n": 2, "temperature": 0}, "n", "temperature 0 always picks the likeliest token"),
        ({"temperature": 3}, "temperature", "temperature takes a number from 0 to 2, not 3"),
        ({"max_tokens": 513}, "max_tokens", "max_tokens takes a whole number from 0 to 512, not 513"),
        ({"logprobs": 21}, "logprobs", "logprobs takes a whole number from 0 to 20, not 21"),
        ({"stop": ["a"] * 5}, "stop", "stop takes at most 4 texts, not 5"),
        ({"stop": ""}, "stop", "stop takes texts of 1 to 256 characters"),
        ({"stop": "a" * 257}, "stop", "stop takes texts of 1 to 256 characters"),
        (
            {"prompt": [[1] * 200] * 100, "logprobs": 20, "echo": True, "max_tokens": 1},
            "logprobs",
            "This asks for 422,100 log-probabilities, but one answer has at most 400,000.",
        ),
        ({"suffix": "b"}, "suffix", "suffix is not supported"),
        ({"logit_bias": {"1": 5}}, "logit_bias", "logit_bias is not supported"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "frequency_penalty is not supported"),
        ({"presence_penalty": 1}, "presence_penalty", "presence_penalty is not supported"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream_options needs stream: true"),
        ({"extra_body": {"beams": 3}}, "beams", "Unrecognized request argument supplied: beams"),
        ({"extra_body": {"top_k": -1}}, "top_k", "top_k takes a whole number from 0 to 1000"),
        ({"extra_body": {"echo": "yes"}}, "echo", "echo takes true or false, not 'yes'"),
    ],
)
async def test_what_can_t_be_done_is_refused_in_one_sentence(
    gpt2: AsyncOpenAI, options: dict[str, Any], param: str, sentence: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(gpt2, **options)
    error = caught.value
    assert (error.status_code, error.type, error.param) == (400, "invalid_request_error", param)
    assert isinstance(error.body, dict)
    assert sentence in error.body["message"]
    assert "\n" not in error.body["message"]


async def test_values_that_ask_for_nothing_are_taken(gpt2: AsyncOpenAI) -> None:
    nothing: dict[str, Any] = {"suffix": None, "logit_bias": {}, "frequency_penalty": 0, "presence_penalty": 0.0}
    nothing |= {"stop": None, "logprobs": None, "n": 1, "user": ""}
    extensions = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2}
    answer = await ask(gpt2, max_tokens=2, **nothing, extra_body=extensions)
    assert answer.usage.completion_tokens == 2


async def test_a_prompt_that_is_too_long_for_a_stream_has_a_status_of_its_own(gpt2: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(gpt2, [1] * 600, stream=True)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "prompt")
