"""Send thousands of messages over a Web API that fails in every way: each arrives, and arrives once."""

import asyncio
import random
import time
from pathlib import Path
from typing import Final

from bot.platforms.slack.traits import SLACK
from tests.bots import open_scripted_bot
from tests.platforms.slack.connecting import on_slack, scaled_pace
from tests.servers.slack.faults import Fault
from tests.servers.slack.server import serve_slack
from tests.soak.figures import Figure, Run, Say
from tests.soak.people import NumberEngine
from tests.soak.slack.crowd import Crowd

# What goes wrong with a message that is sent: its share, and what it is called in the table.
FAULTS: Final = (
    (Fault("rate_limited", retry_after_s=1), 0.05, "429"),
    (Fault("accepted_then_error"), 0.02, "502 after acceptance"),
    (Fault("reset"), 0.005, "connection reset before acceptance"),
    (Fault("accepted_then_reset"), 0.005, "connection reset after acceptance"),
)
_METHODS: Final = ("chat.postMessage", "chat.startStream", "chat.appendStream", "chat.stopStream", "chat.update")
_REDELIVERED: Final = 0.2
_NUM_OPEN: Final = 60
_NUM_CHANNELS: Final = 40
_SCALE: Final = 0.1


async def run_sends(folder: Path, say: Say, *, num: int = 2000, seed: int = 1) -> Run:
    """Let people ask until `num` questions are answered, 60 open at any time, while the Web API fails.

    Slack's limits hold on a clock that runs ten times as fast.
    """
    rng = random.Random(seed)
    async with serve_slack(seed=seed) as slack:
        slack.sockets.redelivery_probability = _REDELIVERED
        crowd = Crowd(slack, rng, num_people=max(20, num // 8), num_channels=_NUM_CHANNELS)
        async with (
            open_scripted_bot(NumberEngine(pause_s=0.02), folder, traits=SLACK) as talk,
            on_slack(talk, slack, pace=scaled_pace(slack, _SCALE)),
        ):
            for method in _METHODS:
                for fault, share, _ in FAULTS:
                    slack.faults.sometimes(method, fault, share)
            started, told = time.monotonic(), 0
            while len(crowd.messages) < num:
                waiting = [message for message in crowd.messages[-400:] if not crowd.is_answered(message)]
                for _ in range(min(max(0, _NUM_OPEN - len(waiting)), num - len(crowd.messages))):
                    crowd.asks()
                await asyncio.sleep(0.1)
                if len(crowd.messages) * 10 // num > told:
                    told = len(crowd.messages) * 10 // num
                    say(f"{len(crowd.messages)} of {num} questions asked, {len(waiting)} being answered")
            await crowd.are_answered()
            duration_s = time.monotonic() - started
            await slack.sockets.is_idle()
            await asyncio.sleep(1)
        sent = {method: len(slack.calls(method)) for method in _METHODS}
        injected = slack.faults.num_injected
        return crowd.result(
            f"{num:,} answers sent",
            Figure("answers", len(crowd.messages) - len(crowd.missing()), f"≥ {num}"),
            Figure("… in", duration_s, unit="s"),
            *(Figure(f"calls of {method}", count) for method, count in sent.items()),
            *(
                Figure(f"answered with {name}", injected[fault.kind], "≥ 1" if num >= 1000 else "")
                for fault, _, name in FAULTS
            ),
            Figure("events delivered twice", slack.sockets.num_redelivered),
        )
