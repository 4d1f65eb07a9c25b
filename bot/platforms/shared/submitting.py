"""Submitted forms: the first card says in time what is wrong; what takes longer is shown where the answer belongs."""

import asyncio
import logging
from contextlib import aclosing
from typing import Final

from bot.core.cards import BROKEN, LOADING, Card, error_card
from bot.core.messages import Message
from bot.core.stopping import Stopper
from bot.platforms.shared.answering import Cards

logger = logging.getLogger(__name__)

# Slack waits 3 s for what a submitted form becomes, and a person in front of one hardly longer.
_SUBMITTING_S: Final = 2.2


class Submitting:
    """The cards that answer a form: `first_card`, then either `close` or `answer`, a responder that shows them all."""

    def __init__(self, cards: Cards) -> None:
        self._cards = cards
        self._loading: Card | None = None
        self._first: asyncio.Future[Card | None] = asyncio.ensure_future(self._read_first())

    async def _read_first(self) -> Card | None:
        """Return the first card that says something of the form: that a model is being loaded does not."""
        async for card in self._cards:
            if LOADING not in card.data:
                return card
            self._loading = card
        return None

    async def first_card(self) -> Card | None:
        """Return the first card, None if it is not there in time. A bug has become one sentence."""
        await asyncio.wait({self._first}, timeout=_SUBMITTING_S)
        if not self._first.done():
            return None
        try:
            return self._first.result()
        except Exception:
            logger.exception("a submitted form could not be handled")
            return error_card(BROKEN)

    async def close(self) -> None:
        """Show no more of the answer: the form says it all."""
        await self._cards.aclose()

    async def answer(self, _: Message, __: Stopper) -> Cards:
        """Yield all cards, also the first one."""
        async with aclosing(self._cards):
            if self._loading is not None and not self._first.done():
                yield self._loading
            if (shown := await self._first) is not None:
                yield shown
            async for shown in self._cards:
                yield shown


def problem_of(card: Card) -> str:
    """Return what is wrong with a submitted form, "" if nothing is."""
    if card.error is not None:
        return card.error
    problem = str(card.data.get("problem") or "")
    return f"{problem} Your text is saved, but it has no effect until this is fixed." if problem else ""
