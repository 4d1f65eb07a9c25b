"""Actions of a person in Slack: write, edit, delete, react, click, choose, fill in a form, use a command."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.servers.slack import forms
from tests.servers.slack.errors import NotOffered
from tests.servers.slack.interactions import Interaction
from tests.servers.slack.objects import App, Channel, Event, Installation, Message, Team, User, View
from tests.servers.slack.payloads import message_payload, view_payload
from tests.servers.slack.reading import CHOOSERS, find_element, visible_text

if TYPE_CHECKING:
    from tests.servers.slack.server import Slack

Json = dict[str, Any]
BUTTONS = frozenset({"button"})
INPUTS = frozenset({"plain_text_input", "number_input", "email_text_input", "url_text_input"})


@dataclass(frozen=True, eq=False)
class Person:
    """A person. An action that the app must acknowledge waits for that; what Slack shows otherwise is in `failure`."""

    slack: "Slack"
    user: User

    @property
    def id(self) -> str:
        return self.user.id

    @property
    def team(self) -> Team:
        return self.user.team

    @property
    def mention(self) -> str:
        return self.user.mention

    # Messages

    def says(
        self,
        channel: Channel,
        text: str,
        *,
        thread: Message | str | None = None,
        broadcast: bool = False,
        files: Iterable[tuple[str, bytes]] = (),
    ) -> Message:
        """Write a message, in a thread with `thread` (any message of it), shown in the channel too by `broadcast`.

        The text is as Slack sends it: mentions as <@U…>, and & < > escaped.
        """
        if self.user.id not in channel.member_ids or channel.is_archived or channel.is_deleted:
            raise NotOffered(f"{self.user.name} can't write in {channel.name}")
        world = self.slack.world
        thread_ts = (thread.thread_ts or thread.ts) if isinstance(thread, Message) else thread
        stored = [world.add_file(self.user, name, content) for name, content in files]
        if stored:
            return world.share(stored, channel, self.user, text, thread_ts)
        message = Message(world.clock.next_ts(), channel, self.user, text, thread_ts=thread_ts)
        message.client_msg_id = str(uuid.uuid4())
        message.subtype = "thread_broadcast" if thread_ts and broadcast else None
        return world.post(message)

    def asks(self, channel: Channel, text: str, **more: Any) -> Message:
        """Write a message that mentions the app's bot, in the channel or to be invited."""
        inside = self.slack.world.bot_in(self.slack.app, channel)
        bot = inside.bot if inside else self.slack.bot_of(channel.team)
        return self.says(channel, f"{bot.mention} {text}", **more)

    def dm(self, text: str, **more: Any) -> Message:
        """Send the app's bot a direct message."""
        return self.says(self.dm_channel, text, **more)

    @property
    def dm_channel(self) -> Channel:
        return self.slack.world.direct_channel([self.slack.bot_of(self.team), self.user])

    def edits(self, message: Message, text: str) -> None:
        self._needs_own(message)
        before = message_payload(message)
        message.text = text
        self.slack.world.changed(message, before)

    def deletes(self, message: Message) -> None:
        if self.user.rank not in ("admin", "owner"):
            self._needs_own(message)
        self.slack.world.delete(message)

    def deletes_file(self, message: Message) -> None:
        """Delete the files of a message, which stays: Slack tells that as a change that is no edit."""
        self._needs_own(message)
        before = message_payload(message)
        for file in message.files:
            file.is_deleted = True
        self.slack.world.changed(message, before, is_edit=False)

    def _needs_own(self, message: Message) -> None:
        if message.user is not self.user or message.is_deleted:
            raise NotOffered(f"this is no message of {self.user.name}'s")

    def reacts(self, message: Message, name: str) -> None:
        self.slack.world.react(message, self.user, name, is_added=True)

    def joins(self, channel: Channel) -> None:
        self.slack.world.join(channel, self.user)

    def adds_bot(self, channel: Channel, app: App | None = None) -> None:
        """Invite the app's bot into a channel."""
        self.slack.world.join(channel, self.slack.bot_of(channel.team, app), inviter=self.user)

    def stops(self, message: Message) -> None:
        """Press Slack's own Stop at a stream: Slack ends the stream and tells the app."""
        if not message.is_streaming:
            raise NotOffered("this message is not being written")
        message.is_streaming = False
        now = self.slack.clock.next_ts()
        data = {"type": "agent_session_stopped", "channel": message.channel.id, "thread_ts": message.thread_ts}
        data |= {"user": self.id, "streaming_message_ts": [message.ts], "event_ts": now}
        self.slack.world.tell(Event("agent_session_stopped", data, message.channel.team, message.channel))

    # Reading

    def sees(self, message: Message) -> bool:
        if message.ephemeral_for is not None:
            return message.ephemeral_for is self.user and not message.is_deleted
        is_inside = message.channel.kind == "public" and self.team in message.channel.teams
        return not message.is_deleted and (is_inside or self.user.id in message.channel.member_ids)

    def reads(self, channel: Channel, thread: Message | None = None) -> list[str]:
        """Return the texts that this person sees in a channel or thread, oldest first."""
        root = (thread.thread_ts or thread.ts) if thread else None
        private = [one for one in self.slack.world.ephemerals if one.channel is channel]
        shown = [
            one
            for one in sorted([*channel.messages, *private], key=lambda one: float(one.ts))
            if self.sees(one) and (root in (one.ts, one.thread_ts) if root else one.is_in_channel)
        ]
        return [visible_text(one) for one in shown]

    # Buttons, selects and forms

    async def clicks(self, shown: Message | View, button: str) -> Interaction:
        """Press the button with that label, action_id or value."""
        block, element = self._find(shown, button, BUTTONS)
        state = {"type": "button", "text": element["text"]} | _some(element, "value", "style", "url")
        return await self._acts(shown, block, element, state)

    async def selects(self, shown: Message | View, select: str, value: Any) -> Interaction:
        """Choose an option (several as a list) by label or value in a select, overflow, radio group or checkboxes."""
        block, element = self._find(shown, select, CHOOSERS)
        state = forms.state_value(element, value)
        if isinstance(shown, View) and element["type"] != "overflow":
            shown.values.setdefault(block["block_id"], {})[element["action_id"]] = state
        return await self._acts(shown, block, element, state)

    async def enters(self, view: View, field: str, text: str) -> Interaction:
        """Type into an input that tells the app at once (`dispatch_action`), and press Enter."""
        block, element = self._find(view, field, INPUTS)
        if not block.get("dispatch_action"):
            raise NotOffered(f"{field!r} is sent with the form only")
        state = forms.state_value(element, text)
        view.values = forms.state_of(view)
        view.values[block["block_id"]][element["action_id"]] = state
        return await self._acts(view, block, element, state)

    async def suggestions(self, shown: Message | View, select: str, text: str) -> list[Json]:
        """Return what the app suggests for `text` in an external select."""
        block, element = self._find(shown, select, CHOOSERS)
        interaction = self.interaction("block_suggestion", self._owner(shown), source=shown)
        interaction.payload |= {"action_id": element["action_id"], "block_id": block["block_id"], "value": text}
        interaction.payload |= self._container(interaction, shown)
        await self.slack.interactions.send(interaction, accepts_payload=True)
        return interaction.options

    def fills_in(self, view: View, values: Mapping[str, Any]) -> None:
        """Type into the inputs of a modal by label, block_id or action_id."""
        self._needs_open(view)
        forms.fill_in(view, values)

    async def submits(self, view: View | None, values: Mapping[str, Any] | None = None) -> Interaction:
        """Fill in a modal and send it off. Raises NotOffered where Slack itself would keep the form open."""
        if view is None:
            raise NotOffered("no modal was opened")
        self._needs_open(view)
        forms.fill_in(view, values or {})
        lacking = forms.missing(view)
        if lacking:
            raise NotOffered(f"the form needs {lacking}")
        interaction = self.interaction("view_submission", view.installation, source=view)
        interaction.payload |= {"view": view_payload(view), "response_urls": []}
        return await self.slack.interactions.send(interaction, accepts_payload=True)

    async def closes(self, view: View) -> Interaction | None:
        """Close a modal; the app hears of it if it asked to (`notify_on_close`)."""
        self._needs_open(view)
        view.is_open = False
        if not view.payload.get("notify_on_close"):
            return None
        interaction = self.interaction("view_closed", view.installation, source=view)
        del interaction.payload["trigger_id"]
        interaction.payload |= {"view": view_payload(view), "is_cleared": False}
        return await self.slack.interactions.send(interaction)

    def _needs_open(self, view: View) -> None:
        if view not in self.slack.open_views(self.user):
            raise NotOffered(f"this form is not open for {self.user.name}")

    def _find(self, shown: Message | View, name: str, kinds: frozenset[str]) -> tuple[Json, Json]:
        if isinstance(shown, Message) and not self.sees(shown):
            raise NotOffered(f"{self.user.name} does not see this message")
        if isinstance(shown, View) and shown.user is not self.user:
            raise NotOffered(f"this is shown to {shown.user.name}")
        return find_element(shown, name, kinds=kinds)

    def _owner(self, shown: Message | View) -> Installation:
        if isinstance(shown, View):
            return shown.installation
        for installation in self.slack.world.installations.values():
            if installation.bot is shown.user:
                return installation
        raise NotOffered("this message is no app's")

    async def _acts(self, shown: Message | View, block: Json, element: Json, state: Json) -> Interaction:
        interaction = self.interaction("block_actions", self._owner(shown), source=shown)
        action = {"action_id": element["action_id"], "block_id": block["block_id"]} | state
        interaction.payload["actions"] = [action | {"action_ts": self.slack.clock.next_ts()}]
        interaction.payload |= self._container(interaction, shown)
        if isinstance(shown, Message):
            values = forms.state_of(shown)
            if element["type"] not in ("button", "overflow"):
                values[block["block_id"]][element["action_id"]] = state
            interaction.payload["state"] = {"values": values}
            interaction.payload["response_url"] = self.slack.interactions.response_url(interaction)
        return await self.slack.interactions.send(interaction)

    def _container(self, interaction: Interaction, shown: Message | View) -> Json:
        """Return where an element is: in a message of a channel, or in a view."""
        if isinstance(shown, View):
            return {"container": {"type": "view", "view_id": shown.id}, "view": view_payload(shown)}
        interaction.channel = shown.channel
        is_ephemeral = shown.ephemeral_for is not None
        container: Json = {"type": "message", "message_ts": shown.ts, "channel_id": shown.channel.id}
        container["is_ephemeral"] = is_ephemeral
        if shown.thread_ts:
            container["thread_ts"] = shown.thread_ts
        where: Json = {"container": container, "channel": {"id": shown.channel.id, "name": _name_of(shown.channel)}}
        # Slack does not send an ephemeral message back.
        return where if is_ephemeral else where | {"message": message_payload(shown)}

    # Commands, shortcuts, the app's tabs

    async def slash(
        self, channel: Channel, command: str, text: str = "", *, thread: Message | None = None, app: App | None = None
    ) -> Interaction:
        """Use a slash command such as "/complete"."""
        installation = self.slack.installation(self.team, app)
        if thread is not None:
            raise NotOffered("slash commands don't work in threads")
        commands = installation.app.commands
        if commands is not None and command not in commands:
            raise NotOffered(f"there is no {command} among {sorted(commands)}")
        interaction = self.interaction("slash_command", installation, channel=channel)
        interaction.payload = {
            "token": "stand-in",
            "team_id": self.team.id,
            "team_domain": self.team.domain,
            "channel_id": channel.id,
            "channel_name": _name_of(channel),
            "user_id": self.id,
            "user_name": self.user.name,
            "command": command,
            "text": text,
            "api_app_id": installation.app.id,
            "is_enterprise_install": "false",
            "response_url": self.slack.interactions.response_url(interaction),
            "trigger_id": interaction.payload["trigger_id"],
        }
        return await self.slack.interactions.send(interaction, accepts_payload=True)

    async def uses_shortcut(self, message: Message, name: str, app: App | None = None) -> Interaction:
        """Choose an app's entry in the menu of a message, by its name or callback_id."""
        if not self.sees(message) or message.ephemeral_for is not None:
            raise NotOffered("this message has no shortcuts here")
        installation = self.slack.installation(self.team, app)
        interaction = self.interaction("message_action", installation, channel=message.channel, source=message)
        interaction.payload |= {
            "callback_id": self._callback(installation.app, name, "message"),
            "action_ts": self.slack.clock.next_ts(),
            "message_ts": message.ts,
            "message": message_payload(message),
            "channel": {"id": message.channel.id, "name": _name_of(message.channel)},
            "response_url": self.slack.interactions.response_url(interaction),
        }
        return await self.slack.interactions.send(interaction)

    async def uses_global_shortcut(self, name: str, app: App | None = None) -> Interaction:
        """Choose a shortcut of the app's outside any message, by its name or callback_id."""
        installation = self.slack.installation(self.team, app)
        interaction = self.interaction("shortcut", installation)
        interaction.payload["callback_id"] = self._callback(installation.app, name, "global")
        interaction.payload["action_ts"] = self.slack.clock.next_ts()
        return await self.slack.interactions.send(interaction)

    @staticmethod
    def _callback(app: App, name: str, kind: str) -> str:
        if app.shortcuts is None:
            return name
        for title, (found, callback_id) in app.shortcuts.items():
            if found == kind and name in (title, callback_id):
                return callback_id
        raise NotOffered(f"there is no {kind} shortcut {name!r} among {sorted(app.shortcuts)}")

    def opens_home(self, app: App | None = None) -> None:
        """Open the app's Home tab."""
        self._opens_tab("home", app)

    def opens_messages(self, app: App | None = None) -> None:
        """Open the app's Messages tab."""
        self._opens_tab("messages", app)

    def _opens_tab(self, tab: str, app: App | None) -> None:
        installation = self.slack.installation(self.team, app)
        if not (installation.app.has_home_tab if tab == "home" else installation.app.has_messages_tab):
            raise NotOffered(f"the app has no {tab} tab")
        world = self.slack.world
        channel = world.direct_channel([installation.bot, self.user])
        data: Json = {"type": "app_home_opened", "user": self.id, "channel": channel.id, "tab": tab}
        view = world.homes.get((installation.app.id, self.id))
        if view is not None and tab == "home":
            data["view"] = view_payload(view)
        event = data | {"event_ts": world.clock.next_ts()}
        world.tell(Event("app_home_opened", event, self.team, only=(installation.app,)))

    def home(self, app: App | None = None) -> View | None:
        """Return the Home tab as this person sees it, if the app published one."""
        return self.slack.world.homes.get((self.slack.installation(self.team, app).app.id, self.id))

    def interaction(
        self,
        kind: str,
        installation: Installation,
        *,
        channel: Channel | None = None,
        source: Message | View | None = None,
    ) -> Interaction:
        """Return an interaction of this person's, not sent, with a trigger_id."""
        interaction = Interaction(kind, self.user, installation, channel=channel, source=source)
        team = installation.team
        interaction.payload = {
            "type": kind,
            "token": "stand-in",
            "api_app_id": installation.app.id,
            "team": {"id": team.id, "domain": team.domain},
            "user": {"id": self.id, "username": self.user.name, "name": self.user.name, "team_id": self.team.id},
            "enterprise": None,
            "is_enterprise_install": False,
            "trigger_id": self.slack.triggers.issue(interaction),
        }
        return interaction


def _some(element: Json, *names: str) -> Json:
    return {name: element[name] for name in names if name in element}


def _name_of(channel: Channel) -> str:
    return {"im": "directmessage", "private": "privategroup"}.get(channel.kind, channel.name)
