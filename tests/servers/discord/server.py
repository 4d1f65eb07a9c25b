"""Starting and stopping the stand-in, and questions about what happened in it."""

import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import discord as discord_py
import yarl
from aiohttp import web
from discord.gateway import DiscordWebSocket

from tests.servers.discord.faults import FaultPlan
from tests.servers.discord.gateway import Gateway
from tests.servers.discord.interactions import QUIET_S, Interactions, is_settled
from tests.servers.discord.members import Member
from tests.servers.discord.permissions import Permission
from tests.servers.discord.rate_limits import MOST_PER_S, RateLimits
from tests.servers.discord.rest import PREFIX, Request, add_routes
from tests.servers.discord.schema import Validate, load_validator
from tests.servers.discord.texts import visible_text
from tests.servers.discord.world import Channel, Guild, Message, World

TOKEN = "stand-in-token"
INVALID_STATUSES = (401, 403, 429)


class Discord:
    """A running stand-in: `world` holds the objects, `violations` the rules that the bot broke.

    `requests` has every REST request; `schema_errors` what Discord's OpenAPI document refuses, if there is one.
    """

    def __init__(self, *, token: str, seed: int, limits: RateLimits) -> None:
        self.token = token
        self.violations: list[str] = []
        self.schema_errors: list[str] = []
        self.requests: list[Request] = []
        self.num_invalid_requests = 0
        self.num_deduplicated = 0
        self.num_command_syncs = 0
        self.limits = limits
        self.world = World()
        self.interactions = Interactions(self.world, self.violations)
        self.gateway = Gateway(self.world, token, self.violations, seed=seed)
        self.faults = FaultPlan(seed)
        self.nonces: dict[tuple[int, str], tuple[float, Message]] = {}
        self.edit_times: dict[str, deque[float]] = {}
        self.validate: Validate | None = None
        self.api_base = ""
        self.world.tell = self.gateway.dispatch

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that let a bot in another process find the stand-in."""
        return {"DISCORD_API_BASE": self.api_base, "DISCORD_TOKEN": self.token}

    @property
    def gateway_url(self) -> str:
        return self.gateway.url

    # Objects that a test creates

    def add_member(
        self, guild: Guild, name: str, *, permissions: int = 0, roles: tuple[int, ...] = (), has_installed: bool = False
    ) -> Member:
        """Add a person to a guild, with a role of their own when `permissions` are given."""
        member = Member(self, self.world.add_user(name, has_installed=has_installed))
        self.join(guild, member, permissions=permissions, roles=roles)
        return member

    def join(self, guild: Guild, member: Member, *, permissions: int = 0, roles: tuple[int, ...] = ()) -> None:
        """Let an existing person join another guild."""
        self.world.join(guild, member.user, permissions=permissions, roles=roles)

    def add_user(self, name: str, *, has_installed: bool = False) -> Member:
        """Add a person who is in no guild of the bot."""
        return Member(self, self.world.add_user(name, has_installed=has_installed))

    def owner_of(self, guild: Guild) -> Member:
        return Member(self, self.world.users[guild.owner_id])

    # Questions of a test

    def answers_to(self, message: Message) -> list[Message]:
        """Return the visible messages of the bot that reply to `message`, in order."""
        messages = message.channel.messages
        return [other for other in messages if other.author is self.world.bot and other.replies_to_id == message.id]

    async def wait_for_reply(self, to: Message, timeout: float = 10.0) -> Message:
        """Wait for the bot's first reply to `to`."""
        replies: list[Message] = await self.world.wait_until(
            lambda: self.answers_to(to), timeout, lambda: f"a reply to {to.content!r}; {self.describe(to.channel)}"
        )
        return replies[0]

    async def wait_for_message(self, channel: Channel, after: Message | int = 0, timeout: float = 10.0) -> Message:
        """Wait for the bot's first message in `channel` after another one."""
        last_id = after if isinstance(after, int) else after.id

        def later() -> list[Message]:
            return [m for m in channel.messages if m.author is self.world.bot and m.id > last_id]

        found: list[Message] = await self.world.wait_until(
            later, timeout, lambda: f"a message of the bot's; {self.describe(channel)}"
        )
        return found[0]

    async def settled(self, message: Message, timeout: float = 20.0, quiet_s: float = QUIET_S) -> Message:
        """Wait until `message` is finished: not loading, without a Stop button, and the bot at rest or it `quiet_s`."""
        await self.world.wait_until(
            lambda: is_settled(message, 0.0 if self.world.is_bot_at_rest() else quiet_s),
            timeout,
            lambda: f"the end of {visible_text(message)!r}",
        )
        return message

    async def reply(self, to: Message, timeout: float = 20.0) -> Message:
        """Wait for the reply to `to`, and until it is finished."""
        return await self.settled(await self.wait_for_reply(to, timeout), timeout)

    def describe(self, channel: Channel) -> str:
        """Return the end of a channel and the violations so far, for the message of a failed test."""
        lines = [f"{message.author.name}: {visible_text(message)!r}" for message in channel.messages[-5:]]
        return f"last messages {lines}, violations {self.violations[-3:]}"

    def assert_clean(self) -> None:
        """Raise AssertionError if the bot broke a rule of Discord or left someone without an answer."""
        ignored = [f"not answered: {result}" for result in self.interactions.by_id.values() if result.is_ignored()]
        if self.violations or self.schema_errors or ignored:
            raise AssertionError("\n".join(self.violations + self.schema_errors + ignored))

    def app_permissions(self, channel: Channel) -> int:
        """Return the app's permissions; for a bot that is not in the guild, those of answers to interactions."""
        if channel.guild and self.world.bot.id not in channel.guild.members:
            return int(Permission.ATTACH_FILES | Permission.EMBED_LINKS | Permission.MENTION_EVERYONE)
        return self.world.permissions(self.world.bot, channel)

    def answered_twice(self) -> list[Message]:
        """Return the people's messages with more than one visible reply of the bot."""
        counts = Counter(
            message.replies_to_id
            for channel in self.world.channels.values()
            for message in channel.messages
            if message.author is self.world.bot and message.replies_to_id is not None
        )
        return [self.world.messages[message_id] for message_id, count in counts.items() if count > 1]

    def unfinished(self) -> list[str]:
        """Return the interactions that were never answered, or only deferred."""
        results = self.interactions.by_id.values()
        return [str(result) for result in results if result.is_ignored() or result.is_loading()]

    # Reports of the routes

    def recorded(self, request: Request) -> None:
        self.requests.append(request)
        self.num_invalid_requests += request.status in INVALID_STATUSES
        self.world.touch()


