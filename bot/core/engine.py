"""What every engine can be asked, whether it runs a model in this program or asks a server for it."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Protocol, TypeVar

from bot.core.chat_prompt import PromptTools
from bot.core.ending import EndRule
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
from bot.errors import Busy

ResultT = TypeVar("ResultT")

Priority = Literal["chat", "scoring"]
MAX_QUEUE_S: Final = 60.0  # how long a request without its own time limit waits in the queue


@dataclass(frozen=True, slots=True)
class Asker:
    """The conversation and person that a request is for: an engine is fair between them.

    `request_id` is the id of the message or click that asked, "" if nobody did.
    """

    conversation: Hashable = None
    person: Hashable = None
    request_id: str = ""


NOBODY: Final = Asker()


def waited_too_long(seconds: float) -> Busy:
    """Return the error of a request that never had its turn in all this time."""
    waited = f"{seconds:,.0f} s" if seconds >= 1 else "less than a second"
    return Busy(f"The bot is busy: your request waited {waited} without a turn. Try again later.")


class Generation(Protocol):
    """One generation: `async with` starts it, `async for` yields its deltas, then `completions` holds the results.

    `params` has the drawn seed if none was given. At the end, `timings` are those of the whole request, and
    `part_timings` those of each continuation of a batch, if it ran. Leaving the `async with` early, being cancelled in
    it, or dropping the object cancels the generation. Raises, in the `async with`, Unavailable if the queue is full; in
    the `async for`, Unavailable if it waited too long in the queue, PromptTooLong, RequestError and GenerationError.
    """

    params: SamplingParams

    @property
    def completions(self) -> tuple[Completion, ...]:
        """Return the results, () before the end."""

    @property
    def timings(self) -> Timings | None:
        """Return the times of the whole request, None before the end."""

    @property
    def part_timings(self) -> tuple[Timings, ...]:
        """Return the times of each continuation of a batch, () before the end."""

    @property
    def notice(self) -> str:
        """Return what people must know of the answer, such as that it was cut; "" if there is nothing."""

    @property
    def was_alone(self) -> bool:
        """Say whether it was to run alone and did, until now."""

    @property
    def num_ahead(self) -> int:
        """Return how many requests are ahead in the queue, 0 if this one runs."""

    def cancel(self) -> None:
        """End the generation within one token, with finish_reason "cancelled". Safe at any time."""

    async def __aenter__(self) -> "Generation": ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> "Generation": ...

    async def __anext__(self) -> Delta: ...


class Engine(Protocol):
    """A model. Every call is one request in its queue; what a model can't do raises RequestError, one sentence."""

    @property
    def info(self) -> ModelInfo:
        """Return the facts about the model."""

    def pinned(self) -> "Engine":
        """Return this engine as it is for one answer, whose prompt and requests are for the same model.

        Where a server has another model meanwhile, that raises ModelChanged.
        """

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        heal: bool = False,
        is_word_whole: bool = False,
        end_at: EndRule | None = None,
        end_from: int = 0,
        timeout_s: float = MAX_QUEUE_S,
        asker: Asker = NOBODY,
        priority: Priority = "chat",
        is_alone: bool = False,
    ) -> Generation:
        """Return a generation of `params.n` continuations; it starts when it is entered.

        `heal` completes a half-typed last word (token healing); with `is_word_whole` it is complete, and the first
        token does not go on with it. `end_at` is a rule, called with each continuation's text after each token; it
        returns the index at which the text ends ("stop"), or None.
        With `end_from` it is called from that number of tokens on, near the limit, and an end counts as "length".
        After `timeout_s` a waiting generation is refused, and a running one ends with its text so far ("length").
        `asker` is the conversation and person it is for: conversations take turns, and the priority "chat" goes before
        "scoring". With `is_alone` it starts when nothing else runs, and others wait a moment for its end, so that in
        any precision the result depends on nothing but its input, if it `was_alone`.
        """

    def generate_batch(
        self,
        prompts: Sequence[Prompt],
        params: Sequence[SamplingParams],
        *,
        heal: bool = False,
        is_word_whole: bool = False,
        end_at: EndRule | None = None,
        timeout_s: float = MAX_QUEUE_S,
        asker: Asker = NOBODY,
    ) -> Generation:
        """Return a generation of one continuation for each of `prompts`, in one batch; otherwise it is like `generate`.

        Completion k equals that of `generate` for prompt k with the options `params[k]`. The prompts' common prefix is
        read once. `timeout_s` is for the batch: the continuations that are being written then end with their
        text so far ("length"), and those that the cache has not let begin by then stay empty ("cancelled"). Raises
        ValueError without a prompt, without options for each, or if an `n` is not 1.
        """

    async def score(
        self,
        text: str,
        *,
        num_expected: int = 0,
        asker: Asker = NOBODY,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> tuple[TokenScore, ...]:
        """Return the log-probability of each token of `text`, and the `num_expected` likeliest tokens at its position.

        Long texts are scored with rolling windows; `on_progress` is called with the number of tokens scored so far, and
        of all. Cancelling the call ends the scoring. Raises RequestError for a text without tokens, Unavailable.
        """

    async def score_tokens(
        self,
        prompt: Prompt,
        new_ids: Sequence[int] = (),
        *,
        num_likeliest: int = 0,
        with_prompt: bool = True,
        asker: Asker = NOBODY,
    ) -> tuple[ScoredToken, ...]:
        """Return the tokens of `prompt` and the tokens `new_ids` behind it, each with its log-probability.

        Each has the `num_likeliest` likeliest tokens in its place. What the tokenizer puts before a prompt is read, but
        not returned. Without `with_prompt` only `new_ids` are returned. They are computed in float32. Raises
        RequestError, PromptTooLong, Unavailable.
        """

    async def score_continuations(
        self, prompt: Prompt, continuations: Sequence[str], *, asker: Asker = NOBODY
    ) -> tuple[float, ...]:
        """Return the total log-probability (nats) of each continuation after `prompt`.

        Raises RequestError for an empty continuation, PromptTooLong, Unavailable.
        """

    async def score_and_sketch(
        self, prompt: Prompt, continuations: Sequence[str], *, asker: Asker = NOBODY
    ) -> SketchedScores:
        """Return what `score_continuations` does, and a sketch of what the model expects after `prompt`.

        Raises as `score_continuations` does.
        """

    async def score_drawn(
        self,
        prompt: Prompt,
        text: str,
        params: SamplingParams,
        *,
        leads: Sequence[str] = ("",),
        drawn: DrawnTokens | None = None,
        asker: Asker = NOBODY,
    ) -> DrawnText:
        """Return the tokens of the answer `text` with the probabilities with which `params` draw them after `prompt`.

        They are computed in the precision of decoding. Without the tokens that were `drawn` the text is encoded;
        `leads` are the kinds of white space that may have come before it and are not part of it. Raises RequestError,
        PromptTooLong, Unavailable.
        """

    async def next_tokens(self, prompt: Prompt, *, num: int, asker: Asker = NOBODY) -> tuple[WordProbability, ...]:
        """Return the `num` likeliest next tokens at temperature 1. Raises PromptTooLong, Unavailable."""

    async def drawn_tokens(
        self, prompt: Prompt, params: SamplingParams, *, num: int, asker: Asker = NOBODY
    ) -> NextTokens:
        """Return the `num` likeliest next tokens with the probability with which `params` draw each.

        Raises PromptTooLong, Unavailable, and GenerationError if the options exclude every token.
        """

    async def next_words(self, prompt: Prompt, *, num: int, asker: Asker = NOBODY) -> tuple[WordProbability, ...]:
        """Return the `num` likeliest next words; their probabilities sum to at most 1.

        Raises PromptTooLong, Unavailable.
        """

    async def count_tokens(self, prompts: Sequence[Prompt]) -> tuple[int, ...]:
        """Return the number of tokens of each prompt, without waiting for generations. Raises Unavailable."""

    async def render_chat(self, turns: Sequence[ChatTurn]) -> Prompt:
        """Return `turns` in the model's own chat markup, ready for its answer, without waiting for generations.

        Contents stay plain text. Raises ModelError for a model without a chat template (see info.has_chat_template).
        """

    async def make_prompt(self, make: Callable[[PromptTools], ResultT]) -> ResultT:
        """Return the result of `make`, a pure function of the model's tokenizer and chat markup.

        The model thread calls it once, between two passes, so it waits for no generation, and counting and rendering
        many times takes one trip to the thread. Raises Unavailable, and the errors of `make`.
        """

    def stats(self) -> EngineStats:
        """Return counts, rates and percentiles since the engine was opened."""
