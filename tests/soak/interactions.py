"""Use commands, buttons and suggestions while the model writes without a pause: each is acknowledged at once."""

import asyncio
import random
import time
from typing import Final

from tests.servers.discord import Discord, labels
from tests.servers.discord.interactions import AUTOCOMPLETE, COMMAND, COMPONENT
from tests.servers.discord.members import Member
from tests.servers.discord.options import NotOffered
from tests.servers.discord.world import Channel, Message
from tests.soak.figures import Figure, Run, Say, percentile, rules_kept

_NUM_CHANNELS: Final = 4
_FULL: Final = 500
_QUICK: Final = ("help", "stats", "context", "privacy")
_KINDS: Final = ((COMMAND, "slash commands"), (COMPONENT, "clicks"), (AUTOCOMPLETE, "suggestions"))
_ANSWER_WITHIN_S: Final = 120.0


class Load:
    """Members who each keep the model writing, in a channel of their own."""

    def __init__(self, discord: Discord, num: int) -> None:
        self._discord = discord
        guild = discord.world.add_guild("Busy", channels=[f"busy-{number}" for number in range(num)])
        # Each channel has two members, so that nobody asks more than a member may.
        self._pairs = [
            (channel, [discord.add_member(guild, f"Writer {channel.name}{half}") for half in "ab"])
            for channel in guild.channels
        ]
        self.answers: list[Message] = []
        self.num_open = 0

    async def run(self) -> None:
        """Ask again and again until cancelled."""
        await asyncio.gather(*(self._keep_asking(channel, members) for channel, members in self._pairs))

    async def _keep_asking(self, channel: Channel, members: list[Member]) -> None:
        number = 0
        while True:
            who = members[number % 2]
            number += 1
            self.num_open += 1
            asked = who.says(channel, f"Tell me story {number} about the sea, as long as you can", mention_bot=True)
            self.answers.append(await self._discord.reply(asked, _ANSWER_WITHIN_S))
            self.num_open -= 1


class Visitors:
    """Members who use a command, a button or a suggestion at random."""

    def __init__(self, discord: Discord, rng: random.Random, load: Load, num: int) -> None:
        self._discord = discord
        self._rng = rng
        self._load = load
        guild = discord.world.add_guild("Visited", channels=[f"room-{number}" for number in range(_NUM_CHANNELS)])
        self._people = [discord.add_member(guild, f"Visitor {number}") for number in range(num)]
        self._channels = list(guild.channels)
        busy = load._pairs[0][0].guild
        assert busy is not None
        for member in self._people:
            discord.join(busy, member)
        self.num_failed = 0
        self.problems: list[str] = []

    async def act(self) -> None:
        """Do one thing, and wait for its first answer."""
        who, channel = self._rng.choice(self._people), self._rng.choice(self._channels)
        point = self._rng.random()
        try:
            if point < 0.35:
                await who.types(channel, "prompt run", "name", self._rng.choice(("", "s", "t", "sen")))
            elif point < 0.6:
                await who.slash(channel, self._rng.choice(_QUICK))
            elif point < 0.7:
                await who.slash(channel, "next", text="Once upon a time there was a")
            elif not await self._click(who):
                await who.slash(channel, "why")
        except AssertionError as error:
            self.num_failed += 1
            self.problems.append(str(error))

    async def _click(self, who: Member) -> bool:
        """Press a button of a finished answer; return whether there is one."""
        shown = [message for message in self._load.answers[-40:] if not message.is_deleted and labels(message)]
        if not shown:
            return False
        message = self._rng.choice(shown)
        choices = [label for label in labels(message) if label != "Stop"]
        if not choices:
            return False
        try:
            await who.clicks(message, self._rng.choice(choices))
        except NotOffered:  # the answer changed meanwhile
            return False
        return True


async def run_interactions(
    discord: Discord, say: Say, *, num: int = 1000, num_writing: int = 16, per_s: float = 8.0, seed: int = 1
) -> Run:
    """Use `num` interactions at random moments, `per_s` in a second, while `num_writing` answers are being written.

    The bot that is connected to `discord` may be in this process or, as people run it, in one of its own.
    """
    rng = random.Random(seed)
    load = Load(discord, num_writing)
    visitors = Visitors(discord, rng, load, max(20, num // 8))
    await discord.gateway.is_connected(60)
    writing = asyncio.create_task(load.run())
    try:
        await discord.world.wait_until(lambda: len(load.answers) >= min(num_writing, 4), 120, "the first answers")
        before, started = len(load.answers), time.monotonic()
        acting: set[asyncio.Task[None]] = set()
        for number in range(num):
            acting.add(asyncio.create_task(visitors.act()))
            await asyncio.sleep(rng.expovariate(per_s))
            if (number + 1) % max(1, num // 10) == 0:
                say(f"{number + 1} of {num} interactions, {len(load.answers)} answers written")
        await asyncio.gather(*acting)
        duration_s, num_written = time.monotonic() - started, len(load.answers) - before
    finally:
        writing.cancel()
        await asyncio.wait({writing})
    return _result(discord, visitors, num_written, duration_s, num_writing)


def _result(discord: Discord, visitors: Visitors, num_written: int, duration_s: float, num_writing: int) -> Run:
    results = list(discord.interactions.by_id.values())
    waits_ms = [result.acknowledged_after_s * 1000 for result in results if result.acknowledged_after_s is not None]
    is_full = len(results) >= _FULL
    kept, wrong = rules_kept(discord)
    figures = [
        Figure("interactions", len(results)),
        *(Figure(f"… of which {name}", sum(result.type == kind for result in results)) for kind, name in _KINDS),
        Figure("answers being written at any time", num_writing),
        Figure("answers written meanwhile", num_written, "≥ 1"),
        Figure("… in", duration_s, unit="s"),
        Figure("not acknowledged", len(results) - len(waits_ms) + visitors.num_failed, "= 0"),
        Figure("acknowledged after, p50", percentile(waits_ms, 0.5), unit="ms"),
        # Of a few dozen the p99 would be the slowest one, which says more about the machine than about the bot.
        Figure("acknowledged after, p95", percentile(waits_ms, 0.95), "" if is_full else "< 1500", "ms"),
        Figure("acknowledged after, p99", percentile(waits_ms, 0.99), "< 500" if is_full else "", "ms"),
        Figure("acknowledged after, at most", max(waits_ms, default=0.0), "< 2000", "ms"),
    ]
    title = f"{len(results):,} interactions while the model writes"
    return Run(title, (*figures, *kept), (*visitors.problems[:5], *wrong))
