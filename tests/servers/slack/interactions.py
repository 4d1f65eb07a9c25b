"""Interactions: triggers that act once within 3 s, response_urls for 5 answers in 30 minutes, acknowledgements."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.servers.slack.errors import ApiError, NotOffered
from tests.servers.slack.forms import Json
from tests.servers.slack.methods_chat import respond
from tests.servers.slack.methods_views import add_view, checked_view, put
from tests.servers.slack.objects import Channel, Installation, Message, User, View
from tests.servers.slack.webapi import Call, read_arguments, with_faults

if TYPE_CHECKING:
    from tests.servers.slack.server import Slack

TRIGGER_LIFE_S, RESPONSE_LIFE_S, MOST_RESPONSES = 3.0, 1800.0, 5


@dataclass(eq=False)
class Interaction:
    """What a person did, and how the app reacted.

    `failure` is what Slack shows the person when the app does not acknowledge. `responses` are the messages by
    response_url and acknowledgement, `opened` the modals that its trigger opened.
    """

    kind: str
    user: User
    installation: Installation
    payload: Json = field(default_factory=dict)
    channel: Channel | None = None
    source: Message | View | None = None
    acknowledgement: Any = None
    acknowledged_after_s: float | None = None
    failure: str | None = None
    responses: list[Message] = field(default_factory=list)
    opened: list[View] = field(default_factory=list)
    options: list[Json] = field(default_factory=list)

    @property
    def message(self) -> Message | None:
        """Return the last answer that was a message."""
        return self.responses[-1] if self.responses else None

    @property
    def modal(self) -> View | None:
        return self.opened[-1] if self.opened else None


@dataclass(eq=False)
class Trigger:
    """A trigger_id: its owner's click, and whether it was used."""

    id: str
    user: User
    interaction: Interaction
    issued_at: float
    is_used: bool = False


class Triggers:
    """Issues and takes trigger_ids."""

    def __init__(self, slack: "Slack") -> None:
        self.slack = slack
        self._by_id: dict[str, Trigger] = {}

    def issue(self, interaction: Interaction) -> str:
        trigger_id = f"{time.time_ns()}.{self.slack.world.next_id('t')}"
        now = self.slack.clock.now()
        self._by_id[trigger_id] = Trigger(trigger_id, interaction.user, interaction, now)
        return trigger_id

    def take(self, call: Call) -> Trigger:
        """Return the trigger that a call names, once. Raises ApiError."""
        trigger = self._by_id.get(call.need("trigger_id"))
        if trigger is None or trigger.interaction.installation.app is not call.app:
            call.broke("the trigger_id is not one of this app's")
            raise ApiError("invalid_trigger_id")
        if trigger.is_used:
            call.broke("the trigger_id was used before")
            raise ApiError("exchanged_trigger_id")
        if self.slack.clock.now() - trigger.issued_at > TRIGGER_LIFE_S:
            call.broke(f"the trigger_id is older than {TRIGGER_LIFE_S:g} s")
            raise ApiError("expired_trigger_id")
        trigger.is_used = True
        return trigger


@dataclass(eq=False)
class ResponseUrl:
    """A response_url: where its answers go, and how often it was used."""

    interaction: Interaction
    issued_at: float
    num_uses: int = 0


