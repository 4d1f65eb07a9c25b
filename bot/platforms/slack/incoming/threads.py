"""The threads that the bot takes part in: mentioned once, it answers the whole thread."""

from collections import OrderedDict
from typing import Final

from bot.core.messages import Scope
from bot.platforms.slack.ids import SlackId
from bot.platforms.slack.incoming.reading import Said, scope_of
from bot.platforms.slack.workspaces import Workspace
from bot.services.ledger import Delivery

_MAX_KEPT: Final = 5_000


class Threads:
    """Knows the bot's threads; those of earlier runs are in the store.

    What was said in a thread before somebody talked with the bot there is not for it, also when it is read back.
    """

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._joined: OrderedDict[Scope, str] = OrderedDict()

    def join(self, scope: Scope, ts: str) -> None:
        """Note that somebody talked with the bot in this thread at the time `ts`."""
        if scope.thread:
            self._joined[scope] = min(ts, self._joined.get(scope, ts))
            self._joined.move_to_end(scope)
            while len(self._joined) > _MAX_KEPT:
                self._joined.popitem(last=False)

    def knows(self, scope: Scope) -> bool:
        """Say whether this run knows that somebody talked with the bot in a thread."""
        return scope in self._joined

    async def is_ours(self, said: Said, workspace: Workspace) -> bool:
        """Say whether `said` is a reply in a thread, and the bot was part of it by then. Raises Unavailable."""
        if not said.is_in_thread:
            return False
        if said.parent_user_id == workspace.user_id:
            return True
        scope = scope_of(said, is_for_bot=True)
        if scope not in self._joined:
            first = await self._delivery.first_chat_id(scope)
            if (
                first is not None
                and SlackId.parse(first).ts == scope.thread
                and not await self._delivery.is_known(first)
            ):
                # The message above the thread was stored because somebody asked the bot below it.
                first = await self._delivery.first_chat_id(scope, but=first)
            if first is None:
                return False
            # A click or a slash command is no message of the thread.
            where = SlackId.parse(first)
            self.join(scope, where.ts if where.channel == scope.channel else scope.thread)
        return said.id.ts > self._joined[scope]
