"""The sampler in numpy, on a few candidates or the whole vocabulary, for results that are provable without sorting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from bot.core.sampling_params import SamplingParams
from bot.engine.sampler.draws import Draws
from bot.engine.sampler.rows import NO_NUMBERS, Chosen, Floats, Ids, OpenRow
from bot.errors import GenerationError

# The options that are supported here; rows with others need the exact sampler.
SUPPORTED: Final = frozenset({"repetition_penalty", "no_repeat_ngram_size", "temperature", "top_k", "top_p", "min_p"})
_GROUP_SIZE: Final = 32  # logits of which only the maximum is compared first
_MAX_TOP_K: Final = 200  # above it, the whole vocabulary is used
_SPARE: Final = 14  # candidates beyond top_k: room for penalties that push tokens down and for ties
# How much float32 rounding in transformers' long sums and in exp() may change a cumulative probability, and the
# quotient of one probability and its draw, before a proof is wrong. Over 400 random rows of 32,000 to 151,936 tokens on
# an x86 CPU it changed them by up to 2.3e-6 and 3.0e-7; on other devices it was not measured. choosing.cpp has the same
# numbers.
_MASS_MARGIN: Final = 1e-3
_QUOTIENT_MARGIN: Final = 1e-4


def choose_among_candidates(
    logits: torch.Tensor, rows: Sequence[OpenRow], log_sums: torch.Tensor
) -> dict[int, Chosen | GenerationError]:
    """Choose for the rows where a few of the largest logits prove the result for the whole vocabulary.

    Other rows are left out of the result. Penalties (of 1 and more) and n-grams only lower logits, so every other logit
    is at most the smallest of the candidates, before and after dividing by a temperature. `log_sums` (num_rows,) are
    those of all `logits` (num_rows, vocab), on their device.
    """
    if not rows:
        return {}
    narrow = [row for row in rows if _is_narrow(row)]
    num_wanted = max(map(_num_wanted, narrow), default=1) + _SPARE
    values, ids, sums, draws = _gather(logits, narrow, num_wanted, log_sums)
    results: dict[int, Chosen | GenerationError] = {
        row.at: GenerationError(NO_NUMBERS) for row in rows if not np.isfinite(sums[row.at])
    }
    narrow = [row for row in narrow if row.at not in results]
    if not narrow:
        return results
    at = np.array([row.at for row in narrow])
    values, ids, draws = values[at], ids[at], draws[at]
    is_whole = values.shape[1] == logits.shape[1]
    bounds = np.full(len(narrow), -np.inf, np.float32) if is_whole else values.min(axis=1)
    scores = _penalise(values, ids, narrow, logits.device)
    sampled = [i for i, row in enumerate(narrow) if row.draws is not None]
    greedy = [i for i, row in enumerate(narrow) if row.draws is None]
    columns = np.full(len(narrow), -1)
    if greedy:
        columns[greedy] = _pick_largest(scores[greedy], ids[greedy], bounds[greedy], is_whole=is_whole)
    if sampled:
        warp = _Warp.of([narrow[i].params for i in sampled], logits.device)
        columns[sampled] = _pick_drawn(scores[sampled], draws[sampled], bounds[sampled], warp, is_whole=is_whole)
    for i, row in enumerate(narrow):
        if columns[i] >= 0:
            results[row.at] = Chosen.from_logit(int(ids[i, columns[i]]), values[i, columns[i]], sums[row.at])
    return results


def _is_narrow(row: OpenRow) -> bool:
    params = row.params
    if row.choice.allowed is not None or params.repetition_penalty < 1 or not row.active <= SUPPORTED:
        return False
    return row.draws is None or 1 <= params.top_k <= _MAX_TOP_K or params.min_p > 0


def _num_wanted(row: OpenRow) -> int:
    """Return how many of the likeliest tokens can be chosen; if min_p decides that, how many to try."""
    if row.draws is None:
        return 1
    return row.params.top_k if 1 <= row.params.top_k <= _MAX_TOP_K else _MAX_TOP_K


def _gather(
    logits: torch.Tensor, rows: Sequence[OpenRow], count: int, log_sums: torch.Tensor
) -> tuple[Floats, Ids, Floats, NDArray[np.floating[Any]]]:
    """Return the `count` largest values of each row of `logits` in any order, their ids, the log-sums, and the draws.

    All but the log-sums (num_rows,) are (num_rows, count); a draw is 1 where no row of `rows` draws. From a device, all
    come in one transfer.
    """
    values, ids = _find_largest(logits, count)
    draws = np.ones(values.shape)
    if logits.device.type == "cpu":
        found = values.numpy(), ids.numpy(), log_sums.numpy()
        for row in rows:
            if row.draws is not None:
                draws[row.at] = row.draws.at(row.choice.index, found[1][row.at])
        return *found, draws
    drawn = [torch.ones_like(values[0])] * len(logits)
    for row in rows:
        if row.draws is not None:
            drawn[row.at] = row.draws.row(row.choice.index)[ids[row.at]]
    table = torch.cat([values, ids.float(), torch.stack(drawn), log_sums[:, None]], dim=1).cpu().numpy()
    width = values.shape[1]
    return table[:, :width], table[:, width : 2 * width].astype(np.int64), table[:, -1], table[:, 2 * width : -1]


def _find_largest(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the `count` largest values of each row and their ids, (num_rows, count) in any order."""
    vocab_size = logits.shape[1]
    width = vocab_size // _GROUP_SIZE
    if width < 4 * count:
        return logits.topk(min(count, vocab_size), sorted=False)
    # Token i is in group i % width. The largest `count` values are in the `count` groups with the largest maxima
    # (each of these has a value at least as large as all of the other groups), or in the short rest.
    num_grouped = width * _GROUP_SIZE
    groups = logits[:, :num_grouped].view(-1, _GROUP_SIZE, width)  # (num_rows, group size, width)
    best = groups.amax(dim=1).topk(count, sorted=False).indices  # (num_rows, count)
    values = groups.gather(2, best[:, None].expand(-1, _GROUP_SIZE, -1)).flatten(1)
    firsts = torch.arange(0, num_grouped, width, device=logits.device)
    ids = (firsts[:, None] + best[:, None]).flatten(1)
    if num_grouped < vocab_size:
        rest = torch.arange(num_grouped, vocab_size, device=logits.device)
        values = torch.cat([values, logits[:, num_grouped:]], dim=1)
        ids = torch.cat([ids, rest.expand(len(ids), -1)], dim=1)
    values, at = values.topk(count, sorted=False)
    return values, ids.gather(1, at)


