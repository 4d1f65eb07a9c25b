"""The real sender and outlets on the stand-in for Slack, at the stand-in's clock: waiting moves it forward."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from bot.core.cards import Card, Text
from bot.core.messages import Author, Message, Scope
from bot.platforms.slack.ids import SlackId
from bot.platforms.slack.outgoing.outlets import AnswerOutlet
from bot.platforms.slack.outgoing.pace import Pace
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.starting import look_up_workspaces
from tests.servers.slack import objects
from tests.servers.slack.server import Slack


@dataclass(frozen=True, slots=True)
class Sending:
    """A sender, and the outlets of answers to messages on the stand-in."""

    slack: Slack
    team: objects.Team
    sender: Sender

    def ask(self) -> objects.Message:
        """Let somebody ask the bot in a channel."""
        return self.slack.add_person(self.team, "Ann").asks(self.slack.channel(self.team, "general"), "tell me")

    def message(self, said: objects.Message) -> Message:
        """Return a message in a channel as the bot has read it: its answer begins a thread."""
        team, channel = said.channel.team.id, said.channel.id
        scope = Scope("slack", team, channel, said.thread_ts or said.ts)
        return Message(str(SlackId(team, channel, said.ts)), scope, Author(said.user.id, "Ann"), said.text)

    def outlet(self, said: objects.Message) -> AnswerOutlet:
        return AnswerOutlet.for_message(self.sender, self.message(said))


def words(text: str, *, is_final: bool = False) -> Card:
    """Return a card of the model's words."""
    return Card(blocks=(Text(text, is_model_text=True),), is_final=is_final)


@asynccontextmanager
async def open_sending(
    slack: Slack, *, channels: Sequence[str] = ("general",), deadline_s: float = 5.0
) -> AsyncIterator[Sending]:
    """Log in to a workspace with `channels`, without sockets."""
    team = slack.add_team("Acme", channels)

    async def sleep(seconds: float) -> None:
        slack.clock.advance(seconds)

    async with aiohttp.ClientSession() as session:
        tokens = [one.bot_token for one in slack.app.installations.values()]
        workspaces = await look_up_workspaces(tokens, slack.app.app_token, slack.api_url, session)
        pace = Pace(clock=slack.clock.now, sleep=sleep)
        yield Sending(slack, team, Sender(workspaces, session, deadline_s=deadline_s, pace=pace))
