"""Lose the sockets in every way there is, while people go on asking: nothing is lost, nothing is answered twice."""

import asyncio
import random
from pathlib import Path
from typing import Final

from bot.platforms.slack.incoming.marks import OVERLAP_S
from bot.platforms.slack.sockets import NUM_SOCKETS, SocketTimings
from bot.platforms.slack.traits import SLACK
from tests.bots import open_scripted_bot
from tests.platforms.slack.connecting import on_slack, scaled_pace
from tests.servers.slack.faults import Fault
from tests.servers.slack.server import serve_slack
from tests.servers.slack.sockets import STAY_OPEN, Loss
from tests.soak.figures import Figure, Run, Say
from tests.soak.people import NumberEngine
from tests.soak.slack.crowd import Crowd

_NUM_IN_GAP: Final = 5
_KINDS: Final[tuple[Loss, ...]] = (
    "cut",
    "close",
    "refresh_requested",
    "warning",
    "link_disabled",
    "silent",
    "deaf",
    "black_hole",
)
# A twentieth of the usual delays: what is said below of 60 s and 90 s lasts a twentieth of that.
SCALE: Final = 0.05
_USUAL: Final = SocketTimings()
_TIMINGS: Final = SocketTimings(
    ping_s=_USUAL.ping_s * SCALE,
    grace_s=_USUAL.grace_s * SCALE,
    look_s=_USUAL.look_s * SCALE,
    on_its_way_s=_USUAL.on_its_way_s * SCALE,
    quiet_s=_USUAL.quiet_s * SCALE,
    close_s=0.5,
    connect_s=2.0,
    first_pause_s=_USUAL.first_pause_s * SCALE,
    max_pause_s=_USUAL.max_pause_s * SCALE,
)
_REFUSED_S: Final = 60.0 * SCALE
_NOTICED_WITHIN_S: Final = 90.0
_FULL: Final = 50


def plan_losses(num: int, rng: random.Random) -> list[Loss]:
    """Return `num` losses, of all kinds equally often, in random order."""
    kinds = [_KINDS[number % len(_KINDS)] for number in range(num)]
    rng.shuffle(kinds)
    return kinds


async def run_disconnects(folder: Path, say: Say, *, num: int = 100, seed: int = 1) -> Run:
    """Lose all sockets `num` times with five questions in each gap; Slack sends nothing again.

    A third of the gaps lasts a minute, on the clock that runs twenty times as fast. Reading back fails now and then.
    """
    rng = random.Random(seed)
    noticed_s: list[float] = []
    async with serve_slack(seed=seed) as slack:
        slack.sockets.retry_delays_s = ()
        slack.sockets.black_hole_s *= SCALE
        crowd = Crowd(slack, rng)
        async with (
            open_scripted_bot(NumberEngine(pause_s=0.02), folder, traits=SLACK) as talk,
            on_slack(talk, slack, timings=_TIMINGS, pace=scaled_pace(slack, SCALE), overlap_s=OVERLAP_S * SCALE),
        ):
            crowd.ask_everywhere()
            await crowd.are_answered()
            for place in ("conversations.history", "conversations.replies", "users.conversations"):
                slack.faults.sometimes(place, Fault("error"), 0.05)
                slack.faults.sometimes(place, Fault("reset"), 0.05)
                slack.faults.sometimes(place, Fault("slow", delay_s=0.2), 0.1)
            for number, how in enumerate(plan_losses(num, rng)):
                await slack.sockets.is_connected(NUM_SOCKETS, 60)
                noticed_s.append(await _lose(crowd, how, rng, is_long=number % 3 == 0))
                if (number + 1) % 10 == 0:
                    say(f"{number + 1} of {num} losses, {len(crowd.missing())} questions being answered")
            await crowd.are_answered()
            await asyncio.sleep(1)
        return crowd.result(
            f"{num} losses of all sockets",
            Figure("losses with five messages in the gap", num),
            Figure("sockets opened", slack.sockets.num_opened),
            Figure("connections refused", slack.sockets.num_refused),
            Figure("events that Slack never sent again", len(slack.sockets.lost_events)),
            # A second of a busy machine is twenty on this clock.
            Figure(
                "longest time to notice a loss",
                max(noticed_s) / SCALE,
                f"≤ {_NOTICED_WITHIN_S:g}" if num >= _FULL else "",
                "s",
            ),
        )


async def _lose(crowd: Crowd, how: Loss, rng: random.Random, *, is_long: bool) -> float:
    """Lose the sockets in one way; return the seconds until all were replaced, after Slack could be reached again."""
    loop = asyncio.get_running_loop()
    sockets = crowd.slack.sockets
    for _ in range(rng.choice((0, 1, 2))):
        crowd.asks()
    await asyncio.sleep(rng.choice((0, 0, 0.01, 0.1)))
    sockets.is_refusing = is_long
    began = loop.time()
    await sockets.lose(how)
    for number in range(_NUM_IN_GAP):
        if number == 0 and rng.random() < 0.2:
            crowd.asks_in_old_thread()
        else:
            crowd.asks()
        await asyncio.sleep(rng.uniform(0, 0.05))
    if is_long:
        await asyncio.sleep(_REFUSED_S)
        sockets.is_refusing = False
        if how not in STAY_OPEN:
            began = loop.time()  # that loss was noticed at once, and nothing could be done
    while sum(not (one.is_silent or one.is_leaving) for one in sockets.open) < NUM_SOCKETS:
        # A deaf socket can be told from a quiet one only while people talk.
        crowd.asks()
        await asyncio.sleep(10 * SCALE)
        if loop.time() - began > 60:
            raise AssertionError(f"the sockets were not replaced after {how}")
    return loop.time() - began
