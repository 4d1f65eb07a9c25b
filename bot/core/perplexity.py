"""Figures from token log-probabilities: perplexity, bits per byte, surprising words, rolling windows, comparisons."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bot.core.results import Expected, TokenScore
from bot.core.word_spans import word_spans

# A difference below one bit (a factor of two) says nothing about which text is likelier.
CLOSE_BITS: Final = 1.0
# From this ratio of bytes on, total bits compare lengths more than wording.
UNEQUAL_LENGTH_RATIO: Final = 1.5
# The time to compare words grows with the square of their number, and beyond.
MAX_DIFFERING: Final = 400


@dataclass(frozen=True, slots=True)
class TextFigures:
    """How surprising a text is: `total_bits` is the sum over its `num_scored` scored tokens, of `num_tokens`.

    `perplexity` is exp(mean negative log-likelihood in nats of a scored token), `bits_per_byte` is total_bits divided
    by the UTF-8 bytes. Without any scored token all three are nan.
    """

    perplexity: float
    bits_per_byte: float
    total_bits: float
    num_tokens: int
    num_scored: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class WordSurprisal:
    """A word (see `word_spans`) at `text[start:end]` of the scored text.

    `surprisal` is the sum of its tokens' bits, None if none was scored; white space belongs to the word after it.
    `expected` are what the model found likeliest in place of the word's most surprising token, best first, with what is
    before that in the word; with `follows_word` they stand directly behind a letter or digit of the word before.
    """

    text: str
    start: int
    end: int
    surprisal: float | None
    expected: tuple[Expected, ...] = ()
    follows_word: bool = False


@dataclass(frozen=True, slots=True)
class TextComparison:
    """Which of several texts is likelier: `best` and `second` are indexes, `bits_ahead` (>= 0) is their distance."""

    best: int
    second: int
    bits_ahead: float
    is_close: bool
    is_length_unequal: bool


@dataclass(frozen=True, slots=True)
class RollingWindow:
    """Tokens `start` to `end` - 1 are scored with the context from `context_start` on (-1: from the prefix token)."""

    context_start: int
    start: int
    end: int


def summarize(text: str, scores: Sequence[TokenScore]) -> TextFigures:
    """Return the figures of `text` from the scores of its tokens. Log-probabilities are in nats."""
    logprobs = [score.logprob for score in scores if score.logprob is not None]
    num_bytes = len(text.encode("utf-8", "replace"))
    if not logprobs or not num_bytes:
        return TextFigures(math.nan, math.nan, math.nan, len(scores), 0, num_bytes)
    nats = -math.fsum(logprobs)
    bits = nats / math.log(2)
    return TextFigures(_exp(nats / len(logprobs)), bits / num_bytes, bits, len(scores), len(logprobs), num_bytes)


def _exp(nats: float) -> float:
    """Return e to the power of `nats`, infinity where a float can't hold it."""
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf


def words_of(text: str, scores: Sequence[TokenScore]) -> tuple[WordSurprisal, ...]:
    """Return the words of `text` in order; their surprisals add up to the text's total bits.

    A token belongs to the word that holds its first character other than white space; a token of white space belongs
    to the word after it (at the end: the word before).
    """
    spans = word_spans(text, scores)
    tokens: list[list[TokenScore]] = [[] for _ in spans]
    index = 0
    for score in scores:
        piece = text[score.start : score.end]
        at = score.start + len(piece) - len(piece.lstrip())
        while index + 1 < len(spans) and at >= spans[index][1]:
            index += 1
        if spans:
            tokens[index].append(score)
    return tuple(_word(text, start, end, own) for (start, end), own in zip(spans, tokens, strict=True))


def _word(text: str, start: int, end: int, own: Sequence[TokenScore]) -> WordSurprisal:
    scored = [score for score in own if score.logprob is not None and score.end > start]
    bits = _bits(own)
    if not scored:
        return WordSurprisal(text[start:end], start, end, bits)
    worst = min(scored, key=lambda score: score.logprob or 0.0)
    before = text[start : worst.start]
    expected = (one for one in worst.expected if one.text != worst.text)
    return WordSurprisal(
        text[start:end],
        start,
        end,
        bits,
        tuple(replace(one, text=before + one.text) for one in expected),
        follows_word=not before and worst.start > 0 and text[worst.start - 1].isalnum(),
    )


def _bits(scores: Sequence[TokenScore]) -> float | None:
    logprobs = [score.logprob for score in scores if score.logprob is not None]
    return -math.fsum(logprobs) / math.log(2) if logprobs else None


def most_surprising(words: Sequence[WordSurprisal], n: int) -> tuple[WordSurprisal, ...]:
    """Return the `n` scored words with the most bits, most surprising first; the earlier one first if equal.

    The first word of the text is among them only if no other is scored: almost any word is an unlikely start.
    """
    scored = [(word.surprisal, word) for word in words[1:] if word.surprisal is not None]
    scored = scored or [(word.surprisal, word) for word in words[:1] if word.surprisal is not None]
    return tuple(word for _, word in sorted(scored, key=lambda pair: -pair[0])[:n])


def rolling_windows(num_tokens: int, max_length: int) -> tuple[RollingWindow, ...]:
    """Return windows that score each of `num_tokens` tokens once, with at most `max_length` tokens fed per window.

    A window feeds the prefix token or token `context_start`, up to token `end` - 2. Full windows do not overlap; the
    last one is filled up with earlier context. Raises ValueError for a length below 1.

    Source: lm-evaluation-harness, get_rolling_token_windows with a context of one token.
    """
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, not {max_length}")
    if num_tokens <= 0:
        return ()
    first = min(max_length, num_tokens)
    windows = [RollingWindow(-1, 0, first)]
    for start in range(first, num_tokens, max_length):
        end = min(start + max_length, num_tokens)
        windows.append(RollingWindow(end - max_length - 1, start, end))
    return tuple(windows)


def compare_figures(figures: Sequence[TextFigures]) -> TextComparison:
    """Say which text is likelier by its total bits. Raises ValueError for fewer than two texts."""
    if len(figures) < 2:
        raise ValueError("a comparison takes at least two texts")
    best, second, *_ = sorted(
        range(len(figures)), key=lambda i: (math.isnan(figures[i].total_bits), figures[i].total_bits)
    )
    ahead = figures[second].total_bits - figures[best].total_bits
    lengths = [figure.num_bytes for figure in figures]
    return TextComparison(
        best=best,
        second=second,
        bits_ahead=ahead,
        is_close=not ahead >= CLOSE_BITS,
        is_length_unequal=max(lengths) >= UNEQUAL_LENGTH_RATIO * min(lengths),
    )


def differing_words(
    ours: Sequence[WordSurprisal], theirs: Sequence[WordSurprisal]
) -> tuple[tuple[tuple[WordSurprisal, ...], tuple[WordSurprisal, ...]], ...]:
    """Return the places where two texts differ, each as the words of the one and of the other (either may be empty).

    From the first difference on, MAX_DIFFERING words of each are compared.
    """
    shorter = min(len(ours), len(theirs))
    start = next((i for i in range(shorter) if ours[i].text != theirs[i].text), shorter)
    ours, theirs = ours[start : start + MAX_DIFFERING], theirs[start : start + MAX_DIFFERING]
    matcher = difflib.SequenceMatcher(
        None, [word.text for word in ours], [word.text for word in theirs], autojunk=False
    )
    return tuple((tuple(ours[i:j]), tuple(theirs[k:m])) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal")
