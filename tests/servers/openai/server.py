"""The stand-in: routes, answers and streams."""

import asyncio
import base64
import io
import json
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from PIL import Image

from tests.servers.openai.behaviour import VLLM, Behaviour, Fault
from tests.servers.openai.toy_model import draw, logits_after, logprob_of, logprobs_of, tokenize

KEY = "sk-stand-in-0123456789"
MODEL = "toy"
_COMMON = {
    "model",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "n",
    "stream",
    "stream_options",
    "logprobs",
}
_OF_COMPLETIONS = _COMMON | {"prompt", "echo"}
_OF_CHAT = _COMMON | {"messages", "top_logprobs"}
_DEFAULT_TOKENS = 16

Body = dict[str, Any]


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str, code: str = "invalid_request_error") -> None:
        self.status = status
        self.body = {"error": {"message": message, "type": "invalid_request_error", "code": code}}
        super().__init__(message)


class OpenAIServer:
    """A running stand-in. `requests` has the path and body of every request, `faults` those that come, in order.

    `scripts` are texts to write instead of the toy model's, in order; `tops` the likeliest first tokens of an answer.
    """

    def __init__(self, behaviour: Behaviour, *, model: str, key: str) -> None:
        self.behaviour = behaviour
        self.model = model
        self.key = key
        self.url = ""
        self.requests: list[tuple[str, Body]] = []
        self.faults: list[Fault] = []
        self.scripts: list[str] = []
        self.tops: dict[str, float] | None = None
        self.reason = "stop"  # why a script ends
        self.num_open = 0
        self.num_left = 0  # streams whose reader went away
        self._num_echoes = 0

    def picture_urls(self) -> list[str]:
        """Return the pictures that the last conversation holds, as data URLs."""
        return picture_urls(self.bodies("/chat/completions")[-1]["messages"])

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that let a bot in another process find the stand-in."""
        return {"MODEL": f"openai:{self.model}", "MODEL_API_BASE": self.url, "MODEL_API_KEY": self.key}

    def bodies(self, path: str = "") -> list[Body]:
        """Return the bodies of the requests to a path that ends so."""
        return [body for at, body in self.requests if at.endswith(path)]

    async def models(self, request: web.Request) -> web.StreamResponse:
        self._check_key(request)
        entry: Body = {"id": self.model, "object": "model", "owned_by": self.behaviour.owner}
        if self.behaviour.max_model_len is not None:
            entry["max_model_len"] = self.behaviour.max_model_len
        return web.json_response({"object": "list", "data": [entry]})

    async def version(self, request: web.Request) -> web.StreamResponse:
        if self.behaviour.version is None:
            raise Refusal(404, "Not found")
        return web.json_response({"version": self.behaviour.version})

    async def tokenize(self, request: web.Request) -> web.StreamResponse:
        if not self.behaviour.tokenizes:
            raise Refusal(404, "Not found")
        body = await request.json()
        text = body["prompt"] if "prompt" in body else chat_text(body["messages"])
        return web.json_response({"count": len(tokenize(text))})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        if not self.behaviour.has_completions:
            raise Refusal(404, "This is a chat model and not supported in the v1/completions endpoint.")
        return await self._answer(request, _OF_COMPLETIONS, lambda body: body["prompt"])

    async def chat(self, request: web.Request) -> web.StreamResponse:
        if not self.behaviour.has_chat:
            raise Refusal(404, "There is no chat.")
        known = _OF_CHAT
        if self.behaviour.continues_answers:
            known = known | {"continue_final_message", "add_generation_prompt"}
        return await self._answer(request, known, self._text_of_chat)

    def _text_of_chat(self, body: Body) -> str:
        return chat_text(body["messages"], goes_on=body.get("continue_final_message", False))

    async def _answer(self, request: web.Request, known: set[str], text_of: Any) -> web.StreamResponse:
        self._check_key(request)
        body = await request.json()
        self.requests.append((request.path, body))
        fault = self._take_fault(request.path)
        if fault.held_by is not None and fault.held_after is None:
            await fault.held_by.wait()
        if fault.status is not None:
            return web.json_response(fault.body or error_body(fault.status), status=fault.status, headers=fault.headers)
        self._check(body, known | set(self.behaviour.extensions))
        colours = self._look(body.get("messages", ()))
        text = text_of(body)
        is_chat = "messages" in body
        choices = [self._write(body, text, index, colours, is_chat=is_chat) for index in range(body.get("n") or 1)]
        if not body.get("stream"):
            whole = [one.whole(is_chat) for one in choices]
            return web.json_response({"object": "x", "choices": whole, **self._usage(text, choices)})
        return await self._stream(request, body, text, choices, fault)

    def _look(self, messages: Sequence[Body]) -> list[str]:
        """Return the colours of the pictures in the last message."""
        if not any(isinstance(one["content"], list) for one in messages):
            return []
        if isinstance(self.behaviour.pictures, int):
            raise Refusal(self.behaviour.pictures, "This is not a multimodal model.")
        colours = [colour_of(url) for url in picture_urls(messages[-1:])]
        return ["red" for _ in colours] if self.behaviour.pictures == "guessed" else colours

    def _take_fault(self, path: str) -> Fault:
        for at, fault in enumerate(self.faults):
            if path.endswith(fault.path):
                return self.faults.pop(at)
        return Fault()

    def _check_key(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            raise Refusal(401, f"Incorrect API key provided: {request.headers.get('Authorization')}.")

    def _check(self, body: Body, known: set[str]) -> None:
        can = self.behaviour
        if body["model"] != self.model:
            raise Refusal(404, f"The model `{body['model']}` does not exist.", "model_not_found")
        if can.unknown is not None and (unknown := set(body) - known):
            raise Refusal(can.unknown, f"Unrecognized request argument supplied: {min(unknown)}")
        if can.max_tokens_name != "max_tokens" and "max_tokens" in body:
            raise Refusal(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if not can.takes_temperature and body.get("temperature", 1) != 1:
            raise Refusal(400, "Unsupported value: 'temperature' does not support this value.")
        if len(body.get("stop") or ()) > can.max_stops:
            raise Refusal(400, "Invalid 'stop': array too long.")
        if (body.get("n") or 1) > 1 and not can.takes_n:
            raise Refusal(400, "n is not supported.")
        most = can.num_chat_top if "messages" in body else can.num_top
        asked = body.get("top_logprobs", 0) if "messages" in body else body.get("logprobs") or 0
        if "logprobs" in body and (most is None or asked > most):
            raise Refusal(can.unknown or 400, f"logprobs: at most {most}.")
        if body.get("echo") and not body.get("max_tokens") and not can.echoes_without_new:
            raise Refusal(400, "max_tokens must be at least 1.")

    def _write(self, body: Body, text: str, index: int, colours: Sequence[str], *, is_chat: bool) -> "Choice":
        num = body.get("max_tokens", body.get("max_completion_tokens", _DEFAULT_TOKENS))
        seed = body.get("seed") if self.behaviour.keeps_seed else None
        rng = random.Random(f"{seed} {index}" if seed is not None else None)
        names = ("temperature", "top_p", *self.behaviour.extensions)
        options = {name: body[name] for name in names if name in body}
        before = tokenize(text)
        choice = Choice(index, self._num_top(body, is_chat))
        if body.get("echo"):
            self._echo(choice, before)
        script = tokenize(self.scripts.pop(0)) if self.scripts and num > 1 else None
        if colours and script is None:
            script = tokenize(f" I see {' and '.join(colours)}.")
        written: list[str] = []
        for at in range(num if script is None else len(script)):
            token = draw(before, rng, **options) if script is None else script[at]
            tops = logprobs_of(logits_after(before))
            if at == 0 and self.tops is not None:
                tops = self.tops
            written.append(token.lstrip() if is_chat and at == 0 else token)
            choice.add(written[-1], tops.get(token, logprob_of(token, before)), tops)
            before.append(token)
            if any(stop in "".join(written) for stop in body.get("stop") or ()):
                choice.end_at_stop(body["stop"])
                break
        if script is not None:
            choice.reason = self.reason
        return choice

    def _num_top(self, body: Body, is_chat: bool) -> int | None:
        if not body.get("logprobs") and body.get("logprobs") != 0:
            return None
        return body.get("top_logprobs", 0) if is_chat else body["logprobs"]

    def _echo(self, choice: "Choice", tokens: list[str]) -> None:
        self._num_echoes += 1
        values: list[float | None] = [
            None if at == 0 else logprob_of(token, tokens[:at]) for at, token in enumerate(tokens)
        ]
        if self.behaviour.echo == "none":
            return
        if self.behaviour.echo == "chance":
            values = [None, *(-8.0 - at % 3 for at in range(len(tokens) - 1))]
        if self.behaviour.echo == "shifted":
            values = [None, *values[2:], -1.0]
        for at, token in enumerate(tokens):
            value = values[at]
            if value is not None and self.behaviour.echo == "unsteady":
                value -= 0.2 * (self._num_echoes % 2)
            choice.add(token, value, logprobs_of(logits_after(tokens[:at])) if at else {})

    def _usage(self, text: str, choices: "list[Choice]") -> Body:
        if self.behaviour.usage == "none":
            return {}
        num_prompt, num_new = len(tokenize(text)), sum(len(one.tokens) for one in choices)
        if self.behaviour.usage == "huge":
            num_prompt = 10**7
        if self.behaviour.usage == "wrong":
            num_prompt, num_new = 0, 100_000
        return {
            "usage": {"prompt_tokens": num_prompt, "completion_tokens": num_new, "total_tokens": num_prompt + num_new}
        }

    async def _stream(
        self, request: web.Request, body: Body, text: str, choices: "list[Choice]", fault: Fault
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.num_open += 1
        try:
            chunks = [
                chunk
                for at in range(max(len(one.tokens) for one in choices) + 1)
                for one in choices
                if (chunk := one.chunk(at, "messages" in body, is_late=self.behaviour.tells_logprobs_last))
            ]
            for number, chunk in enumerate(chunks):
                if number == fault.error_after:
                    await response.write(b'data: {"error": {"message": "The server had an error."}}\n\n')
                    return response
                if number == fault.held_after and fault.held_by is not None:
                    await fault.held_by.wait()
                if number == fault.cut_after:
                    if request.transport is not None:
                        request.transport.abort()
                    return response
                await response.write(f"data: {json.dumps({'choices': [chunk]})}\n\n".encode())
            if (body.get("stream_options") or {}).get("include_usage") and (usage := self._usage(text, choices)):
                await response.write(f"data: {json.dumps({'choices': [], **usage})}\n\n".encode())
            await response.write(b"data: [DONE]\n\n")
        except ConnectionError:
            self.num_left += 1
        finally:
            self.num_open -= 1
        return response


class Choice:
    """One continuation of an answer."""

    def __init__(self, index: int, num_top: int | None) -> None:
        self.index = index
        self.num_top = num_top
        self.tokens: list[str] = []
        self.values: list[float | None] = []
        self.tops: list[dict[str, float]] = []
        self.reason = "length"

    def add(self, token: str, value: float | None, tops: dict[str, float]) -> None:
        self.tokens.append(token)
        self.values.append(value)
        likeliest = dict(list(tops.items())[: self.num_top or 0])
        # As OpenAI's: the token itself is named as well, whatever its place.
        self.tops.append({**likeliest, token: value} if likeliest and value is not None else likeliest)

    def end_at_stop(self, stops: list[str]) -> None:
        text = "".join(self.tokens)
        end = min(text.find(stop) for stop in stops if stop in text)
        self.reason = "stop"
        kept = tokenize(text[:end])
        self.tokens, self.values, self.tops = kept, self.values[: len(kept)], self.tops[: len(kept)]

    def logprobs(self, start: int, end: int, is_chat: bool) -> Body:
        if self.num_top is None:
            return {"logprobs": None}
        rows = list(zip(self.tokens, self.values, self.tops, strict=True))[start:end]
        if is_chat:
            content = [
                {
                    "token": token,
                    "logprob": value,
                    "bytes": list(token.encode()),
                    "top_logprobs": [{"token": top, "logprob": one} for top, one in tops.items()],
                }
                for token, value, tops in rows
            ]
            return {"logprobs": {"content": content}}
        offsets = [len("".join(self.tokens[:at])) for at in range(start, min(end, len(self.tokens)))]
        return {
            "logprobs": {
                "tokens": [row[0] for row in rows],
                "token_logprobs": [row[1] for row in rows],
                "top_logprobs": [row[2] or None for row in rows],
                "text_offset": offsets,
            }
        }

    def whole(self, is_chat: bool) -> Body:
        text = "".join(self.tokens)
        said: Body = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
        return {
            "index": self.index,
            **said,
            "finish_reason": self.reason,
            **self.logprobs(0, len(self.tokens), is_chat),
        }

    def chunk(self, at: int, is_chat: bool, *, is_late: bool) -> Body | None:
        """Return the chunk of token `at`, the last one with the reason; None after that."""
        if at > len(self.tokens):
            return None
        text = "".join(self.tokens[at : at + 1])
        said: Body = {"delta": {"content": text} if text else {}} if is_chat else {"text": text}
        reason = self.reason if at == len(self.tokens) else None
        start, end = (at, at + 1) if not is_late else (0, at) if reason else (0, 0)
        return {"index": self.index, **said, "finish_reason": reason, **self.logprobs(start, end, is_chat)}


def words_of(content: Any) -> str:
    """Return the texts of a message's content."""
    return content if isinstance(content, str) else "".join(one.get("text", "") for one in content)


