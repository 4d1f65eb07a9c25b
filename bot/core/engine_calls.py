"""What an engine's server and the bot's front send each other, as data: calls, and the frames that answer them."""

import hashlib
import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.core.ending import EndRule
from bot.core.engine import Asker, Priority
from bot.core.prompt_parts import ChatTurn, Prompt
from bot.core.results import (
    Completion,
    Delta,
    DrawnText,
    DrawnTokens,
    EngineStats,
    ModelInfo,
    NextTokens,
    ScoredToken,
    SketchedScores,
    Timings,
    TokenScore,
    WordProbability,
)
from bot.core.sampling_params import SamplingParams
from bot.errors import Busy, FewshotError, GenerationError, ModelError, PromptTooLong, RequestError, Unavailable

# Both sides must have the same one. It is raised when a call, a frame or the meaning of a field changes.
PROTOCOL: Final = 1
PREFIX: Final = "/fewshot/v1"
# A server that is there sends a frame for each call at least this often, so that a silent one is known to be away.
MAX_BEAT_S: Final = 10.0
_BEAT_S: Final = 0.5
_MAX_BEATS_PER_S: Final = 50  # of all calls together: each costs both sides as much as a token does
_MAX_ID: Final = 200
_MAX_TEXTS: Final = 10_000
_MAX_NUM: Final = 1000
_MAX_TIMEOUT_S: Final = 3600.0


def beat_s(num_open: int) -> float:
    """Return after how many seconds without another frame a call gets a beat, while `num_open` calls are open."""
    return min(max(_BEAT_S, num_open / _MAX_BEATS_PER_S), MAX_BEAT_S)


def _check(is_right: bool, sentence: str) -> None:
    if not is_right:
        raise RequestError(sentence)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who asks: a front, for a conversation and person of its own; `model` is the key of the model it knows.

    `call` is the id by which the call can be cancelled.
    """

    front: str
    call: str
    model: str
    conversation: str | None
    person: str | None
    request_id: str

    def __post_init__(self) -> None:
        ids = (self.front, self.call, self.model, self.request_id, self.conversation or "", self.person or "")
        _check(max(map(len, ids)) <= _MAX_ID, f"An id has at most {_MAX_ID} characters.")

    @classmethod
    def of(cls, asker: Asker, *, front: str, call: str, model: str) -> "Sender":
        """Return the sender for `asker`; people and conversations become ids that tell nothing else of them."""
        conversation, person = _opaque(asker.conversation), _opaque(asker.person)
        return cls(front, call, model, conversation, person, asker.request_id[:_MAX_ID])

    @property
    def asker(self) -> Asker:
        """Return the asker for the engine's queue, which no other front has."""
        conversation = None if self.conversation is None else (self.front, self.conversation)
        person = None if self.person is None else (self.front, self.person)
        return Asker(conversation, person, self.request_id)


def _opaque(key: Hashable) -> str | None:
    return None if key is None else hashlib.sha256(repr(key).encode("utf-8", "surrogatepass")).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Generate:
    """Engine.generate."""

    prompt: Prompt
    params: SamplingParams
    heal: bool
    is_word_whole: bool
    end_at: EndRule | None
    end_from: int
    timeout_s: float
    priority: Priority
    is_alone: bool

    def __post_init__(self) -> None:
        _check_timeout(self.timeout_s)


@dataclass(frozen=True, slots=True)
class GenerateBatch:
    """Engine.generate_batch."""

    prompts: tuple[Prompt, ...]
    params: tuple[SamplingParams, ...]
    heal: bool
    is_word_whole: bool
    end_at: EndRule | None
    timeout_s: float

    def __post_init__(self) -> None:
        _check_timeout(self.timeout_s)
        _check_texts(len(self.prompts))
        is_complete = 0 < len(self.prompts) == len(self.params) and all(one.n == 1 for one in self.params)
        _check(is_complete, "A batch needs at least one prompt, options for each prompt, and n = 1.")


def _check_timeout(timeout_s: float) -> None:
    _check(0 <= timeout_s <= _MAX_TIMEOUT_S, f"timeout_s takes 0 to {_MAX_TIMEOUT_S:g} seconds.")


def _check_texts(num: int) -> None:
    _check(num <= _MAX_TEXTS, f"One call takes at most {_MAX_TEXTS:,} texts, not {num:,}.")


def _check_num(num: int) -> None:
    _check(0 <= num <= _MAX_NUM, f"num takes 0 to {_MAX_NUM:,}.")


@dataclass(frozen=True, slots=True)
class Score:
    """Engine.score."""

    text: str
    num_expected: int

    def __post_init__(self) -> None:
        _check_num(self.num_expected)


@dataclass(frozen=True, slots=True)
class ScoreTokens:
    """Engine.score_tokens."""

    prompt: Prompt
    new_ids: tuple[int, ...]
    num_likeliest: int
    with_prompt: bool

    def __post_init__(self) -> None:
        _check_num(self.num_likeliest)


@dataclass(frozen=True, slots=True)
class ScoreContinuations:
    """Engine.score_continuations."""

    prompt: Prompt
    continuations: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_texts(len(self.continuations))


