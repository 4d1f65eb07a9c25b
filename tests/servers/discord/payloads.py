"""JSON payloads of the objects in the stand-in, as Discord's API sends them."""

from datetime import UTC, datetime
from typing import Any

from tests.servers.discord.permissions import permissions_of
from tests.servers.discord.world import (
    DM,
    FORUM,
    GROUP_DM,
    GUILD_VOICE,
    MEDIA,
    PRIVATE_THREAD,
    STAGE,
    Attachment,
    Channel,
    Guild,
    Membership,
    Message,
    Role,
    User,
    World,
)

JOINED_AT = "2026-01-01T00:00:00.000000+00:00"
GATEWAY_MESSAGE_CONTENT_LIMITED = 1 << 19


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def user_payload(user: User) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "username": user.name,
        "discriminator": "0",
        "global_name": None if user.is_bot else user.name.title(),
        "avatar": None,
        "bot": user.is_bot,
        "public_flags": 0,
        "flags": 0,
    }


def own_user_payload(world: World) -> dict[str, Any]:
    """Return the bot's account as it sees itself."""
    private = {"verified": True, "mfa_enabled": True, "locale": "en-US", "email": None}
    return user_payload(world.bot) | private


def member_payload(membership: Membership, *, with_user: bool = True) -> dict[str, Any]:
    payload = {
        "roles": [str(role_id) for role_id in membership.role_ids],
        "joined_at": JOINED_AT,
        "nick": None,
        "avatar": None,
        "banner": None,
        "premium_since": None,
        "communication_disabled_until": None,
        "pending": False,
        "deaf": False,
        "mute": False,
        "flags": 0,
    }
    return payload | ({"user": user_payload(membership.user)} if with_user else {})


def channel_payload(channel: Channel, world: World) -> Any:
    """Return a channel, thread, direct channel or group."""
    return _spoiled(channel.id, _channel_payload(channel, world), world)


def _channel_payload(channel: Channel, world: World) -> dict[str, Any]:
    last_id = str(channel.messages[-1].id) if channel.messages else None
    payload: dict[str, Any] = {"id": str(channel.id), "type": channel.kind, "last_message_id": last_id, "flags": 0}
    if channel.kind == DM:
        return payload | {"recipients": [user_payload(user) for user in channel.recipients]}
    if channel.kind == GROUP_DM:
        users = [user_payload(user) for user in channel.recipients]
        return payload | {"recipients": users, "name": channel.name, "owner_id": users[0]["id"], "icon": None}
    if channel.guild is None:
        raise ValueError("a channel of this kind is in a guild")
    payload |= {"guild_id": str(channel.guild.id), "name": channel.name, "rate_limit_per_user": channel.slow_s}
    if not channel.is_thread:
        overwrites = [
            {
                "id": str(target),
                "type": 0 if target in channel.guild.roles else 1,
                "allow": str(allow),
                "deny": str(deny),
            }
            for target, (allow, deny) in channel.overwrites.items()
        ]
        position = channel.guild.channels.index(channel) if channel in channel.guild.channels else 0
        return (
            payload
            | {
                "position": position,
                "permission_overwrites": overwrites,
                "parent_id": None,
                "topic": None,
                "nsfw": False,
            }
            | _of_kind(channel)
        )
    if channel.kind == PRIVATE_THREAD:
        payload["invitable"] = True
    if world.bot.id in channel.member_ids:
        payload["member"] = {
            "id": str(channel.id),
            "user_id": str(world.bot.id),
            "join_timestamp": JOINED_AT,
            "flags": 0,
        }
    return payload | {
        "parent_id": str(channel.parent.id) if channel.parent else None,
        "owner_id": str(channel.owner_id),
        "message_count": len(channel.messages),
        "total_message_sent": len(channel.messages),
        "member_count": len(channel.member_ids),
        "thread_metadata": {
            "archived": channel.is_archived,
            "auto_archive_duration": 1440,
            "archive_timestamp": timestamp((channel.id >> 22) / 1000 + 1_420_070_400),
            "locked": channel.is_locked,
            "create_timestamp": timestamp((channel.id >> 22) / 1000 + 1_420_070_400),
        },
    }


def _of_kind(channel: Channel) -> dict[str, Any]:
    """Return what only some kinds of channels have."""
    if channel.kind in (GUILD_VOICE, STAGE):
        return {"bitrate": 64_000, "user_limit": 0, "rtc_region": None}
    if channel.kind in (FORUM, MEDIA):
        return {"available_tags": [], "default_reaction_emoji": None, "default_sort_order": None}
    return {}


def role_payload(role: Role, position: int) -> dict[str, Any]:
    """Return a role of a guild."""
    return {
        "id": str(role.id),
        "name": role.name,
        "permissions": str(int(role.permissions)),
        "position": position,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }


def guild_payload(guild: Guild, world: World) -> dict[str, Any]:
    """Return a guild as GUILD_CREATE has it, with channels, threads and the bot's own membership."""
    roles = [role_payload(role, position) for position, role in enumerate(guild.roles.values())]
    own = guild.members.get(world.bot.id)
    return {
        "id": str(guild.id),
        "name": guild.name,
        "owner_id": str(guild.owner_id),
        "icon": None,
        "roles": roles,
        "emojis": [],
        "stickers": [],
        "features": [],
        "verification_level": 0,
        "default_message_notifications": 1,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "nsfw_level": 0,
        "premium_tier": 0,
        "preferred_locale": "en-US",
        "afk_timeout": 300,
        "system_channel_id": str(guild.channels[0].id) if guild.channels else None,
        "system_channel_flags": 0,
        "member_count": len(guild.members),
        "large": False,
        "joined_at": JOINED_AT,
        "voice_states": [],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
        "members": [member_payload(own)] if own else [],
        "channels": [channel_payload(channel, world) for channel in guild.channels if not channel.is_thread],
        "threads": [channel_payload(channel, world) for channel in _active_threads(guild, world)],
    }


