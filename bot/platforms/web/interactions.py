"""Clicks, forms and Stop on the page."""

from collections.abc import Mapping

from bot.commands.bot import Bot
from bot.core.messages import Click, FormSubmitted, Message, Scope
from bot.errors import OptedOut, RequestError, Unavailable
from bot.platforms.shared.answering import Answering
from bot.platforms.shared.kept_clicks import as_request
from bot.platforms.shared.submitting import Submitting, problem_of
from bot.platforms.web.fields import message_number
from bot.platforms.web.outlets import Asked, WebOutlet
from bot.platforms.web.stage import Stage
from bot.platforms.web.windows import Window
from bot.services.hosted_messages import HostedMessage
from bot.services.ledger import Delivery


class Interactions:
    """Turns clicks and forms into requests. RequestError is for the person who acted."""

    def __init__(self, bot: Bot, delivery: Delivery, answering: Answering, stage: Stage) -> None:
        self._bot = bot
        self._delivery = delivery
        self._answering = answering
        self._stage = stage

    async def click(
        self, scope: Scope, window: Window, *, message_id: str, card_id: str, revision: int, action: str, value: str
    ) -> None:
        """Carry out a press of a button, or a choice in a select."""
        clicked = await self._clicked(scope, message_id, card_id) if message_id else None
        author = self._stage.places.author(window.person)
        key = "" if clicked is not None else (self._stage.key_of(window.person.id, card_id) or f"card {card_id}")
        click = Click(
            id=str(self._stage.clock.next()),
            scope=clicked.scope if clicked else scope,
            author=author,
            card_id=card_id,
            revision=revision,
            action=action,
            value=value,
            message_id=message_id or None,
        )
        is_out = await self._stage.messages.is_opted_out(window.person.id)
        is_accepted = self._bot.may_take_long(action) and await self._accept(click)
        asked = Asked(click.id, click.scope, author.id, window, not is_out, key)
        outlet = WebOutlet(self._stage, asked, shown=clicked, is_click=clicked is not None)
        self._answering.begin(
            Message(click.id, click.scope, author, "", reach="form"),
            outlet,
            is_kept=is_accepted,
            answer=lambda _, stopper: self._bot.click(click, stopper),
        )

    async def _clicked(self, scope: Scope, message_id: str, card_id: str) -> HostedMessage:
        """Return the message with a card in a channel. Raises RequestError if it is not there."""
        number = message_number(message_id)
        found = None if number is None else await self._stage.messages.get(number)
        place = None if found is None else (found.scope.server, found.scope.channel)
        if found is None or place != (scope.server, scope.channel):
            raise RequestError("That message is not there any more.")
        if (found.card or {}).get("card_id") != card_id:
            raise RequestError("That card has changed. Look at it again.")
        return found

    async def _accept(self, click: Click) -> bool:
        """Keep a click until it is done, so that a restart does not lose it; return whether that was possible."""
        try:
            return await self._delivery.accept(as_request(click))
        except (OptedOut, Unavailable):
            return False

    async def stop(self, message_id: str, scope: Scope, window: Window) -> None:
        """Stop an answer that is being written. Raises RequestError."""
        author = await self._bot.with_rights(scope, self._stage.places.author(window.person))
        sentence = await self._answering.stop(message_id, author)
        if sentence is not None:
            raise RequestError(sentence)

    async def submit(self, scope: Scope, window: Window, *, form_id: str, values: Mapping[str, str], cause: str) -> str:
        """Hand in a form; return what is wrong with it, "" if it is accepted."""
        author = self._stage.places.author(window.person)
        message = Message(str(self._stage.clock.next()), scope, author, "", reach="form")
        submitted = FormSubmitted(message.id, scope, author, form_id, dict(values), is_on_card=bool(cause))
        submitting = Submitting(self._bot.submit(submitted))
        card = await submitting.first_card()
        problem = "" if card is None else problem_of(card)
        if card is not None and problem and (card.error is not None or not cause):
            await submitting.close()
            return problem
        is_out = await self._stage.messages.is_opted_out(window.person.id)
        asked = Asked(message.id, scope, author.id, window, not is_out, cause)
        self._answering.begin(message, WebOutlet(self._stage, asked), is_kept=False, answer=submitting.answer)
        return problem
