"""Attached pictures: which are fetched, from where, and within which limits."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from bot.core.picture import Picture
from bot.errors import RequestError
from bot.platforms.shared.attached_files import AttachedFile, FileOrigins
from bot.platforms.shared.picture_files import MAX_BYTES, read_pictures
from tests.pictures.samples import BLUE, RED, picture_file
from tests.stalls import StallLoop, too_long

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
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


def giving(content: bytes, status: int = 200, **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=content, status=status, headers=headers)

    return answer


async def read(answer: Answer, *names: str, content_type: str = "image/png", size: int = 100) -> tuple[Picture, ...]:
    async with serving(answer) as origin, aiohttp.ClientSession() as session:
        files = [AttachedFile(name, content_type, size, f"{origin}/{name}", id=f"id of {name}") for name in names]
        return await read_pictures(files, session, FileOrigins("Discord", [origin]))


@pytest.mark.parametrize(
    ("name", "content_type", "is_picture"),
    [
        ("a.png", "image/png", True),
        ("a.PNG", "", True),
        ("a", "image/webp", True),
        ("a.heic", "image/heic", True),
        ("a.jpeg", "application/octet-stream", True),
        ("a.txt", "text/plain", False),
        ("a.png.txt", "", False),
        ("a.pdf", "application/pdf", False),
        ("a.png", "text/plain", False),
    ],
)
def test_a_picture_is_known_by_its_type_or_ending(name: str, content_type: str, is_picture: bool) -> None:
    assert AttachedFile(name, content_type, 1, "").is_picture is is_picture


async def test_pictures_are_read_in_their_order_with_their_ids_and_other_files_are_left() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=picture_file(RED if request.path == "/a.png" else BLUE))

    pictures = await read(answer, "a.png", "b.png")
    assert [one.id for one in pictures] == ["id of a.png", "id of b.png"]
    assert pictures[0].data != pictures[1].data
    assert await read(answer, "a.txt", content_type="text/plain") == ()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (giving(b"", status=404), "could not be downloaded"),
        (giving(b"", status=302, Location="/elsewhere"), "could not be downloaded"),
        (giving(b"x" * (MAX_BYTES + 1)), "has more than 8,388,608 bytes"),
        (giving(b"<html>not signed in</html>"), "is not a PNG, JPEG, WebP or GIF file"),
    ],
    ids=["not there", "a redirect", "larger than it says", "a page"],
)
async def test_what_is_not_the_picture_that_was_attached_is_one_sentence(answer: Answer, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        await read(answer, "a.png")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.png", "file:///etc/passwd", "//", "http://cdn.example@evil/"])
async def test_nothing_is_fetched_from_elsewhere(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(RequestError, match="I read only files that were uploaded to Discord"):
            await read_pictures(
                [AttachedFile("a.png", "image/png", 1, url)], session, FileOrigins("Discord", ["http://cdn.example"])
            )


async def test_a_slow_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.platforms.shared.picture_files.TIMEOUT_S", 0.1)

    async def never(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    with pytest.raises(RequestError, match=r"could not be downloaded within 0\.1 s"):
        await read(never, "a.png")


def test_a_large_picture_is_copied_beside_the_loop() -> None:
    large = picture_file(size=(6000, 5000))
    with StallLoop() as loop:
        (picture,), stall = loop.run(read(giving(large), "a.png"))
    assert picture.media_type == "image/png"
    assert not too_long({"a large picture": stall})
    assert any(thread.name.startswith("copying-pictures") for thread in threading.enumerate())
