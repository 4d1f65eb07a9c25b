"""The random numbers of one request: the same stream as torch's `exponential_`, at a fraction of its time on a CPU."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

_FRACTION_BITS: Final = (1 << 53) - 1
_STATE_WORDS: Final = 624  # of a Mersenne twister
_STATE_OFFSET: Final = 24  # bytes before those words, eight bytes each, in the state of torch's CPU generator


class Draws(Protocol):
    """One step's draws from the exponential distribution of rate 1, for all rows of a request."""

    def at(self, row: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the draws of the tokens `ids` in one row, to within a rounding error of float32."""

    def row(self, row: int) -> torch.Tensor:
        """Return the draws of one row (vocab,) float32, to the last bit those of `exponential_`."""

    def quick_row(self, row: int) -> NDArray[np.float32]:
        """Return the draws of one row (vocab,), each to within 5 %."""


class DrawStream:
    """What `torch.empty(num_rows, vocab).exponential_(1, generator=...)` gives, call after call."""

    def __init__(self, seed: int, num_rows: int, device: torch.device) -> None:
        self._num_rows = num_rows
        self._generator = torch.Generator(device)
        self._generator.manual_seed(seed)
        self._twister = _make_twister(self._generator) if device.type == "cpu" and _can_follow_torch() else None

    def draw(self, vocab_size: int) -> Draws:
        """Take the draws of the next step; those of the step before are no longer good."""
        if self._twister is not None:
            return _WordDraws(self._twister(self._num_rows * vocab_size), vocab_size)
        values = torch.empty(self._num_rows, vocab_size, device=self._generator.device)
        return _TensorDraws(values.exponential_(1, generator=self._generator))


def use_library(library: ctypes.CDLL | None) -> None:
    """Let a compiled `twister.c` make the words of streams that are opened from now on; None: numpy makes them."""
    global _library  # noqa: PLW0603
    if library is not None:
        library.fewshot_random_words.restype = None
        pointer = ctypes.c_void_p
        library.fewshot_random_words.argtypes = [pointer, pointer, pointer, ctypes.c_int64]
    _library = library
    _can_follow_torch.cache_clear()


_library: ctypes.CDLL | None = None


class _TensorDraws:
    def __init__(self, values: torch.Tensor) -> None:
        self._values = values

    def at(self, row: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        found = self._values[row, torch.from_numpy(ids).to(self._values.device)]
        return _as_array(found.double())

    def row(self, row: int) -> torch.Tensor:
        return self._values[row]

    def quick_row(self, row: int) -> NDArray[np.float32]:
        return _as_array(self._values[row])


class _WordDraws:
    """Draws that are worked out from 64 random bits each, where they are asked for."""

    def __init__(self, words: NDArray[np.uint64], vocab_size: int) -> None:
        self._words = words.reshape(-1, vocab_size)

    def at(self, row: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        return _exponential(self._words[row, ids])

    def row(self, row: int) -> torch.Tensor:
        return torch.from_numpy(_exponential(self._words[row]).astype(np.float32))

    def quick_row(self, row: int) -> NDArray[np.float32]:
        uniform = torch.from_numpy((self._words[row] & np.uint64(_FRACTION_BITS)).view(np.int64)).float()
        # In float32 the uniform number may become 1; a draw of 17.3 instead of up to 36 would be too far off, so
        # the largest ones are worked out as they should be.
        draws = _as_array(uniform.mul_(-(2.0**-53)).log1p_().neg_())
        rare = np.flatnonzero(~(draws < 13))
        if rare.size:
            draws[rare] = _exponential(self._words[row, rare])
        return draws


def _exponential(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    # As ATen's random64(), uniform_real_distribution<double> and exponential<double> do it.
    uniform = (words & np.uint64(_FRACTION_BITS)).astype(np.float64) * 2.0**-53
    result: NDArray[np.float64] = -np.log1p(-uniform)
    return result


def _make_twister(generator: torch.Generator) -> Callable[[int], NDArray[np.uint64]]:
    """Return what gives the next words (count,) of the freshly seeded `generator`, without touching it."""
    state = generator.get_state().numpy().tobytes()
    key = np.frombuffer(state, np.uint64, _STATE_WORDS, _STATE_OFFSET).astype(np.uint32)
    if _library is not None:
        return _NativeTwister(_library, key)
    bits = np.random.MT19937()
    bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": _STATE_WORDS}}
    numbers = np.random.Generator(bits)
    return lambda count: numbers.integers(0, 1 << 64, size=count, dtype=np.uint64)


class _NativeTwister:
    def __init__(self, library: ctypes.CDLL, key: NDArray[np.uint32]) -> None:
        self._fill = library.fewshot_random_words
        self._key = key
        self._position = np.array([_STATE_WORDS], np.int64)
        self._words = np.empty(0, np.uint64)

    def __call__(self, count: int) -> NDArray[np.uint64]:
        if len(self._words) != count:
            self._words = np.empty(count, np.uint64)
        self._fill(self._key.ctypes.data, self._position.ctypes.data, self._words.ctypes.data, count)
        return self._words


@cache
def _can_follow_torch() -> bool:
    """Say whether this build of torch draws as it is done here; some builds use the vendor's library instead."""
    for seed in (1, 2**40 + 7):
        generator = torch.Generator()
        generator.manual_seed(seed)
        twister = _make_twister(generator)
        for shape in ((1, 1), (2, 7), (1, 40_000), (3, 700)):
            drawn = torch.empty(shape).exponential_(1, generator=generator).flatten()
            words = twister(drawn.numel())
            if not np.array_equal(_exponential(words).astype(np.float32), drawn.numpy()):
                return False
    return True


def _as_array(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()
