"""The word list of a server: what public answers may not have, for each way in which the model writes."""

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.core.cards import Card
from bot.core.messages import Scope
from bot.core.stopping import Stopper
from bot.core.word_list import WordList, fold_word
from bot.services.screening import NOT_ALLOWED
from tests.bots import HERE, ScriptedEngine, Talk, open_scripted_bot

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
AGAIN = "so this one was written with another seed."


def shown_in(cards: list[Card]) -> str:
    return " ".join(repr(card.blocks) + repr(card.data) for card in cards).casefold()


async def test_moderators_add_and_remove_words_and_only_they_see_them(talk: Talk) -> None:
    assert (await talk.ask("!wordlist"))["text"] == "The word list is empty, so it is off."
    added = await talk.card("!wordlist add Damn, heck  DAMN")
    assert added.data["text"] == "2 words added. The word list has 2 words: no public answer here may have one."
    assert "damn" not in shown_in([added])
    listed = await talk.card("!wordlist")
    assert (listed.data["words"], listed.answers) == (["damn", "heck"], "private")
    assert (await talk.ask("!wordlist", scope=replace(HERE, channel="random")))["num_words"] == 2
    assert (await talk.ask("!wordlist", scope=replace(HERE, server="work")))["num_words"] == 0
    settings = await talk.card("!settings")
    assert "Public answers here may not have 2 words; !wordlist shows moderators which." in repr(settings.blocks)
    assert "damn" not in shown_in([settings])
    assert (await talk.ask("!wordlist remove damn nothing"))["text"].startswith(
        "1 word removed. The word list has 1 word"
    )
    assert await talk.refusal("!wordlist", is_moderator=False) == "Only moderators can use !wordlist."
    assert (await talk.ask("!wordlist clear"))["text"] == "1 word removed. The word list is empty, so it is off."
    assert await talk.store.get_settings(HERE) == {}


async def test_where_all_read_the_list_opens_for_its_asker_alone_and_a_change_shows_no_word(talk: Talk) -> None:
    added = await talk.card("!wordlist add damn", has_buttons=True, reach="public")
    assert added.data["num_words"] == 1
    offered = await talk.card("!wordlist", has_buttons=True, reach="public")
    assert [button.action for button in offered.buttons] == ["open"]
    assert "damn" not in shown_in([offered])
    opened = await talk.click(offered, "open", who="Ann", is_moderator=True)
    assert (opened.data["words"], opened.answers) == (["damn"], "private")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("add", "Write the words too, with spaces between: !wordlist add WORDS."),
        ("add !!", "'!!' is no word: it has no letter or digit, or has spaces in it."),
        ("add " + "x" * 33, f"A word of the list has at most 32 characters, and '{'x' * 33}' more."),
        ("add " + " ".join(f"w{i}" for i in range(101)), "A word list has at most 100 words, and this would be 102."),
        ("ad damn", "!wordlist can't 'ad'; did you mean add?"),
        ("damn", "!wordlist can't 'damn'; it takes add, remove or clear."),
        ("clear damn", "clear removes all words and takes none. Use !wordlist remove WORDS."),
    ],
)
async def test_what_the_list_does_not_take_is_one_sentence_and_changes_nothing(
    talk: Talk, line: str, sentence: str
) -> None:
    await talk.ask("!wordlist add heck")
    assert await talk.refusal(f"!wordlist {line}") == sentence
    assert (await talk.ask("!wordlist"))["words"] == ["heck"]


async def test_in_a_direct_message_there_is_no_list(talk: Talk) -> None:
    direct = Scope("terminal", "@me", "17", kind="direct")
    assert await talk.refusal("!wordlist", scope=direct) == "Direct messages have no moderators."


WAYS = ["Hello", "!complete --n 1 The", "!prompt story a cat", "!story on Once upon"]


