"""All open cards of one kind, for lists."""

from bot.core.messages import Scope, now_utc
from bot.store.cards import OpenCard, _to_open_card
from bot.store.channel_settings import DIRECT_MESSAGES
from bot.store.records import Records, to_microseconds


class CardLists(Records):
    """The part of the store that lists open cards."""

    async def list_open_cards(self, scope: Scope, kind: str, *, limit: int) -> list[OpenCard]:
        """Return the newest cards of `kind` on the server of `scope`, in direct messages of this one conversation."""
        rows = await self._database.read(
            "SELECT o.*, c.channel, c.thread FROM open_cards o JOIN conversations c ON c.id = o.conversation_id"
            " WHERE c.platform = ? AND c.server = ? AND (c.server <> ? OR c.channel = ?) AND o.kind = ?"
            " AND o.expires_at_utc > ? ORDER BY o.created_at_utc DESC, o.rowid DESC LIMIT ?",
            scope.platform,
            scope.server,
            DIRECT_MESSAGES,
            scope.channel,
            kind,
            to_microseconds(now_utc()),
            max(limit, 0),
        )
        return [_to_open_card(row, Scope(scope.platform, scope.server, row["channel"], row["thread"])) for row in rows]
