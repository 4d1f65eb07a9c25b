"""The operator's settings: the only place that reads the environment and the file .env."""

import io
import ipaddress
import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import platformdirs
from dotenv import dotenv_values
from dotenv.parser import parse_stream

from bot.core.database_url import DatabaseUrl
from bot.core.safe_text import clean_name
from bot.core.shards import MAX_SHARDS, Shards
from bot.core.suggesting import nearest
from bot.errors import SetupError

_DATA_FOLDER: Final = Path(platformdirs.user_data_dir("fewshot", appauthor=False))
_MAX_SHOWN: Final = 80
_MAX_PORT: Final = 65_535
_MAX_URL: Final = 2000
_URL: Final = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[^\s/:?#\[\]]+)(:[0-9]{1,5})?(/\S*)?")
_USER_ID: Final = re.compile(r"[0-9]{15,20}|[UW][A-Z0-9]{8,11}")
_SHIPPED_PROMPTS: Final = Path(__file__).resolve().parent.parent / "prompts"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; in the environment each has its upper-case name. Explained in .env.example."""

    model: str = "auto"
    models: tuple[str, ...] = ()
    models_memory_mb: int = 0
    model_api_base: str = "https://api.openai.com/v1"
    model_api_key: str = field(default="", repr=False)
    model_api_key_file: Path | None = None
    model_context_length: int = 4096
    model_max_running: int = 32
    models_dir: Path = _DATA_FOLDER / "models"
    device: str = "auto"
    precision: str = "auto"
    num_threads: int = 0
    compile_for: str = "native"
    kv_cache_mb: int = 512
    database: Path | DatabaseUrl = _DATA_FOLDER / "fewshot.db"
    backup_every_h: int = 24
    backups_kept: int = 7
    backup_dir: Path | None = None
    prompts_dir: Path = _SHIPPED_PROMPTS
    command_prefix: str = "!"
    bot_name: str = "Fewshot"
    max_waiting: int = 64
    max_running_per_person: int = 1
    request_timeout_s: float = 60.0
    pull_timeout_s: float = 3600.0
    retention_days: int = 30
    quota_per_minute: int = 20
    server_quota_per_minute: int = 0
    log_level: str = "WARNING"
    log_format: str = "text"
    discord_token: str = field(default="", repr=False)
    discord_token_file: Path | None = None
    discord_api_base: str = ""
    shards: Shards | None = None
    slack_bot_token: tuple[str, ...] = field(default=(), repr=False)
    slack_bot_token_file: Path | None = None
    slack_app_token: str = field(default="", repr=False)
    slack_app_token_file: Path | None = None
    slack_api_url: str = ""
    slack_command_prefix: str = ""
    web_port: int = 8123
    web_host: str = "127.0.0.1"
    serve_host: str = "127.0.0.1"
    serve_port: int = 8124
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    api_key: str = field(default="", repr=False)
    api_key_file: Path | None = None
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
        chosen: dict[str, Any] = {}
        for f in fields(cls):
            name = f.name.upper()
            text = values.get(name, "").strip()
            if any(unicodedata.category(c) == "Cc" for c in text):
                raise SetupError(f"{name} contains a control character, such as a line break; remove it.")
            if text:
                chosen[f.name] = _READERS[f.name](name, text)
        return cls(**chosen)

    def read_model_api_key(self) -> str:
        """Return the key of the model's server, "" for none. Raises SetupError."""
        return self._read_secret("MODEL_API_KEY", self.model_api_key, self.model_api_key_file)

    def read_api_key(self) -> str:
        """Return the key that clients of the served engine need, "" for none. Raises SetupError."""
        return self._read_secret("API_KEY", self.api_key, self.api_key_file)

    def read_discord_token(self) -> str:
        """Return the token of the Discord application, "" for none. Raises SetupError."""
        return self._read_secret("DISCORD_TOKEN", self.discord_token, self.discord_token_file)

    def read_slack_bot_tokens(self) -> tuple[str, ...]:
        """Return the tokens of the bot's users on Slack, one for each workspace. Raises SetupError."""
        path = self.slack_bot_token_file
        text = _read_file("SLACK_BOT_TOKEN", " ".join(self.slack_bot_token), path)
        return self.slack_bot_token if path is None else _tokens(f"The file {path}", text)

    def read_slack_app_token(self) -> str:
        """Return the token of the app on Slack, "" for none. Raises SetupError."""
        return self._read_secret("SLACK_APP_TOKEN", self.slack_app_token, self.slack_app_token_file)

    @staticmethod
    def _read_secret(name: str, secret: str, path: Path | None) -> str:
        """Return the secret setting `name`, or what is in the file at `path` instead. Raises SetupError."""
        text = _read_file(name, secret, path)
        return text if path is None else _token(f"The file {path}", text)


def _read_file(name: str, secret: str, path: Path | None) -> str:
    """Return a secret setting, or what is in the file that its setting NAME_FILE names. Raises SetupError.

    A container has its secrets in files: environments are shown by too many programs.
    """
    if path is None:
        return secret
    if secret:
        raise SetupError(f"{name} and {name}_FILE are both set; remove one of them.")
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        reason = (e.strerror or str(e)).lower() if isinstance(e, OSError) else "it is not text"
        raise SetupError(f"{name}_FILE names {path}, which can't be read: {reason}.") from e
    if not text:
        raise SetupError(f"{name}_FILE names {path}, which is empty.")
    return text


def _read_env_file(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        # Some editors begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise SetupError(f"The settings file {path} can't be read: {e}.") from e
    for line in parse_stream(io.StringIO(text)):
        # An open quotation mark would take the settings below it along.
        if line.error or (line.key and line.value is None):
            raise SetupError(f"Line {line.original.line} of {path} is not a setting. Write NAME=value, or # before it.")
    return {name: value or "" for name, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items()}


def _shown(value: str) -> str:
    """Return a wrong value for a sentence, cut where it is long."""
    return repr(value if len(value) <= _MAX_SHOWN else value[:_MAX_SHOWN] + "…")


def _text(name: str, value: str) -> str:
    return value


def _token(name: str, value: str) -> str:
    # The value is a secret, so it is not shown.
    if not value.isascii() or any(c.isspace() for c in value):
        raise SetupError(f"{name} takes an access token, which has no spaces and no special letters; copy it again.")
    return value


def _device(name: str, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", value.lower()):
        raise SetupError(f"{name} takes auto, cpu, cuda, cuda:N or mps, not {_shown(value)}.")
    return value.lower()


def _path(name: str, value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as e:  # "~somebody" who does not exist
        raise SetupError(f"{name} names the home folder of an unknown user: {_shown(value)}.") from e


def read_address(name: str, value: str) -> Path | DatabaseUrl:
    """Return the address of a database in `value`; `name` is what it is of. Raises SetupError for none."""
    if re.match(r"postgres(ql)?://", value):
        return DatabaseUrl(value)
    # Without a file there would be nothing to finish the answers from after a restart, and no lock between programs.
    if value.startswith(":memory:") or re.match(r"file:.*(mode=memory|:memory:)", value):
        raise SetupError(
            f"{name} takes the path of a file, not {_shown(value)}: the bot needs one to finish its answers after a "
            "restart. To keep nothing on a disk, choose a file in memory, such as /dev/shm/fewshot.db."
        )
    if re.match(r"file:|[a-z][a-z0-9+.-]*://", value, re.IGNORECASE):
        # It may have a password.
        shown = _shown(str(DatabaseUrl(value)) if "@" in value else value)
        raise SetupError(
            f"{name} takes the path of a file or an address like postgresql://USER@HOST/NAME, not the URI {shown}."
        )
    return _path(name, value)


def _url(name: str, value: str) -> str:
    found = _URL.fullmatch(value)
    if found is None or not 0 < int((found[2] or ":1")[1:]) <= _MAX_PORT or not _is_host(found[1]):
        raise SetupError(f"{name} takes a URL that starts with https:// or http://, not {_shown(value)}.")
    return value.rstrip("/")


def _is_host(host: str) -> bool:
    """Say whether `host` is a name, or an address that is one."""
    try:
        return not host.startswith("[") or ipaddress.ip_address(host[1:-1]).version == 6
    except ValueError:
        return False


def _api_base(name: str, value: str) -> str:
    url = _url(name, value)
    if len(url) > _MAX_URL:
        raise SetupError(f"{name} takes a URL of at most {_MAX_URL:,} characters, not {len(url):,}.")
    if "?" in url or "@" in url or "#" in url:
        raise SetupError(f"{name} takes a URL without a key or other parameters in it; the key is MODEL_API_KEY.")
    return url


def _whole(low: int, high: int) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise SetupError(f"{name} takes a whole number from {low} to {high:,}, not {_shown(value)}.")
        return number

    return read


def _seconds(low: float, high: float) -> Callable[[str, str], float]:
    def read(name: str, value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise SetupError(f"{name} takes a number of seconds from {low:g} to {high:g}, not {_shown(value)}.")
        return number

    return read


def _prefix(name: str, value: str) -> str:
    # A mention begins with <, so it would be a command.
    if len(value) > 3 or value[0] == "<" or any(unicodedata.category(c)[0] not in "PS" for c in value):
        raise SetupError(f"{name} takes 1 to 3 punctuation marks such as ! or ?, not {_shown(value)}.")
    return value


def _one_of(*values: str) -> Callable[[str, str], str]:
    def read(name: str, value: str) -> str:
        if value.lower() not in values:
            raise SetupError(f"{name} takes one of {', '.join(values)}, not {_shown(value)}.")
        return value.lower()

    return read


def _log_level(name: str, value: str) -> str:
    # DEBUG is not allowed: at that level libraries log message texts and access tokens.
    levels = ("INFO", "WARNING", "ERROR")
    if value.upper() not in levels:
        raise SetupError(f"{name} takes one of {', '.join(levels)}, not {_shown(value)}.")
    return value.upper()


def _name(name: str, value: str) -> str:
    # The name as it is read and shown: a mark or sign that nobody sees would make it another one.
    cleaned = clean_name(value)
    if len(value) > 32 or ":" in value or unicodedata.normalize("NFC", value) != cleaned:
        raise SetupError(
            f"{name} takes a name of at most 32 characters without a colon and without invisible signs, not"
            f" {_shown(value)}."
        )
    return cleaned


def _ids(name: str, value: str) -> tuple[str, ...]:
    ids = tuple(dict.fromkeys(value.replace(",", " ").split()))
    wrong = next((one for one in ids if not _USER_ID.fullmatch(one)), None if ids else value)
    if wrong is not None:
        raise SetupError(
            f"{name} takes ids of users, separated by commas: 15 to 20 digits each on Discord, such as U012AB3CD on"
            f" Slack, not {_shown(wrong)}."
        )
    return ids


def _shards(name: str, value: str) -> Shards:
    shards = Shards.read(value)
    if shards is None:
        raise SetupError(
            f"{name} takes some shards of all, such as 0-3/16 for the first four of 16 (at most {MAX_SHARDS:,}), not"
            f" {_shown(value)}."
        )
    return shards


def _names(name: str, value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.strip() for one in value.split(",") if one.strip()))


def _tokens(name: str, value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_token(name, one) for one in value.replace(",", " ").split()))


def _name_prefix(name: str, value: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]{1,10}", value):
        raise SetupError(f"{name} takes 1 to 10 of a-z, 0-9, _ and -, such as fs-, not {_shown(value)}.")
    return value


def _loopback(name: str, value: str) -> str:
    if value.strip("[]").lower() not in ("127.0.0.1", "localhost", "::1"):
        raise SetupError(
            f"{name} takes 127.0.0.1, not {_shown(value)}: the page asks for no password, so only this machine may open"
            " it. From another machine use an SSH tunnel (ssh -L 8123:127.0.0.1:8123 HOST), or a reverse proxy with a"
            " login."
        )
    return "127.0.0.1"


def _host(name: str, value: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z.:_\[\]-]{1,253}", value):
        raise SetupError(f"{name} takes an address of this machine such as 127.0.0.1 or 0.0.0.0, not {_shown(value)}.")
    return value


_READERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "model": _text,
    "models": _names,
    "models_memory_mb": _whole(0, 10_000_000),
    "model_api_base": _api_base,
    "model_api_key": _token,
    "model_api_key_file": _path,
    "model_context_length": _whole(128, 10_000_000),
    "model_max_running": _whole(1, 4096),
    "models_dir": _path,
    "device": _device,
    "precision": _one_of("auto", "float32", "bfloat16", "float16", "int8"),
    "num_threads": _whole(0, 1024),
    "compile_for": _one_of("native", "avx2"),
    "kv_cache_mb": _whole(64, 1_000_000),
    "database": read_address,
    "backup_every_h": _whole(0, 8760),
    "backups_kept": _whole(1, 1000),
    "backup_dir": _path,
    "prompts_dir": _path,
    "command_prefix": _prefix,
    "bot_name": _name,
    "max_waiting": _whole(1, 10_000),
    "max_running_per_person": _whole(1, 32),
    "request_timeout_s": _seconds(1, 600),
    "pull_timeout_s": _seconds(10, 86_400),
    "retention_days": _whole(1, 3650),
    "quota_per_minute": _whole(1, 600),
    "server_quota_per_minute": _whole(0, 6000),
    "log_level": _log_level,
    "log_format": _one_of("text", "json"),
    "discord_token": _token,
    "discord_token_file": _path,
    "discord_api_base": _url,
    "shards": _shards,
    "slack_bot_token": _tokens,
    "slack_bot_token_file": _path,
    "slack_app_token": _token,
    "slack_app_token_file": _path,
    "slack_api_url": _url,
    "slack_command_prefix": _name_prefix,
    "web_port": _whole(0, 65535),
    "web_host": _loopback,
    "serve_host": _host,
    "serve_port": _whole(0, 65535),
    "metrics_host": _host,
    "metrics_port": _whole(0, 65535),
    "api_key": _token,
    "api_key_file": _path,
    "owner_ids": _ids,
    "visual": _text,
    "editor": _text,
}
