"""Chatting with the real bot through Slack's real SDK, on the stand-in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.platforms.slack.evenings import Evening, an_evening
from tests.servers.slack.faults import Fault
from tests.servers.slack.objects import Event
from tests.servers.slack.people import Person
from tests.servers.slack.reading import labels, visible_text


@pytest.fixture
async def evening(tmp_path: Path) -> AsyncIterator[Evening]:
    async with an_evening(tmp_path) as opened, opened.run():
        yield opened


async def test_a_mention_is_answered_in_a_thread_under_it_and_nothing_else_is(evening: Evening):
    evening.ann.says(evening.general, "Is anybody there?")
    asked = evening.ann.asks(evening.general, "Hello bot")
    answer = await evening.slack.reply(asked)
    assert visible_text(answer) == "Hello there."
    assert answer.thread_ts == asked.ts
    assert labels(answer) == ["Again", "Continue", "Why"]
    assert "Ann: Hello bot" in evening.read
    assert "anybody" not in evening.read
    await evening.is_quiet()
    assert len(evening.said_by_bot()) == 1


async def test_a_thread_with_one_mention_is_the_bots_also_after_a_restart(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        async with evening.run():
            root = evening.ann.asks(evening.general, "My name is Ann")
            await evening.reply(root)
            assert await evening.reply(evening.bob.says(evening.general, "And mine is Bob", thread=root))
            assert "Ann: My name is Ann" in evening.read
        async with evening.run():
            assert await evening.reply(evening.ann.says(evening.general, "Who are we?", thread=root))
            assert "My name is Ann" in evening.read
            assert "And mine is Bob" in evening.read
            await evening.is_quiet()
            assert len(evening.said_by_bot()) == 3


async def test_a_thread_of_others_is_the_bots_from_the_mention_on(evening: Evening):
    root = evening.ann.says(evening.general, "Lunch?")
    evening.bob.says(evening.general, "Yes", thread=root)
    asked = evening.ann.asks(evening.general, "what do you think?", thread=root)
    await evening.reply(asked)
    assert await evening.reply(evening.bob.says(evening.general, "At noon then", thread=root))
    # All of it is read back, and only what was said since then is the bot's.
    await evening.slack.sockets.lose("cut")
    await evening.slack.sockets.is_connected(2)
    await evening.is_quiet()
    assert len(evening.said_by_bot()) == 2


async def test_a_direct_message_is_answered_beside_it(evening: Evening):
    answer = await evening.slack.reply(evening.ann.dm("A secret"))
    assert visible_text(answer) == "Hello there."
    assert answer.thread_ts is None
    assert await evening.reply(evening.ann.dm("Another one"))
    assert "A secret" in evening.read
    await evening.reply(evening.bob.dm("Hello"))
    assert "secret" not in evening.read


async def test_a_group_conversation_is_answered_where_the_bot_is_mentioned(evening: Evening):
    bot = evening.slack.bot_of(evening.team)
    group = evening.slack.world.direct_channel([bot, evening.ann.user, evening.bob.user])
    evening.ann.says(group, "Only for Bob")
    root = evening.ann.asks(group, "Hello bot")
    await evening.reply(root)
    assert await evening.reply(evening.bob.says(group, "me too", thread=root))
    await evening.is_quiet()
    assert len(evening.said_by_bot(group)) == 2
    scopes = await evening.running.store.visible_ids("slack", ["@me"], num_conversations=9, num_each=9)
    assert [scope.channel for scope in scopes] == [group.id], "it is no channel of the workspace"


async def test_every_message_is_answered_at_the_top_where_a_moderator_says_so(evening: Evening):
    await evening.reply(evening.mod.says(evening.general, "!settings answer_when every"))
    said = evening.ann.says(evening.general, "Nobody in particular")
    answer = await evening.slack.wait_for_message(evening.general, said)
    assert answer.thread_ts is None
    evening.ann.says(evening.other, "Elsewhere")
    await evening.reply(evening.ann.asks(evening.general, "with a mention"))
    await evening.is_quiet()
    assert not evening.said_by_bot(evening.other)


async def test_a_message_and_its_mention_are_two_events_and_one_answer(evening: Evening):
    evening.slack.sockets.redelivery_probability = 1.0
    asked = [evening.ann.asks(evening.general, f"Hello {number}") for number in range(3)]
    for one in asked:
        await evening.reply(one)
    await evening.is_quiet()
    assert [len(evening.slack.answers_to(one)) for one in asked] == [1, 1, 1]
    assert evening.slack.sockets.num_redelivered >= 6


async def test_bots_and_the_bot_itself_are_never_answered(evening: Evening):
    other = evening.slack.world.add_app("Other")
    bot = evening.slack.world.install(other, evening.team).bot
    evening.general.member_ids.add(bot.id)
    await evening.reply(evening.mod.says(evening.general, "!settings answer_when every"))
    before = len(evening.said_by_bot())
    Person(evening.slack, bot).asks(evening.general, "Hello bot")
    Person(evening.slack, evening.slack.bot_of(evening.team)).says(evening.general, "Talking to myself")
    await evening.is_quiet()
    assert len(evening.said_by_bot()) == before + 2


async def test_a_text_file_is_read(evening: Evening):
    asked = evening.ann.asks(evening.general, "What is in it?", files=[("notes.txt", b"The treasure is buried.")])
    await evening.reply(asked)
    assert "The treasure is buried." in evening.read
    picture = evening.ann.asks(evening.general, "And here?", files=[("a.png", b"\x89PNG")])
    assert await evening.reply(picture)


async def test_nobody_is_looked_up_for_what_is_not_for_the_bot(evening: Evening):
    before = len(evening.slack.calls("users.info"))
    for number in range(3):
        evening.ann.says(evening.general, f"{evening.bob.mention} and {evening.mod.mention}, look: {number}")
    await evening.is_quiet()
    assert len(evening.slack.calls("users.info")) == before
    asked = evening.ann.asks(evening.general, f"Who is {evening.bob.mention}?")
    await evening.reply(asked)
    assert "Who is @Bob?" in evening.read


async def test_the_words_of_a_file_that_is_taken_away_are_erased(evening: Evening):
    asked = evening.ann.asks(evening.general, "What is in it?", files=[("notes.txt", b"The treasure is buried.")])
    await evening.reply(asked)
    evening.ann.deletes_file(asked)
    await evening.is_quiet()
    await evening.reply(evening.ann.says(evening.general, "And now?", thread=asked))
    assert "What is in it?" in evening.read
    assert "The treasure is buried." not in evening.read


async def test_a_file_from_another_workspace_is_read_and_an_edit_keeps_it(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        elsewhere = evening.slack.add_team("Globex", has_app=False)
        eve = evening.slack.add_person(elsewhere, "Eve")
        shared = evening.slack.world.add_channel(
            evening.team, "shared", [evening.slack.bot_of(evening.team), eve.user], shared=[elsewhere]
        )
        async with evening.run():
            asked = eve.asks(shared, "What is in it?", files=[("notes.txt", b"The treasure is buried.")])
            await evening.reply(asked)
            assert "The treasure is buried." in evening.read
            eve.edits(asked, asked.text.replace("What", "Who"))
            await evening.is_quiet()
            await evening.reply(eve.says(shared, "And now?", thread=asked))
            assert "Who is in it?" in evening.read
            assert "The treasure is buried." in evening.read


async def test_a_channel_that_the_bot_joins_is_welcomed_once(evening: Evening):
    club = evening.slack.world.add_channel(evening.team, "club", [evening.ann.user])
    evening.slack.faults.always("conversations.history", Fault("slow", delay_s=0.1))
    for _ in range(2):
        evening.ann.adds_bot(club)
    await evening.slack.wait_for(lambda: evening.said_by_bot(club), what="the welcome")
    await evening.is_quiet()
    assert len(evening.said_by_bot(club)) == 1


# ---- workspaces and strangers


def stored_in(folder: Path) -> bytes:
    """Return all that the bot's database holds."""
    return b"".join(path.read_bytes() for path in folder.glob("fewshot.db*"))