def _active_threads(guild: Guild, world: World) -> list[Channel]:
    """Return the threads that are not archived and that the bot may see."""
    return [
        channel
        for channel in guild.channels
        if channel.is_thread and not channel.is_archived and world.permissions(world.bot, channel)
    ]


def attachment_payload(attachment: Attachment) -> dict[str, Any]:
    payload = {
        "id": str(attachment.id),
        "filename": attachment.filename,
        "size": attachment.size,
        "url": attachment.url,
        "proxy_url": attachment.url,
        "flags": 0,
    }
    extra = {"description": attachment.description, "content_type": attachment.content_type}
    return payload | {key: value for key, value in extra.items() if value is not None}


def message_payload(
    message: Message, world: World, *, is_text_hidden: bool = False, with_reference: bool = True
) -> dict[str, Any]:
    """Return a message; `is_text_hidden` empties what the message-content intent is needed for."""
    payload: dict[str, Any] = {
        "id": str(message.id),
        "channel_id": str(message.channel.id),
        "author": user_payload(message.author),
        "content": "" if is_text_hidden else message.content,
        "components": [] if is_text_hidden else message.components,
        "embeds": [] if is_text_hidden else message.embeds,
        "attachments": [] if is_text_hidden else [attachment_payload(file) for file in message.attachments],
        "timestamp": timestamp(message.created_at),
        "edited_timestamp": timestamp(message.edited_at) if message.edited_at else None,
        "type": message.type,
        "flags": message.flags,
        "tts": False,
        "pinned": False,
        "mention_everyone": False,
        "mention_roles": [],
        "mentions": [user_payload(world.users[user_id]) for user_id in message.mention_ids],
    }
    if message.reactions:
        payload["reactions"] = [
            {
                "emoji": {"id": None, "name": emoji},
                "count": len(user_ids),
                "count_details": {"burst": 0, "normal": len(user_ids)},
                "me": world.bot.id in user_ids,
                "me_burst": False,
                "burst_colors": [],
            }
            for emoji, user_ids in message.reactions.items()
        ]
    if message.nonce is not None:
        payload["nonce"] = message.nonce
    if message.is_from_interaction:
        payload["application_id"] = payload["webhook_id"] = str(world.bot.id)
    if message.interaction_metadata:
        payload["interaction_metadata"] = message.interaction_metadata
    if message.replies_to_id is not None:
        payload["message_reference"] = {
            "type": 0,
            "message_id": str(message.replies_to_id),
            "channel_id": str(message.channel.id),
        } | ({"guild_id": str(message.channel.guild.id)} if message.channel.guild else {})
        original = message.replies_to
        if with_reference and original is not None and not original.is_deleted:
            is_hidden = is_text_hidden or not is_text_readable(original, world)
            payload["referenced_message"] = message_payload(
                original, world, is_text_hidden=is_hidden, with_reference=False
            )
        elif with_reference:
            payload["referenced_message"] = None
    return _spoiled(message.id, payload, world)


def _spoiled(object_id: int, payload: dict[str, Any], world: World) -> Any:
    spoil = world.spoiled.get(object_id)
    return payload if spoil is None else spoil(payload)


def is_text_readable(message: Message, world: World, *, has_intent: bool | None = None) -> bool:
    """Return whether the bot gets the text: with the intent, in direct messages, if it is mentioned, or its own."""
    has_intent = world.is_message_content_granted if has_intent is None else has_intent
    is_direct = message.channel.guild is None
    return has_intent or is_direct or message.author is world.bot or world.bot.id in message.mention_ids


def gateway_message_payload(message: Message, world: World, *, has_intent: bool) -> dict[str, Any]:
    """Return a message as MESSAGE_CREATE and MESSAGE_UPDATE carry it: with guild and member."""
    is_hidden = not is_text_readable(message, world, has_intent=has_intent)
    payload = message_payload(message, world, is_text_hidden=is_hidden) | {"channel_type": message.channel.kind}
    guild = message.channel.guild
    if guild is not None:
        payload["guild_id"] = str(guild.id)
        membership = guild.members.get(message.author.id)
        if membership and not message.is_from_interaction:
            payload["member"] = member_payload(membership, with_user=False)
    return payload


def interaction_channel_payload(channel: Channel, user: User, world: World) -> dict[str, Any]:
    """Return the channel of an interaction, with the permissions of `user` there."""
    return channel_payload(channel, world) | {"permissions": str(world.permissions(user, channel))}


def interaction_member_payload(user: User, channel: Channel, world: World) -> dict[str, Any]:
    """Return a guild member with their permissions in `channel`, as in an interaction."""
    if channel.guild is None:
        raise ValueError("only a guild has members")
    payload = member_payload(channel.guild.members[user.id])
    return payload | {"permissions": str(permissions_of(user, channel.guild, channel))}


def application_payload(world: World) -> dict[str, Any]:
    """Return what GET /applications/@me says."""
    return {
        "id": str(world.bot.id),
        "name": world.bot.name,
        "description": "",
        "icon": None,
        "bot_public": True,
        "bot_require_code_grant": False,
        "owner": user_payload(world.application_owner),
        "verify_key": "0" * 64,
        "flags": GATEWAY_MESSAGE_CONTENT_LIMITED if world.is_message_content_granted else 0,
        "approximate_guild_count": len(world.guilds),
        "integration_types_config": {"0": {}, "1": {}},
        "bot": user_payload(world.bot),
        "team": None,
        "tags": [],
    }
