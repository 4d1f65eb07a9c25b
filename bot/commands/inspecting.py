"""Commands that show the model's probabilities of a text: perplexity, compare, next."""

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Final

from bot.commands.framework.command import MODEL, ONE_OR_TWO_MODELS, SAMPLING_OPTIONS, Cards, Command, Request
from bot.commands.framework.parsing import split_text_parts
from bot.commands.framework.progress import Finished
from bot.commands.framework.scored_texts import STOPPED, AllScores, score_texts
from bot.commands.side_by_side import side_by_side
from bot.core.cards import Bars, Block, Card, Contrast, ContrastedText, Facts, Table, Text, TintedText
from bot.core.mentions import mention, mention_option
from bot.core.perplexity import (
    MAX_DIFFERING,
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
from bot.core.sampling_params import OPTIONS, SamplingParams, apply_options
from bot.core.token_names import add_up, token_name, with_signs
from bot.core.verdicts import BITS, BITS_PER_BYTE, compare_with, judge_next, judge_text
from bot.core.word_differences import difference_pieces, own_pieces
from bot.errors import RequestError

_NUM_SURPRISING: Final = 3
_MAX_COMPARED: Final = 5
_MAX_DIFFERENCES: Final = 8
_NUM_NEXT: Final = 10
_MAX_TAIL: Final = 40
_LETTERS: Final = "ABCDE"
_NOT_ALL_COMPARED: Final = (
    f"The texts are long, so {MAX_DIFFERING} words of each are compared word by word, from the first difference on."
)
# Without options every token can be drawn, with its own probability.
_NOTHING_CUT: Final = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.0)
_NEXT_OPTIONS: Final = tuple(
    one
    for one in SAMPLING_OPTIONS
    if one.name == "preset" or (one.name in OPTIONS and OPTIONS[one.name].role != "request")
)
_OF_TWO: Final = f"With {mention_option('model')} A,B two models are put side by side, by bits per byte."
_UNITS: Final = Text(f"{BITS} {BITS_PER_BYTE}", is_quiet=True)


def _share(probability: float) -> str:
    return f"{probability:.0%}" if probability >= 0.01 else "<1%"


def _surprising_table(words: Sequence[WordSurprisal]) -> Table:
    rows = []
    for word in most_surprising(words, _NUM_SURPRISING):
        # A comma could be one of the words.
        named = add_up(
            (token_name(one.text, follows_word=word.follows_word), math.exp(one.logprob)) for one in word.expected
        )
        expected = " · ".join(f"{name} {_share(probability)}" for name, probability in named)
        rows.append((with_signs(word.text), f"{word.surprisal:.1f} bits", expected or "—"))
    return Table(("most surprising", "surprisal", "expected instead"), tuple(rows))


def _token_data(scores: Sequence[TokenScore]) -> list[dict[str, Any]]:
    """Return each token with the characters of the text that are its own; joined, they are the text.

    Where tokens share a character, the first of them has it. `rank` is its place among all tokens, `expected` what was
    likeliest there, with probabilities.
    """
    data: list[dict[str, Any]] = []
    end = 0
    for score in scores:
        start, end = end, max(end, score.end)
        expected = [[one.text, math.exp(one.logprob)] for one in score.expected]
        token = {"text": score.text, "start": start, "end": end, "logprob": score.logprob}
        data.append({**token, "rank": score.rank, "expected": expected})
    return data


def _notes(start_token: str | None) -> list[Block]:
    """Return the small print: what the first word's bits are, and the units."""
    if start_token is None:
        start = "This model reads texts without a start token, so the first token is not scored."
    else:
        start = (
            f"The model reads the text after its start token {start_token}: the bits of the first word are the start's."
        )
    return [Text(start, is_quiet=True), _UNITS]


async def _scored(
    request: Request, texts: Sequence[str], show: Callable[[AllScores], Card], *, num_expected: int = 0
) -> Cards:
    """Score each of `texts`, with a card for each step; the last card is what `show` makes of the scores, in a thread.

    A long text has tens of thousands of words, over which the event loop would stand.
    """
    last = STOPPED
    async with aclosing(score_texts(request, texts, num_expected=num_expected)) as steps:
        async for step in steps:
            if isinstance(step, Finished):
                last = await asyncio.to_thread(show, step.value)
            else:
                yield step
    yield last


async def answer_perplexity(request: Request) -> Cards:
    """Answer with the surprisal of the text, word by word; two models are put side by side."""
    if MODEL.name in request.options:
        answer = side_by_side(request, [request.text])
    else:
        show = partial(_perplexity_card, request)
        answer = _scored(request, [request.text], show, num_expected=_NUM_SURPRISING)
    async with aclosing(answer) as cards:
        async for card in cards:
            yield card


