"""The whole state of the stand-in, with the operations that the Web API and the people in tests use."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from tests.servers.slack.clock import Clock
from tests.servers.slack.objects import (
    App,
    Channel,
    ChannelKind,
    Event,
    File,
    Installation,
    Message,
    Rank,
    Team,
    User,
    UserGroup,
    View,
)
from tests.servers.slack.payloads import channel_type, event_name, file_payload, message_payload

APP_MENTION, SLACKBOT = "app_mention", "USLACKBOT"


class World:
    """Workspaces, apps and what happens in them; `tell` hears every event."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tell: Callable[[Event], None] = lambda event: None
        self.base_url = ""
        self.teams: dict[str, Team] = {}
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.apps: dict[str, App] = {}
        self.installations: dict[str, Installation] = {}
        self.files: dict[str, File] = {}
        self.views: dict[str, View] = {}
        self.homes: dict[tuple[str, str], View] = {}
        self.ephemerals: list[Message] = []
        self.statuses: dict[tuple[str, str], dict[str, Any]] = {}
        self.sessions: dict[tuple[str, str], str] = {}
        self.suggested_prompts: dict[str, dict[str, Any]] = {}
        self._last_id = 0
        self._waiters: list[asyncio.Future[None]] = []

    def next_id(self, letter: str) -> str:
        """Return an id of Slack's form, such as U0000000A."""
        self._last_id += 1
        return f"{letter}{self._last_id:08X}"

    # Waiting

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

    # Workspaces, people, apps

    def add_team(self, name: str) -> Team:
        team = Team(self.next_id("T"), name, name.lower().replace(" ", "-"))
        self.teams[team.id] = team
        return team

    def add_user(self, team: Team, name: str, rank: Rank = "member") -> User:
        user = User(self.next_id("U"), team, name, rank)
        team.users[user.id] = self.users[user.id] = user
        return user

    def add_group(self, team: Team, handle: str, users: Iterable[User] = ()) -> UserGroup:
        group = UserGroup(self.next_id("S"), team, handle, [user.id for user in users])
        team.groups[group.id] = group
        return group

    def add_app(self, name: str) -> App:
        app_id = self.next_id("A")
        app = App(app_id, name, f"xapp-1-{app_id}-{self._last_id}-stand-in")
        self.apps[app.id] = app
        return app

    def install(self, app: App, team: Team) -> Installation:
        """Install an app: its bot joins the workspace, but no channel."""
        bot = self.add_user(team, app.name.lower())
        bot.bot_id, bot.app_id = self.next_id("B"), app.id
        token = f"xoxb-{team.id[1:]}-{bot.id[1:]}-stand-in"
        installation = Installation(app, team, bot, token, app.scopes)
        app.installations[team.id] = self.installations[token] = installation
        return installation

    # Conversations

    def add_channel(
        self,
        team: Team,
        name: str,
        users: Iterable[User] = (),
        *,
        kind: ChannelKind = "public",
        shared: Iterable[Team] = (),
    ) -> Channel:
        """Open a channel with `users` in it; `shared` are the other workspaces of a Slack Connect channel."""
        channel = Channel(self.next_id("C"), kind, name, [team, *shared], created_at=self.clock.now())
        channel.member_ids = {user.id for user in users}
        self.channels[channel.id] = channel
        for one in channel.teams:
            one.channels[channel.id] = channel
        return channel

    def direct_channel(self, users: Iterable[User]) -> Channel:
        """Return the direct conversation of these users; open it if there is none."""
        members = list(users)
        ids = {user.id for user in members}
        kind: ChannelKind = "im" if len(ids) <= 2 else "mpim"
        for channel in self.channels.values():
            if channel.kind == kind and channel.member_ids == ids:
                return channel
        channel = Channel(self.next_id("D" if kind == "im" else "G"), kind, "", [members[0].team])
        channel.created_at, channel.member_ids = self.clock.now(), ids
        if kind == "mpim":
            channel.name = f"mpdm-{'--'.join(sorted(user.name for user in members))}-1"
        self.channels[channel.id] = channel.team.channels[channel.id] = channel
        return channel

    def join(self, channel: Channel, user: User, inviter: User | None = None) -> None:
        channel.member_ids.add(user.id)
        data = {"type": "member_joined_channel", "user": user.id, "channel": channel.id}
        data |= {"channel_type": "C" if channel.kind == "public" else "G", "team": user.team.id}
        data |= {"inviter": inviter.id} if inviter else {}
        self.tell(Event("member_joined_channel", data | {"event_ts": self.clock.next_ts()}, channel.team, channel))

    def leave(self, channel: Channel, user: User) -> None:
        channel.member_ids.discard(user.id)
        self.touch()

    def delete_channel(self, channel: Channel) -> None:
        """Delete a channel: the apps that were in it hear of it."""
        inside = [app for app in self.apps.values() if self.bot_in(app, channel)]
        channel.is_deleted = True
        del self.channels[channel.id]
        for team in channel.teams:
            del team.channels[channel.id]
        name = "group_deleted" if channel.kind == "private" else "channel_deleted"
        data = {"type": name, "channel": channel.id, "event_ts": self.clock.next_ts()}
        self.tell(Event(name, data, channel.team, only=tuple(inside)))

    def bot_in(self, app: App, channel: Channel) -> Installation | None:
        """Return the installation whose bot is in the channel, if any."""
        for team in channel.teams:
            installation = app.installations.get(team.id)
            if installation and installation.bot.id in channel.member_ids:
                return installation
        return None

    # Messages

    def post(self, message: Message) -> Message:
        """Add `message` to its channel and send its events; an ephemeral one stays out of the channel."""
        message.versions.append((time.monotonic(), message.text))
        if message.ephemeral_for is not None:
            self.ephemerals.append(message)
            self.touch()
            return message
        message.channel.messages.append(message)
        if message.is_reply:
            message.channel.replies.setdefault(str(message.thread_ts), []).append(message)
        if message.user.is_bot:
            self.statuses.pop((message.channel.id, message.thread_ts or message.ts), None)
        channel = message.channel
        event = message_payload(message) | self._where(message)
        self.tell(Event(event_name(channel), event, channel.team, channel))
        self._tell_mentioned(message, event)
        self.touch()
        return message

    def _tell_mentioned(self, message: Message, event: dict[str, Any]) -> None:
        if message.channel.kind == "im" or message.subtype not in (None, "file_share", "thread_broadcast"):
            return
        mentioned = set(re.findall(r"<@(\w+)(?:\|[^>]*)?>", message.text))
        for app in self.apps.values():
            installation = self.bot_in(app, message.channel)
            if installation and installation.bot.id in mentioned and message.user is not installation.bot:
                data = {key: value for key, value in event.items() if key not in ("channel_type", "subtype")}
                only = (app,)
                self.tell(Event(APP_MENTION, data | {"type": APP_MENTION}, message.channel.team, message.channel, only))

    def _where(self, message: Message) -> dict[str, Any]:
        channel = message.channel
        where = {"channel": channel.id, "channel_type": channel_type(channel), "event_ts": message.ts}
        if channel.is_shared:
            where |= {"user_team": message.user.team.id, "source_team": message.user.team.id}
        return where

    def changed(self, message: Message, before: dict[str, Any], *, is_edit: bool = True) -> None:
        """Send the event that `message` was changed; `before` is its payload from before."""
        if is_edit:
            message.edited_ts = self.clock.next_ts()
        message.changed_at = time.monotonic()
        message.versions.append((message.changed_at, message.text))
        if message.ephemeral_for is None:
            data = {"message": message_payload(message), "previous_message": before}
            self._tell_hidden(message, "message_changed", data)
        self.touch()

    def unfurl(self, message: Message) -> None:
        """Show a link's preview, as Slack does a moment after a message: a change that changes no text."""
        before = message_payload(message)
        message.attachments = [{"id": 1, "fallback": "Example", "title": "Example", "from_url": "https://example.com/"}]
        self.changed(message, before, is_edit=False)

    def delete(self, message: Message) -> None:
        """Delete a message; one that has replies stays as a tombstone, told as a change."""
        before = message_payload(message)
        message.changed_at = time.monotonic()
        if message in self.ephemerals:
            self.ephemerals.remove(message)
            message.is_deleted = True
            self.touch()
            return
        if message.channel.replies.get(message.ts):
            message.is_tombstone, message.is_deleted = True, True
            message.text, message.blocks = "This message was deleted.", []
            self._tell_hidden(
                message, "message_changed", {"message": message_payload(message), "previous_message": before}
            )
        else:
            message.is_deleted = True
            message.channel.messages.remove(message)
            if message.is_reply:
                message.channel.replies[str(message.thread_ts)].remove(message)
            self._tell_hidden(message, "message_deleted", {"deleted_ts": message.ts, "previous_message": before})
        self.touch()

    def _tell_hidden(self, message: Message, subtype: str, data: dict[str, Any]) -> None:
        """Send a message event about another message."""
        channel, ts = message.channel, self.clock.next_ts()
        event = {"type": "message", "subtype": subtype, "hidden": True, "ts": ts, "event_ts": ts} | data
        event |= {"channel": channel.id, "channel_type": channel_type(channel)}
        self.tell(Event(event_name(channel), event, channel.team, channel))

    def react(self, message: Message, user: User, name: str, *, is_added: bool) -> None:
        users = message.reactions.setdefault(name, [])
        if is_added:
            users.append(user.id)
        else:
            users.remove(user.id)
        kind = "reaction_added" if is_added else "reaction_removed"
        item = {"type": "message", "channel": message.channel.id, "ts": message.ts}
        data = {"type": kind, "user": user.id, "reaction": name, "item_user": message.user.id, "item": item}
        event = data | {"event_ts": self.clock.next_ts()}
        self.tell(Event(kind, event, message.channel.team, message.channel))
        self.touch()

    # Files

    def add_file(self, user: User, name: str, content: bytes, *, alt_text: str | None = None) -> File:
        """Store an uploaded file."""
        file = self.expect_file(user, name, len(content), alt_text=alt_text)
        file.content, file.is_uploaded, file.is_complete = content, True, True
        return file

    def expect_file(self, user: User, name: str, length: int, *, alt_text: str | None = None) -> File:
        """Make room for a file whose bytes come later."""
        file = File(self.next_id("F"), user.team, user, name, name, length, alt_text=alt_text)
        safe_name = re.sub(r"[^A-Za-z0-9._-]", "_", name).lower()
        file.url_private = f"{self.base_url}/files-pri/{user.team.id}-{file.id}/{safe_name}"
        file.created_at = self.clock.now()
        self.files[file.id] = file
        return file

    def share(self, files: list[File], channel: Channel, user: User, text: str, thread_ts: str | None) -> Message:
        """Post a message with files."""
        for file in files:
            file.channel_ids.append(channel.id)
            data = {"type": "file_shared", "file_id": file.id, "user_id": user.id, "channel_id": channel.id}
            data |= {"file": {"id": file_payload(file)["id"]}, "event_ts": self.clock.next_ts()}
            self.tell(Event("file_shared", data, channel.team, channel))
        message = Message(self.clock.next_ts(), channel, user, text, files=files, thread_ts=thread_ts)
        message.subtype = "file_share"
        return self.post(message)

    # Endings

    def uninstall(self, installation: Installation) -> None:
        """Take an app out of a workspace: its token ends, and it hears so."""
        team, app = installation.team, installation.app
        installation.state = "uninstalled"
        self.revoke(installation)
        self.tell(Event("app_uninstalled", {"type": "app_uninstalled"}, team, only=(app,)))

    def revoke(self, installation: Installation) -> None:
        """Revoke an installation's token."""
        if installation.state == "active":
            installation.state = "revoked"
        tokens = {"oauth": [], "bot": [installation.bot.id]}
        data = {"type": "tokens_revoked", "tokens": tokens, "event_ts": self.clock.next_ts()}
        self.tell(Event("tokens_revoked", data, installation.team, only=(installation.app,)))
