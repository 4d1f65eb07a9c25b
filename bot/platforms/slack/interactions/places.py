"""From the payload of an interaction: who, where, and in which conversation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.core.messages import PlaceKind, Scope
from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.incoming.reading import kind_of, scope_at
from bot.platforms.slack.outgoing.views import Origin

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Happened:
    """An interaction: its id, who did it and where. `clicked` is the message with the pressed button.

    `is_private` says that only this person sees that message, `is_home` that it was on their Home tab or in a modal
    that was opened there, of which `modal_id` is the id. With `begins_thread` nobody has replied in the thread of the
    address yet.
    """

    id: str
    user_id: str
    address: Address
    response_url: str = ""
    trigger_id: str = ""
    clicked: SlackId | None = None
    is_private: bool = False
    is_home: bool = False
    kind: PlaceKind = "server"
    modal_id: str = ""
    begins_thread: bool = False

    @property
    def scope(self) -> Scope:
        """Return the conversation."""
        return scope_at(self.address, self.kind)


def home_channel(user_id: str) -> str:
    """Return the channel that stands for a person's Home tab, which has none."""
    return f"home-{user_id}"


def read_slash(body: Json) -> Happened:
    """Return a slash command, which Slack allows outside threads only."""
    team, trigger_id = str(body["team_id"]), str(body["trigger_id"])
    return Happened(
        id=interaction_id(team, trigger_id),
        user_id=str(body["user_id"]),
        address=Address(team, str(body["channel_id"])),
        response_url=str(body.get("response_url") or ""),
        trigger_id=trigger_id,
        kind=kind_of(str(body["channel_id"]), name=str(body.get("channel_name") or "")),
    )


def read_click(body: Json) -> Happened:
    """Return a press of a button, or a choice in a select, of a message or of the Home tab."""
    team, user_id, trigger_id = team_of(body), str(body["user"]["id"]), str(body.get("trigger_id") or "")
    container = body.get("container") or {}
    event_id = interaction_id(team, trigger_id)
    if container.get("type") == "view":
        view = body.get("view") or {}
        return Happened(
            event_id,
            user_id,
            Address(team, home_channel(user_id)),
            trigger_id=trigger_id,
            is_home=True,
            modal_id=str(view.get("id") or "") if view.get("type") == "modal" else "",
        )
    channel, ts = str(container.get("channel_id") or ""), str(container.get("message_ts") or "")
    thread = str(container.get("thread_ts") or (body.get("message") or {}).get("thread_ts") or "")
    is_private = bool(container.get("is_ephemeral"))
    return Happened(
        id=event_id,
        user_id=user_id,
        # The first message of a thread names itself as its thread.
        address=Address(team, channel, "" if thread == ts else thread),
        response_url=str(body.get("response_url") or ""),
        trigger_id=trigger_id,
        clicked=None if is_private else SlackId(team, channel, ts),
        is_private=is_private,
        kind=kind_of(channel, name=_name_of(body)),
    )


def read_message_action(body: Json) -> tuple[Happened, SlackId]:
    """Return a shortcut of a message's menu, and that message; the answer is posted in the message's thread."""
    team, trigger_id = team_of(body), str(body["trigger_id"])
    message, channel = body.get("message") or {}, str((body.get("channel") or {}).get("id") or "")
    target = SlackId(team, channel, str(body.get("message_ts") or message.get("ts") or ""))
    thread = str(message.get("thread_ts") or target.ts)
    happened = Happened(
        id=interaction_id(team, trigger_id),
        user_id=str(body["user"]["id"]),
        address=Address(team, channel, thread),
        response_url=str(body.get("response_url") or ""),
        trigger_id=trigger_id,
        kind=kind_of(channel, name=_name_of(body)),
        begins_thread=not message.get("thread_ts"),
    )
    return happened, target


def read_view(body: Json, origin: Origin) -> Happened:
    """Return a submitted modal that was opened at `origin`, or another use of a view."""
    team, user_id = team_of(body), str(body["user"]["id"])
    # A submission has no trigger of its own that Slack promises to send.
    event_id = str(body.get("trigger_id") or (body.get("view") or {}).get("id") or "")
    return Happened(
        interaction_id(team, event_id),
        user_id,
        origin.address,
        response_url=origin.response_url,
        trigger_id=str(body.get("trigger_id") or ""),
        clicked=origin.clicked,
        is_private=origin.is_private,
        is_home=origin.address.channel == home_channel(user_id),
        kind=origin.kind,
        modal_id=origin.modal_id,
        begins_thread=origin.begins_thread,
    )


def interaction_id(team: str, trigger_id: str) -> str:
    """Return the id of an interaction, in the form of a message's id."""
    return str(SlackId(team, "interaction", trigger_id.replace(":", ".")))


def _name_of(body: Json) -> str:
    return str((body.get("channel") or {}).get("name") or "")


def team_of(body: Json) -> str:
    """Return the workspace whose app is used; the person may be of another one."""
    if installed := (body.get("view") or {}).get("app_installed_team_id"):
        return str(installed)
    team = body.get("team") or {}
    return str(body.get("team_id") or team.get("id") or (body.get("user") or {}).get("team_id") or "")
