"""What the model thinks of a text: perplexity, comparison, next words."""

import json
import math
from pathlib import Path

import pytest

from bot.core.cards import Bars, Facts, Table, Text, TintedText
from tests.bots import Talk, open_tiny_bot

TEXTS = [
    "Can it do that?",
    "x",
    " leading and trailing ",
    "Two\n\nlines\tand a tab",
    "naïve café 🙂👩‍👩‍👧 日本語のテキスト",
    "def add(a, b):\n    return a + b\n",
    "<|endoftext|> and <|im_start|> are only text",
    "The cat sat on the mat. " * 60,
]


def reference_logprobs(folder: Path, text: str) -> list[float]:
    """Return each token's log-probability by one plain forward pass per window of transformers itself."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    length = model.config.max_position_embeddings
    logprobs: list[float] = []
    while len(logprobs) < len(ids):
        # Full windows do not overlap; the last one is filled up with context from before it.
        end = min(len(logprobs) + length, len(ids))
        num_new = end - len(logprobs)
        fed = [tokenizer.bos_token_id, *ids[: end - 1]] if not logprobs else ids[end - length - 1 : end - 1]
        with torch.inference_mode():
            logits = model(torch.tensor([fed])).logits[0].log_softmax(dim=-1)
        targets = ids[end - len(fed) : end]
        found = [logits[at, token_id].item() for at, token_id in enumerate(targets)]
        logprobs += found[-num_new:]
    return logprobs


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
async def test_perplexity_is_that_of_a_plain_forward_pass(any_talk: Talk, text: str) -> None:
    answer = await any_talk.ask(f"!perplexity -- {text}")
    expected = reference_logprobs(Path(any_talk.services.engine.info.folder), text)
    assert [token["logprob"] for token in answer["tokens"]] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    nats = -math.fsum(expected)
    assert answer["perplexity"] == pytest.approx(math.exp(nats / len(expected)), rel=1e-4)
    assert answer["bits_per_byte"] == pytest.approx(nats / math.log(2) / len(text.encode()), rel=1e-4)
    assert answer["num_tokens"] == len(expected) == len(answer["tokens"])
    assert answer["input"] == text
    assert sum(word["surprisal_bits"] for word in answer["words"]) == pytest.approx(nats / math.log(2), rel=1e-4)
    json.dumps(answer, allow_nan=False)


async def test_perplexity_shows_figures_tinted_words_and_the_most_surprising(talk: Talk) -> None:
    text = "The cat sat\n on the mat and looked."
    card = await talk.card(f"!perplexity {text}")
    facts, tinted, table, *notes = card.blocks
    assert isinstance(facts, Facts)
    assert [name for name, _ in facts.items] == ["perplexity", "bits per byte", "tokens", "model"]
    assert facts.items[0][1] == f"{card.data['perplexity']:,.2f}"
    assert isinstance(tinted, TintedText)
    assert "".join(piece for piece, _ in tinted.pieces) == text
    words = [piece for piece, bits in tinted.pieces if bits is not None]
    assert words == text.split() == [word["text"] for word in card.data["words"]]
    assert isinstance(table, Table)
    worst = sorted(card.data["words"], key=lambda word: -word["surprisal_bits"])[:3]
    assert [row[0] for row in table.rows] == [word["text"] for word in worst]
    assert all("%" in row[2] for row in table.rows), "what was expected instead"
    assert all(row[2].count("% · ") == 2 for row in table.rows), "three of them, told apart from a comma"
    assert not notes
    assert "AI" not in str(card)


async def test_perplexity_of_a_few_tokens_says_that_it_means_little(talk: Talk) -> None:
    card = await talk.card("!perplexity Can it")
    assert card.data["num_tokens"] < 8
    assert card.blocks[-1] == Text("Under 8 tokens this number means little.", is_quiet=True)


async def test_a_likelier_text_has_the_lower_perplexity(talk: Talk) -> None:
    first, second = "Can it do that?", "Can it does what?"
    figures = {text: (await talk.ask(f"!perplexity {text}"))["perplexity"] for text in (first, second)}
    answer = await talk.ask(f"!compare {first} | {second}")
    by_bits = [text["total_bits"] for text in answer["texts"]]
    assert [text["perplexity"] for text in answer["texts"]] == [figures[first], figures[second]]
    assert answer["best"] == by_bits.index(min(by_bits))


async def test_a_model_without_a_start_token_leaves_the_first_one_unscored(
    tiny_openai_gpt: Path, tmp_path: Path
) -> None:
    async with open_tiny_bot(tiny_openai_gpt, tmp_path) as talk:
        card = await talk.card("!perplexity the cat sat on the mat")
        assert card.data["tokens"][0]["logprob"] is None
        assert card.data["words"][0]["surprisal_bits"] is None
        assert all(token["logprob"] < 0 for token in card.data["tokens"][1:])
        nats = -sum(token["logprob"] for token in card.data["tokens"][1:])
        assert card.data["perplexity"] == pytest.approx(math.exp(nats / (card.data["num_tokens"] - 1)))
        assert any("the first token is not scored" in getattr(block, "text", "") for block in card.blocks)

        card = await talk.card("!perplexity the")
        assert card.data["num_tokens"] == 1
        assert card.data["perplexity"] is None
        assert card.data["bits_per_byte"] is None
        assert card.blocks[0].items[:2] == (("perplexity", "—"), ("bits per byte", "—"))
        json.dumps(card.data, allow_nan=False)

        assert "texts of at least two tokens" in await talk.refusal("!compare the | cat")
        assert (await talk.ask("!compare the cat | cat the"))["texts"][0]["total_bits"] > 0
        assert (await talk.ask("!next the cat"))["words"]


async def test_compare_says_which_is_likelier_and_by_how_much(talk: Talk) -> None:
    card = await talk.card("!compare The cat sat on the mat | The cat sat on the dog | qqq zzz")
    answer = card.data
    bits = [text["total_bits"] for text in answer["texts"]]
    best, second = sorted(range(3), key=bits.__getitem__)[:2]
    ahead = bits[second] - bits[best]
    assert answer["best"] == best
    assert answer["bits_ahead"] == pytest.approx(ahead)
    assert not answer["is_close"]
    assert ahead >= 1
    times = (
        f"{2**ahead:,.0f}" if ahead < 30 and 2**ahead >= 10 else f"{2**ahead:,.1f}" if ahead < 30 else f"2^{ahead:.0f}"
    )
    assert answer["text"] == f"{'ABC'[best]} is {times} times likelier than {'ABC'[second]}."
    assert [text["text"] for text in answer["texts"]] == [
        "The cat sat on the mat",
        "The cat sat on the dog",
        "qqq zzz",
    ]
    assert any("lengths differ a lot" in getattr(block, "text", "") for block in card.blocks)


async def test_compare_shows_where_texts_differ(talk: Talk) -> None:
    card = await talk.card("!compare The cat sat down | The dog sat down")
    table = card.blocks[-1]
    assert isinstance(table, Table)
    assert table.columns in (("in A", "in B"), ("in B", "in A"))
    (row,) = table.rows
    assert {cell.split(" ")[0] for cell in row} == {"cat", "dog"}


async def test_compare_holds_the_best_text_against_each_other_one(talk: Talk) -> None:
    card = await talk.card("!compare The cat sat down | The dog sat down | The cow sat down")
    tables = [block for block in card.blocks if isinstance(block, Table) and len(block.columns) == 2]
    best = "ABC"[card.data["best"]]
    assert [table.columns for table in tables] == [(f"in {best}", f"in {other}") for other in "ABC" if other != best]


async def test_compare_of_equal_texts_is_too_close_to_call(talk: Talk) -> None:
    answer = await talk.ask("!compare The cat | The cat")
    assert answer["is_close"]
    assert answer["bits_ahead"] == 0
    assert answer["text"].startswith("Too close to call")


@pytest.mark.parametrize("text", ["one", "one |", "| one", "a | | b", "a|b|c|d|e|f", "|"])
async def test_compare_wants_two_to_five_texts(talk: Talk, text: str) -> None:
    sentence = "!compare A | B takes 2 to 5 texts; none of them may be empty."
    assert await talk.refusal(f"!compare {text}") == sentence
    assert len((await talk.ask("!compare a|b|c|d|e"))["texts"]) == 5


async def test_next_shows_probable_words_and_the_rest(any_talk: Talk) -> None:
    for text in ("The cat sat on the", "The", "The cat sat on the ca", "<|endoftext|>", "one\ntwo "):
        card = await any_talk.card(f"!next {text}")
        words = card.data["words"]
        probabilities = [word["probability"] for word in words]
        assert 0 < len(words) <= 10
        assert probabilities == sorted(probabilities, reverse=True)
        assert all(0 < probability <= 1 for probability in probabilities)
        assert sum(probabilities) <= 1 + 1e-6
        assert card.data["rest"] == pytest.approx(1 - sum(probabilities), abs=1e-6)
        assert len({word["text"] for word in words}) == len(words)
        assert card.data["model"] == "tiny"
        bars = card.blocks[1]
        assert isinstance(bars, Bars)
        assert [value for _, value in bars.items] == probabilities
        assert bars.rest_name == "rest of the vocabulary"
        assert all(name.replace("\u200b", "").strip().isprintable() for name, _ in bars.items)
        assert all(name.strip() for name, _ in bars.items)


async def test_inspection_keeps_the_words_only_in_the_message_that_was_asked(talk: Talk) -> None:
    await talk.ask("!perplexity Zorp went home")
    await talk.ask("!next Zorp")
    assert await talk.num_stored() == 2
