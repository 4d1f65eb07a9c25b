"""Send thousands of messages over an interface that fails in every way: each arrives, and arrives once."""

import asyncio
import random
import time
from pathlib import Path
from typing import Final

from tests.bots import open_scripted_bot
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.servers.discord import serve_discord
from tests.servers.discord.faults import Fault
from tests.soak.crowd import Crowd
from tests.soak.figures import Figure, Run, Say
from tests.soak.people import NumberEngine

# What goes wrong with a message that is sent: its share, and what it is called in the table.
FAULTS: Final = (
    (Fault("rate_limited", retry_after_s=0.3), 0.05, "429"),
    (Fault("banned", retry_after_s=0.3), 0.01, "429 without Via"),
    (Fault("accepted_then_error"), 0.02, "502 after acceptance"),
    (Fault("reset"), 0.005, "connection reset before acceptance"),
    (Fault("accepted_then_reset"), 0.005, "connection reset after acceptance"),
)
# So many questions in so many channels that the limit on all requests is what holds the bot up.
_NUM_OPEN: Final = 120
_NUM_CHANNELS: Final = 120


async def run_sends(folder: Path, say: Say, *, num: int = 2000, seed: int = 1) -> Run:
    """Let people ask until `num` messages are sent, 120 questions open at any time, while the interface fails."""
    rng = random.Random(seed)
    async with serve_discord(token=TOKEN, seed=seed, limits_routes=True) as discord:
        crowd = Crowd(discord, rng, num_people=max(20, num // 8), num_channels=_NUM_CHANNELS)
        async with open_scripted_bot(NumberEngine(), folder) as talk, on_discord(talk, discord) as client:
            for fault, share, _ in FAULTS:
                discord.faults.sometimes("send", fault, share)
            started = time.monotonic()
            told = 0
            while (num_sent := len(discord.nonces)) < num:
                waiting = [message for message in crowd.asked.messages[-400:] if not crowd.asked.is_answered(message)]
                for _ in range(max(0, _NUM_OPEN - len(waiting))):
                    crowd.asks()
                await asyncio.sleep(0.05)
                if num_sent // (num / 10) > told:
                    told = int(num_sent // (num / 10))
                    say(f"{num_sent} of {num} messages sent, {len(waiting)} questions being answered")
            await crowd.are_answered()
            duration_s = time.monotonic() - started
            await asyncio.sleep(1)
            num_retried = client.sender.figures.num_retried
        injected = discord.faults.num_injected
        return crowd.result(
            f"{num:,} messages sent",
            Figure("messages sent", len(discord.nonces), f"≥ {num}"),
            Figure("… in", duration_s, unit="s"),
            *(
                Figure(f"answered with {name}", injected[fault.kind], "≥ 1" if num >= 1000 else "")
                for fault, _, name in FAULTS
            ),
            Figure("answered with 429 for all routes (50 a second)", discord.limits.num_refused["global"], "= 0"),
            Figure("answered with 429 for one route", discord.limits.num_refused["user"], "= 0"),
            Figure("most requests in one second", discord.limits.most_seen, "≤ 50"),
            Figure("typing and snapshots left out", client.sender.requests.num_left_out),
            Figure("asked again by the bot's sender", num_retried),
            Figure("sent again and shown once, thanks to the nonce", discord.num_deduplicated),
        )
