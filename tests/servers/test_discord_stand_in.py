"""The real discord.py client against the stand-in: what works on Discord works here."""

from collections.abc import AsyncIterator

import discord
import pytest

from tests.servers.discord import Discord, pointed_at, serve_discord, visible_text
from tests.servers.discord.identifying import IdentifyLimit
from tests.servers.discord.members import Choice
from tests.servers.discord.options import NotOffered
from tests.servers.discord.permissions import EVERYONE, Permission
from tests.servers.discord.rate_limits import RateLimits
from tests.servers.discord.world import Message
from tests.servers.plain_bot import Home, PlainBot, at_home, running


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    async with at_home() as opened:
        yield opened


async def shown(home: Home, text: str = "hey") -> Message:
    """Return the bot's message with buttons."""
    message = (await home.ada.slash(home.general, "say", text=text)).message
    assert message
    return message


async def test_a_message_is_answered_by_a_reply(home: Home):
    reply = await home.stand_in.reply(home.ada.says(home.general, "hello"))
    assert visible_text(reply) == "You said hello"
    assert home.bot.user
    assert home.bot.user.id == home.stand_in.world.bot.id
    home.stand_in.assert_clean()


async def test_a_slash_command_is_answered(home: Home):
    result = await home.ada.slash(home.general, "say", text="hey", times=2)
    assert result.kind == "message"
    assert result.acknowledged_after_s
    assert result.message
    assert visible_text(result.message) == "hey hey"
    home.stand_in.assert_clean()


@pytest.mark.parametrize(
    ("command", "values", "reason"),
    [
        ("shout", {}, "no command 'shout'"),
        ("say", {}, "needs the option 'text'"),
        ("say", {"text": "a", "loud": True}, "has no option"),
        ("say", {"text": 5}, "takes no 5"),
        ("say", {"text": "a", "times": 4}, "allows 1 to 3, not 4"),
        ("prompt", {}, "needs a subcommand"),
        ("prompt walk", {}, "no subcommand 'walk'"),
    ],
)
async def test_the_client_refuses_what_is_not_declared(
    home: Home, command: str, values: dict[str, object], reason: str
):
    with pytest.raises(NotOffered, match=reason):
        await home.ada.slash(home.general, command, **values)


async def test_suggestions_come_while_somebody_types(home: Home):
    assert await home.ada.types(home.general, "prompt run", "name", "sen") == [Choice("sentiment", "sentiment")]


async def test_a_deferred_answer_is_filled_in(home: Home):
    result = await home.ada.slash(home.general, "prompt run", name="sentiment")
    assert result.kind == "deferred"
    await result.finished()
    assert result.message
    assert visible_text(result.message) == "ran sentiment"
    home.stand_in.assert_clean()


async def test_buttons_and_selects_change_the_message(home: Home):
    message = await shown(home)
    assert (await home.ada.clicks(message, "Again")).kind == "update"
    assert visible_text(message) == "again None"
    await home.ada.selects(message, "How many", "Two")
    assert visible_text(message) == "how_many ['2']"
    await (await home.ada.clicks(message, "slow")).finished()
    assert visible_text(message) == "slowly"
    home.stand_in.assert_clean()


async def test_only_what_is_there_can_be_pressed(home: Home):
    message = await shown(home)
    with pytest.raises(NotOffered, match="0 components are called 'Undo'; there are \\['Again', 'Fill in', 'Slow'\\]"):
        await home.ada.clicks(message, "Undo")
    home.stand_in.world.delete(message)
    with pytest.raises(NotOffered, match="does not see"):
        await home.ada.clicks(message, "Again")


async def test_a_form_takes_lines_and_files(home: Home):
    opened = await home.ada.clicks(await shown(home), "Fill in")
    assert opened.kind == "modal"
    with pytest.raises(NotOffered, match="'Name' has to be filled in"):
        await home.ada.submits(opened.modal, {})
    with pytest.raises(NotOffered, match="no field \\['Age'\\]"):
        await home.ada.submits(opened.modal, {"Name": "Ada", "Age": "36"})
    submitted = await home.ada.submits(opened.modal, {"Name": "Ada", "file": ("a.txt", b"inside")})
    assert submitted.is_ephemeral
    assert submitted.message
    assert visible_text(submitted.message) == "Hello Ada ['a.txt'] ['inside']"
    assert submitted.message not in home.general.messages
    home.stand_in.assert_clean()


