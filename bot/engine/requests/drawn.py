"""The probabilities with which the tokens of a given answer are drawn after its prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

import torch

from bot.core.prompt_parts import Prompt, PromptPart
from bot.core.results import DrawnScore, DrawnText, DrawnTokens
from bot.core.sampling_params import SamplingParams
from bot.engine.loaded_model import LoadedModel
from bot.engine.paged_cache import count_blocks_of_branches
from bot.engine.requests.generation import plan_generation
from bot.engine.requests.healing import Healing
from bot.engine.requests.work import Feed, Job, Steps
from bot.engine.sampler.exact import log_probabilities
from bot.engine.sampler.log_sums import log_sums
from bot.engine.tokens.detokenizing import Detokenizer
from bot.errors import PromptTooLong, RequestError

# The options are applied to so many positions between two passes: others wait for no more.
_NUM_AT_ONCE: Final = 8


def plan_score_drawn(
    model: LoadedModel,
    prompt: Prompt,
    text: str,
    params: SamplingParams,
    *,
    leads: Sequence[str],
    drawn: DrawnTokens | None,
) -> Job[DrawnText]:
    """Return the job that scores the answer `text` as it is drawn after `prompt`, in the precision of decoding.

    Without the tokens that were `drawn`, or if they don't hold it, its text is encoded: before it the model wrote one
    of `leads`, white space that is not part of it, of which the likeliest counts; a last word of the prompt that it
    finishes is read with it. Raises RequestError, PromptTooLong.
    """
    exact = None if drawn is None else _way_of_tokens(model, prompt, text, params, drawn)
    ways = tuple(_way_of_text(model, prompt, lead, text) for lead in leads) if exact is None else (exact,)
    longest = max(len(way.ids) for way in ways)
    if longest > model.info.context_length:
        raise PromptTooLong(num_tokens=longest, max_tokens=model.info.context_length)
    num_shared = min(way.num_read for way in ways)
    num_blocks = count_blocks_of_branches(num_shared, 1, longest - num_shared)
    return Job(_score(model, ways, params, is_exact=exact is not None), model.writing, 1, num_blocks)


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to read an answer after its prompt: all tokens, and how many of them come before the answer.

    `offsets` are the characters of the answer that each of its tokens covers. After the first `num_given` tokens, those
    of the prompt, `healing` restricts what may be drawn.
    """

    ids: tuple[int, ...]
    num_read: int
    offsets: tuple[tuple[int, int], ...]
    num_given: int = 0
    healing: Healing = Healing()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        if not self.num_read or not self.tail:
            raise RequestError("There is nothing to score. The answer needs a prompt and at least one word.")

    @property
    def tail(self) -> tuple[int, ...]:
        """Return the tokens of the answer."""
        return self.ids[self.num_read :]

    def log_probability(self, logits: torch.Tensor, index: int, params: SamplingParams) -> float:
        """Return that with which token `index` of the answer is drawn from `logits` (vocab,)."""
        before = self.ids[: self.num_read + index]
        new = before[self.num_given :]
        found = log_probabilities(
            logits,
            before,
            params,
            allowed=self.healing.allowed_after(new),
            excluded=self.healing.excluded_after(new),
        )
        return float(found[self.tail[index]])


def _way_of_tokens(
    model: LoadedModel, prompt: Prompt, text: str, params: SamplingParams, drawn: DrawnTokens
) -> _Way | None:
    """Return the way in which the answer was drawn; None if the text of the tokens does not hold it."""
    plan = plan_generation(model, prompt, params, heal=drawn.heal, is_word_whole=drawn.is_word_whole)
    detokenizer = Detokenizer(model.vocabulary, typed=plan.healing.typed, is_space_due=plan.is_space_due)
    token_ids = list(takewhile(lambda token_id: token_id not in model.eos_ids, drawn.token_ids))
    raw, spans, num_typed = "", list[tuple[int, int]](), 0
    for token_id in token_ids:
        num_typed += detokenizer.is_repeating
        start = len(raw)
        raw += detokenizer.push(token_id)
        spans.append((start, len(raw)))
    at = raw.find(text)
    if at < 0 or not text:
        return None
    first = next(i for i, (_, end) in enumerate(spans) if end > at)
    while first > num_typed and spans[first - 1] == (at, at):  # the first bytes of the first character
        first -= 1
    last = next(i for i, (_, end) in enumerate(spans) if end >= at + len(text))
    offsets = [(max(0, start - at), min(len(text), end - at)) for start, end in spans[first : last + 1]]
    ids = (*plan.ids, *token_ids[: last + 1])
    return _Way(ids, len(plan.ids) + first, tuple(offsets), len(plan.ids), plan.healing)


