"""What the engine hands back, as plain data that every layer may read."""

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished continuation.

    `text` ends before the stop string. `token_ids` are all tokens drawn, including those of the stop string and the
    end-of-text token. `logprob` (nats) is their sum under the model's own distribution at temperature 1, before any
    processor.
    """

    index: int
    text: str
    token_ids: tuple[int, ...]
    logprob: float
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Delta:
    """What continuation number `index` (0 to n-1) gained since the last delta; `completion` is set on its last one.

    The texts of all deltas of an index, joined, equal `completion.text`.
    """

    index: int
    text: str
    completion: Completion | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What the model expected at a place: a token's text and its log-probability in nats."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenScore:
    """One token of a scored text.

    `start` and `end` are character offsets into the text (several tokens may share a character that they split).
    `logprob` is in nats, None for a first token that could not be scored. `expected` are the likeliest tokens there,
    best first.
    """

    token_id: int
    text: str
    start: int
    end: int
    logprob: float | None
    expected: tuple[Expected, ...] = ()


@dataclass(frozen=True, slots=True)
class WordProbability:
    """A whole next word with its probability (0-1); `text` includes the space before it."""

    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds that a request spent: waiting, on its prompt, on its answer; and the tokens of both."""

    queue_ms: float
    prefill_ms: float
    decode_ms: float
    num_prompt_tokens: int
    num_new_tokens: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The loaded model. `num_parameters` counts each shared weight once; `context_length` is in tokens."""

    name: str
    folder: str
    device: str
    precision: str
    context_length: int
    num_parameters: int
    model_type: str
    has_cache: bool
    has_chat_template: bool
    vocab_size: int
