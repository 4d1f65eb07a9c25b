"""Stories: the texts that conversations write together with the bot, part by part."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.core.messages import Message, Scope
from bot.core.sampling_params import SamplingParams
from bot.store.backend import Row, Transaction
from bot.store.messages import _MAY_BE_READ, MESSAGE_COLUMNS, StoredMessage, insert_message, to_stored_message
from bot.store.records import IN_SCOPE, Records, conversation_id, scope_values, to_microseconds
from bot.store.story_forgetting import NO_OFFER

_IN_PROGRESS: Final = "ended_by IS NULL"


@dataclass(frozen=True, slots=True)
class StoryOffer:
    """The continuations to choose from, and the seed that drew them."""

    texts: tuple[str, ...] = ()
    seed: int | None = None

    def to_json(self) -> str:
        """Return the offer as stored."""
        return json.dumps({"texts": self.texts, "seed": self.seed}, ensure_ascii=False) if self.texts else NO_OFFER

    @classmethod
    def from_json(cls, text: str) -> "StoryOffer":
        """Return the offer that `to_json()` wrote."""
        values: Mapping[str, Any] = json.loads(text)
        return cls(tuple(values.get("texts", ())), values.get("seed"))


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of a story: words of the bot (`bot_text`) in answer to the message `message_id`, or the words of that.

    `message` is None if it was deleted, has expired, or is of somebody who asked not to be read.
    """

    id: int
    message_id: str
    bot_text: str | None
    message: StoredMessage | None


@dataclass(frozen=True, slots=True)
class StoredStory:
    """A story, with the parts that were not undone, in order; `begun_by` and `ended_by` are ids of messages."""

    id: int
    revision: int
    params: SamplingParams
    num_rounds: int
    offer: StoryOffer
    begun_by: str
    ended_by: str | None
    parts: tuple[StoredPart, ...]

    @property
    def round_params(self) -> SamplingParams:
        """Return the sampling options of the next round: those of the first with another seed."""
        return self.params.shift_seed(self.num_rounds)

    @property
    def answered_id(self) -> str:
        """Return the message that the next continuations answer: the last part's, or the command that began it all."""
        return self.parts[-1].message_id if self.parts else self.begun_by


