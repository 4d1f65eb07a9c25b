"""Checks of a request by Discord's limits, and by its OpenAPI document if `DISCORD_OPENAPI` names that."""

import json
import os
from functools import cache

from tests.servers.discord.checking import check_body
from tests.servers.discord.schema import Validate, load_validator

CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"
COMMANDS = "/applications/{application_id}/commands"


@cache
def _validator() -> Validate | None:
    path = os.environ.get("DISCORD_OPENAPI")
    return load_validator(path) if path else None


def objections(method: str, path: str, body: object) -> list[str]:
    """Return a sentence for every error in `body`."""
    sent = json.loads(json.dumps(body))
    validate = _validator()
    return [*check_body(method, path, sent), *(validate(method, path, sent) if validate else [])]
