"""The workspaces that the bot is installed in, each with its own token."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from slack_sdk.web.async_client import AsyncWebClient


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace: its id and name, the bot's ids there, the client with its token, and the scopes of the token."""

    team: str
    name: str
    user_id: str
    bot_id: str
    client: AsyncWebClient
    scopes: frozenset[str] = frozenset()


class Workspaces:
    """All workspaces, by id."""

    def __init__(self, workspaces: Iterable[Workspace]) -> None:
        self._of_team = {one.team: one for one in workspaces}

    def __iter__(self) -> Iterator[Workspace]:
        """Yield the workspaces."""
        return iter(self._of_team.values())

    def get(self, team: str) -> Workspace | None:
        """Return the workspace `team`, None for one in which the bot is not installed."""
        return self._of_team.get(team)

    def __getitem__(self, team: str) -> Workspace:
        """Return the workspace `team`. Raises KeyError."""
        return self._of_team[team]
