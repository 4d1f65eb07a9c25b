"""Logging in to Discord: the checks, the errors in one sentence each, and the invite link."""

import re
from dataclasses import dataclass
from typing import Final

import aiohttp
import discord
from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL

from bot.errors import SetupError
from bot.platforms.discord.outgoing.pauses import StillLimited
from bot.platforms.discord.outgoing.request_limit import RequestLimit

# discord.py waits from 0 up to 2 to the power of this, in seconds.
_MAX_BACKOFF_EXPONENT: Final = 5
PORTAL: Final = "https://discord.com/developers/applications"
_TOKEN: Final = re.compile(r"[\w-]{10,}\.[\w-]{4,}\.[\w-]{20,}", re.ASCII)

# The permissions that the bot uses.
NEEDED_PERMISSIONS: Final = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    read_message_history=True,
    attach_files=True,
    add_reactions=True,
)

NO_CONTENT_NOTICE: Final = (
    "The Message Content Intent is off, so the bot reads only direct messages and messages that mention it or reply to"
    " it. Slash commands work. For typed commands, stories, and channels in which the bot answers every message, turn"
    f" the intent on at {PORTAL}, page Bot."
)


@dataclass(frozen=True, slots=True)
class Application:
    """The Discord application that a token belongs to."""

    id: int
    name: str
    has_message_content: bool

    @property
    def invite_url(self) -> str:
        """Return the link that adds the bot to a server."""
        return discord.utils.oauth_url(self.id, permissions=NEEDED_PERMISSIONS, scopes=("bot", "applications.commands"))


def check_token(token: str) -> None:
    """Raise SetupError if `token` does not have the form of a bot token."""
    if not token:
        raise SetupError(f"DISCORD_TOKEN is not set. Copy the bot's token from {PORTAL}, page Bot, into .env.")
    if not _TOKEN.fullmatch(token):
        raise SetupError(
            "DISCORD_TOKEN is not a bot token: a token has three parts with dots between them. Copy it from"
            f" {PORTAL}, page Bot."
        )


def use_api(base: str) -> None:
    """Use the API at `base` instead of Discord's; for a proxy and for tests."""
    if base:
        Route.BASE = base.rstrip("/")


async def use_gateway_of_api(client: discord.Client) -> None:
    """Use the gateway that the API names for every session; by default discord.py uses Discord's from the second on."""
    _, url, _ = await client.http.get_bot_gateway()
    DiscordWebSocket.DEFAULT_GATEWAY = URL(url)


def limit_backoff(shard: discord.ShardInfo) -> None:
    """Limit the pause before a shard reconnects to 32 seconds; by default discord.py waits up to 17 minutes."""
    shard._parent._backoff._max = _MAX_BACKOFF_EXPONENT


def explain_failure(error: Exception) -> SetupError:
    """Return the sentence for an error that ended the connection to Discord."""
    match error:
        case discord.LoginFailure():
            sentence = f"Discord does not accept DISCORD_TOKEN. Create a new token at {PORTAL} (page Bot) for .env."
        case discord.PrivilegedIntentsRequired():
            sentence = f"Discord refuses an intent that the bot asked for. Check the intents at {PORTAL}, page Bot."
        case discord.ConnectionClosed(code=4004):
            sentence = "Discord no longer accepts DISCORD_TOKEN: it was reset. Put the new token into .env."
        case discord.ConnectionClosed(code=4011):
            sentence = "SHARDS has too few shards for so many servers. Use a larger number after the / in all programs."
        case discord.ConnectionClosed():
            sentence = f"Discord closed the connection for good (code {error.code}). Start the bot again later."
        case discord.HTTPException(status=429) | StillLimited():
            sentence = "Discord refuses this machine after too many requests. Start the bot again in an hour."
        case discord.HTTPException():
            sentence = f"Discord answered with error {error.status}. Start the bot again later."
        case discord.GatewayNotFound():
            sentence = "Discord's gateway can't be found. Start the bot again later."
        case _:
            sentence = "Discord can't be reached from here. Check this machine's network and DNS."
    return SetupError(sentence)


# The errors that `explain_failure` explains.
CONNECTION_ERRORS: Final = (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError)


async def look_up_application(token: str, requests: RequestLimit | None = None) -> Application:
    """Ask Discord for the application of `token`. Raises SetupError, one sentence, if that fails.

    `requests` limits the requests of this process.
    """
    check_token(token)
    # The bot does not use voice, so the warnings about missing voice libraries are noise.
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    trace = (requests or RequestLimit()).trace(logs=False)
    async with discord.Client(intents=discord.Intents(guilds=True), http_trace=trace) as client:
        try:
            await client.login(token)
        except CONNECTION_ERRORS as e:
            raise explain_failure(e) from e
        application = client.application
        if application is None:
            raise SetupError(f"DISCORD_TOKEN belongs to no application. Create a new token at {PORTAL}, page Bot.")
        flags = application.flags
        has_content = flags.gateway_message_content or flags.gateway_message_content_limited
        return Application(application.id, application.name, has_content)
