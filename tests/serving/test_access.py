"""Who is let in, what is bounded, what is told of errors, and what happens when either side goes away."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from openai import AsyncOpenAI

from bot.engine.engine import LocalEngine
from bot.errors import SetupError, Unavailable
from bot.monitoring.health import find_model_problem
from bot.serving.access import check_access, is_loopback
from bot.serving.app import MAX_BODY
from bot.serving.running import hold_address, serve_engine
from bot.serving.streams import EventStream, stream_events
from tests.serving.served import Served, held_model, open_served, until

SHORT = {"model": "tiny", "prompt": "Once", "max_tokens": 3, "temperature": 0}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def error_of(answer: Awaitable[aiohttp.ClientResponse]) -> tuple[int, dict[str, Any]]:
    response = await answer
    body = await response.json()
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return response.status, body["error"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_other_machines_need_a_key(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(SetupError, match=f"SERVE_HOST={host} lets other machines in, so the server needs a key"):
        check_access(host, "")
    check_access(host, "key")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"])
def test_this_machine_needs_none(host: str) -> None:
    check_access(host, "")


def test_a_port_in_use_and_an_address_of_another_machine_are_named() -> None:
    address = hold_address("localhost", 0)
    port = address.held.getsockname()[1]
    address.held.listen()
    with address.held, pytest.raises(SetupError, match=f"Port {port} is in use. Set SERVE_PORT to another one"):
        hold_address("127.0.0.1", port)
    with pytest.raises(SetupError, match="The server can't use 192"):
        hold_address("192.0.2.1", 8124)


@pytest.mark.parametrize("host", ["..", "a" * 64, "1.2.3.4.5", "::::"])
def test_what_is_no_address_is_told_in_one_sentence(host: str) -> None:
    with pytest.raises(SetupError, match=r"The server can't use .*Set SERVE_HOST"):
        hold_address(host, 0)


async def test_a_key_is_asked_of_everything_but_the_health(tiny_gpt2: Path, http: aiohttp.ClientSession) -> None:
    async with open_served(tiny_gpt2, key="s3cret") as (_, base):
        root = base.removesuffix("/v1")
        async with AsyncOpenAI(base_url=base, api_key="s3cret", max_retries=0) as client:
            assert [model.id async for model in client.models.list()] == ["tiny"]
        for key in ("", "s3cre", "s3cret2", "schlüssel"):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            for url in (f"{base}/models", f"{base}/completions", f"{root}/metrics", f"{root}/nowhere"):
                status, error = await error_of(http.get(url, headers=headers))
                assert (status, error["code"]) == (401, "invalid_api_key")
                assert "s3cret" not in json.dumps(error)
        assert (await http.get(f"{root}/health")).status == 200


async def test_without_a_key_only_names_of_this_machine_are_answered(
    served_gpt2: Served, http: aiohttp.ClientSession
) -> None:
    status, error = await error_of(http.get(f"{served_gpt2.base}/models", headers={"Host": "evil.example:8124"}))
    assert (status, error["message"]) == (
        403,
        "Without an API_KEY the server answers only requests to 127.0.0.1 or localhost.",
    )
    assert (await http.get(f"{served_gpt2.base}/models", headers={"Host": "localhost"})).status == 200


async def test_every_error_is_json_in_openai_s_form(served_gpt2: Served, http: aiohttp.ClientSession) -> None:
    url, typed = f"{served_gpt2.base}/completions", {"Content-Type": "application/json"}
    for data in ("", "[]", "{", "[" * 100_000, '{"model": NaN}', '{"n": ' + "9" * 5000 + "}"):
        assert (await error_of(http.post(url, data=data, headers=typed)))[0] == 400
    assert (await error_of(http.post(url, data="{}", headers={"Content-Type": "text/plain"})))[0] == 415
    assert (await error_of(http.post(url, data=io.BytesIO(b" " * (MAX_BODY + 1)), headers=typed)))[0] == 413
    assert (await error_of(http.get(url)))[0] == 405
    status, error = await error_of(http.get(f"{served_gpt2.base}/nowhere"))
    assert (status, "There is nothing at /v1/nowhere" in error["message"]) == (404, True)


async def test_a_full_queue_is_429_with_the_time_to_come_back(tiny_gpt2: Path, http: aiohttp.ClientSession) -> None:
    async with open_served(tiny_gpt2, max_waiting=1) as (engine, base), held_model(engine) as may_go:
        waiting = asyncio.create_task(http.post(f"{base}/completions", json=SHORT))
        await until(lambda: engine.stats().num_waiting == 1)
        for is_streamed in (False, True):
            response = await http.post(f"{base}/completions", json={**SHORT, "stream": is_streamed})
            assert (response.status, response.headers["Retry-After"]) == (429, "2")
            assert "already waiting" in (await response.json())["error"]["message"]
        may_go.set()
        assert (await waiting).status == 200


async def send_and_go(base: str, body: dict[str, Any], is_reached: Callable[[], bool]) -> None:
    """Post `body` and cut the connection as soon as `is_reached`."""
    data = json.dumps(body).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", int(base.removesuffix("/v1").rpartition(":")[2]))
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(data), data)
    )
    await until(is_reached)
    writer.transport.abort()


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_a_client_that_goes_away_takes_its_requests_along(tiny_gpt2: Path, is_streamed: bool) -> None:
    async with open_served(tiny_gpt2) as (engine, base), held_model(engine):
        body = {**SHORT, "prompt": ["a", "b", "c"], "stream": is_streamed}
        await send_and_go(base, body, lambda: engine.stats().num_waiting == 3)
        await until(lambda: engine.stats().num_cancelled == 3)
        assert engine.stats().num_waiting == 0


async def test_a_reader_that_takes_nothing_is_cut_off() -> None:
    """Its frames wait in no memory of ours: after the time to write one, it is gone."""
    num_sent, ended = 0, asyncio.Event()

    async def send_for_ever(stream: EventStream) -> None:
        nonlocal num_sent
        try:
            while True:
                await stream.send({"text": "x" * 1_000_000})
                num_sent += 1
        finally:
            ended.set()

    async def answer(request: web.Request) -> web.StreamResponse:
        return await stream_events(request, send_for_ever, write_s=0.05)

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(60):
            await ended.wait()
        writer.transport.abort()
    assert num_sent < 100


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (Unavailable("The model stopped working."), "server_error", "The model stopped working."),
        (ValueError("something secret"), "server_error", "The server could not answer this; its log says why."),
    ],
)
async def test_an_error_in_a_stream_is_its_last_event(
    error: Exception, kind: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_after_one(stream: EventStream) -> None:
        await stream.send({"id": "1", "object": "text_completion", "choices": []})
        raise error

    async def answer(request: web.Request) -> web.StreamResponse:
        return await stream_events(request, fail_after_one)

    app = web.Application()
    app.router.add_post("/completions", answer)
    async with TestServer(app) as server, AsyncOpenAI(base_url=str(server.make_url("/")), api_key="none") as client:
        events = await client.completions.create(model="tiny", prompt="a", stream=True)
        with pytest.raises(openai.APIError, match=message) as caught:
            _ = [event async for event in events]
        assert caught.value.type == kind
    assert ("failed" in caplog.text) == isinstance(error, ValueError)


async def test_what_runs_is_finished_when_the_server_ends(tiny_gpt2: Path, http: aiohttp.ClientSession) -> None:
    async with (
        LocalEngine.open(tiny_gpt2, name="tiny", device="cpu", num_threads=1) as engine,
        held_model(engine) as go,
    ):
        serving = serve_engine(engine, hold_address("127.0.0.1", 0), key="", timeout_s=60, grace_s=60)
        base = await serving.__aenter__()
        asked = asyncio.create_task(http.post(f"{base}/completions", json=SHORT))
        await until(lambda: engine.stats().num_waiting == 1)
        ending = asyncio.create_task(serving.__aexit__(None, None, None))
        async with asyncio.timeout(60):
            while not await is_refused(base):
                await asyncio.sleep(0.005)
        go.set()
        response = await asked
        assert (response.status, (await response.json())["usage"]["completion_tokens"]) == (200, 3)
        await ending


async def is_refused(base: str) -> bool:
    """Say whether nothing listens at the address any more."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(base.removesuffix("/v1").rpartition(":")[2]))
    except ConnectionError:
        return True
    writer.transport.abort()
    return False


