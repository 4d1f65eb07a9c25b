"""How exact and how fast each precision of a model is on this machine: one text read in all of them, one by one."""

import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from transformers import AutoTokenizer

from bot.core.results import PrecisionFigures
from bot.engine.models.model_folder import ModelConfigFacts
from bot.engine.models.pull_progress import ProgressDisplay
from bot.engine.networks.choosing_network import list_precisions, open_network
from bot.engine.networks.network import BLOCK_TOKENS, Network, Segment
from bot.engine.precision.choice import FLOAT32
from bot.engine.precision.record import TEXT_FILE, make_key, read_figures, write_figures
from bot.engine.sampler.log_sums import log_sums
from bot.errors import ModelError

_CHUNK_TOKENS: Final = 128  # of a long text in one pass, as the engine reads prompts while it answers
_NUM_PREFILLS: Final = 2
_NUM_ROWS: Final = 8
# How many tokens each row reads in one pass after another: one as in plain writing, a few as with guesses.
_WIDTHS_ALONE: Final = (1,) * 12 + (2, 3, 4)
_WIDTHS_TOGETHER: Final = (1,) * 10 + (2, 3, 4)
# Without a cache each pass reads whole texts again, with the kernels of long texts.
_WIDTHS_ALONE_CACHELESS: Final = (1,) * 3
_WIDTHS_TOGETHER_CACHELESS: Final = (1,)
# On a processor memory that is not written to costs nothing; torch's networks take what one context needs anyway.
_CPU_CACHE_BYTES: Final = 2 * 2**30
_CACHE_BYTES: Final = 2**26


