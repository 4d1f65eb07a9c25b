"""What a run writes down: one row of figures per case and engine, as JSON lines."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

# Units of which less is better; of all others more is.
LESS_IS_BETTER: Final = frozenset({"s", "ms", "MB", "×"})


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: `value` in `unit`, the median of `values`.

    `ratio` says how many times as good as transformers' generate in the same run it is: times as fast, for times and
    rates alike, or times as small, for memory. Above 1 is better everywhere; None where transformers has no such
    figure. `more` holds further facts, each a key of the JSON row.
    """

    model: str
    case: str
    engine: str
    unit: str
    values: tuple[float, ...]
    baseline: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Return the median."""
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """Return how many times as good as the baseline the value is."""
        if self.baseline is None or not self.baseline or not self.value:
            return None
        return self.baseline / self.value if self.unit in LESS_IS_BETTER else self.value / self.baseline

    def to_dict(self) -> dict[str, Any]:
        """Return the row as it is written."""
        ratio = self.ratio
        return {
            "model": self.model,
            "case": self.case,
            "engine": self.engine,
            "value": _rounded(self.value),
            "unit": self.unit,
            "ratio": None if ratio is None else _rounded(ratio),
            "min": _rounded(min(self.values)),
            "max": _rounded(max(self.values)),
            "rounds": len(self.values),
            **self.more,
        }


def write_rows(rows: Iterable[Row], path: Path, facts: Mapping[str, Any]) -> None:
    """Append `rows` to the file, one JSON object a line, each with the `facts` of the run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({**row.to_dict(), **facts}, ensure_ascii=False) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file, the last one of each model, case and engine, in the order of their first writing."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            row = json.loads(line)
            rows[row["model"], row["case"], row["engine"]] = row
    return list(rows.values())


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which `percent` of all lie, 0 without any."""
    in_order = sorted(values)
    return in_order[min(len(in_order) - 1, int(len(in_order) * percent / 100))] if in_order else 0.0


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
