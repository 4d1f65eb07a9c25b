"""Which answer `why` explains when nothing is replied to."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from bot.core.cards import Facts, Text, Verbatim
from tests.bots import HERE, Talk


async def test_after_a_measurement_why_explains_that_and_no_older_answer(talk: Talk) -> None:
    await talk.ask("Hello")
    for line, name, text in (
        ("!perplexity The cat sat", "perplexity", "The cat sat"),
        ("!next The cat", "next", "The cat"),
    ):
        await talk.ask(line)
        card = await talk.card("!why")
        assert (card.data["answered_command"], card.data["prompt"]) == (name, text)
        assert Verbatim(text) in card.blocks
        assert any("only measures" in block.text for block in card.blocks if isinstance(block, Text))
        assert card.answers == "private"
    await talk.ask("!complete --n 1 The dog")
    assert (await talk.why())["answered_command"] == "complete"
    # What is asked about the bot is no answer of the model.
    await talk.ask("!help")
    assert (await talk.why())["answered_command"] == "complete"


async def test_why_explains_the_asker_s_own_newest_answer(talk: Talk) -> None:
    await talk.ask("!complete --n 1 The dog", who="Ann")
    await talk.ask("!perplexity The cat sat", who="Cid")
    await talk.ask("Hello", who="Bob")
    assert (await talk.why(who="Ann"))["prompt"] == "The dog"
    assert (await talk.why(who="Cid"))["answered_command"] == "perplexity"
    assert (await talk.why(who="Bob"))["answered_command"] == "chat"


async def test_without_an_answer_of_one_s_own_why_says_whose_answer_it_explains(talk: Talk) -> None:
    await talk.ask("!complete --n 1 The dog", who="Ann")
    card = await talk.card("!why", who="Dot")
    assert card.blocks[0] == Text("There is no stored answer to you here lately. This is the newest one, to Ann.")
    assert card.data["prompt"] == "The dog"


async def test_a_measurement_that_was_refused_is_not_explained(talk: Talk) -> None:
    await talk.ask("Hello")
    assert await talk.refusal("!perplexity")
    assert (await talk.why())["answered_command"] == "chat"


async def test_why_after_a_comparison_lists_the_texts_that_the_model_read(talk: Talk) -> None:
    await talk.ask(r"!compare a \| b | c")
    card = await talk.card("!why")
    assert card.data["texts"] == ["a | b", "c"]
    assert card.data["prompt"] is None
    assert [block.text for block in card.blocks if isinstance(block, Verbatim)] == ["a | b", "c"]
    texts = [block.text for block in card.blocks if isinstance(block, Text)]
    assert "the model read exactly these 2 texts, each by itself," in texts[0]
    assert texts[1:] == ["Text A:", "Text B:"]


async def test_why_says_that_scores_are_in_float32_and_names_the_precision_of_written_answers(
    open_tiny: Callable[..., AbstractAsyncContextManager[Talk]],
) -> None:
    async with open_tiny(precision="bfloat16") as talk:
        for line, precision in (
            ("!perplexity The cat", "float32"),
            ("!compare The cat | The dog", "float32"),
            ("!next The cat", "float32"),
            ("!prompt sentiment I love it", "float32"),
            ("!prompt story a cat", "bfloat16"),
            ("!complete --n 1 The dog", "bfloat16"),
            ("Hello", "bfloat16"),
        ):
            await talk.ask(line)
            card = await talk.card("!why")
            assert card.data["precision"] == precision, line
            facts = next(dict(block.items) for block in card.blocks if isinstance(block, Facts))
            assert facts["precision"] == precision, line


async def test_why_in_reply_to_a_measurement_explains_that(talk: Talk) -> None:
    for line, sent_id in (("!next Once upon a", "seen1"), ("!help", "seen2")):
        await talk.ask(line)
        await talk.store.note_sent(HERE.platform, talk.message_ids[-1], sent_id, 0)
    await talk.ask("Hello")
    card = await talk.card("!why", reply_to="seen1")
    assert (card.data["answered_command"], card.data["texts"]) == ("next", ["Once upon a"])
    for other in ("seen2", "unknown"):
        refusal = await talk.refusal("!why", reply_to=other)
        assert refusal.startswith("That message can't be explained: it is not an answer of the model")


async def test_why_does_not_show_an_edited_text_as_what_a_measurement_read(talk: Talk) -> None:
    await talk.ask("!next The cat")
    await talk.store.edit_message(HERE.platform, talk.message_ids[-1], "!next The dog")
    card = await talk.card("!why")
    assert (card.data["is_exact"], card.data["changes"]) == (False, ["1 message that the model read was edited later."])
    assert any(
        "read an earlier version of this text," in block.text for block in card.blocks if isinstance(block, Text)
    )


async def test_who_is_not_read_is_told_that_why_explains_an_older_answer(talk: Talk) -> None:
    await talk.ask("Hello")
    await talk.ask("!privacy --read off")
    assert "you can't go on with it, and !why can't explain it." in str((await talk.card("!complete The cat")).blocks)
    first = (await talk.card("!why")).blocks[0]
    assert first == Text("You asked not to be read, so newer answers to you are not stored. This is an older one.")


async def test_one_token_is_no_plural(talk: Talk) -> None:
    await talk.ask("!complete --n 1 --max_new_tokens 1 a")
    facts = [dict(block.items) for block in (await talk.card("!why")).blocks if isinstance(block, Facts)]
    assert (facts[1]["prompt"], facts[1]["answer"]) == ("1 token", "1 token")
