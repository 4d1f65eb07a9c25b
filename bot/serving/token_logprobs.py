"""Scored tokens in the two layouts that OpenAI has for log-probabilities. Pure."""

import codecs
from collections.abc import Sequence
from typing import Any, Final

from bot.core.results import Completion, LikelyToken, ScoredToken

_LOWEST: Final = -9999.0  # JSON has no infinity


def listed_ids(completion: Completion, *, with_end: bool) -> tuple[int, ...]:
    """Return the tokens of a completion that are listed: without those that belong to a stop text alone.

    `with_end` keeps the token that ends a text, which adds none.
    """
    ids, ends = completion.token_ids, completion.token_ends
    if len(ids) > len(ends):
        return ids if with_end else ids[: len(ends)]
    if completion.finish_reason != "stop":
        return ids
    starts = (0, *ends[:-1])
    num_kept = next((at for at, start in enumerate(starts) if start >= len(completion.text)), len(ids))
    return ids[:num_kept]


def token_name(data: bytes) -> str:
    """Return a token as a text; one that is a part of a character as its bytes, such as bytes:\\xe2\\x80."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def find_offsets(tokens: Sequence[ScoredToken], text: str) -> list[int]:
    """Return where in `text` each token starts (characters).

    Tokens may add more than the text has, such as a space before its first word; then they are counted from its end.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    starts, num_read = [], 0
    for token in tokens:
        starts.append(num_read)
        num_read += len(decoder.decode(token.data))
    surplus = max(0, num_read - len(text))
    return [max(0, start - surplus) for start in starts]


def completion_logprobs(
    lead: Sequence[ScoredToken], new: Sequence[ScoredToken], *, lead_text: str, num_likeliest: int
) -> dict[str, Any]:
    """Return the log-probabilities of an echoed prompt's tokens and of new ones, in the layout of /v1/completions.

    As OpenAI has it, the first token of a prompt has none, whatever the model reads before it.
    """
    tokens = [*lead, *new]
    new_text = b"".join(token.data for token in new).decode("utf-8", "replace")
    offsets = find_offsets(lead, lead_text) + [len(lead_text) + start for start in find_offsets(new, new_text)]
    is_scored = [not (at == 0 and lead) and token.logprob is not None for at, token in enumerate(tokens)]
    return {
        "tokens": [token_name(token.data) for token in tokens],
        "token_logprobs": [_number(token.logprob) if ok else None for token, ok in zip(tokens, is_scored, strict=True)],
        "top_logprobs": [
            _likeliest(token, num_likeliest) if ok else None for token, ok in zip(tokens, is_scored, strict=True)
        ],
        "text_offset": offsets,
    }


def chat_logprobs(tokens: Sequence[ScoredToken], *, num_likeliest: int) -> dict[str, Any]:
    """Return the log-probabilities of an answer's tokens in the layout of /v1/chat/completions."""
    content = [
        {
            **_chat_token(token.data, token.logprob),
            "top_logprobs": [_chat_token(one.data, one.logprob) for one in token.likeliest[:num_likeliest]],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _likeliest(token: ScoredToken, num_likeliest: int) -> dict[str, float | None]:
    """Return the likeliest tokens with their log-probabilities, and the token itself if it is not among them."""
    own = LikelyToken(token.token_id, token.data, token.logprob or 0.0)
    found: dict[str, float | None] = {}
    for one in (*token.likeliest[:num_likeliest], own):
        found.setdefault(token_name(one.data), _number(one.logprob))  # two tokens may add the same text
    return found


def _chat_token(data: bytes, logprob: float | None) -> dict[str, Any]:
    return {"token": token_name(data), "logprob": _number(logprob), "bytes": list(data)}


def _number(logprob: float | None) -> float | None:
    return None if logprob is None else max(logprob, _LOWEST)
