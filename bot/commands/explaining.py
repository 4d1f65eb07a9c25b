"""The command that explains an answer: its exact prompt, rebuilt, and what has changed since."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.drawn_words import show_words
from bot.commands.framework.command import MODEL, Cards, Command, Request
from bot.commands.framework.near_examples import near_blocks, near_data, near_sentence
from bot.commands.framework.rebuilding import Rebuilt, changed, changes_since, rebuild
from bot.commands.framework.request import asked_line, own_text
from bot.commands.rerunning import write_again
from bot.core.cards import Block, Button, Card, Facts, Text, Verbatim
from bot.core.engine import Asker
from bot.core.history import HistoryMessage
from bot.core.mentions import mention
from bot.core.prompt_parts import Prompt
from bot.core.results import SCORING_PRECISION, ModelInfo
from bot.core.safe_text import clean_name
from bot.core.sampling_params import OPTIONS, WARPERS, SamplingParams
from bot.core.stopping import Stopper
from bot.core.wording import quote
from bot.errors import RequestError, Unavailable
from bot.services.neighbours import NearExample, known_nearest
from bot.services.screening import NUM_BLOCKED
from bot.store.replies import StoredReply

# Among so many messages of a conversation the asker's newest answer is looked for.
_NUM_LOOKED_AT: Final = 50
_OLDER: Final = Text("You asked not to be read, so newer answers to you are not stored. This is an older one.")
# The id of a card that explains a stored answer is this and the answer's own id.
WHY_CARD: Final = "why-"
ACTIONS: Final = ("rerun", "words")
_HOW: Final = {"rerun": "writes it again", "words": "shows how probable its words were"}
_DRAWN_AGAIN: Final = (
    "The first text had a word that the moderators don't allow here, so this one was written with another seed."
)
_NOTHING_TO_EXPLAIN: Final = (
    "That message can't be explained: it is not an answer of the model, or what the model read is not stored."
)


def _tokens(num: int) -> str:
    return "1 token" if num == 1 else f"{num:,} tokens"


def _sampling_text(params: SamplingParams) -> str:
    """Return the sampling options that the answer depends on."""
    left_out = {*WARPERS} if params.num_beams > 1 else {"num_beams"}
    if not params.is_sampled or params.seed is None:
        left_out.add("seed")
    values = [(name, getattr(params, name)) for name in OPTIONS if name not in left_out]
    return " · ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in values)


def _data(reply: StoredReply, prompt: Prompt | None, changes: Sequence[str]) -> dict[str, Any]:
    provenance = reply.provenance
    template, timings = provenance.template, provenance.timings
    return {
        "prompt": prompt.text if prompt else None,
        "is_exact": prompt is not None and not changes,
        "changes": list(changes),
        "answer": reply.message.text,
        "answered_command": provenance.command,
        "model": provenance.model_name,
        "precision": provenance.precision,
        "template": template.name if template else None,
        "version": template.version if template else None,
        "sampling": provenance.sampling.to_dict() if provenance.sampling else None,
        "seed": provenance.sampling.seed if provenance.sampling else None,
        "num_prompt_tokens": provenance.num_prompt_tokens,
        "num_new_tokens": provenance.num_new_tokens,
        "finish_reason": provenance.finish_reason,
        "timings_ms": {
            "queue": timings.queue_ms,
            "prefill": timings.prefill_ms,
            "decode": timings.decode_ms,
        }
        if timings
        else None,
    }


@dataclass(frozen=True, slots=True)
class _Found:
    """What `why` is about: a stored answer, or the card about a measurement; `note` says which answer it is."""

    reply: StoredReply | None = None
    card: Card | None = None
    note: Text | None = None


async def answer_why(request: Request) -> Cards:
    """Explain an answer: the one replied to, else the asker's newest one here, else the newest one here.

    With an action, write it again or show its words.
    """
    services, commands = request.services, request.commands
    found = await _find(request)
    action = request.arguments.get("ACTION", "").lower()
    if action not in ("", *ACTIONS):
        raise RequestError(f"{mention('why ACTION')} takes one of {', '.join(ACTIONS)}, not {quote(action)}.")
    if not action:
        card = found.card if found.reply is None else await explain(services, commands, found.reply)
        if card is not None:
            yield card if found.note is None else replace(card, blocks=(found.note, *card.blocks))
        return
    if found.reply is None:
        raise RequestError("That only measures a text, and nothing is drawn.")
    acting = act_on_why(services, commands, found.reply, action, request.asker, request.stopper)
    async with aclosing(acting) as cards:
        async for shown in cards:
            yield shown


async def act_on_why(
    services: Services,
    commands: Mapping[str, Command],
    reply: StoredReply,
    action: str,
    asker: Asker,
    stopper: Stopper,
) -> Cards:
    """Answer a button of the card that explains `reply`, one of ACTIONS."""
    acting = (
        write_again(services, commands, reply, asker, stopper)
        if action == "rerun"
        else show_words(services, commands, reply, asker, stopper)
    )
    async with aclosing(acting) as cards:
        async for card in cards:
            yield card


async def _find(request: Request) -> _Found:
    """Return what the request is about. Raises RequestError if there is nothing."""
    store, message = request.services.store, request.message
    if message.reply_to:
        reply = await store.get_reply(message.scope, message.reply_to)
        if reply is not None:
            return _Found(reply)
        asked_id = await store.request_of(message.scope.platform, message.reply_to)
        for stored in await store.load_messages(message.scope, [asked_id] if asked_id else []):
            if (card := _explain_measurement(request, stored)) is not None:
                return _Found(card=card)
        raise RequestError(_NOTHING_TO_EXPLAIN)
    asked = [
        one for one in await store.recent_asked(message.scope, limit=_NUM_LOOKED_AT) if one.message.id != message.id
    ]
    for one in asked:
        if one.message.author_id != message.author.id:
            continue
        if one.reply_id and (reply := await store.get_reply(message.scope, one.reply_id)) is not None:
            return _Found(reply, note=None if request.may_store else _OLDER)
        if (card := _explain_measurement(request, one.message)) is not None:
            return _Found(card=card)
    newest = await store.last_reply(message.scope)
    if newest is None:
        raise RequestError("The bot has no answer here to explain.")
    names = {one.message.id: one.message.author_name for one in asked}
    name = names.get(newest.message.reply_to or "")
    whom = f"to {clean_name(name)}" if name else "to somebody else"
    note = f"There is no stored answer to you here lately. This is the newest one, {whom}."
    return _Found(newest, note=Text(note))


async def find_model(request: Request) -> str | None:
    """Return the model that wrote what the request is about, None for no such model, or one that is not there."""
    reply = (await _find(request)).reply
    return None if reply is None else request.services.models.find(reply.provenance.model_name)


def _explain_measurement(request: Request, message: HistoryMessage) -> Card | None:
    """Return the card about a measurement, of which nothing is stored but the message that asked for it.

    None if `message` asks for no measurement.
    """
    line = asked_line(message, request.services.command_prefix, request.commands)
    if line is None or line.command.texts_measured is None:
        return None
    text, _ = own_text(line, message.attachment, message.attachment_format)
    if not text and not message.reply_to:
        return None
    texts = tuple(line.command.texts_measured(text)) if text else ()
    changes = [changed(1, "edited later")] if message.revision > 1 else []
    model = line.options.get(MODEL.name) or request.services.engine.info.name
    facts = Facts((("command", line.command.name), ("model", model), ("precision", SCORING_PRECISION)))
    blocks: list[Block] = [facts, Text(_measured(len(texts), is_edited=bool(changes))), *map(Text, changes)]
    for letter, one in zip(ascii_uppercase, texts, strict=False):
        name = "The text:" if len(texts) == 1 else f"Text {letter}:"
        blocks += [Text(name, is_quiet=True), Verbatim(one)]
    return Card(
        blocks=tuple(blocks),
        data={
            "prompt": texts[0] if len(texts) == 1 else None,
            "texts": list(texts),
            "is_exact": bool(texts) and not changes,
            "changes": changes,
            "answer": None,
            "answered_command": line.command.name,
            "model": model,
            "precision": SCORING_PRECISION,
        },
        answers="private",
    )


def _measured(num_texts: int, *, is_edited: bool) -> str:
    """Return what a measurement of `num_texts` texts (0: a text that was replied to) does."""
    what = {0: "the text replied to", 1: "this text"}.get(num_texts, f"these {num_texts} texts, each by itself")
    how = "an earlier version of" if is_edited else "exactly"
    return f"It only measures: the model read {how} {what}, nothing was drawn, and its answer is not stored."


async def explain(services: Services, commands: Mapping[str, Command], reply: StoredReply) -> Card:
    """Return the card that explains a stored answer."""
    rebuilt = await rebuild(services, commands, reply)
    prompt = rebuilt.prompt
    changes = changes_since(reply, prompt)
    if prompt is None:
        changes.append("The prompt can't be shown: the messages it was built from were deleted.")
    provenance = reply.provenance
    template = provenance.template
    facts = [("command", provenance.command), ("model", provenance.model_name), ("precision", provenance.precision)]
    if template:
        facts.append(("template", f"{template.name} {template.version}"))
    strategy = provenance.prompt_inputs.get("strategy")
    if strategy:
        facts.append(("strategy", strategy))
    timings = provenance.timings
    blocks: list[Block] = [Facts(tuple(facts))]
    if strategy:
        blocks.append(Text(f"This explains the text that {strategy} wrote; all strategies read the same prompt."))
    if provenance.sampling:
        blocks.append(Text(_sampling_text(provenance.sampling)))
    if timings:
        blocks.append(
            Facts(
                (
                    ("prompt", _tokens(provenance.num_prompt_tokens)),
                    ("answer", _tokens(provenance.num_new_tokens)),
                    ("queue", f"{timings.queue_ms:,.0f} ms"),
                    ("prefill", f"{timings.prefill_ms:,.0f} ms"),
                    ("decode", f"{timings.decode_ms:,.0f} ms"),
                    ("finish reason", str(provenance.finish_reason)),
                )
            )
        )
    if provenance.prompt_inputs.get(NUM_BLOCKED):
        blocks.append(Text(_DRAWN_AGAIN))
    blocks += [Text(sentence) for sentence in changes]
    if prompt:
        info = services.engine.info
        start = info.start_token if prompt.is_document and info.name == provenance.model_name else None
        what = "The prompt:" if start is None else f"The prompt, after the model's start token {start}:"
        blocks += [Text(what, is_quiet=True), Verbatim(prompt.text)]
    data = _data(reply, prompt, changes)
    if sentence := near_sentence(rebuilt.template) if rebuilt.template and prompt else "":
        nearest = await _nearest(services, reply, rebuilt)
        blocks += [Text(sentence), *near_blocks(nearest)]
        data["nearest"] = near_data(nearest)
    card = Card(blocks=tuple(blocks), data=data, answers="private")
    if not provenance.sampling:
        return card
    offered = _offered(provenance.sampling, services.engine.info)
    if not offered:
        return card
    if not services.traits.has_buttons:
        how = ", ".join(f"{mention(f'why {action}')} {_HOW[action]}" for action in offered)
        return replace(card, blocks=(*blocks, Text(f"{how}.", is_quiet=True)))
    buttons = tuple(Button(action, action.capitalize()) for action in offered)
    return replace(card, buttons=buttons, open_card_id=f"{WHY_CARD}{reply.message.id}")


def _offered(sampling: SamplingParams, info: ModelInfo) -> tuple[str, ...]:
    """Return what can be done with an answer of this model that `sampling` drew."""
    # Without its seed another text would be drawn, and only an engine of this bot tells what options leave of a word.
    may_rerun = sampling.seed is not None or not sampling.is_sampled
    able = {"rerun": may_rerun, "words": not info.server}
    return tuple(action for action in ACTIONS if able[action])


async def _nearest(services: Services, reply: StoredReply, rebuilt: Rebuilt) -> tuple[NearExample, ...]:
    """Return the examples outside the prompt that the answer took most from; () where they can't be found again."""
    if rebuilt.template is None or reply.provenance.model_name != services.engine.info.name:
        return ()
    try:
        return await known_nearest(services.measuring, rebuilt.template, rebuilt.input, asker=Asker())
    except (RequestError, Unavailable):
        return ()


COMMANDS: Final = (
    Command(
        name="why",
        summary="Explain your last answer: its exact prompt, template, sampling and timings",
        answer=answer_why,
        find_model=find_model,
        needs_conversation=True,
        answers="private",
        menu="Why",
        arguments=("ACTION",),
        num_optional_arguments=1,
        argument_choices={"ACTION": ACTIONS},
        details="In reply to an answer it explains that one. Without an answer to you here it explains the newest one."
        " rerun writes it again with the same prompt, options and seed, and says whether the text is the same. words"
        " tints each of its words by how improbable it was when it was drawn.",
        examples=("why", "why rerun", "why words"),
        details_in_threads="Without an answer to you here it explains the newest one. To explain any other, choose Why"
        " in the menu of the answer.",
    ),
)