async def test_what_takes_longer_than_the_grace_is_cut_off(tiny_gpt2: Path, http: aiohttp.ClientSession) -> None:
    async with LocalEngine.open(tiny_gpt2, name="tiny", device="cpu", num_threads=1) as engine, held_model(engine):
        address = hold_address("127.0.0.1", 0)
        async with serve_engine(engine, address, key="", timeout_s=60, grace_s=0.01) as base:
            asked = asyncio.create_task(http.post(f"{base}/completions", json=SHORT))
            await until(lambda: engine.stats().num_waiting == 1)
        with pytest.raises(aiohttp.ClientConnectionError):
            await asked
        await until(lambda: engine.stats().num_waiting == 0)


async def test_health_tells_why_the_model_does_not_answer(
    served_gpt2: Served, tiny_gpt2: Path, http: aiohttp.ClientSession
) -> None:
    response = await http.get(f"{served_gpt2.root}/health")
    assert (response.status, await response.json()) == (200, {"status": "ok"})
    async with open_served(tiny_gpt2) as (engine, base):
        engine._scheduler.abandon()  # as one does whose pass hangs
        response = await http.get(base.replace("/v1", "/health"))
        assert response.status == 503
        assert (await response.json())["reason"]
        status, error = await error_of(http.post(f"{base}/completions", json=SHORT))
        assert (status, error["type"]) == (503, "server_error")
        assert await find_model_problem(engine, 0.0) != ""


async def test_metrics_count_requests_and_tokens_but_tell_no_text(tiny_gpt2: Path, http: aiohttp.ClientSession) -> None:
    async with (
        open_served(tiny_gpt2, key="s3cret") as (_, base),
        AsyncOpenAI(base_url=base, api_key="s3cret", max_retries=0) as client,
    ):
        answer = await client.completions.create(model="tiny", prompt="xylophone", max_tokens=3, temperature=0)
        with pytest.raises(openai.BadRequestError):
            await client.completions.create(model="tiny", prompt="xylophone", n=99)
        response = await http.get(base.replace("/v1", "/metrics"), headers={"Authorization": "Bearer s3cret"})
        text = await response.text()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['fewshot_requests_total{outcome="ok",route="/v1/completions"}']) == 1
    assert float(values['fewshot_requests_total{outcome="refused",route="/v1/completions"}']) == 1
    assert answer.usage is not None
    assert float(values["fewshot_prompt_tokens_total"]) == answer.usage.prompt_tokens
    assert float(values["fewshot_completion_tokens_total"]) == answer.usage.completion_tokens
    assert float(values['fewshot_first_token_seconds_count{route="/v1/completions"}']) == 1
    assert float(values['fewshot_request_seconds_count{route="/v1/completions"}']) == 2
    names = ("waiting", "running", "tokens_per_second", "restarts_total")
    assert all(f"fewshot_engine_{name}" in values for name in names)
    assert "xylophone" not in text
    assert "s3cret" not in text
