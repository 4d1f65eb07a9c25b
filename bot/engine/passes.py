"""One forward pass for several requests: its batch, and the split of its logits, tokens and errors among them."""

import logging
from collections.abc import Generator, Sequence
from typing import Any

import torch

from bot.engine.loaded_model import Lane
from bot.engine.networks.network import Segment
from bot.engine.requests.work import Feed, FeedAnswer, Job, Work
from bot.engine.sampler.log_sums import are_finite
from bot.engine.sampler.rows import NO_NUMBERS
from bot.engine.sampler.sampler import Choice, Chosen, choose_tokens
from bot.errors import GenerationError

logger = logging.getLogger(__name__)


class Fed:
    """A Feed in progress, and its answer."""

    __slots__ = ("answer", "feed", "is_done")

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.answer: FeedAnswer = None
        self.is_done = False


class Running:
    """A running request."""

    __slots__ = ("feds", "is_answered", "job", "work")

    def __init__(self, work: Work[Any, Any], job: Job[Any]) -> None:
        self.work = work
        self.job = job
        self.feds: list[Fed] = []
        self.is_answered = False  # its first Feed was answered, so its prefill is done

    @property
    def has_ended(self) -> bool:
        """Return whether the request has ended."""
        return not self.feds


class Part:
    """One Feed's part of a pass."""

    __slots__ = ("fed", "num_drafts", "running", "segment")

    def __init__(self, running: Running, fed: Fed, segment: Segment, num_drafts: int) -> None:
        self.running = running
        self.fed = fed
        self.segment = segment
        self.num_drafts = num_drafts

    @property
    def is_last(self) -> bool:
        """Return whether this part reads the last tokens of its Feed."""
        return self.segment.stop - self.num_drafts == len(self.fed.feed.row.ids)


class OpenPass:
    """A scoring pass that runs layer by layer."""

    __slots__ = ("duration_s", "layers", "num_layers", "parts", "running")

    def __init__(self, running: Running, parts: Sequence[Part], layers: Generator[None, None, torch.Tensor]) -> None:
        self.running = running
        self.parts = parts
        self.layers = layers
        self.num_layers = 0
        self.duration_s = 0.0


def read_parts(
    lane: Lane, parts: Sequence[Part], errors: list[tuple[Running, Exception]]
) -> list[tuple[Sequence[Part], torch.Tensor]]:
    """Run the network on all parts; if memory runs out or the pass fails, retry in halves, down to the failing request.

    Return pieces of the pass with their logits; failed parts go to `errors` instead.
    """
    try:
        return [(parts, lane.network.forward([part.segment for part in parts]))]
    except Exception as e:
        error = e.with_traceback(None)  # its frames hold tensors
    is_memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
    if is_memory and lane.network.device.type == "cuda":
        torch.cuda.empty_cache()
    running = parts[0].running
    if len(parts) == 1 or (not is_memory and parts[-1].running is running):
        if is_memory:
            sentence = "The device does not have enough memory for this request; shorten the text."
        else:
            sentence = "The model failed on this request; other requests are not affected."
            logger.error("A forward pass failed: %s: %s", type(error).__name__, error)
        failure = GenerationError(sentence)
        failure.__cause__ = error
        errors.append((running, failure))
        return []
    logger.warning(
        "A forward pass over %d sequences failed (%s); retrying in halves.", len(parts), type(error).__name__
    )
    middle = _find_middle(parts)
    first = [(done, logits.clone()) for done, logits in read_parts(lane, parts[:middle], errors)]
    pieces = first + read_parts(lane, parts[middle:], errors)
    if parts[-1].running is running and len(pieces) > 1:  # the sequences of one request are sampled together
        return [([part for done, _ in pieces for part in done], torch.cat([logits for _, logits in pieces]))]
    return pieces


def _find_middle(parts: Sequence[Part]) -> int:
    """Return where to split `parts`: between two requests if possible, as one request's rows are sampled together."""
    middle = len(parts) // 2
    cuts = [at for at in range(1, len(parts)) if parts[at].running is not parts[at - 1].running]
    return min(cuts, key=lambda at: abs(at - middle)) if cuts else middle


