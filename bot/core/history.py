"""The history of a conversation: its messages, joined into turns, and how many of them fit the model."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.core.messages import AttachmentFormat
from bot.core.picture import Picture, mark_pictures
from bot.core.repeats import words_of
from bot.core.reply_text import clean_reply
from bot.core.safe_text import clean_history_text, clean_name, one_line


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """One stored message; `text` and `author_name` are raw. `reply_to` is the id of the message it replies to.

    `revision` is 1 for the first text, one more after each edit. `attachment` is the text of an attached file, of the
    format `attachment_format`, or of a forwarded message. `num_pictures` are stored with it; `pictures` are those that
    a model is to see.
    """

    id: str
    author_id: str
    author_name: str
    is_me: bool
    text: str
    reply_to: str | None
    created_at_utc: datetime
    revision: int = 1
    attachment: str | None = None
    attachment_format: AttachmentFormat = ""
    num_pictures: int = 0
    pictures: tuple[Picture, ...] = ()

    @property
    def whole_text(self) -> str:
        """Return the text with that of the attached file below it."""
        return join_attachment(self.text, self.attachment)


@dataclass(frozen=True, slots=True)
class CleanMessage:
    """One message as it is read: names and texts cleaned, a member's message as one line; never empty.

    The bot's own text has no speaker's label and ends before another speaker: what is read is written again. A mark in
    the text stands for each picture.
    """

    id: str
    revision: int
    author_id: str
    speaker: str
    is_me: bool
    text: str
    reply_to: str | None = None
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """What one person said in a row, cleaned.

    In a member's `text` each line is one message; the bot's own text keeps its line breaks. `pictures` are those that a
    model sees with it.
    """

    speaker: str
    is_me: bool
    text: str
    message_ids: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()


def join_attachment(text: str, attachment: str | None) -> str:
    """Return `text` with the text of an attached file on the lines below it."""
    return "\n".join(part for part in (text, attachment) if part)


def clean_messages(messages: Iterable[HistoryMessage]) -> tuple[CleanMessage, ...]:
    """Return `messages` cleaned, in the same order, without those whose cleaned text is empty."""
    cleaned = []
    for message in messages:
        text = clean_history_text(message.whole_text)
        text = clean_reply(text, names=[message.author_name]) if message.is_me else one_line(text)
        text = mark_pictures(text, message.num_pictures)
        if text:
            name = clean_name(message.author_name)
            cleaned.append(
                CleanMessage(
                    message.id,
                    message.revision,
                    message.author_id,
                    name,
                    message.is_me,
                    text,
                    message.reply_to,
                    message.pictures,
                )
            )
    return tuple(cleaned)


def leave_out_repeats(messages: Iterable[CleanMessage]) -> tuple[CleanMessage, ...]:
    """Return `messages` without the bot's own whose words are those of an earlier one of its own."""
    said: set[tuple[str, ...]] = set()
    kept = []
    for message in messages:
        if message.is_me:
            words = words_of(message.text)
            if words and words in said:
                continue
            said.add(words)
        kept.append(message)
    return tuple(kept)


def leave_out_opening(messages: Sequence[CleanMessage]) -> Sequence[CleanMessage]:
    """Return `messages` without the bot's own before the first of a member.

    One stays: the last message replies to it, and it comes right before.
    """
    first = next((i for i, message in enumerate(messages) if not message.is_me), len(messages))
    is_replied_to = 0 < first == len(messages) - 1 and messages[first].reply_to == messages[first - 1].id
    return messages[first - 1 if is_replied_to else first :]


def join_messages(messages: Iterable[CleanMessage]) -> tuple[Turn, ...]:
    """Return `messages` (oldest first) as turns: back-to-back messages of one person are one turn, a line each."""
    turns: list[list[CleanMessage]] = []
    for message in messages:
        if turns and (turns[-1][0].author_id, turns[-1][0].is_me) == (message.author_id, message.is_me):
            turns[-1].append(message)
        else:
            turns.append([message])
    return tuple(_join_turn(turn) for turn in turns)


def _join_turn(messages: Sequence[CleanMessage]) -> Turn:
    text = "\n".join(message.text for message in messages)
    pictures = tuple(picture for message in messages for picture in message.pictures)
    return Turn(messages[0].speaker, messages[0].is_me, text, tuple(message.id for message in messages), pictures)


def merge_turns(messages: Iterable[HistoryMessage]) -> tuple[Turn, ...]:
    """Return `messages` (oldest first) as turns: names and texts cleaned, back-to-back messages of one person joined.

    A member's message becomes one line. Messages whose cleaned text is empty are skipped.
    """
    return join_messages(clean_messages(messages))


def select_turns(num: int, count: Callable[[int], int], budget: int) -> int:
    """Return the index of the oldest of `num` turns that fits into `budget` tokens with all later ones.

    Turn i has `count(i)` tokens. The last turn, the current message, is always kept, even if it alone is above the
    budget: the caller refuses that. No turn older than the first one left out is counted. Raises ValueError without any
    turn.
    """
    if num < 1:
        raise ValueError("select_turns needs at least the current message")
    first = num - 1
    left = budget - count(first)
    while first > 0 and (cost := count(first - 1)) <= left:
        first -= 1
        left -= cost
    return first
