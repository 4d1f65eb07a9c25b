"""The files with which the bot is installed elsewhere: the lock, the unit of systemd and the container's recipe."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "docs/fewshot.service"
LOCK = (ROOT / "requirements.lock").read_text()
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
EXTRAS = ("dev", "slack", "openai", "serve", "metrics", "postgres")
# They say where the system's own parts find the bot's files, not what the bot does.
NOT_SETTINGS = {"HOME", "PATH", "XDG_CACHE_HOME", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


def pinned(text: str) -> dict[str, str]:
    """Return the version of each package that a requirements file pins, without what a build adds to it."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\+]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    constraints = pinned(CONSTRAINTS)
    assert {name: constraints.get(name) for name in pinned(LOCK)} == pinned(LOCK)


def test_the_lock_has_all_that_the_project_needs_and_the_check_sums_of_each() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(package for extra in EXTRAS for package in extras[extra])]
    assert {canonicalize_name(Requirement(one).name) for one in needed} <= set(pinned(LOCK))
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("file", [UNIT, ROOT / "Containerfile"], ids=lambda path: path.name)
def test_what_the_unit_and_the_container_set_are_settings(file: Path) -> None:
    text = file.read_text()
    names = re.findall(r"^Environment=(\w+)=", text, re.MULTILINE)
    names += re.findall(r"^(?:ENV| {4})\s*([A-Z_]+)=", text, re.MULTILINE)
    assert len(names) >= 5
    shown = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(names) - NOT_SETTINGS <= shown


def test_the_container_runs_without_privileges_and_is_asked_for_its_health() -> None:
    text = (ROOT / "Containerfile").read_text()
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert re.search(r'^HEALTHCHECK .*CMD \["fewshot", "health"\]$', text, re.MULTILINE)
    assert text.index("USER 10001") < text.index("ENTRYPOINT")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_service_is_exposed_to_little(tmp_path: Path) -> None:
    analyze = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT)]
    done = subprocess.run(analyze, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-400:] + done.stderr
    # Where the program is found differs from machine to machine; all else must be known to systemd.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/fewshot/.venv/bin/python", "/bin/true"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert UNIT.name not in verified.stderr, verified.stderr
