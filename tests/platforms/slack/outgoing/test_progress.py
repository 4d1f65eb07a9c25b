"""Private answers that take a while: the person who asked sees that at once, and where the result comes."""

from collections.abc import AsyncIterator

import pytest

from bot.core.cards import Card, Progress, Text
from bot.platforms.shared.streaming import WAITING
from bot.platforms.slack.ids import Address
from bot.platforms.slack.interactions.home import ViewOutlet
from bot.platforms.slack.interactions.places import Happened, home_channel
from bot.platforms.slack.outgoing.outlets import InteractionOutlet
from bot.services.queueing import waiting_card
from tests.platforms.slack.sending import Sending, open_sending
from tests.platforms.slack.towns import buttons, visible_text
from tests.servers.slack.people import Person
from tests.servers.slack.server import serve_slack

RESULT = Card(blocks=(Text("98 of 100 right"),), answers="private")


def progress(num_done: int) -> Card:
    return Card(blocks=(Progress("tests", num_done, 100),), is_final=False, answers="private")


@pytest.fixture
async def sending() -> AsyncIterator[Sending]:
    async with serve_slack() as slack, open_sending(slack) as opened:
        yield opened
        slack.assert_clean()


@pytest.fixture
def mo(sending: Sending) -> Person:
    return sending.slack.add_person(sending.team, "Mo", "admin")


@pytest.mark.parametrize("is_typed", [True, False])
async def test_a_command_says_once_that_its_private_answer_takes_a_while(sending: Sending, mo: Person, is_typed: bool):
    general = sending.slack.channel(sending.team, "general")
    outlet = (
        sending.outlet(mo.asks(general, "!prompt test mood"))
        if is_typed
        else InteractionOutlet(
            sending.sender, Address(sending.team.id, general.id), asker=mo.id, request_id="T:interaction:1"
        )
    )
    for num_done in (3, 40, 90):
        await outlet.show_snapshot(progress(num_done), stop_id="r1")
    await outlet.show_whole(RESULT)
    told, result = sending.slack.world.ephemerals
    assert visible_text(told).splitlines()[0].endswith("3% tests 3 of 100")
    assert "The result comes here; this line does not change." in visible_text(told)
    assert buttons(told) == ["Stop"]
    assert visible_text(result) == "98 of 100 right"
    assert {one.ephemeral_for for one in (told, result)} == {mo.user}
    assert not [one for one in general.messages if one.user.is_bot]


async def test_a_click_on_the_home_tab_opens_a_modal_in_which_the_result_comes(
    sending: Sending, mo: Person, monkeypatch: pytest.MonkeyPatch
):
    installation = sending.slack.installation(sending.team)
    trigger_id = mo.interaction("block_actions", installation).payload["trigger_id"]
    place = Address(sending.team.id, home_channel(mo.id))
    outlet = ViewOutlet(sending.sender, Happened("T:interaction:2", mo.id, place, trigger_id=trigger_id, is_home=True))
    monkeypatch.setattr("bot.platforms.slack.interactions.home._PROGRESS_EVERY_S", 0.0)
    await outlet.show_snapshot(progress(3), stop_id="r1")
    (modal,) = sending.slack.open_views(mo.user)
    assert "tests 3 of 100" in visible_text(modal)
    assert buttons(modal) == ["Stop"]
    await outlet.show_snapshot(progress(40), stop_id="r1")
    assert "tests 40 of 100" in visible_text(modal)
    await outlet.show_whole(RESULT)
    assert sending.slack.open_views(mo.user) == [modal]
    assert visible_text(modal).endswith("98 of 100 right")
    assert buttons(modal) == []
    # Without a modal that is still open the result is a direct message.
    modal.is_open = False
    await outlet.show_whole(RESULT)
    assert visible_text(mo.dm_channel.messages[-1]) == "98 of 100 right"


async def test_a_status_reads_on_behind_the_bots_name(sending: Sending):
    asked = sending.ask()
    outlet = sending.outlet(asked)
    key = (asked.channel.id, asked.ts)
    for card, status in (
        (waiting_card(3), "is waiting: 3 ahead of you …"),
        (WAITING, "is thinking…"),
    ):
        await outlet.show_snapshot(card, stop_id="r1")
        assert sending.slack.world.statuses[key]["status"] == status
