"""How many processors a process may use: affinity and the quotas of control groups."""

import os
from pathlib import Path

import pytest

from bot.engine.processors import count_processors

PRESENT = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count(folder: Path, groups: str, files: dict[str, str]) -> int:
    (folder / "groups").write_text(groups)
    for name, text in files.items():
        path = folder / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return count_processors(groups=folder / "groups", root=folder / "root")


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", {}, None),
        ("", {"cpu.max": "100000 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "100000 100000\n"}, 1),
        ("0::/../../not-here\n", {"cpu.max": "100000 100000\n"}, 1),
        ("1:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "50000\n", "cpu/x/cpu.cfs_period_us": "50000\n"}, 1),
        ("1:cpu,cpuacct:/\n", {"cpu,cpuacct/cpu.cfs_quota_us": "5\n", "cpu,cpuacct/cpu.cfs_period_us": "10\n"}, 1),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "50000\n"}, None),
        ("1:memory:/\n", {"memory/cpu.max": "100000 100000\n"}, None),
    ],
)
def test_a_quota_of_the_own_or_an_outer_group_limits_the_processors(
    tmp_path: Path, groups: str, files: dict[str, str], quota: int | None
) -> None:
    assert count(tmp_path, groups, files) == min(PRESENT, quota or PRESENT)


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert count_processors(groups=tmp_path / "none", root=tmp_path) == PRESENT


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_on_one_processor_counts_one() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert count_processors() == 1
    finally:
        os.sched_setaffinity(0, before)
