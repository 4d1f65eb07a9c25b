"""Answers of a server, whole or in pieces, as tokens and texts; what is missing or malformed is left out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.core.results import Expected, FinishReason

_MOST_TOKENS: Final = 100_000_000  # no model reads so many


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an answer: its text, log-probability (nats), place in the text if told, and the likeliest there."""

    text: str
    logprob: float | None
    start: int | None = None
    expected: tuple[Expected, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of continuation `index`; `finish_reason` is the server's own word for it, "" while it goes on."""

    index: int
    text: str
    tokens: tuple[Token, ...] = ()
    finish_reason: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that a request took, as the server counts them."""

    num_prompt_tokens: int
    num_new_tokens: int


def pieces_of(answer: Any) -> tuple[Piece, ...]:
    """Return the pieces of an answer, or of one chunk of a stream."""
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    return tuple(_piece(one) for one in _listed(choices) if isinstance(one, Mapping))


def usage_of(answer: Any) -> Usage | None:
    """Return the usage that an answer tells; None if it tells none, or none that can be."""
    usage = answer.get("usage") if isinstance(answer, Mapping) else None
    if not isinstance(usage, Mapping):
        return None
    numbers = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    is_right = all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one <= _MOST_TOKENS for one in numbers)
    if not is_right or not numbers[0]:
        return None
    return Usage(int(numbers[0] or 0), int(numbers[1] or 0))


def our_reason(reason: str) -> FinishReason:
    """Return the server's finish reason as ours."""
    return "length" if reason == "length" else "stop"


def _piece(choice: Mapping[str, Any]) -> Piece:
    message = choice.get("delta") or choice.get("message")
    text = message.get("content") if isinstance(message, Mapping) else choice.get("text")
    index = choice.get("index")
    return Piece(
        index if isinstance(index, int) else 0,
        text if isinstance(text, str) else "",
        _tokens(choice.get("logprobs")),
        str(choice.get("finish_reason") or ""),
    )


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    if not isinstance(logprobs, Mapping):
        return ()
    if isinstance(content := logprobs.get("content"), list):  # chat
        return tuple(_chat_token(one) for one in content if isinstance(one, Mapping))
    texts = _listed(logprobs.get("tokens"))
    values = _listed(logprobs.get("token_logprobs"))
    tops = _listed(logprobs.get("top_logprobs")) or [None] * len(texts)
    starts = _listed(logprobs.get("text_offset")) or [None] * len(texts)
    if not len(texts) == len(values) == len(tops) == len(starts):
        return ()
    return tuple(
        Token(str(text), _number(value), start if isinstance(start, int) else None, _expected(top))
        for text, value, start, top in zip(texts, values, starts, tops, strict=True)
    )


def _listed(sent: Any) -> list[Any]:
    return sent if isinstance(sent, list) else []


def _chat_token(one: Mapping[str, Any]) -> Token:
    tops = [top for top in _listed(one.get("top_logprobs")) if isinstance(top, Mapping)]
    found = {str(top.get("token", "")): top.get("logprob") for top in tops}
    return Token(str(one.get("token", "")), _number(one.get("logprob")), None, _expected(found))


def _expected(top: Any) -> tuple[Expected, ...]:
    if not isinstance(top, Mapping):
        return ()
    numbers = ((str(text), _number(value)) for text, value in top.items())
    found = [Expected(text, number) for text, number in numbers if number is not None]
    return tuple(sorted(found, key=lambda one: -one.logprob))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON's whole numbers have any length
        return None
    return number if math.isfinite(number) else None
