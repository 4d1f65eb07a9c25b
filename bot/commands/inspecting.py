"""Commands that show the model's probabilities of a text: perplexity, compare, next."""

import math
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

from bot.commands.framework.command import Cards, Command, Request
from bot.core.cards import Bars, Block, Card, Facts, Table, Text, TintedText
from bot.core.mentions import mention
from bot.core.perplexity import (
    TextFigures,
    WordSurprisal,
    compare_figures,
    differing_words,
    most_surprising,
    summarize,
    words_of,
)
from bot.core.prompt_parts import Prompt
from bot.core.results import TokenScore
from bot.errors import RequestError

FEW_TOKENS: Final = 8
_NUM_SURPRISING: Final = 3
_MAX_COMPARED: Final = 5
_MAX_DIFFERENCES: Final = 8
_NUM_NEXT: Final = 10


def _shown(text: str) -> str:
    """Return a token's text with visible signs for white space and control characters."""
    text = text.replace("\n", "⏎").replace("\t", "⇥").strip(" ") or "␣"
    is_unseen = (c != " " and (c.isspace() or unicodedata.category(c) == "Cc") for c in text)
    return "".join(f"⟨U+{ord(c):04X}⟩" if unseen else c for c, unseen in zip(text, is_unseen, strict=True))


def _tinted(text: str, words: Sequence[WordSurprisal]) -> TintedText:
    """Return all of `text` in pieces: the words with their surprisal, the text between them without."""
    pieces: list[tuple[str, float | None]] = []
    end = 0
    for word in words:
        if word.start > end:
            pieces.append((text[end : word.start], None))
        pieces.append((text[word.start : word.end], word.surprisal))
        end = word.end
    if end < len(text):
        pieces.append((text[end:], None))
    return TintedText(tuple(pieces))


def _surprising_table(words: Sequence[WordSurprisal]) -> Table:
    rows = []
    for word in most_surprising(words, _NUM_SURPRISING):
        # A comma could be one of the words.
        expected = " · ".join(
            f"{_shown(candidate.text)} {math.exp(candidate.logprob):.0%}" for candidate in word.expected[:3]
        )
        rows.append((_shown(word.text), f"{word.surprisal:.1f} bits", expected or "—"))
    return Table(("most surprising", "surprisal", "expected instead"), tuple(rows))


def _token_data(scores: Sequence[TokenScore]) -> list[dict[str, Any]]:
    return [{"text": score.text, "logprob": score.logprob} for score in scores]


def _notes(figures: TextFigures) -> list[Block]:
    notes: list[Block] = []
    if figures.num_tokens < FEW_TOKENS:
        notes.append(Text(f"Under {FEW_TOKENS} tokens this number means little.", is_quiet=True))
    if figures.num_scored < figures.num_tokens:
        notes.append(Text("This model has no start token, so the first token is not scored.", is_quiet=True))
    return notes


async def answer_perplexity(request: Request) -> Cards:
    """Answer with the surprisal of the text, word by word."""
    services = request.services
    scores = await services.engine.score(request.text, num_expected=_NUM_SURPRISING, asker=request.asker)
    figures = summarize(request.text, scores)
    words = words_of(request.text, scores)
    model = services.engine.info.name
    facts = Facts(
        (
            ("perplexity", f"{figures.perplexity:,.2f}" if figures.num_scored else "—"),
            ("bits per byte", f"{figures.bits_per_byte:.3f}" if figures.num_scored else "—"),
            ("tokens", f"{figures.num_tokens:,}"),
            ("model", model),
        )
    )
    yield Card(
        blocks=(facts, _tinted(request.text, words), _surprising_table(words), *_notes(figures)),
        data={
            "input": request.text,
            "perplexity": figures.perplexity if figures.num_scored else None,
            "bits_per_byte": figures.bits_per_byte if figures.num_scored else None,
            "num_tokens": figures.num_tokens,
            "tokens": _token_data(scores),
            "words": [{"text": word.text, "surprisal_bits": word.surprisal} for word in words],
            "model": model,
        },
    )


def _split_compared(text: str) -> list[str]:
    texts = [part.strip() for part in text.split("|")]
    if not 2 <= len(texts) <= _MAX_COMPARED or not all(texts):
        raise RequestError(f"{mention('compare A | B')} takes 2 to {_MAX_COMPARED} texts; none of them may be empty.")
    return texts


