"""The welcome card on Slack: once for each channel, within the limits."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from bot.platforms.slack.outgoing.rendering import render
from bot.platforms.slack.outgoing.welcome import welcome_card
from bot.platforms.slack.traits import SLACK
from tests.bots import Talk
from tests.platforms.slack.outgoing.checks import assert_fits, shown
from tests.platforms.slack.towns import a_town, visible_text

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]


def test_the_welcome_card_names_what_to_do_first_and_what_is_stored():
    card = welcome_card(bot_name="Fewshot", model_line="tiny · cpu", prefix="?", retention_days=7)
    rendering = render(card)
    assert_fits(rendering)
    text = shown(rendering)
    for words in (
        "Hello, I am Fewshot.",
        "?help",
        "?complete Once upon a time",
        "for 7 days",
        "?privacy",
        "tiny · cpu",
    ):
        assert words in text
    # In threads there are no slash commands.
    assert "/fewshot" not in text


async def test_a_channel_is_welcomed_once_however_often_the_bot_is_added(open_tiny: OpenTiny):
    async with a_town(lambda: open_tiny("gpt2", traits=SLACK)) as town:
        club = town.slack.world.add_channel(town.team, "club", [town.ann.user])
        async with town.run():
            town.ann.adds_bot(club)
            welcome = await town.slack.wait_for_message(club)
            assert visible_text(welcome).startswith("Hello, I am Fewshot.")
        async with town.run():
            town.ann.says(club, "we try again")
            club.member_ids.discard(town.slack.bot_of(town.team).id)
            town.ann.adds_bot(club)
            answer = await town.slack.reply(town.ann.asks(club, "hello"))
            assert answer is not welcome
        assert [one for one in club.messages if one.user.is_bot and not one.is_reply] == [welcome]