async def test_a_menu_gets_the_message(home: Home):
    result = await (await home.ada.uses_menu("Length", home.ada.says(home.general, "four quiet"))).finished()
    assert result.is_ephemeral
    assert result.message
    assert visible_text(result.message) == "10 characters"
    home.stand_in.assert_clean()


async def test_direct_messages_and_threads_are_channels_too(home: Home):
    stand_in, ada = home.stand_in, home.ada
    assert visible_text(await stand_in.reply(ada.dm("psst"))) == "You said psst"
    thread = ada.opens_thread(ada.says(home.general, "start quiet"), "A thread")
    assert visible_text(await stand_in.reply(ada.says(thread, "in here"))) == "You said in here"
    assert (await ada.slash(thread, "say", text="hey")).message in thread.messages
    assert (await ada.slash(stand_in.world.dm_channel(ada.user), "say", text="hey")).kind == "message"
    stand_in.assert_clean()


async def test_an_app_that_only_a_person_has_installed_works_where_the_bot_is_not(home: Home):
    away = home.stand_in.world.add_guild("Away", is_bot_member=False)
    bob = home.stand_in.add_member(away, "bob")
    with pytest.raises(NotOffered, match="not installed here"):
        await bob.slash(away.channel("general"), "say", text="hey")
    bob.user.has_installed = True
    result = await bob.slash(away.channel("general"), "say", text="hey")
    assert result.message
    group = home.stand_in.world.add_group("friends", [bob.user, home.ada.user])
    assert (await bob.slash(group, "say", text="hey")).kind == "message"
    home.stand_in.assert_clean()


async def test_moderator_commands_are_offered_to_moderators_only(home: Home):
    home.stand_in.world.commands[None][0]["default_member_permissions"] = str(int(Permission.MANAGE_GUILD))
    mod = home.stand_in.add_member(home.guild, "mod", permissions=Permission.MANAGE_GUILD)
    with pytest.raises(NotOffered, match="not offered to ada"):
        await home.ada.slash(home.general, "say", text="hey")
    for person in (mod, home.stand_in.owner_of(home.guild)):
        assert (await person.slash(home.general, "say", text="hey")).kind == "message"


async def test_edits_and_deletions_arrive(home: Home):
    edited: list[tuple[int, str]] = []
    deleted: list[int] = []

    async def on_raw_message_edit(event: discord.RawMessageUpdateEvent) -> None:
        edited.append((event.message_id, event.message.content))

    async def on_raw_message_delete(event: discord.RawMessageDeleteEvent) -> None:
        deleted.append(event.message_id)

    async def on_raw_bulk_message_delete(event: discord.RawBulkMessageDeleteEvent) -> None:
        deleted.extend(sorted(event.message_ids))

    for listener in (on_raw_message_edit, on_raw_message_delete, on_raw_bulk_message_delete):
        home.bot.add_listener(listener)
    first, second, third = (home.ada.says(home.general, f"{number} quiet") for number in "123")
    home.ada.edits(first, "changed")
    home.ada.deletes(first)
    home.stand_in.owner_of(home.guild).deletes(second, third)
    await home.stand_in.world.wait_until(lambda: len(deleted) == 3, 5, "three deletions")
    assert edited == [(first.id, "changed")]
    assert deleted == [first.id, second.id, third.id]


async def test_history_is_read_page_by_page(home: Home):
    said = [home.ada.says(home.general, f"{number} quiet").id for number in range(120)]
    channel = home.bot.get_channel(home.general.id)
    assert isinstance(channel, discord.TextChannel)
    assert [message.id async for message in channel.history(limit=None, after=discord.Object(said[9]))] == said[10:]
    newest = [message.id async for message in channel.history(limit=3, before=discord.Object(said[-1]))]
    assert newest == said[-4:-1][::-1]
    around = [message.id async for message in channel.history(limit=3, around=discord.Object(said[50]))]
    assert said[50] in around


