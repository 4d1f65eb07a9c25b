"""The history of a conversation: its messages, joined into turns, and how many of them fit the model."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from bot.core.safe_text import clean_history_text, clean_name, one_line


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """One stored message; `text` and `author_name` are raw. `reply_to` is the id of the message it replies to.

    `revision` is 1 for the first text, one more after each edit. `attachment` is an attached file's text.
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

    @property
    def whole_text(self) -> str:
        """Return the text with that of the attached file below it."""
        return join_attachment(self.text, self.attachment)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one person said in a row, cleaned.

    In a member's `text` each line is one message; the bot's own text keeps its line breaks.
    """

    speaker: str
    is_me: bool
    text: str
    message_ids: tuple[str, ...]


def join_attachment(text: str, attachment: str | None) -> str:
    """Return `text` with the text of an attached file on the lines below it."""
    return "\n".join(part for part in (text, attachment) if part)


def merge_turns(messages: Iterable[HistoryMessage]) -> tuple[Turn, ...]:
    """Return `messages` (oldest first) as turns: names and texts cleaned, back-to-back messages of one person joined.

    A member's message becomes one line. Messages whose cleaned text is empty are skipped.
    """
    turns: list[Turn] = []
    last_author: str | None = None
    for message in messages:
        cleaned = clean_history_text(message.whole_text)
        text = cleaned.strip() if message.is_me else one_line(cleaned)
        if not text:
            continue
        if turns and last_author == message.author_id and turns[-1].is_me == message.is_me:
            last = turns[-1]
            turns[-1] = Turn(last.speaker, last.is_me, f"{last.text}\n{text}", (*last.message_ids, message.id))
        else:
            turns.append(Turn(clean_name(message.author_name), message.is_me, text, (message.id,)))
        last_author = message.author_id
    return tuple(turns)


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
