"""The sampler: the next token of each of many rows, the same as in transformers, but faster."""

import logging
from collections.abc import Sequence

import numpy as np
import torch

from bot.engine.networks.native.row_chooser import RowChooser, find_row_chooser
from bot.engine.sampler.compiled import can_choose_natively, choose_natively
from bot.engine.sampler.draws import Draws, DrawStream
from bot.engine.sampler.exact import choose_as_transformers
from bot.engine.sampler.log_sums import log_sums
from bot.engine.sampler.rows import (
    NO_NUMBERS,
    NO_TOKEN,
    Choice,
    Chosen,
    OpenRow,
    TokenChooser,
    as_error,
    check_ids,
)
from bot.engine.sampler.vectorized import choose_among_candidates, choose_by_quotients
from bot.errors import GenerationError

__all__ = ["Choice", "Chosen", "TokenChooser", "choose_tokens"]

_log = logging.getLogger(__name__)

Results = dict[int, Chosen | GenerationError]
_Left = tuple[list[OpenRow], torch.Tensor]  # rows without a result yet; log-sums of all rows of the logits


def choose_tokens(logits: torch.Tensor, choices: Sequence[Choice]) -> list[Chosen | GenerationError]:
    """Choose the next token of each row of `logits` (len(choices), vocab) float32, without changing them.

    Rows of one chooser in one call share one step of its draws. An error is the result of its own row only; it does not
    change a bit of the others. With and without a compiled library the tokens are the same, and the log-probabilities
    up to rounding.
    """
    results: Results = {}
    rows = []
    for at, choice in enumerate(choices):
        try:
            rows.append(_open_row(at, choice, logits.shape[1]))
        except Exception as e:
            results[at] = as_error(e)
    native = find_row_chooser()
    if native is not None and can_choose_natively(native, logits, rows):
        left, sums = _choose_natively(native, logits, rows, results)
    else:
        left, sums = _choose_in_numpy(logits, rows, results)
    if left:
        _choose_alone(logits, left, sums, results)
    return [results[at] for at in range(len(choices))]


def _open_row(at: int, choice: Choice, vocab_size: int) -> OpenRow:
    """Check every number of the row that is used as an index. Raises GenerationError."""
    if choice.allowed is not None:
        check_ids(choice.allowed, vocab_size)
    check_ids(choice.excluded, vocab_size)
    if not 0 <= choice.index < choice.chooser.params.n:
        raise GenerationError("The request has no continuation of this number.")
    return OpenRow(at, choice, choice.chooser.remember(choice.index, choice.ids, vocab_size))


def _choose_natively(native: RowChooser, logits: torch.Tensor, rows: Sequence[OpenRow], results: Results) -> _Left:
    """Choose in C++ for the rows where it can prove the result; return the others, with their draws."""
    try:
        found = choose_natively(native, logits, rows)
    except MemoryError:  # nothing has been drawn
        _log.warning("Not enough memory to choose for %d rows at once in C++; numpy is used", len(rows))
        return _choose_in_numpy(logits, rows, results)
    left = []
    for row, chosen in zip(rows, found, strict=True):
        if chosen is not None:
            results[row.at] = chosen
        else:
            row.draws = None if row.stream is None else row.stream.see_draws(logits.shape[1])
            left.append(row)
    return _sum_up(logits, left, results)


def _choose_in_numpy(logits: torch.Tensor, rows: Sequence[OpenRow], results: Results) -> _Left:
    """Choose for the rows where numpy can prove the result; return the others, with their draws."""
    rows, sums = _sum_up(logits, _take_draws(logits.shape[1], rows, results), results)
    try:
        results |= choose_among_candidates(logits, rows, sums)
    except Exception:
        _log.exception("Choosing for %d rows at once failed; each is tried alone", len(rows))
    if logits.device.type == "cpu":
        for row in rows:
            try:
                if row.at in results:
                    continue
                chosen = choose_by_quotients(logits[row.at], row, float(sums[row.at]))
                if chosen is not None:
                    results[row.at] = chosen
            except Exception as e:
                results[row.at] = as_error(e)
    return [row for row in rows if row.at not in results], sums


def _sum_up(logits: torch.Tensor, rows: Sequence[OpenRow], results: Results) -> _Left:
    """Return the rows whose log-sums could be computed, and the log-sums."""
    if not rows:
        return [], torch.empty(0)
    try:
        return list(rows), log_sums(logits)
    except Exception:
        _log.exception("Summing %d rows at once failed; each is tried alone", len(rows))
    sums = torch.empty(len(logits), device=logits.device)
    for row in rows:
        try:
            sums[row.at] = log_sums(logits[row.at : row.at + 1])[0]
        except Exception as e:
            results[row.at] = as_error(e)
    return [row for row in rows if row.at not in results], sums


def _take_draws(vocab_size: int, rows: Sequence[OpenRow], results: Results) -> list[OpenRow]:
    """Advance each request's draws by one step; return the rows for which that worked."""
    draws: dict[DrawStream, Draws] = {}
    ready = []
    for row in rows:
        try:
            if row.stream is not None:
                if row.stream not in draws:
                    draws[row.stream] = row.stream.draw(vocab_size)
                row.draws = draws[row.stream]
            ready.append(row)
        except Exception as e:
            results[row.at] = as_error(e)
    return ready


def _choose_alone(logits: torch.Tensor, rows: Sequence[OpenRow], sums: torch.Tensor, results: Results) -> None:
    """Choose for each row with the exact sampler; one round trip to the device for all of them."""
    launched: list[tuple[int, torch.Tensor]] = []
    for row in rows:
        try:
            launched.append((row.at, choose_as_transformers(logits[row.at], row, sums[row.at])))
        except Exception as e:
            results[row.at] = as_error(e)
    if not launched:
        return
    for (at, _), values in zip(launched, torch.stack([found for _, found in launched]).tolist(), strict=True):
        token_id, logit, log_sum, best = values
        if not np.isfinite(log_sum):
            results[at] = GenerationError(NO_NUMBERS)
        elif not np.isfinite(best):
            results[at] = GenerationError(NO_TOKEN)
        else:
            results[at] = Chosen.from_logit(int(token_id), logit, log_sum)
