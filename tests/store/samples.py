"""Messages, scopes and answers for the tests of the store."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.core.messages import Author, Message, Scope
from bot.core.results import Timings
from bot.core.sampling_params import SamplingParams
from bot.store.messages import StoredMessage
from bot.store.replies import MessageRead, Provenance, TemplateVersion
from bot.store.store import Store

HERE = Scope("terminal", "home", "general")
START = datetime(2026, 8, 1, 12, 0, 0, 123456, tzinfo=UTC)
ANN = Author("u1", "Ann")
ME = Author("me", "Fewshot", is_bot=True, is_me=True)


def at(seconds: float) -> datetime:
    """Return START plus `seconds`."""
    return START + timedelta(seconds=seconds)


def said(number: int, text: str = "", *, scope: Scope = HERE, author: Author = ANN, **fields: Any) -> Message:
    """Return message `number`, said that many seconds after START, with "text NUMBER" where no text is given."""
    fields.setdefault("created_at_utc", at(number))
    return Message(str(number), scope, author, text or f"text {number}", **fields)


def provenance(*read: tuple[str, int], **fields: Any) -> Provenance:
    """Return the details of an answer that read the given (message id, revision) pairs."""
    values: dict[str, Any] = {
        "command": "chat",
        "model_name": "gpt2",
        "precision": "float32",
        "read": tuple(MessageRead(*pair) for pair in read),
        "template": TemplateVersion("chat", "1", "+++\ndescription = 'talk'\n+++\n$history\n$bot_name:"),
        "sampling": SamplingParams(seed=2**63 - 1, stop=("\n", "Ann:")),
        "num_prompt_tokens": 12,
        "num_new_tokens": 3,
        "finish_reason": "stop",
        "timings": Timings(0.5, 12.25, 30.0, 12, 3),
        "prompt_inputs": {"bot_name": "Fewshot", "is_markup": False},
        "prompt_sha256": "ab" * 32,
    }
    return Provenance(**{**values, **fields})


async def chain(store: Store, scope: Scope, message_id: str, *, limit: int) -> tuple[StoredMessage, ...]:
    """Return what an answer to the message reads of the replies that lead to it."""
    found = await store.load_conversation(scope, limit=limit, up_to=message_id, follows_replies=True)
    return found.messages


def bytes_on_disk(path: Path) -> bytes:
    """Return everything in the database file and the files that SQLite keeps beside it."""
    return b"".join(other.read_bytes() for other in sorted(path.parent.glob(f"{path.name}*")))
