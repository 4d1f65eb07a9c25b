"""Buttons and selects pressed by people in the stand-in, and answers to interactions through the sender."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import discord
import pytest

from bot.core.cards import Button, Card, Facts, Select, SelectOption, Text, TextFile, Verbatim
from bot.errors import DeliveryFailed
from bot.platforms.discord.interactions.items import CardButton, CardSelect, StopButton
from bot.platforms.discord.outgoing.interaction_outlet import InteractionOutlet
from bot.platforms.discord.outgoing.outlets import TokenOutlet
from bot.platforms.discord.outgoing.rendering import render
from bot.platforms.discord.outgoing.sender import Sender
from tests.servers.discord import Discord, serve_discord
from tests.servers.discord.faults import Fault
from tests.servers.discord.members import Member
from tests.servers.discord.texts import visible_text
from tests.servers.discord.world import Message
from tests.servers.plain_bot import PlainBot, running

CARD = Card(
    blocks=(Text("Yes.", is_model_text=True),),
    buttons=(Button("take:1", "1"), Button("more", "more", "primary"), Button("drop", "discard", "danger")),
    selects=(Select("kind", "Kind", (SelectOption("c", "complete"), SelectOption("k", "classify", is_chosen=True))),),
    open_card_id="card-1",
    revision=7,
)
DONE = render(Card(blocks=(Facts((("done", "yes"),)), Verbatim("x" * 5000))), is_one_message=True)


class ClickedBot(PlainBot):
    """Keeps what was pressed, and answers as the test says."""

    def __init__(self) -> None:
        super().__init__(discord.Intents(guilds=True, messages=True))
        self.clicks: list[tuple[Any, ...]] = []
        self.interactions = self
        self.sender = Sender()
        self.respond: Callable[[discord.Interaction[Any]], Awaitable[object]] = lambda i: i.response.defer()

    async def setup_hook(self) -> None:
        self.add_dynamic_items(CardButton, CardSelect, StopButton)

    async def on_message(self, message: discord.Message) -> None:
        """Say nothing by itself."""

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Leave it to the items."""

    async def clicked(
        self, interaction: discord.Interaction[Any], card_id: str, revision: int, action: str, value: str
    ) -> None:
        self.clicks.append((card_id, revision, action, value))
        await self.respond(interaction)

    async def stop_clicked(self, interaction: discord.Interaction[Any], message_id: str) -> None:
        self.clicks.append(("stop", message_id))
        await self.respond(interaction)


class Scene:
    """A running bot, a person, and a message of the bot's with a card."""

    def __init__(self, stand_in: Discord, bot: ClickedBot, ada: Member) -> None:
        self.stand_in = stand_in
        self.bot = bot
        self.ada = ada
        self.general = next(iter(stand_in.world.guilds.values())).channel("general")

    async def show(self, card: Card, **how: Any) -> Message:
        channel = self.bot.get_partial_messageable(self.general.id)
        (sent,) = await self.bot.sender.send(channel, render(card, **how), request_id="1")
        return self.stand_in.world.messages[sent.id]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with serve_discord() as stand_in:
        guild = stand_in.world.add_guild("Home", ["general"])
        ada = stand_in.add_member(guild, "ada")
        async with running(stand_in, ClickedBot()) as bot:
            assert isinstance(bot, ClickedBot)
            yield Scene(stand_in, bot, ada)
            stand_in.assert_clean()


@pytest.mark.parametrize("as_layout", [False, True])
async def test_a_click_carries_the_card_the_revision_and_the_action(scene: Scene, as_layout: bool):
    message = await scene.show(CARD, as_layout=as_layout)
    await scene.ada.clicks(message, "1")
    await scene.ada.clicks(message, "Discard")
    await scene.ada.selects(message, "Kind", "complete")
    assert scene.bot.clicks == [
        ("card-1", 7, "take:1", ""),
        ("card-1", 7, "drop", ""),
        ("card-1", 7, "kind", "c"),
    ]


async def test_stop_carries_the_id_of_the_asking_message(scene: Scene):
    message = await scene.show(Card(blocks=(Text("par"),), is_final=False), stop_id="4711")
    await scene.ada.clicks(message, "Stop")
    assert scene.bot.clicks == [("stop", "4711")]


async def test_a_button_works_after_a_restart(scene: Scene):
    message = await scene.show(CARD)
    await scene.bot.close()
    async with running(scene.stand_in, ClickedBot()) as again:
        await scene.ada.clicks(message, "More")
        assert isinstance(again, ClickedBot)
        assert again.clicks == [("card-1", 7, "more", "")]


