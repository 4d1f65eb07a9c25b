"""The objects as Slack writes them in JSON."""

from typing import Any

from tests.servers.slack.objects import Channel, File, Installation, Message, Team, User, UserGroup, View

Json = dict[str, Any]


def user_payload(user: User, viewer: Team | None = None) -> Json:
    """Return a user as `viewer` may see them; strangers of Slack Connect show fewer fields."""
    is_stranger = viewer is not None and viewer is not user.team
    payload: Json = {
        "id": user.id,
        "team_id": user.team.id,
        "name": user.name,
        "real_name": user.name.title(),
        "deleted": user.is_deleted,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "updated": 1_700_000_000,
        "profile": {"real_name": user.name.title(), "display_name": user.name, "team": user.team.id},
    }
    if is_stranger:
        return payload | {"is_stranger": True}
    return payload | {
        "is_admin": user.rank in ("admin", "owner"),
        "is_owner": user.rank == "owner",
        "is_primary_owner": False,
        "is_restricted": user.rank in ("guest", "single_channel_guest"),
        "is_ultra_restricted": user.rank == "single_channel_guest",
        "tz": "Europe/London",
        "tz_offset": 0,
        "locale": user.locale,
    }


def group_payload(group: UserGroup) -> Json:
    return {
        "id": group.id,
        "team_id": group.team.id,
        "is_usergroup": True,
        "name": group.handle.title(),
        "handle": group.handle,
        "user_count": len(group.user_ids),
        "date_delete": 0,
    }


def channel_payload(channel: Channel, installation: Installation | None = None) -> Json:
    """Return a conversation, with what the installation's bot is in it."""
    payload: Json = {
        "id": channel.id,
        "created": int(channel.created_at),
        "is_archived": channel.is_archived,
        "is_im": channel.kind == "im",
        "is_org_shared": False,
        "context_team_id": installation.team.id if installation else channel.team.id,
    }
    if channel.kind == "im":
        others = [one for one in channel.member_ids if not installation or one != installation.bot.id]
        return payload | {"user": others[0] if others else "", "is_user_deleted": False, "priority": 0}
    return payload | {
        "name": channel.name,
        "name_normalized": channel.name,
        "is_channel": channel.kind == "public",
        "is_group": channel.kind == "private",
        "is_mpim": channel.kind == "mpim",
        "is_private": channel.kind != "public",
        "is_general": False,
        "is_shared": channel.is_shared,
        "is_ext_shared": channel.is_shared,
        "shared_team_ids": [team.id for team in channel.teams],
        "is_member": installation is None or installation.bot.id in channel.member_ids,
        "num_members": len(channel.member_ids),
        "topic": {"value": "", "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0},
    }


def file_payload(file: File) -> Json:
    return {
        "id": file.id,
        "created": int(file.created_at),
        "timestamp": int(file.created_at),
        "name": file.name,
        "title": file.title,
        "mimetype": file.mimetype,
        "filetype": file.filetype,
        "pretty_type": file.filetype.upper(),
        "user": file.user.id,
        "user_team": file.team.id,
        "size": len(file.content),
        "mode": "hosted",
        "is_external": False,
        "is_public": False,
        "file_access": "visible",
        "alt_txt": file.alt_text or "",
        "url_private": file.url_private,
        "url_private_download": f"{file.url_private}?download=1",
        "channels": list(file.channel_ids),
    }


def _file_in(message: Message, file: File) -> Json:
    """Return a file as a message shows it: of a deleted one something is left, one of another workspace is hidden."""
    if file.is_deleted:
        return {"id": file.id, "mode": "tombstone"}
    if message.channel.is_shared and file.team is not message.channel.team:
        return {"id": file.id, "mode": "file_access", "file_access": "check_file_info", "user": file.user.id}
    return file_payload(file)


def message_payload(message: Message, *, with_metadata: bool = True) -> Json:
    """Return a message as conversations.history and the events show it."""
    payload: Json = {"type": "message", "ts": message.ts, "text": message.text, "team": message.user.team.id}
    payload["user"] = message.user.id
    if message.subtype:
        payload["subtype"] = message.subtype
    if message.client_msg_id:
        payload["client_msg_id"] = message.client_msg_id
    if message.is_tombstone:
        return payload | {"subtype": "tombstone", "hidden": True, "user": "USLACKBOT"} | _thread(message)
    payload["blocks"] = message.blocks or _as_rich_text(message.text)
    if message.user.is_bot:
        payload |= {"bot_id": message.user.bot_id, "app_id": message.user.app_id}
        payload["bot_profile"] = {
            "id": message.user.bot_id,
            "app_id": message.user.app_id,
            "name": message.user.name,
            "deleted": False,
            "team_id": message.user.team.id,
        }
    if message.subtype == "bot_message":
        payload |= {"username": message.user.name}
        del payload["user"]
    if message.attachments:
        payload["attachments"] = message.attachments
    if message.files:
        payload |= {
            "files": [_file_in(message, file) for file in message.files],
            "upload": False,
            "display_as_bot": False,
        }
    if message.edited_ts:
        payload["edited"] = {"user": message.user.id, "ts": message.edited_ts}
    if message.reactions:
        payload["reactions"] = [
            {"name": name, "users": users, "count": len(users)} for name, users in message.reactions.items() if users
        ]
    if message.metadata and with_metadata:
        payload["metadata"] = message.metadata
    if message.is_streaming:
        payload["streaming_state"] = "in_progress"
    return payload | _thread(message)


def _thread(message: Message) -> Json:
    replies = message.channel.replies.get(message.ts, [])
    if message.is_reply:
        parent = message.channel.message(message.thread_ts)
        fields: Json = {"thread_ts": message.thread_ts, "parent_user_id": parent.user.id if parent else "USLACKBOT"}
        if message.subtype == "thread_broadcast" and parent:
            fields["root"] = {"type": "message", "ts": parent.ts, "user": parent.user.id, "text": parent.text}
        return fields
    if not replies:
        return {}
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "reply_users": list(dict.fromkeys(one.user.id for one in replies)),
        "latest_reply": replies[-1].ts,
    }


def _as_rich_text(text: str) -> list[Json]:
    """Return the blocks that Slack makes of a text without any."""
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
    return [{"type": "rich_text", "block_id": "stand-in", "elements": [section]}] if text else []


def channel_type(channel: Channel) -> str:
    return {"public": "channel", "private": "group", "im": "im", "mpim": "mpim"}[channel.kind]


def event_name(channel: Channel) -> str:
    """Return what an app subscribes to for messages of this channel."""
    return {"public": "message.channels", "private": "message.groups", "im": "message.im", "mpim": "message.mpim"}[
        channel.kind
    ]


def view_payload(view: View) -> Json:
    """Return a view as Slack sends it, with its ids and state."""
    installation = view.installation
    return {
        **view.payload,
        "id": view.id,
        "team_id": view.user.team.id,
        "app_id": installation.app.id,
        "app_installed_team_id": installation.team.id,
        "bot_id": installation.bot.bot_id,
        "hash": view.hash,
        "state": {"values": view.values},
        "root_view_id": view.root_id,
        "previous_view_id": view.previous_id,
        "external_id": view.external_id,
    }
