"""Requests that are being answered: start, stop, start again after an edit, finish before the program ends."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from bot.commands.bot import COMMANDS, Bot
from bot.commands.framework.spelling import Spelling
from bot.core.cards import BROKEN, Card, error_card
from bot.core.mentions import mention, spell_mentions
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

# A refused message that is edited is answered again, so that a mistyped option can be fixed; so many are remembered.
_MAX_REFUSED: Final = 256
# More than the engine's queue holds, since requests also wait for earlier ones of their conversation. The limit keeps a
# flood from filling the memory.
MAX_RUNNING: Final = 256
_BROKEN: Final = error_card(BROKEN)
_NO_NOTICE: Final = (
    "I can't post in the moderators' channel, so they were not told. A moderator can choose another channel with"
    f" {mention('settings report_channel')}."
)
_CROWDED: Final = error_card("Too many people are asking at once. Ask again in a minute.")

Cards = AsyncGenerator[Card]
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
    """Return a responder that answers with this one card."""

    async def answer(message: Message, stopper: Stopper) -> Cards:
        yield card

    return answer


class Answering:
    """All requests that are being answered, by message id."""

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
        """Answer `message` in the background; `is_kept` says that the delivery has accepted it.

        `outcome` is the outcome to record; with None it follows from the answer.
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
        """Say whether an edit of the message would start its answer again: it is being written, or was a refusal."""
        return message_id in self._running or message_id in self._refused

    def leave(self, message_id: str) -> None:
        """Keep a request for `take_undelivered`: it could not be answered while the platform was unreachable."""
        self._undelivered.add(message_id)

    def take_undelivered(self) -> set[str]:
        """Return the ids of the accepted requests whose answers could not be shown, and forget them."""
        undelivered, self._undelivered = self._undelivered, set()
        return undelivered

    def stop(self, message_id: str, author: Author) -> str | None:
        """Stop an answer that is being written; return None, or the error sentence if that is not possible."""
        running = self._running.get(message_id)
        if running is None:
            return "That answer is already finished."
        if author.id != running.message.author.id and not author.is_moderator:
            return "Only the person who asked, or a moderator, can stop that answer."
        running.stopper.stop()
        return None

    async def edited(self, message: Message) -> bool:
        """Answer an edited message again, in the same place, if its answer is being written or was a refusal.

        Return whether it is answered again.
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
        # An edit right after the end of the first answer finds that answer stored; the new one replaces it.
        await self._delivery.discard_reply(message.id)
        original = running.message if running else message
        attachment = message.attachment or original.attachment
        self.begin(replace(message, attachment=attachment), outlet, is_kept=is_kept)
        return True

    async def withdrawn(self, message_id: str) -> None:
        """Cancel the answer to a deleted message, and remove what is visible of it."""
        refused = self._refused.pop(message_id, None)
        running = self._running.get(message_id)
        if running is not None:
            await self._end(running)
        outlet = running.outlet if running is not None else refused
        if outlet is not None:
            await outlet.remove()

    async def end_in(self, server: str, channel: str = "", thread: str = "") -> None:
        """Cancel the answers being written in a server, channel or thread that is gone."""
        for running in list(self._running.values()):
            scope = running.message.scope
            if scope.server == server and channel in ("", scope.channel) and thread in ("", scope.thread):
                await self._end(running)

    async def drain(self, timeout_s: float) -> None:
        """Wait until running answers are finished; those that take longer are cancelled and resumed after a restart."""
        tasks = [running.task for running in self._running.values() if running.task]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _end(self, running: _Running) -> None:
        """Cancel an answer and wait for its task to end."""
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
            logger.warning("could not show an answer in channel %s for now: %s", message.scope.channel, e)
            if running.is_kept:
                self.leave(message.id)
        except FewshotError as e:
            logger.warning("could not store an answer in channel %s: %s", message.scope.channel, e)
        except Exception:
            logger.exception("answering in channel %s failed", message.scope.channel)
            if not running.is_shown:
                await self._tell_broken(running)
        finally:
            if self._running.get(message.id) is running:
                del self._running[message.id]

    async def _tell_broken(self, running: _Running) -> None:
        """Show one sentence instead of an answer that a bug in the program ended; the cause is in the log."""
        message = running.message
        try:
            await deliver(answer_with(_BROKEN)(message, running.stopper), running.outlet)
            if running.is_kept:
                await self._delivery.finish(message.id, "refused")
        except Exception:
            logger.exception("could not report the failure in channel %s", message.scope.channel)

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
            on_shown=lambda: note_step(message.id, "sent"),
        )
        card = delivered.card
        if card is None or not delivered.is_shown:
            self._keep_refused(running)
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
        self._keep_refused(running)
        return "refused"

    async def _carry_out(self, running: _Running, card: Card) -> str | None:
        """Post the notices of a card in other channels, and delete the messages that it removes.

        Return a sentence for the person who asked if a notice could not be posted, else None.
        """
        message, platform = running.message, self._platform
        problem = None
        for number, (channel_id, notice) in enumerate(card.notices):
            try:
                await platform.post_notice(channel_id, notice, message, f"{message.id}.n{number}")
            except FewshotError as e:
                logger.warning("could not post a notice in channel %s: %s", channel_id, e)
                problem = spell_mentions(_NO_NOTICE, self._spelling(running).spell)
        for sent_id in card.removed_ids:
            try:
                await platform.delete(message.scope, sent_id)
            except FewshotError as e:
                logger.warning("could not delete a message in channel %s: %s", message.scope.channel, e)
        return problem

    def _spelling(self, running: _Running) -> Spelling:
        """Return the form of commands for the person who asked: slash commands if they used one."""
        traits, prefix = running.outlet.traits, self._bot.command_prefix
        return Spelling.for_reader(COMMANDS, traits, prefix, running.message.reach)

    def _keep_refused(self, running: _Running) -> None:
        self._refused[running.message.id] = running.outlet
        while len(self._refused) > _MAX_REFUSED:
            del self._refused[next(iter(self._refused))]

    async def _within_budget(self, cards: Cards, running: _Running) -> Cards:
        """Yield `cards`; a refusal above the channel's limit becomes a reaction to the message."""
        scope, author = running.message.scope, running.message.author
        async with aclosing(cards):
            async for card in cards:
                if card.error is not None and not scope.is_direct and running.message.reach == "public":
                    is_shown = self._budget.take(scope.thread or scope.channel, author.id)
                    # In a flood even reactions would be too many.
                    if not is_shown and (card is _CROWDED or await running.outlet.mark_refused()):
                        return
                yield card
