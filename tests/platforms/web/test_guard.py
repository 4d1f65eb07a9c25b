"""The page is for the browsers of this machine that have its address: everything else is refused."""

import asyncio
import json
import socket

import aiohttp
import pytest

from bot.errors import SetupError
from bot.platforms.web.running import hold_port
from tests.platforms.web.conftest import Served, ServePage


async def _socket_code(session: aiohttp.ClientSession, served: Served, **headers: str) -> int | None:
    """Return the code with which a socket is closed, or the status with which it is refused."""
    try:
        async with session.ws_connect(f"{served.origin}/socket", headers=headers) as opened:
            await opened.send_str('{"op": "hello", "n": 1}')
            message = await opened.receive(timeout=5)
            return opened.close_code if message.type is not aiohttp.WSMsgType.TEXT else 0
    except aiohttp.WSServerHandshakeError as e:
        return e.status


async def test_the_printed_address_logs_in_once_and_the_cookie_is_strict(served: Served) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(f"{served.origin}/") as response:
            assert response.status == 401
        async with session.get(served.address, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/")
            cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert served.address.split("token=")[1] not in cookie
        async with session.get(f"{served.origin}/") as response:
            assert response.status == 200


async def test_a_wrong_token_is_refused(served: Served) -> None:
    async with aiohttp.ClientSession() as session:
        for token in ("", "x", "é", served.address.split("token=")[1] + "x"):
            async with session.get(f"{served.origin}/", params={"token": token}, allow_redirects=False) as response:
                assert response.status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example"]
)
async def test_another_name_of_this_machine_is_refused(served: Served, host: str) -> None:
    for path in ("/", "/static/index.html", "/socket"):
        async with served.browser.get(f"{served.origin}{path}", headers={"Host": host}) as response:
            assert response.status == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "file://", ""])
async def test_a_socket_of_another_site_is_refused(served: Served, origin: str) -> None:
    headers = {"Origin": origin} if origin else {}
    assert await _socket_code(served.browser, served, **headers) in (403, 4001)


async def test_a_socket_without_the_cookie_is_refused(served: Served) -> None:
    async with aiohttp.ClientSession() as session:
        assert await _socket_code(session, served, Origin=served.origin) == 4001
        assert await _socket_code(session, served, Origin=served.origin, Cookie="fewshot-1=x") == 4001
    assert await _socket_code(served.browser, served, Origin=served.origin) == 0


async def test_no_page_may_run_anything_of_another_place(served: Served) -> None:
    for path in ("/", "/static/index.html"):
        async with served.browser.get(f"{served.origin}{path}") as response:
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'self';")
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_no_file_outside_the_page_is_served(served: Served) -> None:
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd", "/static/..%2fserver.py"):
        async with served.browser.get(aiohttp.client.URL(f"{served.origin}{path}", encoded=True)) as response:
            assert response.status in (403, 404)


async def test_a_frame_that_is_too_large_ends_the_window_only(served: Served) -> None:
    async with served.browser.ws_connect(f"{served.origin}/socket", origin=served.origin) as opened:
        await opened.send_str(json.dumps({"op": "say", "n": 1, "text": "x" * 3_000_000}))
        message = await opened.receive(timeout=5)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    async with served.window() as window:
        await window.answer_to(await window.say("@Fewshot hello"))


async def test_a_flood_of_frames_ends_the_window_only(served: Served) -> None:
    async with served.window() as window, served.window() as other:
        for _ in range(1000):
            if window.socket.closed:
                break
            await window.socket.send_str('{"op": "expect", "n": 1, "line": "p"}')
        await window.until(lambda: window.close_code, "the end")
        assert window.close_code == 4008
        await other.answer_to(await other.say("@Fewshot hello"))


async def test_open_windows_stay_logged_in_after_a_restart(serve: ServePage) -> None:
    async with serve() as served:
        token = served.address.split("token=")[1]
    async with serve() as served:
        assert served.address.split("token=")[1] == token


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SetupError, match=f"Port {port} is in use. Set WEB_PORT"):
            hold_port(port)


async def test_the_page_is_on_this_machine_only(served: Served) -> None:
    port = int(served.origin.rsplit(":", 1)[1])
    with socket.socket(socket.AF_INET6) as other:
        other.settimeout(1)
        with pytest.raises(OSError, match=r"refused|unreachable|assign"):
            await asyncio.to_thread(other.connect, ("::1", port))
