"""Requests that are being answered: start, stop, start again after an edit, finish before the program ends."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from bot.background import run_in_background
from bot.commands.bot import COMMANDS, Bot
from bot.commands.framework.spelling import Spelling
from bot.core.cards import BROKEN, Card, error_card
from bot.core.mentions import mention, spell_mentions
from bot.core.messages import Author, Message
from bot.core.stopping import Stopper
from bot.errors import DeliveryFailed, FewshotError, Unavailable
from bot.platforms.shared.kept_clicks import click_of
from bot.platforms.shared.platform import Platform
from bot.platforms.shared.refusals import RefusalBudget
from bot.platforms.shared.streaming import Outlet, Timings, deliver
from bot.platforms.shared.trying import until_available
from bot.services.ledger import Delivery, Outcome
from bot.trace import note_step

logger = logging.getLogger(__name__)

# A refused message that is edited is answered again, so that a mistyped option can be fixed; so many are remembered.
_MAX_REFUSED: Final = 256
# More than the engine's queue holds, since requests also wait for earlier ones of their conversation. The limit keeps a
# flood from filling the memory.
MAX_RUNNING: Final = 256
# The pauses before a request that could not be kept is tried again.
_KEEP_S: Final = 0.25
_MAX_KEEP_S: Final = 5.0
_BROKEN: Final = error_card(BROKEN)
_NOT_YOURS: Final = "Only the person who asked, or a moderator, can stop that answer."
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


async def _remove(outlet: Outlet, message_id: str) -> None:
    try:
        await outlet.remove()
    except FewshotError as e:
        logger.warning("could not remove the answer to the deleted message %s: %s", message_id, type(e).__name__)


class Answering:
    """All requests that are being answered, by message id."""

    def __init__(self, bot: Bot, delivery: Delivery, platform: Platform, *, timings: Timings | None = None) -> None:
        self._timings = timings
        self._bot = bot
        self._delivery = delivery
        self._platform = platform
        self._running: dict[str, _Running] = {}
        self._undelivered: set[str] = set()
        self._refused: dict[str, Outlet] = {}
        self._budget = RefusalBudget()
        # Requests of an earlier run that will be started, and what happened to them before that.
        self._expected: dict[str, Message] = {}
        self._stopped_early: set[str] = set()
        self._withdrawn_early: set[str] = set()
        self._edited_early: dict[str, Message] = {}
        # What is to be answered again once the answer to the words before has ended.
        self._again: dict[str, Message] = {}
        self._is_draining = False

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
        if (edited := self._edited_early.pop(message.id, None)) is not None:
            message = message.with_edit(edited)
        running = _Running(message, outlet, is_kept, outcome)
        if message.id in self._stopped_early:
            running.stopper.stop()
        if len(self._running) >= MAX_RUNNING:
            answer = answer_with(_CROWDED)
        self._running[message.id] = running
        running.task = run_in_background(self._run(running, answer or self._again_or_answer), f"answer {message.id}")

    def keep_later(self, message: Message, *, token: str = "") -> None:
        """Accept a request, which has started, as soon as the database lets it: until then, a restart would lose it."""
        running = self._running.get(message.id)
        if running is not None:
            run_in_background(self._keep_later(running, message, token), f"keeping {message.id}")

    async def _keep_later(self, running: _Running, message: Message, token: str) -> None:
        pause_s = _KEEP_S
        while self._running.get(message.id) is running and not self._is_draining:
            await asyncio.sleep(pause_s)
            pause_s = min(_MAX_KEEP_S, 2 * pause_s)
            try:
                running.is_kept = await self._delivery.accept(message, token=token)
                # It may have been stored by a try of which the answer was lost.
                running.is_kept = running.is_kept or await self._delivery.holds(message.id)
            except Unavailable:
                continue
            if running.is_kept and self._running.get(message.id) is not running:
                await self._finish(message, "answered")
            return

    def _again_or_answer(self, message: Message, stopper: Stopper) -> Cards:
        """Answer a message, or carry out the click that was kept as one."""
        click = click_of(message)
        return self._bot.answer(message, stopper) if click is None else self._bot.click(click, stopper)

    def expect(self, message: Message) -> None:
        """Note a request of an earlier run, so that it can be stopped or withdrawn before it is started."""
        self._expected[message.id] = message

    def expect_no_more(self, message_id: str) -> None:
        """Note that an expected request was started, or ended without that."""
        self._expected.pop(message_id, None)
        self._stopped_early.discard(message_id)
        self._withdrawn_early.discard(message_id)
        self._edited_early.pop(message_id, None)

    async def store_edit(self, message: Message) -> None:
        """Store the new text of a request that was edited before it is started. Raises Unavailable."""
        await self._bot.edited(message)

    def is_withdrawn(self, message_id: str) -> bool:
        """Say whether the message of an expected request was deleted."""
        return message_id in self._withdrawn_early

    def is_running(self, message_id: str) -> bool:
        """Say whether a request is being answered."""
        return message_id in self._running

    def is_known(self, message_id: str) -> bool:
        """Say whether a request is being answered, or will be."""
        return message_id in self._running or message_id in self._expected or message_id in self._undelivered

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

    async def stop(self, message_id: str, author: Author) -> str | None:
        """Stop an answer that is being written; return None, or the error sentence if that is not possible."""
        running = self._running.get(message_id)
        asked = self._expected.get(message_id) if running is None else running.message
        if asked is None:
            return await self._stop_elsewhere(message_id, author)
        if author.id != asked.author.id and not author.is_moderator:
            return _NOT_YOURS
        self.stop_now(message_id)
        return None

    async def _stop_elsewhere(self, message_id: str, author: Author) -> str | None:
        """Stop an answer that another program writes, if there is one."""
        try:
            told = await self._delivery.stop_elsewhere(message_id, author)
        except Unavailable as e:
            return str(e)
        return {"told": None, "not open": "That answer is already finished.", "no": _NOT_YOURS}[told]

    def stop_now(self, message_id: str) -> None:
        """Stop an answer that is being written or will be, for somebody who may."""
        running = self._running.get(message_id)
        if running is not None:
            running.stopper.stop()
        elif message_id in self._expected:
            self._stopped_early.add(message_id)

    def lose(self) -> None:
        """Stop answering what others may take over; what is still this program's own is answered again later."""
        for message_id, running in self._running.items():
            if running.is_kept and running.task is not None:
                self.leave(message_id)
                running.task.cancel()

    async def edited(self, message: Message) -> bool:
        """Answer an edited message again, in the same place, if its answer is being written or was a refusal.

        Return whether it is answered again.
        """
        if message.id in self._again:
            self._again[message.id] = message
            return True
        running = self._running.get(message.id)
        if running is not None:
            before = running.message
            after = before.with_edit(message)
            if (before.text, before.attachment, before.pictures) == (after.text, after.attachment, after.pictures):
                return True
            outlet, is_kept = running.outlet, running.is_kept
        elif message.id in self._refused:
            outlet, is_kept = self._refused.pop(message.id), False
        elif message.id in self._expected:
            self._edited_early[message.id] = message
            return True
        else:
            return False
        latest = await self._end_for(message, running, is_kept=is_kept)
        if latest is None:
            return True
        if running is not None:
            # An edit that was read back says less about its author.
            kept = running.message.with_edit(latest)
            latest = replace(latest, author=kept.author, pictures=kept.pictures)
            if not latest.attachment and latest.has_file:
                latest = replace(latest, attachment=kept.attachment, attachment_format=kept.attachment_format)
        self.begin(latest, outlet, is_kept=is_kept)
        return True

    async def _end_for(self, edited: Message, running: _Running | None, *, is_kept: bool) -> Message | None:
        """End the answer to the words before an edit; return the words to answer, which may be those of a later edit.

        Return None if the message was deleted meanwhile, or is answered when the database is free again.
        """
        self._again[edited.id] = edited
        try:
            if running is not None:
                await self._end(running)
                # Until now it may have stored the old words, after the new ones had come.
                await self._bot.edited(self._again.get(edited.id, edited))
            # An edit right after the end of the first answer finds that answer stored; the new one replaces it.
            await self._delivery.discard_reply(edited.id)
        except Unavailable as e:
            logger.info("could not prepare another answer in channel %s yet: %s", edited.scope.channel, e)
            if is_kept and edited.id in self._again:
                self.leave(edited.id)
                return None
        finally:
            latest = self._again.pop(edited.id, None)
        return latest

    async def withdrawn(self, message_id: str) -> None:
        """Cancel the answer to a deleted message, and remove what is visible of it."""
        refused = self._refused.pop(message_id, None)
        running = self._running.get(message_id)
        if message_id in self._expected:
            self._withdrawn_early.add(message_id)
        self._again.pop(message_id, None)
        if running is not None:
            await self._end(running)
        outlet = running.outlet if running is not None else refused
        if outlet is not None:
            # Not waited for: whatever the platform does with it, the words are erased at once.
            run_in_background(_remove(outlet, message_id), f"removing the answer to {message_id}")

    async def end_in(self, server: str, channel: str = "", thread: str = "") -> None:
        """Cancel the answers being written in a server, channel or thread that is gone."""

        def is_there(message: Message) -> bool:
            scope = message.scope
            return scope.server == server and channel in ("", scope.channel) and thread in ("", scope.thread)

        self._again = {one: message for one, message in self._again.items() if not is_there(message)}
        for running in list(self._running.values()):
            if is_there(running.message):
                await self._end(running)

    async def wait_for_room(self, most: int) -> None:
        """Wait until fewer than `most` requests are being answered."""
        while len(self._running) >= most and (tasks := [one.task for one in self._running.values() if one.task]):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    async def drain(self, timeout_s: float) -> None:
        """Wait until running answers are finished; those that take longer are cancelled and resumed after a restart."""
        self._is_draining = True
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
                await self._finish(message, outcome)
            note_step(message.id, "finished")
        except DeliveryFailed as e:
            logger.warning("could not show an answer in channel %s for now: %s", message.scope.channel, e)
            if running.is_kept:
                self.leave(message.id)
        except FewshotError as e:
            logger.info("could not store an answer in channel %s: %s", message.scope.channel, e)
            if running.is_kept and isinstance(e, Unavailable) and not running.is_shown:
                self.leave(message.id)
        except Exception:
            logger.exception("answering in channel %s failed", message.scope.channel)
            if not running.is_shown:
                await self._tell_broken(running)
        finally:
            if self._running.get(message.id) is running:
                del self._running[message.id]

    async def _finish(self, message: Message, outcome: Outcome) -> None:
        """Record the end of a request; try in the background until the database takes it: its answer is shown."""

        async def finish() -> None:
            await self._delivery.finish(message.id, outcome)

        try:
            await finish()
        except Unavailable:
            trying = until_available(finish, "the end of a request", gives_up=lambda: self._is_draining)
            run_in_background(trying, f"finishing {message.id}")

    async def _tell_broken(self, running: _Running) -> None:
        """Show one sentence instead of an answer that a bug in the program ended; the cause is in the log."""
        message = running.message
        try:
            await deliver(answer_with(_BROKEN)(message, running.stopper), running.outlet)
            if running.is_kept:
                await self._finish(message, "refused")
        except Exception:
            logger.exception("could not report the failure in channel %s", message.scope.channel)

    async def _deliver(self, running: _Running, answer: Responder) -> Outcome:
        message = running.message

        async def note_sent(sent_id: str, position: int) -> None:
            try:
                await self._delivery.note_sent(message.id, sent_id, position)
            except Unavailable as e:
                # The rest is shown all the same; after a restart what is visible is read again.
                logger.info("could not store which message answers in channel %s: %s", message.scope.channel, e)
            note_step(message.id, "sent", part=position)

        resolved = await self._delivery.resolve(message)
        delivered = await deliver(
            self._within_budget(answer(resolved, running.stopper), running),
            running.outlet,
            stop_id=message.id,
            on_sent=note_sent,
            on_shown=lambda: note_step(message.id, "sent"),
            may_show=lambda: self._delivery.may_show or not running.is_kept,
            timings=self._timings,
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
        await self._withdraw(card, message)
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

    async def _withdraw(self, card: Card, asked: Message) -> None:
        """End the answers that are being written to words that the answer to `asked` has erased."""
        ids = list(card.withdrawn_ids)
        if card.withdraws_all:
            ids += [one for one, other in self._running.items() if other.message.author.id == asked.author.id]
        for message_id in ids:
            if message_id != asked.id:
                await self.withdrawn(message_id)

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
                if card.error is not None and scope.has_server and running.message.reach == "public":
                    is_shown = self._budget.take(scope.thread or scope.channel, author.id)
                    # In a flood even reactions would be too many.
                    if not is_shown and (card is _CROWDED or await running.outlet.mark_refused()):
                        return
                yield card
