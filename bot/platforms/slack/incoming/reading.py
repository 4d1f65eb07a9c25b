"""From Slack's events to Message and Scope."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bot.core.messages import DIRECT_MESSAGES, Author, Message, PlaceKind, Scope
from bot.core.safe_text import clean_name
from bot.platforms.shared.attached_files import AttachedFile
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.traits import SLACK
from bot.platforms.slack.workspaces import Workspace

Json = Mapping[str, Any]

# The subtypes of messages in which a person says something.
_SAID: Final = (None, "file_share", "thread_broadcast", "me_message")
_HIDDEN: Final = "check_file_info"
_MARKUP: Final = re.compile(r"<(?P<sign>[@#!]?)(?P<target>[^<>|]*)(?:\|(?P<label>[^<>]*))?>")
_ENTITIES: Final = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}
_ENTITY: Final = re.compile("&(?:lt|gt|amp);")


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said: the message of an event, before its author and its thread are known.

    Of `hidden_file_ids` only the ids are known: the files are of another workspace.
    """

    id: SlackId
    user_id: str
    text: str
    thread_ts: str
    parent_user_id: str
    kind: PlaceKind
    files: tuple[AttachedFile, ...]
    hidden_file_ids: tuple[str, ...] = ()

    @property
    def is_in_thread(self) -> bool:
        """Say whether this is a reply in a thread."""
        return self.thread_ts not in ("", self.id.ts)


def read_said(event: Json, workspace: Workspace, *, channel: str = "", channel_type: str = "") -> Said | None:
    """Return what a person said with `event`, or with a message of a history; None for anything else.

    `channel` and `channel_type` are those of a message that does not name them.
    """
    if event.get("subtype") not in _SAID or event.get("bot_id") or event.get("hidden"):
        return None
    user_id, ts = event.get("user"), event.get("ts")
    channel = str(event.get("channel") or channel)
    if not (isinstance(user_id, str) and user_id and isinstance(ts, str) and channel) or user_id == workspace.user_id:
        return None
    channel_type = str(event.get("channel_type") or channel_type)
    files = present_files(event)
    return Said(
        id=SlackId(workspace.team, channel, ts),
        user_id=user_id,
        text=str(event.get("text") or ""),
        thread_ts=str(event.get("thread_ts") or ""),
        parent_user_id=str(event.get("parent_user_id") or ""),
        kind=kind_of(channel, channel_type=channel_type),
        files=tuple(read_file(file) for file in files if file.get("file_access") != _HIDDEN),
        hidden_file_ids=tuple(str(file.get("id")) for file in files if file.get("file_access") == _HIDDEN),
    )


def present_files(event: Json) -> list[Json]:
    """Return the files of a message without those that were deleted, of which something is left."""
    files = [file for file in event.get("files") or () if isinstance(file, dict)]
    return [file for file in files if file.get("mode") != "tombstone"]


def deleted_ts_of(event: Json) -> str:
    """Return the time of the message that was deleted with `event`, "" for any other event."""
    if event.get("subtype") == "message_deleted":
        return str(event.get("deleted_ts") or "")
    changed = event.get("message") if event.get("subtype") == "message_changed" else None
    # What is left of a deleted message with replies.
    is_left = isinstance(changed, dict) and changed.get("subtype") == "tombstone"
    return str(changed.get("ts") or "") if is_left and changed else ""


def kind_of(channel: str, *, channel_type: str = "", name: str = "") -> PlaceKind:
    """Return what kind of place a channel is, by the type that an event says, or by the channel's name."""
    if channel.startswith("D") or channel_type == "im":
        return "direct"
    return "group" if channel_type == "mpim" or name.startswith("mpdm-") else "server"


def scope_at(address: Address, kind: PlaceKind) -> Scope:
    """Return the conversation at `address`."""
    server = address.team if kind == "server" else DIRECT_MESSAGES
    return Scope(SLACK.key, server, address.channel, address.thread, kind=kind)


