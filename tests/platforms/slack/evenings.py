"""An evening on the stand-in for Slack: a workspace with the bot, people who talk, and the bot after a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.platforms.slack.client import SlackClient
from bot.platforms.slack.traits import SLACK
from tests.bots import ScriptedEngine, Talk, open_scripted_bot
from tests.platforms.slack.connecting import on_slack
from tests.servers.slack.objects import Channel, Message, Team
from tests.servers.slack.people import Person
from tests.servers.slack.reading import visible_text
from tests.servers.slack.server import Slack, serve_slack


@dataclass(slots=True)
class Evening:
    """Who is there. `talk` and `client` are those of the bot's present run; `told` is what the operator was told."""

    slack: Slack
    team: Team
    ann: Person
    bob: Person
    mod: Person
    engine: ScriptedEngine
    folder: Path
    told: list[str] = field(default_factory=list)
    talk: Talk | None = None
    client: SlackClient | None = None

    @property
    def general(self) -> Channel:
        return self.slack.channel(self.team, "general")

    @property
    def other(self) -> Channel:
        return self.slack.channel(self.team, "other")

    @property
    def running(self) -> Talk:
        if self.talk is None:
            raise RuntimeError("the bot is not running")
        return self.talk

    @property
    def read(self) -> str:
        """Return the prompt that the model read last."""
        return self.engine.read[-1].text

    def said_by_bot(self, channel: Channel | None = None) -> list[Message]:
        return [one for one in (channel or self.general).messages if one.user.is_bot]

    async def reply(self, to: Message) -> str:
        """Return the finished answer to a message, as people read it."""
        return visible_text(await self.slack.reply(to))

    async def is_quiet(self) -> None:
        """Wait until every event was acknowledged, and a moment for what comes of it."""
        await self.slack.sockets.is_idle()
        await asyncio.sleep(0.4)

    @asynccontextmanager
    async def run(self, **how: Any) -> AsyncIterator[SlackClient]:
        """Let the bot run while the block runs; once more is a restart."""
        async with (
            open_scripted_bot(self.engine, self.folder, traits=SLACK) as talk,
            on_slack(talk, self.slack, tell=self.told.append, **how) as client,
        ):
            self.talk, self.client = talk, client
            try:
                yield client
            finally:
                self.talk = self.client = None


@asynccontextmanager
async def an_evening(folder: Path, *scripts: str, pause_s: float = 0.0) -> AsyncIterator[Evening]:
    """Open the stand-in with a workspace, the bot not running yet; at the end nothing may have been broken."""
    async with serve_slack() as slack:
        team = slack.add_team("Acme", ["general", "other"])
        yield Evening(
            slack,
            team,
            slack.add_person(team, "Ann"),
            slack.add_person(team, "Bob"),
            slack.add_person(team, "Mo", "admin"),
            ScriptedEngine(scripts or ("Hello there.",), pause_s=pause_s),
            folder,
        )
        await slack.sockets.is_idle()
        slack.assert_clean()
        assert not slack.doubled()
