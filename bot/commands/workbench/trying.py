"""A template that is still being typed, tried on one text: the prompt with its token counts, and the model's answer."""

import asyncio
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.templates.drafts import checked_name, parsed, published_template
from bot.core.engine import Asker
from bot.core.messages import Author, Scope
from bot.core.prompt import build_prompt, label_continuations
from bot.core.prompt_parts import Prompt
from bot.core.safe_text import clean_model_text, replace_lone_surrogates
from bot.core.sampling_params import SamplingParams, apply_options
from bot.core.templates.forms import blank_template
from bot.core.templates.rendered import prompt_parts
from bot.core.templates.states import TemplateState, apply_state
from bot.core.templates.template import PromptTemplate
from bot.core.verdicts import judge_label
from bot.errors import RequestError
from bot.services.neighbours import answer_label, known_kept
from bot.store.drafts import Draft

Json = dict[str, Any]

MAX_INPUT: Final = 20_000  # characters
_MAX_ANSWER: Final = 200  # tokens
_PLACEHOLDER: Final = "…"


async def typed_template(
    services: Services, scope: Scope, author: Author, name: str, state: TemplateState
) -> PromptTemplate:
    """Return the template that `state` would be. Raises RequestError if it is not valid yet."""
    checked_name(name)
    draft: Draft | None = await services.store.get_draft(scope, name, author.id) if author.is_moderator else None
    published, _ = await published_template(services, scope, name)
    start = parsed(draft.source_text, name) if draft is not None else None
    return await asyncio.to_thread(apply_state, start or published or blank_template(name), state)


async def preview(services: Services, template: PromptTemplate, input: str) -> Json:
    """Return the prompt for `input` in parts, each with its tokens, and how many tokens a message may have."""
    input = _checked(input) or _PLACEHOLDER
    if template.kind == "chat":
        parts: tuple[tuple[str, str], ...] = (
            ("conversation", (await services.measuring.prompt_of(template, input)).text),
        )
    else:
        parts = await asyncio.to_thread(prompt_parts, template, input)
    # A token may reach from one part into the next, so parts are counted by where they end.
    ends = [Prompt.plain("".join(text for _, text in parts[: i + 1])) for i in range(len(parts))]
    counts = await services.engine.count_tokens(ends)
    cost = await services.measuring.count_tokens(template)
    before = [0, *counts[:-1]]
    return {
        "parts": [
            {"what": what, "text": text, "num_tokens": max(0, count - start)}
            for (what, text), count, start in zip(parts, counts, before, strict=True)
        ],
        "num_tokens": counts[-1],
        "num_kept": len(template.kept_examples),
        "num_left_for_input": cost.num_left_for_input,
        "context_length": cost.context_length,
        "answers": list(label_continuations(template)),
    }


async def try_out(services: Services, template: PromptTemplate, input: str, *, asker: Asker) -> Json:
    """Return the model's answer to `input`: labels with their probabilities, or a text."""
    prompt = build_prompt(template, _checked(input))
    if template.kind == "classify":
        # Reading hundreds of examples would take longer than somebody waits who is still typing.
        kept = await known_kept(services.measuring, template)
        found = (await answer_label(services.measuring, template, _checked(input), kept, asker=asker)).result
        shares = list(zip(found.labels, found.probabilities, strict=True))
        text = judge_label(found)
        if kept is None and template.compares:
            num = len(template.kept_examples)
            text += f" That is by the prompt alone: run the tests once to read the {num} examples outside of it."
        return {"text": text, "label": found.label, "probabilities": shares}
    params = apply_options(SamplingParams(), {"max_new_tokens": _MAX_ANSWER, **template.sampling, "n": 1}).with_seed()
    params = apply_options(params, {"stop": tuple(dict.fromkeys((*template.stop, *params.stop)))})
    generation = services.engine.generate(prompt, params, timeout_s=services.request_timeout_s, asker=asker)
    async with generation:
        async for _ in generation:
            pass
    text = clean_model_text(generation.completions[0].text).strip()
    return {"text": text or "(the model wrote nothing)", "label": "", "probabilities": []}


def _checked(input: str) -> str:
    if len(input) > MAX_INPUT:
        raise RequestError(f"The text to try has {len(input):,} characters; at most {MAX_INPUT:,} are taken here.")
    return replace_lone_surrogates(input).strip()
