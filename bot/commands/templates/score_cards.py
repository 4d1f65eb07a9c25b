"""The card of a template's score: verdict, figures, rows and warnings, and the same as data for scripts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bot.commands.templates.scoring import TemplateScore, score_to_keep
from bot.core.cards import Block, Table, Text
from bot.core.mentions import mention
from bot.core.safe_text import one_line
from bot.core.statistics import ClassifyFigures, CompleteFigures, Figures, FiguresComparison
from bot.core.templates.checks import find_warnings
from bot.core.templates.template import Example, PromptTemplate
from bot.core.templates.worth import Worth
from bot.core.verdicts import BITS, BITS_PER_BYTE
from bot.core.wording import MAX_CELL, shorten

_NUM_LISTED: Final = 8
_MAX_CONFUSED: Final = 6  # labels of a table that can still be read
_MAX_WARNINGS: Final = 5


def kept_score_line(score: Mapping[str, Any], score_model: str | None, model: str) -> str:
    """Return one line about a stored score, marked as out of date if it is not of `model`."""
    if "accuracy" in score:
        line = f"accuracy {score['accuracy']:.0%} on {score['num_rows']} rows"
    else:
        line = f"{score['bits_per_byte']:.3f} bits per byte on {score['num_rows']} rows"
    if score_model != model:
        line += f" (out of date: measured with {model_name(score_model or 'another model')}, not the current model)"
    return line


def worth_data(worth: Worth | None) -> dict[str, Any] | None:
    """Return a worth as data for scripts, None if it was not measured."""
    return None if worth is None else {**score_to_keep(worth.figures), "fit": worth.fit}


def model_name(fingerprint: str) -> str:
    """Return the model's name in a fingerprint."""
    return fingerprint.partition("@")[0]


def score_blocks(score: TemplateScore) -> tuple[Block, ...]:
    """Return the blocks of a score: verdict, figures side by side, rows, warnings and stale figures."""
    blocks: list[Block] = []
    if verdict := verdict_line(score):
        blocks.append(Text(verdict))
    blocks.append(_figures_table(score))
    if score.figures is None and score.template.tests:
        blocks.append(
            Text(f"Not measured yet. Measure it with {mention(f'prompt test {score.template.name}')}.", is_quiet=True)
        )
    if score.comparison is not None:
        for what, indexes in (("fixed", score.comparison.fixed), ("broken", score.comparison.broken)):
            blocks += _rows_block(what, indexes, score.template.tests)
    elif isinstance(score.figures, ClassifyFigures):
        wrong = [i for i, is_right in enumerate(score.figures.is_right) if not is_right]
        blocks += _rows_block("answered wrong", wrong, score.template.tests)
    if isinstance(score.figures, ClassifyFigures) and len(score.figures.labels) <= _MAX_CONFUSED:
        blocks.append(_confusion(score.figures))
    blocks += _remarks(score)
    if score.figures is not None:
        blocks.append(
            Text(BITS if isinstance(score.figures, ClassifyFigures) else f"{BITS} {BITS_PER_BYTE}", is_quiet=True)
        )
    return tuple(blocks)


def verdict_line(score: TemplateScore) -> str:
    """Return what the figures mean in one sentence, "" if there are none."""
    if score.comparison is not None and score.figures is not None:
        return _verdict(score.comparison, score.figures)
    return "" if score.worth is None else score.worth.verdict


