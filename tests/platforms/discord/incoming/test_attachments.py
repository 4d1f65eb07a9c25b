import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import discord
import pytest
from aiohttp import web

from bot.errors import RequestError
from bot.platforms.discord.incoming.attachments import MAX_BYTES, TextAttachment, is_text_file, read_text_attachment
from tests.platforms.discord.samples import Connection, attachment


def file(filename: str = "notes.txt", **more: Any) -> discord.Attachment:
    return discord.Attachment(data=attachment(filename, **more), state=Connection().state)  # type: ignore[arg-type]


@asynccontextmanager
async def serving(answer: Any) -> AsyncIterator[str]:
    """Serve what `answer` gives for every request; yield the server's origin."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def read_served(answer: Any, *, filename: str = "notes.txt", **more: Any) -> str | None:
    async with serving(answer) as origin, aiohttp.ClientSession() as session:
        found = file(filename, **{"url": f"{origin}/{filename}?ex=1", **more})
        read = await read_text_attachment([found], session, allowed_origins=[origin])
        return None if read is None else read.text


def giving(content: bytes, **headers: str) -> Any:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=content, headers=headers)

    return answer


@pytest.mark.parametrize(
    ("filename", "content_type", "is_text"),
    [
        ("notes.txt", None, True),
        ("NOTES.TXT", "application/octet-stream", True),
        ("a.prompt", None, True),
        ("data.csv", "text/csv; charset=utf-8", True),
        ("main.py", "text/x-python", True),
        ("a", "text/plain; charset=utf-8", True),
        ("a", "application/json", True),
        ("a.b.md", None, True),
        ("photo.png", "image/png", False),
        ("voice.ogg", "audio/ogg", False),
        ("txt", None, False),
        ("notes.txt.exe", None, False),
        ("report.pdf", "application/pdf", False),
    ],
)
async def test_a_text_file_is_known_by_its_type_or_ending(
    filename: str, content_type: str | None, is_text: bool
) -> None:
    assert is_text_file(file(filename, content_type=content_type)) is is_text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"hello", "hello"),
        (b"", ""),
        ("a\r\nb\tż \U0001f600\n".encode(), "a\r\nb\tż \U0001f600\n"),
        (b"\xef\xbb\xbfmarked", "marked"),
        (b"x" * MAX_BYTES, "x" * MAX_BYTES),
    ],
    ids=["plain", "empty", "unicode", "byte order mark", "as long as may be"],
)
async def test_a_file_is_read_verbatim(content: bytes, text: str) -> None:
    assert await read_served(giving(content)) == text


async def test_the_first_text_among_several_files_is_read() -> None:
    async with serving(giving(b"hello")) as origin, aiohttp.ClientSession() as session:
        files = [
            file("a.png", content_type="image/png"),
            file("b.txt", url=f"{origin}/b"),
            file("c.txt", url="http://c/"),
        ]
        assert await read_text_attachment(files, session, allowed_origins=[origin]) == TextAttachment("hello", "")


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.csv", "csv"), ("A.CSV", "csv"), ("a.tsv", "tsv"), ("a.jsonl", "jsonl"), ("a.ndjson", "jsonl"), ("a.json", "")],
)
async def test_a_file_with_rows_is_known_by_its_ending(name: str, format: str) -> None:
    async with serving(giving(b"x")) as origin, aiohttp.ClientSession() as session:
        read = await read_text_attachment([file(name, url=f"{origin}/a")], session, allowed_origins=[origin])
    assert read is not None
    assert read.format == format


async def test_other_files_are_ignored_and_an_error_only_if_a_text_is_required() -> None:
    async with aiohttp.ClientSession() as session:
        files = [file("a.png", content_type="image/png")]
        assert await read_text_attachment(files, session) is None
        assert await read_text_attachment([], session, is_required=True) is None
        with pytest.raises(RequestError, match="not a text file"):
            await read_text_attachment(files, session, is_required=True)


async def test_a_file_that_says_it_is_too_large_is_not_fetched() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(RequestError, match=r"has 262,145 bytes\. The limit is 262,144"):
            await read_text_attachment([file(size=MAX_BYTES + 1)], session)


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_file_that_is_larger_than_it_says_is_given_up(is_streamed: bool) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if not is_streamed:
            response.content_length = MAX_BYTES + 1
        await response.prepare(request)
        await response.write(b"x" * (MAX_BYTES + 1))
        return response

    with pytest.raises(RequestError, match="more than 262,144 bytes"):
        await read_served(answer)


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.discordapp.com/a.txt",
        "https://cdn.discordapp.com.evil.example/a.txt",
        "https://cdn.discordapp.com@evil.example/a.txt",
        "https://cdn.discordapp.com:444/a.txt",
        "https://127.0.0.1/a.txt",
        "file:///etc/passwd",
        "//cdn.discordapp.com/a.txt",
        "a.txt",
        "https://",
    ],
)
async def test_files_are_downloaded_only_from_discord(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(RequestError, match="uploaded to Discord"):
            await read_text_attachment([file(url=url)], session)


async def test_a_redirect_is_not_followed() -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    with pytest.raises(RequestError, match="could not be downloaded"):
        await read_served(answer)
    assert seen == ["/notes.txt"]


async def test_compressed_content_is_neither_requested_nor_decompressed() -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers["Accept-Encoding"])
        return web.Response(body=b"hello", headers={"Content-Encoding": "gzip"})

    with pytest.raises(RequestError, match="could not be downloaded"):
        await read_served(answer)
    assert asked == ["identity"]


@pytest.mark.parametrize("content", [b"\xff\xfeh\x00i\x00", b"caf\xe9", b"\xed\xa0\x80"])
async def test_what_is_not_utf_8_is_refused(content: bytes) -> None:
    with pytest.raises(RequestError, match="not UTF-8"):
        await read_served(giving(content))


async def test_a_missing_file_and_a_broken_connection_are_one_sentence() -> None:
    async def missing(request: web.Request) -> web.Response:
        return web.Response(status=404)

    async def breaking(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await response.write(b"x")
        assert request.transport is not None
        request.transport.abort()
        return response

    for answer in (missing, breaking):
        with pytest.raises(RequestError, match="could not be downloaded"):
            await read_served(answer)


async def test_a_slow_file_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.platforms.shared.text_files.TIMEOUT_S", 0.1)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.02)

    with pytest.raises(RequestError, match=r"within 0\.1 s"):
        await read_served(answer)
