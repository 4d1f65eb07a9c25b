"""The requests that are being answered now: begun, stopped, begun anew after an edit, finished before the end."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from bot.commands.bot import Bot
from bot.core.cards import BROKEN, Card, error_card
from bot.core.messages import Author, Message
from bot.core.stopping import Stopper
from bot.errors import DeliveryFailed, FewshotError
from bot.platforms.shared.platform import Platform
from bot.platforms.shared.refusals import RefusalBudget
from bot.platforms.shared.streaming import Outlet, deliver
from bot.services.background import run_in_background
from bot.services.ledger import Delivery, Outcome
from bot.trace import note_step

logger = logging.getLogger(__name__)

# A message that was refused and is edited within this time is answered anew: who mistyped an option mends it there.
_MENDABLE: Final = 256
# More than the engine lets wait, since conversations wait for themselves; beyond, a flood would only fill the memory.
MAX_RUNNING: Final = 256
_BROKEN: Final = error_card(BROKEN)
_NO_NOTICE: Final = (
    "The moderators can't be shown that: I can't write in their channel; one of them chooses another with"
    " {prefix}settings report_channel."
)
_CROWDED: Final = error_card("Too many people are asking at once; ask again in a minute.")

Cards = AsyncGenerator[Card]
# What answers a request.
Responder = Callable[[Message, Stopper], Cards]


@dataclass(slots=True)
class _Running:
    message: Message
    outlet: Outlet
    is_kept: bool
    outcome: Outcome | None = None
    is_shown: bool = False
    stopper: Stopper = field(default_factory=Stopper)
    task: "asyncio.Task[None] | None" = None


def answer_with(card: Card) -> Responder:
    """Return an answer that is this one card."""

    async def answer(message: Message, stopper: Stopper) -> Cards:
        yield card

    return answer


class Answering:
    """All requests being answered, by the id of the message that asked."""

    def __init__(self, bot: Bot, delivery: Delivery, platform: Platform) -> None:
        self._bot = bot
        self._delivery = delivery
        self._platform = platform
        self._running: dict[str, _Running] = {}
        self._undelivered: set[str] = set()
        self._refused: dict[str, Outlet] = {}
        self._budget = RefusalBudget()

    @property
    def num_running(self) -> int:
        """Return how many requests are being answered."""
        return len(self._running)

    def begin(
        self,
        message: Message,
        outlet: Outlet,
        *,
        is_kept: bool = True,
        answer: Responder | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        """Answer `message` in the background; `is_kept` says that the delivery knows it as accepted.

        `outcome` is what it ends in, None where the answer says.
        """
        running = _Running(message, outlet, is_kept, outcome)
        if len(self._running) >= MAX_RUNNING:
            answer = answer_with(_CROWDED)
        self._running[message.id] = running
        running.task = run_in_background(self._run(running, answer or self._bot.answer), f"answer {message.id}")

    def is_running(self, message_id: str) -> bool:
        """Say whether a request is being answered."""
        return message_id in self._running

    def is_open(self, message_id: str) -> bool:
        """Say whether an edit of the message would change its answer: it is being written, or was a refusal."""
        return message_id in self._running or message_id in self._refused

    def leave(self, message_id: str) -> None:
        """Keep a request for `take_undelivered`: it could not be answered while the platform was away."""
        self._undelivered.add(message_id)

    def take_undelivered(self) -> set[str]:
        """Return the ids of the accepted requests whose answers could not be shown, once."""
        undelivered, self._undelivered = self._undelivered, set()
        return undelivered

    def stop(self, message_id: str, author: Author) -> str | None:
        """End an answer that is being written; return None, or the sentence for who may not or comes too late."""
        running = self._running.get(message_id)
        if running is None:
            return "That answer is finished already."
        if author.id != running.message.author.id and not author.is_moderator:
            return "Only who asked, or a moderator, can stop that answer."
        running.stopper.stop()
        return None

    async def edited(self, message: Message) -> bool:
        """Answer an edited message anew, in the same place, where its answer is being written or was a refusal.

        Return whether that is so.
        """
        running = self._running.get(message.id)
        if running is not None:
            if running.message.text == message.text:
                return True
            outlet, is_kept = running.outlet, running.is_kept
            await self._end(running)
        elif message.id in self._refused:
            outlet, is_kept = self._refused.pop(message.id), False
        else:
            return False
        # What was stored of the first answer, if the edit came right after that, must not stand beside the new one.
        await self._delivery.discard_reply(message.id)
        original = running.message if running else message
        attachment = message.attachment or original.attachment
        self.begin(replace(message, attachment=attachment), outlet, is_kept=is_kept)
        return True

    async def withdrawn(self, message_id: str) -> None:
        """End the answer to a message that was deleted, and take away what is visible of it."""
        refused = self._refused.pop(message_id, None)
        running = self._running.get(message_id)
        if running is not None:
            await self._end(running)
        outlet = running.outlet if running is not None else refused
        if outlet is not None:
            await outlet.remove()

    async def end_in(self, server: str, channel: str = "", thread: str = "") -> None:
        """End the answers being written in a server, channel or thread that is gone."""
        for running in list(self._running.values()):
            scope = running.message.scope
            if scope.server == server and channel in ("", scope.channel) and thread in ("", scope.thread):
                await self._end(running)

    async def drain(self, timeout_s: float) -> None:
        """Let running answers finish; what is not done by then is cancelled and goes on after the restart."""
        tasks = [running.task for running in self._running.values() if running.task]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _end(self, running: _Running) -> None:
        """Cancel an answer and wait for it to be over."""
        running.stopper.stop()
        if running.task:
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)

    async def _run(self, running: _Running, answer: Responder) -> None:
        message = running.message
        try:
            outcome = await self._deliver(running, answer)
            if running.is_kept:
                await self._delivery.finish(message.id, outcome)
            note_step(message.id, "finished")
        except DeliveryFailed as e:
            logger.warning("an answer in channel %s can't be shown now: %s", message.scope.channel, e)
            if running.is_kept:
                self.leave(message.id)
        except FewshotError as e:
            logger.warning("an answer in channel %s can't be kept: %s", message.scope.channel, e)
        except Exception:
            logger.exception("answering in channel %s failed", message.scope.channel)
            if not running.is_shown:
                await self._tell_broken(running)
        finally:
            if self._running.get(message.id) is running:
                del self._running[message.id]

    async def _tell_broken(self, running: _Running) -> None:
        """Show one sentence in the place of an answer that a mistake in the program ended; the log says which."""
        message = running.message
        try:
            await deliver(answer_with(_BROKEN)(message, running.stopper), running.outlet)
            if running.is_kept:
                await self._delivery.finish(message.id, "refused")
        except Exception:
            logger.exception("telling so in channel %s failed", message.scope.channel)

    async def _deliver(self, running: _Running, answer: Responder) -> Outcome:
        message = running.message

        async def note_sent(sent_id: str, position: int) -> None:
            await self._delivery.note_sent(message.id, sent_id, position)
            note_step(message.id, "sent", part=position)

        resolved = await self._delivery.resolve(message)
        delivered = await deliver(
            self._within_budget(answer(resolved, running.stopper), running),
            running.outlet,
            stop_id=message.id,
            on_sent=note_sent,
        )
        card = delivered.card
        if card is None or not delivered.is_shown:
            self._keep_mendable(running)
            return "refused"
        running.is_shown = True
        problem = await self._carry_out(running, card)
        if problem is not None:
            card = error_card(problem)
            await deliver(answer_with(card)(message, running.stopper), running.outlet)
        if running.outcome is not None:
            return running.outcome
        if card.error is None:
            return "cancelled" if running.stopper.is_stopped else "answered"
        self._keep_mendable(running)
        return "refused"

    async def _carry_out(self, running: _Running, card: Card) -> str | None:
        """Do what a card asks for beyond being shown: notices elsewhere, messages to be taken away.

        Return what the asker must know of that: a notice that is not there.
        """
        message, platform = running.message, self._platform
        problem = None
        for number, (channel_id, notice) in enumerate(card.notices):
            try:
                await platform.post_notice(channel_id, notice, message, f"{message.id}.n{number}")
            except FewshotError as e:
                logger.warning("a notice could not be sent to channel %s: %s", channel_id, e)
                prefix = running.outlet.traits.slash_prefix or self._bot.command_prefix
                problem = _NO_NOTICE.format(prefix=prefix)
        for sent_id in card.removed_ids:
            try:
                await platform.delete(message.scope, sent_id)
            except FewshotError as e:
                logger.warning("a message in channel %s could not be taken away: %s", message.scope.channel, e)
        return problem

    def _keep_mendable(self, running: _Running) -> None:
        self._refused[running.message.id] = running.outlet
        while len(self._refused) > _MENDABLE:
            del self._refused[next(iter(self._refused))]

    async def _within_budget(self, cards: Cards, running: _Running) -> Cards:
        """Yield `cards`; a refusal beyond what a channel is shown becomes a sign under the message."""
        scope, author = running.message.scope, running.message.author
        async with aclosing(cards):
            async for card in cards:
                if card.error is not None and not scope.is_direct and running.message.reach == "public":
                    is_shown = self._budget.take(scope.thread or scope.channel, author.id)
                    # In a flood even signs would be too much.
                    if not is_shown and (card is _CROWDED or await running.outlet.mark_refused()):
                        return
                yield card
