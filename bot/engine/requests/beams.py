"""Beam search over one prompt, step by step, with the same results as transformers (length penalty 1)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from bot.core.sampling_params import SamplingParams
from bot.engine.paged_cache import Row, Rows
from bot.engine.requests.healing import Healing
from bot.engine.requests.work import Feed, Steps, WorkCancelled
from bot.engine.sampler.exact import make_penalties
from bot.engine.sampler.log_sums import log_sums

# Added to the score of excluded tokens; finite, so that a beam without any choice left is still valid.
_EXCLUDED: Final = -1.0e9


@dataclass(frozen=True, slots=True)
class Beam:
    """One result: its tokens, and the model's log-probability of each (nats, temperature 1, before any processor).

    `score` is the mean of the log-probabilities that the search goes by (nats a token).
    """

    score: float
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


class _Search:
    """The running beams, as tensors (num_beams, …), and the best finished ones."""

    def __init__(self, num_beams: int, max_new_tokens: int, eos_ids: tuple[int, ...], device: torch.device) -> None:
        self.num_beams = num_beams
        self.scores = torch.full((num_beams,), _EXCLUDED, device=device)
        self.scores[0] = 0.0  # all beams start equal, so only the first may branch
        self.tokens = torch.empty((num_beams, 0), dtype=torch.long, device=device)
        self.logprobs = torch.empty((num_beams, 0), device=device)
        self.ended: list[Beam] = []
        self._max_new_tokens = max_new_tokens
        self._eos_ids = torch.tensor(eos_ids, dtype=torch.long, device=device)
        self._num_candidates = max(2, 1 + len(eos_ids)) * num_beams
        self._can_improve = True

    def advance(self, log_probs: torch.Tensor, logits: torch.Tensor) -> torch.Tensor | None:
        """Extend the beams by one token each; return the parent of each new beam, None at the end of the search.

        `log_probs` (num_beams, vocab) decide; `logits` (num_beams, vocab) are the model's own.
        """
        vocab_size = log_probs.shape[1]
        totals = (log_probs + self.scores[:, None]).reshape(-1)
        best, places = torch.topk(totals, k=min(self._num_candidates, totals.shape[0]))
        parents, tokens = places // vocab_size, places % vocab_size
        grown_tokens = torch.cat([self.tokens[parents], tokens[:, None]], dim=1)
        own_logprobs = logits[parents, tokens] - log_sums(logits)[parents]
        grown_logprobs = torch.cat([self.logprobs[parents], own_logprobs[:, None]], dim=1)
        num_new = grown_tokens.shape[1]
        has_ended = torch.isin(tokens, self._eos_ids) | (num_new >= self._max_new_tokens)
        self._keep_ended(best / num_new, has_ended, grown_tokens, grown_logprobs)

        running = best + has_ended.float() * _EXCLUDED
        chosen = torch.topk(running, k=self.num_beams).indices
        self.scores = running[chosen]
        self.tokens, self.logprobs = grown_tokens[chosen], grown_logprobs[chosen]
        self._can_improve &= self._may_still_improve(num_new)
        if not self._can_improve or bool(has_ended.all()):
            return None
        return parents[chosen]

    def _keep_ended(
        self, means: torch.Tensor, has_ended: torch.Tensor, tokens: torch.Tensor, logprobs: torch.Tensor
    ) -> None:
        """Add the finished ones of the first num_beams candidates to `ended`, and keep the num_beams best."""
        for at in has_ended[: self.num_beams].nonzero()[:, 0].tolist():
            self.ended.append(Beam(float(means[at]), tuple(tokens[at].tolist()), tuple(logprobs[at].tolist())))
        self.ended.sort(key=lambda beam: -beam.score)  # stable: the earlier of two equal beams stays
        del self.ended[self.num_beams :]

    def _may_still_improve(self, num_new: int) -> bool:
        """Say whether the best running beam has a better mean so far than the worst of num_beams finished ones."""
        if len(self.ended) < self.num_beams:
            return True
        return float(self.scores[0] / num_new) > self.ended[-1].score

    def best(self) -> list[Beam]:
        """Return the results of a search at its end: the finished beams, best first, then the running ones."""
        return [*self.ended, *self._running()][: self.num_beams]

    def best_so_far(self) -> list[Beam]:
        """Return the results of a cancelled search: finished and running beams, best first, empty ones last."""
        eos_ids = self._eos_ids.tolist()

        def rank(beam: Beam) -> tuple[bool, bool, float]:
            is_excluded = beam.score * len(beam.token_ids) < _EXCLUDED / 2
            return is_excluded, beam.token_ids[0] in eos_ids, -beam.score

        return sorted([*self.ended, *self._running()], key=rank)[: self.num_beams]

    def _running(self) -> list[Beam]:
        means = self.scores / self.tokens.shape[1]
        return [
            Beam(mean, tuple(tokens), tuple(logprobs))
            for mean, tokens, logprobs in zip(means.tolist(), self.tokens.tolist(), self.logprobs.tolist(), strict=True)
        ]


def search_beams(
    rows: Rows,
    prompt: Row,
    logits: torch.Tensor,
    *,
    params: SamplingParams,
    max_new_tokens: int,
    eos_ids: tuple[int, ...],
    healing: Healing,
) -> Steps[tuple[list[Beam], WorkCancelled | None]]:
    """Return the best continuations of the row `prompt`, best first; if cancelled, those so far and the reason.

    `logits` (vocab,) are those after the prompt.
    """
    num_beams = params.num_beams
    penalties = make_penalties(params)
    search = _Search(num_beams, max_new_tokens, eos_ids, logits.device)
    grown = [prompt] * num_beams
    ids = torch.tensor([prompt.ids] * num_beams, device=logits.device)  # (num_beams, length)
    all_logits = logits.expand(num_beams, -1)
    try:
        while True:
            # transformers decides by exactly these; the log-probabilities in the result are the model's own.
            log_probs = _apply(penalties, healing, search, ids, all_logits.log_softmax(dim=-1))
            parents = search.advance(log_probs, all_logits)
            if parents is None:
                return search.best(), None
            tokens = search.tokens[:, -1]
            ids = torch.cat([ids[parents], tokens[:, None]], dim=1)
            kept = [
                rows.fork(grown[parent], (token_id,))
                for parent, token_id in zip(parents.tolist(), tokens.tolist(), strict=True)
            ]
            for row in grown:
                rows.close(row)
            grown = kept
            all_logits = torch.stack((yield [Feed(row) for row in grown]))
    except WorkCancelled as e:
        return search.best_so_far(), e


def _apply(
    penalties: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    healing: Healing,
    search: _Search,
    ids: torch.Tensor,
    own_logprobs: torch.Tensor,
) -> torch.Tensor:
    log_probs = penalties(ids, own_logprobs)
    if not healing.typed:
        return log_probs
    log_probs = log_probs.clone()
    for row, token_ids in enumerate(search.tokens.tolist()):
        if allowed_ids := healing.allowed_after(token_ids):
            log_probs[row] = _EXCLUDED
            log_probs[row, list(allowed_ids)] = own_logprobs[row, list(allowed_ids)]
        log_probs[row, list(healing.excluded_after(token_ids))] = _EXCLUDED
    return log_probs
