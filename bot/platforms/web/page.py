"""The page as a whole: what people say goes in, answers come out, and what a restart interrupted goes on."""

import asyncio
import logging

from bot.background import keep_running
from bot.commands.bot import Bot
from bot.core.messages import Scope
from bot.platforms.shared.answering import Answering
from bot.platforms.shared.streaming import Timings
from bot.platforms.shared.unfinished import Unfinished
from bot.platforms.web.intake import Intake
from bot.platforms.web.interactions import Interactions
from bot.platforms.web.platform import WebPlatform
from bot.platforms.web.stage import Stage
from bot.platforms.web.traits import WEB
from bot.platforms.web.windows import Windows
from bot.platforms.web.workbench import Workbenches
from bot.services.hosted_messages import Clock, HostedMessages
from bot.services.hosted_places import Places
from bot.services.ledger import Delivery
from bot.services.writing import Writings

logger = logging.getLogger(__name__)

# Nothing limits edits here, so an answer is seen from its first word on.
TIMINGS = Timings(typing_after_s=0.05, visible_after_s=0.1)


class Page:
    """Everything behind the page but its server. `open` and `close` begin and end its tasks."""

    def __init__(self, bot: Bot, delivery: Delivery, messages: HostedMessages, places: Places, clock: Clock) -> None:
        self.bot = bot
        self.places = places
        self.windows = Windows()
        self.stage = Stage(messages, places, self.windows, clock, bot_name=bot.name)
        platform = WebPlatform(self.stage)
        self.answering = Answering(bot, delivery, platform, timings=TIMINGS)
        self.intake = Intake(bot, delivery, self.answering, self.stage)
        self.interactions = Interactions(bot, delivery, self.answering, self.stage)
        self.workbenches = Workbenches(bot, self.stage)
        self.writings = Writings(bot.store, WEB.key)
        self._unfinished = Unfinished(delivery, self.answering, platform)
        self._again: asyncio.Task[None] | None = None
        bot.name_places_by(self._name_of)

    async def open(self) -> None:
        """Read the places, and go on with the answers that a restart interrupted. Raises Unavailable."""
        await self.places.open()
        self.stage.open()
        self.workbenches.open()
        await self._unfinished.load()
        await self._unfinished.answer_all()
        self._again = keep_running(self._unfinished.answer_undelivered, "answers that could not be shown")

    async def drain(self, timeout_s: float) -> None:
        """Finish the answers that are being written; those that take longer go on after a restart."""
        await self.answering.drain(timeout_s)

    async def close(self) -> None:
        """End all tasks and windows."""
        if self._again is not None:
            self._again.cancel()
            await asyncio.gather(self._again, return_exceptions=True)
        await self.answering.drain(0)
        await self.workbenches.close()
        await self.stage.close()

    def _name_of(self, scope: Scope, place_id: str) -> str | None:
        name = self.places.name_of_channel(scope, place_id)
        return None if name is None else f"#{name}"
