"""Lose the connection in every way there is, while people go on asking: nothing is lost, nothing is answered twice."""

import asyncio
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bots import open_scripted_bot
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.servers.discord import serve_discord
from tests.servers.discord.faults import Fault
from tests.soak.crowd import Crowd
from tests.soak.figures import Figure, Run, Say
from tests.soak.people import NumberEngine

_NUM_IN_GAP: Final = 5
_SHARE_REFUSED: Final = 0.3
# What Discord closes with, besides a wire that is cut: all but 4004 and 4010 to 4014, which end a bot for good.
_CODES: Final = (None, 1000, 1001, 1011, 4000, 4001, 4002, 4003, 4005, 4007, 4008, 4009)


@dataclass(frozen=True, slots=True)
class Cut:
    """One way of losing the connection; without `resumes` the session is refused afterwards."""

    how: str
    code: int | None
    resumes: bool


def plan_cuts(num: int, rng: random.Random) -> list[Cut]:
    """Return `num` cuts of all kinds in random order.

    A tenth are an op 9 that ends the session; 30 % of all are resumes that are refused.
    """
    num_ended, num_refused = num // 10, math.ceil(num * _SHARE_REFUSED)
    ways = [("reconnect", None), ("invalid", None), *(("drop", code) for code in _CODES)]
    resuming = [ways[number % len(ways)] for number in range(num - num_ended)]
    rng.shuffle(resuming)
    # An op 9 either ends the session or lets it be resumed: those are not among the refused ones.
    resuming.sort(key=lambda way: way[0] == "invalid")
    cuts = [Cut(how, code, resumes=number >= num_refused) for number, (how, code) in enumerate(resuming)]
    cuts += [Cut("invalid", None, resumes=False)] * num_ended
    rng.shuffle(cuts)
    return cuts


async def run_disconnects(
    folder: Path, say: Say, *, num: int = 100, seed: int = 1, identify_pause_s: float = 5.0
) -> Run:
    """Lose the connection `num` times with five questions in each gap, some right before and some right after it.

    Now and then the connection breaks again while what was missed is being read, and Discord's REST interface is slow
    or fails when it is asked for that.
    """
    rng = random.Random(seed)
    engine = NumberEngine(pause_s=0.02)
    async with serve_discord(token=TOKEN, seed=seed) as discord:
        crowd = Crowd(discord, rng)
        async with (
            open_scripted_bot(engine, folder) as talk,
            on_discord(talk, discord, identify_pause_s=identify_pause_s),
        ):
            crowd.ask_everywhere()
            await crowd.are_answered()
            discord.faults.sometimes("read", Fault("error"), 0.05)
            discord.faults.sometimes("read", Fault("reset"), 0.05)
            discord.faults.sometimes("read", Fault("slow", delay_s=0.3), 0.2)
            num_second = 0
            for number, cut in enumerate(plan_cuts(num, rng)):
                await _lose(crowd, cut, rng, opens_thread=number % 10 == 5)
                if rng.random() < 0.3:
                    num_second += 1
                    await asyncio.sleep(rng.uniform(0, identify_pause_s + 1))
                    await discord.gateway.drop_socket(rng.choice(_CODES))
                await discord.gateway.is_connected(60)
                await asyncio.sleep(rng.choice((0, 0, 0.5)))
                if (number + 1) % 10 == 0:
                    say(f"{number + 1} of {num} disconnects, {len(crowd.asked.missing())} questions being answered")
            await crowd.are_answered()
            await asyncio.sleep(1)
        gateway = discord.gateway
        return crowd.result(
            f"{num} disconnects",
            Figure("disconnects in a gap with five messages", num),
            Figure("… and again right after one", num_second),
            Figure("sessions resumed", gateway.num_resumes),
            Figure("resumes refused", gateway.num_refused_resumes, f"≥ {math.ceil(num * _SHARE_REFUSED)}"),
            Figure("new sessions", gateway.num_identifies - 1),
        )


async def _lose(crowd: Crowd, cut: Cut, rng: random.Random, *, opens_thread: bool) -> None:
    for _ in range(rng.choice((0, 1, 2))):
        crowd.asks()
    await asyncio.sleep(rng.choice((0, 0, 0.01, 0.1)))
    async with crowd.discord.gateway.gap(code=cut.code, resumes=cut.resumes, how=cut.how):
        for number in range(_NUM_IN_GAP):
            if opens_thread and number == 0:
                crowd.asks_in_new_thread()
            else:
                crowd.asks()
            await asyncio.sleep(rng.uniform(0, 0.1))
    for _ in range(rng.choice((0, 0, 1, 2))):
        crowd.asks()
        await asyncio.sleep(rng.uniform(0, 0.05))