class Interactions:
    """Sends what people do to apps, and does what the acknowledgements say."""

    def __init__(self, slack: "Slack") -> None:
        self.slack = slack
        self.all: list[Interaction] = []
        self._urls: dict[str, ResponseUrl] = {}

    def response_url(self, interaction: Interaction) -> str:
        token = self.slack.world.next_id("R")
        self._urls[token] = ResponseUrl(interaction, self.slack.clock.now())
        return f"{self.slack.world.base_url}/response/{token}"

    async def send(self, interaction: Interaction, *, accepts_payload: bool = False) -> Interaction:
        """Send an interaction, wait for its acknowledgement, and do what that says."""
        if interaction.kind != "slash_command" and not interaction.installation.app.is_interactive:
            raise NotOffered("the app's manifest does not enable interactivity")
        self.all.append(interaction)
        kind = "slash_commands" if interaction.kind == "slash_command" else "interactive"
        if interaction.kind == "view_submission" and isinstance(interaction.source, View):
            interaction.source.errors = {}
        started = time.monotonic()
        outcome, payload = await self.slack.sockets.deliver(
            interaction.installation.app, kind, interaction.payload, accepts_payload=accepts_payload
        )
        if outcome != "acknowledged":
            interaction.failure = "dispatch_failed" if outcome == "no_socket" else "operation_timeout"
            return interaction
        interaction.acknowledged_after_s = time.monotonic() - started
        interaction.acknowledgement = payload
        if payload:
            self._apply(interaction, payload)
        elif interaction.kind == "view_submission" and isinstance(interaction.source, View):
            interaction.source.is_open = False
            self.slack.world.touch()
        return interaction

    def _call(self, interaction: Interaction, arguments: Json, what: str) -> Call:
        return Call(self.slack, what, arguments, interaction.installation.app, interaction.installation)

    def _apply(self, interaction: Interaction, payload: Json) -> None:
        call = self._call(interaction, payload, f"{interaction.kind} acknowledgement")
        try:
            if interaction.kind == "slash_command":
                self.respond(interaction, call)
            elif interaction.kind == "view_submission":
                self._submitted(interaction, call)
            elif interaction.kind == "block_suggestion":
                interaction.options = list(payload.get("options") or ())
                for group in payload.get("option_groups") or ():
                    interaction.options += group["options"]
                if len(interaction.options) > 100:
                    call.broke("more than 100 suggestions")
        except ApiError as error:
            call.broke(f"refused with {error.error}")
            interaction.failure = error.error

    def _submitted(self, interaction: Interaction, call: Call) -> None:
        """Do what the acknowledgement of a submitted form says: errors, update, push or clear."""
        view = interaction.source
        assert isinstance(view, View)
        action = call.arguments.get("response_action")
        if action == "errors":
            blocks = {block["block_id"] for block in view.payload["blocks"] if block["type"] == "input"}
            errors = call.arguments.get("errors") or {}
            if not errors or set(errors) - blocks:
                call.broke(f"errors must name inputs of the form, not {sorted(set(errors) - blocks)}")
                raise ApiError("invalid_errors")
            view.errors = dict(errors)
        elif action == "update":
            put(call, view, checked_view(call, call.arguments.get("view")))
        elif action == "push":
            payload = checked_view(call, call.arguments.get("view"))
            interaction.opened.append(add_view(call, interaction.user.id, payload, below=view))
        elif action == "clear":
            for one in self.slack.open_views(interaction.user):
                one.is_open = False
        else:
            call.broke(f"response_action must be errors, update, push or clear, not {action!r}")
        self.slack.world.touch()

    def respond(self, interaction: Interaction, call: Call) -> None:
        """Post or change a message as an answer to an interaction. Raises ApiError."""
        if interaction.channel is None:
            raise ApiError("channel_not_found")
        source = interaction.source
        # The message of a shortcut is somebody's own, and stays as it is.
        original = source if isinstance(source, Message) and interaction.kind == "block_actions" else None
        if original is None and call.arguments.get("replace_original") and interaction.responses:
            # The original of a slash command is the first answer to it.
            original = interaction.responses[0]
        answer = respond(call, interaction.channel, interaction.user, original)
        if answer is not None:
            interaction.responses.append(answer)

    def handler(self) -> Callable[[web.Request], Any]:
        """Return what takes posts to response_urls."""

        async def handle(request: web.Request) -> web.StreamResponse:
            arguments = await read_arguments(request)
            token = request.match_info["token"]

            def answer() -> web.Response:
                return self._respond_by_url(token, arguments)

            return await with_faults(self.slack, request, "response_url", arguments, answer)

        return handle

    def _respond_by_url(self, token: str, arguments: Json) -> web.Response:
        url = self._urls.get(token)
        if url is None:
            return web.Response(status=404, text="no_such_url")
        call = self._call(url.interaction, arguments, "response_url")
        if self.slack.clock.now() - url.issued_at > RESPONSE_LIFE_S:
            call.broke("used more than 30 minutes after the interaction")
            return web.Response(status=404, text="expired_url")
        if url.num_uses >= MOST_RESPONSES:
            call.broke(f"used more than {MOST_RESPONSES} times")
            return web.Response(status=404, text="used_url")
        url.num_uses += 1
        try:
            self.respond(url.interaction, call)
        except ApiError as error:
            return web.json_response({"ok": False, "error": error.error}, status=200)
        return web.Response(text="ok")