def scope_of(said: Said, *, is_for_bot: bool) -> Scope:
    """Return the conversation that a message belongs to; one for the bot begins a thread in a channel."""
    thread = said.thread_ts if said.is_in_thread else ""
    if not thread and is_for_bot and said.kind != "direct":
        thread = said.id.ts
    return scope_at(Address(said.id.team, said.id.channel, thread), said.kind)


def mentions_bot(text: str, workspace: Workspace) -> bool:
    """Say whether `text` mentions the bot."""
    return re.search(rf"<@{workspace.user_id}(?:\|[^<>]*)?>", text) is not None


def mentioned_ids(text: str) -> list[str]:
    """Return the ids of the people whom `text` mentions, each once, in order."""
    found = (match["target"] for match in _MARKUP.finditer(text) if match["sign"] == "@")
    return list(dict.fromkeys(found))


def message_of(said: Said, author: Author, *, text: str, is_addressed: bool, is_command: bool = False) -> Message:
    """Return the message that `said` is, with `text` as `plain_text` returned it."""
    return Message(
        id=str(said.id),
        scope=scope_of(said, is_for_bot=is_addressed or is_command),
        author=author,
        text=text,
        has_file=any(file.is_text for file in said.files) or bool(said.hidden_file_ids),
        picture_ids=picture_ids_of(said),
        is_addressed=is_addressed,
        created_at_utc=time_of(said.id.ts),
        # An answer can be shown to the asker alone, anywhere.
        reach="private",
    )


def picture_ids_of(said: Said) -> tuple[str, ...]:
    """Return the ids of the pictures of a message, as far as its files are described."""
    return tuple(file.id for file in said.files if file.is_picture)


def time_of(ts: str) -> datetime:
    """Return the time of a message."""
    return datetime.fromtimestamp(float(ts), UTC)


def plain_text(text: str, workspace: Workspace, *, command_prefix: str, name_of: Callable[[str], str]) -> str:
    """Return `text` as people read it: without mentions of the bot at its start and end, names instead of ids.

    A command keeps mentions as Slack sends them, since they may be its options, but not the names in them.
    """
    mention = rf"<@{workspace.user_id}(?:\|[^<>]*)?>"
    text = re.sub(rf"\A\s*(?:{mention}(?:[,:](?=\s))?\s*)+", "", text)
    if text.startswith(command_prefix) and text[len(command_prefix) :][:1].isalpha():
        return _unescape(_MARKUP.sub(_bare, text))
    text = re.sub(rf"(?:\s*{mention})+\s*\Z", "", text)
    return _unescape(_MARKUP.sub(lambda found: _shown(found, name_of), text))


def _bare(found: re.Match[str]) -> str:
    return f"<{found['sign']}{found['target']}>" if found["sign"] else _link(found)


def _shown(found: re.Match[str], name_of: Callable[[str], str]) -> str:
    sign, target, label = found["sign"], found["target"], found["label"]
    if sign == "@":
        return f"@{clean_name(name_of(target) or label or '')}"
    if sign == "#":
        return f"#{clean_name(label or 'channel')}"
    if sign == "!":
        if target.startswith("subteam^"):
            return label or "@group"
        return label or f"@{target.partition('^')[0]}"
    return _link(found)


def _link(found: re.Match[str]) -> str:
    """Return the address of a link, behind its label if that says something else."""
    target, label = found["target"], found["label"]
    address = target.removeprefix("mailto:")
    return (
        address if not label or label in (target, address) or target.endswith(f"//{label}") else f"{label} ({address})"
    )


def _unescape(text: str) -> str:
    return _ENTITY.sub(lambda found: _ENTITIES[found[0]], text)


def read_file(file: Json) -> AttachedFile:
    """Return a file of an event or of a submitted modal."""
    url = str(file.get("url_private_download") or file.get("url_private") or "")
    name, kind, file_id = (str(file.get(key) or "") for key in ("name", "mimetype", "id"))
    return AttachedFile(name, kind, int(file.get("size") or 0), url, file_id)
