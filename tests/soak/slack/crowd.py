"""A crowd in two workspaces that asks, everywhere and without a pause, and what it got."""

import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from tests.servers.slack.objects import Channel, Message
from tests.servers.slack.people import Person
from tests.servers.slack.reading import labels, visible_text
from tests.servers.slack.server import Slack
from tests.soak.figures import Figure, Run
from tests.soak.people import answer_to

_ANSWER_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody asks: in a channel with a mention, in a thread or a direct conversation without one."""

    channel: Channel
    thread: Message | None = None


class Answers:
    """The bot's messages, by the request that each one says it answers; those that say nothing are strays."""

    def __init__(self, slack: Slack) -> None:
        self._slack = slack
        self._num_read: dict[str, int] = {}
        self._open: list[Message] = []
        self._of: dict[str, list[Message]] = {}

    def to(self, message: Message) -> list[Message]:
        self._read()
        return self._of.get(f"{message.channel.team.id}:{message.channel.id}:{message.ts}", [])

    def strays(self, asked: set[str]) -> list[Message]:
        """Return the messages of the bot's that answer none of these requests."""
        self._read()
        others = [one for request, messages in self._of.items() if request not in asked for one in messages]
        return [*self._open, *others]

    def _read(self) -> None:
        for channel in self._slack.world.channels.values():
            start = self._num_read.get(channel.id, 0)
            self._open += [message for message in channel.messages[start:] if message.user.is_bot]
            self._num_read[channel.id] = len(channel.messages)
        still_open = []
        for message in self._open:
            # A stream says at its end what it answers.
            request = ((message.metadata or {}).get("event_payload") or {}).get("request")
            if request is None:
                still_open.append(message)
            else:
                self._of.setdefault(request, []).append(message)
        self._open = still_open


