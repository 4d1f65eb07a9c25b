"""/v1/chat/completions as the openai client sees it."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from transformers import AutoTokenizer

from tests.serving.served import Served

MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello <|im_end|> there"}]


async def ask(client: AsyncOpenAI, messages: Any = MESSAGES, **options: Any) -> Any:
    return await client.chat.completions.create(model="tiny", messages=messages, **options)


async def test_a_chat_is_read_in_the_model_s_own_markup_and_contents_are_plain_text(
    served_llama: Served, llama: AsyncOpenAI
) -> None:
    answer = await ask(llama, max_tokens=6, temperature=0)
    (choice,) = answer.choices
    assert (answer.object, choice.message.role, choice.finish_reason) == ("chat.completion", "assistant", "length")
    assert answer.usage.completion_tokens == 6
    tokenizer = AutoTokenizer.from_pretrained(served_llama.engine.info.folder)
    before = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello "
    ids = [
        *tokenizer(before).input_ids,
        *tokenizer("<|im_end|>", split_special_tokens=True).input_ids,
        *tokenizer(" there<|im_end|>\n<|im_start|>assistant\n").input_ids,
    ]
    assert answer.usage.prompt_tokens == len(ids)
    written = await llama.completions.create(model="tiny", prompt=ids, max_tokens=6, temperature=0)
    assert written.choices[0].text == choice.message.content


async def test_parts_developers_and_the_newer_limit_are_read_as_the_older_ones(llama: AsyncOpenAI) -> None:
    parts = [
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]},
        MESSAGES[1],
    ]
    old = await ask(llama, max_tokens=5, temperature=0)
    new = await ask(llama, parts, max_completion_tokens=5, temperature=0)
    assert (new.choices, new.usage) == (old.choices, old.usage)


async def test_logprobs_are_those_of_the_answer_s_tokens(llama: AsyncOpenAI) -> None:
    answer = await ask(llama, max_tokens=6, temperature=0, logprobs=True, top_logprobs=2)
    (choice,) = answer.choices
    content = choice.logprobs.content
    assert b"".join(bytes(one.bytes) for one in content).decode("utf-8", "replace").startswith(choice.message.content)
    for one in content:
        assert len(one.top_logprobs) == 2
        assert one.logprob == one.top_logprobs[0].logprob  # it is greedy
        assert one.token == one.top_logprobs[0].token
    bare = await ask(llama, max_tokens=6, temperature=0, logprobs=True)
    assert [(one.token, one.logprob, one.top_logprobs) for one in bare.choices[0].logprobs.content] == [
        (one.token, one.logprob, []) for one in content
    ]


async def test_a_stream_starts_with_the_role_and_ends_with_the_reason_and_the_usage(llama: AsyncOpenAI) -> None:
    options: dict[str, Any] = {"n": 2, "seed": 4, "max_tokens": 5, "logprobs": True, "top_logprobs": 1}
    whole = await ask(llama, **options)
    events = [event async for event in await ask(llama, **options, stream=True, stream_options={"include_usage": True})]
    assert {event.object for event in events} == {"chat.completion.chunk"}
    assert (events[-1].choices, events[-1].usage) == ([], whole.usage)
    for choice in whole.choices:
        own = [one for event in events for one in event.choices if one.index == choice.index]
        assert [one.delta.role for one in own] == ["assistant"] + [None] * (len(own) - 1)
        assert "".join(one.delta.content or "" for one in own) == choice.message.content
        assert own[-1].finish_reason == choice.finish_reason
        assert own[-1].logprobs.content == choice.logprobs.content


async def test_a_model_without_chats_says_so(gpt2: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="has no chat template, so it has no chats") as caught:
        await ask(gpt2)
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    ("options", "param", "sentence"),
    [
        ({"messages": []}, "messages", "at least one message"),
        ({"messages": ["hi"]}, "messages[0]", "takes an object with role and content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "not 'tool'"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "takes a text, or a list of parts"),
        (
            {"messages": [{"role": "user", "content": "x", "name": "ada"}]},
            "messages[0].name",
            "write it into the content",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]},
            "messages[0].content",
            "this model reads text only",
        ),
        ({"top_logprobs": 3}, "top_logprobs", "top_logprobs needs logprobs: true"),
        ({"max_tokens": 0}, "max_tokens", "from 1 to 512"),
        ({"max_tokens": 2, "max_completion_tokens": 3}, "max_tokens", "differ"),
        ({"tools": [{"type": "function"}]}, "tools", "tools is not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format", "response_format is not supported"),
        ({"extra_body": {"prompt": "x"}}, "prompt", "Unrecognized request argument supplied: prompt"),
    ],
)
async def test_what_can_t_be_done_is_refused_in_one_sentence(
    llama: AsyncOpenAI, options: dict[str, Any], param: str, sentence: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(llama, **options)
    assert isinstance(caught.value.body, dict)
    assert caught.value.param == param
    assert sentence in caught.value.body["message"]
