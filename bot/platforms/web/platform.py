"""The page as a Platform: other channels of a server, and answers that a restart interrupted."""

from bot.core.cards import Card
from bot.core.messages import Message, Scope
from bot.errors import MessageGone, MissingPermission
from bot.platforms.shared.platform import Platform, Reopened
from bot.platforms.web.outlets import Asked, WebOutlet
from bot.platforms.web.stage import Stage
from bot.platforms.web.wire import card_json
from bot.services.hosted_messages import HostedMessage
from bot.services.ledger import Accepted


class WebPlatform(Platform):
    """The page, through what it shows."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def reopen(self, request: Accepted) -> Reopened:
        """Return the place of an answer, with the message that shows a part of it. Raises MessageGone."""
        message, messages = request.message, self._stage.messages
        # A command that only its asker sees, and a click, are no messages.
        if message.reach != "form" and await messages.get(int(message.id)) is None:
            raise MessageGone("The message is no longer there.")
        answers = await messages.answers_to(int(message.id))
        shown = answers[-1] if answers else None
        is_whole = request.reply_text is not None and shown is not None and bool((shown.card or {}).get("is_final"))
        outlet = WebOutlet(self._stage, Asked(message.id, message.scope, message.author.id), shown=shown)
        return Reopened(outlet, is_whole=is_whole)

    async def post_notice(self, channel_id: str, notice: Card, cause: Message, notice_id: str) -> None:
        """Post `notice` in another channel of the same server. Raises MissingPermission."""
        stage, scope = self._stage, cause.scope
        if not scope.has_server or stage.places.name_of_channel(scope, channel_id) is None:
            raise MissingPermission("This is not a channel of the server.")
        number = stage.clock.next()
        message = HostedMessage(
            number, Scope(scope.platform, scope.server, channel_id), "", card=card_json(notice), revision=number
        )
        await stage.add(message, nonce=notice_id)

    async def delete(self, scope: Scope, sent_id: str) -> None:
        """Delete one of the bot's own messages."""
        found = await self._stage.messages.get(int(sent_id)) if sent_id.isdecimal() else None
        if found is not None and not found.author_id and found.scope.server == scope.server:
            await self._stage.remove(found.id)
