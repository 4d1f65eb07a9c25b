"""A run's rows as tables in Markdown, for the README. Run: python -m benchmarks.report FILE"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.rows import read_rows

# In this order; engines that are not listed come last.
_ENGINES: Final = (
    "transformers",
    "transformers-batched",
    "transformers-bfloat16",
    "fewshot",
    "fewshot-float32",
    "ctranslate2-int8",
    "llama.cpp-q8_0",
)
_MEANINGS: Final = {
    "decode-1": "one stream, 64 + 64 tokens",
    "decode-1-fewshot": "one stream, few-shot templates",
    "serve-8": "8 conversations at once",
    "serve-8-answer": "… mean time to a whole answer",
    "serve-8-arriving": "8 at random times, mean time to a whole answer",
    "serve-32": "32 conversations at once",
    "serve-32-answer": "… mean time to a whole answer",
    "serve-32-arriving": "32 at random times, mean time to a whole answer",
    "longer-5": "five continuations extended by 32 tokens, to drawing as many",
    "ttft-cold-512": "first token, 512-token prefix unseen",
    "ttft-warm-512": "first token, prefix seen before",
    "score-1024": "scoring 1,024 tokens, float32",
    "classify-4": "four labels, 256-token prompt, float32",
    "ttft-idle-64": "first token, 64-token prompt, idle",
    "ttft-while-scoring": "… while 10,000 tokens are scored",
    "ttft-while-scoring-p95": "… of which p95",
    "loop-lag-p99": "event loop late by, 16 answers running, p99",
    "accept-p99": "a new question accepted after, p99",
    "start": "start to ready beyond the import",
    "peak-memory": "peak memory, 8 conversations",
}
_LIMIT: Final = "limit-1"
_BANDWIDTH: Final = "bandwidth"


def format_report(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return `rows` as Markdown: what ran where, then a table for each model."""
    if not rows:
        return "No rows.\n"
    models = dict.fromkeys(row["model"] for row in rows if row["case"] != _BANDWIDTH)
    tables = (_format_model(model, [row for row in rows if row["model"] == model]) for model in models)
    return "\n\n".join((_describe_run(rows), *tables)) + "\n"


def _describe_run(rows: Sequence[Mapping[str, Any]]) -> str:
    last = rows[-1]
    speed = [f"{row['value']:.1f} GB/s of memory bandwidth" for row in rows if row["case"] == _BANDWIDTH]
    facts = [str(last.get("machine", "")), f"{last.get('threads')} threads", *speed, f"device {last.get('device')}"]
    facts += [f"{name} {version}" for name, version in last.get("versions", {}).items()]
    facts += [str(last.get("date", "")), f"commit {last.get('commit')}"]
    quick = " (the quick form: it shows that all works, not how fast it is)" if last.get("is_quick") else ""
    return (
        f"{', '.join(fact for fact in facts if fact)}{quick}. Medians of interleaved rounds; in brackets how many "
        "times as fast as transformers' generate in the same run (as small, for memory): more is better everywhere."
    )


def _format_model(model: str, rows: Sequence[Mapping[str, Any]]) -> str:
    measured = [row for row in rows if row["case"] not in (_LIMIT, _BANDWIDTH)]
    engines = sorted({row["engine"] for row in measured}, key=_rank)
    cells = {(row["case"], row["engine"]): row for row in measured}
    names = {engine: _name_of(engine, measured) for engine in engines}
    table = [[model, "unit", *(names[engine] for engine in engines)]]
    for case in dict.fromkeys(row["case"] for row in measured):
        unit = next(row["unit"] for row in measured if row["case"] == case)
        found = [cells.get((case, engine)) for engine in engines]
        title = f"`{case}` {_MEANINGS.get(case, '')}".strip()
        table.append([title, unit, *("" if row is None else _format_cell(row) for row in found)])
    text = _align(table)
    limits = [f"{row['engine']} {row['value']:.0f}" for row in rows if row["case"] == _LIMIT]
    return text + (f"\n\nMemory bandwidth allows one stream, in tok/s: {', '.join(limits)}." if limits else "")


def _rank(engine: str) -> tuple[int, str]:
    return (_ENGINES.index(engine) if engine in _ENGINES else len(_ENGINES), engine)


def _name_of(engine: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the engine's name with the precision of its single stream, where the name does not tell it."""
    precisions = [row.get("precision") for row in rows if row["engine"] == engine and row["case"].startswith("decode")]
    if not precisions or not precisions[0] or str(precisions[0]) in engine:
        return engine
    return f"{engine} {precisions[0]}"


def _format_cell(row: Mapping[str, Any]) -> str:
    ratio = row.get("ratio")
    value = f"{row['value']:,.0f}" if row["value"] >= 100 else f"{row['value']:.3g}"
    return value if ratio is None or row["engine"] == "transformers" else f"{value} ({ratio:.3g}×)"


def _align(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def main() -> None:
    """Print the tables of the file that is named."""
    if len(sys.argv) != 2:
        raise SystemExit("Usage: python -m benchmarks.report FILE")
    sys.stdout.write(format_report(read_rows(Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
