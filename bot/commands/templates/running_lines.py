"""A template run on many lines at once: one answer per line, in a table."""

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from bot.commands.framework.command import Cards, Option, Request
from bot.commands.framework.near_examples import kept_examples
from bot.commands.framework.request import allowed_words
from bot.core.cards import Block, Card, Progress, Table, Text, TextFile
from bot.core.engine import Generation
from bot.core.mentions import mention_option
from bot.core.neighbours import KeptRows
from bot.core.prompt import build_prompt
from bot.core.results import ModelInfo
from bot.core.sampling_params import SamplingParams, apply_options
from bot.core.templates.table_files import read_inputs
from bot.core.templates.template import PromptTemplate
from bot.core.wording import MAX_CELL, shorten
from bot.errors import PromptTooLong, RequestError
from bot.services.neighbours import answer_label
from bot.services.screening import WordNotAllowed, screen

MAX_LINES: Final = 200
# The card shows this many lines; above that a file has all of them.
MAX_SHOWN: Final = 20
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

LINES: Final = Option(
    "lines",
    "choice",
    "each: one answer per line; whole: one for the text, the default of templates that keep line breaks",
    choices=("each", "whole"),
)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer to one line. A completion has no probabilities; a line without an answer has a `problem`."""

    text: str
    probabilities: tuple[float, ...] = ()
    is_sure: bool = True
    problem: str = ""

    @property
    def shown(self) -> str:
        """Return the answer as a cell of the table."""
        if self.problem:
            return f"({self.problem})"
        if not self.probabilities:
            return self.text or "(the model wrote nothing)"
        unsure = "" if self.is_sure else " (unsure)"
        return f"{self.text} {max(self.probabilities):.0%}{unsure}"


FIELD: Final = Option("field", "text", "the column of a .csv or .tsv file, or the field of a .jsonl file, to read")


def lines_of(request: Request, template: PromptTemplate) -> Sequence[str]:
    """Return the inputs that get an answer each, () if the text is one input.

    Those are the rows of a file with rows, and several lines if the template takes single ones; the option `lines`
    overrides that. Raises RequestError.
    """
    lines, field, format = request.options.get(LINES.name), request.options.get(FIELD.name), request.source.format
    if field is not None and not format:
        raise RequestError(f"{mention_option(FIELD.name)} is for an attached .csv, .tsv or .jsonl file.")
    if format and lines != "whole":
        return read_inputs(request.text, format, field=field)
    is_each = lines == "each" or (lines is None and not template.is_multiline)
    found = [line.strip() for line in request.text.splitlines() if line.strip()]
    return found if is_each and len(found) > 1 else ()


def check_takes_options(template: PromptTemplate, options: Mapping[str, Any]) -> None:
    """Raise RequestError for sampling options of a template that never samples."""
    if template.kind == "classify" and options:
        raise RequestError(f"{template.name} chooses a label and never samples, so it takes no sampling options.")


async def answer_lines(
    request: Request, template: PromptTemplate, lines: Sequence[str], options: Mapping[str, Any]
) -> Cards:
    """Run `template` on each line and answer with a table; when stopped, with the finished lines."""
    if len(lines) > MAX_LINES:
        raise RequestError(f"The text has {len(lines):,} lines; the limit is {MAX_LINES}. Send a part of it.")
    check_takes_options(template, options)
    build_prompt(template, lines[0])  # raises for a template without input
    params = _params_of(template, options, request.services.engine.info)
    answers: list[_Answer] = []
    kept = None
    if template.compares:
        async with aclosing(kept_examples(request, template)) as steps:
            async for step in steps:
                if isinstance(step, Card):
                    yield step
                else:
                    kept = step.value
    is_whole = not request.services.traits.has_files
    for line in lines:
        if request.stopper.is_stopped:
            break
        yield Card(
            blocks=(*_table(lines, answers, is_whole=is_whole), Progress("lines", len(answers), len(lines))),
            is_final=False,
        )
        answer = await _answer_line(request, template, line, params.shift_seed(len(answers)), kept)
        if answer is None:
            break
        answers.append(answer)
    yield _final_card(request, template, params, lines, answers)


def _params_of(template: PromptTemplate, options: Mapping[str, Any], info: ModelInfo) -> SamplingParams:
    if options.get("n", 1) != 1:
        raise RequestError(f"Each of several lines gets one answer. Leave out {mention_option('n')}.")
    params = replace(apply_options(apply_options(SamplingParams(), template.sampling), options), n=1)
    params = params.with_seed(is_kept=info.keeps_seed)
    return replace(params, stop=tuple(dict.fromkeys((*template.stop, *params.stop))))


async def _answer_line(
    request: Request, template: PromptTemplate, line: str, params: SamplingParams, kept: KeptRows | None
) -> _Answer | None:
    """Return the answer to one line, None if stopped before its end."""
    services, asker = request.services, request.asker
    prompt = build_prompt(template, line)
    try:
        if template.kind == "classify":
            result = (await answer_label(services.measuring, template, line, kept, asker=asker)).result
            return _Answer(result.label, result.probabilities, result.is_sure)

        def generate(params: Sequence[SamplingParams]) -> Generation:
            return services.engine.generate(
                prompt, params[0], timeout_s=services.request_timeout_s, asker=asker, priority="scoring"
            )

        generation = screen(generate, [params], [""], await allowed_words(request))
        async with generation:
            request.stopper.on_stop(generation.cancel)
            async for _ in generation:
                pass
        completion = generation.completions[0]
        return None if completion.finish_reason == "cancelled" else _Answer(completion.text.strip())
    except WordNotAllowed:
        return _Answer("", problem="has a word that is not allowed here")
    except PromptTooLong as e:
        return _Answer("", problem=f"{e.num_tokens:,} tokens, too long")


def _table(lines: Sequence[str], answers: Sequence[_Answer], *, is_whole: bool) -> tuple[Block, ...]:
    """Return the table of the answers; unless `is_whole` at most MAX_SHOWN of them, with shortened lines."""
    if not answers:
        return ()
    shown = lines if is_whole else [shorten(line, MAX_CELL) for line in lines[:MAX_SHOWN]]
    rows = tuple(
        (str(i), line, answer.shown) for i, (line, answer) in enumerate(zip(shown, answers, strict=False), start=1)
    )
    return (Table(("", "line", "answer"), rows),)


def _final_card(
    request: Request,
    template: PromptTemplate,
    params: SamplingParams,
    lines: Sequence[str],
    answers: Sequence[_Answer],
) -> Card:
    is_whole = not request.services.traits.has_files
    blocks = [*_table(lines, answers, is_whole=is_whole)]
    if len(answers) < len(lines):
        blocks.append(Text(f"Stopped after {len(answers)} of {len(lines)} lines.", is_quiet=True))
    file = None
    is_cut = len(answers) > MAX_SHOWN or any(len(line) > MAX_CELL for line in lines[: len(answers)])
    if is_cut and not is_whole:
        file = TextFile(f"{template.name}.csv", _csv(template, lines, answers))
    if len(answers) > MAX_SHOWN and not is_whole:
        blocks.append(Text(f"All {len(answers)} answers are in the file.", is_quiet=True))
    is_classify = template.kind == "classify"
    rows = [
        {
            "input": line,
            "text": answer.text,
            "problem": answer.problem or None,
            **(
                {
                    "label": answer.text,
                    "probabilities": dict(zip(template.labels, answer.probabilities, strict=True)),
                    "is_sure": answer.is_sure,
                }
                if answer.probabilities
                else {}
            ),
        }
        for line, answer in zip(lines, answers, strict=False)
    ]
    data = {
        "text": "\n".join(answer.text for answer in answers),
        "rows": rows,
        "num_lines": len(lines),
        "seed": None if is_classify else params.seed,
        "template": template.name,
        "version": template.version,
        "model": request.services.engine.info.name,
    }
    return Card(blocks=tuple(blocks), data=data, file=file)


def _csv(template: PromptTemplate, lines: Sequence[str], answers: Sequence[_Answer]) -> str:
    """Return all answers as comma-separated values; cells that look like formulas start with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    is_classify = template.kind == "classify"
    extra = ("probability", "sure", *(f"p({label})" for label in template.labels)) if is_classify else ()
    writer.writerow(("number", "line", "answer", *extra, "problem"))
    for i, (line, answer) in enumerate(zip(lines, answers, strict=False), start=1):
        figures: list[str] = []
        if answer.probabilities:
            figures = [f"{max(answer.probabilities):.4f}", "yes" if answer.is_sure else "no"]
            figures += [f"{probability:.4f}" for probability in answer.probabilities]
        padded = [*figures, *[""] * (len(extra) - len(figures))]
        writer.writerow((i, _harmless(line), _harmless(answer.text), *padded, answer.problem))
    return out.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