@dataclass(frozen=True, slots=True)
class Reading:
    """What one network made of the text.

    `chunked` are the nats of every token read in long chunks, as perplexity is computed; `decoded` by how many nats
    some of them changed when they were read a few at a time, as answers are written. The speeds are in tokens a second.
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
    """Return the figures of every precision that `device` offers, float32 first; measured now if they are not recorded.

    Nothing where float32 is the only one. Progress goes to `display`. Raises ModelError where float32 fails.
    """
    make = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    key = make_key(folder, device=make, num_threads=torch.get_num_threads())
    figures = read_figures(folder, models_dir, key)
    if figures:
        return figures
    fast = list_precisions(folder, device)
    if not fast:
        return ()
    figures = measure_precisions(
        folder, (FLOAT32, *fast), name=name, facts=facts, device=device, tell=tell, display=display or ProgressDisplay()
    )
    write_figures(folder, models_dir, key, figures)
    return figures


def measure_precisions(
    folder: Path,
    precisions: Sequence[str],
    *,
    name: str,
    facts: ModelConfigFacts,
    device: torch.device,
    tell: Callable[[str], None],
    display: ProgressDisplay,
) -> tuple[PrecisionFigures, ...]:
    """Read the text in each of `precisions`, float32 first, with one network in memory at a time.

    A precision that fails has the reason as its `problem`. Raises ModelError where float32 fails.
    """
    tokens = _encode_text(folder)
    num_chunks = -(-min(len(tokens) - 1, facts.context_length) // _CHUNK_TOKENS)
    num_passes = 1 + num_chunks + _NUM_PREFILLS + sum(map(len, _plan_widths(has_cache=facts.has_cache)))
    exact: Reading | None = None
    figures = []
    for precision in precisions:
        display.phase(f"Measuring {name} in {precision}", num_passes, " passes")
        try:
            reading = _measure(folder, precision, tokens, facts, device, tell, display)
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
) -> Reading:
    """Open the network, read the text, and give all memory back before the next one comes."""
    cache_bytes = _CPU_CACHE_BYTES if device.type == "cpu" else _CACHE_BYTES
    done = itertools.count(1)
    try:
        network = open_network(folder, device=device, precision=precision, kv_cache_bytes=cache_bytes, tell=tell)
        try:
            display.advance(next(done))  # loading takes as long as some passes
            return read_text(network, tokens, has_cache=facts.has_cache, advance=lambda: display.advance(next(done)))
        finally:
            network.close()
            del network
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def read_text(
    network: Network, tokens: Sequence[int], *, has_cache: bool, advance: Callable[[], None] = lambda: None
) -> Reading:
    """Read `tokens` in long chunks, then from several places on a few at a time; all but the first are targets.

    `advance` is called after each pass. Raises ModelError for a network that can't hold or does not know them.
    """
    alone, together = _plan_widths(has_cache=has_cache)
    with torch.inference_mode():
        reader = _Reader(network, tokens, advance)
        chunked, prefill_s = reader.read_chunks()
        decoded, alone_s = reader.decode(1, alone)
        more, together_s = reader.decode(_NUM_ROWS, together)
    changes = tuple(nats - chunked[at] for at, nats in [*decoded, *more])
    return Reading(tuple(chunked), changes, 1 / alone_s, _NUM_ROWS / together_s, reader.num_prefilled / prefill_s)


class _Reader:
    """Passes of one network over one text, each timed, with the nats of the tokens that follow."""

    def __init__(self, network: Network, tokens: Sequence[int], advance: Callable[[], None]) -> None:
        self._network = network
        self._advance = advance
        self._length = min(len(tokens) - 1, network.context_length)
        self._tokens = tuple(tokens[: self._length + 1])
        self._num_blocks = -(-self._length // BLOCK_TOKENS)
        self.num_prefilled = min(_CHUNK_TOKENS, self._length)
        own = -(-(sum(_WIDTHS_ALONE) + sum(_WIDTHS_TOGETHER)) // BLOCK_TOKENS)  # more than any row needs of its own
        if self._length < 1 or self._num_blocks + (_NUM_ROWS + 1) * own > network.num_blocks:
            raise ModelError("The memory for texts (KV cache) is too small to measure it.")
        if max(self._tokens) >= network.vocab_size:
            raise ModelError("The tokenizer has tokens that the model does not know.")

    def read_chunks(self) -> tuple[list[float], float]:
        """Read the whole text; return its nats, and the seconds of a prefill of its first chunk (median)."""
        blocks = range(self._num_blocks)
        nats = []
        for start in range(0, self._length, _CHUNK_TOKENS):
            stop = min(start + _CHUNK_TOKENS, self._length)
            found, _ = self._read([Segment(self._tokens, start, stop, blocks, stop - start)])
            nats += [one for _, one in found]
        first = Segment(self._tokens, 0, self.num_prefilled, blocks, 1)
        return nats, statistics.median(self._read([first])[1] for _ in range(_NUM_PREFILLS))

    def decode(self, num_rows: int, widths: Sequence[int]) -> tuple[list[tuple[int, float]], float]:
        """Read on from `num_rows` places, in each pass the next of `widths` tokens in all of them.

        Return places with the nats of the token after each, and the seconds of a pass one token wide (median).
        """
        # The rows share what comes before them, in whole blocks, and write into blocks of their own.
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
        """Return the places that logits are wanted of with the nats of the token after each, and the pass's seconds."""
        started = time.perf_counter()
        logits = self._network.forward(segments)
        logits[-1, :1].tolist()  # a GPU is done only when something of its result is here
        took_s = time.perf_counter() - started
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
    """Return the tokens of the text as perplexity takes them: after BOS, else EOS, where there is one."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    text = TEXT_FILE.read_text(encoding="utf-8")
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    start_id = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return tuple(ids) if start_id is None else (start_id, *ids)


def _compare(precision: str, reading: Reading, exact: Reading) -> PrecisionFigures:
    """Return a reading's figures beside those of float32."""
    speeds = (reading.tokens_per_s, reading.tokens_per_s_of_8, reading.prefill_tokens_per_s)
    more = statistics.fmean(reading.chunked) - statistics.fmean(exact.chunked)
    # Short passes may run on kernels of their own. Token by token beside the long ones: a few suffice to see a loss.
    more_decoding = statistics.fmean(reading.decoded) - statistics.fmean(exact.decoded)
    if not (math.isfinite(more) and math.isfinite(more_decoding)):
        return PrecisionFigures(precision, None, *speeds, problem="It gives no finite probabilities.")
    return PrecisionFigures(precision, math.exp(min(100.0, more + max(0.0, more_decoding))), *speeds)


def _explain(error: Exception, name: str, precision: str) -> ModelError:
    if isinstance(error, ModelError):
        return error
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return ModelError(f"The model {name} does not fit into memory in {precision}.")
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(f"The model {name} does not run in {precision}: {first_line}")
