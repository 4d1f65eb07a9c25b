"""Places that are gone: a deleted channel, and a workspace that has removed the app."""

from collections.abc import Awaitable, Callable
from typing import Final

from bot.commands.bot import Bot
from bot.core.messages import DIRECT_MESSAGES, Scope
from bot.platforms.shared.answering import Answering
from bot.platforms.shared.trying import until_available
from bot.platforms.slack.incoming.channels import Channels
from bot.platforms.slack.traits import SLACK
from bot.services.ledger import Delivery

_ALL: Final = 1_000_000


class GonePlaces:
    """Ends what is being written there, and erases what is stored; `gives_up` says that the program ends."""

    def __init__(
        self,
        bot: Bot,
        delivery: Delivery,
        answering: Answering,
        channels: Channels,
        *,
        gives_up: Callable[[], bool],
    ) -> None:
        self._bot = bot
        self._delivery = delivery
        self._answering = answering
        self._channels = channels
        self._gives_up = gives_up

    async def channel_gone(self, team: str, channel: str) -> None:
        """Erase a deleted channel, in the workspace through which it was read."""
        scope = Scope(SLACK.key, self._channels.home_of(channel, team), channel)
        await self._answering.end_in(scope.server, scope.channel)
        await self._until_done(lambda: self._bot.channel_gone(scope), "that a channel is gone")

    async def workspace_gone(self, team: str) -> None:
        """Erase a workspace that has removed the app, with what was said in direct messages there."""
        await self._answering.end_in(team)
        await self._until_done(lambda: self._bot.left(SLACK.key, team), "that a workspace is gone")
        await self._until_done(lambda: self._erase_direct(team), "that direct messages are gone")
        self._channels.forget(team)

    async def _erase_direct(self, team: str) -> None:
        stored = await self._delivery.visible_ids([DIRECT_MESSAGES], num_conversations=_ALL, num_each=1)
        channels = {scope.channel for scope, ids in stored.items() if any(one.startswith(f"{team}:") for one in ids)}
        for channel in sorted(channels | self._channels.direct_of(team)):
            await self._answering.end_in(DIRECT_MESSAGES, channel)
            await self._bot.channel_gone(Scope(SLACK.key, DIRECT_MESSAGES, channel))

    async def _until_done(self, store: Callable[[], Awaitable[None]], what: str) -> None:
        await until_available(store, what, gives_up=self._gives_up)
