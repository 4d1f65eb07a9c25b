"""The choice of a model on a server: its name, where the server is, and the key."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bot.core.wording import quote
from bot.errors import ModelError

PREFIX: Final = "openai:"
_MAX_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class RemoteChoice:
    """A model of a server with OpenAI's API; `model` is its name there, `name` the one with the prefix.

    `context_length` (tokens) holds where the server does not say its own; what is measured is saved in `models_dir`.
    """

    name: str
    api_base: str
    models_dir: Path
    context_length: int
    api_key: str = field(default="", repr=False)
    reason: str = "MODEL asks for it"

    @property
    def model(self) -> str:
        """Return the name that the server knows."""
        return self.name.removeprefix(PREFIX)

    @property
    def host(self) -> str:
        """Return the server's name and port, for people."""
        return urlsplit(self.api_base).netloc

    @property
    def line(self) -> str:
        """Return the line that tells people which model was chosen and why."""
        return f"Model: {self.name} at {self.host}, because {self.reason}"


def is_remote_name(name: str) -> bool:
    """Say whether `name` means a model of a server."""
    return name.startswith(PREFIX)


def check_remote_name(name: str) -> str:
    """Return `name`. Raises ModelError if it can't be that of a model of a server."""
    model = name.removeprefix(PREFIX)
    if not 0 < len(model) <= _MAX_NAME or not model.isprintable() or " " in model:
        raise ModelError(f"{quote(name)} names no model; write {PREFIX} and the name that the server knows.")
    return name
