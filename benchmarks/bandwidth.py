"""How fast this machine reads memory: what bounds one stream of any engine."""

import time
from collections.abc import Mapping
from typing import Final

BYTES_PER_WEIGHT: Final[Mapping[str, float]] = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
_NUM_VALUES: Final = 1 << 27  # 512 MiB of float32: far more than any cache


def measure_bandwidth(device: str, num_threads: int, rounds: int) -> list[float]:
    """Return how many GB (10^9 bytes) were read in a second, once per round. Imports torch.

    The sum of a long vector: one addition for each value read, with all threads.
    """
    import torch

    torch.set_num_threads(num_threads)
    is_cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    place = torch.device("cuda" if is_cuda else "cpu")
    values = torch.ones(_NUM_VALUES, device=place)
    figures = []
    for _ in range(rounds):
        durations = []
        for _ in range(10):
            started = time.perf_counter()
            float(values.sum())
            durations.append(time.perf_counter() - started)
        figures.append(values.nbytes / min(durations) / 1e9)  # a limit: the best that was seen
    return figures
