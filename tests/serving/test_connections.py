"""What is sent as HTTP but is none, or too slowly, or too often."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bot.serving.app import make_app
from bot.serving.connections import Connections, most_connections
from bot.serving.context import Serving
from bot.serving.metrics import Metrics
from tests.serving.served import Served, until
from tests.stalls import QuickEngine

KEY = "s3cret-k3y"
WORDS = "xylophone"
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
AUTHORIZED = f"Authorization: Bearer {KEY}\r\n".encode()


async def send(base: str, data: bytes) -> bytes:
    """Send `data` and return all that comes back until the connection is closed."""
    port = int(base.removesuffix("/v1").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n\r\n" % (KEY.encode() * 900), 400, "long"),
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer %b\r\n\r\n" % KEY.encode(), 400, "valid HTTP"),
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: %b\x00\r\n\r\n" % KEY.encode(), 400, "valid HTTP"),
        (b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (KEY.encode() * 900), 400, "too long"),
        (f"{WORDS} {KEY}\r\n\r\n".encode(), 400, "valid HTTP"),
        (HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n%b\r\n' % WORDS.encode(), 400, "valid HTTP"),
        (HEAD + b"Connection: close\r\nExpect: tea\r\nContent-Length: 2\r\n\r\n{}", 417, "refused"),
        (HEAD + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na", 415, "Content-Encoding"),
        (HEAD + b"Connection: close\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\na", 415, "Content-Encoding"),
    ],
)
async def test_what_is_no_request_is_an_error_in_openai_s_form_and_never_logged(
    served_gpt2: Served, caplog: pytest.LogCaptureFixture, data: bytes, status: int, sentence: str
) -> None:
    with caplog.at_level(logging.INFO):
        head, _, body = (await send(served_gpt2.base, data)).partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert sentence in error["message"]
    for text in (caplog.text, body.decode()):
        assert KEY not in text
        assert WORDS not in text
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_compressed_body_is_refused_before_it_is_unpacked(served_gpt2: Served) -> None:
    data = gzip.compress(b" " * (32 * 1024 * 1024))
    head = HEAD + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(data)
    assert b"415" in (await send(served_gpt2.base, head + data)).split(b"\r\n")[0]


@asynccontextmanager
async def listening(*, most: int, first_s: float) -> AsyncIterator[tuple[Connections, str]]:
    engine = QuickEngine()
    runner = web.AppRunner(make_app(Serving(engine, Metrics(engine.stats), 60.0), ""), shutdown_timeout=0.1)
    await runner.setup()
    assert runner.server is not None
    connections = Connections(runner.server, most=most, first_s=first_s)
    server = await asyncio.get_running_loop().create_server(connections.make, "127.0.0.1", 0)
    try:
        yield connections, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        await runner.cleanup()


async def test_a_client_that_sends_its_first_head_slowly_is_cut_off() -> None:
    async with listening(most=8, first_s=0.2) as (connections, base):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(base[:-3].rpartition(":")[2]))
        for byte in b"GET":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        await until(lambda: connections.num_open == 0)
        writer.close()
        asked = await send(base, b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert asked.startswith(b"HTTP/1.1 200")


async def test_a_connection_too_many_is_told_to_come_back() -> None:
    async with listening(most=2, first_s=30.0) as (connections, base):
        port = int(base[:-3].rpartition(":")[2])
        held = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(2)]
        await until(lambda: connections.num_open == 2)
        refused = await send(base, b"")
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 2\r\n" in refused
        assert json.loads(refused.partition(b"\r\n\r\n")[2])["error"]["code"] == "unavailable"
        for writer in held:
            writer.close()
        await until(lambda: connections.num_open == 0)
        asked = await send(base, b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert asked.startswith(b"HTTP/1.1 200")


def test_files_are_left_for_the_program_itself() -> None:
    assert 64 <= most_connections() <= 2048