def picture_urls(messages: Sequence[Body]) -> list[str]:
    """Return the addresses of the pictures in messages, in order."""
    parts = [part for one in messages if isinstance(one["content"], list) for part in one["content"]]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def picture_in(url: str) -> Image.Image:
    """Return the picture in a data URL. Raises Refusal for any other address."""
    found = re.fullmatch(r"data:image/(?:png|jpeg);base64,(.+)", url)
    if found is None:
        raise Refusal(400, "Invalid image_url.")
    return Image.open(io.BytesIO(base64.b64decode(found[1], validate=True)))


def colour_of(url: str) -> str:
    """Return the name of the colour in the middle of a picture."""
    picture = picture_in(url).convert("RGB")
    pixel = picture.getpixel((picture.width // 2, picture.height // 2))
    red, _, blue = pixel if isinstance(pixel, tuple) else (0, 0, 0)
    return "red" if red > blue else "blue"


def chat_text(messages: list[Body], *, goes_on: bool = False) -> str:
    """Return the messages as the toy model reads them."""
    lines = "".join(f"{one['role']}: {words_of(one['content'])}\n" for one in messages)
    return lines[:-1] if goes_on else f"{lines}assistant:"


def error_body(status: int) -> Body:
    """Return an error as OpenAI writes it."""
    return {"error": {"message": f"This is a problem with status {status}.", "type": "server_error", "code": None}}


@web.middleware
async def _answer_refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
        return response
    except Refusal as e:
        return web.json_response(e.body, status=e.status)


@asynccontextmanager
async def serve_openai(
    behaviour: Behaviour = VLLM, *, model: str = MODEL, key: str = KEY
) -> AsyncIterator[OpenAIServer]:
    """Run a stand-in while the block runs."""
    server = OpenAIServer(behaviour, model=model, key=key)
    app = web.Application(middlewares=[_answer_refusals])
    app.router.add_get("/v1/models", server.models)
    app.router.add_get("/version", server.version)
    app.router.add_post("/tokenize", server.tokenize)
    app.router.add_post("/v1/completions", server.completions)
    app.router.add_post("/v1/chat/completions", server.chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


async def serve_forever(behaviour: Behaviour) -> None:
    """Serve until the program is ended, and print the environment of a bot."""
    async with serve_openai(behaviour) as server:
        print(*(f"{name}={value}" for name, value in server.environment.items()), flush=True)  # noqa: T201
        await asyncio.Event().wait()
