"""Interactions from their creation to the last follow-up, with the rules for when they may be answered."""

import time
from dataclasses import dataclass, field
from typing import Any

from tests.servers.discord.texts import labels
from tests.servers.discord.world import LOADING, Channel, Message, User, World

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
SAYS, DEFERS, DEFERS_UPDATE, UPDATES, SUGGESTS, OPENS_MODAL = 4, 5, 6, 7, 8, 9
KINDS = {SAYS: "message", DEFERS: "deferred", DEFERS_UPDATE: "deferred_update", UPDATES: "update"}
KINDS |= {SUGGESTS: "autocomplete", OPENS_MODAL: "modal"}
ALLOWED = {
    COMMAND: {SAYS, DEFERS, OPENS_MODAL},
    COMPONENT: {SAYS, DEFERS, DEFERS_UPDATE, UPDATES, OPENS_MODAL},
    AUTOCOMPLETE: {SUGGESTS},
    MODAL_SUBMIT: {SAYS, DEFERS, DEFERS_UPDATE, UPDATES},
}
ANSWER_WITHIN_S = 3.0
TOKEN_LIFETIME_S = 15 * 60.0
QUIET_S = 0.3


@dataclass(eq=False)
class InteractionResult:
    """The result of one command, click or modal.

    `kind` is None until it is acknowledged, then message, deferred, deferred_update, update, autocomplete or modal.
    `message` is the answer (of an update: the message that was clicked), `followups` what came after it.
    """

    id: int
    token: str
    type: int
    user: User
    channel: Channel
    world: World
    source: Message | None = None
    is_user_install: bool = False
    sent_at: float = field(default_factory=time.monotonic)
    kind: str | None = None
    acknowledged_after_s: float | None = None
    is_ephemeral: bool = False
    message: Message | None = None
    followups: list[Message] = field(default_factory=list)
    modal: "Modal | None" = None
    choices: list[dict[str, Any]] = field(default_factory=list)
    was_answer_lost: bool = False
    refusal: str | None = None
    violations: list[str] = field(default_factory=list)

    def is_ignored(self) -> bool:
        """Return whether Discord's client says that the application did not respond."""
        return self.kind is None and time.monotonic() - self.sent_at > ANSWER_WITHIN_S

    def is_loading(self) -> bool:
        """Return whether the answer was deferred and has not been sent."""
        return self.message is not None and not self.message.is_deleted and bool(self.message.flags & LOADING)

    def is_expired(self) -> bool:
        """Return whether its token has expired."""
        return time.monotonic() - self.sent_at > TOKEN_LIFETIME_S

    def is_finished(self) -> bool:
        """Return whether the answer is final: acknowledged, not loading, unchanged for a moment, no Stop button."""
        if self.kind is None:
            return False
        if self.kind == "deferred_update":
            return self._has_come_of_update()
        return self.message is None or self._is_settled(self.message)

    def _has_come_of_update(self) -> bool:
        if self.source is None or self.source.is_deleted:
            return True
        is_changed = self.source.changed_at >= self.sent_at
        is_answered = bool(self.followups) or any(
            message.author.is_bot and message.versions[0][0] > self.sent_at for message in self.channel.messages
        )
        return (is_answered or is_changed) and all(map(self._is_settled, [self.source, *self.followups]))

    def _is_settled(self, message: Message) -> bool:
        return is_settled(message, 0.0 if self.world.is_bot_at_rest() else QUIET_S)

    async def finished(self, timeout: float = 10.0) -> "InteractionResult":
        """Wait until the answer is final, and return self."""
        await self.world.wait_until(self.is_finished, timeout, lambda: f"the end of {self}")
        return self

    async def acknowledged(self, timeout: float = 3.5) -> "InteractionResult":
        """Wait for the first answer; a client shows that the application did not respond after 3 s."""

        def is_answered() -> bool:
            return self.kind is not None or self.refusal is not None

        await self.world.wait_until(is_answered, timeout, self._what_is_missing)
        if self.refusal:
            raise AssertionError(f"{self}: {self.refusal}")
        return self

    def _what_is_missing(self) -> str:
        return f"the first answer to {self}; violations {self.violations[-3:]}"

    def __str__(self) -> str:
        names = {COMMAND: "a command", COMPONENT: "a click", AUTOCOMPLETE: "an autocomplete", MODAL_SUBMIT: "a form"}
        return f"{names[self.type]} of {self.user.name} (answered so far: {self.kind})"


@dataclass(eq=False)
class Modal:
    """A modal that the bot opened; `payload` has title, custom_id and components."""

    payload: dict[str, Any]
    opened_by: InteractionResult

    @property
    def title(self) -> str:
        return str(self.payload["title"])


def is_settled(message: Message, quiet_s: float = QUIET_S) -> bool:
    """Return whether a message is finished: gone, or not loading, without a Stop button and unchanged for a moment."""
    if message.is_deleted:
        return True
    is_writing = bool(message.flags & LOADING) or "Stop" in labels(message)
    return not is_writing and time.monotonic() - message.changed_at >= quiet_s


class Interactions:
    """All interactions, found by id and by token."""

    def __init__(self, world: World, violations: list[str]) -> None:
        self.world = world
        self.violations = violations
        self.by_id: dict[int, InteractionResult] = {}
        self.by_token: dict[str, InteractionResult] = {}
        self.modals: list[Modal] = []

    def create(self, type: int, user: User, channel: Channel, source: Message | None = None) -> InteractionResult:
        number = self.world.next_id()
        result = InteractionResult(number, f"interaction-token-{number}", type, user, channel, self.world, source)
        result.violations = self.violations
        self.by_id[result.id] = self.by_token[result.token] = result
        return result
