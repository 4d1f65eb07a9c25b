"""Use commands, buttons, shortcuts and the Home tab while the model writes without a pause: each is acknowledged."""

import asyncio
import random
import time
from typing import Final

from tests.servers.slack.errors import NotOffered
from tests.servers.slack.objects import Channel, Message
from tests.servers.slack.people import Person
from tests.servers.slack.reading import labels
from tests.servers.slack.server import Slack
from tests.soak.figures import Figure, Run, Say, percentile
from tests.soak.slack.crowd import rules_kept

_FULL: Final = 500
_QUICK: Final = ("help", "stats", "context", "privacy")
_KINDS: Final = (
    ("slash_command", "slash commands"),
    ("block_actions", "clicks"),
    ("message_action", "shortcuts of messages"),
    ("shortcut", "shortcuts of the app"),
)
_ANSWER_WITHIN_S: Final = 180.0


class Load:
    """People who each keep the model writing, in a channel of their own."""

    def __init__(self, slack: Slack, num: int) -> None:
        self._slack = slack
        self.num = num
        self.team = slack.add_team("Busy", [f"busy-{number}" for number in range(num)])
        # Each channel has two people, so that nobody asks more than a person may.
        self._pairs = [
            (channel, [slack.add_person(self.team, f"Writer {channel.name}{half}") for half in "ab"])
            for channel in list(self.team.channels.values())
        ]
        self.answers: list[Message] = []

    async def run(self) -> None:
        """Ask again and again until cancelled."""
        await asyncio.gather(*(self._keep_asking(channel, people) for channel, people in self._pairs))

    async def _keep_asking(self, channel: Channel, people: list[Person]) -> None:
        number = 0
        while True:
            who = people[number % 2]
            number += 1
            asked = who.asks(channel, f"Tell me story {number} about the sea, as long as you can")
            self.answers.append(await self._slack.reply(asked, _ANSWER_WITHIN_S))


class Visitors:
    """People who use a command, a button, a shortcut or the Home tab at random."""

    def __init__(self, slack: Slack, rng: random.Random, load: Load, num: int) -> None:
        self._rng = rng
        self._load = load
        self._people = [slack.add_person(load.team, f"Visitor {number}") for number in range(num)]
        self._channels = list(load.team.channels.values())

    async def act(self) -> None:
        """Do one thing, and wait for its acknowledgement."""
        who, channel = self._rng.choice(self._people), self._rng.choice(self._channels)
        point = self._rng.random()
        if point < 0.3:
            await who.slash(channel, "/fewshot", self._rng.choice(_QUICK))
        elif point < 0.4:
            await who.slash(channel, "/fewshot", "next Once upon a time there was a")
        elif point < 0.5:
            await who.uses_global_shortcut("fewshot-templates")
        elif point < 0.6:
            who.opens_home()
            await who.slash(channel, "/fewshot", "help")
        elif not await self._use_answer(who):
            await who.slash(channel, "/fewshot", "help")

    async def _use_answer(self, who: Person) -> bool:
        """Press a button of a finished answer, or use a shortcut on it; return whether there is one."""
        shown = [message for message in self._load.answers[-40:] if not message.is_deleted and labels(message)]
        if not shown:
            return False
        message = self._rng.choice(shown)
        try:
            if self._rng.random() < 0.2:
                await who.uses_shortcut(message, "Why")
            else:
                # Most of them ask why: what changes the answer is limited to one a second.
                await who.clicks(message, "Why" if self._rng.random() < 0.8 else self._rng.choice(labels(message)))
        except NotOffered:  # the answer changed meanwhile
            return False
        return True


async def run_interactions(
    slack: Slack, load: Load, say: Say, *, num: int = 1000, per_s: float = 8.0, seed: int = 1
) -> Run:
    """Use `num` interactions at random moments, `per_s` in a second, while the answers of `load` are being written.

    The bot is connected to `slack`, in this process or, as people run it, in one of its own.
    """
    rng = random.Random(seed)
    num_writing = load.num
    visitors = Visitors(slack, rng, load, max(20, num // 8))
    await slack.sockets.is_connected(1, 60)
    writing = asyncio.create_task(load.run())
    try:
        await slack.world.wait_until(lambda: len(load.answers) >= min(num_writing, 4), 180, "the first answers")
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
    return _result(slack, num_written, duration_s, num_writing)


def _result(slack: Slack, num_written: int, duration_s: float, num_writing: int) -> Run:
    done = slack.interactions.all
    waits_ms = [one.acknowledged_after_s * 1000 for one in done if one.acknowledged_after_s is not None]
    events_ms = [seconds * 1000 for seconds in slack.sockets.ack_times_s]
    is_full = len(done) >= _FULL
    kept, wrong = rules_kept(slack)
    figures = [
        Figure("interactions", len(done)),
        *(Figure(f"… of which {name}", sum(one.kind == kind for one in done)) for kind, name in _KINDS),
        Figure("answers being written at any time", num_writing),
        Figure("answers written meanwhile", num_written, "≥ 1"),
        Figure("… in", duration_s, unit="s"),
        Figure("not acknowledged", len(done) - len(waits_ms), "= 0"),
        Figure("acknowledged after, p50", percentile(waits_ms, 0.5), unit="ms"),
        # Of a few dozen the p99 would be the slowest one, which says more about the machine than about the bot.
        Figure("acknowledged after, p95", percentile(waits_ms, 0.95), "" if is_full else "< 1500", "ms"),
        Figure("acknowledged after, p99", percentile(waits_ms, 0.99), "< 500" if is_full else "", "ms"),
        Figure("acknowledged after, at most", max(waits_ms, default=0.0), "< 2000", "ms"),
        Figure("envelopes of all kinds acknowledged after, at most", max(events_ms, default=0.0), "< 3000", "ms"),
    ]
    title = f"{len(done):,} interactions while the model writes"
    return Run(title, (*figures, *kept), wrong)