class Stories(Records):
    """The part of the store that holds stories. A step names the revision that it goes on from: of two, one counts."""

    async def load_story(self, scope: Scope) -> StoredStory | None:
        """Return the story in progress in `scope`, else the last one that has ended there; None if there is none."""
        rows = await self._database.read(
            "SELECT * FROM stories WHERE conversation_id ="
            f" (SELECT id FROM conversations WHERE {IN_SCOPE}) ORDER BY id DESC LIMIT 1",
            *scope_values(scope),
        )
        return await self._with_parts(rows[0]) if rows else None

    async def _with_parts(self, row: Row) -> StoredStory:
        return StoredStory(
            id=row["id"],
            revision=row["revision"],
            params=SamplingParams.from_dict(json.loads(row["sampling"])),
            num_rounds=row["num_rounds"],
            offer=StoryOffer.from_json(row["offer"]),
            begun_by=row["begun_by"],
            ended_by=row["ended_by"],
            parts=await self._load_parts("p.story_id = ?1 AND p.is_undone = 0", row["id"]),
        )

    async def load_story_parts(self, scope: Scope, part_ids: tuple[int, ...]) -> tuple[StoredPart, ...]:
        """Return those of these parts that are still there, also if they were undone."""
        return await self._load_parts(
            "p.id IN (SELECT CAST(value AS BIGINT) FROM json_each(?1)) AND p.conversation_id ="
            " (SELECT id FROM conversations WHERE platform = ?2 AND server = ?3 AND channel = ?4 AND thread = ?5)",
            json.dumps(part_ids),
            *scope_values(scope),
        )

    async def _load_parts(self, which: str, *values: str | int) -> tuple[StoredPart, ...]:
        rows = await self._database.read(
            f"SELECT p.id AS part_id, p.message_id AS part_of, p.text AS bot_text, {MESSAGE_COLUMNS}"
            " FROM story_parts p JOIN conversations c ON c.id = p.conversation_id"
            " LEFT JOIN messages m ON p.text IS NULL AND m.platform = c.platform AND m.message_id = p.message_id"
            f" AND m.deleted_at_utc IS NULL AND {_MAY_BE_READ}"
            f" WHERE {which} ORDER BY p.id",
            *values,
        )
        return tuple(
            StoredPart(
                row["part_id"],
                row["part_of"],
                row["bot_text"],
                None if row["message_id"] is None else to_stored_message(row),
            )
            for row in rows
        )

    async def begin_story(self, begun_by: Message, params: SamplingParams, *, has_words: bool) -> bool:
        """Begin a story where `begun_by` was sent; return False if one is in progress that another message began.

        With `has_words` that message, which is stored, is its first part.
        """
        scope = begun_by.scope

        async def begin(transaction: Transaction) -> bool:
            conversation = await conversation_id(transaction, scope)
            rows = await transaction.execute(
                f"SELECT begun_by FROM stories WHERE conversation_id = ? AND {_IN_PROGRESS}", conversation
            )
            if rows:
                return bool(rows[0]["begun_by"] == begun_by.id)  # started before a restart
            await transaction.execute(
                "DELETE FROM stories WHERE conversation_id = ?"
                " AND NOT EXISTS (SELECT 1 FROM story_parts WHERE story_id = stories.id)",
                conversation,
            )
            new = await transaction.execute(
                "INSERT INTO stories (conversation_id, revision, sampling, num_rounds, offer, begun_by, begun_at_utc)"
                f" VALUES (?, 1, ?, 0, '{NO_OFFER}', ?, ?) RETURNING id",
                conversation,
                json.dumps(params.to_dict()),
                begun_by.id,
                to_microseconds(begun_by.created_at_utc),
            )
            if has_words:
                await _add_said(transaction, scope, new[0]["id"], conversation, begun_by.id)
            return True

        return await self._database.write(begin)

    async def end_story(self, scope: Scope, *, ended_by: str) -> bool:
        """End the story in progress; return False if there is none, and none that the same message has ended."""

        async def end(transaction: Transaction) -> bool:
            conversation = await conversation_id(transaction, scope)
            ended = await transaction.execute(
                f"UPDATE stories SET ended_by = ?2, revision = revision + 1, offer = '{NO_OFFER}'"
                f" WHERE conversation_id = ?1 AND {_IN_PROGRESS} RETURNING id",
                conversation,
                ended_by,
            )
            return bool(ended) or bool(
                await transaction.execute(
                    "SELECT 1 FROM (SELECT ended_by FROM stories WHERE conversation_id = ? ORDER BY id DESC LIMIT 1)"
                    " AS latest WHERE ended_by = ?",
                    conversation,
                    ended_by,
                )
            )

        return await self._database.write(end)

    async def add_said(self, message: Message) -> bool:
        """Store `message` as the next part of the story in progress there; return False if there is none.

        One that is a part already, also an undone one, stays where it is. A message that may not be stored is no part.
        """

        async def add(transaction: Transaction) -> bool:
            conversation = await conversation_id(transaction, message.scope)
            rows = await transaction.execute(
                f"SELECT id FROM stories WHERE conversation_id = ? AND {_IN_PROGRESS}", conversation
            )
            if rows:
                await insert_message(transaction, message, kind="command")
                await _add_said(transaction, message.scope, rows[0]["id"], conversation, message.id)
            return bool(rows)

        return await self._database.write(add)

    async def choose_part(self, story: StoredStory, index: int, *, asked_id: str) -> bool:
        """Add the continuation `index` on offer as the next part; return False if another step came first.

        `asked_id` is the message whose answer shows the story then: with that answer the part goes, as it does with
        that to the words that it continues.
        """

        async def choose(transaction: Transaction) -> bool:
            rows = await transaction.execute(
                f"SELECT conversation_id, offer FROM stories WHERE id = ? AND revision = ? AND {_IN_PROGRESS}",
                story.id,
                story.revision,
            )
            texts = StoryOffer.from_json(rows[0]["offer"]).texts if rows else ()
            if index >= len(texts):
                return False
            await transaction.execute(
                "INSERT INTO story_parts (story_id, conversation_id, message_id, asked_id, text, offer)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                story.id,
                rows[0]["conversation_id"],
                story.answered_id,
                asked_id,
                texts[index],
                rows[0]["offer"],
            )
            await _next_step(transaction, story.id, NO_OFFER)
            return True

        return await self._database.write(choose)

    async def undo_part(self, story: StoredStory, *, undone_by: str) -> bool:
        """Take back the last part, and offer again what was offered before it; return False if another step came first.

        `undone_by` is the id of the message or click that asks for it. Raises IndexError for a story without parts.
        """
        last = story.parts[-1]

        async def undo(transaction: Transaction) -> bool:
            rows = await transaction.execute(
                "UPDATE story_parts SET is_undone = 1, undone_by = ? WHERE id = ? AND is_undone = 0 AND EXISTS ("
                f" SELECT 1 FROM stories WHERE id = ? AND revision = ? AND {_IN_PROGRESS}) RETURNING offer",
                undone_by,
                last.id,
                story.id,
                story.revision,
            )
            if rows:
                await _next_step(transaction, story.id, rows[0]["offer"])
            return bool(rows)

        return await self._database.write(undo)

    async def has_stepped(self, story: StoredStory, event_id: str) -> bool:
        """Say whether a message or click has chosen or taken back a part of the story already, before a restart."""
        rows = await self._database.read(
            "SELECT 1 FROM story_parts WHERE story_id = ? AND ? IN (undone_by, asked_id)",
            story.id,
            event_id,
        )
        return bool(rows)

    async def save_offer(self, story: StoredStory, offer: StoryOffer) -> bool:
        """Offer new continuations after one more round; return False if another step came first."""

        async def save(transaction: Transaction) -> bool:
            rows = await transaction.execute(
                "UPDATE stories SET num_rounds = num_rounds + 1"
                f" WHERE id = ? AND revision = ? AND {_IN_PROGRESS} RETURNING id",
                story.id,
                story.revision,
            )
            if rows:
                await _next_step(transaction, story.id, offer.to_json())
            return bool(rows)

        return await self._database.write(save)


async def _add_said(transaction: Transaction, scope: Scope, story_id: int, conversation: int, message_id: str) -> None:
    """Add the stored message as the next part, if it is none yet."""
    added = await transaction.execute(
        "INSERT INTO story_parts (story_id, conversation_id, message_id, offer)"
        " SELECT s.id, ?2, m.message_id, s.offer FROM stories s JOIN messages m ON m.platform = ?3"
        " AND m.message_id = ?4 AND m.conversation_id = ?2 AND m.deleted_at_utc IS NULL WHERE s.id = ?1"
        " ON CONFLICT DO NOTHING RETURNING id",
        story_id,
        conversation,
        scope.platform,
        message_id,
    )
    if added:
        await _next_step(transaction, story_id, NO_OFFER)


async def _next_step(transaction: Transaction, story_id: int, offer: str) -> None:
    await transaction.execute("UPDATE stories SET revision = revision + 1, offer = ? WHERE id = ?", offer, story_id)
