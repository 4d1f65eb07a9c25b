"""End the program at any moment, politely and not, while people ask: the next run answers what the last one did not."""

import asyncio
import random
import signal
import time
from collections.abc import Mapping
from typing import Final

from tests.platforms.discord.connecting import TOKEN
from tests.servers.discord import serve_discord, visible_text
from tests.servers.discord.world import Message
from tests.soak.crowd import Crowd
from tests.soak.figures import Figure, Run, Say
from tests.soak.program import start_program

_NUM_IN_GAP: Final = 5
_DRAINED_WITHIN_S: Final = 20
# So many questions may be open when the next end comes, with those that are asked right before it.
_NUM_LEFT: Final = 3
# How long after a question the program is ended: before it was accepted, while it is answered, or after that.
_MOMENTS_S: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0)


async def run_restarts(environment: Mapping[str, str], say: Say, *, num: int = 20, seed: int = 1) -> Run:
    """End the bot `num` times, by turns with kill -9 and SIGTERM, with questions before, meanwhile and at the start."""
    rng = random.Random(seed)
    longest_s, num_bad = 0.0, 0
    async with serve_discord(token=TOKEN, seed=seed) as discord:
        crowd = Crowd(discord, rng, has_numbers=False)
        environment = {**environment, **discord.environment}
        program = await start_program("discord", environment)
        await program.is_there()
        crowd.ask_everywhere()
        await crowd.are_answered()
        for number in range(num):
            for _ in range(rng.randint(1, 6)):
                crowd.asks()
            await asyncio.sleep(rng.choice(_MOMENTS_S))
            number_sent = signal.SIGTERM if number % 2 else signal.SIGKILL
            started = time.monotonic()
            ending = asyncio.create_task(program.end(number_sent))
            for _ in range(_NUM_IN_GAP):
                crowd.asks()
                await asyncio.sleep(rng.uniform(0, 0.1))
            status = await ending
            if number_sent is signal.SIGTERM:
                num_bad += status != 0
                longest_s = max(longest_s, time.monotonic() - started)
            starting = await start_program("discord", environment)
            await discord.world.wait_until(lambda: discord.gateway.connections, 180, "the next start")
            for _ in range(rng.randint(0, 2)):
                crowd.asks()
            await starting.is_there()
            program = starting
            say(f"{number + 1} of {num} restarts, {len(crowd.asked.missing())} questions being answered")
            await crowd.are_answered(at_most=_NUM_LEFT)
        await crowd.are_answered()
        await asyncio.sleep(2)
        await program.end(signal.SIGTERM)
        refused = [message for message in crowd.asked.messages if _is_refused(crowd, message)]
        return crowd.result(
            f"{num} restarts of the program",
            Figure("kill -9", (num + 1) // 2),
            Figure("SIGTERM", num // 2),
            Figure("… and ended with another status than 0", num_bad, "= 0"),
            Figure("… and ended after, at most", longest_s, f"< {_DRAINED_WITHIN_S}", "s"),
            Figure("answered with an error", len(refused), "= 0"),
        )


def _is_refused(crowd: Crowd, message: Message) -> bool:
    return any(visible_text(part).startswith("⚠️") for part in crowd.asked.parts_of(message))
