"""The state behind cards that people act on: a completion's tree of continuations, kept in the store."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from bot.core.messages import Scope, now_utc
from bot.core.sampling_params import SamplingParams
from bot.store.cards import OpenCard
from bot.store.store import Store

COMPLETION_CARD: Final = "completion"
COMMAND_CARD: Final = "command"  # a private or form command behind an Open button
MAX_OPTIONS: Final = 9
# Words go when their message does, and the card with them: nothing else ends it.
FOR_GOOD: Final = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class CompletionOption:
    """One continuation: its text, log-probability (nats) and why it ended."""

    text: str
    logprob: float
    finish_reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values."""
        return {"text": self.text, "logprob": self.logprob, "finish_reason": self.finish_reason}


@dataclass(frozen=True, slots=True)
class CompletionTree:
    """Where someone stands in completing a text.

    The text so far is what was asked followed by `taken`. What was asked is kept in the message `message_id` (behind
    its command where `is_command_line`), not here, so that forgetting the message forgets it. `request_id` is the
    message that asked for the card: another one where it asked about a message that it replied to. `options` are the
    continuations on offer. `past` holds earlier (taken, options), oldest first, for undo. `num_rounds` counts what
    was drawn, so that each round has a seed of its own that follows from the first. `ends_sentence` says that
    continuations end with their sentence; who asked for a length gets that instead.
    """

    message_id: str
    is_command_line: bool
    params: SamplingParams
    taken: str = ""
    options: tuple[CompletionOption, ...] = ()
    past: tuple[tuple[str, tuple[CompletionOption, ...]], ...] = ()
    num_rounds: int = 0
    ends_sentence: bool = True
    request_id: str = ""

    @property
    def round_params(self) -> SamplingParams:
        """Return the options of the next round: those of the first with a seed of its own."""
        return self.params.shift_seed(self.num_rounds)

    def offer(self, options: tuple[CompletionOption, ...]) -> "CompletionTree":
        """Return the tree with other options on offer, after one more round."""
        return replace(
            self,
            options=options,
            past=(*self.past, (self.taken, self.options)) if self.options else self.past,
            num_rounds=self.num_rounds + 1,
        )

    def take(self, index: int) -> "CompletionTree":
        """Return the tree after option `index` (from 0) was taken; nothing is on offer then."""
        return replace(
            self,
            taken=self.taken + self.options[index].text,
            options=(),
            past=(*self.past, (self.taken, self.options)),
        )

    def undo(self) -> "CompletionTree":
        """Return the tree as it was before the last step. Raises IndexError at the start."""
        taken, options = self.past[-1]
        return replace(self, taken=taken, options=options, past=self.past[:-1])

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as JSON-able values."""
        return {
            "message_id": self.message_id,
            "is_command_line": self.is_command_line,
            "params": self.params.to_dict(),
            "taken": self.taken,
            "options": [option.to_dict() for option in self.options],
            "past": [[taken, [option.to_dict() for option in options]] for taken, options in self.past],
            "num_rounds": self.num_rounds,
            "ends_sentence": self.ends_sentence,
            "request_id": self.request_id,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "CompletionTree":
        """Return the tree that `to_dict()` wrote."""
        return cls(
            message_id=values["message_id"],
            is_command_line=values["is_command_line"],
            params=SamplingParams.from_dict(values["params"]),
            taken=values["taken"],
            options=tuple(CompletionOption(**option) for option in values["options"]),
            past=tuple(
                (taken, tuple(CompletionOption(**option) for option in options)) for taken, options in values["past"]
            ),
            num_rounds=values["num_rounds"],
            ends_sentence=values["ends_sentence"],
            request_id=values.get("request_id", values["message_id"]),
        )


async def save_tree(store: Store, scope: Scope, owner_id: str, tree: CompletionTree, card: OpenCard | None) -> OpenCard:
    """Keep `tree` as a new card, or as the next revision of `card`; return the card as kept.

    Where `card` was changed or closed meanwhile, the tree becomes a card of its own: nothing is lost.
    """
    if card is not None:
        following = replace(card, revision=card.revision + 1, state=tree.to_dict())
        if await store.save_open_card(following):
            return following
    return await open_card(
        store, scope, owner_id, COMPLETION_CARD, tree.to_dict(), source_message_id=tree.message_id, lives=FOR_GOOD
    )


async def open_card(
    store: Store,
    scope: Scope,
    owner_id: str,
    kind: str,
    state: Mapping[str, Any],
    *,
    source_message_id: str | None = None,
    lives: timedelta,
) -> OpenCard:
    """Keep a new card with `state` behind its buttons for as long as it `lives`; return it."""
    now = now_utc()
    card = OpenCard(
        id=uuid.uuid4().hex,
        scope=scope,
        owner_id=owner_id,
        kind=kind,
        revision=1,
        state=state,
        created_at_utc=now,
        expires_at_utc=now + lives,
        source_message_id=source_message_id,
    )
    await store.save_open_card(card)
    return card
