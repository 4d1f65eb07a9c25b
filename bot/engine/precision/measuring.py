"""Measurement of each precision of a model on this machine: its perplexity and speed on one text."""

import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoTokenizer

from bot.core.results import PrecisionFigures
from bot.engine.models.model_folder import ModelConfigFacts
from bot.engine.models.pull_progress import ProgressDisplay
from bot.engine.networks.choosing_network import list_precisions, open_network
from bot.engine.networks.network import BLOCK_TOKENS, Network, Segment
from bot.engine.precision.choice import FLOAT32
from bot.engine.precision.record import SPEEDS, TEXT_FILE, count_busy, make_key, read_figures, write_figures
from bot.engine.sampler.log_sums import log_sums
from bot.errors import ModelError

_CHUNK_TOKENS: Final = 128  # of a long text per pass, the chunk size of the engine's prefill during decoding
_NUM_PREFILLS: Final = 2
_NUM_ROWS: Final = 8
# Tokens that each sequence reads in successive passes: 1 as in plain decoding, a few as with draft tokens.
_WIDTHS_ALONE: Final = (1,) * 12 + (2, 3, 4)
_WIDTHS_TOGETHER: Final = (1,) * 10 + (2, 3, 4)
# Without a KV cache each pass reads the whole text again, with the kernels for long texts.
_WIDTHS_ALONE_CACHELESS: Final = (1,) * 3
_WIDTHS_TOGETHER_CACHELESS: Final = (1,)
# On a CPU, memory that is never written costs nothing; torch networks reserve one context in any case.
_CPU_CACHE_BYTES: Final = 2 * 2**30
_CACHE_BYTES: Final = 2**26
# Below this share of the processor, other programs decide how fast a pass is.
_BUSY_SHARE: Final = 0.7
# Figures from a busy machine are measured again at so many later starts.
_MAX_BUSY: Final = 3


class ProcessorShare:
    """The share of the time in which the measuring thread had a processor; on a machine that is not busy, nearly 1."""

    def __init__(self) -> None:
        self._wall_s = 0.0
        self._cpu_s = 0.0

    @property
    def is_busy(self) -> bool:
        """Say whether the measured speeds are those of the machine's other work."""
        return self._cpu_s < _BUSY_SHARE * self._wall_s

    def add(self, wall_s: float, cpu_s: float) -> None:
        """Count a pass: how long it took, and how long the thread had a processor meanwhile."""
        self._wall_s += wall_s
        self._cpu_s += cpu_s


@dataclass(frozen=True, slots=True)
class Reading:
    """The measurements of one network on the text.

    `chunked` is the negative log-likelihood (nats) of every token, read in long chunks as for perplexity; `decoded`
    is by how much it changed for some tokens when they were read a few at a time, as in decoding. Speeds are in tokens
    per second.
    """

    chunked: tuple[float, ...]
    decoded: tuple[float, ...]
    tokens_per_s: float
    tokens_per_s_of_8: float
    prefill_tokens_per_s: float


def find_figures(
    folder: Path,
    *,
    name: str,
    facts: ModelConfigFacts,
    device: torch.device,
    models_dir: Path | None,
    tell: Callable[[str], None],
    display: ProgressDisplay | None = None,
) -> tuple[PrecisionFigures, ...]:
    """Return the figures of every precision that `device` offers, float32 first; measure them if there is no record.

    What was measured while other programs used the processor is measured again at a later start, and the higher speeds
    count. Empty if float32 is the only precision. Progress goes to `display`. Raises ModelError if float32 fails.
    """
    make = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    key = make_key(folder, device=make, num_threads=torch.get_num_threads())
    before, num_busy = read_figures(folder, models_dir, key), count_busy(folder, models_dir, key)
    if before and num_busy in (0, _MAX_BUSY):
        return before
    fast = list_precisions(folder, device)
    if not fast:
        return ()
    display = display or ProgressDisplay()
    share = ProcessorShare()
    figures = measure_precisions(
        folder, (FLOAT32, *fast), name=name, facts=facts, device=device, tell=tell, display=display, share=share
    )
    figures = _fastest(before, figures)
    num_busy = num_busy + 1 if share.is_busy and device.type == "cpu" else 0
    write_figures(folder, models_dir, key, figures, num_busy=num_busy)
    if 0 < num_busy < _MAX_BUSY:
        display.tell("The machine was busy with other programs, so the next start measures the precisions again.")
    return figures


