"""The random numbers of one request: the stream of torch's `exponential_`, computed faster on a CPU."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from bot.engine.networks.native.row_chooser import WINDOW_WORDS, RowChooser, find_row_chooser

_FRACTION_BITS: Final = (1 << 53) - 1
_STATE_OFFSET: Final = 24  # bytes before the twister's words (eight bytes each) in the state of torch's CPU generator

Words = NDArray[np.uint64]


class Draws(Protocol):
    """One step's draws from the exponential distribution of rate 1, for all rows of a request."""

    def at(self, row: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the draws of the tokens `ids` in one row, to within a rounding error of float32."""

    def row(self, row: int) -> torch.Tensor:
        """Return the draws of one row (vocab,) float32, bit for bit those of `exponential_`."""

    def quick_row(self, row: int) -> NDArray[np.float32]:
        """Return the draws of one row (vocab,), each to within 5 %."""


class DrawStream:
    """The successive results of `torch.empty(num_rows, vocab).exponential_(1, generator=...)`.

    If a compiled library is used, `native` is that library, and `windows` (see RowChooser) are the position in the
    stream, which C++ advances as it draws.
    """

    def __init__(self, seed: int, num_rows: int, device: torch.device) -> None:
        self._num_rows = num_rows
        self._generator = torch.Generator(device)
        self._generator.manual_seed(seed)
        self._twister: Callable[[int], Words] | None = None
        self.native: RowChooser | None = None
        self.windows: NDArray[np.uint32] | None = None
        if device.type == "cpu" and _can_follow_torch(find_row_chooser()):
            self.native = find_row_chooser()
            if self.native is not None:
                self.windows = self.native.open_windows(_read_key(self._generator), num_rows)
            else:
                self._twister = _make_twister(self._generator)

    def draw(self, vocab_size: int) -> Draws:
        """Return the draws of the next step; those of the previous step become invalid."""
        if self.native is not None and self.windows is not None:
            self.native.move_on(self.windows, vocab_size)
            return self.see_draws(vocab_size)
        if self._twister is not None:
            words = self._twister(self._num_rows * vocab_size).reshape(-1, vocab_size)
            return _WordDraws(lambda row: words[row])
        values = torch.empty(self._num_rows, vocab_size, device=self._generator.device)
        return _TensorDraws(values.exponential_(1, generator=self._generator))

    def see_draws(self, vocab_size: int) -> Draws:
        """Return the draws of the step at which `windows` are."""
        native, windows = self.native, self.windows
        if native is None or windows is None:
            raise ValueError("there are windows only if a compiled library draws")
        return _WordDraws(lambda row: native.see_words(windows, row, vocab_size))


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
    """Draws computed on demand, each from 64 random bits."""

    def __init__(self, find_words: Callable[[int], Words]) -> None:
        """Take the function that returns the words (vocab,) of a row."""
        self._find_words = find_words

    def at(self, row: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        return _exponential(self._find_words(row)[ids])

    def row(self, row: int) -> torch.Tensor:
        return torch.from_numpy(_exponential(self._find_words(row)).astype(np.float32))

    def quick_row(self, row: int) -> NDArray[np.float32]:
        words = self._find_words(row)
        uniform = torch.from_numpy((words & np.uint64(_FRACTION_BITS)).view(np.int64)).float()
        # In float32 the uniform number may round to 1; a draw of 17.3 instead of up to 36 would be too far off, so
        # the largest draws are computed in float64.
        draws = _as_array(uniform.mul_(-(2.0**-53)).log1p_().neg_())
        rare = np.flatnonzero(~(draws < 13))
        if rare.size:
            draws[rare] = _exponential(words[rare])
        return draws


def _exponential(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    # The same as ATen's random64(), uniform_real_distribution<double> and exponential<double>.
    uniform = (words & np.uint64(_FRACTION_BITS)).astype(np.float64) * 2.0**-53
    result: NDArray[np.float64] = -np.log1p(-uniform)
    return result


def _read_key(generator: torch.Generator) -> NDArray[np.uint32]:
    state = generator.get_state().numpy().tobytes()
    return np.frombuffer(state, np.uint64, WINDOW_WORDS, _STATE_OFFSET).astype(np.uint32)


def _make_twister(generator: torch.Generator) -> Callable[[int], Words]:
    """Return a function that returns the next words (count,) of the freshly seeded `generator`, without changing it."""
    bits = np.random.MT19937()
    bits.state = {"bit_generator": "MT19937", "state": {"key": _read_key(generator), "pos": WINDOW_WORDS}}
    numbers = np.random.Generator(bits)
    return lambda count: numbers.integers(0, 1 << 64, size=count, dtype=np.uint64)


@cache
def _can_follow_torch(native: RowChooser | None) -> bool:
    """Say whether this build of torch draws the same numbers; some builds use the CPU vendor's library instead."""
    for seed in (1, 2**40 + 7):
        generator = torch.Generator()
        generator.manual_seed(seed)
        twister = _make_twister(generator)
        windows = None if native is None else native.open_windows(_read_key(generator), 1)
        for shape in ((1, 1), (2, 7), (1, 40_000), (3, 700)):
            drawn = torch.empty(shape).exponential_(1, generator=generator).flatten()
            if native is None or windows is None:
                words = twister(drawn.numel())
            else:
                native.move_on(windows, drawn.numel())
                words = native.see_words(windows, 0, drawn.numel())
            if not np.array_equal(_exponential(words).astype(np.float32), drawn.numpy()):
                return False
    return True


def _as_array(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()
