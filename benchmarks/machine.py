"""The machine and the commit that figures are of."""

import platform
import subprocess
from pathlib import Path


def machine_name() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()


def describe_commit() -> str:
    """Return the short id of the commit, with -dirty behind it where files differ."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parent,
        )
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"
