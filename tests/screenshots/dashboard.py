"""docs/grafana.json drawn as a page: its panels, with what a Prometheus has of a bot that it watched."""

import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import urlopen

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "grafana.json"
_COLOURS: Final = ("#3b78c2", "#d9822b", "#3a9a5b", "#8e5bb5", "#c23b4e", "#2a9aa8", "#7a6a53")
_LEVELS: Final = {"green": "#3a9a5b", "yellow": "#c98a12", "red": "#c23b4e"}
_WIDE, _HIGH, _LEFT = 384, 140, 46
_STEP_S: Final = 2
_WINDOW: Final = "15s"
_STYLE: Final = """<style>
body { margin: 0; background: #f4f5f7; color: #2b2d31; font: 13px/1.4 "Liberation Sans", Arial, sans-serif; }
main { display: grid; grid-template-columns: repeat(24, 1fr); gap: 8px; padding: 12px; }
section { background: #fff; border: 1px solid #dcdfe4; border-radius: 3px; padding: 8px 10px; }
h2 { font-size: 13px; margin: 0 0 6px; } b { font-size: 26px; } .key { margin-right: 12px; white-space: nowrap; }
code { font: 12px "DejaVu Sans Mono", monospace; } text { font-size: 10px; fill: #6b6f78; } svg { width: 100%; }
</style>"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel: its name, and its times and values."""

    name: str
    points: tuple[tuple[float, float], ...]


def read_lines(prometheus: str, end: float, length_s: float) -> Callable[[dict[str, Any]], list[Line]]:
    """Return what asks `prometheus` for a target of a panel, from `length_s` seconds before `end` on."""

    def ask(target: dict[str, Any]) -> list[Line]:
        query = target["expr"].replace("$instance", ".*").replace("$__rate_interval", _WINDOW)
        asked = urlencode({"query": query, "start": end - length_s, "end": end, "step": _STEP_S})
        with urlopen(f"{prometheus}/api/v1/query_range?{asked}", timeout=30) as answer:
            found = json.load(answer)["data"]["result"]
        return [Line(_name(target["legendFormat"], one["metric"]), _points(one["values"])) for one in found]

    return ask


def _name(pattern: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), pattern)


def _points(values: Sequence[tuple[float, str]]) -> tuple[tuple[float, float], ...]:
    return tuple((at, float(value)) for at, value in values if value != "NaN")


def dashboard_page(ask: Callable[[dict[str, Any]], list[Line]]) -> str:
    """Return the dashboard's page; `ask` gives the lines of a target."""
    panels = json.loads(FILE.read_text(encoding="utf-8"))["panels"]
    return f"{_STYLE}<main>{''.join(_panel(panel, ask) for panel in panels)}</main>"


def _panel(panel: dict[str, Any], ask: Callable[[dict[str, Any]], list[Line]]) -> str:
    if panel["type"] == "text":
        body = re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(panel["options"]["content"]).replace("**", ""))
    else:
        lines = [line for target in panel["targets"] for line in ask(target) if line.points]
        field = panel["fieldConfig"]["defaults"]
        show = _latest if panel["type"] == "stat" else _graph
        body = f"<h2>{html.escape(panel['title'])}</h2>" + (show(lines, field) if lines else "No data")
    return f'<section style="grid-column: span {panel["gridPos"]["w"]}">{body}</section>'


def _latest(lines: list[Line], field: dict[str, Any]) -> str:
    value = lines[0].points[-1][1]
    texts = {key: text["text"] for one in field.get("mappings", ()) for key, text in one["options"].items()}
    colour = [
        step["color"] for step in field["thresholds"]["steps"] if step["value"] is None or value >= step["value"]
    ][-1]
    shown = texts.get(f"{value:g}") or format_value(
        round(value) if field.get("decimals") == 0 else value, field["unit"]
    )
    return f'<b style="color: {_LEVELS[colour]}">{html.escape(shown)}</b>'


def _graph(lines: list[Line], field: dict[str, Any]) -> str:
    is_stacked = field["custom"]["stacking"]["mode"] == "normal"
    if is_stacked:
        lines = _stacked(lines)
    begin = min(at for line in lines for at, _ in line.points)
    length = max(at for line in lines for at, _ in line.points) - begin or 1.0
    top = max(value for line in lines for _, value in line.points) or 1.0
    marks = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDE}" y1="{y}" y2="{y}" stroke="#e6e8eb"/><text x="0" y="{y + 4}">{text}</text>'
        for y, text in (
            (_HIGH - 10 - share * (_HIGH - 20), format_value(top * share, field["unit"])) for share in (0, 0.5, 1)
        )
    )
    drawn = keys = ""
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(
            f"{_LEFT + (at - begin) / length * (_WIDE - _LEFT):.1f},{_HIGH - 10 - value / top * (_HIGH - 20):.1f}"
            for at, value in line.points
        )
        shape = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        if is_stacked:
            ends = [_LEFT + (at - begin) / length * (_WIDE - _LEFT) for at, _ in (line.points[0], line.points[-1])]
            shape = f'<polygon points="{ends[0]:.1f},{_HIGH - 10} {path} {ends[1]:.1f},{_HIGH - 10}" fill="{colour}"/>'
        drawn = shape + drawn  # the first on top, so that of a stack each shows its own part
        keys += f'<span class="key"><span style="color: {colour}">■</span> {html.escape(line.name)}</span>'
    return f'<svg viewBox="0 0 {_WIDE} {_HIGH}">{marks}{drawn}</svg><div>{keys}</div>'


def _stacked(lines: list[Line]) -> list[Line]:
    """Return each line on top of those before it."""
    below: dict[float, float] = {}
    stacked = []
    for line in lines:
        below |= {at: below.get(at, 0.0) + value for at, value in line.points}
        stacked.append(Line(line.name, tuple((at, below[at]) for at, _ in line.points)))
    return stacked


def format_value(value: float, unit: str) -> str:
    """Return `value` in Grafana's unit, shortly."""
    if unit == "bytes":
        return f"{value / 2**20:.1f} MiB"
    if unit == "s":
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 120 else f"{value / 60:.0f} min"
    return f"{value:.3g}" + (" / min" if unit == "cpm" else "")
