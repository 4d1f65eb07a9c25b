"""The quick form of the benchmark gives every case, on a tiny model, and its rows become tables."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import CASES, answer_in_turn
from benchmarks.report import format_report
from benchmarks.rows import Row, percentile, read_rows, write_rows
from benchmarks.workloads import FEW_SHOT, Question, Workload, read_shipped_template
from tests.tiny_models import make_tiny_gpt2

PROJECT = Path(__file__).resolve().parent.parent
ASKED_FOR = {
    "decode-1",
    "serve-8",
    "serve-32",
    "longer-5",
    "ttft-cold-512",
    "ttft-warm-512",
    "ttft-while-scoring",
    "score-1024",
    "classify-4",
    "loop-lag-p99",
    "start",
    "peak-memory",
}


def of_a_run(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test of the rows: a dozen processes that import torch, on a machine that may be busy."""
    return pytest.mark.benchmark(pytest.mark.timeout(600)(test))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run the quick form on a tiny model, without peers, and return its rows."""
    folder = tmp_path_factory.mktemp("bench")
    target = folder / "rows.jsonl"
    options = ["--model", "tiny", "--engine", "transformers", "--engine", "fewshot"]
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", *options, "--cache-dir", str(folder)],
        cwd=PROJECT,
        env={**os.environ, "BENCH_JSON": str(target)},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "| tiny" in finished.stdout
    return [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]


@of_a_run
def test_the_quick_form_gives_every_case_of_this_engine(rows: list[dict[str, Any]]) -> None:
    assert {row["case"] for row in rows if row["engine"] == "fewshot"} >= ASKED_FOR
    assert {row["case"] for row in rows} >= {case for cases, _ in CASES.values() for case in cases}


@of_a_run
def test_each_row_says_what_was_measured_and_on_what(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert {"model", "case", "engine", "value", "unit", "ratio", "min", "max", "rounds"} <= row.keys()
        assert {"machine", "device", "threads", "versions", "commit", "date", "is_quick"} <= row.keys()
        assert row["min"] <= row["value"] <= row["max"]
        assert row["rounds"] >= 1
        assert row["value"] > 0 or row["case"] in ("loop-lag-p99", "start")  # on a noisy machine a difference may be 0


@of_a_run
def test_ratios_are_to_transformers_in_the_same_run(rows: list[dict[str, Any]]) -> None:
    of = {(row["case"], row["engine"]): row for row in rows}
    for case in ("decode-1", "serve-8", "serve-32", "score-1024"):
        ours, theirs = of[case, "fewshot"], of[case, "transformers"]
        assert theirs["ratio"] == 1
        assert ours["ratio"] == pytest.approx(ours["value"] / theirs["value"], rel=1e-3)
    for case in ("serve-8-answer", "classify-4", "peak-memory"):
        ours, theirs = of[case, "fewshot"], of[case, "transformers"]
        assert ours["ratio"] == pytest.approx(theirs["value"] / ours["value"], rel=1e-3)
    warm, cold = of["ttft-warm-512", "fewshot"], of["ttft-cold-512", "transformers"]
    assert warm["ratio"] == pytest.approx(cold["value"] / warm["value"], rel=1e-3)


@of_a_run
def test_the_wait_while_a_text_is_scored_is_given_beside_the_idle_one(rows: list[dict[str, Any]]) -> None:
    (row,) = (row for row in rows if row["case"] == "ttft-while-scoring")
    assert row["engine"] == "fewshot"
    assert row["extra_ms"] == pytest.approx(row["value"] - row["idle_ms"], abs=0.2)
    assert row["max_ms"] >= row["p95_ms"] > 0
    assert row["num_arrivals"] >= 1


@of_a_run
def test_longer_is_measured_against_drawing_as_many_tokens(rows: list[dict[str, Any]]) -> None:
    (row,) = (row for row in rows if row["case"] == "longer-5")
    assert row["unit"] == "×"
    assert row["draw_ms"] > 0
    assert row["extend_ms"] > 0


def test_rows_become_tables_and_the_last_of_each_kind_counts(tmp_path: Path) -> None:
    target = tmp_path / "rows.jsonl"
    facts = {"machine": "a machine", "threads": 2, "device": "cpu", "commit": "abc", "date": "2026-11-24"}
    write_rows([Row("m", "decode-1", "fewshot", "tok/s", (1.0,), 10.0)], target, facts)
    write_rows(
        [
            Row("m", "decode-1", "transformers", "tok/s", (9.0, 10.0, 12.0), 10.0, {"precision": "float32"}),
            Row("m", "decode-1", "fewshot", "tok/s", (50.0,), 10.0, {"precision": "int8"}),
            Row("m", "ttft-cold-512", "fewshot", "ms", (20.0,), 100.0),
        ],
        target,
        facts,
    )
    text = format_report(read_rows(target))
    assert "a machine, 2 threads" in text
    assert "| transformers float32 | fewshot int8 |" in text
    assert "| 10                   | 50 (5×)      |" in text
    assert "20 (5×)" in text


def test_a_bot_that_answers_in_turn_makes_people_wait_for_each_other() -> None:
    questions = [Question("", (), 5, arrival_s=arrival) for arrival in (0.0, 1.0, 10.0)]
    answers = answer_in_turn(questions, [3.0, 2.0])
    assert [answer.duration_s for answer in answers] == [3.0, 4.0, 3.0]
    assert [answer.ended_s for answer in answers] == [3.0, 5.0, 13.0]


def test_questions_have_exactly_the_tokens_asked_for_and_no_two_begin_alike(tmp_path: Path) -> None:
    workload = Workload(make_tiny_gpt2(tmp_path))
    assert [len(workload.question(num, 1).ids) for num in (4, 64, 1024)] == [4, 64, 1024]
    prefix = workload.prefix()
    first, second = (workload.question(16, 1, after=prefix) for _ in range(2))
    assert first.ids[:512] == second.ids[:512]
    assert len(first.ids) == 528
    assert first.text != second.text
    assert len({question.ids[:16] for question in workload.conversations(32)}) == 32


def test_the_few_shot_templates_are_there() -> None:
    assert all(read_shipped_template(name).tests for name in FEW_SHOT)


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0
    assert percentile([], 99) == 0.0
