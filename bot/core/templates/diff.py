"""Differences between two versions of a template, in the terms of the people who write them."""

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from bot.core.templates.front_matter import toml_string
from bot.core.templates.lines import format_row
from bot.core.templates.template import Example, PromptTemplate

# difflib's time grows faster than the product of the lengths: above this product, changed lines are not aligned.
_MAX_ALIGNED: Final = 100_000
_LINE_BREAK: Final = "⏎"


def diff_templates(old: PromptTemplate, new: PromptTemplate) -> str:
    """Return the changes from `old` to `new`, "" if there are none (apart from their names).

    Each changed part has a heading, and below it `- ` for removed and `+ ` for added lines: a code block of the
    language diff.
    """
    sections = {
        "Description": _changes([old.description], [new.description]),
        "Kind": _changes([old.kind], [new.kind]),
        "Model": _changes([old.model] if old.model else [], [new.model] if new.model else []),
        "Labels": _list_changes(old.labels, new.labels),
        "Instruction": _changes(_lines(old.instruction), _lines(new.instruction)),
        "Position of the examples": _changes(
            ["$examples"] * old.has_examples_slot, ["$examples"] * new.has_examples_slot
        ),
        "Query": _changes(_lines(old.query), _lines(new.query)),
        "Examples": _list_changes(_rows(old.examples), _rows(new.examples)),
        "Tests": _list_changes(_rows(old.tests), _rows(new.tests)),
        "Nearest examples": _changes(_neighbours(old), _neighbours(new)),
        "Sampling": _changes(_sampling(old), _sampling(new)),
        "Stop texts": _list_changes(_quoted(old.stop), _quoted(new.stop)),
        "Separator": _changes(_quoted([old.separator]), _quoted([new.separator])),
        "Example separator": _changes(_quoted([old.example_separator]), _quoted([new.example_separator])),
        "Input": _changes(_input(old), _input(new)),
        "Markup": _changes([old.markup], [new.markup]),
    }
    lines: list[str] = []
    for heading, changes in sections.items():
        if changes:
            lines += [heading, *changes]
    return "\n".join(lines)


def _changes(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the removed and added lines, in their order."""
    changes: list[str] = []
    for removed, added in _differing(old, new):
        changes += [f"- {line}" for line in removed] + [f"+ {line}" for line in added]
    return changes


def _differing(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    shorter = min(len(old), len(new))
    start = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    num_after = next((i for i in range(shorter - start) if old[-1 - i] != new[-1 - i]), shorter - start)
    old, new = old[start : len(old) - num_after], new[start : len(new) - num_after]
    if len(old) * len(new) > _MAX_ALIGNED:
        yield old, new
        return
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    yield from ((old[i:j], new[k:m]) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal")


def _list_changes(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the removed and added items, and the kept ones if their order changed: a moved row is not a new row."""
    kept_before, removed = _split(old, Counter(old) - Counter(new))
    kept_now, added = _split(new, Counter(new) - Counter(old))
    changes = [f"- {line}" for line in removed] + [f"+ {line}" for line in added]
    if kept_before != kept_now:
        changes.append("  in a new order:" if not changes else "  the others in a new order:")
        changes += [f"  {line}" for line in kept_now]
    return changes


def _split(lines: Sequence[str], out: Counter[str]) -> tuple[list[str], list[str]]:
    """Return `lines` without those that `out` counts, and the lines taken out."""
    left = Counter(out)
    kept: list[str] = []
    taken: list[str] = []
    # From the end: among equal rows, the last one is the added one.
    for line in reversed(lines):
        if left[line] > 0:
            left[line] -= 1
            taken.append(line)
        else:
            kept.append(line)
    return kept[::-1], taken[::-1]


def _lines(text: str) -> list[str]:
    return text.split("\n")


def _rows(rows: Sequence[Example]) -> list[str]:
    return [format_row(row).replace("\n", _LINE_BREAK) for row in rows]


def _sampling(template: PromptTemplate) -> list[str]:
    return [f"{name} {value}" for name, value in template.sampling.items()]


def _neighbours(template: PromptTemplate) -> list[str]:
    found = template.neighbours
    if found is None:
        return []
    return [
        f"{found.num_in_prompt} examples in the prompt",
        f"the {found.num_nearest} nearest others count {found.weight:.0%}",
    ]


def _quoted(texts: Sequence[str]) -> list[str]:
    return [toml_string(text) for text in texts]


def _input(template: PromptTemplate) -> list[str]:
    return ["keeps its line breaks" if template.is_multiline else "becomes one line"]
