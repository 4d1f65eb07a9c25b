"""The objects of the stand-in: users, guilds, channels, messages, commands; one listener is told every change."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.servers.discord.permissions import ALL, EVERYONE, Permission, permissions_of

EPOCH_MS = 1_420_070_400_000
GUILD_TEXT, DM, GUILD_VOICE, GROUP_DM, ANNOUNCEMENT, STAGE, FORUM, MEDIA = 0, 1, 2, 3, 5, 13, 15, 16
ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD = 10, 11, 12
SUPPRESS_EMBEDS, EPHEMERAL, LOADING, IS_COMPONENTS_V2 = 1 << 2, 1 << 6, 1 << 7, 1 << 15


@dataclass(eq=False)
class User:
    """An account. `has_installed`: the app, for themselves; `has_closed_dms`: the bot can't write to them."""

    id: int
    name: str
    is_bot: bool = False
    has_installed: bool = False
    has_closed_dms: bool = False
    locale: str = "en-US"


@dataclass(eq=False)
class Role:
    """A named set of permission bits; a guild's role for everyone has the guild's id."""

    id: int
    name: str
    permissions: int


@dataclass(eq=False)
class Membership:
    """A user's place in a guild."""

    user: User
    role_ids: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Attachment:
    """A file attached to a message; its bytes are served under `url`."""

    id: int
    filename: str
    size: int
    url: str
    description: str | None = None
    content_type: str | None = None


@dataclass(eq=False)
class Channel:
    """A channel of any kind, thread, direct channel or group. `overwrites` maps a role's or user's id to (allow, deny).

    `slow_s` is its slow mode. A thread has members; a locked one is for those who manage threads.
    """

    id: int
    kind: int
    name: str
    guild: "Guild | None" = None
    parent: "Channel | None" = None
    recipients: list[User] = field(default_factory=list)
    overwrites: dict[int, tuple[int, int]] = field(default_factory=dict)
    messages: list["Message"] = field(default_factory=list)
    owner_id: int = 0
    slow_s: int = 0
    is_archived: bool = False
    is_locked: bool = False
    member_ids: set[int] = field(default_factory=set)
    said_at: dict[int, float] = field(default_factory=dict)

    @property
    def is_thread(self) -> bool:
        return self.kind in (ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD)


@dataclass(eq=False)
class Guild:
    """A server with its roles, members, channels and threads."""

    id: int
    name: str
    owner_id: int
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Membership] = field(default_factory=dict)
    channels: list[Channel] = field(default_factory=list)

    def channel(self, name: str) -> Channel:
        """Return the channel or thread named `name`."""
        for channel in self.channels:
            if channel.name == name:
                return channel
        raise LookupError(f"{self.name} has no channel {name!r}")


