"""Starting and stopping the stand-in, and questions about what happened in it."""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.servers.slack import (
    methods_chat,
    methods_conversations,
    methods_files,
    methods_people,
    methods_streams,
    methods_views,
)
from tests.servers.slack.clock import Clock
from tests.servers.slack.errors import NotOffered
from tests.servers.slack.faults import FaultPlan
from tests.servers.slack.interactions import Interaction, Interactions, Triggers
from tests.servers.slack.manifest import manifest_findings, take_manifest
from tests.servers.slack.methods_streams import STREAM_LIFE_S
from tests.servers.slack.objects import App, Channel, Installation, Message, Rank, Team, User, View
from tests.servers.slack.pacing import Pacing
from tests.servers.slack.people import Person
from tests.servers.slack.reading import visible_text
from tests.servers.slack.sockets import Sockets
from tests.servers.slack.webapi import PREFIX, Method, Request, handler
from tests.servers.slack.world import World

METHODS: dict[str, Method] = {
    name: method
    for module in (
        methods_people,
        methods_conversations,
        methods_chat,
        methods_streams,
        methods_files,
        methods_views,
    )
    for name, method in module.METHODS.items()
}


class Slack:
    """A running stand-in: `world` holds the objects, `broken` the rules that an app broke, `requests` every call.

    `app` is the app under test; workspaces have it installed unless they are told otherwise.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.broken: list[str] = []
        self.requests: list[Request] = []
        self.clock = Clock()
        self.world = World(self.clock)
        self.pacing = Pacing(self.clock)
        self.faults = FaultPlan(seed)
        self.sockets = Sockets(self.world, self.clock, self.broken, seed=seed)
        self.triggers = Triggers(self)
        self.interactions = Interactions(self)
        self.world.tell = self.sockets.dispatch
        self.app = self.world.add_app("Fewshot")

    @property
    def api_url(self) -> str:
        """Return the base URL for both clients, with the slash at its end."""
        return f"{self.world.base_url}{PREFIX}"

    @property
    def bot_token(self) -> str:
        """Return the token of the app's first installation."""
        return next(iter(self.app.installations.values())).bot_token

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that let a bot in another process find the stand-in."""
        return {
            "SLACK_API_URL": self.api_url,
            "SLACK_BOT_TOKEN": self.bot_token,
            "SLACK_APP_TOKEN": self.app.app_token,
        }

    # Objects that a test creates

    def add_team(
        self, name: str, channels: Iterable[str] = ("general",), *, app: App | None = None, has_app: bool = True
    ) -> Team:
        """Create a workspace with public channels that the app's bot is in."""
        team = self.world.add_team(name)
        members = [self.world.install(app or self.app, team).bot] if has_app else []
        for channel in channels:
            self.world.add_channel(team, channel, members)
        return team

    def add_person(
        self, team: Team, name: str, rank: Rank = "member", channels: Iterable[Channel] | None = None
    ) -> Person:
        """Add a person to a workspace and to its public channels, or to `channels`."""
        user = self.world.add_user(team, name, rank)
        public = [one for one in team.channels.values() if one.kind == "public"]
        for channel in public if channels is None else channels:
            channel.member_ids.add(user.id)
        return Person(self, user)

    def take_manifest(self, manifest: dict[str, Any], app: App | None = None) -> None:
        """Let the app be what a manifest declares, and nothing else; what Slack refuses in it is recorded."""
        self.broken += [f"manifest: {finding}" for finding in manifest_findings(manifest)]
        take_manifest(app or self.app, manifest)

    def channel(self, team: Team, name: str) -> Channel:
        """Return the channel of that name."""
        for channel in team.channels.values():
            if channel.name == name:
                return channel
        raise LookupError(f"{team.name} has no channel {name!r}")

    def installation(self, team: Team, app: App | None = None) -> Installation:
        """Return an app's installation in a workspace; without `app`, that of the app under test or the only one.

        Raises:
            NotOffered: The workspace has no such app.
        """
        for one in [app] if app else [self.app, *self.world.apps.values()]:
            if team.id in one.installations:
                return one.installations[team.id]
        raise NotOffered(f"{team.name} has no such app")

    def bot_of(self, team: Team, app: App | None = None) -> User:
        return self.installation(team, app).bot

    # Questions of the methods

    def has_image(self, source: dict[str, Any]) -> str | None:
        """Return what is wrong with the slack_file of an image, if anything."""
        for file in self.world.files.values():
            if source.get("id") == file.id or source.get("url") in (file.url_private, f"{file.url_private}?download=1"):
                if not file.is_complete:
                    return "invalid slack file: it is not uploaded"
                return None if file.mimetype.startswith("image/") else "invalid slack file: it is no image"
        return "invalid slack file: there is none"

    def expire_stream(self, message: Message) -> None:
        """End a stream that is older than Slack lets it be."""
        if message.is_streaming and self.clock.now() - message.stream_started_at >= STREAM_LIFE_S:
            message.is_streaming = False

    def open_views(self, user: User) -> list[View]:
        """Return the modals open for a person, the lowest first."""
        return [
            view for view in self.world.views.values() if view.user is user and view.is_open and view.kind == "modal"
        ]

    def recorded(self, request: Request) -> None:
        self.requests.append(request)
        self.world.touch()

    # Questions of a test

    def calls(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]

    def answers_to(self, message: Message) -> list[Message]:
        """Return the bots' messages after `message` in its thread, or in a direct conversation beside it."""
        root = message.thread_ts or message.ts
        is_direct = message.channel.kind == "im" and not message.is_reply
        return [
            other
            for other in message.channel.messages
            if other.user.is_bot
            and float(other.ts) > float(message.ts)
            and (other.thread_ts == root or (is_direct and not other.is_reply))
        ]

    async def wait_for(self, is_true: Any, timeout: float = 10.0, what: str = "a condition") -> Any:
        """Wait until a function returns something true, and return that."""
        return await self.world.wait_until(is_true, timeout, lambda: f"{what}; broken {self.broken[-3:]}")

    async def wait_for_reply(self, to: Message, timeout: float = 10.0) -> Message:
        """Wait for the bot's first answer to `to`."""
        replies: list[Message] = await self.world.wait_until(
            lambda: self.answers_to(to), timeout, lambda: f"a reply to {to.text!r}; {self.describe(to.channel)}"
        )
        return replies[0]

    async def wait_for_message(self, channel: Channel, after: Message | str = "0", timeout: float = 10.0) -> Message:
        """Wait for a bot's first message in `channel` after another one."""
        last_ts = float(after if isinstance(after, str) else after.ts)

        def later() -> list[Message]:
            return [one for one in channel.messages if one.user.is_bot and float(one.ts) > last_ts]

        found: list[Message] = await self.world.wait_until(
            later, timeout, lambda: f"a message of the bot's; {self.describe(channel)}"
        )
        return found[0]

    async def wait_for_whisper(self, person: Person, after: Sequence[Message] = (), timeout: float = 10.0) -> Message:
        """Wait for an ephemeral message to a person that is not among `after`."""

        def new() -> list[Message]:
            mine = [one for one in self.world.ephemerals if one.ephemeral_for is person.user]
            return [one for one in mine if one not in after]

        found: list[Message] = await self.world.wait_until(new, timeout, f"a message only for {person.user.name}")
        return found[0]

    async def settled(self, message: Message, timeout: float = 20.0, quiet_s: float = 0.3) -> Message:
        """Wait until `message` is finished: not being streamed, unchanged for `quiet_s`."""

        def is_settled() -> bool:
            return not message.is_streaming and time.monotonic() - message.changed_at >= quiet_s

        await self.world.wait_until(is_settled, timeout, lambda: f"the end of {visible_text(message)!r}")
        return message

    async def reply(self, to: Message, timeout: float = 20.0) -> Message:
        """Wait for the reply to `to`, and until it is finished."""
        return await self.settled(await self.wait_for_reply(to, timeout), timeout)

    def describe(self, channel: Channel) -> str:
        """Return the end of a channel and the broken rules so far, for the message of a failed test."""
        lines = [f"{message.user.name}: {visible_text(message)!r}" for message in channel.messages[-5:]]
        return f"last messages {lines}, broken {self.broken[-3:]}"

    def unacknowledged(self) -> list[Interaction]:
        """Return the interactions to which Slack showed the person an error."""
        return [one for one in self.interactions.all if one.failure is not None]

    def doubled(self) -> list[Message]:
        """Return the messages that carry the same metadata as an earlier one of their channel."""
        seen: Counter[str] = Counter()
        doubled = []
        for channel in self.world.channels.values():
            for message in channel.messages:
                if message.metadata is not None:
                    key = f"{channel.id} {json.dumps(message.metadata, sort_keys=True)}"
                    seen[key] += 1
                    if seen[key] > 1:
                        doubled.append(message)
        return doubled

    def assert_clean(self) -> None:
        """Raise AssertionError if an app broke a rule of Slack or left someone without an answer."""
        ignored = [f"not acknowledged: {one.kind} ({one.failure})" for one in self.unacknowledged()]
        if self.broken or ignored:
            raise AssertionError("\n".join(self.broken + ignored))


@asynccontextmanager
async def serve_slack(*, seed: int = 0) -> AsyncIterator[Slack]:
    """Run a stand-in while the block runs."""
    slack = Slack(seed=seed)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", PREFIX + "{method}", handler(slack, METHODS))
    app.router.add_get("/link/", slack.sockets.handle)
    app.router.add_post("/response/{token}", slack.interactions.handler())
    for verb in ("POST", "PUT"):
        app.router.add_route(verb, "/upload/v1/{file_id}", methods_files.upload_handler(slack))
    app.router.add_get("/files-pri/{file}/{name}", methods_files.download_handler(slack))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host = f"127.0.0.1:{runner.addresses[0][1]}"
        slack.world.base_url = f"http://{host}"
        slack.sockets.url = f"ws://{host}"
        yield slack
    finally:
        await slack.sockets.shut_down()
        await runner.cleanup()