def _perplexity_card(request: Request, all_scores: AllScores) -> Card:
    services = request.services
    (scores,) = all_scores
    figures = summarize(request.text, scores)
    words = words_of(request.text, scores)
    model, start_token = services.engine.info.name, services.engine.info.start_token
    facts = Facts(
        (
            ("perplexity", f"{figures.perplexity:,.2f}" if figures.num_scored else "—"),
            ("bits per byte", f"{figures.bits_per_byte:.3f}" if figures.num_scored else "—"),
            ("tokens", f"{figures.num_tokens:,}"),
            ("model", model),
        )
    )
    verdict = Text(judge_text(figures))
    tinted = TintedText(own_pieces(request.text, words))
    references = services.engine.info.references
    compared = [Text(compare_with(references), is_quiet=True)] if references and figures.num_scored else []
    return Card(
        blocks=(verdict, facts, tinted, _surprising_table(words), *compared, *_notes(start_token)),
        data={
            "input": request.text,
            "perplexity": figures.perplexity if figures.num_scored else None,
            "bits_per_byte": figures.bits_per_byte if figures.num_scored else None,
            "num_tokens": figures.num_tokens,
            "tokens": _token_data(scores),
            "words": [{"text": word.text, "surprisal_bits": word.surprisal} for word in words],
            "start_token": start_token,
            "references": {one.kind: one.perplexity for one in references},
            "model": model,
        },
    )


def _split_compared(text: str, *, at_least: int = 2) -> list[str]:
    texts = split_text_parts(text)
    usage = f"Write {mention('compare A | B')}, with 2 to {_MAX_COMPARED} texts."
    if len(texts) < at_least:
        raise RequestError(f"There is only one text. {usage}")
    if not all(texts):
        raise RequestError(f"One of the texts is empty. {usage}")
    if len(texts) > _MAX_COMPARED:
        raise RequestError(f"There are {len(texts)} texts. {usage}")
    return texts


async def answer_compare(request: Request) -> Cards:
    """Answer which of several texts the model finds likeliest, and where they differ; or compare two models."""
    is_of_two = MODEL.name in request.options
    texts = _split_compared(request.text, at_least=1 if is_of_two else 2)
    one = partial(_comparison_card, request, texts)
    async with aclosing(side_by_side(request, texts) if is_of_two else _scored(request, texts, one)) as cards:
        async for card in cards:
            yield card


