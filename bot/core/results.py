"""The engine's results, as plain data that every layer may read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

FinishReason = Literal["stop", "length", "cancelled"]

MAX_PERPLEXITY_RATIO: Final = 1.005  # of a faster precision to float32, for it to be chosen automatically


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished continuation.

    `text` ends before the stop string. `token_ids` are all generated tokens, including those of the stop string and the
    end-of-text token, () where a server does not tell them. `logprob` (nats) is the sum of their log-probabilities at
    temperature 1, before any logits processor; None where a server does not tell it. `token_ends` are where those
    tokens end in `text` that do more than repeat a half-typed word, and `token_logprobs` their log-probabilities; one
    that holds a part of a character ends where the one before does.
    """

    index: int
    text: str
    token_ids: tuple[int, ...]
    logprob: float | None
    finish_reason: FinishReason
    token_logprobs: tuple[float, ...] = ()
    token_ends: tuple[int, ...] = ()


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
    its position, best first, and `rank` its own place among all tokens there (1: the likeliest); both only if they were
    asked for.
    """

    token_id: int
    text: str
    start: int
    end: int
    logprob: float | None
    expected: tuple[Expected, ...] = ()
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class LikelyToken:
    """A token that the model found likely in some place, with its log-probability in nats.

    `data` are the bytes that it adds to a text, of a special token its name; they may be a part of a character.
    """

    token_id: int
    data: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """One token as it was read, with its log-probability (nats) after those before it; None if there were none.

    `data` is that of LikelyToken. `likeliest` are the likeliest tokens in its place, best first, if asked for.
    """

    token_id: int
    data: bytes
    logprob: float | None
    likeliest: tuple[LikelyToken, ...] = ()


@dataclass(frozen=True, slots=True)
class SketchedScores:
    """The total log-probabilities (nats) of continuations of a prompt, and a sketch of what may follow the prompt.

    The sketch is a fixed number of values per model: prompts after which the model expects alike are close in it. It
    is empty without continuations.
    """

    logprobs: tuple[float, ...]
    sketch: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DrawnScore:
    """One token of an answer, with its characters in that (several tokens may share a character).

    Both log-probabilities are in nats: `drawn_logprob` in the distribution that it was drawn from, after all sampling
    options (minus infinity: the options leave this token out), `logprob` at temperature 1 without any.
    """

    token_id: int
    text: str
    start: int
    end: int
    logprob: float
    drawn_logprob: float


@dataclass(frozen=True, slots=True)
class DrawnTokens:
    """The tokens of an answer as they were drawn; `heal` and `is_word_whole` are those of Engine.generate."""

    token_ids: tuple[int, ...]
    heal: bool = False
    is_word_whole: bool = False


@dataclass(frozen=True, slots=True)
class DrawnText:
    """The tokens of an answer; with `is_exact` those that were drawn, else those that its text is read as."""

    scores: tuple[DrawnScore, ...]
    is_exact: bool


@dataclass(frozen=True, slots=True)
class WordProbability:
    """A possible next word and its probability (0-1); `text` includes the space before it."""

    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class NextToken:
    """A possible next token: its probability at temperature 1, and with which sampling options draw it (0: never)."""

    text: str
    probability: float
    drawn: float


@dataclass(frozen=True, slots=True)
class NextTokens:
    """The likeliest next tokens under sampling options; `num_drawable` of the `vocab_size` tokens can be drawn."""

    tokens: tuple[NextToken, ...]
    num_drawable: int
    vocab_size: int


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
class StartFigures:
    """How well a model reads some test texts after `token` (None: without a start token): their bits per token.

    The first token of each text is left out, as it can be scored only after another one.
    """

    token: str | None
    bits_per_token: float


@dataclass(frozen=True, slots=True)
class ReferenceFigure:
    """The perplexity of a model on short texts of one kind, the geometric mean over the texts."""

    kind: str
    perplexity: float


# Scores, labels and next words are computed with float32 weights, whatever the precision of decoding.
SCORING_PRECISION: Final = "float32"
# The precision of a model on a server, which says none.
SERVED_PRECISION: Final = "as served"


@dataclass(frozen=True, slots=True)
class Ability:
    """What a server was found to do or not to do: what it is, whether it is there, and how it was found."""

    name: str
    is_there: bool
    remark: str = ""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The loaded model. `num_parameters` counts each shared weight once; `context_length` is in tokens.

    `precision` is that of the weights used for decoding; `precision_reason` completes "Precision: int8, because …";
    `precision_figures` are those of all precisions that were measured; `start_token` is what plain texts are read after
    (None: nothing), the best of `start_figures`; `references` are its perplexities on texts of known kinds, where
    measured; `notices` tell the operator what this machine or the model lacks; `weights_digest` changes with the
    model's files ("": unknown).

    Of a model on a server, `server` is the server's name, `folder` is "", `num_parameters` and `vocab_size` are 0
    (nobody says them), `weights_digest` changes with the server's version, `abilities` are what it was found to do, and
    `lacking` says of sampling options that it can't do, by name, who could. Such an option is refused where somebody
    asks for it, and left out where a template or preset sets it. Unless it `counts_tokens`, counts are estimates.
    `reads_pictures` says that it takes pictures with a conversation.
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
    start_token: str | None = None
    start_figures: tuple[StartFigures, ...] = ()
    references: tuple[ReferenceFigure, ...] = ()
    notices: tuple[str, ...] = ()
    weights_digest: str = ""
    server: str = ""
    counts_tokens: bool = True
    abilities: tuple[Ability, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict, hash=False)
    reads_pictures: bool = False

    @property
    def keeps_seed(self) -> bool:
        """Say whether the same seed, with the same prompt and options, writes the same text again."""
        return "seed" not in self.lacking


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The 50th and 95th percentile of a measure."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counts since the engine was opened, and rates and percentiles of the latest requests.

    `num_failed` counts requests that failed inside the model, `num_refused` those that were too long or not let into
    the queue, `num_restarts` how often the model was started again. `tokens_per_s` is the speed of decoding; it and the
    percentiles (milliseconds) are None before the first answer.
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
    num_restarts: int = 0
