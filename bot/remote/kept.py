"""The files of what servers were found to do: one for each model of each server, renewed with the server's version."""

import hashlib
import json
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bot.remote.abilities import Abilities
from bot.remote.choice import RemoteChoice

logger = logging.getLogger(__name__)

# A service without a version changes all the same.
_LASTS: Final = timedelta(days=30)


def path_of(choice: RemoteChoice) -> Path:
    """Return the file of what the chosen model's server does."""
    digest = hashlib.sha256(f"{choice.api_base}\n{choice.model}".encode()).hexdigest()
    return choice.models_dir / "servers" / f"{digest[:16]}.json"


def read_abilities(choice: RemoteChoice, server: str | None) -> Abilities | None:
    """Return what was found of this `server`'s version (None: of any); None if nothing was, or long ago."""
    try:
        record = json.loads(path_of(choice).read_bytes())
        abilities = Abilities.from_dict(record["abilities"])
        age = datetime.now(UTC) - datetime.fromisoformat(abilities.probed_at_utc)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return abilities if server is None or (abilities.server == server and age < _LASTS) else None


def keep_abilities(choice: RemoteChoice, abilities: Abilities) -> None:
    """Save what was found; a folder that can't be written only means that the next start asks again."""
    path = path_of(choice)
    record = {"model": choice.model, "api_base": choice.api_base, "abilities": abilities.to_dict()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as e:
        logger.warning("what the model's server can do could not be saved in %s: %s", path, e.strerror)
