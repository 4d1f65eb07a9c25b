"""Raw payloads as Discord sends them, and a real discord.py state to read them with; nothing connects anywhere."""

from typing import Any

import discord

ME, ANA, BO, ROBOT = 900, 901, 902, 903
SERVER, CHANNEL, THREAD, DIRECT = 100, 200, 300, 400
MANAGERS, READERS = 701, 702
MANAGE_GUILD, ADMINISTRATOR = 1 << 5, 1 << 3
MESSAGE = 1_456_000_000_000_000_000


def user(user_id: int = ANA, name: str = "ana", **more: Any) -> dict[str, Any]:
    """Return an account."""
    return {"id": str(user_id), "username": name, "discriminator": "0", "avatar": None, "global_name": None, **more}


def me() -> dict[str, Any]:
    """Return the bot's own account."""
    return user(ME, "fewshot", bot=True)


def member(*roles: int, nick: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a membership as it comes beside an author."""
    joined_at = "2026-01-01T00:00:00.000000+00:00"
    named = [str(role) for role in roles]
    return {"roles": named, "nick": nick, "joined_at": joined_at, "deaf": False, "mute": False, "flags": 0, **more}


def role(role_id: int, name: str, permissions: int = 0) -> dict[str, Any]:
    """Return a role of the server."""
    return {"id": str(role_id), "name": name, "permissions": str(permissions), "position": 1, "color": 0, "flags": 0}


def thread(**more: Any) -> dict[str, Any]:
    """Return a thread of the channel."""
    at = "2026-01-01T00:00:00.000000+00:00"
    metadata = {"archived": False, "auto_archive_duration": 1440, "archive_timestamp": at, "locked": False}
    counts = {"message_count": 1, "member_count": 1, "total_message_sent": 1}
    ids = {"id": str(THREAD), "parent_id": str(CHANNEL), "guild_id": str(SERVER), "owner_id": str(ANA)}
    return {**ids, "type": 11, "name": "a thread", **counts, "thread_metadata": metadata, **more}


def server(owner_id: int = 1) -> dict[str, Any]:
    """Return the server as GUILD_CREATE has it."""
    return {
        "id": str(SERVER),
        "name": "a server",
        "owner_id": str(owner_id),
        "roles": [
            role(SERVER, "@everyone"),
            role(MANAGERS, "managers", MANAGE_GUILD),
            role(READERS, "readers"),
        ],
        "channels": [{"id": str(CHANNEL), "type": 0, "name": "general", "position": 0, "permission_overwrites": []}],
        "threads": [thread()],
        "members": [],
        "member_count": 3,
    }


def message(content: str = "hello", *, channel: int = CHANNEL, in_server: bool = True, **more: Any) -> dict[str, Any]:
    """Return a message as MESSAGE_CREATE has it, of a member without roles unless `more` says otherwise."""
    place = {"guild_id": str(SERVER), "member": member()} if in_server else {}
    return {
        "id": str(MESSAGE),
        "channel_id": str(channel),
        "author": user(),
        "content": content,
        "timestamp": "2026-01-02T03:04:05.000000+00:00",
        "edited_timestamp": None,
        "type": 0,
        "tts": False,
        "pinned": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        **place,
        **more,
    }


def interaction(kind: int, data: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an interaction in the server's channel, of a member without roles."""
    place: dict[str, Any] = {
        "guild_id": str(SERVER),
        "guild": {"id": str(SERVER), "locale": "en-US", "features": []},
        "channel": {"id": str(CHANNEL), "type": 0, "name": "general", "position": 0, "permission_overwrites": []},
        "context": 0,
        "member": {**member(), "user": user(), "permissions": "0"},
    }
    return {
        "id": str(MESSAGE + 1),
        "application_id": str(ME),
        "type": kind,
        "token": "an interaction's token",
        "version": 1,
        "attachment_size_limit": 10_000_000,
        "data": data,
        "authorizing_integration_owners": {"0": str(SERVER)},
        "app_permissions": "0",
        "locale": "en-US",
        "entitlements": [],
        **place,
        **more,
    }


def direct(user_data: dict[str, Any] | None = None, *, kind: int = 1, context: int = 1) -> dict[str, Any]:
    """Return what makes an interaction one outside of servers: in a direct message with the bot, or in a group."""
    place = {"id": str(DIRECT), "type": kind, "recipients": [], "last_message_id": None, "name": None, "owner_id": "1"}
    nowhere = {"guild_id": None, "guild": None, "member": None}
    return {**nowhere, "channel": place, "context": context, "user": user_data or user()}


def attachment(filename: str = "notes.txt", **more: Any) -> dict[str, Any]:
    """Return a file that hangs on a message."""
    url = f"https://cdn.discordapp.com/attachments/1/2/{filename}"
    return {"id": "555", "filename": filename, "size": 5, "url": url, "proxy_url": url, **more}


class Connection:
    """discord.py's state of a client that is in the server, and in nothing else."""

    def __init__(self, *, owner_id: int = 1) -> None:
        # Next to nothing is cached, as in the bot.
        self.client = discord.Client(
            intents=discord.Intents(guilds=True, messages=True, message_content=True),
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            chunk_guilds_at_startup=False,
        )
        self.state = self.client._connection
        self.state.user = discord.ClientUser(state=self.state, data=me())  # type: ignore[arg-type]
        self.state.application_id = ME
        self.me: discord.ClientUser = self.state.user
        guild = discord.Guild(data=server(owner_id), state=self.state)  # type: ignore[arg-type]
        self.state._add_guild(guild)

    def message(self, data: dict[str, Any]) -> discord.Message:
        """Return the message in `data` as the gateway's events make it."""
        channel, _ = self.state._get_guild_channel(data)  # type: ignore[arg-type]
        return discord.Message(state=self.state, channel=channel, data=data)  # type: ignore[arg-type]

    def interaction(self, data: dict[str, Any]) -> discord.Interaction[Any]:
        """Return the interaction in `data` as the gateway's events make it."""
        return discord.Interaction(data=data, state=self.state)  # type: ignore[arg-type]
