"""Story mode: what is said in a conversation becomes one text, and anyone there chooses how it goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.core.cards import Card, Choices, Text
from bot.core.messages import Author, Message, Scope, now_utc
from bot.core.stopping import Stopper
from bot.errors import Unavailable
from bot.platforms.discord.traits import DISCORD
from bot.services.ledger import Delivery
from bot.store.story import StoryOffer
from tests.bots import ScriptedEngine, Talk, open_scripted_bot

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]

CHANNEL = Scope("discord", "home", "tales")
ON = "!story on --seed 3 --max_new_tokens 6"
FASTER = "Someone was faster, so the story has already gone on. Choose from its newest continuations."


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine([" and so."])


@pytest.fixture
async def tale(engine: ScriptedEngine, tmp_path: Path) -> AsyncIterator[Talk]:
    """Return a bot that always goes on with the same words."""
    async with open_scripted_bot(engine, tmp_path) as talk:
        yield talk


async def says(talk: Talk, text: str, *, who: str = "Ann", **how: Any) -> Card:
    return await talk.card(text, who=who, scope=CHANNEL, has_buttons=True, **{"is_moderator": who == "Mo", **how})


async def presses(talk: Talk, card: Card, action: str, *, who: str = "Bob", **how: Any) -> Card:
    return await talk.click(card, action, who=who, scope=CHANNEL, **how)


async def begun(talk: Talk, text: str = "The cat") -> Card:
    """Begin a story with what Ann says."""
    await says(talk, ON, who="Mo")
    return await says(talk, text)


async def text_of(talk: Talk) -> str:
    return str((await says(talk, "!story export")).data["text"])


async def test_what_somebody_or_the_model_added_changes_nothing_around_it(tale: Talk, engine: ScriptedEngine) -> None:
    engine.scripts = [" and \x1b[31m\u202eso."]
    card = await presses(tale, await begun(tale, "The \u202ecat"), "1")
    shown = "".join(block.prompt for block in card.blocks if isinstance(block, Choices))
    assert "The cat and [31mso." in shown
    assert "\u202e" not in shown
    assert "\x1b" not in shown


async def test_what_is_said_becomes_one_text_and_anyone_chooses_how_it_goes_on(talk: Talk) -> None:
    on = await says(talk, ON, who="Mo")
    assert "What is said here now becomes one text." in on.data["text"]
    card = await says(talk, "The cat sat", who="Ann")
    assert card.data["command"] == "story"
    assert card.data["text"] == "The cat sat"
    assert len(card.data["choices"]) == 3
    assert card.blocks[:2] == (Choices("The cat sat", ()), Choices("The cat sat", tuple(card.data["choices"])))
    assert [button.label for button in card.buttons] == ["1", "2", "3", "Undo", "Again"]
    # Not the one who wrote it.
    chosen = await presses(talk, card, "2", who="Bob")
    assert chosen.error is None
    assert chosen.answers == "public"
    assert chosen.data["text"] == "The cat sat" + card.data["choices"][1]
    assert len(chosen.data["choices"]) == 3
    more = await says(talk, "Then it slept", who="Cid")
    assert more.data["text"] == f"{chosen.data['text']} Then it slept"
    off = await says(talk, "!story off", who="Mo")
    assert off.data["text"] == more.data["text"].strip()
    assert Text(off.data["text"], is_model_text=True) in off.blocks
    assert (off.data["num_parts"], off.data["num_bot_parts"]) == (3, 1)
    # It is a conversation again.
    assert (await says(talk, "Hello")).data["command"] == "chat"


async def test_only_moderators_begin_and_end_a_story(talk: Talk) -> None:
    refused = await says(talk, "!story on")
    assert refused.error == "Only moderators can use !story on."
    card = await begun(talk)
    assert card.error is None
    assert (await says(talk, "!story off")).error == "Only moderators can use !story off."
    again = await says(talk, "!story on", who="Mo")
    assert again.error == "A story is already being written here. !story export shows it, !story off ends it."


async def test_a_story_may_begin_with_the_text_of_the_command(talk: Talk) -> None:
    card = await says(talk, f"{ON} Once upon a", who="Mo")
    assert card.data["text"] == "Once upon a"
    assert len(card.data["choices"]) == 3
    assert "Anyone here may choose a continuation, or write on." in str(card.blocks[-1])
    assert (await text_of(talk)) == "Once upon a"
    file = await says(talk, "!story off", who="Mo")
    assert file.data["text"] == "Once upon a"
    card = await says(talk, ON, who="Mo", attachment="In a file it began")
    assert card.data["text"] == "In a file it began"


async def test_undo_takes_back_the_last_step_and_offers_what_was_offered_before(talk: Talk) -> None:
    card = await begun(talk)
    chosen = await presses(talk, card, "1")
    back = await presses(talk, chosen, "undo", who="Cid")
    assert (back.data["text"], back.data["choices"]) == ("The cat", card.data["choices"])
    chosen = await presses(talk, back, "3")
    written = await says(talk, "Then", who="Ann")
    # Words of a member: theirs, or a moderator's to take out.
    refused = await presses(talk, written, "undo", who="Bob")
    assert refused.error == "Only the person who wrote that, or a moderator, can take it out of the story."
    back = await presses(talk, written, "undo", who="Ann")
    assert (back.data["text"], back.data["choices"]) == (chosen.data["text"], chosen.data["choices"])
    back = await presses(talk, back, "undo")
    back = await presses(talk, back, "undo", who="Mo", is_moderator=True)
    assert back.data["text"] == ""
    assert str(back.blocks[-1]).count("Write how it begins")
    assert (await presses(talk, back, "undo")).error == "There is nothing to undo."


async def test_again_offers_others_with_the_next_seed(talk: Talk) -> None:
    card = await begun(talk)
    again = await presses(talk, card, "again")
    assert again.data["text"] == card.data["text"]
    assert again.data["choices"] != card.data["choices"]
    assert (card.data["seed"], again.data["seed"]) == (3, 4)


async def test_words_do_what_buttons_do(talk: Talk) -> None:
    card = await begun(talk)
    chosen = await says(talk, "2", who="Bob")
    assert chosen.data["text"] == "The cat" + card.data["choices"][1]
    back = await says(talk, "Undo", who="Cid", replied_card=chosen)
    assert back.data["text"] == "The cat"
    assert (await says(talk, "9")).error == "Choose a number from 1 to 3."
    stale = await says(talk, "1", replied_card=chosen)
    assert stale.blocks == (Text(FASTER),)
    typed = await talk.card("again", who="Dot", scope=CHANNEL, is_moderator=False)
    assert typed.data["text"] == "The cat"


async def test_of_two_who_press_at_once_one_wins_and_the_other_is_told_that_nothing_went_wrong(talk: Talk) -> None:
    card = await begun(talk)
    pressed = await asyncio.gather(presses(talk, card, "1", who="Bob"), presses(talk, card, "2", who="Cid"))
    assert [one.error for one in pressed] == [None, None]
    (late,) = (one for one in pressed if one.answers == "private")
    (won,) = (one for one in pressed if one.answers == "public")
    assert late.blocks == (Text(FASTER),)
    assert won.data["text"] in {"The cat" + choice for choice in card.data["choices"]}
    assert await text_of(talk) == won.data["text"].strip()
    pressed = await asyncio.gather(*(presses(talk, won, "again", who=who) for who in ("Bob", "Cid", "Dot")))
    assert sorted(one.answers for one in pressed) == ["private", "private", "public"]
    # Later, too.
    assert (await presses(talk, card, "1")).blocks == (Text(FASTER),)


async def test_the_last_word_of_a_member_is_whole_and_the_model_s_own_may_go_on(
    tale: Talk, engine: ScriptedEngine
) -> None:
    card = await begun(tale, "One day")
    await presses(tale, card, "1")
    assert [how["is_word_whole"] for how in engine.how] == [True, False]
    assert not any(how.get("heal") for how in engine.how)


async def test_words_that_come_while_the_model_writes_are_what_it_goes_on_from(
    tale: Talk, engine: ScriptedEngine
) -> None:
    await says(tale, ON, who="Mo")
    engine.pause_s = 0.01
    first = asyncio.ensure_future(says(tale, "One"))
    while not engine.generations:
        await asyncio.sleep(0)
    engine.scripts = [" at last."]
    second = await says(tale, "two", who="Bob")
    assert (await first).blocks == (Text("The story has gone on below.", is_quiet=True),)
    assert not (await first).buttons
    assert engine.generations[0].is_cancelled
    assert second.data["text"] == "One two"
    assert second.data["choices"] == [" at last."]


async def test_a_deleted_or_edited_message_changes_the_story(tale: Talk, engine: ScriptedEngine) -> None:
    card = await begun(tale, "The cat")
    said = tale.message_ids[-1]
    card = await presses(tale, card, "1")
    card = await says(tale, "Then", who="Bob")
    assert card.data["text"] == "The cat and so. Then"
    await tale.bot.edited(Message(said, CHANNEL, Author("ann", "Ann"), "The dog"))
    assert await text_of(tale) == "The dog and so. Then"
    # What was on offer continued other words, so the next press brings new continuations and chooses none.
    engine.scripts = [" anew."]
    card = await presses(tale, card, "1")
    assert (card.data["text"], card.data["choices"]) == ("The dog and so. Then", [" anew."])
    await tale.bot.deleted("discord", [said])
    assert await text_of(tale) == "and so. Then"
    card = await presses(tale, card, "1")
    assert card.data["text"] == "and so. Then"
    card = await presses(tale, card, "undo", who="Bob")
    assert card.data["text"] == "and so."
    assert card.data["choices"] == [" anew."]


async def test_a_message_that_an_edit_turns_into_a_command_or_a_step_leaves_the_story(tale: Talk) -> None:
    await begun(tale, "The cat")
    said = tale.message_ids[-1]
    await says(tale, "sat", who="Bob")
    for text in ("!help", "2"):
        await tale.bot.edited(Message(said, CHANNEL, Author("ann", "Ann"), text))
        assert await text_of(tale) == "sat"
    await tale.bot.edited(Message(said, CHANNEL, Author("ann", "Ann"), "2 dogs"))
    assert await text_of(tale) == "2 dogs sat"


async def test_continuations_of_words_that_are_deleted_while_they_are_written_are_not_offered(
    tale: Talk, engine: ScriptedEngine
) -> None:
    await begun(tale, "Gone")
    said = tale.message_ids[-1]
    engine.pause_s = 0.01
    writing = asyncio.ensure_future(says(tale, "stays", who="Bob"))
    while len(engine.generations) < 2:
        await asyncio.sleep(0)
    await tale.bot.deleted("discord", [said])
    assert (await writing).data["text"] == "stays"
    assert [prompt.text for prompt in engine.read] == ["Gone", "Gone stays", "stays"]


async def test_forgetting_a_person_takes_their_words_and_the_bot_s_answers_to_them_out_of_the_story(
    tale: Talk,
) -> None:
    card = await begun(tale, "Ann wrote this")
    await presses(tale, card, "1")
    await says(tale, "Bob wrote that", who="Bob")
    await says(tale, "!privacy --do forget-now", who="Ann", reach="form")
    assert await text_of(tale) == "Bob wrote that"


async def test_words_of_somebody_who_opted_out_are_not_taken_and_not_read(tale: Talk) -> None:
    await begun(tale, "Ann wrote this")
    await says(tale, "Bob wrote that", who="Bob")
    await says(tale, "!privacy --read off", who="Ann", reach="form")
    refused = await says(tale, "Not this", who="Ann")
    assert refused.error
    assert "You asked not to be read." in refused.error
    assert await text_of(tale) == "Bob wrote that"
    # Choosing is no word of theirs.
    card = await says(tale, "again", who="Bob")
    assert (await presses(tale, card, "1", who="Ann")).data["text"] == "Bob wrote that and so."
    unaddressed = Message("u1", CHANNEL, Author("ann", "Ann"), "Nor this", is_addressed=False)
    assert not await tale.bot.is_wanted(unaddressed)
    assert (await says(tale, "!story on", who="Ann", is_moderator=True)).error


async def test_where_a_story_is_written_everything_said_is_for_it(tale: Talk) -> None:
    def said(text: str, scope: Scope = CHANNEL, **how: Any) -> Message:
        return Message(f"w{now_utc()}", scope, Author("ann", "Ann"), text, is_addressed=False, **how)

    assert not await tale.bot.is_wanted(said("Hello"))
    await says(tale, ON, who="Mo")
    assert await tale.bot.is_wanted(said("Hello"))
    assert not await tale.bot.is_wanted(said("!unknown"))
    assert not await tale.bot.is_wanted(said("Hello", replace(CHANNEL, thread="7")))
    assert not await tale.bot.is_wanted(said("Hello", replace(CHANNEL, channel="other")))
    await tale.store.set_setting(CHANNEL, "channel", "answer_when", "never")
    assert await tale.bot.is_wanted(replace(said("Hello"), is_addressed=True))
    assert "A story is being written here" in str((await says(tale, "!help")).blocks)


async def test_what_was_said_before_the_story_began_is_no_part_of_it_when_it_is_read_back(tale: Talk) -> None:
    before = now_utc()
    await says(tale, ON, who="Mo")
    said = Message("before", CHANNEL, Author("ann", "Ann"), "Hello", is_addressed=False, created_at_utc=before)
    assert not await tale.bot.is_wanted(said)
    late = [card async for card in tale.bot.answer(replace(said, is_addressed=True), Stopper())][-1]
    assert late.data["command"] == "chat"


async def test_the_export_says_who_wrote_what_only_as_members_and_the_bot(tale: Talk) -> None:
    assert (await says(tale, "!story export")).error == "There is no story here. A moderator begins one with !story on."
    card = await begun(tale, "The cat")
    await presses(tale, card, "1")
    await says(tale, "Then", who="Bob")
    plain = await says(tale, "!story export")
    assert plain.file is not None
    assert (plain.file.name, plain.file.text) == ("story.txt", "The cat and so. Then\n")
    assert plain.blocks == (Text("The story has 5 words in 3 parts, 1 of them by Fewshot."),)
    marked = await says(tale, "!story export --parts on")
    assert marked.file is not None
    assert marked.file.text == "Member: The cat\n\nFewshot: and so.\n\nMember: Then\n"
    # After its end, too.
    await says(tale, "!story off", who="Mo")
    assert await text_of(tale) == "The cat and so. Then"


async def test_a_long_story_is_read_without_its_beginning_and_the_card_says_so(tmp_path: Path) -> None:
    engine = ScriptedEngine([" and so."], context_length=200)
    async with open_scripted_bot(engine, tmp_path) as tale:
        await says(tale, "!story on --max_new_tokens 50", who="Mo")
        for number in range(20):
            card = await says(tale, f"This is sentence {number} of it.")
        assert len(engine.read[-1].text) <= 150
        assert card.data["text"].endswith(engine.read[-1].text)
        num = card.data["num_words_left_out"]
        assert num == len(card.data["text"].split()) - len(engine.read[-1].text.split())
        assert f"the model no longer reads the first {num} words" in str(card.blocks)


async def test_however_much_the_model_could_read_it_reads_the_last_2_048_tokens(tmp_path: Path) -> None:
    engine = ScriptedEngine([" and so."], context_length=100_000)
    async with open_scripted_bot(engine, tmp_path) as tale:
        await begun(tale, "word " * 5000)
        assert 900 < len(engine.read[-1].text) <= 2_048 - 6


async def test_a_story_has_a_greatest_length(tale: Talk) -> None:
    card = await begun(tale, "word " * 40_000)
    assert card.error is None
    await says(tale, "", attachment="word " * 35_000)
    refused = await says(tale, "word " * 6_000)
    assert refused.error == (
        "A story has at most 400,000 characters. !story export gives it as a file, and a moderator ends it with"
        " !story off."
    )
    assert (await says(tale, "The end.")).error is None
    assert (await says(tale, "1")).error is None


async def test_a_story_survives_a_restart(engine: ScriptedEngine, tmp_path: Path) -> None:
    async with open_scripted_bot(engine, tmp_path) as talk:
        card = await begun(talk)
    async with open_scripted_bot(engine, tmp_path) as talk:
        chosen = await presses(talk, card, "1")
        assert chosen.data["text"] == "The cat and so."
        assert chosen.data["choices"] == [" and so."]


async def test_a_step_that_a_restart_interrupted_is_carried_out_once(tale: Talk, engine: ScriptedEngine) -> None:
    on = Message("on", CHANNEL, Author("mo", "Mo", is_moderator=True), "!story on Once")
    said = Message("said", CHANNEL, Author("ann", "Ann"), "there was")
    off = replace(on, id="off", text="!story off")

    async def again(message: Message) -> Card:
        cards = [[card async for card in tale.bot.answer(message, Stopper())][-1] for _ in range(2)]
        assert cards[0].data == cards[1].data
        return cards[1]

    assert (await again(on)).data["text"] == "Once"
    assert (await again(said)).data["text"] == "Once there was"
    assert len(engine.read) == 2  # what is on offer already is not written again
    for number, word in enumerate(("1", "1", "undo")):
        card = await again(replace(said, id=f"word{number}", text=word))
    assert card.data["text"] == "Once there was and so."
    assert (await again(off)).data["text"] == "Once there was and so."
    assert (await says(tale, "!story off", who="Mo")).error


async def test_a_press_after_which_the_bot_was_killed_can_be_repeated(tale: Talk) -> None:
    card = await begun(tale)
    story = await tale.store.load_story(CHANNEL)
    assert story is not None
    assert await tale.store.choose_part(story, 0, asked_id="m")  # and no continuations were written
    after = await presses(tale, card, "1")
    assert (after.data["text"], after.data["choices"]) == ("The cat and so.", [" and so."])


async def test_an_error_of_the_model_leaves_a_card_to_go_on_from(tale: Talk, engine: ScriptedEngine) -> None:
    card = await begun(tale)
    engine.scripts = [Unavailable("64 requests are already waiting; try again in a minute.")]
    card = await presses(tale, card, "1")
    assert card.data["text"] == "The cat and so."
    assert card.blocks[-1] == Text("64 requests are already waiting; try again in a minute.", is_quiet=True)
    assert [button.action for button in card.buttons] == ["undo", "again"]
    engine.scripts = [""]
    card = await presses(tale, card, "again")
    assert card.blocks[-1] == Text("The model has nothing to add here.", is_quiet=True)
    engine.scripts = [" at last."]
    card = await presses(tale, card, "again")
    assert card.data["choices"] == [" at last."]
    # A round that adds nothing leaves what is on offer.
    engine.scripts = [""]
    card = await presses(tale, card, "again")
    assert card.data["choices"] == [" at last."]
    assert card.blocks[-1] == Text("The model has nothing to add here.", is_quiet=True)


async def test_deleting_the_bot_s_message_takes_what_was_chosen_there_out_of_the_story(tale: Talk) -> None:
    card = await begun(tale, "The cat")
    said = tale.message_ids[-1]
    await tale.store.note_sent("discord", said, "v1", 0)
    await presses(tale, card, "1")
    await tale.bot.deleted("discord", ["v1"])
    assert await text_of(tale) == "The cat"


async def test_deleting_the_answer_to_a_word_takes_what_that_chose_out_of_the_story(tale: Talk) -> None:
    await begun(tale, "The cat")
    for number, action in enumerate(("1", "undo", "1")):
        card = await says(tale, action, who="Bob")
        await tale.store.note_sent("discord", tale.message_ids[-1], f"v{number}", 0)
    why = await says(tale, "!why", reply_to=card.reply_id)
    assert why.data["answered_command"] == "story"
    resolved = await Delivery(tale.store, DISCORD).resolve(
        Message("w", CHANNEL, Author("bob", "Bob"), "!why", reply_to="v2")
    )
    assert resolved.reply_to == card.reply_id
    assert await text_of(tale) == "The cat and so."
    await tale.bot.deleted("discord", ["v1"])
    assert await text_of(tale) == "The cat and so."
    await tale.bot.deleted("discord", ["v2"])
    assert await text_of(tale) == "The cat"


async def test_the_buttons_of_a_story_that_has_ended_say_so(tale: Talk) -> None:
    card = await begun(tale)
    await says(tale, "!story off", who="Mo")
    sentence = "No story is being written here. A moderator begins one with /story-edit on."
    assert (await presses(tale, card, "1")).error == sentence
    await begun(tale)
    assert (await presses(tale, card, "1")).error == sentence


async def test_quotas_hold_for_words_and_presses(open_tiny: OpenTiny) -> None:
    async with open_tiny(quota_per_minute=3) as talk:
        card = await begun(talk)
        for action in ("again", "again", "again"):
            card = await presses(talk, card, action)
        refused = await presses(talk, card, "1")
        assert refused.error
        assert "You made 3 requests within a minute." in refused.error


async def test_beams_and_greedy_offer_what_they_find(talk: Talk) -> None:
    await says(talk, "!story on --temperature 0 --max_new_tokens 5", who="Mo")
    card = await says(talk, "The cat")
    assert [button.action for button in card.buttons] == ["1", "undo"]
    assert (await says(talk, "again")).error == "These options always give the same continuation."
    assert not [option for option in ("seed",) if "seed" in str(card.blocks)]


async def test_an_offer_is_saved_only_for_the_revision_that_it_continues(tale: Talk) -> None:
    await begun(tale)
    story = await tale.store.load_story(CHANNEL)
    assert story is not None
    assert await tale.store.save_offer(story, StoryOffer((" a", " b"), 1))
    assert not await tale.store.save_offer(story, StoryOffer((" c",), 2))
    assert not await tale.store.choose_part(story, 0, asked_id="m")
    assert not await tale.store.undo_part(story, undone_by="m")


async def test_why_shows_what_the_model_read_of_a_story(tmp_path: Path) -> None:
    engine = ScriptedEngine([" and so."], context_length=200)
    async with open_scripted_bot(engine, tmp_path) as tale:
        await says(tale, "!story on --max_new_tokens 50 --seed 7 Once upon a time", who="Mo")
        for number in range(9):
            card = await says(tale, f"This is sentence {number} of it.")
            card = await presses(tale, card, "1")
            why = await says(tale, "!why", reply_to=card.reply_id, reach="private")
            assert (why.data["answered_command"], why.data["prompt"]) == ("story", engine.read[-1].text)
            assert why.data["is_exact"]
        assert why.data["seed"] == 7 + 18
        assert card.data["num_words_left_out"]
        # What was undone since belongs to what was read.
        await presses(tale, card, "undo")
        assert (await says(tale, "!why", reply_to=card.reply_id)).data["is_exact"]
        await tale.bot.edited(Message(tale.message_ids[-3], CHANNEL, Author("ann", "Ann"), "Other words."))
        why = await says(tale, "!why", reply_to=card.reply_id)
        assert why.data["changes"] == ["1 message that the model read was edited later."]
