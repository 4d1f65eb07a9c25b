"""How many processors this process may use: its CPU affinity, and the quota of its control groups (containers)."""

import math
import os
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/proc/self/cgroup")
_ROOT: Final = Path("/sys/fs/cgroup")


def count_processors(*, groups: Path = _GROUPS, root: Path = _ROOT) -> int:
    """Return how many processors this process may use, at least 1; a quota of 1.5 processors counts as 2.

    `groups` names the process's control groups, whose files are below `root`.
    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html, cpu.max; version 1: cpu.cfs_quota_us.
    """
    present = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([present, *(math.ceil(quota) for quota in _quotas(groups, root))]))


def _quotas(groups: Path, root: Path) -> list[float]:
    """Return the quota, in processors, of each control group that this process is in and that has one."""
    try:
        lines = groups.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    quotas = []
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / controllers if controllers else root
        # A quota of an outer group holds for the inner ones. In a container, only the innermost files may be visible.
        inner = base / path.strip("/")
        for folder in {base, inner, *(outer for outer in inner.parents if base in outer.parents)}:
            quota = _read_quota(folder, is_first_version=bool(controllers))
            if quota is not None:
                quotas.append(quota)
    return quotas


def _read_quota(folder: Path, *, is_first_version: bool) -> float | None:
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if is_first_version else ("cpu.max",)
    try:
        quota, period = " ".join((folder / name).read_text(encoding="utf-8") for name in names).split()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max", which is no limit
        return None
