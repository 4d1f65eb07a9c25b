"""The engine's results, as plain data that every layer may read."""

from dataclasses import dataclass
from typing import Final, Literal

FinishReason = Literal["stop", "length", "cancelled"]

MAX_PERPLEXITY_RATIO: Final = 1.005  # of a faster precision to float32, for it to be chosen automatically


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished continuation.

    `text` ends before the stop string. `token_ids` are all generated tokens, including those of the stop string and the
    end-of-text token. `logprob` (nats) is the sum of their log-probabilities at temperature 1, before any logits
    processor.
    """

    index: int
    text: str
    token_ids: tuple[int, ...]
    logprob: float
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Delta:
    """The new text of continuation `index` (0 to n-1) since its last delta; the last one has `completion`.

    The joined texts of all deltas of an index equal `completion.text`.
    """

    index: int
    text: str
    completion: Completion | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """A token that the model expected at a position: its text and log-probability in nats."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenScore:
    """One token of a scored text.

    `start` and `end` are character offsets into the text (several tokens may share a character).
    `logprob` is in nats, None for a first token that could not be scored. `expected` are the likeliest tokens at
    its position, best first.
    """

    token_id: int
    text: str
    start: int
    end: int
    logprob: float | None
    expected: tuple[Expected, ...] = ()


@dataclass(frozen=True, slots=True)
class WordProbability:
    """A possible next word and its probability (0-1); `text` includes the space before it."""

    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds that a request spent in the queue, in prefill and in decoding, and its numbers of tokens."""

    queue_ms: float
    prefill_ms: float
    decode_ms: float
    num_prompt_tokens: int
    num_new_tokens: int


@dataclass(frozen=True, slots=True)
class PrecisionFigures:
    """Measurements of a model in one precision on this machine; all are None if it failed, and `problem` says why.

    `perplexity_ratio` is its perplexity on a test text divided by that of float32. The speeds are in tokens per second:
    decoding one sequence, decoding eight sequences (in total), and prefill.
    """

    precision: str
    perplexity_ratio: float | None = None
    tokens_per_s: float | None = None
    tokens_per_s_of_8: float | None = None
    prefill_tokens_per_s: float | None = None
    problem: str = ""

    @property
    def is_admitted(self) -> bool:
        """Say whether it is exact enough to be chosen automatically."""
        return self.perplexity_ratio is not None and self.perplexity_ratio <= MAX_PERPLEXITY_RATIO


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The loaded model. `num_parameters` counts each shared weight once; `context_length` is in tokens.

    `precision` is that of the weights used for decoding; `precision_reason` completes "Precision: int8, because …";
    `precision_figures` are those of all precisions that were measured; `notices` tell the operator what this machine
    lacks.
    """

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
    precision_reason: str = ""
    precision_figures: tuple[PrecisionFigures, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The 50th and 95th percentile of a measure."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counts since the engine was opened, and rates and percentiles of the latest requests.

    `num_failed` counts requests that failed inside the model, `num_refused` those that were too long or not let into
    the queue. `tokens_per_s` is the speed of decoding; it and the percentiles (milliseconds) are None before the first
    answer.
    """

    num_waiting: int
    num_running: int
    num_done: int
    num_cancelled: int
    num_failed: int
    num_refused: int
    uptime_s: float
    tokens_per_s: float | None
    queue_ms: Percentiles | None
    first_token_ms: Percentiles | None
    total_ms: Percentiles | None
