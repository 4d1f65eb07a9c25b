"""Examples that members propose for templates: open cards with a number that never changes and is never given twice."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bot.core.messages import Scope, now_utc
from bot.errors import RequestError
from bot.store.backend import Transaction
from bot.store.cards import OpenCard, close_all, insert_card, to_open_card
from bot.store.messages import PROPOSAL_CARD
from bot.store.records import Records, to_microseconds
from bot.store.templates import owner_values

MAX_PROPOSALS: Final = 20  # of one person on one server
# Of the server of a scope; in direct messages of its channel. Takes the three values of `owner_values`.
_OF_SERVER: Final = (
    "FROM conversations c JOIN open_cards o ON o.conversation_id = c.id WHERE c.platform = ?1 AND c.server = ?2"
    f" AND ?3 IN ('', c.channel) AND o.kind = '{PROPOSAL_CARD}' AND o.expires_at_utc > ?4"
)


class Proposals(Records):
    """The part of the store that holds proposed examples; they belong to a server, as templates do."""

    async def add_proposal(self, card: OpenCard) -> OpenCard:
        """Save a new card of a proposal and return it with its `number` for its `template`, both in its state.

        Raises RequestError if its owner has MAX_PROPOSALS here or its message was deleted, OptedOut if they asked not
        to be read.
        """

        async def add(transaction: Transaction) -> OpenCard:
            owner = owner_values(card.scope)
            (mine,) = await transaction.execute(
                f"SELECT count(*) AS num {_OF_SERVER} AND o.owner_id = ?5",
                *owner,
                to_microseconds(now_utc()),
                card.owner_id,
            )
            if mine["num"] >= MAX_PROPOSALS:
                raise RequestError(
                    f"{MAX_PROPOSALS} of your examples wait for a moderator here, which is the limit. Try again when"
                    " some of them were taken or dismissed."
                )
            (counted,) = await transaction.execute(
                "INSERT INTO proposal_numbers (platform, server, channel, name, latest) VALUES (?, ?, ?, ?, 1)"
                " ON CONFLICT (platform, server, channel, name)"
                " DO UPDATE SET latest = proposal_numbers.latest + 1 RETURNING latest",
                *owner,
                card.state["template"],
            )
            numbered = replace(card, state={**card.state, "number": counted["latest"]})
            if not await insert_card(transaction, numbered):
                raise RequestError("The message behind that example was deleted, so it can't become one.")
            return numbered

        return await self._database.write(add)

    async def list_proposals(self, scope: Scope, template: str) -> list[OpenCard]:
        """Return the cards of all proposals for `template` on the server of `scope`, newest first."""
        rows = await self._database.read(
            f"SELECT o.*, c.channel, c.thread {_OF_SERVER} AND json_extract(o.state, '$.template') = ?5"
            " ORDER BY CAST(json_extract(o.state, '$.number') AS BIGINT) DESC",
            *owner_values(scope),
            to_microseconds(now_utc()),
            template,
        )
        return [to_open_card(row, Scope(scope.platform, scope.server, row["channel"], row["thread"])) for row in rows]

    async def count_proposals(self, scope: Scope) -> dict[str, int]:
        """Return how many proposals wait for each template on the server of `scope`, by its name."""
        rows = await self._database.read(
            f"SELECT json_extract(o.state, '$.template') AS template, count(*) AS num {_OF_SERVER} GROUP BY template",
            *owner_values(scope),
            to_microseconds(now_utc()),
        )
        return {row["template"]: row["num"] for row in rows}

    async def dismiss_proposals(self, card_ids: Sequence[str]) -> bool:
        """Delete proposals by the ids of their cards; return False, and delete nothing, if one is gone."""
        return await self._database.write(lambda transaction: close_all(transaction, card_ids))
