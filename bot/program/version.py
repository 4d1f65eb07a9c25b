"""What runs here: the program's version and commit, Python, torch and the models."""

import argparse
import importlib.metadata
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bot.engine.models.catalog import resolve_model
from bot.errors import FewshotError
from bot.remote.choice import is_remote_name
from bot.settings import Settings

UNKNOWN: Final = "unknown"
_PACKAGE: Final = Path(__file__).resolve().parent.parent
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class ShowVersion(argparse.Action):
    """Print the versions, and exit."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **{"help": "print the versions, and exit", **options})

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print the versions, and exit."""
        sys.stdout.write(describe_versions())
        parser.exit()


def describe_versions() -> str:
    """Return the versions, a line each; what can't be found out is unknown. Loads no model and no torch."""
    lines = {
        "Fewshot": _version_of("fewshot"),
        "commit": find_commit(_PACKAGE),
        "Python": platform.python_version(),
        "torch": _version_of("torch"),
        "models": _models(),
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def find_commit(package: Path) -> str:
    """Return the commit that the code in `package` is of: from its file COMMIT, else from git, else unknown."""
    try:
        baked = package / "COMMIT"
        found = baked.read_text(encoding="ascii").strip() if baked.is_file() else _read_head(package.parent / ".git")
    except (OSError, UnicodeDecodeError):
        return UNKNOWN
    return found if _COMMIT.fullmatch(found) else UNKNOWN


def _read_head(git: Path) -> str:
    """Return the commit of a working tree, whose `.git` is a folder, or a file that names one. Raises OSError."""
    if git.is_file():
        git = (git.parent / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()).resolve()
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref:"):
        return head
    name = head.removeprefix("ref:").strip()
    common = git / "commondir"  # of a further working tree
    shared = (git / common.read_text(encoding="utf-8").strip()).resolve() if common.is_file() else git
    for folder in (git, shared):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8").strip()
    for line in (shared / "packed-refs").read_text(encoding="utf-8").splitlines():
        commit, _, packed = line.partition(" ")
        if packed == name:
            return commit
    return UNKNOWN


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package" if package == "fewshot" else "not installed"


def _models() -> str:
    """Return the names of the models that the settings choose, or what is wrong with the settings."""
    try:
        settings = Settings.from_env()
    except FewshotError as e:
        return f"{UNKNOWN}: {e}"
    return ", ".join(dict.fromkeys(_model(name, settings) for name in (settings.model, *settings.models)))


def _model(name: str, settings: Settings) -> str:
    if is_remote_name(name):
        return name
    try:
        return resolve_model(name, settings.models_dir).name
    except FewshotError:
        return f"{name} (not downloaded)"