def _penalise(values: Floats, ids: Ids, rows: Sequence[OpenRow], device: torch.device) -> Floats:
    """Return the candidates' `values` (len(rows), k) after repetition penalty and n-grams."""
    scores = values.copy()
    is_seen = np.zeros(values.shape, np.bool_)
    for i, row in enumerate(rows):
        if row.memory.is_seen is not None:
            is_seen[i] = row.memory.is_seen[ids[i]]
    at, column = np.nonzero(is_seen)
    if at.size:
        found = values[at, column]
        penalties = np.array([row.params.repetition_penalty for row in rows], np.float32)[at]
        scores[at, column] = np.where(found < 0, found * penalties, _divide(found, penalties, device))
    for i, row in enumerate(rows):
        if banned := row.banned:
            scores[i, np.isin(ids[i], banned)] = -np.inf
    return scores


def _divide(values: Floats, by: Floats, device: torch.device) -> Floats:
    """Divide as torch does by a number: on CUDA it multiplies by the reciprocal."""
    return values * (np.float32(1) / by) if device.type == "cuda" else values / by


def _pick_largest(scores: Floats, ids: Ids, bounds: Floats, *, is_whole: bool) -> NDArray[np.int64]:
    """Return the column of the largest score in each row, the lowest id of equal ones; -1 if not proven."""
    best = scores.max(axis=1)
    columns = np.where(scores == best[:, None], ids, np.iinfo(np.int64).max).argmin(axis=1)
    is_sure = np.isfinite(best) if is_whole else best > bounds
    return np.where(is_sure, columns, -1)


@dataclass(frozen=True, slots=True)
class _Warp:
    """The sampling options of several rows: arrays (num_rows,)."""

    temperatures: Floats
    top_ks: NDArray[np.int64]  # 0: all
    removed_masses: NDArray[np.float64]  # the least likely tokens with at most this probability together are removed
    min_ps: NDArray[np.float64]  # tokens below this share of the likeliest one's probability are removed; 0: none
    device: torch.device

    @classmethod
    def of(cls, params: Sequence[SamplingParams], device: torch.device) -> "_Warp":
        masses = np.array([1 - p.top_p if p.top_p < 1 else -1 for p in params], np.float32).astype(np.float64)
        return cls(
            np.array([p.temperature for p in params], np.float32),
            np.array([p.top_k for p in params]),
            masses,
            np.array([p.min_p for p in params], np.float32).astype(np.float64),
            device,
        )

    def divide(self, scores: Floats) -> Floats:
        """Divide the rows (…, num_rows first) by their temperatures."""
        by = self.temperatures if scores.ndim == 1 else self.temperatures[:, None]
        return _divide(scores, by, self.device)


