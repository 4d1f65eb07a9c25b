import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import discord
import pytest

from bot.commands.bot import COMMANDS
from bot.commands.framework.command import Cards, Command, Request
from bot.core.messages import Author, Scope
from bot.errors import RequestError
from bot.platforms.discord.incoming.reading import read_interaction
from bot.platforms.discord.interactions import command_tree
from bot.platforms.discord.interactions.command_tree import CommandTree, add_commands, sync_if_changed, tree_hash
from tests.platforms.discord.checks import COMMANDS as PATH
from tests.platforms.discord.checks import objections
from tests.servers.discord import Discord, pointed_at, serve_discord, visible_text
from tests.servers.discord.permissions import Permission

MANAGE = discord.Permissions(manage_guild=True).value


async def answer(request: Request) -> Cards:
    raise NotImplementedError
    yield


@dataclass
class Recorder:
    """A client that notes how it was called, and does what it is told."""

    lines: list[tuple[str, str | None]] = field(default_factory=list)
    menus: list[tuple[str, str]] = field(default_factory=list)
    typed: list[tuple[Scope, Author, str, str, str]] = field(default_factory=list)
    suggested: tuple[str, ...] = ()
    error: Exception | None = None
    waits_s: float = 0.0

    async def invoked(
        self, interaction: discord.Interaction[Any], line: str, attachment: discord.Attachment | None
    ) -> None:
        self.lines.append((line, attachment.filename if attachment else None))
        await self._answer(interaction)

    async def invoked_on(
        self, interaction: discord.Interaction[Any], command_name: str, message: discord.Message
    ) -> None:
        self.menus.append((command_name, message.content))
        await self._answer(interaction)

    async def suggest_values(
        self, interaction: discord.Interaction[Any], command_name: str, option_name: str, typed: str
    ) -> tuple[str, ...]:
        self.typed.append((*read_interaction(interaction), command_name, option_name, typed))
        await asyncio.sleep(self.waits_s)
        if self.error:
            raise self.error
        return self.suggested

    async def _answer(self, interaction: discord.Interaction[Any]) -> None:
        if self.error:
            raise self.error
        nobody = discord.AllowedMentions.none()
        await interaction.response.send_message("done", allowed_mentions=nobody, suppress_embeds=True)


def tree_of(commands: Mapping[str, Command], recorder: Recorder | None = None) -> CommandTree:
    tree = CommandTree(discord.Client(intents=discord.Intents(guilds=True)))
    add_commands(tree, commands, recorder or Recorder())
    return tree


def payload_of(tree: CommandTree) -> list[dict[str, Any]]:
    return [command.to_dict(tree) for command in tree.get_commands()]


def named(payload: list[dict[str, Any]], *path: str) -> dict[str, Any]:
    found: dict[str, Any] = {"options": payload}
    for name in path:
        found = next(one for one in found["options"] if one["name"] == name)
    return found


@asynccontextmanager
async def connected(recorder: Recorder) -> AsyncIterator[tuple[Discord, Any]]:
    """Run a real client with the tree against the stand-in; yield that and a server."""
    ready = asyncio.Event()

    class Client(discord.Client):
        async def setup_hook(self) -> None:
            tree = CommandTree(self)
            add_commands(tree, COMMANDS, recorder)
            await tree.sync()

        async def on_ready(self) -> None:
            ready.set()

    async with serve_discord() as server:
        guild = server.world.add_guild("Testers")
        with pointed_at(server):
            async with Client(intents=discord.Intents(guilds=True)) as client:
                running = asyncio.create_task(client.start(server.token))
                await asyncio.wait_for(ready.wait(), 10)
                yield server, guild
                await client.close()
                await running
        server.assert_clean()


async def test_all_commands_are_within_discord_s_limits() -> None:
    assert objections("PUT", PATH, payload_of(tree_of(COMMANDS))) == []


async def test_every_command_has_both_forms() -> None:
    payload = payload_of(tree_of(COMMANDS))
    for command in COMMANDS.values():
        first, *second = command.name.split()
        group = f"{first}-edit" if second and command.who == "moderators" else first
        assert named(payload, group, *second)["description"]


async def test_subcommands_are_a_group_and_moderators_subcommands_another() -> None:
    commands = [
        Command("prompt list", "what there is", answer),
        Command("prompt edit", "change one", answer, arguments=("NAME",), who="moderators"),
        Command("prompt new", "make one", answer, who="moderators"),
        Command("purge", "remove", answer, arguments=("N",), who="moderators"),
        Command("stats", "figures", answer),
    ]
    payload = payload_of(tree_of({command.name: command for command in commands}))
    assert [(one["name"], one["default_member_permissions"]) for one in payload] == [
        ("prompt", None),
        ("prompt-edit", MANAGE),
        ("purge", MANAGE),
        ("stats", None),
    ]
    assert [one["name"] for one in named(payload, "prompt-edit")["options"]] == ["edit", "new"]
    assert objections("PUT", PATH, payload) == []


@pytest.mark.parametrize(
    ("name", "contexts", "installs"),
    [
        ("complete", [0, 1, 2], [0, 1]),
        ("prompt", [0, 1, 2], [0, 1]),
        ("fresh", [0, 1], [0]),
        ("context", [0, 1], [0]),
        ("why", [0, 1], [0]),
        ("settings", [0, 1], [0]),
    ],
)
async def test_commands_on_a_stored_conversation_are_not_offered_to_user_installs(
    name: str, contexts: list[int], installs: list[int]
) -> None:
    found = named(payload_of(tree_of(COMMANDS)), name)
    assert (found["contexts"], found["integration_types"]) == (contexts, installs)


