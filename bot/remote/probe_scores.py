"""Whether a server's scores of given texts are true: the same in any order, and those of the same tokens generated."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from bot.remote.abilities import Abilities
from bot.remote.answers import Token, pieces_of
from bot.remote.echoes import Placed, place
from bot.remote.scoring import echo_body
from bot.remote.server import COMPLETIONS, Body

Try = Callable[[str, Body], Awaitable[Any]]

# Two texts with a shared beginning, in both orders: a server that takes one's values for the other's shows it.
_SHARED: Final = "It was a bright cold day in April, and the clocks were striking"
_TEXTS: Final = (f"{_SHARED} thirteen.", f"{_SHARED} the hour, “naïve” as ever.")
_ORDER: Final = (0, 1, 0, 1, 1, 0)
_NUM_GENERATED: Final = 6
# Of one text asked twice: numbers in bfloat16 differ by so much with the batch they are computed in.
MAX_SPREAD: Final = 0.05
# Of the same tokens read and generated, which are different computations.
_MAX_DIFFERENCE: Final = 0.3


async def measure_scores(ask: Try, model: str, found: Abilities) -> Abilities:
    """Return `found` with what the scores of given texts are worth. Raises what `ask` raises."""
    echoes: dict[int, list[tuple[Placed, ...]]] = {0: [], 1: []}
    for which in _ORDER:
        tokens, found = await _echo(ask, model, found, _TEXTS[which])
        placed = place(tokens, _TEXTS[which])
        if problem := _problem_of(tokens, placed):
            return replace(found, score_problem=problem, min_new_tokens_when_scoring=0)
        echoes[which].append(placed or ())
    spread = max(_spread(one) for one in echoes.values())
    if spread > MAX_SPREAD:
        return replace(found, score_problem=f"the same text gets values up to {spread:.2g} nats apart")
    spread = max(spread, _spread_of_shared(echoes[0][0], echoes[1][0]))
    if spread > MAX_SPREAD:
        return replace(found, score_problem="the values of a text depend on what comes after it")
    difference = await _difference_to_generated(ask, model, found)
    if difference is None or difference > _MAX_DIFFERENCE:
        return replace(found, score_problem="they are not those that the model writes with")
    return replace(found, scores_texts=True, score_spread=spread)


async def _echo(ask: Try, model: str, found: Abilities, text: str) -> tuple[tuple[Token, ...], Abilities]:
    """Return the tokens of the echoed text; some servers write at least one token more."""
    for num_new in range(found.min_new_tokens_when_scoring, 2):
        able = replace(found, min_new_tokens_when_scoring=num_new)
        answer = await ask(COMPLETIONS, echo_body(text, model, able, num_top=1))
        if tokens := _tokens_of(answer):
            return tokens, able
    return (), found


def _tokens_of(answer: Any) -> tuple[Token, ...]:
    return tuple(token for piece in pieces_of(answer)[:1] for token in piece.tokens)


def _problem_of(tokens: Sequence[Token], placed: Sequence[Placed] | None) -> str:
    """Return why an echo can't be believed, "" if nothing speaks against it."""
    if len(tokens) <= 1:  # one that knows no echo tells only what it wrote
        return "the server does not tell them"
    if placed is None:
        return "the tokens don't make up the text"
    told = [(one.start, one.token.start) for one in placed if one.token.start is not None]
    if told:
        shift = told[0][1] - told[0][0]
        if any(at - start != shift for start, at in told if at is not None):
            return "the tokens' places in the text are wrong"
    values = [one.token.logprob for one in placed]
    if any(value is None for value in values[1:]):
        return "some tokens have no value"
    if any(value is not None and value > 1e-6 for value in values):
        return "some probabilities are above 1"
    return ""


def _values(placed: Sequence[Placed]) -> list[float]:
    return [one.token.logprob or 0.0 for one in placed]


def _spread(echoes: Sequence[Sequence[Placed]]) -> float:
    """Return how far apart the values of one text are, in nats."""
    columns = zip(*(_values(one) for one in echoes), strict=False)
    return max((max(column) - min(column) for column in columns), default=0.0)


def _spread_of_shared(one: Sequence[Placed], other: Sequence[Placed]) -> float:
    """Return how far apart the values of the shared beginning are; what follows can't change them."""
    pairs = [
        (a.token.logprob or 0.0, b.token.logprob or 0.0)
        for a, b in zip(one, other, strict=False)
        if a.end == b.end and a.end <= len(_SHARED)
    ]
    return max((abs(a - b) for a, b in pairs), default=0.0)


async def _difference_to_generated(ask: Try, model: str, found: Abilities) -> float | None:
    """Return how far the values of generated tokens are from those of the same text given; None if it can't be told."""
    cold = {"temperature": 0} if "temperature" in found.options else {}
    body = {"model": model, "prompt": _SHARED, "max_tokens": _NUM_GENERATED, "logprobs": 1, **cold}
    written = _tokens_of(await ask(COMPLETIONS, body))
    text = _SHARED + "".join(token.text for token in written)
    tokens, _ = await _echo(ask, model, found, text)
    placed = place(tokens, text) or ()
    given = {(one.start, one.end): one.token.logprob for one in placed}
    at, differences = len(_SHARED), []
    for token in written:
        value = given.get((at, at + len(token.text)))
        at += len(token.text)
        if value is not None and token.logprob is not None:
            differences.append(abs(value - token.logprob))
    return max(differences, default=None)
