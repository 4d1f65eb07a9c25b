"""Who may do what on Slack, through the real client: what tests/commands/rights.csv states for each place."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from bot.platforms.slack.traits import SLACK
from tests.bots import Talk
from tests.commands.test_access import MODERATORS, ROWS, who_may
from tests.platforms.slack.towns import Town, a_town, shortcut, visible_text
from tests.servers.slack.objects import Channel, Message
from tests.servers.slack.people import Person

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
# Rows of rights.csv, each with the line that does it.
LINES: Final = {
    "stats": "stats",
    "settings preset wild": "settings preset wild",
    "prompt export": "prompt export sentiment",
    "fresh": "fresh",
    "purge": "purge 1",
}
# Each person with the actor of the table whose rights they have.
PEOPLE: Final = {
    "member": "member",
    "guest": "member",
    "single_channel_guest": "member",
    "stranger": "member",
    "admin": "permission",
    "owner": "permission",
    "in_group": "role",
    "named": "role",
    "operator": "operator",
}
PLACES: Final = ("server", "thread", "direct", "group")
FOR_ALL: Final = ("stats", "fresh")
READ_IN_GROUPS: Final = {"fresh": "everyone", "purge": "moderators", "settings preset wild": "moderators"}
REFUSED: Final = ("Only moderators can use", "I read no messages in")


@dataclass(frozen=True)
class Crowd:
    """Everybody of the table, each in all four kinds of places; all are in each person's hall."""

    town: Town
    people: dict[str, Person]
    halls: dict[str, Channel]
    group: Channel

    @property
    def hall(self) -> Channel:
        return self.halls["member"]

    async def asks(self, place: str, name: str, line: str) -> str:
        """Let a person give a command in a place, as they can there; return what they read."""
        person, town = self.people[name], self.town
        # People of another workspace are not offered the app's slash commands.
        if place in ("thread", "direct") or name == "stranger":
            places = {"direct": person.dm_channel, "group": self.group} if name != "stranger" else {"group": self.group}
            channel = places.get(place, self.halls[name])
            thread = channel.messages[0] if place == "thread" else None
            return visible_text(await town.outcome(says(person, channel, f"!{line}", thread)))
        channel = self.group if place == "group" else self.halls[name]
        return visible_text(await town.outcome(person.slash(channel, "/fewshot", line)))


async def says(person: Person, channel: Channel, text: str, thread: Message | None) -> None:
    person.says(channel, text, thread=thread)


@pytest.fixture
async def crowd(open_tiny: OpenTiny) -> AsyncIterator[Crowd]:
    operators: list[str] = []

    def open_it() -> AbstractAsyncContextManager[Talk]:
        return open_tiny("gpt2", traits=SLACK, owner_ids=tuple(operators), quota_per_minute=600)

    async with a_town(open_it) as town:
        slack, world = town.slack, town.slack.world
        ranks = {name: name for name in PEOPLE if name in ("guest", "single_channel_guest", "admin", "owner")}
        people = {
            name: slack.add_person(town.team, name.title(), ranks.get(name, "member"))  # type: ignore[arg-type]
            for name in PEOPLE
            if name != "stranger"
        }
        away = slack.add_team("Away", channels=["lobby"], has_app=False)
        people["stranger"] = slack.add_person(away, "Stranger", "admin")
        everybody = [one.user for one in people.values()]
        editors = world.add_group(town.team, "editors", [people["in_group"].user])
        operators.append(people["operator"].id)
        users = [slack.bot_of(town.team), town.mo.user, town.ann.user, *everybody]
        # Slack, and so the bot, waits a second between two posts in a channel.
        halls = {name: world.add_channel(town.team, f"hall-{name}", users, shared=[away]) for name in PEOPLE}
        group = world.direct_channel([slack.bot_of(town.team), *everybody])
        for hall in halls.values():
            town.mo.says(hall, "a thread of people")
        async with town.run():
            named = people["named"].id
            line = f"settings moderator_roles <!subteam^{editors.id}|@editors> <@{named}|named>"
            text = visible_text(await town.outcome(town.mo.slash(town.general, "/fewshot", line)))
            # The settings show names, not ids.
            assert "@editors, @Named" in text
            yield Crowd(town, people, halls, group)


@pytest.mark.parametrize("place", PLACES)
async def test_commands_are_for_those_whom_the_table_names(crowd: Crowd, place: str):
    for what, line in LINES.items():
        # In a group conversation on Slack the bot is a member like any other, and reads what is said.
        reads = place == "group" and what in READ_IN_GROUPS
        if (cell := READ_IN_GROUPS[what] if reads else ROWS[what][place]) == "-":
            continue
        allowed = who_may(place, cell)
        for name, actor in PEOPLE.items():
            if place == "direct" and name == "stranger":
                continue  # has no direct messages with an app of another workspace
            if what in FOR_ALL and name not in ("guest", "stranger", "admin"):
                continue
            text = await crowd.asks(place, name, line)
            is_refused = any(sentence in text for sentence in REFUSED)
            assert is_refused is not allowed[actor], f"{name} {what} in {place}: {text}"


async def test_buttons_are_for_the_person_who_asked(crowd: Crowd):
    ann, town = crowd.town.ann, crowd.town
    card = await town.outcome(ann.slash(crowd.hall, "/complete", "--n 2 --seed 3 The cat"))
    assert isinstance(card, Message)
    for person in crowd.people.values():
        refused = await town.outcome(person.clicks(card, "1"))
        assert "That card belongs to Ann" in visible_text(refused)
        assert refused in town.whispers(person)
    assert await town.outcome(ann.clicks(card, "1")) is card


async def test_the_menu_of_a_message_erases_it_for_its_author_and_for_moderators(crowd: Crowd):
    town = crowd.town
    for name, actor in PEOPLE.items():
        if name == "stranger":
            continue  # is not offered the shortcuts of another workspace's app
        said = town.ann.asks(crowd.halls[name], "hello")
        await town.slack.reply(said)
        text = visible_text(await town.outcome(crowd.people[name].uses_shortcut(said, shortcut("Forget"))))
        assert ("permanently erased" in text) is (actor in MODERATORS["server"]), f"{name}: {text}"


async def test_rights_that_were_taken_away_are_gone(crowd: Crowd):
    town = crowd.town
    assert "Only moderators" not in await crowd.asks("server", "in_group", "settings preset wild")
    for group in town.team.groups.values():
        group.user_ids.clear()
    assert town.client is not None
    town.client._people.forget_groups(town.team.id)
    assert "Only moderators" in await crowd.asks("server", "in_group", "settings preset wild")


async def test_names_of_guests_and_strangers_are_stored_nowhere(crowd: Crowd, tmp_path: Path):
    town = crowd.town
    for name in ("guest", "single_channel_guest", "stranger", "member"):
        person = crowd.people[name]
        said = person.says(crowd.halls[name], f"{town.slack.bot_of(town.team).mention} I ask")
        await town.slack.reply(said)
        if name != "stranger":
            await town.outcome(person.slash(crowd.halls[name], "/next", "The capital of"))
    stored = await asyncio.to_thread(_read_all, tmp_path)
    for name in ("Guest", "Single_Channel_Guest", "Stranger"):
        assert name.encode() not in stored
    assert b"Member" in stored


def _read_all(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("fewshot.db*"))


async def test_help_lists_only_what_the_person_may_use(crowd: Crowd):
    for name, actor in PEOPLE.items():
        if name == "stranger":
            continue
        text = await crowd.asks("server", name, "help")
        assert "/fewshot complete" in text
        assert ("/fewshot settings" in text) is (actor in MODERATORS["server"]), name
