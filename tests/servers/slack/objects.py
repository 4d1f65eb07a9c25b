"""The objects of the stand-in: workspaces, people, apps, conversations, messages, files, views."""

import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any, Literal

ChannelKind = Literal["public", "private", "im", "mpim"]
Rank = Literal["member", "admin", "owner", "guest", "single_channel_guest"]

# Every scope that a method of the stand-in asks for, and those that only events need.
ALL_SCOPES = frozenset(
    f"{kind}:{what}" for kind in ("channels", "groups", "im", "mpim") for what in ("history", "read")
) | frozenset(
    {
        "app_mentions:read",
        "assistant:write",
        "channels:join",
        "chat:write",
        "commands",
        "files:read",
        "files:write",
        "im:write",
        "mpim:write",
        "reactions:read",
        "reactions:write",
        "team:read",
        "usergroups:read",
        "users:read",
    }
)


@dataclass(eq=False)
class Team:
    """A workspace."""

    id: str
    name: str
    domain: str
    users: dict[str, "User"] = field(default_factory=dict)
    channels: dict[str, "Channel"] = field(default_factory=dict)
    groups: dict[str, "UserGroup"] = field(default_factory=dict)


@dataclass(eq=False)
class User:
    """An account of one workspace; a bot has the id of its app's bot in `bot_id`."""

    id: str
    team: Team
    name: str
    rank: Rank = "member"
    bot_id: str | None = None
    app_id: str | None = None
    is_deleted: bool = False
    locale: str = "en-US"

    @property
    def is_bot(self) -> bool:
        return self.bot_id is not None

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"


@dataclass(eq=False)
class UserGroup:
    """A user group, such as @moderators."""

    id: str
    team: Team
    handle: str
    user_ids: list[str] = field(default_factory=list)


@dataclass(eq=False)
class App:
    """A Slack app: its app-level token, and what its manifest declares (None: everything).

    `commands` are slash commands with their slash; `shortcuts` maps a name to (message or global, callback_id).
    """

    id: str
    name: str
    app_token: str
    scopes: frozenset[str] = ALL_SCOPES
    events: frozenset[str] | None = None
    commands: frozenset[str] | None = None
    shortcuts: dict[str, tuple[str, str]] | None = None
    is_socket_mode_on: bool = True
    is_interactive: bool = True
    has_home_tab: bool = True
    has_messages_tab: bool = True
    app_token_scopes: frozenset[str] = frozenset({"connections:write"})
    installations: dict[str, "Installation"] = field(default_factory=dict)


@dataclass(eq=False)
class Installation:
    """An app in a workspace, with its bot user and token."""

    app: App
    team: Team
    bot: User
    bot_token: str
    scopes: frozenset[str]
    state: Literal["active", "revoked", "uninstalled"] = "active"


@dataclass(eq=False)
class Channel:
    """A conversation. One shared by Slack Connect has several `teams`; the first is its host.

    `messages` are in order; `replies` has those of threads once more, by the ts of their parent.
    """

    id: str
    kind: ChannelKind
    name: str
    teams: list[Team]
    member_ids: set[str] = field(default_factory=set)
    messages: list["Message"] = field(default_factory=list)
    replies: dict[str, list["Message"]] = field(default_factory=dict)
    is_archived: bool = False
    is_deleted: bool = False
    created_at: float = 0.0

    @property
    def team(self) -> Team:
        return self.teams[0]

    @property
    def is_shared(self) -> bool:
        return len(self.teams) > 1

    def message(self, ts: str | None) -> "Message | None":
        """Return the message with that ts, if there is one."""
        # ts are unique and rise.
        if ts is None or not ts.replace(".", "", 1).isdigit():
            return None
        index = bisect_left(self.messages, float(ts), key=lambda one: float(one.ts))
        found = self.messages[index] if index < len(self.messages) else None
        return found if found is not None and found.ts == ts else None


@dataclass(eq=False)
class File:
    """A file; it can be read once its upload is complete."""

    id: str
    team: Team
    user: User
    name: str
    title: str
    length: int
    content: bytes = b""
    alt_text: str | None = None
    is_uploaded: bool = False
    is_complete: bool = False
    is_deleted: bool = False
    channel_ids: list[str] = field(default_factory=list)
    url_private: str = ""
    created_at: float = 0.0

    @property
    def filetype(self) -> str:
        return self.name.rpartition(".")[2].lower() if "." in self.name else "text"

    @property
    def mimetype(self) -> str:
        images = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif"}
        return images.get(self.filetype, "text/plain" if self.filetype in ("txt", "text", "md") else "application/json")


@dataclass(eq=False)
class Message:
    """A message as everyone (or only `ephemeral_for`) sees it now; `versions` holds (time, text) of each state."""

    ts: str
    channel: Channel
    user: User
    text: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    thread_ts: str | None = None
    subtype: str | None = None
    client_msg_id: str | None = None
    app_id: str | None = None
    metadata: dict[str, Any] | None = None
    ephemeral_for: User | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)
    edited_ts: str | None = None
    is_deleted: bool = False
    is_tombstone: bool = False
    is_streaming: bool = False
    stream_started_at: float = 0.0
    markdown: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    changed_at: float = field(default_factory=time.monotonic)
    versions: list[tuple[float, str]] = field(default_factory=list)

    @property
    def is_reply(self) -> bool:
        return self.thread_ts is not None and self.thread_ts != self.ts

    @property
    def is_in_channel(self) -> bool:
        """Return whether it shows in the channel itself: no reply in a thread, or one sent to the channel too."""
        return not self.is_reply or self.subtype == "thread_broadcast"


@dataclass(eq=False)
class View:
    """A modal or a Home tab; `errors` maps a block_id to what was wrong with the last submission."""

    id: str
    installation: Installation
    user: User
    payload: dict[str, Any]
    hash: str
    root_id: str = ""
    previous_id: str | None = None
    external_id: str = ""
    is_open: bool = True
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return str(self.payload["type"])

    @property
    def title(self) -> str:
        return str(self.payload.get("title", {}).get("text", ""))


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the Events API; `name` is what an app subscribes to, as "message.im" for a message in a DM.

    Every app in `team` gets it, or those of `only`; with a channel only those whose bot is in it.
    """

    name: str
    data: dict[str, Any]
    team: Team
    channel: Channel | None = None
    only: tuple[App, ...] | None = None