def check_ids(ids: Sequence[int], stop: int, network: Any) -> None:
    """Raise GenerationError for ids that must not reach a network: on a GPU they would crash the process."""
    if not ids:
        raise GenerationError("There is no token to read; send some text.")
    if stop > network.context_length:
        raise GenerationError("The model's context is full; shorten the text.")
    if min(ids) < 0 or max(ids) >= network.vocab_size:
        raise GenerationError("The tokenizer does not match the model: a token is not in the model's vocabulary.")


def share_out(parts: Sequence[Part], logits: torch.Tensor, errors: list[tuple[Running, Exception]]) -> None:
    """Give each part its rows of `logits`: sample tokens for all parts at once, or hand over the logits."""
    firsts: list[int] = []
    at = 0
    for part in parts:
        firsts.append(at)
        at += part.segment.num_logits
    chosen = _choose_first(parts, firsts, logits)
    for part, first in zip(parts, firsts, strict=True):
        feed = part.fed.feed
        try:
            if feed.choices and part.is_last:
                part.fed.answer = _verify_drafts(
                    part, chosen[id(part)], logits[first : first + part.segment.num_logits]
                )
            elif not feed.choices and part.segment.num_logits:
                _hand_over(part, logits[first : first + part.segment.num_logits])
            feed.row.length = part.segment.stop - part.num_drafts
            if part.num_drafts and isinstance(part.fed.answer, list):
                feed.row.length += len(part.fed.answer) - 1
            part.fed.is_done = part.is_last
        except Exception as e:
            errors.append((part.running, e.with_traceback(None)))


def _choose_first(
    parts: Sequence[Part], firsts: Sequence[int], logits: torch.Tensor
) -> "dict[int, list[Chosen | GenerationError]]":
    """Sample the next tokens of all parts that ask for them at once; return them by the id of the part."""
    wanted = [
        (part, first, choice)
        for part, first in zip(parts, firsts, strict=True)
        if part.is_last
        for choice in part.fed.feed.choices
    ]
    if not wanted:
        return {}
    places = [first for _, first, _ in wanted]
    if places == list(range(places[0], places[0] + len(places))):
        rows = logits[places[0] : places[0] + len(places)]
    else:
        rows = logits[torch.tensor(places, device=logits.device)]
    found = choose_tokens(rows, [choice for _, _, choice in wanted])
    chosen: dict[int, list[Chosen | GenerationError]] = {}
    for (part, _, _), one in zip(wanted, found, strict=True):
        chosen.setdefault(id(part), []).append(one)
    return chosen


def _verify_drafts(part: Part, found: "list[Chosen | GenerationError]", logits: torch.Tensor) -> list[Chosen]:
    """Return the chosen tokens: one, and one more for each accepted draft token. Raises GenerationError."""
    chosen: list[Chosen] = []
    for one in found:
        if isinstance(one, GenerationError):
            raise one
        chosen.append(one)
    feed = part.fed.feed
    if part.num_drafts:
        choice = feed.choices[0]
        ids = list(feed.row.ids)
        for at in range(part.num_drafts):
            ids.append(chosen[-1].token_id)
            if chosen[-1].token_id != feed.drafts[at]:
                break
            following = choose_tokens(logits[at + 1 : at + 2], [Choice(choice.chooser, choice.index, ids, None)])[0]
            if isinstance(following, GenerationError):
                raise following
            chosen.append(following)
    return chosen


def _hand_over(part: Part, logits: torch.Tensor) -> None:
    if not are_finite(logits):
        raise GenerationError(NO_NUMBERS)
    feed = part.fed.feed
    if feed.take is None:
        part.fed.answer = logits[-1]
    else:
        first_wanted = len(feed.row.ids) - feed.num_logits
        feed.take(part.segment.stop - part.segment.num_logits - first_wanted, logits)
