"""Who somebody is in a workspace: name, admin, guest, stranger, user groups; asked of Slack and kept for minutes."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.core.messages import Author, Scope
from bot.core.safe_text import FALLBACK_NAME
from bot.errors import FewshotError
from bot.platforms.slack.outgoing.sender import Sender
from bot.platforms.slack.workspaces import Workspace, Workspaces

logger = logging.getLogger(__name__)

_KEPT_S: Final = 600.0
# So long nobody has the rights of a user group that can't be read; somebody may be waiting to use them.
_FAILED_KEPT_S: Final = 20.0
_MAX_KEPT: Final = 10_000
_DEADLINE_S: Final = 5.0
_MAX_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class Person:
    """A user as Slack describes them. A guest or a stranger, of another workspace `team`, has no name here."""

    id: str
    name: str = FALLBACK_NAME
    is_bot: bool = False
    is_admin: bool = False
    team: str = ""


class People:
    """The people of all workspaces. Somebody whom Slack does not describe now is a member without a name."""

    def __init__(self, sender: Sender, workspaces: Workspaces, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sender = sender
        self._workspaces = workspaces
        self._clock = clock
        self._people: dict[tuple[str, str], tuple[float, Person]] = {}
        # Until when they are kept, and their members.
        self._groups: dict[str, tuple[float, Mapping[str, frozenset[str]]]] = {}
        # Those whom Slack is asked about: what it says while they change may be what was before.
        self._asked: dict[tuple[str, str], object] = {}
        self._asking: dict[str, asyncio.Lock] = {}
        # Of user groups and channels, by workspace and id.
        self._names: dict[tuple[str, str], str] = {}

    async def author(self, workspace: Workspace, user_id: str) -> Author:
        """Return the author with the roles that count there: the user groups and the id of the person."""
        person = await self.person(workspace, user_id)
        groups = await self._groups_of(workspace)
        return Author(
            id=person.id,
            name=person.name,
            is_bot=person.is_bot,
            is_me=person.id == workspace.user_id,
            is_moderator=person.is_admin,
            roles=(*(group for group, users in groups.items() if user_id in users), user_id),
        )

    async def person(self, workspace: Workspace, user_id: str) -> Person:
        """Return a person; never raises."""
        kept = self._people.get((workspace.team, user_id))
        if kept is not None and self._clock() - kept[0] < _KEPT_S:
            return kept[1]
        key = workspace.team, user_id
        asked = self._asked[key] = object()
        try:
            answer = await self._sender.call(workspace.team, "users_info", deadline_s=_DEADLINE_S, user=user_id)
            person = _read(answer.get("user") or {}, workspace, user_id)
        except FewshotError as e:
            logger.info("could not look up a user in workspace %s: %s", workspace.team, e)
            return Person(user_id)
        finally:
            is_present = self._asked.get(key) is asked
            if is_present:
                del self._asked[key]
        if is_present:
            self._people[key] = (self._clock(), person)
        while len(self._people) > _MAX_KEPT:
            del self._people[next(iter(self._people))]
        return person

    async def names(self, workspace: Workspace, user_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the names of the first few of these people; never raises."""
        people = await asyncio.gather(*(self.person(workspace, one) for one in user_ids[:_MAX_NAMED]))
        return {person.id: person.name for person in people}

    def team_of(self, team: str, user_id: str) -> str:
        """Return the workspace of somebody who was met in the workspace `team`."""
        kept = self._people.get((team, user_id))
        return kept[1].team if kept is not None and kept[1].team else team

    def forget(self, team: str, user_id: str) -> None:
        """Ask again about a person who has changed."""
        self._asked.pop((team, user_id), None)
        self._people.pop((team, user_id), None)

    def forget_groups(self, team: str) -> None:
        """Ask again about the user groups of a workspace."""
        self._asked.pop((team, ""), None)
        self._groups.pop(team, None)

    # ---- names for people who read settings

    def name_of(self, scope: Scope, id: str) -> str:
        """Return the name of a user group, user or channel, with its sign; its id if it has none here."""
        person = self._people.get((scope.server, id))
        if person is not None:
            return id if person[1].name == FALLBACK_NAME else f"@{person[1].name}"
        return self._names.get((scope.server, id), id)

    async def learn_names(self, scope: Scope, ids: Sequence[str]) -> None:
        """Ask Slack for the names of these ids, so that `name_of` knows them."""
        workspace = self._workspaces.get(scope.server)
        if workspace is None:
            return
        for id in ids:
            if id.startswith("S"):
                await self._groups_of(workspace)
            elif id.startswith(("U", "W")):
                await self.person(workspace, id)
            else:
                await self._learn_channel(workspace, id)

    async def _learn_channel(self, workspace: Workspace, id: str) -> None:
        try:
            answer = await self._sender.call(workspace.team, "conversations_info", deadline_s=_DEADLINE_S, channel=id)
            self._names[workspace.team, id] = f"#{answer['channel']['name']}"
        except (FewshotError, KeyError) as e:
            logger.info("could not look up a channel in workspace %s: %s", workspace.team, e)

    async def _groups_of(self, workspace: Workspace) -> Mapping[str, frozenset[str]]:
        """Return the members of each user group, without any where the bot may not read them."""
        async with self._asking.setdefault(workspace.team, asyncio.Lock()):
            kept = self._groups.get(workspace.team)
            if kept is not None and self._clock() < kept[0]:
                return kept[1]
            groups: Mapping[str, frozenset[str]] = {}
            asked = self._asked[workspace.team, ""] = object()
            kept_s = _KEPT_S
            try:
                answer = await self._sender.call(
                    workspace.team, "usergroups_list", deadline_s=_DEADLINE_S, include_users=True
                )
                listed = answer.get("usergroups") or []
                groups = {str(group["id"]): frozenset(group.get("users") or []) for group in listed}
                named = [(str(group["id"]), str(group.get("handle") or "")) for group in listed]
                self._names |= {(workspace.team, id): f"@{handle}" for id, handle in named if handle}
            except FewshotError as e:
                logger.info("could not read the user groups of workspace %s: %s", workspace.team, e)
                kept_s = _FAILED_KEPT_S
            if self._asked.pop((workspace.team, ""), None) is asked:
                self._groups[workspace.team] = (self._clock() + kept_s, groups)
            return groups


def _read(user: Mapping[str, Any], workspace: Workspace, user_id: str) -> Person:
    is_bot = bool(user.get("is_bot")) or user_id == "USLACKBOT"
    team = str(user.get("team_id") or workspace.team)
    is_stranger = bool(user.get("is_stranger")) or team != workspace.team
    if is_stranger or user.get("is_restricted") or user.get("is_ultra_restricted"):
        return Person(user_id, is_bot=is_bot, team=team)
    profile = user.get("profile") or {}
    name = profile.get("display_name") or profile.get("real_name") or user.get("real_name") or user.get("name") or ""
    is_admin = any(user.get(key) for key in ("is_admin", "is_owner", "is_primary_owner"))
    return Person(user_id, name or FALLBACK_NAME, is_bot=is_bot, is_admin=is_admin, team=team)