@asynccontextmanager
async def serve_discord(
    *,
    token: str = TOKEN,
    seed: int = 0,
    max_requests_per_s: int | None = MOST_PER_S,
    limits_routes: bool = False,
    num_shards: int = 1,
    grants_message_content: bool = True,
) -> AsyncIterator[Discord]:
    """Run a stand-in while the block runs; bodies are validated against the document in `DISCORD_OPENAPI`, if any.

    With `limits_routes` it enforces the limits of each route too, which slow down who sends much in one channel.
    """
    limits = RateLimits(max_per_s=max_requests_per_s, limits_routes=limits_routes)
    discord = Discord(token=token, seed=seed, limits=limits)
    discord.world.is_message_content_granted = grants_message_content
    document = os.environ.get("DISCORD_OPENAPI")
    if document:
        discord.validate = load_validator(document)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_get("/gateway", discord.gateway.handle)
    add_routes(app, discord)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host = f"127.0.0.1:{runner.addresses[0][1]}"
        discord.world.file_base = f"http://{host}"
        discord.api_base = f"http://{host}{PREFIX}"
        discord.gateway.url = f"ws://{host}/gateway"
        discord.gateway.num_shards = num_shards
        yield discord
    finally:
        await discord.gateway.shut_down()
        await runner.cleanup()


@contextmanager
def pointed_at(discord: Discord) -> Iterator[None]:
    """Make discord.py in this process talk to the stand-in while the block runs."""
    base: Any = discord_py.http.Route.BASE
    gateway = DiscordWebSocket.DEFAULT_GATEWAY
    discord_py.http.Route.BASE = discord.api_base
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(discord.gateway_url)
    try:
        yield
    finally:
        discord_py.http.Route.BASE = base
        DiscordWebSocket.DEFAULT_GATEWAY = gateway
