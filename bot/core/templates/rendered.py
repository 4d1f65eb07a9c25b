"""The prompt of a template in named parts, so that each can be shown with what it costs."""

from dataclasses import replace
from typing import Final

from bot.core.prompt import build_prompt, continuation_of
from bot.core.templates.body import fill_slots
from bot.core.templates.template import PromptTemplate

# Of more examples, all are one part.
MAX_SHOWN: Final = 40


def prompt_parts(template: PromptTemplate, input: str) -> tuple[tuple[str, str], ...]:
    """Return (name, text) of each part of `build_prompt`, in order; together they are that prompt.

    The names are "instruction", "example" and "question". Raises as `build_prompt` does.
    """
    whole = build_prompt(template, input).text
    instruction = fill_slots(template.instruction, {})
    parts = [("instruction", instruction)] if instruction else []
    # An example is the question about its input, followed by its output.
    zero_shot = replace(template, examples=(), neighbours=None)
    examples = [
        build_prompt(zero_shot, one.input).text[len(instruction) :]
        + continuation_of(template, one.output)
        + template.example_separator
        for one in template.prompt_examples
    ]
    start = len(instruction) + sum(map(len, examples))
    if len(examples) > MAX_SHOWN:
        examples = ["".join(examples)]
    parts += [("example", text) for text in examples]
    return (*parts, ("question", whole[start:]))