@pytest.mark.parametrize("fault", [None, "accepted_then_reset", "reset", Fault("banned")])
async def test_a_deferred_click_is_answered_in_place_whatever_happens(scene: Scene, fault: Any):
    async def respond(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer()
        if fault:
            scene.stand_in.faults.once("webhook", fault)
        await scene.bot.sender.respond(interaction, DONE)

    scene.bot.respond = respond
    message = await scene.show(CARD)
    result = await scene.ada.clicks(message, "1")
    await result.finished()
    assert visible_text(message).startswith("done\u00a0**yes**")
    assert message.content == ""
    assert [file.filename for file in message.attachments] == ["whole.txt"]


async def test_a_private_answer_beside_a_card_is_for_the_asker_alone(scene: Scene):
    async def respond(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer()
        await scene.bot.sender.follow_up(interaction.followup, DONE, is_ephemeral=True)

    scene.bot.respond = respond
    message = await scene.show(CARD)
    result = await scene.ada.clicks(message, "1")
    await result.finished()
    (followup,) = result.followups
    assert followup.ephemeral_for is scene.ada.user
    assert visible_text(message) == "Yes."


async def test_a_follow_up_with_an_unknown_result_is_not_sent_twice(scene: Scene):
    failed = asyncio.Event()

    async def respond(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer()
        scene.stand_in.faults.once("webhook", "accepted_then_reset")
        try:
            await scene.bot.sender.follow_up(interaction.followup, DONE, is_ephemeral=True)
        except DeliveryFailed:
            failed.set()

    scene.bot.respond = respond
    result = await scene.ada.clicks(await scene.show(CARD), "1")
    await asyncio.wait_for(failed.wait(), 5)
    assert len(result.followups) == 1


async def test_a_deferred_answer_can_be_removed(scene: Scene):
    async def respond(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer(thinking=True)
        await scene.bot.sender.drop_response(interaction)
        await scene.bot.sender.drop_response(interaction)

    scene.bot.respond = respond
    result = await scene.ada.clicks(await scene.show(CARD), "1")
    await scene.stand_in.world.wait_until(
        lambda: result.message is not None and result.message.is_deleted, 5, "an answer to be taken back"
    )


async def test_an_interaction_of_an_earlier_run_is_answered_by_its_token(scene: Scene):
    scene.bot.respond = lambda interaction: interaction.response.defer(thinking=True)
    result = await scene.ada.clicks(await scene.show(CARD), "1")
    outlet = TokenOutlet(scene.bot.sender, scene.bot, result.token)
    await outlet.wait_turn()
    card = Card(blocks=(Text("Here."),), file=TextFile("a.txt", "text"))
    await outlet.show_whole(card)
    await result.finished()
    assert result.message is not None
    assert visible_text(result.message) == "Here."
    assert [file.filename for file in result.message.attachments] == ["a.txt"]


@pytest.mark.parametrize("was_private", [False, True])
async def test_what_is_private_is_never_shown_in_an_answer_that_was_deferred_for_all(scene: Scene, was_private: bool):
    scene.bot.respond = lambda interaction: interaction.response.defer(thinking=True, ephemeral=was_private)
    result = await scene.ada.clicks(await scene.show(CARD), "1")
    outlet = TokenOutlet(scene.bot.sender, scene.bot, result.token)
    for text in ("Half", "Whole"):
        await outlet.show_whole(Card(blocks=(Text(text),), answers="private"))
    assert result.message is not None
    assert result.message.is_deleted != was_private
    assert ("Whole" in visible_text(result.message)) == was_private
    assert [visible_text(message) for message in result.followups] == ([] if was_private else ["Whole"])
    assert all(message.ephemeral_for is scene.ada.user for message in result.followups)


async def test_the_answer_to_a_click_of_an_earlier_run_leaves_the_card_as_it_is(scene: Scene):
    scene.bot.respond = lambda interaction: interaction.response.defer()
    shown = await scene.show(CARD)
    before = visible_text(shown)
    result = await scene.ada.clicks(shown, "1")
    outlet = TokenOutlet(scene.bot.sender, scene.bot, result.token, is_apart=True)
    await outlet.show_whole(Card(blocks=(Text("Here."),)))
    assert visible_text(shown) == before
    assert [visible_text(message) for message in result.followups] == ["Here."]


async def test_a_private_answer_to_a_deferred_click_is_kept_up_to_date_beside_the_card(scene: Scene):
    outlets: list[InteractionOutlet] = []

    async def respond(interaction: discord.Interaction[Any]) -> None:
        outlets.append(InteractionOutlet(scene.bot.sender, interaction, updates=True))

    scene.bot.respond = respond
    shown = await scene.show(CARD)
    before = visible_text(shown)
    result = await scene.ada.clicks(shown, "1")
    assert result.kind == "deferred_update"
    for text in ("Half", "Whole"):
        await outlets[0].show_whole(Card(blocks=(Text(text),), answers="private"))
    assert visible_text(shown) == before
    assert [visible_text(message) for message in result.followups] == ["Whole"]
    assert result.followups[0].ephemeral_for is scene.ada.user


def test_an_action_too_long_for_discord_is_a_programming_error():
    with pytest.raises(ValueError, match="custom_id"):
        CardButton.of(Button("a" * 90, "a"), "card", 1)