async def test_files_go_both_ways(home: Home):
    channel = home.bot.get_channel(home.general.id)
    assert isinstance(channel, discord.TextChannel)
    said = home.ada.says(home.general, "quiet", files=[("long.txt", b"words " * 1000)])
    fetched = await channel.fetch_message(said.id)
    assert await fetched.attachments[0].read() == b"words " * 1000
    import io

    sent = await channel.send(file=discord.File(io.BytesIO(b"answer"), "answer.txt"))
    assert await sent.attachments[0].read() == b"answer"
    home.stand_in.assert_clean()


async def test_a_bot_without_the_intent_reads_only_what_is_for_it():
    async with at_home(grants_message_content=False) as home:
        home.ada.says(home.general, "secret quiet")
        home.ada.says(home.general, "open quiet", mention_bot=True)
        home.ada.dm("direct quiet")
        await home.stand_in.world.wait_until(lambda: len(home.bot.heard) == 3, 5, "three messages")
        assert home.bot.heard == ["", f"<@{home.stand_in.world.bot.id}> open quiet", "direct quiet"]
        answers = home.stand_in.answers_to(home.general.messages[0])
        reply = home.ada.says(home.general, "to you quiet", reply_to=answers[0])
        await home.stand_in.world.wait_until(lambda: len(home.bot.heard) == 4, 5, "the reply")
        assert home.bot.heard[-1] == reply.content


async def test_an_intent_that_is_not_granted_ends_the_connection():
    async with serve_discord(grants_message_content=False) as stand_in:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            async with running(stand_in, PlainBot()):
                pass


async def test_a_wrong_token_is_refused():
    async with serve_discord(token="right") as stand_in:
        stand_in.gateway.token = "other"
        with pytest.raises(discord.ConnectionClosed, match="4004"):
            async with running(stand_in, PlainBot()):
                pass
        with pointed_at(stand_in):
            async with PlainBot() as bot:
                with pytest.raises(discord.LoginFailure):
                    await bot.login("wrong")


async def test_several_shards_hear_their_own_guilds():
    async with serve_discord(num_shards=2) as stand_in:
        guilds = [stand_in.world.add_guild(f"Guild {number}") for number in range(4)]
        async with running(stand_in, PlainBot()) as bot:
            assert stand_in.gateway.num_identifies == 2
            for guild in guilds:
                await stand_in.wait_for_reply(stand_in.owner_of(guild).says(guild.channel("general"), guild.name))
            assert sorted(bot.heard) == [guild.name for guild in guilds]


async def test_a_session_that_begins_too_soon_after_another_one_in_its_bucket_is_refused():
    limit = IdentifyLimit(max_concurrency=2, pause_s=60)
    assert [limit.is_too_soon(shard_id) for shard_id in (0, 1, 2, 3)] == [False, False, True, True]
    async with serve_discord() as stand_in:
        stand_in.gateway.identifying.pause_s = 60
        async with running(stand_in, PlainBot()):
            await stand_in.gateway.send_invalid_session(False)
            await stand_in.world.wait_until(lambda: stand_in.gateway.num_identifies == 2, 10, "another session")
            assert stand_in.gateway.violations == ["gateway: IDENTIFY of shard 0 too soon after another one"]


async def test_joining_and_leaving_a_guild_is_told(home: Home):
    new = home.stand_in.world.add_guild("New", is_bot_member=False)
    home.stand_in.world.let_bot_join(new, EVERYONE)
    await home.stand_in.world.wait_until(lambda: home.bot.get_guild(new.id), 5, "the new guild")
    home.stand_in.world.let_bot_leave(new)
    await home.stand_in.world.wait_until(lambda: home.bot.get_guild(new.id) is None, 5, "the guild to be gone")


def test_the_client_is_pointed_back_afterwards():
    before = (discord.http.Route.BASE, discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY)
    stand_in = Discord(token="", seed=0, limits=RateLimits(max_per_s=None, limits_routes=False))
    stand_in.api_base = "http://127.0.0.1:1/api/v10"
    with pointed_at(stand_in):
        assert stand_in.api_base == discord.http.Route.BASE
    assert before == (discord.http.Route.BASE, discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY)