@dataclass(frozen=True, slots=True)
class ScoreAndSketch:
    """Engine.score_and_sketch."""

    prompt: Prompt
    continuations: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_texts(len(self.continuations))


@dataclass(frozen=True, slots=True)
class ScoreDrawn:
    """Engine.score_drawn."""

    prompt: Prompt
    text: str
    params: SamplingParams
    leads: tuple[str, ...]
    drawn: DrawnTokens | None

    def __post_init__(self) -> None:
        _check_texts(len(self.leads))


@dataclass(frozen=True, slots=True)
class ExpectTokens:
    """Engine.next_tokens."""

    prompt: Prompt
    num: int

    def __post_init__(self) -> None:
        _check_num(self.num)


@dataclass(frozen=True, slots=True)
class ExpectDrawn:
    """Engine.drawn_tokens."""

    prompt: Prompt
    params: SamplingParams
    num: int

    def __post_init__(self) -> None:
        _check_num(self.num)


@dataclass(frozen=True, slots=True)
class ExpectWords:
    """Engine.next_words."""

    prompt: Prompt
    num: int

    def __post_init__(self) -> None:
        _check_num(self.num)


@dataclass(frozen=True, slots=True)
class CountTokens:
    """Engine.count_tokens."""

    prompts: tuple[Prompt, ...]

    def __post_init__(self) -> None:
        _check_texts(len(self.prompts))


@dataclass(frozen=True, slots=True)
class RenderChat:
    """Engine.render_chat, and the number of tokens of its result."""

    turns: tuple[ChatTurn, ...]

    def __post_init__(self) -> None:
        _check_texts(len(self.turns))


Call = (
    Generate
    | GenerateBatch
    | Score
    | ScoreTokens
    | ScoreContinuations
    | ScoreAndSketch
    | ScoreDrawn
    | ExpectTokens
    | ExpectDrawn
    | ExpectWords
    | CountTokens
    | RenderChat
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation in the model's chat markup, with its number of tokens."""

    prompt: Prompt
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Written:
    """What a generation holds at its end."""

    completions: tuple[Completion, ...]
    timings: Timings | None
    part_timings: tuple[Timings, ...]
    was_alone: bool
    notice: str


# What each call's Ended holds.
RESULTS: Final[Mapping[type[Any], Any]] = {
    Generate: Written,
    GenerateBatch: Written,
    Score: tuple[TokenScore, ...],
    ScoreTokens: tuple[ScoredToken, ...],
    ScoreContinuations: tuple[float, ...],
    ScoreAndSketch: SketchedScores,
    ScoreDrawn: DrawnText,
    ExpectTokens: tuple[WordProbability, ...],
    ExpectDrawn: NextTokens,
    ExpectWords: tuple[WordProbability, ...],
    CountTokens: tuple[int, ...],
    RenderChat: Rendered,
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The call was read; `instance` is the id of this run of the server."""

    instance: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The call still waits or runs; `num_ahead` requests come before it."""

    num_ahead: int


@dataclass(frozen=True, slots=True)
class Wrote:
    """New text of a generation."""

    delta: Delta


@dataclass(frozen=True, slots=True)
class Progress:
    """So many tokens of all are scored."""

    num_done: int
    num_all: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The last frame of a call that has a result; `stats` are the engine's right after it."""

    result: Any
    stats: EngineStats


@dataclass(frozen=True, slots=True)
class Failed:
    """The last frame of a call that has none: an error of this package. `figures` are those of PromptTooLong."""

    kind: str
    message: str
    figures: tuple[int, ...] = ()


Frame = Accepted | Beat | Wrote | Progress | Ended | Failed


@dataclass(frozen=True, slots=True)
class Hello:
    """What a server says of itself."""

    protocol: int
    instance: str
    info: ModelInfo
    stats: EngineStats


class OtherModel(FewshotError):
    """The server runs another model than the front knew when it asked."""


def key_of(info: ModelInfo) -> str:
    """Return a key that differs where an answer of the model would: another model, other weights, another format."""
    facts = json.dumps(
        [
            info.name,
            info.weights_digest,
            info.precision,
            info.context_length,
            info.num_parameters,
            info.vocab_size,
            info.start_token,
            info.has_chat_template,
        ]
    )
    return hashlib.sha256(facts.encode()).hexdigest()[:24]


# The classes that a caller tells apart; another error is sent as the first of these that it is one of.
_KINDS: Final[Mapping[str, type[FewshotError]]] = {
    one.__name__: one for one in (OtherModel, RequestError, Busy, Unavailable, GenerationError, ModelError)
}


def fail(error: FewshotError) -> Failed:
    """Return the frame that tells `error`."""
    if isinstance(error, PromptTooLong):
        return Failed("PromptTooLong", str(error), (error.num_tokens, error.max_tokens))
    kind = next((name for name, one in _KINDS.items() if isinstance(error, one)), GenerationError.__name__)
    return Failed(kind, str(error))


def error_of(failed: Failed) -> FewshotError:
    """Return the error that a frame tells."""
    if failed.kind == "PromptTooLong" and len(failed.figures) == 2:
        return PromptTooLong(num_tokens=failed.figures[0], max_tokens=failed.figures[1])
    return _KINDS.get(failed.kind, GenerationError)(failed.message)