def _way_of_text(model: LoadedModel, prompt: Prompt, lead: str, text: str) -> _Way:
    """Return the way in which the text of the answer is read after `prompt` and `lead`."""
    tokenizer = model.tokenizer
    prompt_ids = tokenizer.encode_prompt(prompt).ids
    ids = tokenizer.encode_prompt(replace(prompt, parts=(*prompt.parts, PromptPart(lead + text)))).ids
    tokenizer.check_known(ids)
    num_read = 0
    while num_read < min(len(prompt_ids), len(ids) - bool(text)) and prompt_ids[num_read] == ids[num_read]:
        num_read += 1
    tail = ids[num_read:]
    encoded = tokenizer.encode_text(lead + text)
    if encoded.ids == tail:
        offsets = [(max(0, start - len(lead)), max(0, end - len(lead))) for start, end in encoded.offsets]
        return _Way(ids, num_read, tuple(offsets))
    # Counted from the end: the first token may hold characters of the prompt.
    spans = []
    end = len(text.encode("utf-8", "replace"))
    for token_id in reversed(tail):
        start = end - len(model.vocabulary.token_bytes(token_id))
        spans.append((start, end))
        end = start
    return _Way(ids, num_read, _characters(text, spans[::-1]))


def _characters(text: str, spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the characters of `text` in each of `spans`, which count its bytes and may reach beyond it."""
    character_at = [at for at, character in enumerate(text) for _ in character.encode("utf-8", "replace")]
    inside = (character_at[max(start, 0) : max(end, 0)] for start, end in spans)
    return tuple((known[0], known[-1] + 1) if known else (0, 0) for known in inside)


def _score(model: LoadedModel, ways: Sequence[_Way], params: SamplingParams, *, is_exact: bool) -> Steps[DrawnText]:
    best = ways[0]
    if len(ways) > 1:
        means = []
        for way in ways:
            scores = yield from _score_way(model, way, None)
            means.append(sum(score.logprob for score in scores) / len(scores))
        best = ways[means.index(max(means))]
    scores = yield from _score_way(model, best, params)
    return DrawnText(scores, is_exact)


def _score_way(model: LoadedModel, way: _Way, params: SamplingParams | None) -> Steps[tuple[DrawnScore, ...]]:
    """Score one way; without `params` only by the model's own probabilities."""
    tail, scores = way.tail, list[DrawnScore]()

    def take(first: int, logits: torch.Tensor) -> None:
        own = (logits.gather(1, _column(tail[at + first :], logits))[:, 0] - log_sums(logits)).tolist()
        for row, logprob in enumerate(own):
            i = at + first + row
            drawn = logprob
            if params is not None:
                drawn = way.log_probability(logits[row], i, params)
            start, end = way.offsets[i]
            scores.append(DrawnScore(tail[i], model.vocabulary.token_text(tail[i]), start, end, logprob, drawn))

    with model.writing.cache.rows() as rows:
        row = rows.open(way.ids[: way.num_read])
        for at in range(0, len(tail), _NUM_AT_ONCE):
            # After the last token of the answer nothing is read.
            new = tail[max(0, at - 1) : min(at + _NUM_AT_ONCE, len(tail)) - 1]
            row.ids.extend(new)
            yield [Feed(row, take=take, num_logits=min(_NUM_AT_ONCE, len(tail) - at))]
    return tuple(scores)


def _column(ids: Sequence[int], logits: torch.Tensor) -> torch.Tensor:
    return torch.tensor(list(ids[: logits.shape[0]]), device=logits.device)[:, None]
