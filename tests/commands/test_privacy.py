"""What people may ask about what is stored of them: to see it, have it, be forgotten, not be read at all."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from bot.commands.framework.request import UNREADABLE
from bot.core.cards import Facts
from bot.core.messages import Author, Message
from tests.bots import HERE, Talk

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
NOT_READ = "You asked not to be read. To be read again, use !privacy --read on."
NOT_READ_SLASH = "You asked not to be read. To be read again, use /privacy read:on."
ELSEWHERE = replace(HERE, server="work")


async def test_privacy_says_what_is_stored_and_for_how_long(talk: Talk) -> None:
    await talk.ask("Hello")
    await talk.ask("Hello", who="Bob")
    await talk.ask("Hello", scope=ELSEWHERE)
    card = await talk.card("!privacy", has_buttons=True)
    assert card.answers == "private"
    # The command itself is the third message.
    assert (card.data["num_messages"], card.data["retention_days"], card.data["is_read"]) == (3, 30, True)
    assert ("in backups for up to", "30 more days") in [
        fact for block in card.blocks if isinstance(block, Facts) for fact in block.items
    ]
    assert card.data["backup_days"] == 30
    assert [button.label for button in card.buttons] == ["Export my data", "Stop reading me", "Forget me"]
    assert card.buttons[-1].style == "danger"
    typed = await talk.card("!privacy")
    assert typed.buttons == ()
    assert typed.open_card_id is None


async def test_everything_is_handed_over_as_a_file(talk: Talk) -> None:
    await talk.ask("My cat is called Zorp.")
    await talk.ask("My dog is called Blip.", who="Bob")
    card = await talk.card("!privacy", has_buttons=True)
    exported = await talk.click(card, "export")
    assert exported.answers == "private"
    assert exported.file is not None
    records = json.loads(exported.file.text)
    assert "My cat is called Zorp." in [record.get("text") for record in records]
    assert "Blip" not in exported.file.text
    assert (await talk.ask("!privacy --do export"))["records"][0]["text"] == "My cat is called Zorp."


async def test_being_forgotten_takes_a_second_click(talk: Talk) -> None:
    await talk.ask("My cat is called Zorp.")
    await talk.ask("My dog is called Blip.", who="Bob")
    card = await talk.card("!privacy", has_buttons=True)
    asked = await talk.click(card, "forget")
    assert [button.action for button in asked.buttons] == ["forget-now"]
    assert "Zorp" in (await talk.why(has_buttons=True))["prompt"]
    assert "belongs to someone else" in await talk.click_refusal(asked, "forget-now", who="Bob", is_moderator=True)
    done = await talk.click(asked, "forget-now")
    assert "Permanently erased" in done.data["text"]
    assert done.buttons == ()
    await talk.ask("Well?", who="Bob")
    prompt = (await talk.why(who="Bob"))["prompt"]
    assert "Zorp" not in prompt
    assert "Blip" in prompt
    assert (await talk.ask("!privacy", who="Ann"))["num_messages"] == 1


async def test_forgetting_is_typed_in_two_steps_as_well(talk: Talk) -> None:
    await talk.ask("My cat is called Zorp.")
    assert "forget-now" in (await talk.ask("!privacy --do forget"))["text"]
    assert (await talk.ask("!privacy"))["num_messages"] == 3
    await talk.ask("!privacy --do forget-now")
    assert (await talk.ask("!privacy"))["num_messages"] == 1


async def test_who_asked_not_to_be_read_is_neither_read_nor_stored(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        await talk.ask("My cat is called Zorp.")
        await talk.ask("!privacy --read off")
        num_stored = await talk.num_stored()
    async with open_tiny() as talk:
        assert await talk.refusal("Hello") == NOT_READ
        assert not await talk.bot.keep(Message("k1", HERE, Author("ann", "Ann"), "Zorp!"))
        assert (await talk.ask("!perplexity Zorp sat on the mat"))["input"] == "Zorp sat on the mat"
        for line in ("!complete --seed 1 --max_new_tokens 4 Zorp", "!prompt story Zorp", "!prompt sentiment Zorp"):
            card = await talk.card(line, has_buttons=True)
            assert (card.error, card.buttons, card.reply_id, card.open_card_id) == (None, (), None, None)
            assert any("this is not stored" in getattr(block, "text", "") for block in card.blocks)
        assert "can't propose examples" in await talk.refusal("!prompt example --template story --output x Zorp")
        assert await talk.num_stored() == num_stored
        await talk.ask("Well?", who="Bob")
        assert "Zorp" not in (await talk.why(who="Bob"))["prompt"], "what was said before is not read any more"
        assert not (await talk.ask("!privacy"))["is_read"]
        await talk.ask("!privacy --read on")
        await talk.ask("Well?")
        assert "Zorp" in (await talk.why())["prompt"]


async def test_a_message_of_someone_who_is_not_read_can_t_be_asked_about(talk: Talk) -> None:
    await talk.ask("The cat sat on the mat", who="Bob")
    said = talk.message_ids[-1]
    await talk.ask("!privacy --read off", who="Bob")
    assert await talk.refusal("!perplexity", reply_to=said) == UNREADABLE
    assert await talk.refusal("!perplexity", reply_to="unknown") == UNREADABLE


async def test_the_wish_not_to_be_read_needs_no_button(talk: Talk) -> None:
    for wish in ("off", "on"):
        card = await talk.card(f"!privacy --read {wish}", has_buttons=True, reach="public")
        assert card.error is None
        assert card.buttons == ()
    await talk.ask("!privacy --read off")
    refusal = await talk.card("!privacy", has_buttons=True, reach="public")
    assert "as a slash command" in (refusal.error or "")
    assert (await talk.card("!privacy", has_buttons=True, reach="form")).data["is_read"] is False


async def test_old_buttons_do_nothing_for_who_is_not_read(talk: Talk) -> None:
    completion = await talk.card("!complete --seed 3 --max_new_tokens 4 The cat", has_buttons=True)
    answer = await talk.card("Hello", has_buttons=True)
    await talk.ask("!privacy --read off")
    assert await talk.click_refusal(completion, "1") == NOT_READ_SLASH
    assert await talk.click_refusal(answer, "again") == NOT_READ_SLASH
    assert (await talk.click(answer, "why")).error is None


async def test_buttons_of_privacy_stop_and_start_reading(talk: Talk) -> None:
    card = await talk.card("!privacy", has_buttons=True)
    await talk.click(card, "read-off")
    assert await talk.refusal("Hello") == NOT_READ
    again = await talk.card("!privacy", has_buttons=True)
    assert again.buttons[1].label == "Read me again"
    await talk.click(again, "read-on")
    assert (await talk.ask("Hello"))["text"]


async def test_one_message_is_forgotten_by_its_author_or_a_moderator(talk: Talk) -> None:
    await talk.ask("My cat is called Zorp.", is_moderator=False)
    said = talk.message_ids[-1]
    refusal = await talk.refusal("!forget", who="Bob", is_moderator=False, reply_to=said)
    assert refusal == "You can erase only your own messages; moderators can erase others too."
    assert await talk.refusal("!forget") == "To erase a message, reply to the message with !forget."
    in_menu = await talk.refusal("!forget", has_buttons=True)
    assert in_menu.endswith("!forget, or choose Forget in the menu of the message.")
    by_slash = await talk.refusal("!forget", has_buttons=True, reach="form")
    assert by_slash == "To erase a message, choose Forget in the menu of the message."
    assert await talk.refusal("!forget", reply_to="unknown") == "That message is not stored."
    await talk.ask("!forget", is_moderator=False, reply_to=said)
    await talk.ask("My dog is called Blip.", who="Bob", is_moderator=False)
    await talk.ask("!forget", who="Mia", is_moderator=True, reply_to=talk.message_ids[-1])
    await talk.ask("Well?")
    prompt = (await talk.why())["prompt"]
    assert "Zorp" not in prompt
    assert "Blip" not in prompt


async def test_an_answer_is_forgotten_by_moderators_with_its_visible_messages(talk: Talk) -> None:
    card = await talk.card("Hello")
    for position, sent_id in enumerate(("v1", "v2")):
        await talk.store.note_sent("terminal", talk.message_ids[-1], sent_id, position)
    assert "moderators can erase" in await talk.refusal("!forget", reply_to=card.reply_id, is_moderator=False)
    forgotten = await talk.card("!forget", reply_to=card.reply_id, has_buttons=True, reach="public")
    assert forgotten.removed_ids == ("v1", "v2")
    assert await talk.store.get_reply(HERE, card.reply_id or "") is None


@pytest.mark.parametrize("reach", ["public", "private", "form"])
async def test_forget_is_done_at_once_however_it_is_asked(talk: Talk, reach: str) -> None:
    await talk.ask("Hello")
    card = await talk.card("!forget", reply_to=talk.message_ids[-1], has_buttons=True, reach=reach)
    assert card.answers == "private"
    assert card.error is None
    assert card.buttons == ()
