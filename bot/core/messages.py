"""What comes in from a platform: who said what, where, and in reply to what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal


def now_utc() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


# Everyone's direct messages share this server, so there each channel is on its own.
DIRECT_MESSAGES: Final = "@me"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where something happens. Every stored thing belongs to one, and no query reads across `server`.

    `thread` is "" outside of threads. `server` is DIRECT_MESSAGES for those.
    """

    platform: str
    server: str
    channel: str
    thread: str = ""

    @property
    def is_direct(self) -> bool:
        """Say whether it is a conversation with one person alone."""
        return self.server == DIRECT_MESSAGES


@dataclass(frozen=True, slots=True)
class Author:
    """A member, another bot, or the bot itself (`is_me`). `name` is what the model reads; it is cleaned before use.

    `is_moderator` says that the platform lets them manage the server. `roles` are the ids of the roles they have there.
    """

    id: str
    name: str
    is_bot: bool = False
    is_me: bool = False
    is_moderator: bool = False
    roles: tuple[str, ...] = ()


# The most personal answer that a platform can give at once: one that all in the channel see, one that the asker alone
# sees (a terminal, a direct message), or a form that opens (a slash command, a click).
Reach = Literal["public", "private", "form"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as its platform delivered it; `id` is unique within the platform.

    `reply_to` is the id of the message replied to. `attachment` is the text of an attached text file. `is_addressed`
    says that the bot is meant (mentioned, replied to, in a direct message, or always as in the terminal).
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
    """A button that was pressed, or a choice made in a select (`value`), on the card `card_id` at `revision`.

    `id` is the platform's for the click itself, unique like a message's. `message_id` is the visible message of the
    card as the platform names it.
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
    """A form that was filled in and sent: the values of its fields by name; a file's text is the value of its field."""

    id: str
    scope: Scope
    author: Author
    form_id: str
    values: Mapping[str, str]
    reach: Reach = "private"
