"""Several programs on Discord, each with some of the shards: every message is answered by one of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.core.cards import Card, Text
from bot.core.database_url import DatabaseUrl
from bot.core.messages import Author, Message, Scope
from bot.core.shards import Shards
from bot.errors import DeliveryFailed, MissingPermission, SetupError
from bot.platforms.discord.client import FewshotClient
from bot.platforms.discord.platform import DiscordPlatform
from bot.platforms.discord.running import run_discord
from bot.platforms.discord.starting import Application, look_up_application
from bot.platforms.discord.traits import DISCORD
from bot.services.ledger import Delivery
from bot.services.sharing import Sharing, SharingTimings
from tests.bots import ScriptedEngine, Talk, open_scripted_bot
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.servers.discord import Discord, pointed_at, serve_discord, visible_text
from tests.servers.discord.faults import Fault
from tests.servers.discord.permissions import EVERYONE
from tests.servers.discord.world import Guild

QUICK = SharingTimings(beat_s=0.1, look_s=0.05)
PARTS = (Shards(0, 1, 4), Shards(2, 3, 4))


@dataclass
class Part:
    talk: Talk
    client: FewshotClient
    engine: ScriptedEngine
    told: list[str]


@asynccontextmanager
async def a_part(
    folder: Path, address: DatabaseUrl, discord: Discord, shards: Shards, *, is_held: bool = False, **how: Any
) -> AsyncIterator[Part]:
    """Run a program with some shards; what it writes says which."""
    folder = folder / str(shards.first)
    folder.mkdir(exist_ok=True)
    engine, told = ScriptedEngine([f"I have {shards.phrase}."], is_held=is_held), list[str]()
    async with (
        open_scripted_bot(engine, folder, database=address) as talk,
        Sharing.open(talk.store, lambda: [f"discord {name}" for name in shards.names], timings=QUICK) as sharing,
        on_discord(talk, discord, tell=told.append, sharing=sharing, shards=shards, retry_pause_s=0.1, **how) as client,
    ):
        yield Part(talk, client, engine, told)


@asynccontextmanager
async def a_world() -> AsyncIterator[tuple[Discord, list[Guild]]]:
    """Open the stand-in with a server in each of four shards, in their order."""
    async with serve_discord(token=TOKEN) as discord:
        discord.gateway.num_shards = 4
        found: dict[int, Guild] = {}
        while len(found) < 4:
            guild = discord.world.add_guild("A server", channels=["general"])
            found.setdefault((guild.id >> 22) % 4, guild)
            discord.world.next_id()
            await asyncio.sleep(0.002)
        yield discord, [found[number] for number in range(4)]
        discord.assert_clean()


async def test_each_program_answers_in_its_own_servers(tmp_path: Path, address: DatabaseUrl) -> None:
    async with a_world() as (discord, guilds), AsyncExitStack() as stack:
        parts = [await stack.enter_async_context(a_part(tmp_path, address, discord, one)) for one in PARTS]
        for number, guild in enumerate(guilds):
            ann = discord.add_member(guild, "Ann")
            answer = await discord.reply(ann.says(guild.channel("general"), "Hello bot", mention_bot=True))
            assert visible_text(answer) == f"I have {PARTS[number // 2].phrase}."
        in_direct = discord.add_user("Bob")
        answer = await discord.reply(in_direct.says(discord.world.dm_channel(in_direct.user), "Hello"))
        assert visible_text(answer) == "I have shards 0 to 1 of 4."
        assert [len(part.client.guilds) for part in parts] == [
            sum(shards.has_server(guild.id) for guild in discord.world.guilds.values()) for shards in PARTS
        ]
        assert all(f"({shards.phrase})." in part.told[0] for part, shards in zip(parts, PARTS, strict=True))
        assert len([one for one in discord.requests if one.method == "PUT" and one.path.endswith("/commands")]) == 1


@pytest.mark.parametrize("num_buckets", [1, 2])
async def test_sessions_begin_one_after_another_in_all_programs(
    tmp_path: Path, address: DatabaseUrl, num_buckets: int
) -> None:
    async with a_world() as (discord, _):
        discord.gateway.identifying.max_concurrency = num_buckets
        discord.gateway.identifying.pause_s = 1.0  # too soon is a violation, and begins no session
        async with AsyncExitStack() as stack:

            async def connect(shards: Shards) -> None:
                await stack.enter_async_context(a_part(tmp_path, address, discord, shards, identify_pause_s=1.0))

            await asyncio.gather(*map(connect, PARTS))
        began = discord.gateway.identifying.began_at_s
        assert [len(times) for times in began.values()] == [4 // num_buckets] * num_buckets
        assert (max(map(max, began.values())) - min(map(min, began.values())) < 2.5) == (num_buckets == 2)


async def test_slash_commands_that_are_unchanged_wait_for_no_other_program(
    tmp_path: Path, address: DatabaseUrl
) -> None:
    async with a_world() as (discord, _), a_part(tmp_path, address, discord, PARTS[0]) as one:
        assert await one.talk.store.claim("discord", "commands", 60) == 0
        async with asyncio.timeout(20), a_part(tmp_path, address, discord, PARTS[1]):
            pass


async def test_changed_slash_commands_wait_for_the_program_that_sends_some(
    tmp_path: Path, address: DatabaseUrl
) -> None:
    async with a_world() as (discord, _), a_part(tmp_path, address, discord, PARTS[0]) as one:

        def num_sent() -> int:
            return sum(request.method == "PUT" and request.path.endswith("/commands") for request in discord.requests)

        store = one.talk.store
        await store.set_note("discord", "discord_command_tree", "an older hash")
        assert await store.claim("discord", "commands", 60) == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5), a_part(tmp_path, address, discord, PARTS[1]):
                raise AssertionError("it has started")
        # Who gave up has not given back what another one has.
        assert await store.claim("discord", "commands", 60) > 0
        assert num_sent() == 1
        await store.release("discord", "commands")
        async with a_part(tmp_path, address, discord, PARTS[1]):
            assert num_sent() == 2


async def test_too_few_shards_are_told_in_one_sentence(tmp_path: Path) -> None:
    async with (
        serve_discord(token=TOKEN) as discord,
        open_scripted_bot(ScriptedEngine([]), tmp_path) as talk,
    ):
        discord.gateway.identifying.min_shards = 2
        with pointed_at(discord):
            application = await look_up_application(TOKEN)

            def client_of(application: Application) -> FewshotClient:
                delivery = Delivery(talk.store, DISCORD)
                return FewshotClient(talk.bot, delivery, application, api_base=discord.api_base, shards=Shards(0, 0, 1))

            with pytest.raises(SetupError, match="SHARDS has too few shards"):
                await run_discord(client_of, application, TOKEN, lambda _: None, is_over=asyncio.Event())


async def test_a_server_that_was_left_is_erased_by_the_program_that_has_its_shard(
    tmp_path: Path, address: DatabaseUrl
) -> None:
    async with a_world() as (discord, guilds):
        for shards in PARTS:
            async with a_part(tmp_path, address, discord, shards):
                for guild in guilds:
                    if shards.has_server(guild.id):
                        ann = discord.add_member(guild, "Ann")
                        await discord.reply(ann.says(guild.channel("general"), "Hello bot", mention_bot=True))

        async def num_stored(part: Part) -> list[int]:
            stored = [await part.talk.store.count_stored(platform="discord", server=str(one.id)) for one in guilds]
            return [one.num_messages for one in stored]

        discord.world.let_bot_leave(guilds[3])
        async with a_part(tmp_path, address, discord, PARTS[0]) as part:
            await asyncio.sleep(0.3)
            assert all(await num_stored(part))
        async with a_part(tmp_path, address, discord, PARTS[1]) as part:
            async with asyncio.timeout(10):
                while (await num_stored(part))[3]:
                    await asyncio.sleep(0.02)
            assert all((await num_stored(part))[:3])


async def test_with_another_number_of_shards_no_server_is_erased_wrongly_and_none_is_kept(
    tmp_path: Path, address: DatabaseUrl
) -> None:
    async with a_world() as (discord, guilds):

        async def known(part: Part) -> set[str]:
            return set(json.loads(await part.talk.store.get_note("discord", f"servers_{discord.world.bot.id}") or "[]"))

        for shards in PARTS:
            async with a_part(tmp_path, address, discord, shards) as part:
                await discord.world.wait_until(lambda part=part: part.client.is_ready(), 10, "the shards")
        everywhere = {str(guild.id) for guild in discord.world.guilds.values()}
        gone = [guilds[2], guilds[3]]
        for guild in gone:
            discord.world.let_bot_leave(guild)
        discord.gateway.num_shards = 2
        left = set[str]()
        for shards in (Shards(0, 0, 2), Shards(1, 1, 2)):
            left |= {str(guild.id) for guild in gone if shards.has_server(guild.id)}
            async with a_part(tmp_path, address, discord, shards) as part, asyncio.timeout(10):
                while await known(part) != everywhere - left:
                    await asyncio.sleep(0.02)
        assert len(left) == 2


async def test_a_server_that_is_joined_takes_no_other_one_out_of_the_list(tmp_path: Path, address: DatabaseUrl) -> None:
    async with a_world() as (discord, guilds), a_part(tmp_path, address, discord, Shards(0, 3, 4)) as part:
        note = f"servers_{discord.world.bot.id}"
        store = part.talk.store
        async with asyncio.timeout(10):
            while str(guilds[0].id) not in (await store.get_note("discord", note) or ""):
                await asyncio.sleep(0.02)
        await store.set_note("discord", note, json.dumps(["1"]))
        new = discord.world.add_guild("New", is_bot_member=False)
        discord.world.let_bot_join(new, EVERYONE)
        async with asyncio.timeout(10):
            while str(new.id) not in (await store.get_note("discord", note) or ""):
                await asyncio.sleep(0.02)
        assert json.loads(await store.get_note("discord", note) or "") == ["1", str(new.id)]


async def test_a_report_of_a_server_of_another_program_is_posted_there_and_nowhere_else(
    tmp_path: Path, address: DatabaseUrl
) -> None:
    async with a_world() as (discord, guilds), a_part(tmp_path, address, discord, PARTS[0]) as part:
        platform = DiscordPlatform(part.client, part.client.sender, command_prefix="!")
        here = guilds[2].channel("general")
        scope = Scope("discord", str(guilds[2].id), str(here.id))
        cause = Message(id=str(discord.world.next_id()), scope=scope, author=Author("5", "Ann"), text="!report")
        await platform.post_notice(str(here.id), Card(blocks=(Text("A report."),)), cause, "n1")
        assert "A report." in visible_text(here.messages[-1])
        other = guilds[0].channel("general")
        with pytest.raises(MissingPermission):
            await platform.post_notice(str(other.id), Card(blocks=(Text("A report."),)), cause, "n2")
        discord.faults.sometimes("any", Fault("banned"), 1.0)
        with pytest.raises(DeliveryFailed):
            await platform.post_notice(str(here.id), Card(blocks=(Text("A report."),)), cause, "n3")
        discord.faults.clear()


async def test_what_another_program_has_left_is_answered_without_its_shard(
    tmp_path: Path, address: DatabaseUrl, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_world() as (discord, guilds), a_part(tmp_path, address, discord, PARTS[0]):
        ann = discord.add_member(guilds[2], "Ann")
        async with a_part(tmp_path, address, discord, PARTS[1], is_held=True) as other:
            asked = ann.says(guilds[2].channel("general"), "Hello bot", mention_bot=True)
            async with asyncio.timeout(10):
                while not other.engine.read:
                    await asyncio.sleep(0.02)
            await other.client.drain(0)
        answer = await discord.reply(asked)
        assert visible_text(answer) == "I have shards 0 to 1 of 4."
        assert discord.answers_to(asked) == [answer]
