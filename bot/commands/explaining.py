"""The command that explains an answer: its exact prompt, rebuilt, and what has changed since."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command, Request
from bot.commands.framework.request import asked_text
from bot.core.cards import Block, Card, Facts, Text, Verbatim
from bot.core.history import merge_turns
from bot.core.prompt import build_prompt
from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import OPTIONS, WARPERS, SamplingParams
from bot.core.templates.parsing import parse_template
from bot.errors import RequestError
from bot.services.replies import prompt_sha256
from bot.store.replies import StoredReply


async def _rebuild(services: Services, commands: Mapping[str, Command], reply: StoredReply) -> Prompt | None:
    """Return the prompt rebuilt from what is stored now; None if nothing of it is left."""
    provenance = reply.provenance
    inputs = provenance.prompt_inputs
    messages = [back.message for back in reply.read if back.message is not None]
    if not messages:
        return None
    stored = provenance.template
    template = None
    if stored:
        template = parse_template(stored.source_text, name=stored.name, source=f"{stored.name} {stored.version}")
    if inputs["mode"] in ("transcript", "markup") and template:
        turns = merge_turns(messages)
        if not turns:
            return None
        return await services.chat.render(
            template,
            turns,
            is_markup=inputs["mode"] == "markup",
            bot_name=inputs["bot_name"],
            said=reply.message.text[: inputs.get("num_said", 0)],
        )
    text = asked_text(
        messages[0],
        is_command_line=inputs["is_command_line"],
        prefix=services.command_prefix,
        commands=commands,
    )
    if text is None:
        return None
    return build_prompt(template, text) if template else Prompt.plain(text + inputs["suffix"])


def _changes(reply: StoredReply, prompt: Prompt | None) -> list[str]:
    """Return one sentence for each change since the model read the prompt."""
    sentences = []
    for change, consequence in (("edited", ""), ("deleted", ", so the text is missing here")):
        num = sum(back.change == change for back in reply.read)
        if num:
            were = "message that the model read was" if num == 1 else "messages that the model read were"
            sentences.append(f"{num} {were} {change} later{consequence}.")
    digest = reply.provenance.prompt_sha256
    if prompt and not sentences and digest is not None and prompt_sha256(prompt) != digest:
        sentences.append("Prompts are built differently now, so this may differ slightly from what the model read.")
    return sentences


def _sampling_text(params: SamplingParams) -> str:
    """Return the sampling options that the answer depends on."""
    left_out = {*WARPERS} if params.num_beams > 1 else {"num_beams"}
    if not params.is_sampled:
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


async def answer_why(request: Request) -> Cards:
    """Explain an answer: the one replied to, or the last one here."""
    store, scope = request.services.store, request.message.scope
    if request.message.reply_to:
        reply = await store.get_reply(scope, request.message.reply_to)
    else:
        reply = await store.last_reply(scope)
    if reply is None:
        raise RequestError("The bot has no answer here to explain.")
    yield await explain(request.services, request.commands, reply)


async def explain(services: Services, commands: Mapping[str, Command], reply: StoredReply) -> Card:
    """Return the card that explains a stored answer."""
    prompt = await _rebuild(services, commands, reply)
    changes = _changes(reply, prompt)
    if prompt is None:
        changes.append("The prompt can't be shown: the messages it was built from were deleted.")
    provenance = reply.provenance
    template = provenance.template
    facts = [("command", provenance.command), ("model", provenance.model_name), ("precision", provenance.precision)]
    if template:
        facts.append(("template", f"{template.name} {template.version}"))
    timings = provenance.timings
    blocks: list[Block] = [Facts(tuple(facts))]
    if provenance.sampling:
        blocks.append(Text(_sampling_text(provenance.sampling)))
    if timings:
        blocks.append(
            Facts(
                (
                    ("prompt", f"{provenance.num_prompt_tokens:,} tokens"),
                    ("answer", f"{provenance.num_new_tokens:,} tokens"),
                    ("queue", f"{timings.queue_ms:,.0f} ms"),
                    ("prefill", f"{timings.prefill_ms:,.0f} ms"),
                    ("decode", f"{timings.decode_ms:,.0f} ms"),
                    ("finish reason", str(provenance.finish_reason)),
                )
            )
        )
    blocks += [Text(sentence) for sentence in changes]
    if prompt:
        blocks += [Text("The prompt:", is_quiet=True), Verbatim(prompt.text)]
    return Card(
        blocks=tuple(blocks),
        data=_data(reply, prompt, changes),
        answers="private",
    )


COMMANDS: Final = (
    Command(
        name="why",
        summary="Explain an answer: its exact prompt, template, sampling and timings",
        answer=answer_why,
        answers="private",
        menu="Why",
    ),
)
