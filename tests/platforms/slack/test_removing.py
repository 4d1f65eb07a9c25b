"""What is removed of an answer is all of it: its message, its pictures, and the files below it."""

from pathlib import Path

from bot.core.cards import Card, TextFile, TintedText
from bot.platforms.slack.platform import SlackPlatform
from bot.platforms.slack.traits import SLACK
from bot.services.ledger import Delivery
from tests.bots import ScriptedEngine, open_scripted_bot
from tests.platforms.slack.sending import open_sending
from tests.servers.slack.server import serve_slack

CARD = Card(blocks=(TintedText((("Can", 3.0), (" it", 12.0))),), file=TextFile("words.txt", "somebody's words"))


async def test_an_answer_is_removed_with_its_pictures_and_files_and_others_stay(tmp_path: Path):
    async with (
        serve_slack() as slack,
        open_sending(slack) as sending,
        open_scripted_bot(ScriptedEngine(["Hello."]), tmp_path, traits=SLACK) as talk,
    ):
        root = sending.ask()
        bob = slack.add_person(sending.team, "Bob")
        outlets = [sending.outlet(root)]
        await outlets[0].show_whole(CARD)
        bob.says(root.channel, "a word between", thread=root)
        outlets.append(sending.outlet(bob.asks(root.channel, "and this?", thread=root)))
        await outlets[1].show_whole(CARD)
        assert len(slack.world.files) == 4, "a picture and a file each"
        platform = SlackPlatform(sending.sender, sending.sender._workspaces, Delivery(talk.store, SLACK))
        scope = sending.message(root).scope
        await platform.delete(scope, outlets[0].sent_ids[0])
        left = [one for one in root.channel.messages if one.user.is_bot]
        assert [len(one.files) for one in left] == [0, 1]
        assert len(slack.world.files) == 2
        await platform.delete(scope, outlets[1].sent_ids[0])
        assert not [one for one in root.channel.messages if one.user.is_bot]
        assert not slack.world.files
        # It is gone already.
        await platform.delete(scope, outlets[1].sent_ids[0])
        slack.assert_clean()
