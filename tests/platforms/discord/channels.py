"""A logged-in discord.py client and a channel of the stand-in, without a gateway: for sending and editing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import discord

from bot.platforms.discord.outgoing.invalid_requests import InvalidRequests
from bot.platforms.discord.outgoing.request_limit import MAX_PER_S, RequestLimit
from bot.platforms.discord.outgoing.sender import Sender
from tests.servers.discord import Discord, pointed_at, serve_discord
from tests.servers.discord.members import Member
from tests.servers.discord.texts import visible_text
from tests.servers.discord.world import Channel, Guild, Message


@dataclass
class Place:
    """A stand-in with one channel, and the sender under test; `told` are the channels with a missing permission."""

    stand_in: Discord
    client: discord.Client
    sender: Sender
    guild: Guild
    general: Channel
    ada: Member
    told: list[int]

    @property
    def channel(self) -> discord.PartialMessageable:
        return self.client.get_partial_messageable(self.general.id)

    @property
    def said(self) -> list[Message]:
        """The bot's messages in the channel, in order."""
        return [message for message in self.general.messages if message.author is self.stand_in.world.bot]

    @property
    def texts(self) -> list[str]:
        return [visible_text(message) for message in self.said]

    def partial(self, message: Message) -> discord.PartialMessage:
        return self.channel.get_partial_message(message.id)


@asynccontextmanager
async def open_place(
    *, deadline_s: float = 30.0, max_invalid: int = 10_000, max_per_s: int = MAX_PER_S
) -> AsyncIterator[Place]:
    """Open a stand-in and a client that is logged in to it."""
    async with serve_discord() as stand_in:
        guild = stand_in.world.add_guild("Home", ["general"])
        ada = stand_in.add_member(guild, "ada")
        told: list[int] = []

        async def tell(channel_id: int, needs: tuple[str, ...]) -> None:
            told.append(channel_id)

        requests = RequestLimit(max_per_s=max_per_s, invalid=InvalidRequests(max_requests=max_invalid))
        client = discord.Client(
            intents=discord.Intents.none(),
            allowed_mentions=discord.AllowedMentions.none(),
            http_trace=requests.trace(),
        )
        with pointed_at(stand_in):
            async with client:
                await client.login(stand_in.token)
                sender = Sender(on_missing_permission=tell, requests=requests, deadline_s=deadline_s)
                yield Place(stand_in, client, sender, guild, guild.channel("general"), ada, told)
