"""The words of a stored answer by the probability with which they were drawn."""

import math
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from bot.commands.context import Services
from bot.commands.framework.command import Cards, Command
from bot.commands.framework.rebuilding import rebuild, why_not_same
from bot.commands.rerunning import Again, draw_again
from bot.core.cards import Block, Card, Table, Text, TintedText
from bot.core.engine import Asker
from bot.core.perplexity import WordSurprisal, words_of
from bot.core.results import DrawnScore, DrawnText, DrawnTokens, TokenScore
from bot.core.sampling_params import SamplingParams
from bot.core.stopping import Stopper
from bot.core.token_names import with_signs
from bot.core.word_differences import own_pieces
from bot.errors import RequestError
from bot.store.replies import StoredReply

_NUM_UNLIKELY: Final = 3
# What may have stood before an answer whose outer white space was left out.
_LEADS: Final = ("", " ", "\n")
_DRAWN: Final = "Each word is tinted by how improbable it was when it was drawn, after all sampling options."
_NOT_DRAWN: Final = "These options draw nothing, so each word is tinted by how improbable the model itself finds it."


async def show_words(
    services: Services, commands: Mapping[str, Command], reply: StoredReply, asker: Asker, stopper: Stopper
) -> Cards:
    """Show a stored answer with each word tinted. Raises RequestError, and says why it can't."""
    rebuilt = await rebuild(services, commands, reply)
    reason = await why_not_same(services, reply, rebuilt, in_same_precision=False)
    params, prompt = reply.provenance.sampling, rebuilt.prompt
    if reason is not None or params is None or prompt is None:
        raise RequestError(f"The words of this answer can't be scored. {reason}")
    texts = _texts_of(reply)
    tokens: Sequence[DrawnTokens | None] = [None] * len(texts)
    if reply.provenance.precision == services.engine.info.precision:
        # The tokens that were drawn are not stored, but the same draw leads to them again.
        again = Again()
        async with aclosing(draw_again(services, commands, reply, rebuilt, again, asker, stopper)) as snapshots:
            async for snapshot in snapshots:
                yield snapshot
        if again.text == reply.message.text and len(again.tokens) == len(texts):
            tokens = again.tokens
    num_said = int(reply.provenance.prompt_inputs.get("num_said", 0))
    mode = reply.provenance.prompt_inputs["mode"]
    found: list[_Text] = []
    for text, drawn in zip(texts, tokens, strict=True):
        new = text[num_said:]
        if not new.strip():
            continue
        # A text of a completion or a story is stored as the model wrote it, others without white space around them.
        leads = _LEADS if mode in ("transcript", "template") and not num_said else (new[: -len(new.lstrip())],)
        scored = await services.engine.score_drawn(prompt, new.strip(), params, leads=leads, drawn=drawn, asker=asker)
        found.append(_Text.of(new.strip(), scored, params))
    yield _card(services, reply, params, found)


@dataclass(frozen=True, slots=True)
class _Text:
    """One text by its words: as they were drawn, and as the model itself finds them."""

    text: str
    drawn: tuple[WordSurprisal, ...]
    own: tuple[WordSurprisal, ...]
    is_exact: bool

    @classmethod
    def of(cls, text: str, scored: DrawnText, params: SamplingParams) -> "_Text":
        own = _words(text, scored.scores, is_drawn=False)
        drawn = _words(text, scored.scores, is_drawn=True) if params.is_sampled else own
        return cls(text, drawn, own, scored.is_exact)

    def to_dict(self) -> dict[str, Any]:
        """Return the text as JSON-able values."""
        pairs = zip(self.drawn, self.own, strict=True)
        words = [
            {"text": one.text, "surprisal_bits": one.surprisal, "model_surprisal_bits": own.surprisal}
            for one, own in pairs
        ]
        return {"text": self.text, "words": words, "is_exact": self.is_exact}


def _card(services: Services, reply: StoredReply, params: SamplingParams, found: Sequence[_Text]) -> Card:
    blocks: list[Block] = [Text(_DRAWN if params.is_sampled else _NOT_DRAWN)]
    for number, text in enumerate(found, start=1):
        if len(found) > 1:
            blocks.append(Text(f"Text {number}:", is_quiet=True))
        blocks += (TintedText(own_pieces(text.text, text.drawn)), _table(text))
    blocks.append(Text(_how_scored(services, reply, found), is_quiet=True))
    data = {
        "text": reply.message.text,
        "texts": [text.to_dict() for text in found],
        "is_stored": False,
        "precision": services.engine.info.precision,
    }
    return Card(blocks=tuple(blocks), data=data, answers="private")


def _texts_of(reply: StoredReply) -> Sequence[str]:
    """Return the texts that the stored one consists of."""
    text, inputs = reply.message.text, reply.provenance.prompt_inputs
    num = reply.provenance.sampling.n if reply.provenance.sampling else 1
    if "lengths" not in inputs:
        texts = text.split("\n") if num > 1 else [text]
        if len(texts) > num:
            raise RequestError("The words of this answer can't be scored. It is several texts, stored as one.")
        return texts
    texts, at = [], 0
    for length in inputs["lengths"]:
        texts.append(text[at : at + length])
        at += length + 1
    return texts


def _words(text: str, scores: Sequence[DrawnScore], *, is_drawn: bool) -> tuple[WordSurprisal, ...]:
    """Return the words of `text` with their surprisal, None where the options leave a token out."""
    tokens = [
        TokenScore(one.token_id, one.text, one.start, one.end, one.drawn_logprob if is_drawn else one.logprob)
        for one in scores
    ]
    words = words_of(text, tokens)
    return tuple(
        word if word.surprisal is None or math.isfinite(word.surprisal) else replace(word, surprisal=None)
        for word in words
    )


def _probability(bits: float | None) -> str:
    if bits is None:
        return "—"
    return f"{2**-bits:.1%}" if bits < math.log2(1000) else "<0.1%"


def _table(text: _Text) -> Table:
    own = {word.start: word.surprisal for word in text.own}
    scored = [(word.surprisal, word) for word in text.drawn if word.surprisal is not None]
    unlikely = sorted(scored, key=lambda pair: -pair[0])[:_NUM_UNLIKELY]
    rows = tuple((with_signs(word.text), _probability(bits), _probability(own[word.start])) for bits, word in unlikely)
    return Table(("least probable", "when drawn", "of the model itself"), rows)


def _how_scored(services: Services, reply: StoredReply, found: Sequence[_Text]) -> str:
    """Say what the figures are: they are not stored with answers."""
    then, now = reply.provenance.precision, services.engine.info.precision
    if all(text.is_exact for text in found):
        sentence = f"Scored again, token by token as it was drawn, in {now}: probabilities are not stored."
    else:
        sentence = f"Scored again from its text, in {now}"
        sentence += "" if then == now else f" (it was written in {then})"
        sentence += ": probabilities are not stored, and its tokens may have been others."
    pairs = (pair for text in found for pair in zip(text.drawn, text.own, strict=True))
    if any(drawn.surprisal is None and own.surprisal is not None for drawn, own in pairs):
        sentence += " A word without a tint can't be drawn with these options, as it is read now."
    return sentence