def _fastest(before: Sequence[PrecisionFigures], figures: Sequence[PrecisionFigures]) -> tuple[PrecisionFigures, ...]:
    """Return `figures` with the higher of the speeds measured now and before: other programs only make them lower."""
    earlier = {one.precision: one for one in before}

    def merge(one: PrecisionFigures) -> PrecisionFigures:
        other = earlier.get(one.precision)
        if other is None or one.problem or other.problem:
            return one
        faster: dict[str, Any] = {name: max(getattr(one, name) or 0.0, getattr(other, name) or 0.0) for name in SPEEDS}
        return replace(one, **faster)

    return tuple(map(merge, figures))


def measure_precisions(
    folder: Path,
    precisions: Sequence[str],
    *,
    name: str,
    facts: ModelConfigFacts,
    device: torch.device,
    tell: Callable[[str], None],
    display: ProgressDisplay,
    share: ProcessorShare | None = None,
) -> tuple[PrecisionFigures, ...]:
    """Measure each of `precisions`, float32 first, with one network in memory at a time.

    `share` counts the processor time. A precision that fails has the reason as its `problem`. Raises ModelError if
    float32 fails.
    """
    share = share or ProcessorShare()
    tokens = _encode_text(folder)
    num_chunks = -(-min(len(tokens) - 1, facts.context_length) // _CHUNK_TOKENS)
    num_passes = 1 + num_chunks + _NUM_PREFILLS + sum(map(len, _plan_widths(has_cache=facts.has_cache)))
    exact: Reading | None = None
    figures = []
    for precision in precisions:
        display.phase(f"Measuring {name} in {precision}", num_passes, " passes")
        try:
            reading = _measure(folder, precision, tokens, facts, device, tell, display, share)
        except (ModelError, RuntimeError, MemoryError) as e:
            problem = _explain(e, name, precision)
            if exact is None:
                raise problem from e
            figures.append(PrecisionFigures(precision, problem=str(problem)))
        else:
            exact = exact or reading
            figures.append(_compare(precision, reading, exact))
        finally:
            display.close()
    return tuple(figures)


def _measure(
    folder: Path,
    precision: str,
    tokens: Sequence[int],
    facts: ModelConfigFacts,
    device: torch.device,
    tell: Callable[[str], None],
    display: ProgressDisplay,
    share: ProcessorShare,
) -> Reading:
    """Open the network, read the text, and free all memory before the next measurement."""
    cache_bytes = _CPU_CACHE_BYTES if device.type == "cpu" else _CACHE_BYTES
    done = itertools.count(1)
    try:
        network = open_network(folder, device=device, precision=precision, kv_cache_bytes=cache_bytes, tell=tell)
        try:
            display.advance(next(done))  # loading takes as long as some passes
            return read_text(
                network, tokens, has_cache=facts.has_cache, advance=lambda: display.advance(next(done)), share=share
            )
        finally:
            network.close()
            del network
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def read_text(
    network: Network,
    tokens: Sequence[int],
    *,
    has_cache: bool,
    advance: Callable[[], None] = lambda: None,
    share: ProcessorShare | None = None,
) -> Reading:
    """Read `tokens` in long chunks, then a few at a time from several places; all but the first token are scored.

    `advance` is called after each pass; `share` counts the processor time. Tokens that the model does not have are left
    out. Raises ModelError if they don't fit in the KV cache.
    """
    alone, together = _plan_widths(has_cache=has_cache)
    with torch.inference_mode():
        reader = _Reader(network, tokens, advance, share or ProcessorShare())
        chunked, prefill_s = reader.read_chunks()
        decoded, alone_s = reader.decode(1, alone)
        more, together_s = reader.decode(_NUM_ROWS, together)
    changes = tuple(nats - chunked[at] for at, nats in [*decoded, *more])
    return Reading(tuple(chunked), changes, 1 / alone_s, _NUM_ROWS / together_s, reader.num_prefilled / prefill_s)


class _Reader:
    """Timed passes of one network over one text, with the nats of each next token."""

    def __init__(
        self, network: Network, tokens: Sequence[int], advance: Callable[[], None], share: ProcessorShare
    ) -> None:
        self._network = network
        self._share = share
        self._advance = advance
        known = tuple(token_id for token_id in tokens if token_id < network.vocab_size)  # a tokenizer may be larger
        self._length = min(len(known) - 1, network.context_length)
        self._tokens = known[: self._length + 1]
        self._num_blocks = -(-self._length // BLOCK_TOKENS)
        self.num_prefilled = min(_CHUNK_TOKENS, self._length)
        own = -(
            -(sum(_WIDTHS_ALONE) + sum(_WIDTHS_TOGETHER)) // BLOCK_TOKENS
        )  # the most blocks that one sequence writes
        if self._length < 1 or self._num_blocks + (_NUM_ROWS + 1) * own > network.num_blocks:
            raise ModelError("The KV cache is too small for the measurement; raise KV_CACHE_MB.")

    def read_chunks(self) -> tuple[list[float], float]:
        """Read the whole text; return its nats, and the median seconds of a prefill of its first chunk."""
        blocks = range(self._num_blocks)
        nats = []
        for start in range(0, self._length, _CHUNK_TOKENS):
            stop = min(start + _CHUNK_TOKENS, self._length)
            found, _ = self._read([Segment(self._tokens, start, stop, blocks, stop - start)])
            nats += [one for _, one in found]
        first = Segment(self._tokens, 0, self.num_prefilled, blocks, 1)
        return nats, statistics.median(self._read([first])[1] for _ in range(_NUM_PREFILLS))

    def decode(self, num_rows: int, widths: Sequence[int]) -> tuple[list[tuple[int, float]], float]:
        """Decode from `num_rows` places at once; each pass reads the next of `widths` tokens in all of them.

        Return positions with the nats of the token after each, and the median seconds of a pass one token wide.
        """
        # The sequences share the full blocks of their prefix and write into blocks of their own.
        last = max(0, self._length - sum(widths))
        starts = [last * (row + 1) // num_rows // BLOCK_TOKENS * BLOCK_TOKENS for row in range(num_rows)]
        num_own = -(-sum(widths) // BLOCK_TOKENS)
        blocks = [
            [
                *range(start // BLOCK_TOKENS),
                *range(self._num_blocks + row * num_own, self._num_blocks + (row + 1) * num_own),
            ]
            for row, start in enumerate(starts)
        ]
        nats: list[tuple[int, float]] = []
        seconds = []
        for width in widths:
            segments = [
                Segment(self._tokens, start, start + width, own, width)
                for start, own in zip(starts, blocks, strict=True)
                if start + width <= self._length
            ]
            starts = [start + width for start in starts]
            if not segments:
                break
            gained, took_s = self._read(segments)
            nats += gained
            if width == 1:
                seconds.append(took_s)
        return nats, statistics.median(seconds)

    def _read(self, segments: Sequence[Segment]) -> tuple[list[tuple[int, float]], float]:
        """Return the positions with logits and the nats of the token after each, and the seconds of the pass."""
        started, cpu_started = time.perf_counter(), time.thread_time()
        logits = self._network.forward(segments)
        logits[-1, :1].tolist()  # waits until a GPU has finished
        took_s = time.perf_counter() - started
        self._share.add(took_s, time.thread_time() - cpu_started)
        places = [at for s in segments for at in range(s.stop - s.num_logits, s.stop)]
        wanted = torch.tensor([self._tokens[at + 1] for at in places], device=logits.device)
        nats = log_sums(logits) - logits.gather(1, wanted[:, None])[:, 0]
        self._advance()
        return list(zip(places, nats.tolist(), strict=True)), took_s


def _plan_widths(*, has_cache: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if has_cache:
        return _WIDTHS_ALONE, _WIDTHS_TOGETHER
    return _WIDTHS_ALONE_CACHELESS, _WIDTHS_TOGETHER_CACHELESS


def _encode_text(folder: Path) -> tuple[int, ...]:
    """Return the tokens of the text after BOS, else EOS, if the tokenizer has one; all precisions read the same."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    text = TEXT_FILE.read_text(encoding="utf-8")
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    start_id = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return tuple(ids) if start_id is None else (start_id, *ids)


def _compare(precision: str, reading: Reading, exact: Reading) -> PrecisionFigures:
    """Return the figures of a reading, compared with float32."""
    speeds = (reading.tokens_per_s, reading.tokens_per_s_of_8, reading.prefill_tokens_per_s)
    more = statistics.fmean(reading.chunked) - statistics.fmean(exact.chunked)
    # Short passes may use other kernels. Comparing the same tokens shows a loss with only a few of them.
    more_decoding = statistics.fmean(reading.decoded) - statistics.fmean(exact.decoded)
    if not (math.isfinite(more) and math.isfinite(more_decoding)):
        return PrecisionFigures(
            precision, None, *speeds, problem="The model gives no finite probabilities in this precision."
        )
    return PrecisionFigures(precision, math.exp(min(100.0, more + max(0.0, more_decoding))), *speeds)


def _explain(error: Exception, name: str, precision: str) -> ModelError:
    if isinstance(error, ModelError):
        return error
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return ModelError(f"The model {name} does not fit into memory in {precision}.")
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(f"The model {name} does not run in {precision}: {first_line}")
