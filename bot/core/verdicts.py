"""Verdicts on measurements, and what the units mean, in plain words."""

import math
from collections.abc import Sequence
from typing import Final

from bot.core.classification import Classification
from bot.core.perplexity import TextFigures
from bot.core.results import ReferenceFigure
from bot.core.statistics import ClassifyFigures, CompleteFigures, Figures

BITS: Final = "Bits measure surprise: each bit halves the chance, so a word of 10 bits had a chance of 1 in 1,024."
BITS_PER_BYTE: Final = "Bits per byte are a text's bits divided by its length, so they compare texts of any length."
FEW_TOKENS: Final = 5

# Perplexities up to which a text is called so. In a text of 100, each token was as hard to guess as one in 100.
# Found by forty short texts on SmolLM2-135M (docs/measurements.md).
_LEVELS: Final = ((20.0, "Predictable"), (150.0, "Ordinary"), (1000.0, "Surprising"), (math.inf, "Very surprising"))
_CLEAR: Final = 0.5
_LIKELY: Final = 0.15


def judge_text(figures: TextFigures) -> str:
    """Return how surprising a text is to the model."""
    if not figures.num_scored:
        return "Too short: this model can't score the first token of a text."
    if figures.num_tokens < FEW_TOKENS:
        return f"Too short to judge: a verdict needs at least {FEW_TOKENS} tokens."
    odds = f"each token was as hard to guess as one of {figures.perplexity:,.0f} equally likely ones"
    if figures.perplexity < 1.5:
        odds = "nearly every token was what the model expected"
    if figures.perplexity > 1e6:
        odds = "each token was as good as impossible to guess"
    level = next(name for limit, name in _LEVELS if figures.perplexity <= limit)
    return f"{level} to the model: {odds}."


def compare_with(references: Sequence[ReferenceFigure]) -> str:
    """Return the perplexities of texts of known kinds, the lowest first, for a text's own to be held against."""
    ranked = sorted(references, key=lambda one: one.perplexity)
    shown = " · ".join(f"{one.kind} {one.perplexity:,.0f}" for one in ranked)
    return f"For comparison, the perplexity of short texts to this model: {shown}."


def judge_next(after: str, words: Sequence[tuple[str, float]]) -> str:
    """Return how sure the model is of the word after `after`; `words` are (name, probability), likeliest first."""
    if not words:
        return f"After “{after}” no word can be shown."
    name, probability = words[0]
    chance = percent(probability)
    word = name if " " in name else f"“{name}”"  # white space has a name of several words
    if probability >= _CLEAR:
        return f"After “{after}” the model clearly expects {word}: {chance}."
    if probability >= _LIKELY:
        return f"After “{after}” the model leans towards {word} ({chance}), but is not sure."
    return f"After “{after}” the model has no clear expectation; its first guess is {word} ({chance})."


def judge_label(result: Classification) -> str:
    """Return the label and how sure it is."""
    ranked = sorted(zip(result.labels, result.probabilities, strict=True), key=lambda pair: -pair[1])
    (label, best), *others = ranked
    if result.is_sure or not others:
        return f"{label}, {percent(best)} sure"
    second, chance = others[0]
    return f"{label} (unsure): {percent(best)}, and {percent(chance)} for {second}"


def judge_figures(figures: Figures) -> str:
    """Return what the figures of one template on its tests say about it."""
    if isinstance(figures, ClassifyFigures):
        return _judge_classify(figures)
    return _judge_complete(figures)


def _judge_classify(figures: ClassifyFigures) -> str:
    num_right = sum(figures.is_right)
    counts = [sum(right == label for right in figures.right) for label in range(len(figures.labels))]
    common = counts.index(max(counts))
    blind = max(counts) / figures.num_rows
    rival = f"always answering “{figures.labels[common]}” ({100 * blind:.0f}%)"
    right = f"{num_right} of {figures.num_rows} right"
    interval = figures.accuracy_interval
    if interval.low > blind:
        return f"Useful: {right}, clearly more than {rival}."
    if interval.high < blind:
        return f"Worse than a fixed answer: {right}, clearly fewer than {rival}."
    return f"Not shown to be useful: {right}, no clear difference from {rival}."


def _judge_complete(figures: CompleteFigures) -> str:
    compared = sum(outcome.is_exact is not None for outcome in figures.outcomes)
    expected = f"the expected outputs take {figures.bits_per_byte:.2f} bits per byte"
    if not compared:
        return f"No output could be compared exactly; {expected}."
    return f"{figures.num_exact} of {compared} outputs are exactly as expected; {expected}."


def percent(fraction: float) -> str:
    """Return a fraction as a whole percentage, with a decimal below 10 %; never 0% or 100% for less than all."""
    if 0 < fraction < 0.001:
        return "under 0.1%"
    if fraction > 0.995:
        return "over 99%" if fraction < 1 else "100%"
    return f"{100 * fraction:.0f}%" if fraction >= 0.1 else f"{100 * fraction:.1f}%"