@dataclass(eq=False)
class Message:
    """A message as everyone (or only `ephemeral_for`) sees it now; `versions` holds (time, text) of each state."""

    id: int
    channel: Channel
    author: User
    content: str = ""
    flags: int = 0
    type: int = 0
    components: list[dict[str, Any]] = field(default_factory=list)
    embeds: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    replies_to: "Message | None" = None
    replies_to_id: int | None = None
    mention_ids: list[int] = field(default_factory=list)
    reactions: dict[str, list[int]] = field(default_factory=dict)
    nonce: str | None = None
    interaction_metadata: dict[str, Any] | None = None
    is_from_interaction: bool = False
    ephemeral_for: User | None = None
    created_at: float = field(default_factory=time.time)
    edited_at: float | None = None
    is_deleted: bool = False
    changed_at: float = field(default_factory=time.monotonic)
    versions: list[tuple[float, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    """An event for the gateway; `message` is set if its text may have to be hidden."""

    name: str
    data: dict[str, Any]
    channel: Channel | None = None
    guild: Guild | None = None
    message: Message | None = None


class World:
    """The whole state, with the operations that REST and the people in tests use."""

    def __init__(self, *, bot_name: str = "Fewshot", file_base: str = "") -> None:
        self._last_id = 0
        self._waiters: list[asyncio.Future[None]] = []
        self.tell: Callable[[Event], None] = lambda event: None
        # Whether a bot in this process has read every event and has no work left; who can't know that waits a moment.
        self.is_bot_at_rest: Callable[[], bool] = lambda: False
        self.file_base = file_base
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.messages: dict[int, Message] = {}
        self.files: dict[str, bytes] = {}
        self.commands: dict[int | None, list[dict[str, Any]]] = {None: []}
        # How the payload of an object is spoiled before it is sent, by its id.
        self.spoiled: dict[int, Callable[[dict[str, Any]], Any]] = {}
        self.typings: list[tuple[Channel, float]] = []
        self.bot = self.add_user(bot_name, is_bot=True)
        self.application_owner = self.add_user("application_owner")
        self.is_message_content_granted = True
        # Discord documents that slow mode is not for bots; some have met it all the same.
        self.slows_bots = False

    def next_id(self) -> int:
        """Return a snowflake for the present time, larger than all earlier ones."""
        self._last_id = max(self._last_id + 1, (int(time.time() * 1000) - EPOCH_MS) << 22)
        return self._last_id

    def touch(self) -> None:
        """Wake everyone who waits for a change."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_until(self, is_true: Callable[[], Any], timeout: float, what: str | Callable[[], str]) -> Any:
        """Wait until `is_true` returns something true, and return that. Raises AssertionError that names `what`."""
        end = time.monotonic() + timeout
        while not (result := is_true()):
            if time.monotonic() >= end:
                raise AssertionError(f"waited {timeout:g} s in vain for {what if isinstance(what, str) else what()}")
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            # Some conditions become true by time alone, so the wait is short.
            await asyncio.wait([waiter], timeout=min(0.05, max(end - time.monotonic(), 0.001)))
        return result

    def add_user(self, name: str, *, is_bot: bool = False, has_installed: bool = False, locale: str = "en-US") -> User:
        user = User(self.next_id(), name, is_bot=is_bot, has_installed=has_installed, locale=locale)
        self.users[user.id] = user
        return user

    def add_guild(
        self,
        name: str,
        channels: Iterable[str] = ("general",),
        *,
        bot_permissions: int = EVERYONE,
        is_bot_member: bool = True,
        everyone: int = EVERYONE,
    ) -> Guild:
        """Create a guild with an owner and text channels; the bot joins it with a role of its own."""
        owner = self.add_user(f"{name} owner")
        guild = Guild(self.next_id(), name, owner.id)
        guild.roles[guild.id] = Role(guild.id, "@everyone", everyone if is_bot_member else EVERYONE)
        self.guilds[guild.id] = guild
        guild.members[owner.id] = Membership(owner)
        for channel_name in channels:
            self._add(Channel(self.next_id(), GUILD_TEXT, channel_name, guild))
        if is_bot_member:
            self.let_bot_join(guild, bot_permissions)
        return guild

    def let_bot_join(self, guild: Guild, permissions: int = EVERYONE) -> None:
        role = self.add_role(guild, self.bot.name, permissions)
        guild.members[self.bot.id] = Membership(self.bot, [role.id])
        self.tell(Event("GUILD_CREATE", {}, guild=guild))
        self.touch()

    def let_bot_leave(self, guild: Guild) -> None:
        """Take the bot out of the guild, as a kick does."""
        del guild.members[self.bot.id]
        self.tell(Event("GUILD_DELETE", {"id": str(guild.id)}, guild=guild))
        self.touch()

    def join(self, guild: Guild, user: User, *, permissions: int = 0, roles: Iterable[int] = ()) -> None:
        """Let `user` join, with a role of their own when `permissions` are given."""
        role_ids = [*roles, *([self.add_role(guild, user.name, int(permissions)).id] if permissions else [])]
        guild.members[user.id] = Membership(user, role_ids)

    def add_role(self, guild: Guild, name: str, permissions: int = 0) -> Role:
        role = Role(self.next_id(), name, permissions)
        guild.roles[role.id] = role
        self.tell(Event("GUILD_ROLE_CREATE", {"role_id": role.id}, guild=guild))
        return role

    def add_channel(
        self, guild: Guild, name: str, overwrites: dict[int, tuple[int, int]] | None = None, *, kind: int = GUILD_TEXT
    ) -> Channel:
        channel = self._add(Channel(self.next_id(), kind, name, guild, overwrites=overwrites or {}))
        self.tell(Event("CHANNEL_CREATE", {}, channel=channel, guild=guild))
        return channel

    def set_overwrite(self, channel: Channel, target: User | Role, *, allow: int = 0, deny: int = 0) -> None:
        channel.overwrites[target.id] = (int(allow), int(deny))
        self.tell(Event("CHANNEL_UPDATE", {}, channel=channel, guild=channel.guild))

    def delete_channel(self, channel: Channel) -> None:
        if channel.guild:
            channel.guild.channels.remove(channel)
        del self.channels[channel.id]
        name = "THREAD_DELETE" if channel.is_thread else "CHANNEL_DELETE"
        self.tell(Event(name, {}, channel=channel, guild=channel.guild))

    def add_thread(
        self, parent: Channel, name: str, owner: User, message: Message | None = None, *, is_private: bool = False
    ) -> Channel:
        """Open a thread; one on a message has the message's id."""
        public = ANNOUNCEMENT_THREAD if parent.kind == ANNOUNCEMENT else PUBLIC_THREAD
        kind = PRIVATE_THREAD if is_private else public
        thread = Channel(message.id if message else self.next_id(), kind, name, parent.guild, parent)
        thread.owner_id = owner.id
        thread.member_ids.add(owner.id)
        self._add(thread)
        self.tell(Event("THREAD_CREATE", {"newly_created": True}, channel=thread, guild=thread.guild))
        return thread

    def dm_channel(self, user: User) -> Channel:
        """Return the direct channel between the bot and `user`; create it if there is none."""
        for channel in self.channels.values():
            if channel.kind == DM and channel.recipients == [user]:
                return channel
        return self._add(Channel(self.next_id(), DM, "", recipients=[user]))

    def add_group(self, name: str, users: Iterable[User]) -> Channel:
        """Create a group of people without the bot: only commands of a user install work there."""
        return self._add(Channel(self.next_id(), GROUP_DM, name, recipients=list(users)))

    def _add(self, channel: Channel) -> Channel:
        self.channels[channel.id] = channel
        if channel.guild:
            channel.guild.channels.append(channel)
        return channel

    def permissions(self, user: User, channel: Channel) -> int:
        """Return what `user` may do in `channel`: everything in a direct channel of theirs."""
        if channel.guild:
            bits = permissions_of(user, channel.guild, channel)
            is_hidden = channel.kind == PRIVATE_THREAD and user.id not in channel.member_ids
            return 0 if is_hidden and not bits & Permission.MANAGE_THREADS else bits
        is_inside = user in channel.recipients or (channel.kind == DM and user is self.bot)
        return ALL & ~int(Permission.MANAGE_MESSAGES) if is_inside else 0

    def can_see(self, user: User, message: Message) -> bool:
        if message.is_deleted or message.channel.id not in self.channels:
            return False
        if message.ephemeral_for is not None:
            return message.ephemeral_for is user
        return bool(self.permissions(user, message.channel) & Permission.VIEW_CHANNEL)

    def add_file(self, channel: Channel, filename: str, content: bytes, description: str | None = None) -> Attachment:
        attachment_id = self.next_id()
        safe_name = re.sub(r"[^A-Za-z0-9._-]", "_", filename)
        path = f"/attachments/{channel.id}/{attachment_id}/{safe_name}"
        self.files[path] = content
        url = self.file_base + path
        kinds = {"txt": "text/plain; charset=utf-8", "png": "image/png", "jpg": "image/jpeg", "heic": "image/heic"}
        kind = kinds.get(safe_name.rpartition(".")[2])
        return Attachment(attachment_id, safe_name, len(content), url, description, kind)

    def post(self, message: Message) -> Message:
        """Add `message` to its channel and send its event; an ephemeral one stays out of the channel's history."""
        self.messages[message.id] = message
        message.versions.append((time.monotonic(), message.content))
        if message.ephemeral_for is None:
            message.channel.messages.append(message)
            self.tell(Event("MESSAGE_CREATE", {}, message.channel, message.channel.guild, message))
        self.touch()
        return message

    def edited(self, message: Message) -> None:
        """Send the event that `message` was changed."""
        message.edited_at = time.time()
        message.changed_at = time.monotonic()
        message.versions.append((message.changed_at, message.content))
        if message.ephemeral_for is None:
            self.tell(Event("MESSAGE_UPDATE", {}, message.channel, message.channel.guild, message))
        self.touch()

    def unfurl(self, message: Message) -> None:
        """Show a link's embed, as Discord does a moment after a message: an update that changes no text."""
        message.embeds = [{"type": "link", "url": "https://example.com/", "title": "Example"}]
        self.tell(Event("MESSAGE_UPDATE", {}, message.channel, message.channel.guild, message))

    def delete(self, *messages: Message) -> None:
        """Delete messages of one channel: two or more in one bulk event."""
        channel = messages[0].channel
        for message in messages:
            message.is_deleted = True
            message.changed_at = time.monotonic()
            if message in channel.messages:
                channel.messages.remove(message)
        where = {"channel_id": str(channel.id)} | ({"guild_id": str(channel.guild.id)} if channel.guild else {})
        if len(messages) > 1:
            ids = {"ids": [str(message.id) for message in messages]}
            self.tell(Event("MESSAGE_DELETE_BULK", where | ids, channel, channel.guild))
        elif messages[0].ephemeral_for is None:
            self.tell(Event("MESSAGE_DELETE", where | {"id": str(messages[0].id)}, channel, channel.guild))
        self.touch()
