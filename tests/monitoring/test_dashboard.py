"""The dashboard for Grafana: it shows what the bot tells, and names nothing that the bot does not tell."""

import json
import re
from pathlib import Path
from typing import Any, Final

from bot.monitoring.declared import METRICS

_FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "grafana.json"
_LEFT_OUT: Final = {
    "fewshot_requests_total": "of python -m bot serve, not of the bot",
    "fewshot_open_requests": "of python -m bot serve, not of the bot",
    "fewshot_request_seconds": "of python -m bot serve, not of the bot",
    "fewshot_first_token_seconds": "of python -m bot serve, not of the bot",
}


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return read


def queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def sample_names() -> dict[str, str]:
    """Return the declared name of each name that a query may ask for."""
    names = {}
    for one in METRICS.values():
        suffixes = ("_bucket", "_sum", "_count") if one.kind == "histogram" else ("",)
        names.update({f"{one.name}{suffix}": one.name for suffix in suffixes})
    return names


def test_the_dashboard_names_declared_figures_only_and_leaves_none_out_without_a_reason() -> None:
    shown = set(re.findall(r"fewshot_\w+", " ".join(queries())))
    names = sample_names()
    assert shown <= names.keys()
    assert {names[one] for one in shown} | _LEFT_OUT.keys() == METRICS.keys()
    assert not {names[one] for one in shown} & _LEFT_OUT.keys()
    assert all(METRICS[one].where == "serve" for one in _LEFT_OUT)


def test_counters_are_asked_for_their_growth_and_histograms_for_shares_of_it() -> None:
    """A restart of the bot sets them to 0; only the restarts of the model are shown as they are, too."""
    for query in queries():
        for name in re.findall(r"fewshot_\w+", query):
            one = METRICS[sample_names()[name]]
            if one.kind == "histogram":
                assert re.search(rf"histogram_quantile\(.*\(rate\({name}\{{", query), query
            elif one.kind == "counter" and one.name != "fewshot_engine_restarts_total":
                assert re.search(rf"(rate|increase)\({name}\{{", query), query


def test_labels_in_the_dashboard_are_those_that_the_figures_have() -> None:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            (name,) = set(re.findall(r"fewshot_\w+", target["expr"]))
            grouped = re.search(r"by \(([^)]*)\)", target["expr"])
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            used |= set(grouped[1].split(", ")) if grouped else set()
            assert used - {"le"} <= set(METRICS[sample_names()[name]].labels), target["expr"]


def test_each_panel_has_a_unit_and_asks_the_source_that_the_reader_picks() -> None:
    shown = dashboard()
    assert [one["name"] for one in shown["templating"]["list"] if one["type"] == "datasource"] == ["datasource"]
    text, *others = shown["panels"]
    assert "docs/operating.md" in text["options"]["content"]
    for panel in others:
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert {one["datasource"]["uid"] for one in (panel, *panel["targets"])} == {"${datasource}"}


def test_no_panel_covers_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
