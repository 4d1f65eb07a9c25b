"""Measure how long the bot takes from its start to its first answer, beside the bare import of its libraries.

Run: python benchmarks/start.py [RUNS]. The model of the setting MODEL must be here already. The two are run in turn, so
that both see the same machine; printed are medians and the median of the differences, in seconds.
"""

import platform
import statistics
import subprocess
import sys
import time

IMPORT = [sys.executable, "-c", "import torch, transformers"]
START = [sys.executable, "-m", "bot", "terminal"]


def seconds(command: list[str], typed: bytes) -> float:
    """Return how long `command` runs with `typed` as its standard input."""
    started = time.perf_counter()
    subprocess.run(command, input=typed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Print the figures."""
    num_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    seconds(IMPORT, b"")
    seconds(START, b"!help\n")
    imports, starts = [], []
    for run in range(num_runs):
        imports.append(seconds(IMPORT, b""))
        starts.append(seconds(START, b"!help\n"))
        sys.stderr.write(f"\r{run + 1} of {num_runs} runs")
    sys.stderr.write("\n")
    beyond = [start - imported for imported, start in zip(imports, starts, strict=True)]
    sys.stdout.write(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {num_runs} runs\n"
        f"import torch, transformers    {statistics.median(imports):6.2f} s\n"
        f"start, one !help, end         {statistics.median(starts):6.2f} s\n"
        f"beyond the import             {statistics.median(beyond):6.2f} s"
        f" (from {min(beyond):.2f} to {max(beyond):.2f})\n"
    )


if __name__ == "__main__":
    main()