def _pick_drawn(
    scores: Floats, draws: NDArray[np.floating[Any]], bounds: Floats, warp: _Warp, *, is_whole: bool
) -> NDArray[np.int64]:
    """Return the column (num_rows,) that sampling chooses in each row of candidates; -1 if it is not proven.

    `scores` and `draws` are (num_rows, k); a token outside the candidates has at most the score `bounds` of its row.
    transformers chooses the largest quotient of probability and draw among the tokens that top_k, top_p and min_p keep.
    The common denominator of all probabilities does not change the order, so only two things need proof: that no other
    quotient is within rounding of the largest, and that the winner is kept whatever the rounding.
    """
    num_rows, num_candidates = scores.shape
    with np.errstate(all="ignore"):  # infinite and NaN results count as not proven
        scaled = warp.divide(scores)
        top_ks = np.where((warp.top_ks == 0) | (warp.top_ks > num_candidates), num_candidates, warp.top_ks)
        smallest = np.take_along_axis(np.sort(scaled, axis=1), (num_candidates - top_ks)[:, None], axis=1)
        largest = scaled.max(axis=1, keepdims=True)
        least = warp.min_ps[:, None]
        # A token outside the candidates that equals the k-th would be kept too, unless min_p removes it.
        has_mass = is_sure = np.ones(num_rows, np.bool_)
        if not is_whole:
            limits = warp.divide(bounds)[:, None]
            has_mass = (smallest > limits)[:, 0]
            highest = np.exp((limits - largest).astype(np.float64))
            is_sure = has_mass | (highest < least * (1 - _QUOTIENT_MARGIN))[:, 0]
            # Only tokens above every other token's limit are certainly kept by top_k.
            smallest = np.maximum(smallest, limits)
        weights = np.where(scaled >= smallest, np.exp((scaled - largest).astype(np.float64)), 0)
        quotients = np.where(weights < least * (1 - _QUOTIENT_MARGIN), 0, weights) / draws
        columns = np.full(num_rows, -1)
        open_rows = np.flatnonzero(is_sure & np.isfinite(quotients).all(axis=1))
        while open_rows.size:
            at = np.arange(open_rows.size)
            here, mass, left = scaled[open_rows], weights[open_rows], quotients[open_rows]
            winners = left.argmax(axis=1)
            near = (left >= left[at, winners, None] * (1 - _QUOTIENT_MARGIN)).sum(axis=1)
            is_kept, is_removed = _judge_mass(here, mass, winners, warp.removed_masses[open_rows])
            is_kept &= _passes_min_p(here, mass, winners, warp.min_ps[open_rows])
            # Tokens outside the candidates can only add to the mass below a winner, which keeps it.
            is_removed &= has_mass[open_rows]
            is_clear = near == 1
            columns[open_rows[is_clear & is_kept]] = winners[is_clear & is_kept]
            # If a winner is removed, so are all tokens that are not more likely.
            gone = here <= here[at, winners, None]
            quotients[open_rows] = np.where(gone, 0, left)
            open_rows = open_rows[is_clear & is_removed]
    return columns


