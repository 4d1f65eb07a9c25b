"""What becomes of pictures in messages: whether the model sees them, and the one sentence where it does not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.commands.bot import Bot
from bot.core.cards import Card
from bot.core.messages import Author, Message
from bot.core.picture import Picture
from bot.core.stopping import Stopper
from bot.services.models import ModelOffer, Models, Offers
from tests.bots import HERE, PROMPTS, ScriptedEngine, Talk, open_scripted_bot

ANN = Author("ann", "Ann", is_moderator=True)
PICTURE = Picture("p1", "image/png", b"x" * 3_000_000)
LINES = (
    '+++\ndescription = "Lines."\nkind = "chat"\nmarkup = "transcript"\n+++\nYou are $bot_name.\n\n$history\n$bot_name:'
)


def seeing(name: str = "eyes") -> ScriptedEngine:
    engine = ScriptedEngine(["I see."], name=name)
    engine.info = replace(engine.info, reads_pictures=True, has_chat_template=True, context_length=100_000)
    return engine


def with_picture(text: str, *pictures: Picture, number: int = 1) -> Message:
    return Message(f"m{number}", HERE, ANN, text, picture_ids=("p1",), pictures=pictures)


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[Talk]:
    async with open_scripted_bot(seeing(), tmp_path, prompts={**PROMPTS, "pirate": LINES}) as opened:
        yield opened


async def answer(bot: Bot, message: Message) -> Card:
    """Return the last card of the answer to a message."""
    cards = [card async for card in bot.answer(message, Stopper())]
    return cards[-1]


def text_of(card: Card) -> str:
    return card.error or "\n".join(getattr(block, "text", "") for block in card.blocks)


async def test_a_picture_that_was_not_read_is_told_and_nothing_is_stored(talk: Talk) -> None:
    card = await answer(talk.bot, with_picture("What is this?"))
    assert card.error == "The picture got lost. Send the message again."
    assert await talk.store.load_history(HERE, limit=9) == []
    assert text_of(await answer(talk.bot, with_picture("What is this?", PICTURE))) == "I see."


async def test_a_template_whose_prompt_is_one_text_takes_no_picture(talk: Talk) -> None:
    await talk.ask("!settings chat_template pirate")
    place = await talk.bot.place_where_wanted(with_picture("Look"))
    assert place is not None
    assert not talk.bot.sees_pictures(with_picture("Look"), place)
    told = text_of(await answer(talk.bot, with_picture("Look")))
    assert told == "I see.\neyes reads text only and has not seen the picture."


@pytest.mark.parametrize(
    ("text", "sees"), [("Look", True), ("", True), ("!help", False), ("!complete Look", False), ("/help", False)]
)
async def test_pictures_are_for_the_conversation_alone(talk: Talk, text: str, sees: bool) -> None:
    place = await talk.bot.place_where_wanted(with_picture(text))
    assert place is not None
    assert talk.bot.sees_pictures(with_picture(text), place) is sees
    assert not talk.bot.sees_pictures(replace(with_picture(text), picture_ids=()), place)


async def test_pictures_count_for_what_a_person_may_have_stored_within_an_hour(talk: Talk) -> None:
    for number in (1, 2):
        assert text_of(await answer(talk.bot, with_picture("Look", PICTURE, number=number))) == "I see."
    told = await answer(talk.bot, with_picture("Look", PICTURE, number=3))
    assert (told.error or "").startswith("You sent 8 MiB within an hour, which is the limit.")


async def test_of_a_model_that_is_not_open_yet_it_is_known_what_was_found_before() -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[ScriptedEngine]:
        yield seeing("new")

    offers = (ModelOffer("new", opened, 0), ModelOffer("known", opened, 0, reads_pictures=True))
    models = Models(ScriptedEngine(["Hello."], name="first"), Offers(offers))
    assert [models.reads_pictures(name) for name in models.names] == [False, False, True]
    async with models.lease("new"):
        assert models.reads_pictures("new")
    await models.close()


async def test_privacy_says_that_pictures_are_stored_only_where_a_model_sees_them(talk: Talk, tmp_path: Path) -> None:
    sentence = "it stores a small copy of each picture"
    assert sentence in text_of(await talk.card("!privacy"))
    folder = tmp_path / "other"
    folder.mkdir()
    async with open_scripted_bot(ScriptedEngine(["Hello."]), folder) as blind:
        assert sentence not in text_of(await blind.card("!privacy"))
