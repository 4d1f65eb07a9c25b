"""Typing in Write, in a real browser, while the real model computes what TAB offers: how long a key waits."""

import asyncio
from pathlib import Path
from typing import Final

from bot.engine.models.catalog import ModelChoice, resolve_model
from bot.errors import FewshotError
from bot.platforms.web.running import hold_port, serve_page
from bot.platforms.web.traits import WEB
from bot.program.opening import open_bot
from bot.services.ledger import Delivery
from bot.settings import Settings
from tests.bots import write_prompts
from tests.platforms.web.browser.browsing import Browser, Tab, why_not
from tests.soak.figures import Figure, Run, Say
from tests.tiny_models import make_tiny_gpt2

_REAL_MODEL: Final = "smollm2-135m"
_BEGINNING: Final = (
    "The harbour was quiet in the early morning, and the boats lay side by side along the old stone wall. "
)
_TYPED: Final = "A woman with a red scarf walked slowly past the market while traders were setting out fish and bread. "
_EVERY: Final = 12  # keys from one TAB to the next
_PAUSE_S: Final = 0.06  # 200 words a minute
# How long the page takes to have dealt with a key, and how long until the picture with it is made.
_WATCH: Final = """() => {
  globalThis.handled = [];
  globalThis.painted = [];
  addEventListener("keydown", (event) => {
    const pressed = event.timeStamp;
    setTimeout(() => globalThis.handled.push(performance.now() - pressed));
    requestAnimationFrame(() => {
      const after = new MessageChannel();
      after.port1.onmessage = () => globalThis.painted.push(performance.now() - pressed);
      after.port2.postMessage(0);
    });
  }, { capture: true });
}"""


async def run_typing(folder: Path, say: Say, *, num: int = 1200) -> Run:
    """Type `num` characters with a TAB now and then, and once more without any, and compare how long keys wait."""
    if reason := why_not():
        raise SystemExit(f"Typing can't be measured here: it {reason}.")
    try:
        choice = resolve_model(_REAL_MODEL, Settings.from_env().models_dir)
    except FewshotError as e:
        say(f"A tiny model takes the place of {_REAL_MODEL}: {e}")
        choice = ModelChoice("tiny", make_tiny_gpt2(folder / "model", context_length=1024), "it is here")
    settings = Settings(database=folder / "fewshot.db", prompts_dir=write_prompts(folder / "prompts"))
    browser = Browser()
    try:
        async with open_bot(settings, choice, WEB) as bot:
            delivery = Delivery(bot.store, WEB)
            async with (
                serve_page(bot, delivery, hold_port(0), first_name="Ada") as (_, address),
                browser.context() as context,
            ):
                tab = await context.open(f"{address}#/write")
                await tab.get_by_label("Your text").fill(_BEGINNING)
                await tab.evaluate(_WATCH)
                say("Typing without TAB …")
                alone = await _type(tab, num, every=num)
                say("Typing with TAB now and then …")
                beside = await _type(tab, num, every=_EVERY)
    finally:
        browser.close()
    return Run(
        f"Typing in Write while TAB's offers are computed, {choice.name}",
        (
            Figure("keys", num),
            Figure("a key is dealt with, p99", _p(99, beside[0]), "≤ 30", "ms"),
            Figure("… without offers", _p(99, alone[0]), unit="ms"),
            Figure("a key is on the screen, median", _p(50, beside[1]), unit="ms"),
            Figure("… p99", _p(99, beside[1]), unit="ms"),
            Figure("… p99 without offers", _p(99, alone[1]), unit="ms"),
        ),
    )


async def _type(tab: Tab, num: int, *, every: int) -> tuple[list[float], list[float]]:
    """Type; return how long each key took to be dealt with, and to be on the screen, in ms."""
    await tab.evaluate("() => { globalThis.handled.length = globalThis.painted.length = 0; }")
    for number in range(num):
        await tab.keyboard.press(_TYPED[number % len(_TYPED)])
        if number % every == every - 1:
            await tab.keyboard.press("Tab")
        await asyncio.sleep(_PAUSE_S)
    await asyncio.sleep(1)
    return await tab.evaluate("() => globalThis.handled"), await tab.evaluate("() => globalThis.painted")


def _p(percent: int, times: list[float]) -> float:
    return sorted(times)[max(0, round(percent / 100 * len(times)) - 1)]
