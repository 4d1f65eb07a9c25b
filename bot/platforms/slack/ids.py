"""Ids on Slack: a message is named by its workspace, channel and time, since its time alone is unique only there."""

from dataclasses import dataclass

from bot.core.messages import Scope


@dataclass(frozen=True, slots=True)
class Address:
    """A channel of a workspace, and a thread in it ("" outside threads): where a message is posted."""

    team: str
    channel: str
    thread: str = ""

    @classmethod
    def of(cls, message_id: str, scope: Scope) -> "Address":
        """Return the address of the conversation `scope`, whose workspace `message_id` names."""
        return cls(SlackId.parse(message_id).team, scope.channel, scope.thread)


@dataclass(frozen=True, slots=True)
class SlackId:
    """The id of a message: workspace, channel and its time, in seconds with six decimals."""

    team: str
    channel: str
    ts: str

    @classmethod
    def parse(cls, text: str) -> "SlackId":
        """Return the id that `text` spells. Raises ValueError."""
        team, channel, ts = text.split(":")
        return cls(team, channel, ts)

    def __str__(self) -> str:
        """Return the id as the rest of the bot keeps it."""
        return f"{self.team}:{self.channel}:{self.ts}"