async def test_workspaces_never_mix(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        away = evening.slack.add_team("Globex")
        eve = evening.slack.add_person(away, "Eve")
        async with evening.run():
            assert evening.told == ["Fewshot is on Slack, in Acme, Globex."]
            await evening.reply(evening.ann.dm("Our secret is swordfish"))
            await evening.reply(eve.dm("What is the secret?"))
            assert "swordfish" not in evening.read
            asked = eve.asks(evening.slack.channel(away, "general"), "Hello")
            await evening.reply(asked)
            assert {request.team_id for request in evening.slack.calls("chat.postMessage")} == {
                evening.team.id,
                away.id,
            }
            evening.slack.world.uninstall(evening.slack.installation(away))
            await evening.slack.wait_for(lambda: len(evening.told) > 1, what="the news")
            await evening.is_quiet()
            assert await evening.reply(evening.ann.asks(evening.general, "Still there?"))
        (told,) = evening.told[1:]
        assert told.startswith("The app was removed from Globex;")


async def test_a_token_that_is_revoked_erases_nothing(evening: Evening):
    await evening.reply(evening.ann.asks(evening.general, "Hello"))
    evening.slack.world.revoke(evening.slack.installation(evening.team))
    await evening.is_quiet()
    assert await evening.running.num_stored() == 2
    assert len(evening.told) == 1


async def test_a_channel_of_two_of_the_bots_workspaces_is_answered_once(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        away = evening.slack.add_team("Globex")
        bots = [evening.slack.bot_of(evening.team), evening.slack.bot_of(away)]
        both = evening.slack.world.add_channel(away, "both", [*bots, evening.ann.user], shared=[evening.team])
        async with evening.run():
            asked = evening.ann.says(both, f"{bots[0].mention} Hello")
            await evening.reply(asked)
            await evening.slack.sockets.lose("cut")
            await evening.slack.sockets.is_connected(2)
            await evening.is_quiet()
            assert len(evening.slack.answers_to(asked)) == 1
            # It is deleted in the workspace that it belongs to, and erased in the one through which it was read.
            evening.slack.world.delete_channel(both)
            await evening.is_quiet()
            assert await evening.running.num_stored() == 0


async def test_a_shared_channel_goes_on_when_one_of_its_workspaces_removes_the_app(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        away = evening.slack.add_team("Globex")
        eve, bots = (
            evening.slack.add_person(away, "Eve"),
            [evening.slack.bot_of(evening.team), evening.slack.bot_of(away)],
        )
        both = evening.slack.world.add_channel(away, "both", [*bots, eve.user], shared=[evening.team])
        async with evening.run():
            evening.slack.world.uninstall(evening.slack.installation(evening.team))
            await evening.slack.wait_for(lambda: len(evening.told) > 1, what="the news")
            await evening.is_quiet()
            evening.slack.world.leave(both, bots[0])
            assert await evening.reply(eve.says(both, f"{bots[1].mention} Still there?")) == "Hello there."


@pytest.mark.parametrize("who", ["guest", "single_channel_guest", "stranger"])
async def test_guests_and_strangers_are_answered_and_their_names_are_not_stored(who: str, tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        if who == "stranger":
            elsewhere = evening.slack.add_team("Globex", has_app=False)
            person = evening.slack.add_person(elsewhere, "Zaphod")
            channel = evening.slack.world.add_channel(
                evening.team, "shared", [evening.slack.bot_of(evening.team), person.user], shared=[elsewhere]
            )
        else:
            channel = evening.general
            person = evening.slack.add_person(evening.team, "Zaphod", who)  # type: ignore[arg-type]
        async with evening.run():
            assert await evening.reply(person.asks(channel, "Hello")) == "Hello there."
            assert "Zaphod" not in evening.read
            root = evening.slack.answers_to(channel.messages[0])[0]
            await evening.reply(person.says(channel, f"I am {person.mention}", thread=root))
            assert "Zaphod" not in evening.read
        assert b"Zaphod" not in stored_in(tmp_path)


async def test_somebody_of_another_workspace_reads_an_answer_while_it_is_written(tmp_path: Path):
    async with an_evening(tmp_path, "Once upon a time there was a cat who had a hat.", pause_s=0.3) as evening:
        elsewhere = evening.slack.add_team("Globex", has_app=False)
        eve = evening.slack.add_person(elsewhere, "Eve")
        shared = evening.slack.world.add_channel(
            evening.team, "shared", [evening.slack.bot_of(evening.team), eve.user], shared=[elsewhere]
        )
        async with evening.run():
            answer = await evening.slack.wait_for_reply(eve.asks(shared, "Tell me"))
            assert answer.is_streaming


async def test_an_event_that_can_not_be_read_does_not_stop_the_others(evening: Evening):
    world = evening.slack.world
    for data in (
        {"type": "message"},
        {"type": "message", "channel": evening.general.id, "user": 3, "ts": None},
        {"type": "message", "subtype": "message_changed", "channel": evening.general.id},
        {"type": "message", "subtype": "message_deleted", "channel": evening.general.id},
        {"type": "something_new"},
    ):
        world.tell(Event("message.channels", data, evening.team, evening.general))
    assert await evening.reply(evening.ann.asks(evening.general, "Hello")) == "Hello there."


async def test_a_mention_is_answered_where_the_app_hears_mentions_only(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        evening.slack.app.events = frozenset({"app_mention"})
        bot = evening.slack.bot_of(evening.team)
        group = evening.slack.world.direct_channel([bot, evening.ann.user, evening.bob.user])
        async with evening.run():
            assert await evening.reply(evening.ann.asks(evening.general, "Hello")) == "Hello there."
            assert await evening.reply(evening.ann.asks(group, "Hello")) == "Hello there."
            scopes = await evening.running.store.visible_ids("slack", ["@me"], num_conversations=9, num_each=9)
            assert [scope.channel for scope in scopes] == [group.id]


async def test_the_model_reads_the_bots_name_where_people_mention_it_within_a_sentence(evening: Evening):
    bot = evening.slack.bot_of(evening.general.team)
    await evening.reply(evening.ann.says(evening.general, f"Can you, {bot.mention}, sing?"))
    assert "Can you, @Fewshot, sing?" in evening.read


async def test_the_message_above_a_thread_is_read_when_somebody_asks_below_it(tmp_path: Path):
    async with an_evening(tmp_path) as evening:
        async with evening.run():
            root = evening.ann.says(evening.general, "My dog is called Rex")
            evening.bob.says(evening.general, "How nice", thread=root)
            await evening.reply(evening.bob.asks(evening.general, "what is it called?", thread=root))
            assert "Ann: My dog is called Rex" in evening.read
            assert "nice" not in evening.read
        async with evening.run():
            # All of the thread is read back, and what was said before the question is not the bot's.
            await evening.reply(evening.ann.says(evening.general, "and its colour?", thread=root))
            assert "Rex" in evening.read
            await evening.is_quiet()
            assert len(evening.said_by_bot()) == 2
            evening.ann.deletes(root)
            await evening.is_quiet()
            await evening.reply(evening.ann.says(evening.general, "is it big?", thread=root))
            assert "Rex" not in evening.read


async def test_the_message_above_a_thread_is_not_read_where_its_author_asked_not_to_be(evening: Evening):
    evening.bob.says(evening.general, "!privacy --read off")
    await evening.slack.wait_for_whisper(evening.bob)
    root = evening.bob.says(evening.general, "My dog is called Rex")
    await evening.reply(evening.ann.asks(evening.general, "what is it called?", thread=root))
    assert "Rex" not in evening.read
