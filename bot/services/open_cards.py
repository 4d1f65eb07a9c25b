"""The stored state of cards with buttons, and the tree of continuations of a completion."""

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
COMMAND_CARD: Final = "command"  # a private or form command with an Open button
MAX_OPTIONS: Final = 9
# The card is erased with the message that it is about; nothing else ends it.
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
    """The state of a completion.

    The text so far is the asker's text followed by `taken`. The asker's text is stored in the message `message_id`
    (after its command with `is_command_line`), not here, so that erasing the message erases it. `request_id` is the
    message that asked for the card; it differs if it asked about the message it replied to. `options` are the current
    continuations. `past` has earlier (taken, options), oldest first, for undo. `num_rounds` counts the rounds of
    sampling; each round's seed follows from the first. With `ends_sentence` continuations end with their sentence, as
    no length was asked for.
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
        """Return the sampling options of the next round: those of the first with another seed."""
        return self.params.shift_seed(self.num_rounds)

    def offer(self, options: tuple[CompletionOption, ...]) -> "CompletionTree":
        """Return the tree with new options, after one more round."""
        return replace(
            self,
            options=options,
            past=(*self.past, (self.taken, self.options)) if self.options else self.past,
            num_rounds=self.num_rounds + 1,
        )

    def take(self, index: int) -> "CompletionTree":
        """Return the tree after option `index` (from 0) was taken; it has no options."""
        return replace(
            self,
            taken=self.taken + self.options[index].text,
            options=(),
            past=(*self.past, (self.taken, self.options)),
        )

    def undo(self) -> "CompletionTree":
        """Return the tree before its last step. Raises IndexError at the start."""
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
    """Store `tree` as a new card, or as the next revision of `card`; return the stored card.

    If `card` was changed or closed in between, the tree becomes a new card, so nothing is lost. Raises OptedOut if the
    owner asked not to be read.
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
    """Store a new card with `state` for as long as it `lives`; return it. Raises OptedOut as `save_open_card` does."""
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
