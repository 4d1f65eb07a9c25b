"""Requests accepted and not answered when the program ended: answered exactly once, or reported as expired."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Final

from bot.background import run_in_background
from bot.core.cards import error_card
from bot.errors import FewshotError, MessageGone, Unavailable
from bot.platforms.shared.answering import Answering, answer_with
from bot.platforms.shared.platform import Platform
from bot.services.ledger import Accepted, Delivery, Signal

logger = logging.getLogger(__name__)

_EXPIRED: Final = "I was away when you asked this, and it is now too old to answer. Please ask again."
# The pause before undelivered answers are tried again.
PAUSE_S: Final = 15.0
# So many are resumed at a time; while that many run, the next one is looked at so often.
MAX_AT_ONCE: Final = 32
_LOOK_S: Final = 0.1


class Unfinished:
    """Answers unfinished requests; reads what is already visible before it sends anything again.

    Where several programs share the platform, these are also the requests that another one has left.
    """

    def __init__(
        self, delivery: Delivery, answering: Answering, platform: Platform, *, pause_s: float = PAUSE_S
    ) -> None:
        self._delivery = delivery
        self._answering = answering
        self._platform = platform
        self._pause_s = pause_s
        self._accepted: Sequence[Accepted] = ()
        self._is_loaded = False
        self._is_connected = False
        self._taking: asyncio.Task[None] | None = None
        # Those that were to be answered at the last look, and nobody did.
        self._unattended: set[str] = set()
        delivery.share(self)

    async def load(self) -> None:
        """Load the unfinished requests. Call it before connecting: later requests are answered by `Answering`.

        If the database does not allow it now, `answer_undelivered` does it as soon as that is possible.
        """
        try:
            await self._delivery.take_over(MAX_AT_ONCE)
            accepted = await self._delivery.unfinished()
        except Unavailable as e:
            logger.warning("could not load unfinished requests: %s", e)
            return
        self._is_loaded = True
        self._accepted = [one for one in accepted if not self._answering.is_running(one.message.id)]
        for request in self._accepted:
            self._answering.expect(request.message)

    async def answer_all(self) -> None:
        """Resume every request that was loaded, the oldest first."""
        accepted, self._accepted = self._accepted, ()
        self._is_connected = True
        await self._answer(accepted)
        if accepted:
            logger.info("resumed %d unfinished requests", len(accepted))

    async def answer_undelivered(self) -> None:
        """Resume, every `pause_s` seconds, the requests whose answers could not be shown; runs until cancelled."""
        while True:
            await asyncio.sleep(self._pause_s)
            if not self._is_loaded:
                await self.load()
                await self.answer_all()
            undelivered = self._answering.take_undelivered()
            if not undelivered and not self._delivery.is_shared:
                continue
            try:
                accepted = await self._delivery.unfinished()
                due = undelivered | self._look_for_unattended(accepted)
                await self._answer([request for request in accepted if request.message.id in due])
            except Unavailable as e:
                logger.warning("could not load unfinished requests: %s", e)
                self._leave(undelivered)
            except Exception:
                self._leave(undelivered)
                raise

    def _look_for_unattended(self, accepted: Sequence[Accepted]) -> set[str]:
        """Return the requests that nobody answers since the last look.

        The answer of the database was lost, for example, when one was taken over.
        """
        before = self._unattended
        ids = (request.message.id for request in accepted)
        self._unattended = {one for one in ids if not self._answering.is_known(one)}
        return before & self._unattended

    def lose(self) -> None:
        """Stop answering: others may take over what is being answered."""
        self._answering.lose()

    async def follow(self, signal: Signal) -> None:
        """Do what another program has told. Raises Unavailable."""
        if signal.kind == "withdrawn":
            await self._answering.withdrawn(signal.subject)
        elif signal.kind == "stopped":
            self._answering.stop_now(signal.subject)
        elif signal.kind == "edited":
            for request in await self._delivery.unfinished():
                if request.message.id == signal.subject:
                    await self._answering.edited(request.message)

    async def take_over(self) -> None:
        """Answer some of the requests that no living program answers. Raises Unavailable."""
        if self._is_connected and (self._taking is None or self._taking.done()):
            taken = set(await self._delivery.take_over(MAX_AT_ONCE - self._answering.num_running))
            if taken:
                logger.info("took over %d requests of other programs", len(taken))
                self._taking = run_in_background(self._answer_taken(taken), "answering what other programs have left")

    async def _answer_taken(self, taken: Collection[str]) -> None:
        try:
            accepted = await self._delivery.unfinished()
            await self._answer([request for request in accepted if request.message.id in taken])
        except Unavailable as e:
            logger.warning("could not load what other programs have left: %s", e)
            self._leave(taken)

    def _leave(self, message_ids: Collection[str]) -> None:
        """Leave requests for the next try."""
        for message_id in message_ids:
            self._answering.leave(message_id)

    async def _answer(self, accepted: Sequence[Accepted]) -> None:
        for request in accepted:
            self._answering.expect(request.message)
        started: set[str] = set()
        for request in accepted:
            # All at once would be refused: the queues have room for what comes one by one.
            while len(started) >= MAX_AT_ONCE:
                started = {message_id for message_id in started if self._answering.is_running(message_id)}
                await asyncio.sleep(_LOOK_S if len(started) >= MAX_AT_ONCE else 0)
            if self._answering.is_running(request.message.id):  # after an edit
                self._answering.expect_no_more(request.message.id)
                continue
            started.add(request.message.id)
            channel = request.message.scope.channel
            try:
                await self._resume_or_finish(request)
            except FewshotError as e:
                logger.warning("could not resume a request in channel %s: %s", channel, type(e).__name__)
                self._answering.leave(request.message.id)
            except Exception:
                # A bug must not cost the other requests their answers; the next start tries this one again.
                logger.exception("resuming a request in channel %s failed", channel)
            finally:
                self._answering.expect_no_more(request.message.id)

    async def _resume_or_finish(self, request: Accepted) -> None:
        """Resume a request, or finish it if no answer can ever be shown."""
        try:
            await self._resume(request)
        except MessageGone:
            await self._delivery.finish(request.message.id, "cancelled")
        except Unavailable:
            raise
        except FewshotError:
            # The platform refuses the answer; someone may allow it until the request expires.
            if not request.is_expired:
                raise
            await self._delivery.finish(request.message.id, "expired")

    async def _resume(self, request: Accepted) -> None:
        message = request.message
        if request.is_erased or self._answering.is_withdrawn(message.id):
            await self._delivery.finish(message.id, "cancelled")
            return
        if request.token and request.is_expired:  # the token has expired too, so nothing can be shown
            await self._delivery.finish(message.id, "expired")
            return
        reopened = await self._platform.reopen(request)
        outlet = reopened.outlet
        if reopened.is_whole:
            for position, sent_id in enumerate(outlet.sent_ids):
                await self._delivery.note_sent(message.id, sent_id, position)
            await self._delivery.finish(message.id, "answered")
            return
        if request.is_expired:
            self._answering.begin(message, outlet, answer=answer_with(error_card(_EXPIRED)), outcome="expired")
            return
        await self._delivery.discard_reply(message.id)
        if reopened.message is not None:
            await self._answering.store_edit(reopened.message)
        self._answering.begin(reopened.message or message, outlet)
