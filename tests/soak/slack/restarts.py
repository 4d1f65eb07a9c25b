"""End the program at any moment, politely and not, while people ask: the next run answers what the last one did not."""

import asyncio
import random
import signal
import time
from collections.abc import Mapping
from typing import Final

from tests.servers.slack.server import serve_slack
from tests.soak.figures import Figure, Run, Say
from tests.soak.program import start_program
from tests.soak.slack.crowd import Crowd

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
    async with serve_slack(seed=seed) as slack:
        slack.sockets.retry_delays_s = ()
        crowd = Crowd(slack, rng, has_numbers=False, num_channels=8)
        environment = {**environment, **slack.environment, "SLACK_BOT_TOKEN": crowd.tokens}
        program = await start_program("slack", environment)
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
            for place in range(_NUM_IN_GAP):
                if place == 0 and number % 4 == 0:
                    crowd.asks_in_old_thread()
                else:
                    crowd.asks()
                await asyncio.sleep(rng.uniform(0, 0.1))
            status = await ending
            if number_sent is signal.SIGTERM:
                num_bad += status != 0
                longest_s = max(longest_s, time.monotonic() - started)
            program = await start_program("slack", environment)
            await slack.sockets.is_connected(1, 180)
            for _ in range(rng.randint(0, 2)):
                crowd.asks()
            await program.is_there()
            say(f"{number + 1} of {num} restarts, {len(crowd.missing())} questions being answered")
            await crowd.are_answered(at_most=_NUM_LEFT)
        await crowd.are_answered()
        await asyncio.sleep(2)
        await program.end(signal.SIGTERM)
        refused = [message for message in crowd.messages if crowd.is_refused(message)]
        return crowd.result(
            f"{num} restarts of the program",
            Figure("kill -9", (num + 1) // 2),
            Figure("SIGTERM", num // 2),
            Figure("… and ended with another status than 0", num_bad, "= 0"),
            Figure("… and ended after, at most", longest_s, f"< {_DRAINED_WITHIN_S}", "s"),
            Figure("answered with an error", len(refused), "= 0"),
        )
