"""Texts of all kinds through the parsers, in the quick form; the full form is `make soak PART=parsing`."""

from pathlib import Path

from tests.soak.parsing import MAX_MEMORY_RATIO, MAX_MS, run_parsing

PROMPTS = Path(__file__).parents[2] / "prompts"


def test_no_text_breaks_a_parser_or_takes_long() -> None:
    done = run_parsing(4000, 7, PROMPTS)
    assert done.problems == []
    assert done.num_accepted > 100
    assert done.worst_ms < MAX_MS
    assert done.worst_memory_ratio < MAX_MEMORY_RATIO
