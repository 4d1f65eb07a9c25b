"""What a run found out: figures, the bounds that they are held against, and the table of both."""

import operator
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.servers.discord import Discord

Say = Callable[[str], None]

_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    "≤": operator.le,
    "≥": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One number; `bound` is like `= 0` or `< 500`, or empty where there is none."""

    name: str
    value: float
    bound: str = ""
    unit: str = ""

    @property
    def is_met(self) -> bool:
        if not self.bound:
            return True
        sign, limit = self.bound.split()
        return _COMPARISONS[sign](self.value, float(limit))

    @property
    def cells(self) -> tuple[str, str, str]:
        value = f"{self.value:,.0f}" if float(self.value).is_integer() else f"{self.value:,.2f}"
        unit = f" {self.unit}" if self.unit else ""
        verdict = "" if self.is_met else " **broken**"
        return self.name, value + unit, self.bound + (unit if self.bound else "") + verdict


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one run, and a few sentences about what broke a bound."""

    title: str
    figures: tuple[Figure, ...]
    problems: tuple[str, ...] = ()

    @property
    def is_met(self) -> bool:
        return all(figure.is_met for figure in self.figures)

    def check(self) -> None:
        """Raise AssertionError where a bound is broken."""
        broken = [
            f"{figure.name}: {figure.value:g}, not {figure.bound}" for figure in self.figures if not figure.is_met
        ]
        if broken:
            raise AssertionError("\n".join((self.title, *broken, *self.problems)))


def rules_kept(discord: Discord) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Return the figures that every run has, and what was wrong."""
    pings = [sentence for sentence in discord.violations if "allowed_mentions" in sentence]
    others = [sentence for sentence in discord.violations if "allowed_mentions" not in sentence]
    is_validated = discord.validate is not None
    figures = [
        Figure("limits of Discord broken", len(others), "= 0"),
        Figure("bodies that could ping", len(pings), "= 0"),
    ]
    figures += [Figure("bodies against Discord's schema", len(discord.schema_errors), "= 0")] if is_validated else []
    counted = Counter(re.sub(r"\d+", "N", sentence) for sentence in [*discord.violations, *discord.schema_errors])
    return tuple(figures), tuple(f"{num} × {sentence}" for sentence, num in counted.most_common(5))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that `share` of them do not exceed."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = -(-len(ordered) * int(share * 1000) // 1000)
    return ordered[max(0, rank - 1)]


def format_table(runs: Sequence[Run]) -> str:
    """Return all figures as one table in Markdown."""
    rows = [("", "figure", "bound")]
    for run in runs:
        rows.append((f"**{run.title}**", "", ""))
        rows += [figure.cells for figure in run.figures]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def describe_machine() -> str:
    """Return the date, the machine and the commit that figures belong to."""
    found = re.search(r"^model name\s*: (.*)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    processor = found[1] if found else platform.processor() or platform.machine()
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return f"{datetime.now(UTC):%Y-%m-%d}, {processor}, Python {platform.python_version()}, commit {commit}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
