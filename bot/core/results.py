"""What the engine hands back, as plain data that every layer may read."""

from dataclasses import dataclass
from typing import Final, Literal

FinishReason = Literal["stop", "length", "cancelled"]

MAX_PERPLEXITY_RATIO: Final = 1.005  # of a faster precision to float32, for it to be taken by itself


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
class PrecisionFigures:
    """What was measured of a model in one precision on this machine; None where that failed, with the `problem`.

    `perplexity_ratio` is its perplexity divided by that of float32, on one text. The speeds are tokens a second: of one
    text being written, of eight at once (all together), and of a prompt being read.
    """

    precision: str
    perplexity_ratio: float | None = None
    tokens_per_s: float | None = None
    tokens_per_s_of_8: float | None = None
    prefill_tokens_per_s: float | None = None
    problem: str = ""

    @property
    def is_admitted(self) -> bool:
        """Return whether it is exact enough to be taken by itself."""
        return self.perplexity_ratio is not None and self.perplexity_ratio <= MAX_PERPLEXITY_RATIO


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The loaded model. `num_parameters` counts each shared weight once; `context_length` is in tokens.

    `precision` is that of the weights that write; `precision_reason` completes "Precision: int8, because …";
    `precision_figures` are those of all precisions, where they were measured; `notices` tell the operator what this
    machine lacks.
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
    """The middle and the slow end of a measure: half of all are below `p50`, 95 % below `p95`."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What the engine does and did since it was opened; the rates and percentiles are of the last requests only.

    `num_failed` counts requests that broke inside the model, `num_refused` those that were turned away or too long.
    `tokens_per_s` is that of answers being written, None before the first one; the percentiles (milliseconds, of
    answers) likewise.
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
