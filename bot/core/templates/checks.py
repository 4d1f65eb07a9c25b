"""Warnings about a template's examples and tests that make its answers or its score worse than necessary."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bot.core.templates.template import Example, PromptTemplate
from bot.core.wording import MAX_QUOTED, shorten

MIN_TESTS: Final = 10
MAX_IMBALANCE: Final = 2
NEAR_PERCENT: Final = 90
_MAX_NAMED: Final = 8
# Up to this many pairs that share a word are counted one by one; more frequent words share one matrix product.
_MAX_PAIRS_BY_HAND: Final = 32

# Punctuation, which is ignored. Other signs count: they distinguish 3 - 4 from 3 * 4, and :) from :(.
_PROSE_MARKS: Final = re.compile("[.,;:!?…·\"'‘’‚‛“”„«»‹›¿¡、。，；：！？「」『』｡､]")
# A word, a character of a script that puts no spaces between words (Thai to Khmer, Chinese, Japanese), or a sign.
_TOKEN: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
    r"|[^\w\s]"
)

Tokens = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """An example or test as it is compared: its name (table and number), and the tokens of its input and output."""

    table: str
    number: int
    input: Tokens
    output: Tokens


def find_warnings(template: PromptTemplate) -> tuple[str, ...]:
    """Return the warnings about `template`, most serious first; each is one sentence that numbers rows from 1.

    Inputs and outputs are compared without case, punctuation and white space; labels are compared exactly.
    """
    is_classify = template.kind == "classify"
    examples = _rows_of("example", template.examples, is_classify)
    tests = _rows_of("test", template.tests, is_classify)
    warnings: list[str] = []
    # In a chat, several answers to one greeting are fine.
    if template.kind != "chat":
        warnings += _contradictions([*examples, *tests])
    warnings += _beginnings(template.labels)
    warnings += _leaks(examples, tests, is_classify)
    warnings += _duplicates(examples, tests)
    for rows, table in ((template.examples, "example"), (template.tests, "test")):
        if is_classify and rows:
            warnings += _imbalance(template.labels, rows, table)
    warnings += _outweighing(template.examples)
    warnings += _too_few(template.tests)
    return tuple(warnings)


def compared_tokens(text: str) -> Tokens:
    """Return the words and signs of `text` that rows are compared by; punctuation only if there is nothing else."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return tuple(_TOKEN.findall(_PROSE_MARKS.sub(" ", folded))) or tuple(_TOKEN.findall(folded))


def _rows_of(table: str, rows: Sequence[Example], is_classify: bool) -> list[_Row]:
    return [
        _Row(table, i, compared_tokens(row.input), (row.output,) if is_classify else compared_tokens(row.output))
        for i, row in enumerate(rows, start=1)
    ]


def _grouped(rows: Iterable[_Row], with_output: bool) -> Iterable[list[_Row]]:
    groups: defaultdict[Hashable, list[_Row]] = defaultdict(list)
    for row in rows:
        groups[(row.input, row.output) if with_output else row.input].append(row)
    return groups.values()


def _contradictions(rows: Sequence[_Row]) -> list[str]:
    groups = [group for group in _grouped(rows, False) if len({row.output for row in group}) > 1]
    if not groups:
        return []
    return [f"The same input has different outputs, so one must be wrong: {_listed(map(_named, groups))}."]


def _beginnings(labels: Sequence[str]) -> list[str]:
    """Warn of labels that others begin with: whatever makes the longer one likely makes the shorter one likelier."""
    ordered = sorted(labels)
    # In alphabetical order, all texts that begin with one follow it directly.
    pairs = []
    for i, label in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if not other.startswith(label):
                break
            pairs.append(f"{shorten(label, MAX_QUOTED)} and {shorten(other, MAX_QUOTED)}")
    if not pairs:
        return []
    why = "so the shorter one is always at least as likely"
    return [f"One label is the beginning of another, {why}: {_listed(pairs)}. Choose labels that begin differently."]


def _leaks(examples: Sequence[_Row], tests: Sequence[_Row], is_classify: bool) -> list[str]:
    if not examples or not tests:
        return []
    near = _are_near([row.input for row in tests], [row.input for row in examples])
    # An example with a similar input but another answer misleads the model: the test is hard, not leaked.
    if is_classify:
        ours, theirs = (np.array([row.output[0] for row in rows]) for rows in (tests, examples))
        near &= ours[:, None] == theirs
    else:
        near &= _are_near([row.output for row in tests], [row.output for row in examples])
    number_of = {(row.input, row.output): row.number for row in reversed(examples)}
    same: list[str] = []
    similar: list[str] = []
    for test, line in zip(tests, near, strict=True):
        number = number_of.get((test.input, test.output))
        if number is not None:
            same.append(f"test {test.number} (example {number})")
        elif line.any():
            similar.append(f"test {test.number} (example {examples[int(line.argmax())].number})")
    warnings = []
    for found, how in ((same, "repeats"), (similar, "nearly repeats")):
        if found:
            what = f"A test that {how} an example shows"
            warnings.append(f"{what} only that the model can copy: {_listed(found)}.")
    return warnings


