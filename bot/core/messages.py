"""What comes in from a platform: who said what, where, and in reply to what."""

from dataclasses import dataclass, field
from datetime import UTC, datetime


def now_utc() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where something happens. Every stored thing belongs to one, and no query reads across `server`.

    `thread` is "" outside of threads. `server` is "@me" for direct messages.
    """

    platform: str
    server: str
    channel: str
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Author:
    """A member, another bot, or the bot itself (`is_me`). `name` is what the model reads; it is cleaned before use."""

    id: str
    name: str
    is_bot: bool = False
    is_me: bool = False
    is_moderator: bool = False


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
