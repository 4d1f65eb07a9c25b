"""Answers of an earlier run on Slack: what is visible of them is found, and nobody else's is taken for it."""

import asyncio
from pathlib import Path

from bot.platforms.slack.ids import Address, SlackId
from bot.platforms.slack.platform import SlackPlatform
from bot.platforms.slack.traits import SLACK
from bot.services.ledger import Delivery
from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.slack.sending import open_sending
from tests.servers.slack.server import serve_slack


async def test_a_stream_that_begins_just_now_is_not_taken_for_the_answer_of_an_earlier_run(tmp_path: Path):
    async with (
        serve_slack() as slack,
        open_sending(slack) as sending,
        open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
    ):
        delivery = Delivery(talk.store, SLACK)
        root = sending.ask()
        bob = slack.add_person(sending.team, "Bob")
        assert await delivery.accept(sending.message(root))
        (request,) = await delivery.unfinished()
        later = bob.asks(root.channel, "and me?", thread=root)
        # Its start is accepted, and it takes a moment until that is known.
        slack.faults.once("chat.startStream", "accepted_then_error")
        address = Address(sending.team.id, root.channel.id, root.ts)
        starting = asyncio.create_task(sending.sender.streams.start(address, bob.id, "Once", after_ts=later.ts))
        await slack.wait_for(lambda: slack.answers_to(later), what="the stream")
        platform = SlackPlatform(sending.sender, sending.sender._workspaces, delivery)
        reopened = await platform.reopen(request)
        assert reopened.outlet.sent_ids == ()
        assert await starting == SlackId(sending.team.id, root.channel.id, slack.answers_to(later)[0].ts)
        slack.assert_clean()
