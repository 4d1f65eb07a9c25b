"""Events from a platform: messages, clicks and submitted forms, with their author and place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal


def now_utc() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


# The server of all direct messages; there, each channel is separate.
DIRECT_MESSAGES: Final = "@me"


@dataclass(frozen=True, slots=True)
class Scope:
    """A place in a server. Everything stored belongs to one, and no query reads across `server`.

    `thread` is "" outside threads. `server` is DIRECT_MESSAGES for direct messages.
    """

    platform: str
    server: str
    channel: str
    thread: str = ""

    @property
    def is_direct(self) -> bool:
        """Say whether this is a direct message conversation."""
        return self.server == DIRECT_MESSAGES


@dataclass(frozen=True, slots=True)
class Author:
    """A member, another bot, or the bot itself (`is_me`). `name` is what the model reads; it is cleaned before use.

    `is_moderator` says that the platform lets them manage the server. `roles` are the ids of their roles there.
    """

    id: str
    name: str
    is_bot: bool = False
    is_me: bool = False
    is_moderator: bool = False
    roles: tuple[str, ...] = ()


# The most personal answer that is possible right away: one that everyone in the channel sees, one that only the asker
# sees (a terminal, a direct message), or a form that opens (a slash command, a click).
Reach = Literal["public", "private", "form"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as its platform delivered it; `id` is unique within the platform.

    `reply_to` is the id of the message replied to. `attachment` is the text of an attached text file. `is_addressed`
    says that it is addressed to the bot (a mention, a reply, a direct message; always in the terminal).
    """

    id: str
    scope: Scope
    author: Author
    text: str
    reply_to: str | None = None
    attachment: str | None = None
    is_addressed: bool = True
    created_at_utc: datetime = field(default_factory=now_utc)
    reach: Reach = "private"


@dataclass(frozen=True, slots=True)
class Click:
    """A press of a button, or a choice in a select (`value`), on the card `card_id` at `revision`.

    `id` is the platform's id of the click, unique like a message's. `message_id` is the platform's id of the message
    that shows the card.
    """

    id: str
    scope: Scope
    author: Author
    card_id: str
    revision: int
    action: str
    value: str = ""
    message_id: str | None = None
    reach: Reach = "form"


@dataclass(frozen=True, slots=True)
class FormSubmitted:
    """A submitted form: the values of its fields by name; a file's text is the value of its field."""

    id: str
    scope: Scope
    author: Author
    form_id: str
    values: Mapping[str, str]
    reach: Reach = "private"
