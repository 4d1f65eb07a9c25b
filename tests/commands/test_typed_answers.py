"""Words that stand for a button: in reply to the card, or in a direct message right after it."""

from dataclasses import replace
from typing import Any

from bot.core.cards import Card
from bot.core.messages import Author, Message, Scope, now_utc
from bot.services.ledger import Delivery
from tests.bots import HERE, Talk, shown_card_of
from tests.commands.test_confirming import DELETED, publish_copy

DM = Scope("discord", "@me", "dm-ann", kind="direct")
GROUP = Scope("discord", "@me", "group", kind="group")
COMPLETE = "!complete --seed 3 --max_new_tokens 8 The cat"
OUT_OF_DATE = "That card is out of date; use the newest one."


async def says(talk: Talk, text: str, **how: Any) -> Card:
    return await talk.card(text, has_buttons=True, **how)


async def accepted(talk: Talk, text: str, scope: Scope) -> None:
    """Accept a message as a platform does before the bot answers it."""
    message = Message(f"accepted {text} {now_utc()}", scope, Author("ann", "Ann"), text)
    assert await Delivery(talk.store, replace(talk.services.traits, key=scope.platform)).accept(message)


async def test_each_word_in_reply_to_a_card_does_what_its_button_does(talk: Talk) -> None:
    card = await says(talk, COMPLETE)
    twin = await says(talk, COMPLETE)
    for word in ("more", "2", "longer", "again", "Undo"):
        typed = await says(talk, word, replied_card=card)
        pressed = await talk.click(twin, word.lower())
        assert typed.error is None, typed.error
        assert typed.data == pressed.data
        assert typed.buttons == pressed.buttons
        assert typed.revision == card.revision + 1
        card, twin = typed, pressed


async def test_a_word_to_a_card_that_moved_on_is_answered_with_one_sentence(talk: Talk) -> None:
    card = await says(talk, COMPLETE)
    await says(talk, "1", replied_card=card)
    assert (await says(talk, "2", replied_card=card)).error == OUT_OF_DATE
    gone = replace(card, open_card_id="0" * 32)
    sentence = "That card has expired, or its message was deleted. Give the command again."
    assert (await says(talk, "1", replied_card=gone)).error == sentence


async def test_where_a_word_can_t_act_the_sentence_is_that_of_the_button(talk: Talk) -> None:
    card = await says(talk, COMPLETE)
    assert (await says(talk, "9", replied_card=card)).error == "Choose a number from 1 to 3."
    assert (await says(talk, "undo", replied_card=card)).error == "There is nothing to undo."


async def test_the_card_of_somebody_else_is_not_moved(talk: Talk) -> None:
    card = await says(talk, COMPLETE)
    refused = await says(talk, "1", who="Bob", replied_card=card)
    assert refused.error == "That card belongs to Ann. Get your own with /complete."
    await publish_copy(talk)
    question = await says(talk, "!prompt delete sentiment")
    for word in ("yes", "no"):
        assert "belongs to someone else" in str((await says(talk, word, who="Bob", replied_card=question)).error)
    assert (await says(talk, "yes", replied_card=question)).data["text"] == DELETED


async def test_in_a_channel_and_in_a_group_a_word_without_a_reply_is_chat(talk: Talk) -> None:
    for scope in (HERE, GROUP):
        await says(talk, COMPLETE, scope=scope)
        assert (await says(talk, "1", scope=scope)).data["command"] == "chat"
        assert (await says(talk, "1", scope=scope, reply_to="m0")).data["command"] == "chat"


async def test_in_a_direct_message_the_word_right_after_the_card_acts(talk: Talk) -> None:
    card = await says(talk, COMPLETE, scope=DM)
    first = await says(talk, "1", scope=DM)
    assert first.data["prompt"] == "The cat" + card.data["choices"][0]["text"]
    assert (await says(talk, "undo", scope=DM)).data["choices"] == card.data["choices"]
    await accepted(talk, "Hello", DM)
    assert (await says(talk, "1", scope=DM)).data["command"] == "chat"
    # The card itself still is what it was: a reply to it acts.
    newest = await talk.click(replace(card, revision=3), "more", scope=DM)
    assert newest.error is None


async def test_words_to_other_cards_and_to_answers_are_chat(talk: Talk) -> None:
    answer = await says(talk, "Hello")
    settings = await says(talk, "!settings")
    for card in (answer, settings):
        for word in ("1", "more", "yes", "no"):
            assert (await says(talk, word, replied_card=card)).data["command"] == "chat"
    card = await says(talk, COMPLETE)
    assert (await says(talk, "more of that please", replied_card=card)).data["command"] == "chat"
    assert (await says(talk, "yes", replied_card=card)).data["command"] == "chat"


async def test_a_typed_no_keeps_what_was_asked_about(talk: Talk) -> None:
    await publish_copy(talk)
    question = await says(talk, "!prompt delete sentiment")
    assert (await says(talk, "no", replied_card=question)).data["text"] == "Nothing was changed."
    assert "expired" in str((await says(talk, "yes", replied_card=question)).error)
    assert (await talk.ask("!prompt history sentiment"))["versions"][0]["action"] != "delete"


async def test_yes_to_the_question_erases_everything_and_yes_to_the_card_of_privacy_is_chat(talk: Talk) -> None:
    await says(talk, "My cat is called Zorp.", scope=DM)
    overview = await says(talk, "!privacy", scope=DM)
    assert (await says(talk, "yes", scope=DM)).data["command"] == "chat"
    question = await talk.click(overview, "forget", scope=DM)
    done = await says(talk, "yes", replied_card=question, scope=DM)
    assert done.data["text"].startswith("Permanently erased: ")
    question = await says(talk, "!privacy --do forget", scope=DM)
    assert (await says(talk, "yes", scope=DM)).data["text"].startswith("Permanently erased: ")


async def test_where_only_commands_are_answered_a_word_to_a_card_is_one(talk: Talk) -> None:
    await talk.ask("!settings answer_when never")
    card = await says(talk, COMPLETE)
    message = Message("w1", HERE, Author("ann", "Ann"), "1")
    assert not await talk.bot.is_wanted(message)
    shown = {"replied_card": shown_card_of(card)}
    assert await talk.bot.is_wanted(replace(message, **shown))
    assert not await talk.bot.is_wanted(replace(message, text="yes", **shown))
