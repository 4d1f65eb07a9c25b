"""A crowd on two servers that asks, everywhere and without a pause, and what it got."""

import random
from collections.abc import Iterator
from itertools import zip_longest
from typing import Final

from tests.servers.discord import Discord
from tests.servers.discord.members import Member
from tests.servers.discord.world import Channel, Message
from tests.soak.figures import Figure, Run, rules_kept
from tests.soak.people import Asked

_WRITERS_AMONG: Final = 10
_ANSWER_WITHIN_S: Final = 60.0


class Crowd:
    """Two servers, a thread and a direct channel, with people in them who ask."""

    def __init__(
        self,
        discord: Discord,
        rng: random.Random,
        *,
        has_numbers: bool = True,
        num_people: int = 30,
        num_channels: int = 2,
    ) -> None:
        self.discord = discord
        self.asked = Asked(discord, has_numbers)
        self._rng = rng
        home = discord.world.add_guild("Home", channels=[f"home-{number}" for number in range(num_channels)])
        away = discord.world.add_guild("Away", channels=[f"away-{number}" for number in range(num_channels // 2)])
        # So many that nobody asks more than one member may in a minute.
        self._people = [discord.add_member(home, f"Person {number}") for number in range(num_people)]
        for member in self._people:
            discord.join(away, member)
        self._writers = self._people[: num_people // _WRITERS_AMONG]
        self._home = home.channels[0]
        first = self._people[0]
        first.opens_thread(first.says(self._home, "Let us talk"), "A talk")
        self._channels = [channel for pair in zip_longest(home.channels, away.channels) for channel in pair if channel]
        self._places = self._take_turns()

    def asks(self) -> Message:
        """Let somebody ask something in the next place."""
        return self.asked.ask(*next(self._places))

    def asks_in_new_thread(self) -> Message:
        """Let somebody ask in a thread that was not there before."""
        who = self._rng.choice(self._people)
        return self.asked.ask(who, who.opens_thread(who.says(self._home, "Another thing"), "Another talk"))

    def _take_turns(self) -> Iterator[tuple[Member, Channel]]:
        while True:
            yield from ((self._rng.choice(self._people), channel) for channel in self._channels)
            # The bot knows only the direct channels in which it was written to before.
            writer = self._rng.choice(self._writers)
            yield writer, self.discord.world.dm_channel(writer.user)

    def ask_everywhere(self) -> None:
        """Let there be a question in each place."""
        for channel in self._channels:
            self.asked.ask(self._people[0], channel)
        for writer in self._writers:
            self.asked.ask(writer, self.discord.world.dm_channel(writer.user))

    async def are_answered(self, timeout_s: float = _ANSWER_WITHIN_S, *, at_most: int = 0) -> None:
        """Wait until `at_most` questions wait for an answer, or the time is over."""
        try:
            await self.discord.world.wait_until(lambda: len(self.asked.missing()) <= at_most, timeout_s, "the answers")
        except AssertionError:
            return

    def result(self, title: str, *more: Figure) -> Run:
        """Return what came of all questions."""
        lost, doubled = self.asked.missing(), self.asked.doubled()
        kept, wrong = rules_kept(self.discord)
        figures = (
            *more,
            Figure("messages to the bot", len(self.asked.messages)),
            Figure("not answered, or not with the right words", len(lost), "= 0"),
            Figure("answered twice", len(doubled), "= 0"),
            Figure("longest wait for the first sign of an answer", self.asked.slowest_s(), "≤ 60", "s"),
            *kept,
        )
        problems = [f"lost: {self.asked.describe(message)}" for message in lost[:5]]
        problems += [f"doubled: {self.asked.describe(message)}" for message in doubled[:5]]
        return Run(title, figures, (*problems, *wrong))