@pytest.mark.parametrize("line", WAYS)
async def test_a_text_with_such_a_word_is_written_once_more_and_never_shown(tmp_path: Path, line: str) -> None:
    engine = ScriptedEngine([" well DAMN it all, friend.", " Scunthorpe is damned nice."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        await talk.ask("!wordlist add damn cun")
        cards = [card async for card in talk.snapshots(line)]
        assert "scunthorpe is damned nice." in shown_in(cards[-1:])
        assert "damn it" not in shown_in(cards)
        assert len(engine.params) == 2
        assert engine.params[0].seed != engine.params[1].seed
        if not line.startswith("!story"):
            why = await talk.card("!why")
            assert AGAIN in repr(why.blocks)
            assert why.data["seed"] == engine.params[1].seed


@pytest.mark.parametrize("line", WAYS)
async def test_after_a_second_such_text_there_is_one_sentence(tmp_path: Path, line: str) -> None:
    engine = ScriptedEngine([" well damn it all, friend."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        await talk.ask("!wordlist add damn")
        cards = [card async for card in talk.snapshots(line)]
        assert "damn" not in shown_in(cards)
        # A story goes on from what was said, so its card stays and says it.
        assert cards[-1].error == NOT_ALLOWED or NOT_ALLOWED in repr(cards[-1].blocks)
        assert len(engine.params) == 2
        await talk.ask("!wordlist clear")
        if line == "Hello":
            assert "damn" in (await talk.ask("Hello again"))["text"]


async def test_a_chat_still_streams_word_by_word(tmp_path: Path) -> None:
    async with open_scripted_bot(ScriptedEngine([" one two three damned."]), tmp_path) as talk:
        await talk.ask("!wordlist add damn")
        shown = [card.blocks[0].text async for card in talk.snapshots("Hello") if not card.is_final]  # type: ignore[union-attr]
        assert [text for i, text in enumerate(shown) if text not in shown[:i]] == ["one two", "one two three"]


async def test_the_buttons_of_a_completion_hold_back_such_words_too(tmp_path: Path) -> None:
    engine = ScriptedEngine([" sat down.", " damn.", " damn.", " damn.", " damn.", " slept."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        await talk.ask("!wordlist add damn")
        card = await talk.card("!complete --n 1 The cat", has_buttons=True)
        for action in ("more", "longer"):
            shown = [one async for one in talk.clicks(card, action)]
            assert "damn" not in shown_in(shown)
            assert NOT_ALLOWED in repr(shown[-1])
            assert "sat down." in repr(shown[-1].blocks) or shown[-1].error
        more = await talk.click(card, "more")
        assert [one["text"] for one in more.data["choices"]] == [" sat down.", " slept."]


async def test_the_buttons_of_an_answer_hold_back_such_words_too(tmp_path: Path) -> None:
    engine = ScriptedEngine([" A fine day.", " damn you.", " damn them.", " It is good."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        await talk.ask("!wordlist add damn")
        card = await talk.card("Hello", has_buttons=True)
        refused = [one async for one in talk.clicks(card, "again", who="Ann", is_moderator=True)]
        assert "damn" not in shown_in(refused)
        assert NOT_ALLOWED in repr(refused[-1])
        again = await talk.click(card, "again", who="Ann", is_moderator=True)
        assert again.data["text"] == "It is good."


async def test_each_line_of_a_table_is_held_back_for_itself(tmp_path: Path) -> None:
    engine = ScriptedEngine([" fine", " damn", " damn", " good"])
    async with open_scripted_bot(engine, tmp_path) as talk:
        await talk.ask("!wordlist add damn")
        cards = [card async for card in talk.snapshots("!prompt --lines each story a cat\na dog\na cow")]
        rows = cards[-1].data["rows"]
        assert [row["text"] for row in rows] == ["fine", "", "good"]
        assert rows[1]["problem"] == "has a word that is not allowed here"
        assert "damn" not in shown_in(cards)


async def test_options_that_always_give_the_same_text_are_refused_at_once(tmp_path: Path) -> None:
    engine = ScriptedEngine([" damn."])
    async with open_scripted_bot(engine, tmp_path) as talk:
        await talk.ask("!wordlist add damn")
        assert await talk.refusal("!complete --temperature 0 The cat") == NOT_ALLOWED
        assert len(engine.params) == 1


async def test_a_real_model_writes_by_each_strategy_without_the_words(open_tiny: OpenTiny) -> None:
    async with open_tiny() as talk:
        free = await talk.ask("!complete --seed 3 --n 2 --max_new_tokens 12 The cat")
        await talk.ask("!wordlist add zzzzz")
        assert (await talk.ask("!complete --seed 3 --n 2 --max_new_tokens 12 The cat"))["choices"] == free["choices"]
        assert (await talk.ask("!strategies --max_new_tokens 4 The cat"))["choices"]


@pytest.mark.parametrize("line", WAYS[:3])
async def test_what_was_written_before_a_stop_is_held_back_too(tmp_path: Path, line: str) -> None:
    engine = ScriptedEngine([" damn it all and much more than that, for a long time."], pause_s=0.01)
    async with open_scripted_bot(engine, tmp_path) as talk:
        await talk.ask("!wordlist add damn")
        stopper = Stopper()

        async def stop() -> None:
            while not engine.generations:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.06)
            stopper.stop()

        stopping = asyncio.create_task(stop())
        cards = [card async for card in talk.snapshots(line, stopper=stopper)]
        await stopping
        assert "damn" not in shown_in(cards)


@pytest.mark.parametrize("line", ["!complete --seed 3 --n 2 The cat", "!strategies --seed 3 The cat"])
async def test_a_real_model_draws_again_and_why_can_write_that_text_again(open_tiny: OpenTiny, line: str) -> None:
    async with open_tiny() as talk:
        free = await talk.ask(line)
        # Greedy and beam search, the first of the strategies, would only write the same again.
        text = free["choices"][-1]["text"]
        word = re.findall(r"(?<!\w)[A-Za-z]+(?!\w)", text)[0]
        await talk.ask(f"!wordlist add {word}")
        again = await talk.ask(line)
        assert again["choices"] != free["choices"]
        assert not any(WordList((fold_word(word),)).is_in(one["text"]) for one in again["choices"])
        why = await talk.card("!why")
        assert AGAIN in repr(why.blocks)
        assert (await talk.ask("!why rerun"))["is_same"] is True
