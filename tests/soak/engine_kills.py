"""Kill the engine's server at any moment while a crowd talks to the bot's front: each question is answered or told."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Final

from bot.remote.own_server.served_engine import ServedEngine
from tests.bots import PROMPTS, open_tiny_bot
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.remote.own_server.program import ServerProgram, running_server
from tests.servers.discord import serve_discord, visible_text
from tests.servers.discord.world import Message
from tests.soak.crowd import Crowd
from tests.soak.figures import Figure, Run, Say

_LONGER_CHAT: Final = PROMPTS["chat"].replace("max_new_tokens = 12", "max_new_tokens = 200")
_MAX_OPEN: Final = 16  # questions at a time: fewer than the engine's queue holds
# How long after the server is there it is killed; one in five is killed while it still starts.
_MOMENTS_S: Final = (0.0, 0.1, 0.3, 1.0, 2.0, 4.0, 6.0, 8.0)
_SHARE_STARTING: Final = 0.2
_MOST_OF_A_START_S: Final = 1.5


async def run_engine_kills(
    folder: Path, model: Path, say: Say, *, num: int = 50, seed: int = 1, num_channels: int = 8
) -> Run:
    """Kill the server of `model` `num` times with kill -9, and start it again at once, while people go on asking."""
    rng = random.Random(seed)
    front = folder / "front"
    front.mkdir()
    async with (
        serve_discord(token=TOKEN, seed=seed) as discord,
        running_server(folder / "server", model) as server,
        open_tiny_bot(server.choice, front, prompts={**PROMPTS, "chat": _LONGER_CHAT}) as talk,
    ):
        crowd = Crowd(discord, rng, has_numbers=False, num_channels=num_channels)
        async with on_discord(talk, discord):
            num_open = await _ask_and_kill(server, crowd, rng, num, say)
        engine = talk.services.engine
        assert isinstance(engine, ServedEngine)
        told = Counter(filter(None, (_told(crowd, message) for message in crowd.asked.messages)))
        return crowd.result(
            f"{num} ends of the engine's server by kill -9",
            Figure("kills", server.num_kills),
            Figure("calls that had begun when the server was lost, and were made again", engine.num_lost),
            Figure("questions that were open at a kill, on average", num_open / max(1, num)),
            *(Figure(f"told: {sentence}", num_told) for sentence, num_told in told.items()),
        )


async def _ask_and_kill(server: ServerProgram, crowd: Crowd, rng: random.Random, num: int, say: Say) -> int:
    """Kill the server while people ask, and wait for all answers; return what `_kill_often` does."""
    crowd.ask_everywhere()
    await crowd.are_answered()
    asking = asyncio.create_task(_ask_on(crowd, rng))
    try:
        num_open = await _kill_often(server, crowd, rng, num, say)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await crowd.are_answered()
    return num_open


async def _ask_on(crowd: Crowd, rng: random.Random) -> None:
    """Let people ask without a pause, as long as not too many wait."""
    while True:
        if len(crowd.asked.missing()) < _MAX_OPEN:
            crowd.asks()
        await asyncio.sleep(rng.uniform(0.0, 0.1))


async def _kill_often(server: ServerProgram, crowd: Crowd, rng: random.Random, num: int, say: Say) -> int:
    """Kill the server `num` times; return how many questions were open at the kills, in all."""
    num_open = 0
    for number in range(num):
        await asyncio.sleep(rng.choice(_MOMENTS_S))
        num_open += len(crowd.asked.missing())
        server.kill()
        say(f"{number + 1} of {num} kills, {len(crowd.asked.missing())} questions being answered")
        server.start()
        if rng.random() < _SHARE_STARTING and number < num - 1:
            await asyncio.sleep(rng.uniform(0, _MOST_OF_A_START_S))
        else:
            await server.is_up()
    return num_open


def _told(crowd: Crowd, message: Message) -> str:
    """Return the sentence with which a question was told that it can't be answered, "" if it was."""
    texts = (visible_text(part) for part in crowd.asked.parts_of(message))
    return next((text.removeprefix("⚠️").strip() for text in texts if text.startswith("⚠️")), "")