async def test_menus_are_declared_and_at_most_five() -> None:
    menus = {command.menu: command for command in COMMANDS.values() if command.menu}
    payload = [one for one in payload_of(tree_of(COMMANDS)) if one["type"] == 3]
    assert {one["name"] for one in payload} == set(menus)
    six = {f"c{n}": Command(f"c{n}", "summary", answer, menu=f"Menu {n}") for n in range(6)}
    with pytest.raises(ValueError, match="6 menu entries"):
        tree_of(six)


async def test_a_slash_command_becomes_its_line_and_keeps_its_file() -> None:
    recorder = Recorder()
    async with connected(recorder) as (server, guild):
        ana = server.add_member(guild, "ana")
        channel = guild.channels[0]
        await ana.slash(channel, "complete", text="Once --upon", n=2, temperature=0.5, stop="\\n", stop_2="a b")
        await ana.slash(channel, "prompt run", name="sentiment", text="I like it")
        await ana.slash(channel, "perplexity", file=("notes.txt", b"hello"))
        await ana.slash(channel, "stats")
    assert recorder.lines == [
        ('!complete --n 2 --temperature 0.5 --stop \\n --stop "a b" Once --upon', None),
        ("!prompt run sentiment I like it", None),
        ("!perplexity", "notes.txt"),
        ("!stats", None),
    ]


async def test_a_menu_entry_names_its_command_and_brings_the_message() -> None:
    recorder = Recorder()
    async with connected(recorder) as (server, guild):
        ana = server.add_member(guild, "ana")
        message = ana.says(guild.channels[0], "a surprising text")
        await ana.uses_menu("Perplexity", message)
    assert recorder.menus == [("perplexity", "a surprising text")]


async def test_suggestions_depend_on_the_place_the_person_and_the_text() -> None:
    recorder = Recorder(suggested=("sentiment", "", "x" * 101, "x" * 100, *map(str, range(40))))
    async with connected(recorder) as (server, guild):
        ana = server.add_member(guild, "ana", permissions=Permission.MANAGE_GUILD)
        channel = guild.channels[0]
        choices = await ana.types(channel, "prompt run", "name", "sen")
    assert [choice.value for choice in choices] == ["sentiment", "x" * 100, *map(str, range(23))]
    ((scope, author, command, option, typed),) = recorder.typed
    assert scope == Scope("discord", str(guild.id), str(channel.id))
    assert (author.id, author.is_moderator) == (str(ana.id), True)
    assert (command, option, typed) == ("prompt run", "NAME", "sen")


async def test_suggestions_that_fail_or_take_too_long_are_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(error=ValueError("a secret text"))
    async with connected(recorder) as (server, guild):
        ana = server.add_member(guild, "ana")
        assert await ana.types(guild.channels[0], "prompt run", "name", "sen") == []
        monkeypatch.setattr(command_tree, "SUGGESTING_S", 0.05)
        recorder.error, recorder.waits_s = None, 60.0
        assert await ana.types(guild.channels[0], "prompt run", "name", "sen") == []
    told = [record.getMessage() for record in caplog.records if record.name == command_tree.__name__]
    assert told == ["could not suggest values: ValueError", "could not suggest values: TimeoutError"]
    assert "secret" not in caplog.text


async def test_an_error_is_one_sentence_that_only_the_person_sees(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(error=RequestError("n takes a whole number from 1 to 5."))
    async with connected(recorder) as (server, guild):
        ana = server.add_member(guild, "ana")
        refused = await ana.slash(guild.channels[0], "stats")
        recorder.error = ValueError("a secret text")
        broken = await ana.slash(guild.channels[0], "stats")
    for result, sentence in ((refused, "n takes a whole number from 1 to 5."), (broken, "Something broke inside")):
        assert result.message is not None
        assert result.is_ephemeral
        assert sentence in visible_text(result.message)
    told = [record.getMessage() for record in caplog.records if record.name == command_tree.__name__]
    assert len(told) == 1
    assert told[0].startswith("/stats failed: ValueError")
    assert "secret" not in caplog.text


async def test_a_command_that_is_gone_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, command_tree.__name__)
    async with connected(Recorder()) as (server, guild):
        ana = server.add_member(guild, "ana")
        for command in server.world.commands[None]:
            if command["name"] == "stats":
                command["name"] = "figures"
        result = await ana.slash(guild.channels[0], "figures")
        assert result.message is not None
        assert "has changed" in visible_text(result.message)
        assert result.is_ephemeral
    assert [record for record in caplog.records if record.name == command_tree.__name__] == []


async def test_the_hash_follows_the_commands_and_the_application() -> None:
    tree, same = tree_of(COMMANDS), tree_of(COMMANDS)
    assert tree_hash(tree) == tree_hash(same)
    changed = tree_of({**COMMANDS, "stats": replace(COMMANDS["stats"], summary="other figures")})
    assert tree_hash(changed) != tree_hash(tree)
    same.client._connection.application_id = 17
    assert tree_hash(same) != tree_hash(tree)


async def test_commands_are_sent_only_if_they_changed() -> None:
    kept: list[str] = []

    async def read_hash() -> str | None:
        return kept[-1] if kept else None

    async def write_hash(value: str) -> None:
        kept.append(value)

    async with serve_discord() as server:
        with pointed_at(server):
            async with discord.Client(intents=discord.Intents(guilds=True)) as client:
                await client.login(server.token)
                tree = CommandTree(client)
                add_commands(tree, COMMANDS, Recorder())
                assert await sync_if_changed(tree, read_hash, write_hash)
                assert not await sync_if_changed(tree, read_hash, write_hash)
                assert await sync_if_changed(tree, read_hash, write_hash, force=True)
                tree.remove_command("stats")
                assert await sync_if_changed(tree, read_hash, write_hash)
        assert server.num_command_syncs == 3
        assert len(set(kept)) == 2
        server.assert_clean()
