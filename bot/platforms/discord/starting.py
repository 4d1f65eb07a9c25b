"""Logging in to Discord: what can be wrong, each in one sentence, and the link that invites the bot."""

import re
from dataclasses import dataclass
from typing import Final

import aiohttp
import discord
from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL

from bot.errors import SetupError

# discord.py waits 0 to 2 to the power of this, in seconds.
_MAX_BACKOFF_EXPONENT: Final = 5
PORTAL: Final = "https://discord.com/developers/applications"
_TOKEN: Final = re.compile(r"[\w-]{10,}\.[\w-]{4,}\.[\w-]{20,}", re.ASCII)

# What the bot uses, and how Discord names each permission.
NEEDED_PERMISSIONS: Final = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    read_message_history=True,
    attach_files=True,
    add_reactions=True,
)

NO_CONTENT_NOTICE: Final = (
    "The Message Content Intent is off, so the bot reads messages only where it is mentioned or replied to, and in"
    " direct messages; slash commands work. To have !commands and channels with every message, turn it on under Bot in"
    f" {PORTAL}."
)


@dataclass(frozen=True, slots=True)
class Application:
    """What Discord knows of the application that a token belongs to."""

    id: int
    name: str
    has_message_content: bool

    @property
    def invite_url(self) -> str:
        """Return the link with which somebody adds the bot to a server of theirs."""
        return discord.utils.oauth_url(self.id, permissions=NEEDED_PERMISSIONS, scopes=("bot", "applications.commands"))


def check_token(token: str) -> None:
    """Raise SetupError where `token` can't be a bot's: Discord need not be asked."""
    if not token:
        raise SetupError(f"DISCORD_TOKEN is not set; copy the bot's token from {PORTAL}, page Bot, into .env.")
    if not _TOKEN.fullmatch(token):
        raise SetupError(
            f"DISCORD_TOKEN is no bot token (three parts with dots between them); copy it from {PORTAL}, page Bot."
        )


def use_api(base: str) -> None:
    """Talk to the API at `base` instead of Discord's own; for a proxy and for tests."""
    if base:
        Route.BASE = base.rstrip("/")


async def use_gateway_of_api(client: discord.Client) -> None:
    """Use the gateway that the API names for every session: discord.py takes Discord's own from the second one on."""
    _, url, _ = await client.http.get_bot_gateway()
    DiscordWebSocket.DEFAULT_GATEWAY = URL(url)


def limit_backoff(shard: discord.ShardInfo) -> None:
    """Let a shard that can't connect try again after 32 seconds at most: discord.py waits up to 17 minutes."""
    shard._parent._backoff._max = _MAX_BACKOFF_EXPONENT


def explain_failure(error: Exception) -> SetupError:
    """Return the sentence for an error that ended the connection to Discord."""
    match error:
        case discord.LoginFailure():
            sentence = (
                f"Discord does not take DISCORD_TOKEN; make a new one in {PORTAL}, page Bot, and put it into .env."
            )
        case discord.PrivilegedIntentsRequired():
            sentence = f"Discord refuses an intent that the bot asked for; look at the page Bot in {PORTAL}."
        case discord.ConnectionClosed(code=4004):
            sentence = "Discord no longer takes DISCORD_TOKEN: it was changed while the bot was running."
        case discord.ConnectionClosed():
            sentence = f"Discord closed the connection for good (code {error.code}); start the bot again later."
        case discord.HTTPException(status=429):
            sentence = "Discord refuses this machine for now: too many requests; start the bot again in an hour."
        case discord.HTTPException():
            sentence = f"Discord answered with error {error.status}; start the bot again later."
        case discord.GatewayNotFound():
            sentence = "Discord's gateway can't be found; start the bot again later."
        case _:
            sentence = "Discord can't be reached from here; check this machine's network and DNS."
    return SetupError(sentence)


# What ends a login or a connection and is told in a sentence.
CONNECTION_ERRORS: Final = (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError)


async def look_up_application(token: str) -> Application:
    """Return the application behind `token`, asked of Discord. Raises SetupError, one sentence, where that fails."""
    check_token(token)
    # The bot has no voice, so what a voice would need is nobody's business.
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    async with discord.Client(intents=discord.Intents(guilds=True)) as client:
        try:
            await client.login(token)
        except CONNECTION_ERRORS as e:
            raise explain_failure(e) from e
        application = client.application
        if application is None:
            raise SetupError("Discord does not say which application DISCORD_TOKEN belongs to.")
        flags = application.flags
        has_content = flags.gateway_message_content or flags.gateway_message_content_limited
        return Application(application.id, application.name, has_content)
