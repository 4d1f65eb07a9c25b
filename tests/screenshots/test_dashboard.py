"""The picture of the dashboard: each panel is on it, with the values that Prometheus gave. No browser is started."""

import json

import pytest

from tests.screenshots.dashboard import FILE, Line, dashboard_page, format_value


def test_each_panel_is_drawn_and_one_without_values_says_so() -> None:
    page = dashboard_page(lambda target: [Line("here & now", ((0.0, 1.0), (2.0, 2.0)))])
    panels = json.loads(FILE.read_text(encoding="utf-8"))["panels"]
    assert page.count("<section") == len(panels)
    assert page.count("<svg") == sum(panel["type"] == "timeseries" for panel in panels)
    assert "here &amp; now" in page
    assert dashboard_page(lambda target: []).count("No data") == len(panels) - 1


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.031, "s", "31 ms"),
        (7.25, "s", "7.2 s"),
        (7200, "s", "120 min"),
        (2**20, "bytes", "1.0 MiB"),
        (3, "cpm", "3 / min"),
    ],
)
def test_values_have_their_units(value: float, unit: str, shown: str) -> None:
    assert format_value(value, unit) == shown
