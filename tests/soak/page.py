"""The web page under load: many windows on one channel, a long channel, a hard restart, and TAB on the real model."""

import asyncio
import json
import resource
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import aiohttp

from bot.core.messages import Scope
from bot.engine.models.catalog import ModelChoice, resolve_model
from bot.errors import FewshotError
from bot.platforms.web.running import hold_port, serve_page
from bot.platforms.web.traits import WEB
from bot.program.opening import open_bot
from bot.services.ledger import Delivery
from bot.settings import Settings
from bot.store.hosted import HostedMessage
from tests.bots import ScriptedEngine, open_scripted_bot, write_prompts
from tests.platforms.web.windows import BrowserWindow, a_browser, a_window
from tests.soak.figures import Figure, Run, Say
from tests.tiny_models import make_tiny_gpt2

_REAL_MODEL: Final = "smollm2-135m"
_NUM_WINDOWS: Final = 20
_NUM_OPENINGS: Final = 30
# About 500 tokens.
_TEXT: Final = (
    "The harbour was quiet in the early morning, and the boats lay side by side along the old stone wall. "
    "A woman with a red scarf walked slowly past the market, where the first traders were setting out fish and bread. "
) * 11


def _p95(times_s: list[float]) -> float:
    return sorted(times_s)[max(0, round(0.95 * len(times_s)) - 1)] * 1000


async def run_windows(folder: Path, say: Say, *, num: int = 1000) -> Run:
    """Let 20 windows say `num` messages in one channel, and compare what each of them was told."""
    async with AsyncExitStack() as stack:
        talk = await stack.enter_async_context(open_scripted_bot(ScriptedEngine(["Yes."]), folder, traits=WEB))
        delivery = Delivery(talk.store, WEB)
        _, address = await stack.enter_async_context(serve_page(talk.bot, delivery, hold_port(0), first_name="Ada"))
        browser = await stack.enter_async_context(a_browser(address))
        windows = [await stack.enter_async_context(a_window(browser, address)) for _ in range(_NUM_WINDOWS)]
        started = time.monotonic()
        told = 0
        memory = [0.0]
        for number in range(num // _NUM_WINDOWS):
            await asyncio.gather(*(window.say(f"{number} {at}") for at, window in enumerate(windows)))
            if number * 10 * _NUM_WINDOWS // num > told:
                told = number * 10 * _NUM_WINDOWS // num
                say(f"{number * _NUM_WINDOWS} of {num} messages said")
            if number * _NUM_WINDOWS * 2 < num:
                memory = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        for window in windows:
            await window.until(lambda window=window: len(window.messages) == num, "all messages", 60)  # type: ignore[misc]
        duration_s = time.monotonic() - started
        orders = {json.dumps(_heard(window)) for window in windows}
        missing = sum(num - len(window.messages) for window in windows)
        open_ms = await _open_long(talk.store, windows[0], browser, address, say)
    return Run(
        f"{_NUM_WINDOWS} windows on one channel",
        (
            Figure("messages", num),
            Figure("… in", duration_s, unit="s"),
            Figure("messages that a window missed", missing, "= 0"),
            Figure("different orders", len(orders), "= 1"),
            # The windows of the test are in the same process and keep all that they were told.
            Figure("memory in the second half, with what the windows keep", memory[-1] - memory[0], unit="MiB"),
            Figure("opening a channel of 10,000 messages, p95 of 30", open_ms, "≤ 300", "ms"),
        ),
    )


def _heard(window: BrowserWindow) -> list[str]:
    return [one["message"]["id"] for one in window.frames if one["op"] == "message"]


async def _open_long(
    store: object, window: BrowserWindow, browser: aiohttp.ClientSession, address: str, say: Say
) -> float:
    """Fill a channel with 10,000 messages and return how long a new window takes to show it, in ms (p95)."""
    say("Filling a channel with 10,000 messages …")
    server = window.welcome["servers"][1]["id"]
    channel = (await window.ask("add_channel", server=server, name="long"))["id"]
    first = time.time_ns() // 1000 - 20_000
    for number in range(10_000):
        message = HostedMessage(first + number, Scope(WEB.key, server, channel), "1", f"word {number}", revision=first)
        await store.add_hosted(message)  # type: ignore[attr-defined]
    times = []
    for _ in range(_NUM_OPENINGS):
        async with a_window(browser, address) as opened:
            started = time.monotonic()
            page = await opened.open(channel)
            times.append(time.monotonic() - started)
            if len(page["messages"]) != 50:
                raise AssertionError("a page of the long channel is not whole")
    return _p95(times)


async def run_tab(folder: Path, say: Say, *, num: int = 60) -> Run:
    """Ask for continuations of a text of about 500 tokens that was read before, as TAB does, `num` times."""
    try:
        choice = resolve_model(_REAL_MODEL, Settings.from_env().models_dir)
    except FewshotError as e:
        say(f"A tiny model takes the place of {_REAL_MODEL}: {e}")
        choice = ModelChoice("tiny", make_tiny_gpt2(folder / "model", context_length=1024), "it is here")
    settings = Settings(database=folder / "fewshot.db", prompts_dir=write_prompts(folder / "prompts"))
    times, nexts = [], []
    async with open_bot(settings, choice, WEB) as bot:
        delivery = Delivery(bot.store, WEB)
        async with (
            serve_page(bot, delivery, hold_port(0), first_name="Ada") as (_, address),
            a_browser(address) as browser,
            a_window(browser, address) as window,
        ):
            ask = {"num": 3, "max_new_tokens": 10}
            await window.ask("continue", text=_TEXT, seed=0, **ask)
            text = _TEXT
            for number in range(num):
                text += f" {number}" if number % 2 else " and"
                started = time.monotonic()
                await window.ask("continue", text=text, seed=number, **ask)
                times.append(time.monotonic() - started)
                started = time.monotonic()
                await window.ask("look", channel=window.channel, line=f"next -- {text}")
                nexts.append(time.monotonic() - started)
    return Run(
        f"TAB in Write at about 500 tokens that were read before, {choice.name}",
        (
            Figure("times asked", num),
            Figure("three continuations of 10 tokens, p95", _p95(times), "≤ 300", "ms"),
            Figure("… median", sorted(times)[len(times) // 2] * 1000, unit="ms"),
            Figure("next words, p95", _p95(nexts), unit="ms"),
        ),
    )
