"""The native sampler: the functions of choosing.cpp, from rows of logits to tokens, and their random words."""

import ctypes
from array import array
from collections.abc import Mapping, Sequence
from ctypes import c_double, c_float, c_int, c_int32, c_int64, c_void_p
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

WINDOW_WORDS: Final = 624  # of a Mersenne twister
MAX_TOP_K: Final = 2**31 - 1  # ctypes would truncate a larger number
_SIGNATURES: Final[Mapping[str, tuple[Any, list[Any]]]] = {
    "native_create_chooser": (c_void_p, [c_int]),
    "native_choose": (c_int, [c_void_p, c_int, c_void_p, c_int, c_void_p, c_void_p, c_int]),
    "native_log_sums": (None, [c_void_p, c_void_p, c_int, c_int, c_void_p]),
    "native_maxima": (None, [c_void_p, c_void_p, c_int, c_int, c_void_p]),
    "native_draw_words": (c_int, [c_void_p, c_void_p, c_void_p, c_int64]),
}

Words = NDArray[np.uint64]
Windows = NDArray[np.uint32]


class ChoiceRow(ctypes.Structure):
    """The struct ChoiceRow of choosing.h; keep the fields equal."""

    _fields_: ClassVar[Sequence[Any]] = [
        *[(name, c_void_p) for name in ("seen", "banned", "allowed", "window")],
        ("removed_mass", c_double),
        ("min_p", c_double),
        ("penalty", c_float),
        ("temperature", c_float),
        *[(name, c_int32) for name in ("top_k", "num_banned", "num_allowed", "moves_on", "at", "token")],
        ("logprob", c_float),
    ]


class RowChooser:
    """Chooses tokens with the compiled library; its threads live as long as the process."""

    def __init__(self, library: Any, num_threads: int) -> None:
        """Start the threads. Raises MemoryError if that fails."""
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self._library = library
        self._chooser = library.native_create_chooser(max(1, num_threads))
        if not self._chooser:
            raise MemoryError

    def choose(self, logits: int, vocab_size: int, rows: Sequence[int], streams: Sequence[tuple[int, int]]) -> None:
        """Choose a token for each of `rows`, addresses of ChoiceRow structs that get the results. Raises MemoryError.

        `logits` is the address of float32 (…, vocab_size); a ChoiceRow uses row `at` of it. `streams` has the address
        of the windows and the number of rows of every request that samples; each advances by one step of draws.
        """
        addresses = array("Q", rows)
        facts = array("q", [value for stream in streams for value in stream])
        failed = self._library.native_choose(
            self._chooser,
            len(streams),
            facts.buffer_info()[0],
            len(rows),
            addresses.buffer_info()[0],
            logits,
            vocab_size,
        )
        if failed:
            raise MemoryError

    def find_log_sums(self, logits: int, num_rows: int, vocab_size: int, out: int) -> None:
        """Write log(sum(exp(logits))) of each row to `out`; both are addresses of float32.

        A result is not finite if a logit is NaN or infinity, or all are minus infinity. A row's result is
        bit-identical whatever the other rows, and is the one that `choose` subtracts from a logit.
        """
        self._library.native_log_sums(self._chooser, logits, num_rows, vocab_size, out)

    def find_maxima(self, logits: int, num_rows: int, vocab_size: int, out: int) -> None:
        """Write the largest logit of each row to `out` (NaN if any is NaN); arguments as for `find_log_sums`."""
        self._library.native_maxima(self._chooser, logits, num_rows, vocab_size, out)

    def open_windows(self, key: NDArray[np.uint32], num_rows: int) -> Windows:
        """Return the windows (num_rows + 1, WINDOW_WORDS) for a newly seeded twister's state `key` (WINDOW_WORDS,)."""
        windows = np.zeros((num_rows + 1, WINDOW_WORDS), np.uint32)
        self._draw(key, windows[num_rows], WINDOW_WORDS // 2)
        return windows

    def move_on(self, windows: Windows, vocab_size: int) -> None:
        """Advance all rows of a request by the draws of one step, as `choose` does."""
        windows[0] = windows[-1]
        for row in range(len(windows) - 1):
            self._draw(windows[row], windows[row + 1], vocab_size)

    def see_words(self, windows: Windows, row: int, vocab_size: int) -> Words:
        """Return the random words (vocab_size,) of one row in the windows' current step."""
        return self._draw(windows[row], np.empty(WINDOW_WORDS, np.uint32), vocab_size)

    def _draw(self, window: NDArray[np.uint32], behind: NDArray[np.uint32], count: int) -> Words:
        words = np.empty(count, np.uint64)
        if self._library.native_draw_words(window.ctypes.data, behind.ctypes.data, words.ctypes.data, count):
            raise MemoryError
        return words


def use_library(library: Any | None, num_threads: int = 1) -> None:
    """Use the compiled `library` for sampling from now on, unless one is in use already; None: use numpy again."""
    global _row_chooser  # noqa: PLW0603
    if library is None:
        _row_chooser = None
    elif _row_chooser is None:
        _row_chooser = RowChooser(library, num_threads)


def find_row_chooser() -> RowChooser | None:
    """Return this process's native sampler; None if there is no compiled library."""
    return _row_chooser


_row_chooser: RowChooser | None = None