async def answer_compare(request: Request) -> Cards:
    """Answer which of several texts the model finds likeliest, and where they differ."""
    services = request.services
    texts = _split_compared(request.text)
    letters = "ABCDE"
    all_scores = [await services.engine.score(text, asker=request.asker) for text in texts]
    figures = [summarize(text, scores) for text, scores in zip(texts, all_scores, strict=True)]
    if not all(figure.num_scored for figure in figures):
        raise RequestError("This model can't score the first token of a text. Compare texts of at least two tokens.")
    verdict = compare_figures(figures)
    rows = tuple(
        (letter, text, f"{figure.total_bits:.1f}", f"{figure.bits_per_byte:.3f}", f"{figure.perplexity:,.2f}")
        for letter, text, figure in zip(letters, texts, figures, strict=False)
    )
    best = letters[verdict.best]
    if verdict.is_close:
        sentence = f"Too close to call: {best} is ahead by less than 1 bit."
    else:
        second = letters[verdict.second]
        sentence = f"{best} is {_times(verdict.bits_ahead)} likelier than {second}."
    blocks: list[Block] = [Text(sentence), Table(("", "text", "bits", "bits per byte", "perplexity"), rows)]
    words = [words_of(text, scores) for text, scores in zip(texts, all_scores, strict=True)]
    base = words[verdict.best]
    for i, letter in enumerate(letters[: len(texts)]):
        differences = [(_worded(ours), _worded(theirs)) for ours, theirs in differing_words(base, words[i])]
        if i != verdict.best and differences:
            blocks.append(Table((f"in {best}", f"in {letter}"), tuple(differences[:_MAX_DIFFERENCES])))
    if verdict.is_length_unequal:
        blocks.append(Text("The lengths differ a lot: compare bits per byte, not bits.", is_quiet=True))
    yield Card(
        blocks=tuple(blocks),
        data={
            "text": sentence,
            "best": verdict.best,
            "is_close": verdict.is_close,
            "bits_ahead": verdict.bits_ahead,
            "texts": [
                {
                    "text": text,
                    "total_bits": figure.total_bits,
                    "bits_per_byte": figure.bits_per_byte,
                    "perplexity": figure.perplexity,
                    "num_tokens": figure.num_tokens,
                }
                for text, figure in zip(texts, figures, strict=True)
            ],
            "model": services.engine.info.name,
        },
    )


def _worded(words: Sequence[WordSurprisal]) -> str:
    """Return words with their surprisal in bits, a dash if there are none."""
    shown = []
    for word in words:
        bits = "" if word.surprisal is None else f" ({word.surprisal:.1f})"
        shown.append(_shown(word.text) + bits)
    return " ".join(shown) or "—"


def _times(bits: float) -> str:
    """Return 2^bits in words."""
    if bits < 30:
        times = 2**bits
        return f"{times:,.1f} times" if times < 10 else f"{times:,.0f} times"
    return f"2^{bits:.0f} times"


async def answer_next(request: Request) -> Cards:
    """Answer with the probable next words of the text."""
    services = request.services
    words = await services.engine.next_words(Prompt.plain(request.text.rstrip()), num=_NUM_NEXT, asker=request.asker)
    rest = max(0.0, 1.0 - sum(word.probability for word in words))
    yield Card(
        blocks=(
            Text(f"After “{_tail(request.text)}” the model expects:"),
            Bars(tuple((_shown(word.text), word.probability) for word in words), rest, "rest of the vocabulary"),
        ),
        data={
            "input": request.text,
            "words": [{"text": word.text, "probability": word.probability} for word in words],
            "rest": rest,
            "model": services.engine.info.name,
        },
    )


def _tail(text: str, limit: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else "…" + text[-limit:]


COMMANDS: Final = (
    Command(
        name="perplexity",
        summary="Show how surprising a text is to the model, word by word",
        answer=answer_perplexity,
        text="required",
        examples=("perplexity Can it does what?",),
        menu="Perplexity",
    ),
    Command(
        name="compare",
        summary="Show which of 2 to 5 texts the model finds likeliest, and where they differ",
        answer=answer_compare,
        text="required",
        text_name="A | B",
        text_parts=("a", "b", "c", "d", "e"),
        num_required_parts=2,
        examples=("compare Can it do that? | Can it does what?",),
    ),
    Command(
        name="next",
        summary="Show the probable next words of a text",
        answer=answer_next,
        text="required",
        examples=("next The capital of France is",),
    ),
)
