"""The command that runs a prompt template."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from bot.commands.framework.command import MODEL, SAMPLING_OPTIONS, Cards, Command, Request
from bot.commands.framework.model_choice import find_template_model
from bot.commands.framework.near_examples import kept_examples, near_data, near_sentence
from bot.commands.framework.request import allowed_words
from bot.commands.templates.running_lines import FIELD, LINES, answer_lines, check_takes_options, lines_of
from bot.core.cards import Bars, Block, Button, Card, Table, Text
from bot.core.engine import Generation
from bot.core.mentions import mention
from bot.core.prompt import build_prompt
from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams, apply_options
from bot.core.templates.template import PromptTemplate
from bot.core.verdicts import judge_label
from bot.errors import RequestError
from bot.services.answer_cards import REPLY_CARD
from bot.services.chat import ALWAYS_THE_SAME
from bot.services.neighbours import LabelAnswer, answer_label
from bot.services.queueing import deltas_or_waiting, waiting_card
from bot.services.replies import NOT_KEPT, GeneratedReply, KeptReply, PromptOrigin, record_reply, rewrite_reply
from bot.services.screening import inputs_of, params_used, screen
from bot.store.replies import StoredReply

_WHY: Final = Button("why", "Why")


async def answer_run(request: Request) -> Cards:
    """Fill a template with the text and answer: a label with its probabilities, or the model's text.

    Each of several lines gets its own answer, in a table.
    """
    async for card in run_template(request):
        yield card


async def run_template(request: Request, *, replaces: StoredReply | None = None) -> Cards:
    """Answer as the command does; with `replaces`, with another seed and in place of that stored answer."""
    template = await request.services.templates.get(request.message.scope, request.arguments["NAME"])
    if not request.text.strip():
        raise RequestError(f"The text is missing. Write {mention(f'prompt {template.name} TEXT')}.")
    options = {name: value for name, value in request.options.items() if name not in (LINES.name, FIELD.name)}
    if lines := await asyncio.to_thread(lines_of, request, template):
        if replaces:
            raise RequestError("That message has several lines now. Give the command again.")
        async for card in answer_lines(request, template, lines, options):
            yield card
        return
    prompt = build_prompt(template, request.text)
    if template.kind == "classify":
        if replaces:
            raise RequestError(ALWAYS_THE_SAME)
        check_takes_options(template, options)
        async for card in _classify(request, template, prompt):
            yield card
        return
    params = apply_options(apply_options(SamplingParams(), template.sampling), options)
    params = replace(params, stop=tuple(dict.fromkeys((*template.stop, *params.stop))))
    if replaces:
        if not params.is_sampled:
            raise RequestError(ALWAYS_THE_SAME)
        before = replaces.provenance.sampling
        params = replace(params, seed=((before.seed if before else None) or 0) + 1)
    params = params.with_seed(is_kept=request.services.engine.info.keeps_seed)
    async for card in _generate(request, template, prompt, params, replaces):
        yield card


async def _classify(request: Request, template: PromptTemplate, prompt: Prompt) -> Cards:
    """Answer with a label; kept examples that the model has not read yet are read first, with progress."""
    services, asker = request.services, request.asker
    kept = None
    if template.compares:
        async with aclosing(kept_examples(request, template)) as steps:
            async for step in steps:
                if isinstance(step, Card):
                    yield step
                else:
                    kept = step.value
        if kept is None:
            yield Card(blocks=(Text("(stopped)", is_quiet=True),), data={"text": "", "template": template.name})
            return
    answer = await answer_label(services.measuring, template, request.text, kept, asker=asker)
    yield await _label_card(request, template, prompt, answer)


async def _label_card(request: Request, template: PromptTemplate, prompt: Prompt, answer: LabelAnswer) -> Card:
    result = answer.result
    probabilities = dict(zip(result.labels, result.probabilities, strict=True))
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    kept = await _keep(request, GeneratedReply("prompt run", result.label, prompt, _origin(request, template)), None)
    blocks: tuple[Block, ...] = (Text(judge_label(result)), Bars(tuple(ranked), rest_name=""))
    if answer.nearest:
        blocks = (*blocks, Text(near_sentence(template), is_quiet=True))
    return _answer_card(
        blocks,
        kept,
        buttons=(_WHY,),
        data={
            "text": result.label,
            "label": result.label,
            "probabilities": probabilities,
            "uncalibrated_probabilities": dict(zip(result.labels, answer.uncalibrated.probabilities, strict=True)),
            "margin": result.margin,
            "is_sure": result.is_sure,
            **({"nearest": near_data(answer.nearest)} if answer.nearest else {}),
            "template": template.name,
            "version": template.version,
            "model": request.services.engine.info.name,
        },
    )


def _origin(request: Request, template: PromptTemplate) -> PromptOrigin:
    source = request.source
    return PromptOrigin(
        "template",
        reads=((source.message_id, source.revision),),
        template=template,
        inputs={"is_command_line": source.is_command_line},
    )


async def _keep(request: Request, reply: GeneratedReply, replaces: StoredReply | None) -> KeptReply:
    services, message = request.services, request.message
    if not request.may_store:
        return KeptReply(None, NOT_KEPT)
    if replaces:
        return await rewrite_reply(services.store, services.engine, message.scope, replaces.message.id, reply)
    name = services.chat.bot_name
    return await record_reply(services.store, services.engine, message, reply, bot_name=name, kind="command")


def _answer_card(
    blocks: tuple[Block, ...], kept: KeptReply, *, buttons: tuple[Button, ...], data: Mapping[str, Any]
) -> Card:
    if kept.notice:
        blocks = (*blocks, Text(kept.notice, is_quiet=True))
    if kept.id is None:
        return Card(blocks=blocks, data=data)
    return Card(blocks=blocks, data=data, buttons=buttons, open_card_id=f"{REPLY_CARD}{kept.id}", reply_id=kept.id)


async def _generate(
    request: Request,
    template: PromptTemplate,
    prompt: Prompt,
    params: SamplingParams,
    replaces: StoredReply | None,
) -> Cards:
    services = request.services
    texts = [""] * params.n

    def generate(params: Sequence[SamplingParams]) -> Generation:
        timeout_s, asker = services.request_timeout_s, request.asker
        return services.engine.generate(prompt, params[0], timeout_s=timeout_s, asker=asker)

    generation = screen(generate, [params], [""], await allowed_words(request))
    async with generation, aclosing(deltas_or_waiting(generation)) as deltas:
        request.stopper.on_stop(generation.cancel)
        async for delta in deltas:
            if isinstance(delta, int):
                yield waiting_card(delta)
                continue
            texts[delta.index] += delta.text
            yield Card(blocks=_answer_blocks(texts), is_final=False)
    texts = [completion.text.strip() for completion in generation.completions]
    if request.stopper.is_stopped and not any(texts) and replaces is None:
        data = {"text": "", "template": template.name, "finish_reason": "cancelled"}
        yield Card(blocks=(Text("(stopped)", is_quiet=True),), data=data, keeps_shown=True)
        return
    (params,) = params_used(generation, [params])
    origin = _origin(request, template)
    origin = replace(origin, inputs={**origin.inputs, **inputs_of(generation)})
    reply = GeneratedReply("prompt run", "\n".join(texts), prompt, origin, params, generation)
    kept = await _keep(request, reply, replaces)
    yield _answer_card(
        _answer_blocks(texts),
        kept,
        buttons=(Button("again", "Again"), _WHY) if params.is_sampled else (_WHY,),
        data={
            "text": texts[0] if texts else "",
            "choices": [
                {"text": text, "logprob": completion.logprob, "finish_reason": completion.finish_reason}
                for text, completion in zip(texts, generation.completions, strict=True)
            ],
            "seed": params.seed,
            "template": template.name,
            "version": template.version,
            "model": services.engine.info.name,
        },
    )


def _answer_blocks(texts: list[str]) -> tuple[Block, ...]:
    if len(texts) == 1:
        return (Text(texts[0].strip() or "(the model wrote nothing)", is_model_text=True),)
    return (Table(("", "answer"), tuple((str(i + 1), text.strip()) for i, text in enumerate(texts))),)


COMMANDS: Final = (
    Command(
        name="prompt run",
        summary="Fill a template with a text and answer",
        answer=answer_run,
        find_model=find_template_model,
        arguments=("NAME",),
        text="required",
        options=(*SAMPLING_OPTIONS, MODEL, LINES, FIELD),
        is_family_default=True,
        needs_published=True,
        details="Each line of a text, and each row of a .csv, .tsv or .jsonl file, gets its own answer, unless the"
        " template keeps line breaks.",
        examples=("prompt sentiment I love this", "prompt translate-en-fr Good morning"),
    ),
)