class Crowd:
    """Two workspaces with channels, threads and direct conversations, and people who ask numbered questions."""

    def __init__(
        self,
        slack: Slack,
        rng: random.Random,
        *,
        has_numbers: bool = True,
        num_people: int = 10,
        num_channels: int = 4,
    ) -> None:
        self.slack = slack
        self.messages: list[Message] = []
        self._has_numbers = has_numbers
        self._rng = rng
        self._number_of: dict[str, int] = {}
        self._said_at: dict[str, float] = {}
        self._answers = Answers(slack)
        self._people: dict[str, list[Person]] = {}
        self._threads: list[tuple[Person, Place]] = []
        channels: list[Channel] = []
        for name, num in (("Home", num_channels), ("Away", max(1, num_channels // 2))):
            team = slack.add_team(name, [f"{name.lower()}-{number}" for number in range(num)])
            # So many that nobody asks more than one person may in a minute.
            self._people[team.id] = [slack.add_person(team, f"Person {number}") for number in range(num_people)]
            channels += [channel for channel in team.channels.values() if channel.kind == "public"]
        self._channels = channels
        self._places = self._take_turns()

    @property
    def tokens(self) -> str:
        """Return the bot's tokens as the program reads them."""
        return ",".join(one.bot_token for one in self.slack.app.installations.values())

    def asks(self) -> Message:
        """Let somebody ask something in the next place."""
        return self._ask(*next(self._places))

    def asks_in_old_thread(self) -> Message:
        """Let somebody ask in a thread of people that the bot does not know."""
        channel = self._rng.choice(self._channels)
        who = self._rng.choice(self._people[channel.team.id])
        root = who.says(channel, "Let us talk")
        return self._ask(who, Place(channel), in_thread=root)

    def ask_everywhere(self) -> None:
        """Let there be a question in each place, and a thread of the bot's in each channel."""
        for channel in self._channels:
            who = self._people[channel.team.id][0]
            self._threads.append((who, Place(channel, self._ask(who, Place(channel)))))
        for people in self._people.values():
            for who in people[:2]:
                self._ask(who, Place(who.dm_channel))

    def _take_turns(self) -> Iterator[tuple[Person, Place]]:
        for channel in cycle(self._channels):
            people = self._people[channel.team.id]
            yield self._rng.choice(people), Place(channel)
            if self._rng.random() < 0.3 and self._threads:
                _, place = self._rng.choice(self._threads)
                yield self._rng.choice(self._people[place.channel.team.id]), place
            if self._rng.random() < 0.3:
                writer = self._rng.choice(people)
                yield writer, Place(writer.dm_channel)

    def _ask(self, who: Person, place: Place, *, in_thread: Message | None = None) -> Message:
        number, channel = len(self.messages), place.channel
        text = f"question {number}"
        if place.thread is not None or channel.kind == "im":
            message = who.says(channel, text, thread=place.thread)
        else:
            message = who.asks(channel, text, thread=in_thread)
        self._number_of[message.ts] = number
        self._said_at[message.ts] = time.monotonic()
        self.messages.append(message)
        return message

    def is_answered(self, message: Message) -> bool:
        answers = self._answers.to(message)
        if not answers or any(one.is_streaming or "Stop" in labels(one) for one in answers):
            return False
        text = " ".join(" ".join(visible_text(one) for one in answers).split())
        return not self._has_numbers or text == answer_to(self._number_of[message.ts])

    def missing(self) -> list[Message]:
        return [message for message in self.messages if not self.is_answered(message)]

    def doubled(self) -> list[Message]:
        """Return the messages that were answered twice, and those of the bot's that belong to no answer."""
        twice = [message for message in self.messages if len(self._answers.to(message)) > 1]
        asked = {f"{one.channel.team.id}:{one.channel.id}:{one.ts}" for one in self.messages}
        return [*twice, *self._answers.strays(asked)]

    def is_refused(self, message: Message) -> bool:
        return any(visible_text(one).startswith("⚠") for one in self._answers.to(message))

    async def are_answered(self, timeout_s: float = _ANSWER_WITHIN_S, *, at_most: int = 0) -> None:
        """Wait until `at_most` questions wait for an answer, or the time is over."""
        try:
            await self.slack.world.wait_until(lambda: len(self.missing()) <= at_most, timeout_s, "the answers")
        except AssertionError:
            return

    def _slowest_s(self) -> float:
        """Return the longest time from a question to the first sign of its answer."""
        waits = [
            answers[0].versions[0][0] - self._said_at[message.ts]
            for message in self.messages
            if (answers := self._answers.to(message))
        ]
        return max(waits, default=0.0)

    def _describe(self, message: Message) -> str:
        number = self._number_of.get(message.ts, "of the bot's")
        kind = "direct" if message.channel.kind == "im" else "thread" if message.is_reply else "channel"
        shown = [visible_text(one)[:60] for one in self._answers.to(message)]
        return f"question {number} in a {kind}, {message.text[:40]!r}: {shown}"

    def result(self, title: str, *more: Figure) -> Run:
        """Return what came of all questions."""
        lost, doubled = self.missing(), self.doubled()
        kept, wrong = rules_kept(self.slack)
        figures = (
            *more,
            Figure("messages to the bot", len(self.messages)),
            Figure("not answered, or not with the right words", len(lost), "= 0"),
            Figure("answered twice", len(doubled), "= 0"),
            Figure("longest wait for the first sign of an answer", self._slowest_s(), "≤ 90", "s"),
            *kept,
        )
        problems = [f"lost: {self._describe(message)}" for message in lost[:5]]
        problems += [f"doubled: {self._describe(message)}" for message in doubled[:5]]
        return Run(title, figures, (*problems, *wrong))


def rules_kept(slack: Slack) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Return the figures that every run has, and what was wrong."""
    pings = [sentence for sentence in slack.broken if "may ping" in sentence]
    figures = (
        Figure("limits of Slack broken", len(slack.broken) - len(pings), "= 0"),
        Figure("messages that could ping", len(pings), "= 0"),
        Figure("interactions not acknowledged", len(slack.unacknowledged()), "= 0"),
    )
    counted = Counter(re.sub(r"\d+", "N", sentence) for sentence in slack.broken)
    return figures, tuple(f"{num} × {sentence}" for sentence, num in counted.most_common(5))
