"""A language model in a few lines, the same on every machine: which word comes next follows from the two before."""

import hashlib
import math
import random
import re
from collections.abc import Sequence
from functools import cache

_WORDS = (
    "the a cat dog sat on mat and then it ran home with an old friend who said good day to all of them in town again"
)
VOCABULARY = (*(f" {word}" for word in _WORDS.split()), ".", ",", "\n")
_TOKENS = re.compile(r" ?\w+|[^\w\s]|\s")
_UNKNOWN_LOGIT = -2.0


def tokenize(text: str) -> list[str]:
    """Return the tokens of `text`, which join to it."""
    return _TOKENS.findall(text)


def logits_after(before: Sequence[str]) -> dict[str, float]:
    """Return the logit of each word of the vocabulary after the tokens `before`."""
    return _logits_after("|".join(before[-2:]))


@cache
def _logits_after(known: str) -> dict[str, float]:
    return {
        token: 5.0 * int.from_bytes(hashlib.sha256(f"{known}|{token}".encode()).digest()[:2], "big") / 65536
        for token in VOCABULARY
    }


def logprobs_of(logits: dict[str, float]) -> dict[str, float]:
    """Return the log-probabilities, likeliest first."""
    total = math.log(sum(math.exp(one) for one in logits.values()))
    return {token: one - total for token, one in sorted(logits.items(), key=lambda pair: -pair[1])}


def logprob_of(token: str, before: Sequence[str]) -> float:
    """Return the log-probability of `token`; one that is not in the vocabulary has a small one."""
    logits = logits_after(before)
    total = math.log(sum(math.exp(one) for one in logits.values()))
    return logits.get(token, _UNKNOWN_LOGIT) - total


def draw(
    before: Sequence[str],
    rng: random.Random,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
) -> str:
    """Return the next token."""
    seen = set(before)
    logits = {token: one / repetition_penalty if token in seen else one for token, one in logits_after(before).items()}
    if temperature == 0:
        return max(logits, key=lambda token: logits[token])
    ranked = list(logprobs_of({token: one / temperature for token, one in logits.items()}).items())
    kept = ranked[: top_k if top_k > 0 else None]
    kept = [pair for pair in kept if math.exp(pair[1] - ranked[0][1]) >= min_p]
    cut, total = [], 0.0
    for pair in kept:
        cut.append(pair)
        total += math.exp(pair[1])
        if total >= top_p:
            break
    return rng.choices([token for token, _ in cut], [math.exp(one) for _, one in cut])[0]
