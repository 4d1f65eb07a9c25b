"""Writing a stored answer again with the same prompt, options and seed, to see whether the text is the same."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command
from bot.commands.framework.rebuilding import Rebuilt, rebuild, why_not_same
from bot.commands.framework.request import asked_line
from bot.core.cards import Block, Card, Text
from bot.core.ending import AfterSentence, AfterWhole, EndRule
from bot.core.engine import Asker
from bot.core.history import clean_messages
from bot.core.prompt import speakers_of
from bot.core.reply_draft import ReplyDraft
from bot.core.results import SCORING_PRECISION, SERVED_PRECISION, DrawnTokens
from bot.core.sampling_params import COMPLETION_DEFAULTS, SamplingParams
from bot.core.stopping import Stopper
from bot.errors import RequestError
from bot.services.chat import GRACE_SHARE, NUM_COMPARED
from bot.services.open_cards import COMPLETING
from bot.services.queueing import deltas_or_waiting, waiting_card
from bot.store.replies import StoredReply

_SAME: Final = "The same text again, to the letter."
_SAME_SO_FAR: Final = "The same text again, as far as it was written: it was stopped then."
_STOPPED: Final = "Stopped before the end, so the texts can't be compared."


@dataclass(frozen=True, slots=True)
class _Way:
    """How an answer is written again: what becomes of the prompt's last word, and where a text ends."""

    heal: bool = False
    is_word_whole: bool = False
    end_at: EndRule | None = None
    end_from: int = 0


@dataclass(slots=True)
class Again:
    """An answer that was written again: its text, as the command stores it, and the tokens of each of its texts."""

    text: str = ""
    tokens: tuple[DrawnTokens, ...] = ()
    is_stopped: bool = False
    was_joined: bool = False


async def write_again(
    services: Services, commands: Mapping[str, Command], reply: StoredReply, asker: Asker, stopper: Stopper
) -> Cards:
    """Write a stored answer again and say whether the text is the same. Raises RequestError, and says why it can't."""
    rebuilt = await rebuild(services, commands, reply)
    reason = await why_not_same(services, reply, rebuilt)
    if reason is not None:
        raise RequestError(f"This can't be written again as it was. {reason}")
    again = Again()
    async with aclosing(draw_again(services, commands, reply, rebuilt, again, asker, stopper)) as snapshots:
        async for snapshot in snapshots:
            yield snapshot
    if again.is_stopped:
        yield _private((Text(_STOPPED),), {"text": _STOPPED, "is_same": None})
    else:
        yield _answer(reply, again)


async def draw_again(
    services: Services,
    commands: Mapping[str, Command],
    reply: StoredReply,
    rebuilt: Rebuilt,
    again: Again,
    asker: Asker,
    stopper: Stopper,
) -> Cards:
    """Write a drawn answer again into `again`, and show it meanwhile; `rebuilt` has its prompt."""
    params, prompt = reply.provenance.sampling, rebuilt.prompt
    if params is None or prompt is None:
        raise ValueError("only what was drawn from a known prompt can be drawn again")
    drafts = await _drafts(services, reply, rebuilt)
    texts = [""] * params.n
    way = await _way_of(services, commands, reply, params)
    # In float32 the text of a row does not depend on what is computed with it.
    is_alone = reply.provenance.precision != SCORING_PRECISION
    generation = services.engine.generate(
        prompt,
        params,
        heal=way.heal,
        is_word_whole=way.is_word_whole,
        end_at=way.end_at,
        end_from=way.end_from,
        timeout_s=services.request_timeout_s,
        asker=asker,
        is_alone=is_alone,
    )
    async with generation, aclosing(deltas_or_waiting(generation)) as deltas:
        stopper.on_stop(generation.cancel)
        async for delta in deltas:
            if isinstance(delta, int):
                yield _private(waiting_card(delta).blocks, is_final=False)
                continue
            texts[delta.index] += delta.text
            for draft in drafts:
                draft.push(delta.text)
            if drafts and all(draft.is_over for draft in drafts):
                generation.cancel()
            yield _private((Text("\n".join(texts), is_model_text=True),), is_final=False)
    again.is_stopped = stopper.is_stopped
    again.was_joined = is_alone and not generation.was_alone
    kept = [one for one in generation.completions if one.text or reply.provenance.command == "prompt run"]
    again.tokens = tuple(DrawnTokens(one.token_ids, way.heal, way.is_word_whole) for one in kept)
    if drafts:
        is_cut = generation.completions[0].finish_reason == "length"
        found = [draft.finish(is_cut=is_cut) for draft in drafts]
        again.text = next((text for text in found if text == reply.message.text), found[0])
    elif reply.provenance.command == "prompt run":
        again.text = "\n".join(one.text.strip() for one in kept)
    else:
        again.text = "\n".join(one.text for one in kept)


