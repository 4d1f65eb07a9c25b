"""Channels in which the bot may not do everything: what is missing is named, and nothing is written for nobody."""

from collections.abc import AsyncIterator
from pathlib import Path

import discord
import pytest

from bot.platforms.discord.outgoing.permissions import refused_in
from tests.platforms.discord.evenings import Evening
from tests.platforms.discord.test_chat_on_discord import scripted
from tests.servers.discord import visible_text
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import Channel


@pytest.fixture
async def evening(tmp_path: Path) -> AsyncIterator[Evening]:
    async with scripted(tmp_path, "Hello there.") as opened:
        yield opened


async def deny(evening: Evening, channel: Channel, permissions: Permission) -> None:
    """Take permissions from the bot in a channel, and wait until the bot knows."""
    world = evening.discord.world
    role_id = evening.guild.members[world.bot.id].role_ids[0]
    world.set_overwrite(channel, evening.guild.roles[role_id], deny=permissions)
    client = evening.client
    assert client is not None

    def is_known() -> bool:
        found = client.get_channel(channel.id)
        assert isinstance(found, discord.TextChannel)
        return found.overwrites != {} and any(denied.value for _, denied in map(_pair, found.overwrites.values()))

    await world.wait_until(is_known, 5, "the new permissions")


def _pair(overwrite: discord.PermissionOverwrite) -> tuple[discord.Permissions, discord.Permissions]:
    return overwrite.pair()


async def settled(evening: Evening) -> None:
    """Let the bot handle everything that was said so far: what is said after it elsewhere is answered."""
    other = evening.guild.channel("other")
    await evening.discord.reply(evening.bob.says(other, "Are you there?", mention_bot=True))


async def test_where_nothing_can_be_sent_nothing_is_written_and_the_operator_learns_why(evening: Evening):
    await deny(evening, evening.general, Permission.SEND_MESSAGES)
    asked = evening.ada.says(evening.general, "Hello bot", mention_bot=True)
    evening.ada.says(evening.general, "!complete The cat")
    evening.ada.says(evening.general, "Only for you")
    await settled(evening)
    assert len(evening.engine.read) == 1, "only the question in the other channel"
    assert evening.discord.num_invalid_requests == 0
    assert [line for line in evening.told if "missing" in line] == [
        f"The bot is missing the permission Send Messages in #general of 'Home' ({evening.general.id})."
        " Allow it there for the bot's role."
    ]
    await evening.discord.world.wait_until(lambda: asked.reactions, 5, "the sign")
    assert list(asked.reactions) == ["⚠️"]
    assert await evening.running.num_stored() == 2, "the question in the other channel, and its answer"


async def test_slash_commands_work_where_nothing_can_be_sent(evening: Evening):
    await deny(evening, evening.general, Permission.SEND_MESSAGES)
    result = await (await evening.ada.slash(evening.general, "complete", text="The cat", n=1)).finished()
    assert result.message is not None
    assert "Hello there." in visible_text(result.message)


async def test_in_a_thread_it_is_the_permission_for_threads(evening: Evening):
    said = evening.ada.says(evening.general, "A topic")
    thread = evening.ada.opens_thread(said, "topic")
    await deny(evening, evening.general, Permission.SEND_MESSAGES_IN_THREADS)
    evening.ada.says(thread, "Hello bot", mention_bot=True)
    await settled(evening)
    assert len(evening.engine.read) == 1
    assert "the permission Send Messages in Threads in #topic" in evening.told[-1]
    # In the channel itself it still answers.
    await evening.discord.reply(evening.ada.says(evening.general, "Hello bot", mention_bot=True))


async def test_without_send_messages_in_the_channel_threads_are_still_answered(evening: Evening):
    said = evening.ada.says(evening.general, "A topic")
    thread = evening.ada.opens_thread(said, "topic")
    await deny(evening, evening.general, Permission.SEND_MESSAGES)
    await evening.discord.reply(evening.ada.says(thread, "Hello bot", mention_bot=True))


async def test_a_file_that_may_not_be_sent_is_named_as_that(evening: Evening):
    await deny(evening, evening.general, Permission.ATTACH_FILES)
    evening.engine.scripts = [" ".join(f"word{number}" for number in range(2000))]
    answer = await evening.discord.reply(evening.ada.says(evening.general, "Hello bot", mention_bot=True))
    assert "the bot needs the permission Attach Files" in visible_text(answer)
    assert evening.discord.num_invalid_requests == 0
    assert evening.told[-1].startswith("The bot is missing the permission Attach Files in #general")


async def test_without_the_history_an_answer_is_no_reply_and_the_operator_learns_why(evening: Evening):
    await deny(evening, evening.general, Permission.READ_MESSAGE_HISTORY)
    evening.ada.says(evening.general, "Hello bot", mention_bot=True)
    world = evening.discord.world
    await world.wait_until(evening.bot_messages, 10, "the answer")
    assert "Read Message History" in evening.told[-1]


async def test_a_reaction_that_may_not_be_added_is_named_as_that(evening: Evening):
    await deny(evening, evening.general, Permission.ADD_REACTIONS)
    first = evening.ada.says(evening.general, "!next")
    await evening.discord.reply(first)
    for number in range(6):  # above what is refused in words
        evening.ada.says(evening.general, f"!next --nonsense {number}")
    await evening.discord.world.wait_until(
        lambda: any("Add Reactions" in line for line in evening.told), 10, "the notice"
    )


async def test_of_a_refused_request_the_missing_permission_is_named_or_the_likeliest(evening: Evening):
    client = evening.client
    assert client is not None
    channel = client.get_channel(evening.general.id)
    assert refused_in(channel, ("view_channel", "embed_links")) == ("Embed Links",)
    await deny(evening, evening.general, Permission.SEND_MESSAGES)
    assert refused_in(channel, ("view_channel", "send_messages", "attach_files")) == ("Send Messages",)
