"""Storage of the bot's replies with their provenance, from which the exact prompt can be rebuilt."""

import hashlib
import logging
import uuid
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from bot.core.engine import Engine, Generation
from bot.core.mentions import mention
from bot.core.messages import Author, Message, Scope
from bot.core.prompt_parts import Prompt
from bot.core.results import SCORING_PRECISION, FinishReason, Timings
from bot.core.sampling_params import SamplingParams, leave_out
from bot.core.templates.template import PromptTemplate
from bot.errors import OptedOut, Unavailable
from bot.store.messages import MessageKind
from bot.store.replies import MessageRead, Provenance, TemplateVersion
from bot.store.store import Store

logger = logging.getLogger(__name__)

Mode = Literal["text", "template", "transcript", "markup", "story"]

READ_AGAIN: Final = f"You asked not to be read. To be read again, use {mention('privacy --read on')}."
NOT_KEPT: Final = (
    f"You asked not to be read, so this is not stored: you can't go on with it, and {mention('why')} can't explain it."
)
_ASKER_NOT_READ: Final = "The person who asked does not want to be read, so this new answer is not stored."
_STORE_AWAY: Final = f"This answer could not be stored, so {mention('why')} can't explain it later."


@dataclass(frozen=True, slots=True)
class PromptOrigin:
    """The parts that a prompt was built from.

    `mode` is how: the asker's text itself, a template filled with it, a conversation as a transcript or in the model's
    chat markup, or the parts of a story. `reads` are the ids of its messages, in order, with their revisions. `suffix`
    is text that the bot appended in earlier steps.
    """

    mode: Mode
    reads: tuple[tuple[str, int], ...]
    template: PromptTemplate | None = None
    suffix: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)


def prompt_sha256(prompt: Prompt) -> str:
    """Return the hex digest that tells whether a rebuilt prompt equals the one that the model read."""
    return hashlib.sha256(prompt.text.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class GeneratedReply:
    """A reply to be stored, and how the model generated it.

    `params` and `generation` are None if nothing was sampled, as for a label. `finish_reason` and `timings` are None if
    they are those of the generation and of its first continuation.
    """

    command: str
    text: str
    prompt: Prompt
    origin: PromptOrigin
    params: SamplingParams | None = None
    generation: Generation | None = None
    finish_reason: FinishReason | None = None
    timings: Timings | None = None


@dataclass(frozen=True, slots=True)
class KeptReply:
    """The result of storing a reply: its id, or None and perhaps a notice about that."""

    id: str | None
    notice: str | None = None


async def record_reply(
    store: Store, engine: Engine, message: Message, reply: GeneratedReply, *, bot_name: str, kind: MessageKind
) -> KeptReply:
    """Store `reply` to `message` with its provenance."""
    answer = Message(
        id=uuid.uuid4().hex,
        scope=message.scope,
        author=Author(id="bot", name=bot_name, is_bot=True, is_me=True),
        text=reply.text,
        reply_to=message.id,
    )
    provenance = _provenance_of(engine, reply)
    try:
        is_kept = await store.add_reply(answer, provenance, kind=kind, asker_id=message.author.id)
    except OptedOut:
        return _kept(reply, None, NOT_KEPT)
    except Unavailable:
        logger.info("a reply in %s could not be stored", message.scope.platform)
        return _kept(reply, None, _STORE_AWAY)
    _log(message.scope, provenance)
    return _kept(reply, answer.id if is_kept else None)


async def rewrite_reply(store: Store, engine: Engine, scope: Scope, reply_id: str, reply: GeneratedReply) -> KeptReply:
    """Store `reply` in place of the stored answer `reply_id`."""
    provenance = _provenance_of(engine, reply)
    try:
        is_kept = await store.rewrite_reply(scope, reply_id, reply.text, provenance)
    except OptedOut:
        return _kept(reply, None, _ASKER_NOT_READ)
    except Unavailable:
        logger.info("a reply in %s could not be stored", scope.platform)
        return _kept(reply, None, _STORE_AWAY)
    _log(scope, provenance)
    return _kept(reply, reply_id if is_kept else None)


def _kept(reply: GeneratedReply, reply_id: str | None, notice: str = "") -> KeptReply:
    """Return the result of storing, with what people must know of the answer itself."""
    of_answer = reply.generation.notice if reply.generation is not None else ""
    return KeptReply(reply_id, " ".join(filter(None, (of_answer, notice))) or None)


def _provenance_of(engine: Engine, reply: GeneratedReply) -> Provenance:
    timings = reply.timings or (reply.generation.timings if reply.generation else None)
    template = reply.origin.template
    return Provenance(
        command=reply.command,
        model_name=engine.info.name,
        precision=SCORING_PRECISION if reply.params is None else engine.info.precision,
        read=tuple(MessageRead(message_id, revision) for message_id, revision in reply.origin.reads),
        template=TemplateVersion(template.name, template.version, template.source_text) if template else None,
        sampling=reply.params and leave_out(reply.params, engine.info.lacking),
        num_prompt_tokens=timings.num_prompt_tokens if timings else 0,
        num_new_tokens=timings.num_new_tokens if timings else 0,
        finish_reason=reply.finish_reason or _finish_reason(reply.generation),
        timings=timings,
        prompt_inputs={
            "mode": reply.origin.mode,
            "suffix": reply.origin.suffix,
            **reply.origin.inputs,
            **_lengths_of_texts(reply),
        },
        prompt_sha256=prompt_sha256(reply.prompt),
    )


def _lengths_of_texts(reply: GeneratedReply) -> dict[str, list[int]]:
    """Return the lengths of the texts that the stored one consists of if there are several."""
    if reply.generation is None or len(reply.generation.completions) < 2:
        return {}
    raw = [completion.text for completion in reply.generation.completions]
    for texts in ([text for text in raw if text], [text.strip() for text in raw]):
        if "\n".join(texts) == reply.text:
            return {"lengths": [len(text) for text in texts]}
    return {}


def _finish_reason(generation: Generation | None) -> FinishReason | None:
    if generation is None:
        return None
    return generation.completions[0].finish_reason if generation.completions else "cancelled"


def _log(scope: Scope, provenance: Provenance) -> None:
    logger.info(
        "replied in %s/%s: %d prompt tokens, %d new, %s",
        scope.server,
        scope.channel,
        provenance.num_prompt_tokens,
        provenance.num_new_tokens,
        provenance.finish_reason,
    )
