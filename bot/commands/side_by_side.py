"""Two models side by side on the same texts, compared by bits per byte: their tokens differ."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from string import ascii_uppercase
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import MODEL, Cards, Request
from bot.commands.framework.model_choice import answered_by
from bot.commands.framework.progress import Finished
from bot.commands.framework.scored_texts import STOPPED, AllScores, score_texts
from bot.core.cards import Block, Card, Table, Text
from bot.core.perplexity import TextFigures, summarize
from bot.errors import RequestError

_WHY_BYTES: Final = (
    "Models cut a text into different tokens, so they are compared by bits per byte (lower is better), never by"
    " perplexity, which is per token."
)
_CLOSE_BITS: Final = 1.0  # a difference below this says nothing


@dataclass(slots=True)
class _Reading:
    """What one model makes of the texts."""

    name: str
    start_token: str | None = None
    figures: tuple[TextFigures, ...] = ()


async def side_by_side(request: Request, texts: Sequence[str]) -> Cards:
    """Answer how well each of the two models that the option names predicts `texts`, one model after the other."""
    readings = [_Reading(name) for name in _two_models(request)]
    for reading in readings:
        read = partial(_read, request=request, texts=texts, reading=reading)
        cards = answered_by(request.services, reading.name, read, loading="public")
        try:
            async with aclosing(cards):
                async for card in cards:
                    yield card
        except RequestError as e:
            raise RequestError(f"{reading.name}: {e}") from e
        if not reading.figures:
            yield STOPPED
            return
    if not all(figure.num_scored for reading in readings for figure in reading.figures):
        raise RequestError("One of these models can't score the first token of a text. Write at least two words.")
    yield _card(texts, readings)


def _two_models(request: Request) -> tuple[str, ...]:
    names = [one.strip() for one in str(request.options[MODEL.name]).split(",")]
    models = request.services.models
    checked = tuple(dict.fromkeys(models.check(name) for name in names if name))
    if len(checked) != 2:
        raise RequestError(f"model takes one model, or two different ones with a comma between; {models.listed}.")
    return checked


async def _read(services: Services, *, request: Request, texts: Sequence[str], reading: _Reading) -> Cards:
    """Score the texts with the model of `services`, with a card for each step; put the figures into `reading`."""
    reading.start_token = services.engine.info.start_token
    async with aclosing(score_texts(replace(request, services=services), texts)) as steps:
        async for step in steps:
            if isinstance(step, Finished):
                reading.figures = await asyncio.to_thread(_summarized, texts, step.value)
            else:
                yield step


def _summarized(texts: Sequence[str], all_scores: AllScores) -> tuple[TextFigures, ...]:
    return tuple(summarize(text, scores) for text, scores in zip(texts, all_scores, strict=True))


def _card(texts: Sequence[str], readings: Sequence[_Reading]) -> Card:
    sentence = _verdict(readings)
    blocks: list[Block] = [Text(sentence)]
    if len(texts) == 1:
        rows = tuple(
            (one.name, f"{one.figures[0].bits_per_byte:.3f}", f"{one.figures[0].total_bits:,.1f}", _tokens(one, 0))
            for one in readings
        )
        blocks.append(Table(("model", "bits per byte", "bits", "tokens"), rows))
    else:
        blocks.append(Table(("", "text", *(f"{one.name}, bits per byte" for one in readings)), _rows(texts, readings)))
        blocks += [Text(_likeliest(one)) for one in readings]
    blocks += [
        Text(f"{one.name} reads texts without a start token, so its figure leaves out the first token.", is_quiet=True)
        for one in readings
        if one.start_token is None
    ]
    blocks.append(Text(_WHY_BYTES, is_quiet=True))
    data = {
        "verdict": sentence,
        "texts": list(texts),
        "models": [
            {
                "model": one.name,
                "bits_per_byte": [figure.bits_per_byte for figure in one.figures],
                "total_bits": [figure.total_bits for figure in one.figures],
                "num_tokens": [figure.num_tokens for figure in one.figures],
            }
            for one in readings
        ],
    }
    return Card(blocks=tuple(blocks), data=data)


def _rows(texts: Sequence[str], readings: Sequence[_Reading]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (ascii_uppercase[i], text, *(f"{one.figures[i].bits_per_byte:.3f}" for one in readings))
        for i, text in enumerate(texts)
    )


def _tokens(reading: _Reading, index: int) -> str:
    return f"{reading.figures[index].num_tokens:,}"


def _verdict(readings: Sequence[_Reading]) -> str:
    """Say which model predicts all of the texts better."""
    num_bytes = sum(figure.num_bytes for figure in readings[0].figures)
    bits = {one.name: sum(figure.total_bits for figure in one.figures) for one in readings}
    better, worse = sorted(bits, key=lambda name: bits[name])
    what = "the text" if len(readings[0].figures) == 1 else "the texts"
    if bits[worse] - bits[better] < _CLOSE_BITS:
        return f"Too close to call: {better} and {worse} predict {what} equally well."
    per_byte = f"{bits[better] / num_bytes:.3f} bits per byte, {worse} takes {bits[worse] / num_bytes:.3f}"
    return f"{better} predicts {what} better: it takes {per_byte}."


def _likeliest(reading: _Reading) -> str:
    """Say which of several texts a model finds likeliest, by its total bits as a comparison by one model does."""
    bits = [figure.total_bits for figure in reading.figures]
    first, second = sorted(range(len(bits)), key=lambda i: bits[i])[:2]
    ahead = bits[second] - bits[first]
    if ahead < _CLOSE_BITS:
        return f"To {reading.name}, {ascii_uppercase[first]} and {ascii_uppercase[second]} are about equally likely."
    return f"To {reading.name}, {ascii_uppercase[first]} is the likeliest, by {ahead:,.1f} bits."
