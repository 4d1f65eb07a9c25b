"""Measure how long the bot takes from its start to its first answer, beside the bare import of its libraries.

Run: python benchmarks/start.py [RUNS]. The model of the setting MODEL must be here already. The two are run in turn, so
that both see the same machine; printed are medians and the median of the differences, in seconds.
"""

import platform
import statistics
import subprocess
import sys
import time

IMPORT = [sys.executable, "-c", "import torch, transformers; print('imported', flush=True)"]
START = [sys.executable, "-m", "bot", "terminal"]


def seconds(command: list[str], typed: bytes) -> float:
    """Return how long `command`, given `typed` as its standard input, takes to its first line of output."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the program has no pipes")
        process.stdin.write(typed)
        process.stdin.close()
        if not process.stdout.readline():
            raise SystemExit(f"{command[-1]} said nothing; is the model here? python -m bot model pull")
        duration = time.perf_counter() - started
        process.stdout.read()
    return duration


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
        f"start to the answer of !help  {statistics.median(starts):6.2f} s\n"
        f"beyond the import             {statistics.median(beyond):6.2f} s"
        f" (from {min(beyond):.2f} to {max(beyond):.2f})\n"
    )


if __name__ == "__main__":
    main()