async def _drafts(services: Services, reply: StoredReply, rebuilt: Rebuilt) -> Sequence[ReplyDraft]:
    """Return what takes the answer of a chat out of the model's text; it may have been written in the last attempt."""
    provenance = reply.provenance
    if provenance.command != "chat" or rebuilt.template is None:
        return ()
    scope, asked_id = reply.message.scope, reply.message.reply_to
    asked = await services.store.load_messages(scope, [asked_id] if asked_id else [])
    conversation = await services.store.load_conversation(
        scope, limit=NUM_COMPARED, up_to=asked_id, follows_replies=bool(asked and asked[0].reply_to)
    )
    answers = tuple(message.text for message in clean_messages(conversation.messages) if message.is_me)
    names = speakers_of(rebuilt.template, rebuilt.turns, bot_name=provenance.prompt_inputs["bot_name"])
    said = reply.message.text[: provenance.prompt_inputs.get("num_said", 0)]
    return tuple(ReplyDraft(said, names, answers, is_last=is_last) for is_last in (False, True))


async def _way_of(
    services: Services, commands: Mapping[str, Command], reply: StoredReply, params: SamplingParams
) -> _Way:
    inputs, command = reply.provenance.prompt_inputs, reply.provenance.command
    if command == "chat":
        said = reply.message.text[: inputs.get("num_said", 0)]
        num = params.max_new_tokens
        return _Way(end_at=AfterWhole(said), end_from=num - num // GRACE_SHARE)
    if inputs["mode"] == "story":
        ends_sentence = params.max_new_tokens == COMPLETION_DEFAULTS.max_new_tokens
        end_at = AfterSentence() if ends_sentence else None
        return _Way(inputs.get("heals", False), inputs.get("is_word_whole", False), end_at)
    if command not in COMPLETING:
        return _Way()
    asked_id = reply.message.reply_to
    asked = await services.store.load_messages(reply.message.scope, [asked_id] if asked_id else [])
    line = asked_line(asked[0], services.command_prefix, commands) if asked else None
    has_length = line is not None and "max_new_tokens" in line.options
    end_at = None if has_length else AfterSentence()
    return _Way(not inputs["suffix"], inputs.get("is_word_whole", False), end_at)


def _answer(reply: StoredReply, again: Again) -> Card:
    text, before, provenance = again.text, reply.message.text, reply.provenance
    was_cut = provenance.finish_reason == "cancelled" and text.startswith(before)
    is_same = text == before or was_cut
    if is_same:
        verdict = _SAME if text == before else _SAME_SO_FAR
    else:
        verdict = f"The text differs{_from(before, text)}. {_cause(provenance.precision, was_joined=again.was_joined)}"
    data = {
        "text": text,
        "is_same": is_same,
        "answer": before,
        "seed": provenance.sampling.seed if provenance.sampling else None,
        "precision": provenance.precision,
    }
    return _private((Text(verdict), Text(text or "(the model wrote nothing)", is_model_text=True)), data)


def _cause(precision: str, *, was_joined: bool) -> str:
    """Say what may have made a text differ."""
    if precision == SCORING_PRECISION:
        return "The program may have changed since."
    if precision == SERVED_PRECISION:
        return "A model of a server need not write the same text twice."
    if was_joined:
        return f"Others asked meanwhile, and in {precision} that can matter. Try again when it is quieter."
    return (
        f"In {precision} it can depend on what else the model computed when it was written; only"
        f" {SCORING_PRECISION} always gives the same text."
    )


def _from(before: str, text: str) -> str:
    """Say after how many words two texts differ."""
    pairs = zip(before.split(), text.split(), strict=False)
    num_same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return {0: " from the first word on", 1: " after 1 word"}.get(num_same, f" after {num_same} words")


def _private(blocks: tuple[Block, ...], data: Mapping[str, object] | None = None, *, is_final: bool = True) -> Card:
    return Card(blocks=blocks, data=data or {}, answers="private", is_final=is_final)