def _comparison_card(request: Request, texts: Sequence[str], all_scores: AllScores) -> Card:
    services = request.services
    figures = [summarize(text, scores) for text, scores in zip(texts, all_scores, strict=True)]
    if not all(figure.num_scored for figure in figures):
        raise RequestError("This model can't score the first token of a text. Compare texts of at least two tokens.")
    verdict = compare_figures(figures)
    rows = tuple(
        (letter, text, f"{figure.total_bits:.1f}", f"{figure.bits_per_byte:.3f}", f"{figure.perplexity:,.2f}")
        for letter, text, figure in zip(_LETTERS, texts, figures, strict=False)
    )
    best, second = _LETTERS[verdict.best], _LETTERS[verdict.second]
    if texts[verdict.best] == texts[verdict.second]:
        sentence = f"{best} and {second} are the same text."
    elif verdict.is_close:
        sentence = f"Too close to call: {best} is ahead by less than 1 bit."
    else:
        sentence = f"{best} is {_times(verdict.bits_ahead)} likelier than {second}."
    blocks: list[Block] = [Text(sentence), Table(("", "text", "bits", "bits per byte", "perplexity"), rows)]
    words = [words_of(text, scores) for text, scores in zip(texts, all_scores, strict=True)]
    base = words[verdict.best]
    tables = []
    for i, letter in enumerate(_LETTERS[: len(texts)]):
        if i == verdict.best:
            continue
        found = differing_words(base, words[i])[:_MAX_DIFFERENCES]
        if differences := [(_worded(ours), _worded(theirs)) for ours, theirs in found]:
            tables.append(Table((f"in {best}", f"in {letter}"), tuple(differences)))
    if tables:
        blocks.append(Contrast(_contrast(texts, figures, words, verdict.best), tuple(tables)))
    if tables and max(map(len, words)) > MAX_DIFFERING:
        blocks.append(Text(_NOT_ALL_COMPARED, is_quiet=True))
    if verdict.is_length_unequal:
        per_byte = min(range(len(figures)), key=lambda i: figures[i].bits_per_byte)
        blocks.append(
            Text(
                "The lengths differ a lot, and a shorter text is likelier for that alone. Per byte,"
                f" {_LETTERS[per_byte]} surprises the model least."
            )
        )
    blocks.append(_UNITS)
    return Card(
        blocks=tuple(blocks),
        data={
            "verdict": sentence,
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


def _contrast(
    texts: Sequence[str], figures: Sequence[TextFigures], words: Sequence[Sequence[WordSurprisal]], best: int
) -> tuple[ContrastedText, ...]:
    """Return the texts, the best first, with the bits of its words, and how many more the others' words take."""
    contrasted = [ContrastedText(_LETTERS[best], figures[best].total_bits, own_pieces(texts[best], words[best]))]
    contrasted += [
        ContrastedText(_LETTERS[i], figures[i].total_bits, difference_pieces(text, words[i], words[best]))
        for i, text in enumerate(texts)
        if i != best
    ]
    return tuple(contrasted)


def _worded(words: Sequence[WordSurprisal]) -> str:
    """Return words with their surprisal in bits, a dash if there are none."""
    shown = []
    for word in words:
        bits = "" if word.surprisal is None else f" ({word.surprisal:.1f})"
        shown.append(with_signs(word.text) + bits)
    return " ".join(shown) or "—"


def _times(bits: float) -> str:
    """Return 2^bits in words."""
    if bits < 30:
        times = 2**bits
        return f"{times:,.1f} times" if times < 10 else f"{times:,.0f} times"
    return f"2^{bits:.0f} times"


async def answer_next(request: Request) -> Cards:
    """Answer with the probable next words of the text, or with what sampling options make of the next token."""
    if request.options:
        yield await _drawn_card(request)
        return
    services = request.services
    words = await services.engine.next_words(Prompt.document(request.text.rstrip()), num=_NUM_NEXT, asker=request.asker)
    rest = max(0.0, 1.0 - sum(word.probability for word in words))
    tail = _tail(request.text)
    follows_word = request.text.rstrip()[-1:].isalnum()
    named = add_up((token_name(word.text, follows_word=follows_word), word.probability) for word in words)
    bars = Bars(
        named,
        rest,
        "all other words",
        what=f"Bars of the words that the model expects after “{tail}”",
    )
    yield Card(
        blocks=(Text(judge_next(tail, named)), bars),
        data={
            "input": request.text,
            "words": [{"text": word.text, "probability": word.probability} for word in words],
            "rest": rest,
            "model": services.engine.info.name,
        },
    )


async def _drawn_card(request: Request) -> Card:
    """Return which tokens the options of the request can draw after its text, and which ones they cut."""
    services, tail = request.services, _tail(request.text)
    text = request.text.rstrip()
    params = apply_options(_NOTHING_CUT, request.options)
    if params.num_beams > 1:
        raise RequestError("Beam search looks several tokens ahead, so there is no single next token to show.")
    in_force = params.list_active("warper", "processor")
    found = await services.engine.drawn_tokens(
        Prompt.document(text), replace(params, n=1), num=_NUM_NEXT, asker=request.asker
    )
    follows_word = text[-1:].isalnum()
    names = [token_name(one.text, follows_word=follows_word) for one in found.tokens]
    kept = add_up((name, one.drawn) for name, one in zip(names, found.tokens, strict=True) if one.drawn > 0)
    cut = add_up((name, one.probability) for name, one in zip(names, found.tokens, strict=True) if one.drawn == 0)
    num = f"{found.num_drawable:,} of {found.vocab_size:,} tokens"
    verdict = f"After “{tail}” the options leave {num} to draw from."
    if found.num_drawable == 1:
        verdict = f"After “{tail}” the options leave one token: {kept[0][0]}."
    blocks: list[Block] = [
        Text(verdict),
        Bars(
            kept,
            max(0.0, 1.0 - sum(chance for _, chance in kept)),
            "all others" if found.num_drawable > len(kept) else "",
            what=f"Bars of the tokens that the options draw after “{tail}”",
        ),
    ]
    if cut:
        listed = ", ".join(f"{name} {_share(probability)}" for name, probability in cut)
        blocks.append(Text(f"cut, with the model's own probability: {listed}", is_quiet=True))
    active = " · ".join(f"{name} {getattr(params, name):g}" for name in OPTIONS if name in in_force)
    blocks.append(Text(active or "These options cut nothing.", is_quiet=True))
    return Card(
        blocks=tuple(blocks),
        data={
            "input": request.text,
            "words": [{"text": one.text, "probability": one.probability, "drawn": one.drawn} for one in found.tokens],
            "num_drawable": found.num_drawable,
            "vocab_size": found.vocab_size,
            "options": dict(request.options),
            "model": services.engine.info.name,
        },
    )


def _tail(text: str, limit: int = _MAX_TAIL) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else "…" + text[-limit:]


COMMANDS: Final = (
    Command(
        name="perplexity",
        allows_look=True,
        summary="Show how surprising a text is to the model, word by word",
        answer=answer_perplexity,
        text="required",
        options=(ONE_OR_TWO_MODELS,),
        texts_measured=lambda text: (text,),
        details=_OF_TWO,
        examples=("perplexity Can it does what?",),
        menu="Perplexity",
    ),
    Command(
        name="compare",
        allows_look=True,
        summary="Show which of 2 to 5 texts the model finds likeliest, and where they differ",
        answer=answer_compare,
        text="required",
        texts_measured=split_text_parts,
        text_name="A | B",
        text_parts=("a", "b", "c", "d", "e"),
        num_required_parts=2,
        options=(ONE_OR_TWO_MODELS,),
        details=rf"A bar inside a text is written \|. {_OF_TWO} They may have one text.",
        examples=("compare Can it do that? | Can it does what?",),
    ),
    Command(
        name="next",
        allows_look=True,
        summary="Show the probable next words of a text, or what sampling options leave of them",
        answer=answer_next,
        text="required",
        options=(*_NEXT_OPTIONS, MODEL),
        details="Options that are left out cut nothing here.",
        texts_measured=lambda text: (text.rstrip(),),
        examples=("next The capital of France is", "next --top_k 3 --temperature 0.5 The capital of France is"),
    ),
)
