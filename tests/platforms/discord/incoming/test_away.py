"""A bot that was away: messages sent meanwhile are answered, or a notice says that they are too old."""

import time
from collections.abc import AsyncIterator

import pytest

from bot.platforms.discord.client import FewshotClient
from bot.platforms.discord.starting import Application
from bot.platforms.discord.traits import DISCORD
from bot.services.ledger import Delivery
from bot.store.backend import Transaction
from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.discord.evenings import Evening, an_evening
from tests.servers.discord import visible_text
from tests.servers.discord.permissions import Permission
from tests.servers.discord.world import EPOCH_MS, Channel, Message, User


@pytest.fixture
async def evening(tmp_path) -> AsyncIterator[Evening]:
    engine = ScriptedEngine(["An answer."])
    async with an_evening(lambda: open_scripted_bot(engine, tmp_path)) as evening:
        yield evening


def id_of(then: float) -> int:
    return (int(then * 1000) - EPOCH_MS) << 22


def said_before(evening: Evening, channel: Channel, author: User, seconds: float, text: str = "") -> Message:
    """Add a first message to `channel` that mentions the bot and is that old."""
    then = time.time() - seconds
    me = evening.discord.world.bot
    message = Message(id_of(then), channel, author, text or f"<@{me.id}> Hello", mention_ids=[me.id], created_at=then)
    evening.discord.world.messages[message.id] = message
    channel.messages.append(message)
    channel.messages.sort(key=lambda one: one.id)
    return message


async def was_away_for(evening: Evening, seconds: float) -> None:
    """Set the stored watermarks back by that time."""
    async with evening.open_talk() as talk:
        keys = [
            f"{number}/{evening.discord.gateway.num_shards}" for number in range(evening.discord.gateway.num_shards)
        ]
        await talk.store.regroup_watermarks("discord", [])
        for key in keys:
            await talk.store.advance_watermark("discord", key, str(id_of(time.time() - seconds)))


async def told_again(evening: Evening, num: int) -> None:
    """Wait until that many messages were sent a second time."""
    discord = evening.discord
    await discord.world.wait_until(lambda: discord.num_deduplicated >= num, 10, "messages to be sent again")


def notices(evening: Evening, channel: Channel) -> list[str]:
    return [text for one in evening.bot_messages(channel) if "away" in (text := visible_text(one))]


async def test_messages_that_are_too_old_get_one_notice_in_each_channel(evening: Evening) -> None:
    other, reports = evening.guild.channel("other"), evening.guild.channel("reports")
    direct = evening.discord.world.dm_channel(evening.ada.user)
    async with evening.run():
        # Its channel is known from then on.
        await evening.discord.reply(evening.ada.dm("Hello"))
    await was_away_for(evening, 7200)
    for seconds in (3600, 3500, 1000):
        said_before(evening, other, evening.ada.user, seconds)
    said_before(evening, evening.general, evening.bob.user, 1200)
    said_before(evening, direct, evening.ada.user, 1100, "Hello again")
    said_before(evening, reports, evening.bob.user, 1200, "Nothing for the bot").mention_ids.clear()
    recent = said_before(evening, reports, evening.bob.user, 600)
    for num_before in (0, 3):
        async with evening.run():
            await evening.discord.reply(recent)
            await evening.discord.wait_for_message(evening.general)
            # Told once more, it is the same message to Discord.
            await told_again(evening, num_before)
        await was_away_for(evening, 7200)
    one = "I was away and missed a message that is now too old to answer. Please ask again."
    three = "I was away and missed 3 messages that are now too old to answer. Please ask again."
    assert notices(evening, other) == [three]
    assert notices(evening, evening.general) == [one]
    assert notices(evening, direct) == [one]
    assert notices(evening, reports) == []


async def test_answered_messages_get_no_notice(evening: Evening) -> None:
    async with evening.run():
        asked = evening.ada.says(evening.general, "Hello", mention_bot=True)
        await evening.discord.reply(asked)
    # The same message as it is read back after an hour: the watermark is just before it.
    old = id_of(time.time() - 3600)
    async with evening.open_talk() as talk:
        await talk.store._database.write(
            lambda one: one.execute("UPDATE inbox SET message_id = ? WHERE message_id = ?", str(old), str(asked.id))
        )
    evening.discord.world.delete(asked)
    said_before(evening, evening.general, evening.ada.user, 0).id = old
    evening.general.messages.sort(key=lambda one: one.id)
    await was_away_for(evening, 3601)
    async with evening.run():
        marker = evening.ada.says(evening.guild.channel("other"), "And now?", mention_bot=True)
        await evening.discord.reply(marker)
    assert notices(evening, evening.general) == []


async def test_no_notice_is_sent_where_the_bot_may_not_write(evening: Evening) -> None:
    async with evening.run():
        pass
    await was_away_for(evening, 7200)
    everyone = evening.guild.roles[evening.guild.id]
    evening.discord.world.set_overwrite(evening.general, everyone, deny=Permission.SEND_MESSAGES)
    said_before(evening, evening.general, evening.mod.user, 3600)
    said_before(evening, evening.guild.channel("other"), evening.ada.user, 3700)
    async with evening.run():
        await evening.discord.wait_for_message(evening.guild.channel("other"))
    assert notices(evening, evening.general) == []


async def test_with_another_number_of_shards_nothing_is_skipped(evening: Evening) -> None:
    async with evening.run():
        await evening.discord.reply(evening.ada.says(evening.general, "Hello", mention_bot=True))
    guilds = [evening.discord.world.add_guild(f"More {number}") for number in range(2)]
    for num_shards in (2, 1):
        evening.discord.gateway.num_shards = num_shards
        asked = [evening.ada.says(evening.general, f"With {num_shards}", mention_bot=True)]
        for guild in guilds:
            owner = evening.discord.owner_of(guild)
            asked.append(owner.says(guild.channel("general"), f"With {num_shards}", mention_bot=True))
        async with evening.run():
            for message in asked:
                await evening.discord.reply(message)
    assert not evening.discord.answered_twice()


async def test_a_client_that_never_logged_in_is_drained_and_closed(evening: Evening) -> None:
    application = Application(1, "Fewshot", has_message_content=True)
    async with evening.open_talk() as talk:
        client = FewshotClient(talk.bot, Delivery(talk.store, DISCORD), application)
        async with client:
            await client.drain(1)
        assert client.is_closed()


async def test_an_answer_that_many_messages_have_followed_is_found_after_a_restart(evening: Evening) -> None:
    async with evening.run():
        asked = evening.ada.says(evening.general, "Hello", mention_bot=True)
        await evening.discord.reply(asked)
        others = [evening.bob.says(evening.general, f"Nothing for the bot, {number}") for number in range(60)]
        (answer,) = evening.bot_messages()
        # Its answer came late: after all of them.
        answer.id = others[-1].id + 1
        evening.general.messages.sort(key=lambda one: one.id)
        evening.discord.world.messages[answer.id] = answer

    async def forget_the_end(transaction: Transaction) -> None:
        await transaction.execute("UPDATE inbox SET finished_at_utc = NULL, state = 'responding', text = 'Hello'")
        await transaction.execute("UPDATE sent_messages SET sent_id = ?", str(answer.id))

    async with evening.open_talk() as talk:
        await talk.store._database.write(forget_the_end)
    evening.discord.nonces.clear()
    async with evening.run():
        await evening.discord.reply(evening.ada.says(evening.guild.channel("other"), "And now?", mention_bot=True))
        assert await Delivery(evening.running.store, DISCORD).unfinished() == ()
    assert len(evening.bot_messages()) == 1
