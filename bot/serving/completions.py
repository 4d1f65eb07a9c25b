"""POST /v1/completions: continuations of texts or of token ids."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from aiohttp import web

from bot.serving.answers import head_of, start_answering, usage_of
from bot.serving.bodies import read_object
from bot.serving.context import serving_of
from bot.serving.generating import Answer, Answering
from bot.serving.lengths import check_lengths
from bot.serving.requests import CompletionRequest, parse_completion
from bot.serving.streams import EventStream, stream_events
from bot.serving.token_logprobs import completion_logprobs

ROUTES: Final = web.RouteTableDef()
_OBJECT: Final = "text_completion"


@ROUTES.post("/v1/completions")
async def complete(request: web.Request) -> web.StreamResponse:
    """Answer with the continuations, at once or as they are written."""
    vocab_size = serving_of(request).engine.info.vocab_size
    body = await read_object(request)
    # A large body takes a while, in which others go on.
    asked = await asyncio.to_thread(parse_completion, body, vocab_size=vocab_size)
    answering = start_answering(request, asked.wanted, "cmpl", with_end=True)
    await check_lengths(answering.serving.engine, asked.prompts, "prompt")
    if asked.wanted.is_streamed:
        return await stream_events(request, lambda stream: _send_all(stream, answering, asked))
    answers = await answering.answer_all(asked.prompts, asked.texts)
    # With many log-probabilities this takes a while, in which others go on.
    encoded = await asyncio.to_thread(_encode, head_of(answering, _OBJECT), answers, asked)
    return web.Response(body=encoded, content_type="application/json")


def _encode(head: dict[str, Any], answers: Sequence[Answer], asked: CompletionRequest) -> bytes:
    """Return the whole answer as JSON."""
    n = asked.wanted.params.n
    choices = [
        _choice(k * n + at, answer, at, asked, text=answer.lead + answer.completions[at].text)
        for k, answer in enumerate(answers)
        for at in range(n)
    ]
    return json.dumps({**head, "choices": choices, "usage": usage_of(answers)}).encode()


async def _send_all(stream: EventStream, answering: Answering, asked: CompletionRequest) -> None:
    """Send the text as it is written, then the ends of all continuations with their log-probabilities."""
    head, n = head_of(answering, _OBJECT), asked.wanted.params.n

    async def show(index: int, text: str) -> None:
        choice = {"text": text, "index": index, "logprobs": None, "finish_reason": None}
        await stream.send({**head, "choices": [choice]})

    answers = await answering.answer_all(asked.prompts, asked.texts, show)
    for k, answer in enumerate(answers):
        for at in range(n):
            await stream.send_large(partial(_end, head, k * n + at, answer, at, asked))
    if asked.wanted.includes_usage:
        await stream.send({**head, "choices": [], "usage": usage_of(answers)})


def _end(head: dict[str, Any], index: int, answer: Answer, at: int, asked: CompletionRequest) -> dict[str, Any]:
    """Return the last event of a continuation, which has its log-probabilities."""
    return {**head, "choices": [_choice(index, answer, at, asked, text="")]}


def _choice(index: int, answer: Answer, at: int, asked: CompletionRequest, *, text: str) -> dict[str, Any]:
    """Return continuation `at` of `answer` with the text that was not sent yet."""
    num_likeliest = asked.wanted.num_likeliest
    logprobs = None
    if num_likeliest is not None:
        logprobs = completion_logprobs(
            answer.lead_tokens, answer.new_tokens[at], lead_text=answer.lead, num_likeliest=num_likeliest
        )
    return {
        "text": text,
        "index": index,
        "logprobs": logprobs,
        "finish_reason": answer.completions[at].finish_reason,
    }