def _verdict(comparison: FiguresComparison, figures: Figures) -> str:
    gain = comparison.interval
    if isinstance(figures, ClassifyFigures):
        numbers = (
            f"{100 * gain.mean:+.1f} points of accuracy (95% interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        )
    else:
        # Fewer bits are better, so the gain is the bits saved.
        numbers = f"{gain.mean:+.3f} bits per byte saved (95% interval {gain.low:+.3f} to {gain.high:+.3f})"
    if comparison.verdict == "no clear difference":
        return f"No clear difference: {numbers}."
    return f"The draft is {comparison.verdict}: {numbers}."


def _figures_table(score: TemplateScore) -> Table:
    figures, costs = [score.figures], [score.cost]
    name = f"version {score.number}" if score.number else "built-in version"
    columns = ["draft" if score.is_draft else name]
    if score.is_draft and score.published is not None and score.published_cost is not None:
        columns.append(f"published ({name})")
        figures.append(score.published_figures)
        costs.append(score.published_cost)
    rows: list[tuple[str, ...]] = []
    if any(isinstance(one, ClassifyFigures) for one in figures):
        rows.append(("accuracy", *(_accuracy(one) for one in figures)))
        rows.append(("bits of the right label", *(_bits(one) for one in figures)))
    elif any(isinstance(one, CompleteFigures) for one in figures):
        rows.append(("bits per byte of the output", *(_bits(one) for one in figures)))
        rows.append(("exact outputs", *(_exact(one) for one in figures)))
    templates = [score.template, score.published][: len(columns)]
    if any(one is not None and one.neighbours is not None for one in templates):
        rows.append(("examples in the prompt", *(str(len(one.prompt_examples)) for one in templates if one)))
        rows.append(("examples compared", *(_compared(one) for one in templates if one)))
    rows.append(("tests", str(len(score.template.tests)), *[""] * (len(columns) - 1)))
    if score.named_model:
        rows.append(("model", score.named_model, *[""] * (len(columns) - 1)))
    rows.append(("tokens", *(f"{cost.num_prompt_tokens:,} of {cost.context_length:,}" for cost in costs)))
    rows.append(("left for a message", *(f"{cost.num_left_for_input:,}" for cost in costs)))
    return Table((score.template.name, *columns), tuple(rows))


def _compared(template: PromptTemplate) -> str:
    found, num_kept = template.neighbours, len(template.kept_examples)
    if found is None:
        return "0"
    return f"{num_kept}; the {found.num_nearest} nearest count {found.weight:.0%}"


def _accuracy(figures: Figures | None) -> str:
    if not isinstance(figures, ClassifyFigures):
        return "—"
    interval = figures.accuracy_interval
    return f"{figures.accuracy:.0%} ({interval.low:.0%} to {interval.high:.0%})"


def _bits(figures: Figures | None) -> str:
    if figures is None:
        return "—"
    bits = figures.mean_bits if isinstance(figures, ClassifyFigures) else figures.bits_per_byte
    return f"{bits:.3f}" if math.isfinite(bits) else "a test's output is not a label"


def _exact(figures: Figures | None) -> str:
    if not isinstance(figures, CompleteFigures) or figures.exact_share is None:
        return "—"
    return f"{figures.num_exact} of {sum(one.is_exact is not None for one in figures.outcomes)}"


def _rows_block(what: str, indexes: Sequence[int], rows: Sequence[Example]) -> list[Block]:
    if not indexes:
        return []
    table: Block = Table(
        ("test", what, "right answer"),
        tuple((str(i + 1), _cell(rows[i].input), _cell(rows[i].output)) for i in indexes[:_NUM_LISTED]),
    )
    if len(indexes) <= _NUM_LISTED:
        return [table]
    others = ", ".join(str(i + 1) for i in indexes[_NUM_LISTED:])
    return [table, Text(f"Also {what}: {others}.", is_quiet=True)]


def _cell(text: str) -> str:
    return shorten(one_line(text), MAX_CELL)


def _confusion(figures: ClassifyFigures) -> Table:
    rows = ((_cell(label), *map(str, counts)) for label, counts in zip(figures.labels, figures.confusion, strict=True))
    return Table(("right ↓ answered →", *map(_cell, figures.labels)), tuple(rows))


def _remarks(score: TemplateScore) -> list[Block]:
    blocks: list[Block] = []
    warnings = find_warnings(score.template)
    if warnings:
        shown = [*warnings[:_MAX_WARNINGS]]
        if len(warnings) > _MAX_WARNINGS:
            shown.append(f"There are {len(warnings) - _MAX_WARNINGS} more warnings.")
        blocks.append(Text("\n".join(f"⚠ {warning}" for warning in shown)))
    if score.is_draft and score.published is not None and not score.is_comparable:
        why = "it is of another kind" if score.published_cost is not None else "this model has no room for it"
        blocks.append(Text(f"The published version can't be compared with the draft: {why}.", is_quiet=True))
    if score.is_stale and score.stored is not None and score.stored.score is not None:
        line = kept_score_line(score.stored.score, score.stored.score_model, score.model)
        blocks.append(Text(f"Stored with version {score.number}: {line}.", is_quiet=True))
    return blocks


def score_data(score: TemplateScore) -> dict[str, Any]:
    """Return a score as data for scripts; rows are numbered from 1."""
    comparison, interval = score.comparison, score.comparison.interval if score.comparison else None
    return {
        "template": score.template.name,
        "is_draft": score.is_draft,
        "published": score.number,
        "model": score.model,
        "num_tests": len(score.template.tests),
        "score": None if score.figures is None else score_to_keep(score.figures),
        "published_score": None if score.published_figures is None else score_to_keep(score.published_figures),
        "verdict": comparison.verdict if comparison else None,
        "gain": interval.mean if interval else None,
        "gain_interval": [interval.low, interval.high] if interval else None,
        "fixed": [i + 1 for i in comparison.fixed] if comparison else [],
        "broken": [i + 1 for i in comparison.broken] if comparison else [],
        "num_tokens": score.cost.num_prompt_tokens,
        "num_left_for_input": score.cost.num_left_for_input,
        "context_length": score.cost.context_length,
        "fit": None if score.worth is None else score.worth.fit,
        "warnings": list(find_warnings(score.template)),
        "is_stale": score.is_stale,
    }
