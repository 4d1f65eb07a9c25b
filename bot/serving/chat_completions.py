"""POST /v1/chat/completions: the next turn of a conversation, in the model's own chat markup."""

import asyncio
from typing import Any, Final

from aiohttp import web

from bot.core.prompt_parts import Prompt, PromptPart
from bot.errors import ModelError
from bot.serving.answers import head_of, start_answering, usage_of
from bot.serving.bodies import read_object
from bot.serving.errors import refuse
from bot.serving.generating import Answer, Answering
from bot.serving.lengths import check_lengths
from bot.serving.requests import ChatRequest, Wanted, parse_chat
from bot.serving.streams import EventStream, stream_events
from bot.serving.token_logprobs import chat_logprobs

ROUTES: Final = web.RouteTableDef()
_OBJECT: Final = "chat.completion"


@ROUTES.post("/v1/chat/completions")
async def chat(request: web.Request) -> web.StreamResponse:
    """Answer with the next turn, at once or as it is written."""
    asked = await asyncio.to_thread(parse_chat, await read_object(request))
    answering = start_answering(request, asked.wanted, "chatcmpl", with_end=False)
    prompt = await _render(answering, asked)
    if asked.wanted.is_streamed:
        return await stream_events(request, lambda stream: _send_all(stream, answering, prompt))
    (answer,) = await answering.answer_all([prompt], [None])
    choices = [
        {
            "index": completion.index,
            "message": {"role": "assistant", "content": completion.text, "refusal": None},
            "logprobs": _logprobs(answer, completion.index, asked.wanted),
            "finish_reason": completion.finish_reason,
        }
        for completion in answer.completions
    ]
    return web.json_response({**head_of(answering, _OBJECT), "choices": choices, "usage": usage_of([answer])})


async def _render(answering: Answering, asked: ChatRequest) -> Prompt:
    """Return the turns in the model's markup; contents are plain text. Raises ApiError for a model without one."""
    engine = answering.serving.engine
    if not engine.info.has_chat_template:
        raise refuse(
            f"The model {engine.info.name} has no chat template, so it has no chats. Use /v1/completions.", "messages"
        )
    contents = Prompt(tuple(PromptPart(turn.content) for turn in asked.turns))
    await check_lengths(engine, [contents], "messages")
    try:
        return await engine.render_chat(asked.turns)
    except ModelError as e:
        raise refuse(str(e), "messages") from e


async def _send_all(stream: EventStream, answering: Answering, prompt: Prompt) -> None:
    """Send each answer's role, its text as it is written, then its end with its log-probabilities."""
    wanted, started = answering.wanted, set[int]()
    head = head_of(answering, f"{_OBJECT}.chunk")

    async def send(index: int, delta: dict[str, str], logprobs: Any = None, finish_reason: str | None = None) -> None:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        await stream.send({**head, "choices": [choice]})

    async def begin(index: int) -> None:
        if index not in started:
            started.add(index)
            await send(index, {"role": "assistant", "content": ""})

    async def show(index: int, text: str) -> None:
        await begin(index)
        await send(index, {"content": text})

    (answer,) = await answering.answer_all([prompt], [None], show)
    for completion in answer.completions:
        await begin(completion.index)
        await send(completion.index, {}, _logprobs(answer, completion.index, wanted), completion.finish_reason)
    if wanted.includes_usage:
        await stream.send({**head, "choices": [], "usage": usage_of([answer])})


def _logprobs(answer: Answer, at: int, wanted: Wanted) -> dict[str, Any] | None:
    if wanted.num_likeliest is None:
        return None
    return chat_logprobs(answer.new_tokens[at], num_likeliest=wanted.num_likeliest)
