"""An evening on the stand-in: a guild with the bot in it, members who talk, and the bot again after a restart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from bot.core.messages import Scope
from bot.platforms.discord.client import FewshotClient
from tests.bots import ScriptedEngine, Talk
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.servers.discord import Discord, serve_discord
from tests.servers.discord.members import Member
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import Channel, Guild, Message

OpenTalk = Callable[[], AbstractAsyncContextManager[Talk]]


@dataclass(slots=True)
class Evening:
    """Who is there. `talk` and `client` are those of the bot's present run; `told` is what the operator was told."""

    discord: Discord
    guild: Guild
    ada: Member
    bob: Member
    mod: Member
    open_talk: OpenTalk
    told: list[str] = field(default_factory=list)
    talk: Talk | None = None
    client: FewshotClient | None = None

    @property
    def general(self) -> Channel:
        return self.guild.channel("general")

    @property
    def here(self) -> Scope:
        """Return where the channel's conversation is stored."""
        return Scope("discord", str(self.guild.id), str(self.general.id))

    @property
    def engine(self) -> ScriptedEngine:
        """Return the engine, of a bot that was opened on a scripted one."""
        engine = self.running.services.engine
        if not isinstance(engine, ScriptedEngine):
            raise TypeError("this evening has a real engine")
        return engine

    @property
    def running(self) -> Talk:
        if self.talk is None:
            raise RuntimeError("the bot is not running")
        return self.talk

    @property
    def read(self) -> str:
        """Return the prompt that the model read last."""
        return self.engine.read[-1].text

    def bot_messages(self, channel: Channel | None = None) -> list[Message]:
        return [m for m in (channel or self.general).messages if m.author is self.discord.world.bot]

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Let the bot run while the block runs; once more is a restart."""
        async with self.open_talk() as talk, on_discord(talk, self.discord, tell=self.told.append) as client:
            self.talk, self.client = talk, client
            try:
                yield
            finally:
                self.talk = self.client = None


@asynccontextmanager
async def an_evening(open_talk: OpenTalk, *, is_clean: bool = True) -> AsyncIterator[Evening]:
    """Open the stand-in with a guild; at the end nothing may have been broken."""
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home", channels=["general", "other", "reports"])
        evening = Evening(
            discord,
            guild,
            discord.add_member(guild, "Ada"),
            discord.add_member(guild, "Bob"),
            discord.add_member(guild, "Mod", permissions=int(Permission.MANAGE_GUILD | Permission.MANAGE_MESSAGES)),
            open_talk,
        )
        yield evening
        await asyncio.sleep(0)
        if is_clean:
            discord.assert_clean()
