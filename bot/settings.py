"""The operator's settings: the only place that reads the environment and the file .env."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import platformdirs
from dotenv import dotenv_values

from bot.core.suggesting import nearest
from bot.errors import SetupError

_DATA_FOLDER: Final = Path(platformdirs.user_data_dir("fewshot", appauthor=False))
_SHIPPED_PROMPTS: Final = Path(__file__).resolve().parent.parent / "prompts"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; in the environment each has its upper-case name. Explained in .env.example."""

    model: str = "auto"
    models_dir: Path = _DATA_FOLDER / "models"
    device: str = "auto"
    precision: str = "auto"
    num_threads: int = 0
    compile_for: str = "native"
    kv_cache_mb: int = 512
    database: Path = _DATA_FOLDER / "fewshot.db"
    prompts_dir: Path = _SHIPPED_PROMPTS
    command_prefix: str = "!"
    bot_name: str = "Fewshot"
    max_waiting: int = 64
    max_running_per_person: int = 1
    request_timeout_s: float = 60.0
    pull_timeout_s: float = 3600.0
    retention_days: int = 30
    log_level: str = "WARNING"
    discord_token: str = field(default="", repr=False)
    discord_api_base: str = ""
    owner_ids: tuple[str, ...] = ()
    visual: str = ""
    editor: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, env_file: Path = Path(".env")) -> "Settings":
        """Read the settings: environment first, then `env_file`, then defaults; an empty value means the default.

        Raises SetupError, one sentence, for the first wrong value, and for a name in `env_file` that looks like a
        misspelt setting; other names in the file are ignored.
        """
        from_file = _read_env_file(env_file)
        names = {f.name.upper() for f in fields(cls)}
        for name in from_file:
            suggestion = None if name in names else nearest(name, sorted(names))
            if suggestion:
                raise SetupError(f"{env_file} sets {name}, which is not a setting; did you mean {suggestion}?")
        values = {**from_file, **(os.environ if environ is None else environ)}
        chosen = {}
        for f in fields(cls):
            text = values.get(f.name.upper(), "").strip()
            if text:
                chosen[f.name] = _READERS[f.name](f.name.upper(), text)
        return cls(**chosen)


def _read_env_file(path: Path) -> dict[str, str]:
    try:
        return {name: value or "" for name, value in dotenv_values(path, interpolate=False, encoding="utf-8").items()}
    except (OSError, UnicodeDecodeError) as e:
        raise SetupError(f"The settings file {path} can't be read: {e}.") from e


def _text(name: str, value: str) -> str:
    return value


def _path(name: str, value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as e:  # "~somebody" who does not exist
        raise SetupError(f"{name} names the home folder of an unknown user: {value!r}.") from e


def _url(name: str, value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise SetupError(f"{name} takes a URL that starts with https:// or http://, not {value!r}.")
    return value.rstrip("/")


def _whole(low: int, high: int) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise SetupError(f"{name} takes a whole number from {low} to {high:,}, not {value!r}.")
        return number

    return read


def _seconds(low: float, high: float) -> Callable[[str, str], float]:
    def read(name: str, value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise SetupError(f"{name} takes a number of seconds from {low:g} to {high:g}, not {value!r}.")
        return number

    return read


def _prefix(name: str, value: str) -> str:
    if len(value) > 3 or any(c.isalnum() or c.isspace() for c in value):
        raise SetupError(f"{name} takes 1 to 3 punctuation marks such as ! or ?, not {value!r}.")
    return value


def _precision(name: str, value: str) -> str:
    precisions = ("auto", "float32", "bfloat16", "float16", "int8")
    if value.lower() not in precisions:
        raise SetupError(f"{name} takes one of {', '.join(precisions)}, not {value!r}.")
    return value.lower()


def _target(name: str, value: str) -> str:
    targets = ("native", "avx2")
    if value.lower() not in targets:
        raise SetupError(f"{name} takes one of {', '.join(targets)}, not {value!r}.")
    return value.lower()


def _log_level(name: str, value: str) -> str:
    # DEBUG is not allowed: at that level libraries log message texts and access tokens.
    levels = ("INFO", "WARNING", "ERROR")
    if value.upper() not in levels:
        raise SetupError(f"{name} takes one of {', '.join(levels)}, not {value!r}.")
    return value.upper()


def _name(name: str, value: str) -> str:
    if len(value) > 32 or any(c in "\n:" for c in value):
        raise SetupError(f"{name} takes a name of at most 32 characters without a colon, not {value!r}.")
    return value


def _ids(name: str, value: str) -> tuple[str, ...]:
    ids = tuple(dict.fromkeys(value.replace(",", " ").split()))
    if not all(one.isascii() and one.isalnum() for one in ids):
        raise SetupError(f"{name} takes ids separated by commas, not {value!r}.")
    return ids


_READERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "model": _text,
    "models_dir": _path,
    "device": _text,
    "precision": _precision,
    "num_threads": _whole(0, 1024),
    "compile_for": _target,
    "kv_cache_mb": _whole(64, 1_000_000),
    "database": _path,
    "prompts_dir": _path,
    "command_prefix": _prefix,
    "bot_name": _name,
    "max_waiting": _whole(1, 10_000),
    "max_running_per_person": _whole(1, 32),
    "request_timeout_s": _seconds(1, 600),
    "pull_timeout_s": _seconds(10, 86_400),
    "retention_days": _whole(1, 3650),
    "log_level": _log_level,
    "discord_token": _text,
    "discord_api_base": _url,
    "owner_ids": _ids,
    "visual": _text,
    "editor": _text,
}