def _judge_mass(
    scaled: Floats, weights: NDArray[np.float64], winners: NDArray[np.int64], removed_masses: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return for each row's winner whether top_p certainly keeps it, and whether it certainly removes it.

    A token is removed if it and all less likely ones have at most the removed mass. The order of equal tokens depends
    on the sorting algorithm: the winner may be the first or the last of them.
    """
    at = np.arange(len(winners))
    own = scaled[at, winners, None]
    total = weights.sum(axis=1)
    is_equal = scaled == own
    below = np.where(scaled < own, weights, 0).sum(axis=1) / total
    least = below + weights[at, winners] / total
    most = below + np.where(is_equal, weights, 0).sum(axis=1) / total
    is_only_best = (own[:, 0] == scaled.max(axis=1)) & (is_equal.sum(axis=1) == 1)
    is_kept = is_only_best | (least > removed_masses * (1 + _MASS_MARGIN))
    is_removed = ~is_only_best & (most < removed_masses * (1 - _MASS_MARGIN)) & (most > 0)
    return is_kept, is_removed


def _passes_min_p(
    scaled: Floats, weights: NDArray[np.floating[Any]], winners: NDArray[np.int64], min_ps: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return for each row's winner whether min_p certainly keeps it; `weights` are relative to the likeliest token's.

    The likeliest token passes even if min_p is 1.
    """
    at = np.arange(len(winners))
    is_best = scaled[at, winners] == scaled.max(axis=1)
    found: NDArray[np.bool_] = is_best | (weights[at, winners] >= min_ps * (1 + _QUOTIENT_MARGIN))
    return found


def choose_by_quotients(logits: torch.Tensor, row: OpenRow, log_sum: float) -> Chosen | None:
    """Choose for one row on the CPU without sorting it; None if the result is not proven, see `_pick_drawn`.

    `log_sum` is that of `logits` (vocab,). Raises GenerationError if it is not finite.
    """
    if not row.active <= SUPPORTED:
        return None
    if not np.isfinite(log_sum):
        raise GenerationError(NO_NUMBERS)
    values, params = logits.numpy(), row.params
    if row.choice.allowed is not None:
        ids = np.unique(np.asarray(row.choice.allowed, np.int64))
        scores = values = values[ids]
    else:
        ids = np.arange(len(values))
        scores = _penalise_all(values, row)
    if row.draws is None:
        column = int(_pick_largest(scores[None], ids[None], scores[:1], is_whole=True)[0])
    elif row.choice.allowed is not None:
        draws, warp = row.draws.at(row.choice.index, ids)[None], _Warp.of([params], logits.device)
        column = int(_pick_drawn(scores[None], draws, scores[:1], warp, is_whole=True)[0])
    else:
        column = _pick_drawn_of_all(scores, row.draws, row)
    return Chosen.from_logit(int(ids[column]), values[column], log_sum) if column >= 0 else None


def _penalise_all(values: Floats, row: OpenRow) -> Floats:
    """Return all of one row's `values` (vocab,) after repetition penalty and n-grams."""
    scores = values.copy()
    if row.memory.is_seen is not None:
        seen = np.flatnonzero(row.memory.is_seen)
        penalty, found = np.float32(row.params.repetition_penalty), values[seen]
        scores[seen] = np.where(found < 0, found * penalty, found / penalty)
    banned = np.array(row.banned, np.int64)
    scores[banned[banned < len(scores)]] = -np.inf
    return scores


def _pick_drawn_of_all(scores: Floats, draws: Draws, row: OpenRow) -> int:
    """Return the token that sampling chooses by the penalised `scores` (vocab,); -1 if it is not proven.

    Like `_pick_drawn`, but rough values of the draws exclude nearly all tokens before the rest is computed exactly.
    """
    params, index = row.params, row.choice.index
    with np.errstate(all="ignore"):
        scaled = scores / np.float32(params.temperature)
        distances = scaled - scaled.max()
        weights = np.exp(distances)
        if 0 < params.top_k < len(scaled):
            smallest = torch.from_numpy(scaled).topk(params.top_k, sorted=False).values.min().item()
            weights[scaled < smallest] = 0
        warp = _Warp.of([params], torch.device("cpu"))
        rough = weights / draws.quick_row(index)
        if params.min_p > 0:
            rough[weights < warp.min_ps[0] * (1 - _QUOTIENT_MARGIN)] = 0
        while True:
            best = rough.max()
            if not 0 < best < np.inf:
                return -1
            near = np.flatnonzero(rough >= best * 0.8)  # both may be 5 % off
            quotients = np.exp(distances[near].astype(np.float64)) / draws.at(index, near)
            first = int(quotients.argmax())
            if (quotients >= quotients[first] * (1 - _QUOTIENT_MARGIN)).sum() > 1:
                return -1
            winner = near[first]
            chosen = near[first : first + 1]
            is_kept, is_removed = _judge_mass(scaled[None], weights[None], chosen, warp.removed_masses)
            is_kept &= _passes_min_p(scaled[None], weights[None], chosen, warp.min_ps)
            if is_kept[0] or not is_removed[0]:
                return int(winner) if is_kept[0] else -1
            rough[scaled <= scaled[winner]] = 0
