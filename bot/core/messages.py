"""Events from a platform: messages, clicks and submitted forms, with their author and place."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Literal

from bot.core.picture import Picture


def now_utc() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


# The server of all conversations outside servers; there, each channel is separate.
DIRECT_MESSAGES: Final = "@me"

# What the platform says a place is: a channel or thread of a server that the bot is in, a direct message with the bot,
# a private conversation of others (group), a server that the bot is not in (a person brought the app along), or a
# terminal. Rights follow from it: see rights.py.
PlaceKind = Literal["server", "direct", "group", "foreign", "terminal"]


@dataclass(frozen=True, slots=True)
class Scope:
    """A place in a server. Everything stored belongs to one, and no query reads across `server`.

    `thread` is "" outside threads. `server` is DIRECT_MESSAGES for conversations outside servers. `kind` decides what
    people may do there; it is a fact about the place, not a part of its name.
    """

    platform: str
    server: str
    channel: str
    thread: str = ""
    kind: PlaceKind = field(default="server", compare=False)

    @property
    def has_server(self) -> bool:
        """Say whether templates and settings are a server's; outside servers each conversation has its own."""
        return self.server != DIRECT_MESSAGES


@dataclass(frozen=True, slots=True)
class Author:
    """A member, another bot, or the bot itself (`is_me`). `name` is what the model reads; it is cleaned before use.

    `is_moderator` says that the platform lets them manage the server, and after `with_rights` that they are a moderator
    in the place at hand. `roles` are the ids of their roles there.
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


# The kind of an attached text file: one with rows, or "" for any other.
AttachmentFormat = Literal["", "csv", "tsv", "jsonl"]


def attachment_format(file_name: str) -> AttachmentFormat:
    """Return the format that the extension of `file_name` says."""
    extension = file_name.rpartition(".")[2].lower()
    if extension == "csv":
        return "csv"
    if extension in ("tsv", "tab"):
        return "tsv"
    return "jsonl" if extension in ("jsonl", "ndjson") else ""


@dataclass(frozen=True, slots=True)
class ShownCard:
    """A card as a message shows it: its id, and the revision there."""

    id: str
    revision: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message as its platform delivered it; `id` is unique within the platform.

    `reply_to` is the id of the message replied to, `replied_card` the card with buttons in it. `attachment` is the text
    that came along with `text` and is never a command: that of an attached text file, of the format
    `attachment_format`, or of a forwarded message. `has_file` says that there is such a file, read or not; an edited
    message without one has lost it. `picture_ids` are the platform's ids of the attached pictures, `pictures` those
    that were read: only a model that takes pictures needs them. `is_addressed` says that it is addressed to the bot (a
    mention, a reply, a direct message; always in the terminal). `arrived_at_utc` is when it came here, by this
    machine's clock.
    """

    id: str
    scope: Scope
    author: Author
    text: str
    reply_to: str | None = None
    replied_card: ShownCard | None = None
    attachment: str | None = None
    attachment_format: AttachmentFormat = ""
    has_file: bool = False
    picture_ids: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    is_addressed: bool = True
    created_at_utc: datetime = field(default_factory=now_utc)
    arrived_at_utc: datetime = field(default_factory=now_utc, compare=False)
    reach: Reach = "private"

    def with_edit(self, edited: "Message") -> "Message":
        """Return this message with the words of `edited`, and with those of its files that `edited` has still."""
        has_lost_file = not edited.has_file and edited.attachment is None
        return replace(
            self,
            text=edited.text,
            attachment=None if has_lost_file else self.attachment,
            attachment_format="" if has_lost_file else self.attachment_format,
            has_file=edited.has_file,
            picture_ids=edited.picture_ids,
            pictures=tuple(one for one in self.pictures if one.id in edited.picture_ids),
        )


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
    """A submitted form: the values of its fields by name; a file's text is the value of its field.

    `is_on_card` says that a button of a card that only this person sees opened it: a public answer replaces that card.
    """

    id: str
    scope: Scope
    author: Author
    form_id: str
    values: Mapping[str, str]
    reach: Reach = "private"
    is_on_card: bool = False
