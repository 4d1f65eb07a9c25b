"""Measure how long the bot takes from its start to its first answer, beside the bare import of its libraries.

Run: python benchmarks/start.py [RUNS]. The model of the setting MODEL must be here already. All are run in turn, so
that they see the same machine; printed are medians and the median of the differences, in seconds.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

IMPORT = [sys.executable, "-c", "import torch, transformers; print('imported', flush=True)"]
START = [sys.executable, "-m", "bot", "terminal"]
LOAD = """
import sys, torch, transformers
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], local_files_only=True)
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1], local_files_only=True)
print('loaded', flush=True)
"""


@dataclass(frozen=True, slots=True)
class StartTimes:
    """Seconds of each run: the bare import, transformers with the model loaded, the bot ready."""

    import_s: list[float]
    load_s: list[float]
    start_s: list[float]

    @property
    def load_beyond_s(self) -> list[float]:
        """Return what loading the model adds to the import, by run."""
        return [loaded - imported for imported, loaded in zip(self.import_s, self.load_s, strict=False)]

    @property
    def start_beyond_s(self) -> list[float]:
        """Return what the bot adds to the import, by run."""
        return [started - imported for imported, started in zip(self.import_s, self.start_s, strict=True)]


def seconds(command: Sequence[str], typed: bytes, environment: Mapping[str, str] | None = None) -> float:
    """Return how long `command`, given `typed` as its standard input, takes to its first line of output."""
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=None if environment is None else {**os.environ, **environment},
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the program has no pipes")
        process.stdin.write(typed)
        process.stdin.close()
        if not process.stdout.readline():
            raise SystemExit(f"{command[-1]} said nothing; is the model here? python -m bot model pull")
        duration = time.perf_counter() - started
        process.stdout.read()
    return duration


def measure_start(
    num_runs: int,
    *,
    model: str,
    settings: Mapping[str, str],
    progress: Callable[[int], None],
    is_cold_counted: bool = False,
) -> StartTimes:
    """Start the bot with the model in the folder `model`, `num_runs` times in turn with the bare import and load.

    A first run, which fills the file cache, is not counted, unless `is_cold_counted`: then it is not made.
    """
    load = [sys.executable, "-c", LOAD, model]
    times = StartTimes([], [], [])
    with tempfile.TemporaryDirectory() as folder:
        environment = {**settings, "MODEL": model, "DATABASE": str(Path(folder) / "start.db"), "HF_HUB_OFFLINE": "1"}
        for run in range(int(is_cold_counted), num_runs + 1):
            progress(run)
            measured = (seconds(IMPORT, b""), seconds(load, b"", environment), seconds(START, b"!help\n", environment))
            if run:
                for kept, duration in zip((times.import_s, times.load_s, times.start_s), measured, strict=True):
                    kept.append(duration)
    return times


def main() -> None:
    """Print the figures."""
    num_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    seconds(IMPORT, b"")
    seconds(START, b"!help\n")
    times = StartTimes([], [], [])
    for run in range(num_runs):
        times.import_s.append(seconds(IMPORT, b""))
        times.start_s.append(seconds(START, b"!help\n"))
        sys.stderr.write(f"\r{run + 1} of {num_runs} runs")
    sys.stderr.write("\n")
    beyond = times.start_beyond_s
    sys.stdout.write(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {num_runs} runs\n"
        f"import torch, transformers    {statistics.median(times.import_s):6.2f} s\n"
        f"start to the answer of !help  {statistics.median(times.start_s):6.2f} s\n"
        f"beyond the import             {statistics.median(beyond):6.2f} s"
        f" (from {min(beyond):.2f} to {max(beyond):.2f})\n"
    )


if __name__ == "__main__":
    main()