def _are_near(ours: Sequence[Tokens], theirs: Sequence[Tokens]) -> NDArray[np.bool_]:
    """Return for each pair whether at least NEAR_PERCENT of both texts' words are shared (repetitions count).

    This is difflib's quick_ratio() on words. ratio() also compares their order, but its time for one pair grows faster
    than the product of the lengths; here it is at most one step for each shared word.
    """
    pairs: list[int] = []
    frequent: list[tuple[list[int], list[int]]] = []
    positions = _positions(theirs)
    for word, ours_with_it in _positions(ours).items():
        theirs_with_it = positions.get(word, [])
        if len(ours_with_it) * len(theirs_with_it) > _MAX_PAIRS_BY_HAND:
            frequent.append((ours_with_it, theirs_with_it))
        elif theirs_with_it:
            pairs += [i * len(theirs) + j for i in ours_with_it for j in theirs_with_it]
    has_ours = np.zeros((len(ours), len(frequent)), dtype=np.float32)
    has_theirs = np.zeros((len(theirs), len(frequent)), dtype=np.float32)
    for word_id, (ours_with_it, theirs_with_it) in enumerate(frequent):
        has_ours[ours_with_it, word_id] = 1
        has_theirs[theirs_with_it, word_id] = 1
    shared = has_ours @ has_theirs.T  # (ours, theirs): small whole numbers, so exact
    if pairs:
        shared += np.bincount(pairs, minlength=shared.size).reshape(shared.shape)
    lengths = np.array([len(text) for text in ours])[:, None] + np.array([len(text) for text in theirs])
    near: NDArray[np.bool_] = 200 * shared >= NEAR_PERCENT * lengths
    return near


def _positions(texts: Sequence[Tokens]) -> Mapping[tuple[str, int], list[int]]:
    """Return the indexes of the texts that hold each word a first time, a second time, and so on."""
    positions: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        for word, times in Counter(text).items():
            for time in range(times):
                positions[word, time].append(i)
    return positions


def _duplicates(*tables: Sequence[_Row]) -> list[str]:
    groups = [group for rows in tables for group in _grouped(rows, True) if len(group) > 1]
    if not groups:
        return []
    return [f"Repeated rows count several times and add nothing new: {_listed(map(_named, groups))}."]


def _imbalance(labels: Sequence[str], rows: Sequence[Example], table: str) -> list[str]:
    counts = Counter(dict.fromkeys(labels, 0))
    counts.update(row.output for row in rows)
    if missing := [shorten(label, MAX_QUOTED) for label in labels if not counts[label]]:
        return [f"No {table} has the label {_listed(missing, ', ', ' or ')}."]
    (most, high), *_, (least, low) = counts.most_common()
    if high <= MAX_IMBALANCE * low:
        return []
    effect = "the model prefers the frequent one" if table == "example" else "the rare one hardly counts"
    most, least = shorten(most, MAX_QUOTED), shorten(least, MAX_QUOTED)
    return [f"The {table}s are unbalanced, {high} × {most} but {low} × {least}, so {effect}."]


def _outweighing(examples: Sequence[Example]) -> list[str]:
    lengths = [len(row.input) + len(row.output) for row in examples]
    # With two examples, one is nearly always longer.
    if len(lengths) < 3 or max(lengths) <= sum(lengths) - max(lengths):
        return []
    return [f"Example {lengths.index(max(lengths)) + 1} is longer than all the others together, so it outweighs them."]


def _too_few(tests: Sequence[Example]) -> list[str]:
    if not tests:
        return ["There are no tests, so nothing can be measured."]
    if len(tests) < MIN_TESTS:
        count = "is only 1 test" if len(tests) == 1 else f"are only {len(tests)} tests"
        return [f"There {count}; fewer than {MIN_TESTS} tests tell little."]
    return []


def _named(rows: Sequence[_Row]) -> str:
    """Return the rows as a person calls them: examples 1 and 4; example 2 and test 3."""
    parts = []
    for table in ("example", "test"):
        numbers = [str(row.number) for row in rows if row.table == table]
        if numbers:
            parts.append(f"{table}{'s' * (len(numbers) > 1)} {_listed(numbers, ', ', ' and ')}")
    return " and ".join(parts)


def _listed(names: Iterable[str], between: str = "; ", last: str = "; ") -> str:
    """Return the first of `names` as a list, and the number of the others."""
    shown = list(names)
    if len(shown) > _MAX_NAMED:
        shown = [*shown[: _MAX_NAMED - 1], f"{len(shown) - _MAX_NAMED + 1} more"]
        last = " and "
    return shown[0] if len(shown) == 1 else f"{between.join(shown[:-1])}{last}{shown[-1]}"
