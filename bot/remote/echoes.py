"""The places of a server's tokens in the text that was given to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.remote.answers import Token


@dataclass(frozen=True, slots=True)
class Placed:
    """A token and its characters in the text; tokens that share a character have the same ones."""

    token: Token
    start: int
    end: int


def place(tokens: Sequence[Token], text: str) -> tuple[Placed, ...] | None:
    """Return the tokens that make up `text`, without those before and after it; None if they don't make it up.

    A token before it is the model's start token; tokens after it were generated, as some servers write at least one.
    Servers show a part of a character as a replacement sign or as bytes, so such tokens take what is between others.
    """
    left = list(tokens)
    while len(left) > 1 and left[0].logprob is None and not (text.startswith(left[0].text) or _is_part(left[0])):
        left.pop(0)
    placed: list[Placed] = []
    parts: list[Token] = []  # of characters that are not complete yet
    at = 0
    for token in left:
        if at >= len(text) and not parts:
            break
        start = _find(token, text, at, len(parts))
        if start is None:
            parts.append(token)
            continue
        placed += [Placed(part, at, start) for part in parts]
        parts = []
        at = start + len(token.text)
        placed.append(Placed(token, start, at))
    if parts:
        if not all(_is_part(part) for part in parts):
            return None
        placed += [Placed(part, at, len(text)) for part in parts]
        at = len(text)
    return tuple(placed) if at == len(text) and _parts_are_parts(placed) else None


def _find(token: Token, text: str, at: int, num_parts: int) -> int | None:
    """Return where the token is: at `at`, or after at most as many characters as there are parts before it."""
    if not token.text or _is_part(token):
        return at if token.text and text.startswith(token.text, at) and not num_parts else None
    first = at if not num_parts else at + 1
    for start in range(first, at + max(num_parts, 0) + 1):
        if text.startswith(token.text, start):
            return start
    return None


def _is_part(token: Token) -> bool:
    return "\ufffd" in token.text or token.text.startswith("bytes:")


def _parts_are_parts(placed: Sequence[Placed]) -> bool:
    return all(len(one.token.text) == one.end - one.start or _is_part(one.token) for one in placed)
