"""Run the benchmark. `make bench` is the full form, `make bench-quick` the one that shows that all of it works."""

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs

from benchmarks.bandwidth import measure_bandwidth
from benchmarks.bench import ENGINES, Bench, Machine
from benchmarks.cases import CASES
from benchmarks.machine import describe_commit, machine_name
from benchmarks.models import GPT2, SMOLLM2, TINY, prepare_model
from benchmarks.report import format_report
from benchmarks.rows import Row, write_rows
from benchmarks.workers import Progress, WorkerError, run_apart
from benchmarks.workloads import Sizes


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this engine beside its peers. Rows go to the file named by BENCH_JSON, tables to stdout.",
    )
    parser.add_argument("--quick", action="store_true", help="one short round of each case, under two minutes")
    parser.add_argument("--model", action="append", help=f"{SMOLLM2}, {GPT2}, {TINY} or a folder; may be repeated")
    parser.add_argument("--case", action="append", choices=CASES, help="only these cases; may be repeated")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="only these engines; may be repeated")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:N or mps")
    parser.add_argument("--precision", default="auto", help="of this engine; auto takes the mode that it admits")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each engine on the processor")
    parser.add_argument("--cache-dir", type=Path, default=Path(platformdirs.user_cache_dir("fewshot")) / "benchmarks")
    chosen = parser.parse_args(arguments)
    chosen.model = chosen.model or ([TINY] if chosen.quick else [SMOLLM2, GPT2])
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return the exit status, 1 where this engine or transformers failed in a case."""
    chosen = parse_arguments(arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"  # for the processes of the engines, before they import anything
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    sizes = Sizes.quick() if chosen.quick else Sizes()
    progress = Progress()
    machine = Machine(chosen.device, chosen.threads)
    facts = describe_run(machine, is_quick=chosen.quick)
    target = os.environ.get("BENCH_JSON")
    rows: list[Row] = []
    failures: list[str] = []

    def keep(new: Sequence[Row]) -> None:
        rows.extend(new)
        if target:
            write_rows(new, Path(target), facts)

    progress.show("memory bandwidth")
    speeds = run_apart(measure_bandwidth, machine.device, machine.num_threads, sizes.rounds)
    keep([Row("", "bandwidth", "memory", "GB/s", tuple(speeds))])
    precision = chosen.precision
    for model in chosen.model:
        try:
            folder = run_apart(prepare_model, model, chosen.cache_dir)
        except WorkerError as e:
            progress.note(str(e))
            failures.append(str(e))
            continue
        bench = Bench(
            Path(model).name,
            folder,
            chosen.cache_dir,
            machine,
            precision,
            chosen.engine or ENGINES,
            sizes,
            progress,
            failures,
            bandwidth=max(speeds),
        )
        with bench:
            for name in chosen.case or CASES:
                keep(list(CASES[name][1](bench)))
            if model == SMOLLM2:  # random weights say nothing about quality: they run in the mode that this one admits
                precision = bench.chosen_precision
    progress.note("done")
    sys.stdout.write(format_report([{**row.to_dict(), **facts} for row in rows]))
    return 1 if failures else 0


def describe_run(machine: Machine, *, is_quick: bool) -> dict[str, Any]:
    """Return what is written into every row: machine, versions, commit, date."""
    return {
        "device": machine.device,
        "machine": machine_name(),
        "threads": machine.num_threads,
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
        "commit": describe_commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "is_quick": is_quick,
    }


if __name__ == "__main__":
    sys.exit(main())
