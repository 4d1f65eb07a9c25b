"""Each kind of place on Discord: posts of forums, slow mode, announcements, private and closed threads, voice chats."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.platforms.discord.evenings import Evening
from tests.platforms.discord.test_chat_on_discord import LONG, scripted
from tests.servers.discord import visible_text
from tests.servers.discord.permissions import Permission
from tests.servers.discord.places import add_member, set_slow_mode, set_state
from tests.servers.discord.world import ANNOUNCEMENT, FORUM, GUILD_VOICE, MEDIA, STAGE, Channel


@pytest.fixture
async def evening(tmp_path: Path) -> AsyncIterator[Evening]:
    async with scripted(tmp_path) as opened:
        yield opened


def channel_of(evening: Evening, kind: int) -> Channel:
    return evening.discord.world.add_channel(evening.guild, f"kind-{kind}", kind=kind)


@pytest.mark.parametrize("kind", [FORUM, MEDIA])
async def test_a_post_that_mentions_the_bot_is_answered_in_the_post(evening: Evening, kind: int) -> None:
    forum = channel_of(evening, kind)
    first = evening.ada.opens_post(forum, "My cat is Zorp", "Who are you?", mention_bot=True)
    answer = await evening.discord.reply(first)
    assert visible_text(answer) == "Hello there."
    await evening.discord.reply(evening.bob.says(first.channel, "And who am I?", mention_bot=True))
    assert "Who are you?" in evening.read, "the post is one conversation"
    other = evening.bob.opens_post(forum, "Something else", "Hi", mention_bot=True)
    await evening.discord.reply(other)
    assert "Who are you?" not in evening.read
    result = await (await evening.ada.slash(first.channel, "complete", text="The cat", n=1)).finished()
    assert "Hello there." in visible_text(result.message)
    silent = evening.ada.opens_post(forum, "No bot", "Nobody asked you.")
    evening.discord.world.delete_channel(silent.channel)
    assert not evening.bot_messages(silent.channel)


async def test_a_post_that_was_opened_while_the_bot_was_away_is_answered(evening: Evening) -> None:
    forum = channel_of(evening, FORUM)
    await evening.discord.reply(evening.ada.says(evening.general, "Hello", mention_bot=True))
    async with evening.discord.gateway.gap(resumes=False):
        first = evening.ada.opens_post(forum, "A post", "Who are you?", mention_bot=True)
    assert visible_text(await evening.discord.reply(first)) == "Hello there."


@pytest.mark.parametrize("kind", [ANNOUNCEMENT, GUILD_VOICE, STAGE])
async def test_announcements_and_the_chats_of_voice_channels_are_as_any_channel(evening: Evening, kind: int) -> None:
    channel = channel_of(evening, kind)
    answer = await evening.discord.reply(evening.ada.says(channel, "Hello", mention_bot=True))
    assert visible_text(answer) == "Hello there."
    again = await (await evening.ada.clicks(answer, "Again")).finished()
    assert again.message is not None or again.source is answer
    setting = {"name": "report_channel", "value": f"<#{channel.id}>"}
    await (await evening.mod.slash(evening.general, "settings", **setting)).finished()
    told = evening.bob.says(channel, "!report rude", reply_to=answer)
    notice = await evening.discord.wait_for_message(channel, told)
    await evening.discord.world.wait_until(
        lambda: any("A member reported" in visible_text(message) for message in evening.bot_messages(channel)),
        10,
        f"the report beside {visible_text(notice)!r}",
    )
    async with evening.discord.gateway.gap(resumes=False):
        missed = evening.ada.says(channel, "Are you back?", mention_bot=True)
    assert visible_text(await evening.discord.reply(missed)) == "Hello there."


async def test_a_thread_of_an_announcement_is_a_conversation_of_its_own(evening: Evening) -> None:
    news = channel_of(evening, ANNOUNCEMENT)
    announced = evening.mod.says(news, "Big news")
    thread = evening.ada.opens_thread(announced, "About it")
    assert visible_text(await evening.discord.reply(evening.ada.says(thread, "Is it true?", mention_bot=True)))
    await evening.discord.reply(evening.ada.says(news, "Well?", mention_bot=True))
    assert "Is it true?" not in evening.read


async def test_in_slow_mode_every_answer_is_shown_at_once_as_bots_are_free_of_it(tmp_path: Path) -> None:
    async with scripted(tmp_path, LONG, pause_s=0.05) as evening:
        set_slow_mode(evening.discord.world, evening.general, 3600)
        asked = [who.says(evening.general, "Hello", mention_bot=True) for who in (evening.ada, evening.bob)]
        for message in asked:
            assert visible_text(await evening.discord.reply(message)) == LONG


@pytest.mark.parametrize("may_bypass", [False, True])
async def test_where_slow_mode_meets_the_bot_its_answer_comes_later(evening: Evening, may_bypass: bool) -> None:
    world = evening.discord.world
    world.slows_bots = True
    if may_bypass:
        world.join(evening.guild, world.bot, permissions=int(Permission.MANAGE_MESSAGES | Permission.SEND_MESSAGES))
    set_slow_mode(world, evening.general, 2)
    first = evening.ada.says(evening.general, "Hello", mention_bot=True)
    second = evening.bob.says(evening.general, "Hello", mention_bot=True)
    for message in (first, second):
        assert visible_text(await evening.discord.reply(message)) == "Hello there."
    refused = [request for request in evening.discord.requests if request.status == 429]
    assert len(refused) == (0 if may_bypass else 1)


async def test_in_a_private_thread_the_bot_answers_once_a_mention_has_added_it(evening: Evening) -> None:
    thread = evening.ada.opens_private_thread(evening.general, "Secret")
    add_member(evening.discord.world, thread, evening.bob.user)
    evening.bob.says(thread, "Only between us")
    asked = evening.ada.says(thread, "Who are you?", mention_bot=True)
    assert visible_text(await evening.discord.reply(asked)) == "Hello there."
    assert "Only between us" not in evening.read
    await evening.discord.reply(evening.ada.says(evening.general, "Well?", mention_bot=True))
    assert "Who are you?" not in evening.read


async def test_a_slash_command_works_in_a_private_thread_that_the_bot_is_not_in(evening: Evening) -> None:
    thread = evening.ada.opens_private_thread(evening.general, "Secret")
    result = await (await evening.ada.slash(thread, "complete", text="The cat", n=1)).finished()
    assert "Hello there." in visible_text(result.message)


async def test_an_archived_thread_is_opened_again_by_the_question(evening: Evening) -> None:
    thread = evening.ada.opens_thread(evening.ada.says(evening.general, "Hm"), "Old")
    await evening.discord.reply(evening.ada.says(thread, "First", mention_bot=True))
    set_state(evening.discord.world, thread, is_archived=True)
    await evening.discord.reply(evening.ada.says(thread, "Second", mention_bot=True))
    assert "First" in evening.read, "it is the same conversation"
    assert not thread.is_archived


@pytest.mark.parametrize("is_archived", [False, True])
async def test_a_thread_that_is_closed_during_an_answer_ends_it_without_an_error(
    tmp_path: Path, is_archived: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with scripted(tmp_path, LONG, pause_s=0.05) as evening:
        thread = evening.ada.opens_thread(evening.ada.says(evening.general, "Hm"), "Closing")
        asked = evening.ada.says(thread, "Tell me", mention_bot=True)
        await evening.discord.wait_for_reply(asked) if is_archived else await evening.discord.world.wait_until(
            lambda: evening.engine.read, 10, "the beginning of the answer"
        )
        set_state(evening.discord.world, thread, is_archived=is_archived, is_locked=True)
        client = evening.client
        assert client is not None
        await evening.discord.world.wait_until(lambda: client.answering.num_running == 0, 20, "the end of the answer")
        await asyncio.sleep(0)
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
        assert "refused the answer" not in " ".join(visible_text(message) for message in evening.bot_messages(thread))
        answer = await evening.discord.reply(evening.ada.says(evening.general, "Still there?", mention_bot=True))
        assert visible_text(answer)


async def test_a_typed_command_in_a_locked_thread_is_answered_where_the_bot_manages_threads(tmp_path: Path) -> None:
    async with scripted(tmp_path) as evening:
        world = evening.discord.world
        thread = evening.ada.opens_thread(evening.ada.says(evening.general, "Hm"), "Locked")
        rights = Permission.MANAGE_THREADS | Permission.SEND_MESSAGES_IN_THREADS | Permission.VIEW_CHANNEL
        world.join(evening.guild, world.bot, permissions=int(rights | Permission.READ_MESSAGE_HISTORY))
        world.join(evening.guild, evening.mod.user, permissions=int(Permission.MANAGE_THREADS))
        set_state(world, thread, is_archived=True, is_locked=True)
        assert visible_text(await evening.discord.reply(evening.mod.says(thread, "Hello", mention_bot=True)))
