"""The channels that the bot is in: what kind each one is, and through which workspace a shared one is read."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from bot.errors import FewshotError
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.workspaces import Workspace, Workspaces

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

# Where Slack rations histories it takes one call a minute, and nobody waits for what is read in the background.
READING_S: Final = 180.0
_PAGE: Final = 200
_MAX_PAGES: Final = 50
_TYPES: Final = "public_channel,private_channel,mpim,im"


class Channels:
    """Knows the types of channels, as events name them: channel, group, im, mpim."""

    def __init__(self, sender: Sender, workspaces: Workspaces) -> None:
        self._sender = sender
        self._workspaces = workspaces
        self._types: dict[tuple[str, str], str] = {}

    async def with_type(self, event: Json, workspace: Workspace) -> Json:
        """Return `event` with the type of its channel; an `app_mention` does not name it."""
        channel = str(event.get("channel") or "")
        if not channel:
            return event
        key = (workspace.team, channel)
        if event.get("channel_type"):
            self._types[key] = str(event["channel_type"])
            return event
        if key not in self._types:
            try:
                answer = await self._sender.call(workspace.team, "conversations_info", channel=channel)
            except FewshotError:
                return event
            self._types[key] = _type_of(answer.get("channel") or {})
        return {**event, "channel_type": self._types[key]}

    async def look(self, team: str) -> None:
        """Learn which channels the bot is in, as far as Slack says so now."""
        try:
            await self.read(team)
        except FewshotError as e:
            logger.info("the channels of workspace %s can't be listed: %s", team, e)

    async def read(self, team: str) -> dict[str, str]:
        """Ask Slack for the channels of a workspace, and return those that are read through it, with their types.

        A channel that several of the bot's workspaces share is read through the first of them, so that its messages
        have one id. Raises Unavailable, and MissingPermission where the bot may list nothing.
        """
        channels = await _list_channels(self._sender, team)
        # A shared channel that the bot has left in one workspace is read through another one from now on. A direct
        # conversation that somebody has closed is not listed, and goes on all the same.
        left = [key for key, kind in self._types.items() if key[0] == team and kind != "im" and key[1] not in channels]
        for key in left:
            del self._types[key]
        for channel, kind in channels.items():
            self._types[team, channel] = kind
        return {channel: kind for channel, kind in channels.items() if self.home_of(channel, team) == team}

    def type_in(self, team: str, channel: str) -> str | None:
        """Return the type of a channel that is read through a workspace, None for any other."""
        return self._types.get((team, channel)) if self.home_of(channel, team) == team else None

    def forget(self, team: str) -> None:
        """Forget the channels of a workspace that has removed the app; a shared one is read through another one."""
        for key in [key for key in self._types if key[0] == team]:
            del self._types[key]

    def direct_of(self, team: str) -> set[str]:
        """Return the known conversations of a workspace that are no channels."""
        return {channel for (of, channel), kind in self._types.items() if of == team and kind in ("im", "mpim")}

    def home_of(self, channel: str, team: str) -> str:
        """Return the workspace through which a channel that `team` knows is read."""
        return next((one.team for one in self._workspaces if (one.team, channel) in self._types), team)


def _type_of(channel: Json) -> str:
    """Return the type of a channel as events name it, as far as that matters here."""
    return "im" if channel.get("is_im") else "mpim" if channel.get("is_mpim") else "channel"


async def _list_channels(sender: Sender, team: str) -> dict[str, str]:
    """Return the channels that the bot is in, with their types as events name them.

    Raises Unavailable, and MissingPermission where the bot may list nothing.
    """
    channels: dict[str, str] = {}
    listing = pages(sender, team, "users_conversations", "channels", deadline_s=READING_S, types=_TYPES, limit=_PAGE)
    async for channel in listing:
        channels[str(channel.get("id") or "")] = _type_of(channel)
    return channels


async def pages(
    sender: Sender,
    team: str,
    method: str,
    key: str,
    *,
    is_enough: Callable[[Sequence[Json]], bool] = lambda _: False,
    deadline_s: float | None = None,
    **arguments: Any,
) -> AsyncIterator[Json]:
    """Yield the items of all pages, until one is enough; an item that is no object is skipped.

    The deadline, in seconds, is that of one page.
    """
    cursor = ""
    for _ in range(_MAX_PAGES):
        more: dict[str, Any] = {"cursor": cursor} if cursor else {}
        answer = await sender.call(team, method, deadline_s=deadline_s, **arguments, **more)
        page = [item for item in answer.get(key) or () if isinstance(item, dict)]
        for item in page:
            yield item
        cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
        if not cursor or is_enough(page):
            return
    logger.warning("%s of workspace %s has more than %d pages; the rest is left out", method, team, _MAX_PAGES)
