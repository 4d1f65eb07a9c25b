"""Commands around prompt templates: run one, list them, show one."""

from dataclasses import replace
from typing import Final

from bot.chat import asker_of
from bot.commands.declaring import SAMPLING_OPTIONS, Cards, Command, Request
from bot.core.cards import Bars, Block, Card, Facts, Table, Text, Verbatim
from bot.core.classification import classify
from bot.core.prompt import build_prompt, label_continuations
from bot.core.prompt_parts import Prompt
from bot.core.sampling import SamplingParams, apply_options
from bot.core.template import PromptTemplate
from bot.errors import RequestError
from bot.replies import GeneratedReply, PromptOrigin, record_reply


async def answer_run(request: Request) -> Cards:
    """Fill a template with the text and answer: a label with its probabilities, or what the model writes."""
    template = request.services.templates.get(request.arguments["NAME"])
    if not request.text.strip():
        raise RequestError(f"TEXT is missing: the template {template.name} needs something to work on.")
    prompt = build_prompt(template, request.text)
    if template.kind == "classify":
        if request.options:
            raise RequestError(f"{template.name} classifies: it draws nothing, so it takes no sampling options.")
        yield await _classify(request, template, prompt)
        return
    params = apply_options(apply_options(SamplingParams(), template.sampling), request.options).with_seed()
    params = replace(params, stop=tuple(dict.fromkeys((*template.stop, *params.stop))))
    async for card in _generate(request, template, prompt, params):
        yield card


async def _classify(request: Request, template: PromptTemplate, prompt: Prompt) -> Card:
    logprobs = await request.services.engine.score_continuations(
        prompt, label_continuations(template), asker=asker_of(request.message)
    )
    result = classify(template.labels, logprobs)
    probabilities = dict(zip(result.labels, result.probabilities, strict=True))
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    shown = result.label if result.is_sure else f"{result.label} (unsure)"
    return Card(
        blocks=(Text(shown), Bars(tuple(ranked), rest_name="")),
        data={
            "text": result.label,
            "label": result.label,
            "probabilities": probabilities,
            "is_sure": result.is_sure,
            "template": template.name,
            "version": template.version,
            "model": request.services.engine.info.name,
        },
    )


async def _generate(request: Request, template: PromptTemplate, prompt: Prompt, params: SamplingParams) -> Cards:
    services = request.services
    texts = [""] * params.n
    generation = services.engine.generate(
        prompt, params, timeout_s=services.request_timeout_s, asker=asker_of(request.message)
    )
    async with generation:
        request.stopper.on_stop(generation.cancel)
        async for delta in generation:
            texts[delta.index] += delta.text
            yield Card(blocks=_answer_blocks(texts), is_final=False)
    texts = [completion.text.strip() for completion in generation.completions]
    origin = PromptOrigin(
        "template",
        reads=((request.source.message_id, request.source.revision),),
        template=template,
        inputs={"is_command_line": request.source.is_command_line},
    )
    reply = GeneratedReply("prompt run", "\n".join(texts), prompt, origin, params, generation)
    notice = await record_reply(
        services.store, services.engine, request.message, reply, bot_name=services.chat.bot_name, kind="command"
    )
    blocks = _answer_blocks(texts)
    yield Card(
        blocks=(*blocks, Text(notice, is_quiet=True)) if notice else blocks,
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


async def answer_list(request: Request) -> Cards:
    """List all templates."""
    templates = list(request.services.templates)
    rows = tuple((template.name, template.kind, template.version, template.description) for template in templates)
    yield Card(
        blocks=(Table(("name", "kind", "version", "what it does"), rows),),
        data={
            "templates": [
                {"name": t.name, "kind": t.kind, "version": t.version, "description": t.description} for t in templates
            ]
        },
    )


async def answer_show(request: Request) -> Cards:
    """Show a template's text and what it costs."""
    template = request.services.templates.get(request.arguments["NAME"])
    engine = request.services.engine
    facts = [
        ("kind", template.kind),
        ("version", template.version),
        ("examples", str(len(template.examples))),
        ("tests", str(len(template.tests))),
    ]
    num_tokens = None
    if template.kind != "chat":
        # A one-letter text stands for the message, which is all that is not yet known.
        (num_tokens,) = await engine.count_tokens([build_prompt(template, "a")])
        facts.append(("tokens", f"{num_tokens:,} of {engine.info.context_length:,}"))
    yield Card(
        blocks=(Text(f"{template.name}: {template.description}"), Facts(tuple(facts)), Verbatim(template.source_text)),
        data={
            "name": template.name,
            "kind": template.kind,
            "version": template.version,
            "description": template.description,
            "source": template.source_text,
            "num_tokens": num_tokens,
        },
    )


COMMANDS: Final = (
    Command(
        name="prompt run",
        summary="fill a template with a text and answer; `prompt NAME TEXT` is the short form",
        answer=answer_run,
        arguments=("NAME",),
        text="required",
        options=SAMPLING_OPTIONS,
        is_family_default=True,
        examples=("prompt sentiment I love this", "prompt translate-en-fr Good morning"),
    ),
    Command(name="prompt list", summary="the templates that there are", answer=answer_list),
    Command(
        name="prompt show",
        summary="a template's text and what it costs",
        answer=answer_show,
        arguments=("NAME",),
        examples=("prompt show sentiment",),
    ),
)
