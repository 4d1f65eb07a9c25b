"""Who may do what on Discord, through the real client: what tests/commands/rights.csv states for each place."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.bots import Talk
from tests.commands.test_access import MODERATORS, ROWS, who_may
from tests.platforms.discord.evenings import Evening, an_evening
from tests.platforms.discord.test_evening import shown_of
from tests.servers.discord import options, visible_text
from tests.servers.discord.interactions import COMMAND, InteractionResult
from tests.servers.discord.members import Member
from tests.servers.discord.options import NotOffered
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import Channel

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
# Rows of rights.csv, each with the slash command that does it.
COMMANDS: dict[str, tuple[str, dict[str, Any]]] = {
    "stats": ("stats", {}),
    "settings preset wild": ("settings", {"name": "preset", "value": "wild"}),
    "prompt export": ("prompt-edit export", {"name": "sentiment"}),
    "fresh": ("fresh", {}),
    "purge": ("purge", {"n": "1"}),
}
REFUSED = ("Only moderators can use", "I read no messages in")


@dataclass(frozen=True)
class Town:
    """The evening with everybody of the table, each in all five kinds of places."""

    evening: Evening
    people: dict[str, Member]
    thread: Channel
    group: Channel
    lobby: Channel

    def channel(self, place: str, person: Member) -> Channel:
        dm = self.evening.discord.world.dm_channel(person.user)
        places = {"server": self.evening.general, "thread": self.thread, "direct": dm}
        return {**places, "group": self.group, "foreign": self.lobby}[place]


@pytest.fixture
async def town(open_tiny: OpenTiny) -> AsyncIterator[Town]:
    operators: list[str] = []
    async with an_evening(lambda: open_tiny("gpt2", owner_ids=tuple(operators), quota_per_minute=600)) as evening:
        discord, world = evening.discord, evening.discord.world
        role = world.add_role(evening.guild, "helpers")
        people = {
            "member": evening.bob,
            "permission": evening.mod,
            "role": discord.add_member(evening.guild, "Ria", roles=(role.id,)),
            "operator": discord.add_member(evening.guild, "Olga"),
        }
        operators.append(str(people["operator"].id))
        away = world.add_guild("Away", channels=["lobby"], is_bot_member=False)
        helpers = world.add_role(away, "helpers")
        discord.join(away, evening.ada)
        for name, person in people.items():
            person.user.has_installed = True
            permissions = int(Permission.MANAGE_GUILD) if name == "permission" else 0
            discord.join(away, person, permissions=permissions, roles=(helpers.id,) if name == "role" else ())
        evening.ada.user.has_installed = True
        first = evening.mod.says(evening.general, "a thread")
        thread = evening.mod.opens_thread(first, "a thread")
        group = world.add_group("friends", [person.user for person in (*people.values(), evening.ada)])
        async with evening.run():
            # A command takes no role of another server.
            store = evening.running.store
            await store.set_setting(evening.here, "server", "moderator_roles", f"{role.id} {helpers.id}")
            yield Town(evening, people, thread, group, away.channel("lobby"))


async def forced(who: Member, channel: Channel, command: str, **values: Any) -> InteractionResult:
    """Use a slash command whether or not Discord offers it to that person in that place."""
    name, *path = command.split()
    known = who.discord.world.commands[None]
    (found,) = [one for one in known if one["name"] == name and one["type"] == options.CHAT_INPUT]
    data = options.command_data(found, path, values, None, who._adder(channel))
    return await (await who._does(COMMAND, channel, data).acknowledged()).finished(60)


@pytest.mark.parametrize("place", MODERATORS)
async def test_slash_commands_are_for_those_whom_the_table_names(town: Town, place: str):
    for what, (command, values) in COMMANDS.items():
        if ROWS[what][place] == "-":
            continue
        allowed = who_may(place, ROWS[what][place])
        for actor, person in town.people.items():
            text = shown_of(await forced(person, town.channel(place, person), command, **values))
            is_refused = any(sentence in text for sentence in REFUSED)
            assert is_refused is not allowed[actor], f"{actor} {what}: {text}"


@pytest.mark.parametrize("place", ["server", "thread", "direct"])
async def test_typed_commands_are_for_those_whom_the_table_names(town: Town, place: str):
    for actor, person in town.people.items():
        channel = town.channel(place, person)
        for what in ("settings preset wild", "prompt export"):
            line = f"!{what} sentiment" if what == "prompt export" else f"!{what}"
            answer = await town.evening.discord.reply(person.says(channel, line), 60)
            is_refused = "Only moderators can use" in visible_text(answer)
            assert is_refused is not who_may(place, ROWS[what][place])[actor], f"{actor} {what}"


@pytest.mark.parametrize("place", MODERATORS)
async def test_buttons_are_for_the_person_who_asked(town: Town, place: str):
    ada, evening = town.evening.ada, town.evening
    channel = evening.discord.world.dm_channel(ada.user) if place == "direct" else town.channel(place, ada)
    asked = await (await ada.slash(channel, "complete", text="The cat", n=2, seed=3)).finished(60)
    card = asked.message
    assert card is not None
    for person in town.people.values() if place != "direct" else ():
        refused = await (await person.clicks(card, "1")).finished()
        assert refused.is_ephemeral
        assert "That card belongs to Ada" in shown_of(refused)
    await (await ada.clicks(card, "1")).finished(60)


async def test_the_menu_of_a_message_erases_it_for_its_author_and_for_moderators(town: Town):
    evening = town.evening
    for actor, person in town.people.items():
        said = evening.ada.says(evening.general, "Hello", mention_bot=True)
        await evening.discord.reply(said, 60)
        text = shown_of(await (await person.uses_menu("Forget", said)).finished())
        assert ("permanently erased" in text) is (actor in MODERATORS["server"]), f"{actor}: {text}"
    said = evening.ada.says(evening.general, "Hello", mention_bot=True)
    await evening.discord.reply(said, 60)
    assert "permanently erased" in shown_of(await (await evening.ada.uses_menu("Forget", said)).finished())


@pytest.mark.parametrize("place", ["group", "foreign"])
async def test_where_the_bot_is_not_discord_offers_no_commands_of_moderators_or_of_a_conversation(
    town: Town, place: str
):
    for person in town.people.values():
        for command, values in (COMMANDS[what] for what in COMMANDS if what != "stats"):
            with pytest.raises(NotOffered):
                await person.slash(town.channel(place, person), command, **values)


async def test_a_member_of_a_direct_message_can_t_raise_the_operator_s_quota(town: Town):
    bob = town.people["member"]
    refused = await forced(bob, town.channel("direct", bob), "settings", name="quota_per_minute", value="601")
    assert "takes a whole number from 1 to 600" in shown_of(refused)


@pytest.mark.parametrize("place", MODERATORS)
async def test_help_lists_only_what_the_person_may_use(town: Town, place: str):
    for actor, person in town.people.items():
        text = shown_of(await forced(person, town.channel(place, person), "help"))
        assert "/complete" in text
        assert ("/settings" in text) is (actor in MODERATORS[place]), actor
        assert ("/fresh" in text) is (place in ("server", "thread", "direct")), actor
        assert ("/report" in text) is (place in ("server", "thread")), actor
