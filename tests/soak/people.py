"""People who ask numbered questions everywhere, an engine that answers each with its number, and who got what."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from tests.bots import ScriptedEngine, ScriptedGeneration
from tests.servers.discord import Discord, visible_text
from tests.servers.discord.interactions import is_settled
from tests.servers.discord.members import Member
from tests.servers.discord.world import DM, Channel, Message

_QUESTION: Final = re.compile(r"question (\d+)")
# Each so many answers is too long for one message.
_LONG_EVERY: Final = 20


def answer_to(number: int) -> str:
    """Return what the engine answers to question `number`."""
    if number % _LONG_EVERY != _LONG_EVERY - 1:
        return f"Answer {number}."
    return " ".join(f"Part {part} of answer {number} has {part * 7 % 1000} words." for part in range(75))


class NumberEngine(ScriptedEngine):
    """Answers the last `question N` of a prompt with `answer_to(N)`."""

    def __init__(self, *, pause_s: float = 0.0) -> None:
        super().__init__([""], pause_s=pause_s)

    def generate(self, prompt: Prompt, params: SamplingParams, **how: Any) -> ScriptedGeneration:
        found = _QUESTION.findall(prompt.text)
        return ScriptedGeneration(answer_to(int(found[-1])) if found else "Ask me a question.", self.pause_s)


@dataclass(slots=True)
class Asked:
    """All questions, in the order in which they were asked. `has_numbers`: each answer is known beforehand."""

    discord: Discord
    has_numbers: bool = True
    messages: list[Message] = field(default_factory=list)
    number_of: dict[int, int] = field(default_factory=dict)
    said_at: dict[int, float] = field(default_factory=dict)

    def ask(self, who: Member, channel: Channel) -> Message:
        """Ask the next question: in a direct channel just so, elsewhere with a mention of the bot."""
        text = f"question {len(self.messages)}"
        message = who.says(channel, text, mention_bot=channel.kind != DM)
        self.number_of[message.id] = len(self.messages)
        self.messages.append(message)
        self.said_at[message.id] = time.monotonic()
        return message

    def parts_of(self, message: Message) -> list[Message]:
        """Return the messages that answer a question, by the nonces with which they were sent."""
        parts: list[Message] = []
        while found := self.discord.nonces.get((message.channel.id, f"{message.id}.{len(parts)}")):
            parts.append(found[1])
        return parts

    def is_answered(self, message: Message) -> bool:
        parts = self.parts_of(message)
        if not parts or not all(is_settled(part, 0.0) for part in parts):
            return False
        return not self.has_numbers or self._text_of(parts) == answer_to(self.number_of[message.id])

    def missing(self) -> list[Message]:
        return [message for message in self.messages if not self.is_answered(message)]

    def doubled(self) -> list[Message]:
        """Return the messages that were answered twice, and those of the bot's that belong to no answer."""
        parts = {part.id for message in self.messages for part in self.parts_of(message)}
        strays = [
            message
            for channel in self.discord.world.channels.values()
            for message in channel.messages
            if message.author is self.discord.world.bot and message.id not in parts
        ]
        return [*self.discord.answered_twice(), *strays]

    def slowest_s(self) -> float:
        """Return the longest time from a question to the first sign of its answer."""
        waits = [
            parts[0].versions[0][0] - self.said_at[message.id]
            for message in self.messages
            if (parts := self.parts_of(message))
        ]
        return max(waits, default=0.0)

    def describe(self, message: Message) -> str:
        """Return what a question got."""
        number = self.number_of.get(message.id, "of the bot's")
        kind = "direct" if message.channel.kind == DM else "thread" if message.channel.is_thread else "channel"
        return f"question {number} in a {kind}: {[visible_text(part)[:40] for part in self.parts_of(message)]}"

    @staticmethod
    def _text_of(parts: Sequence[Message]) -> str:
        return " ".join(" ".join(visible_text(part) for part in parts).split())
