"""How often one message goes to the disk on its way from Discord's event to the answer."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from tests.bots import Talk
from tests.platforms.discord.evenings import Evening, an_evening
from tests.servers.discord.world import Message
from tests.store.trips import Trips, counted

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]


async def trips_of(evening: Evening, said: Callable[[], Message]) -> Trips:
    """Return the trips to the store from the event of the message that `said` says to the end of its request."""
    assert evening.client is not None
    async with counted(evening.running.store) as trips:
        await evening.discord.reply(said())
        await evening.client.answering.drain(10)
    return trips


@pytest.fixture
async def evening(open_tiny: OpenTiny) -> AsyncIterator[Evening]:
    async with an_evening(open_tiny) as opened, opened.run():
        yield opened


async def talked(evening: Evening) -> None:
    """Let three people talk with the bot, so that there is a history of all of them."""
    for who in (evening.ada, evening.bob, evening.mod):
        await evening.discord.reply(who.says(evening.general, f"I am {who.user.name}", mention_bot=True))


async def test_a_mention_is_two_reads_and_five_transactions(evening: Evening):
    """Counted by SQLite's own trace of both connections.

    One read is one SELECT, which is one trip to the reader's thread; one write is one transaction. The settings, the
    templates' state and the opt-out come in the first read, the history in the second. The transactions: accepted, the
    message stored, the answer stored, its visible message noted, finished.
    """
    await talked(evening)
    for who in (evening.ada, evening.mod):  # one without and one with roles
        trips = await trips_of(evening, lambda who=who: who.says(evening.general, "Well?", mention_bot=True))
        assert len(trips.reads) == 2, trips.reads
        assert len(trips.of_messages) == 5, [one[0] for one in trips.of_messages]
    why = await evening.running.why(evening.here)
    assert all(f"I am {name}" in why["prompt"] for name in ("Ada", "Bob", "Mod"))
    assert why["is_exact"]


async def test_a_reply_costs_one_read_more(evening: Evening):
    """That is the stored answer behind the visible message that it replies to."""
    await talked(evening)
    answer = evening.bot_messages()[-1]
    trips = await trips_of(evening, lambda: evening.ada.says(evening.general, "Why?", reply_to=answer))
    assert len(trips.reads) == 3, trips.reads
    assert len(trips.of_messages) == 5, [one[0] for one in trips.of_messages]


async def test_a_message_for_nobody_is_one_read_and_nothing_is_written(evening: Evening):
    await talked(evening)
    async with counted(evening.running.store) as trips:
        evening.ada.says(evening.general, "Good evening, Bob")
        # What the bot is asked next is read after it.
        await evening.discord.reply(evening.bob.says(evening.general, "Well?", mention_bot=True))
    assert len(trips.reads) == 1 + 2, trips.reads


async def test_a_setting_holds_for_the_next_message(evening: Evening):
    await talked(evening)
    for template, shown in (("pirate", "is a pirate"), ("chat", "You are Fewshot")):
        await evening.running.store.set_setting(evening.here, "channel", "chat_template", template)
        await evening.discord.reply(evening.ada.says(evening.general, "Well?", mention_bot=True))
        assert shown in (await evening.running.why(evening.here))["prompt"]
