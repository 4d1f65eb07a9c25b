"""`why rerun`: the same text again, or the reason why not; `why words`: each word by its probability when drawn."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.commands.drawn_words import _texts_of
from bot.core.cards import Card, Table, Text, TintedText
from bot.core.messages import Author, Message
from bot.core.sampling_params import SamplingParams
from bot.core.stopping import Stopper
from bot.errors import RequestError
from bot.store.replies import Provenance, StoredReply
from tests.bots import HERE, ScriptedEngine, Talk, open_scripted_bot
from tests.commands.test_walking_the_tree import branched, offered

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]

CANT = "This can't be written again as it was. "


@pytest.fixture
async def exact(open_tiny: OpenTiny) -> AsyncIterator[Talk]:
    """Return a bot whose model runs in float32."""
    async with open_tiny(precision="float32") as talk:
        yield talk


async def rerun(talk: Talk, reply_id: str | None = None) -> dict[str, Any]:
    return await talk.ask("!why rerun", reply_to=reply_id)


@pytest.mark.parametrize(
    "line",
    [
        "Hello",
        "!complete --seed 3 The cat sat",
        "!complete --seed 3 The ca",
        "!complete --n 2 --max_new_tokens 7 The cat sat",
        "!complete --num_beams 3 --max_new_tokens 7 The cat",
        "!complete --temperature 0 --max_new_tokens 7 The cat",
        "!prompt story a cat",
        "!prompt story --n 3 a cat",
        "!story on --max_new_tokens 7 The cat",
        "!story on The ca",
    ],
)
async def test_in_float32_the_text_is_the_same_to_the_letter(exact: Talk, line: str) -> None:
    answer = await exact.ask(line)
    assert answer.get("text") or answer.get("choices")
    again = await rerun(exact)
    assert again["is_same"] is True
    assert again["text"] == again["answer"] == (await exact.why())["answer"]
    assert again["precision"] == "float32"


async def test_later_rounds_longer_continuations_and_regenerated_answers_are_the_same_too(exact: Talk) -> None:
    await exact.ask("!complete --seed 3 --max_new_tokens 5 The cat")
    for word in ("1", "more", "longer", "again"):
        await exact.ask(word)
        assert (await rerun(exact))["is_same"] is True, word
    await exact.ask("!fresh")
    card = await exact.card("Hello there", has_buttons=True)
    for action in ("again", "continue", "continue", "again"):
        shown = await exact.click(card, action)
        if shown.error is None:
            card = shown
            assert (await rerun(exact, card.reply_id))["is_same"] is True, action


async def test_behind_another_word_of_the_tree_the_text_is_the_same_too(exact: Talk) -> None:
    moved = await branched(exact, await offered(exact))
    assert (await rerun(exact, moved.reply_id))["is_same"] is True


async def test_in_a_talk_what_the_answer_left_out_is_left_out_again(tmp_path: Path) -> None:
    engine = ScriptedEngine(["I like tea.", "I like it. I like tea. And so on", "Fine.\nAnn: Thanks"])
    async with open_scripted_bot(engine, tmp_path) as talk:
        for script in (["I like tea."], ["Well, yes. I like tea. And so on"], ["Fine.\nAnn: Thanks"]):
            engine.scripts = list(script)
            answer = await talk.ask("What do you like?")
            again = await rerun(talk)
            assert (again["is_same"], again["text"]) == (True, answer["text"])
        engine.scripts = ["Something else."]
        again = await talk.card("!why rerun")
        assert again.data["is_same"] is False
        assert again.blocks[0] == Text("The text differs from the first word on. The program may have changed since.")
        # What was written again is not stored.
        assert (await talk.why())["answer"] == "Fine."


async def test_an_answer_that_was_stopped_is_the_same_as_far_as_it_was_written(tmp_path: Path) -> None:
    engine = ScriptedEngine(["One two three four five six seven."], pause_s=0.001)
    async with open_scripted_bot(engine, tmp_path) as talk:
        stopper = Stopper()
        async for card in talk.snapshots("Count", stopper=stopper):
            if not card.is_final and "two" in str(card.blocks):
                stopper.stop()
        again = await talk.card("!why rerun")
        assert again.data["is_same"] is True
        assert again.blocks[0] == Text("The same text again, as far as it was written: it was stopped then.")
        stopper = Stopper()
        async for card in talk.snapshots("!why rerun", stopper=stopper):
            assert card.answers == "private"
            stopper.stop()
        assert card.data["is_same"] is None


async def test_it_says_why_an_answer_can_t_be_written_again(talk: Talk) -> None:
    await talk.ask("!prompt sentiment I love it")
    nothing_drawn = "Nothing was drawn for it: a label is computed. Give the command again to compute it again."
    assert await talk.refusal("!why rerun") == CANT + nothing_drawn
    await talk.ask("!perplexity The cat")
    assert await talk.refusal("!why rerun") == "That only measures a text, and nothing is drawn."
    await talk.ask("!complete --n 1 The cat")
    asked = talk.message_ids[-1]
    engine = talk.services.engine
    info = engine.info
    engine.info = replace(info, name="other")
    assert await talk.refusal("!why rerun") == CANT + "It was written by tiny, and the model here is other now."
    engine.info = replace(info, precision="bfloat16")
    changed = f"It was written in {info.precision}, and the model runs in bfloat16 now."
    assert await talk.refusal("!why rerun") == CANT + changed
    engine.info = info
    assert await talk.refusal("!why again") == "!why ACTION takes one of rerun, words, not 'again'."
    await talk.bot.edited(Message(asked, HERE, Author("ann", "Ann"), "!complete --n 1 The dog"))
    for action, what in (("rerun", CANT), ("words", "The words of this answer can't be scored. ")):
        assert await talk.refusal(f"!why {action}") == what + "1 message that the model read was edited later."


async def test_words_of_somebody_who_opted_out_or_deleted_them_are_not_read_again(talk: Talk) -> None:
    await talk.ask("Hello", who="Bob")
    bobs = talk.message_ids[-1]
    card = await talk.card("Hello", who="Ann")
    await talk.ask("!privacy --read off", who="Bob")
    sentence = "Somebody whose words it read has asked not to be read."
    assert await talk.refusal("!why rerun", reply_to=card.reply_id) == CANT + sentence
    await talk.ask("!privacy --read on", who="Bob")
    await talk.bot.deleted(HERE.platform, [bobs])
    gone = "1 message that the model read was deleted later, so the text is missing here."
    assert await talk.refusal("!why rerun", reply_to=card.reply_id) == CANT + gone


async def test_in_another_precision_it_runs_alone(open_tiny: OpenTiny) -> None:
    async with open_tiny(precision="bfloat16") as talk:
        await talk.ask("!complete --seed 3 The cat")
        alone: list[bool] = []
        generate = talk.services.engine.generate

        def watched(*given: Any, is_alone: bool = False, **how: Any) -> Any:
            alone.append(is_alone)
            return generate(*given, is_alone=is_alone, **how)

        talk.services.engine.generate = watched  # type: ignore[method-assign]
        assert (await rerun(talk))["precision"] == "bfloat16"
        assert alone == [True]


async def test_the_card_of_why_has_buttons_for_everyone(talk: Talk) -> None:
    await talk.ask("!complete --seed 3 --n 1 The cat")
    card = await talk.card("!why", has_buttons=True)
    assert [button.label for button in card.buttons] == ["Rerun", "Words"]
    pressed = await talk.click(card, "rerun", who="Bob")
    assert pressed.answers == "private"
    assert pressed.data["is_same"] is True
    assert pressed.data["command"] == "why"
    assert (await talk.click(card, "words", who="Bob")).data["texts"]
    await talk.bot.deleted(HERE.platform, [])
    await talk.store.delete_message(HERE.platform, (card.open_card_id or "").removeprefix("why-"))
    assert await talk.click_refusal(card, "rerun") == "That answer was deleted."
    await talk.ask("!prompt sentiment I love it")
    assert not (await talk.card("!why", has_buttons=True)).buttons
    # Where there are none, the forms to type are named.
    await talk.ask("!complete --seed 3 --n 1 The cat")
    assert "!why rerun writes it again, !why words shows" in str((await talk.card("!why")).blocks[-1])


def words_in(card: Card) -> list[list[dict[str, Any]]]:
    return [text["words"] for text in card.data["texts"]]


@pytest.mark.parametrize(
    "line", ["Hello", "!complete --seed 3 The cat sat", "!prompt story --n 2 a cat", "!story on --seed 5 The ca"]
)
async def test_each_word_has_the_probability_with_which_it_was_drawn(exact: Talk, line: str) -> None:
    await exact.ask(line)
    answer = (await exact.why())["answer"]
    card = await exact.card("!why words")
    assert card.answers == "private"
    assert card.data["is_stored"] is False
    tinted = [block for block in card.blocks if isinstance(block, TintedText)]
    texts = [text["text"] for text in card.data["texts"]]
    assert ["".join(piece for piece, _ in block.pieces) for block in tinted] == texts
    assert all(text in answer for text in texts)
    for words in words_in(card):
        # What was drawn can be drawn. A token that completes a broken character of the word before counts there.
        for one in words:
            bits = one["surprisal_bits"]
            assert one["model_surprisal_bits"] is None if bits is None else math.isfinite(bits)
            assert bits is None or bits > -0.01
    exact_note = "Scored again, token by token as it was drawn, in float32: probabilities are not stored."
    assert card.blocks[-1] == Text(exact_note, is_quiet=True)
    assert isinstance(card.blocks[2 if len(tinted) == 1 else 3], Table)


async def test_without_sampling_the_words_show_what_the_model_itself_finds(exact: Talk) -> None:
    await exact.ask("!complete --temperature 0 --max_new_tokens 6 The cat")
    card = await exact.card("!why words")
    assert card.blocks[0] == Text(
        "These options draw nothing, so each word is tinted by how improbable the model itself finds it."
    )
    for words in words_in(card):
        assert all(one["surprisal_bits"] == one["model_surprisal_bits"] > 0 for one in words)


async def test_an_answer_in_another_precision_is_scored_from_its_text(open_tiny: OpenTiny) -> None:
    async with open_tiny(precision="bfloat16") as talk:
        await talk.ask("!complete --seed 3 --n 1 The cat")
        talk.services.engine.info = replace(talk.services.engine.info, precision="float32")
        card = await talk.card("!why words")
        assert card.data["texts"][0]["is_exact"] is False
        assert "from its text, in float32 (it was written in bfloat16)" in str(card.blocks[-1])
        assert "its tokens may have been others" in str(card.blocks[-1])


def test_several_texts_with_line_breaks_are_told_apart() -> None:
    def stored(text: str, **inputs: Any) -> StoredReply:
        provenance = Provenance("complete", "tiny", "float32", sampling=SamplingParams(n=3), prompt_inputs=inputs)
        message = Message("r", HERE, Author("bot", "Fewshot", is_me=True), text)
        return StoredReply(message, "command", provenance, ())

    assert _texts_of(stored("a\nb\n\nc\nd", lengths=[3, 0, 3])) == ["a\nb", "", "c\nd"]
    assert _texts_of(stored("a\nb\nc")) == ["a", "b", "c"]
    with pytest.raises(RequestError, match="several texts, stored as one"):
        _texts_of(stored("a\nb\nc\nd"))


async def test_the_lengths_of_several_texts_are_stored(talk: Talk) -> None:
    await talk.ask("!complete --seed 3 --max_new_tokens 5 The cat")
    reply = await talk.store.last_reply(HERE)
    assert reply is not None
    lengths = reply.provenance.prompt_inputs["lengths"]
    assert [len(text) for text in _texts_of(reply)] == lengths
    assert len(lengths) == 3
