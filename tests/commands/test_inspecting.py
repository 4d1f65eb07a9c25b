"""What the model thinks of a text: perplexity, comparison, next words."""

import asyncio
import json
import math
from pathlib import Path

import pytest

from bot.core.cards import Bars, Card, Contrast, Facts, Progress, Table, Text, TintedText
from bot.core.prompt_parts import Prompt
from bot.core.results import StartFigures
from bot.core.stopping import Stopper
from bot.engine.start_token.record import write_start_figures
from tests.bots import Talk, open_tiny_bot
from tests.tiny_models import make_tiny_llama

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
    verdict, facts, tinted, table, *notes = card.blocks
    assert isinstance(verdict, Text)
    assert "to the model: each token was as hard to guess as one of" in verdict.text
    assert isinstance(facts, Facts)
    assert [name for name, _ in facts.items] == ["perplexity", "bits per byte", "tokens", "model"]
    assert facts.items[0][1] == f"{card.data['perplexity']:,.2f}"
    assert isinstance(tinted, TintedText)
    assert "".join(piece for piece, _ in tinted.pieces) == text
    words = [piece for piece, bits in tinted.pieces if bits is not None]
    assert words == text.split() == [word["text"] for word in card.data["words"]]
    assert isinstance(table, Table)
    worst = sorted(card.data["words"][1:], key=lambda word: -word["surprisal_bits"])[:3]
    assert [row[0] for row in table.rows] == [word["text"] for word in worst]
    assert all("%" in row[2] for row in table.rows), "what was expected instead"
    for row in table.rows:
        assert 1 <= len(row[2].split(" · ")) <= 3, "three of them, told apart from a comma"
    start, units = notes
    assert start == Text(
        "The model reads the text after its start token <|endoftext|>: the bits of the first word are the start's.",
        is_quiet=True,
    )
    assert card.data["start_token"] == "<|endoftext|>"
    assert isinstance(units, Text)
    assert units.is_quiet, "what the units mean, once"
    assert "AI" not in str(card)


async def test_perplexity_of_a_few_tokens_is_not_judged(talk: Talk) -> None:
    card = await talk.card("!perplexity Can it")
    assert card.data["num_tokens"] < 5
    assert isinstance(card.blocks[0], Text)
    assert card.blocks[0].text.startswith("Too short to judge: ")


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
        assert card.blocks[1].items[:2] == (("perplexity", "—"), ("bits per byte", "—"))
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
    assert answer["verdict"] == f"{'ABC'[best]} is {times} times likelier than {'ABC'[second]}."
    assert [text["text"] for text in answer["texts"]] == [
        "The cat sat on the mat",
        "The cat sat on the dog",
        "qqq zzz",
    ]
    per_byte = min(range(3), key=lambda i: answer["texts"][i]["bits_per_byte"])
    (note,) = [block.text for block in card.blocks if "lengths differ" in getattr(block, "text", "")]
    assert note.endswith(f"Per byte, {'ABC'[per_byte]} surprises the model least.")


def differences_of(card: Card) -> tuple[Table, ...]:
    (contrast,) = [block for block in card.blocks if isinstance(block, Contrast)]
    return contrast.tables


async def test_the_differences_of_the_words_add_up_to_the_distance(any_talk: Talk) -> None:
    card = await any_talk.card("!compare The cat sat on the mat | A dog sat on mats, did it? | 今天天气很好")
    (contrast,) = [block for block in card.blocks if isinstance(block, Contrast)]
    first, *others = contrast.texts
    assert sum(bits for _, bits in first.pieces if bits is not None) == pytest.approx(first.total_bits)
    for other in others:
        differences = [bits for _, bits in other.pieces if bits is not None]
        assert sum(differences) == pytest.approx(other.total_bits - first.total_bits)


async def test_compare_shows_where_texts_differ(talk: Talk) -> None:
    card = await talk.card("!compare The cat sat down | The dog sat down")
    (table,) = differences_of(card)
    assert table.columns in (("in A", "in B"), ("in B", "in A"))
    (row,) = table.rows
    assert {cell.split(" ")[0] for cell in row} == {"cat", "dog"}


async def test_compare_holds_the_best_text_against_each_other_one(talk: Talk) -> None:
    card = await talk.card("!compare The cat sat down | The dog sat down | The cow sat down")
    tables = differences_of(card)
    best = "ABC"[card.data["best"]]
    assert [table.columns for table in tables] == [(f"in {best}", f"in {other}") for other in "ABC" if other != best]


async def test_compare_says_that_equal_texts_are_the_same(talk: Talk) -> None:
    answer = await talk.ask("!compare The cat | The cat")
    assert answer["is_close"]
    assert answer["bits_ahead"] == 0
    assert answer["verdict"] == "A and B are the same text."


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("one", "There is only one text."),
        ("one |", "One of the texts is empty."),
        ("| one", "One of the texts is empty."),
        ("a | | b", "One of the texts is empty."),
        ("|", "One of the texts is empty."),
        ("a|b|c|d|e|f", "There are 6 texts."),
    ],
)
async def test_compare_says_what_is_wrong_with_the_number_of_texts(talk: Talk, text: str, what: str) -> None:
    assert await talk.refusal(f"!compare {text}") == f"{what} Write !compare A | B, with 2 to 5 texts."
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
        assert isinstance(card.blocks[0], Text)
        assert card.blocks[0].text.startswith("After “")
        assert [value for _, value in bars.items] == probabilities
        assert bars.rest_name == "all other words"
        assert all(name.replace("\u200b", "").strip().isprintable() for name, _ in bars.items)
        assert all(name.strip() for name, _ in bars.items)


async def test_inspection_keeps_the_words_only_in_the_message_that_was_asked(talk: Talk) -> None:
    await talk.ask("!perplexity Zorp went home")
    await talk.ask("!next Zorp")
    assert await talk.num_stored() == 2


async def test_a_bar_in_a_compared_text_is_written_with_a_backslash(talk: Talk) -> None:
    answer = await talk.ask(r"!compare a \| b | a or b|c")
    assert [one["text"] for one in answer["texts"]] == ["a | b", "a or b", "c"]


@pytest.mark.parametrize(
    ("text", "scored"),
    [
        ("```Can it do that?```", "Can it do that?"),
        ("```\nCan it\n  do that?\n```", "Can it\n  do that?"),
        ("\n```py\nprint(1)\n\n```\n", "print(1)\n"),
        ("``` two words ```", " two words "),
        ("```a``` and ```b```", "```a``` and ```b```"),
        ("look: ```a```", "look: ```a```"),
        ("```a", "```a"),
    ],
)
async def test_one_code_block_around_the_whole_text_is_wrapping(talk: Talk, text: str, scored: str) -> None:
    assert (await talk.ask(f"!perplexity {text}"))["input"] == scored


async def test_a_code_block_with_nothing_in_it_is_no_text(talk: Talk) -> None:
    assert (
        await talk.refusal("!perplexity ```\n```")
        == "The text is missing. Write !perplexity TEXT, or attach a text file."
    )


async def test_the_characters_of_tokens_are_those_of_the_text_in_order(any_talk: Talk) -> None:
    text = "Café 🙂🙃 naïve\ttext, 日本語"
    answer = await any_talk.ask(f"!perplexity {text}")
    assert "".join(answer["input"][token["start"] : token["end"]] for token in answer["tokens"]) == answer["input"]
    assert answer["input"] == text


LONG = "The cat sat on the mat and looked at the dog. " * 300


@pytest.mark.parametrize("line", [f"!perplexity {LONG}", f"!compare {LONG} | {LONG}"])
async def test_long_scoring_shows_its_progress_in_tokens(talk: Talk, line: str) -> None:
    *steps, last = [card async for card in talk.snapshots(line)]
    shown = [card.blocks[0] for card in steps]
    assert all(isinstance(block, Progress) and not card.is_final for block, card in zip(shown, steps, strict=True))
    counts = [block.num_done for block in shown if isinstance(block, Progress)]
    totals = {block.num_total for block in shown[1:] if isinstance(block, Progress)}
    assert counts == sorted(counts)
    assert len(counts) > 2
    assert len(totals) == 1
    num_tokens = last.data.get("num_tokens") or sum(text["num_tokens"] for text in last.data["texts"])
    assert totals == {num_tokens}
    assert last.is_final


@pytest.mark.parametrize("line", [f"!perplexity {LONG * 16}", f"!compare {LONG * 8} | {LONG * 8}"])
async def test_long_scoring_can_be_stopped_and_ends_in_the_model_too(talk: Talk, line: str) -> None:
    stopper = Stopper()
    last = None
    async for card in talk.snapshots(line, stopper=stopper):
        last = card
        if isinstance(card.blocks[0], Progress) and card.blocks[0].num_done:
            stopper.stop()
    assert last is not None
    assert last.blocks == (Text("Stopped before all of the text was read."),)
    assert last.data["is_stopped"]
    async with asyncio.timeout(10):
        while talk.services.engine.stats().num_running:
            await asyncio.sleep(0.01)
    assert talk.services.engine.stats().num_cancelled == 1


async def test_scoring_that_is_stopped_at_once_is_not_begun(talk: Talk) -> None:
    stopper = Stopper()
    stopper.stop()
    *_, last = [card async for card in talk.snapshots("!perplexity Can it do that?", stopper=stopper)]
    assert last.data["is_stopped"]


async def test_commands_read_a_plain_text_after_the_models_start_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tiny_llama(tmp_path / "model")
    figures = {"<|im_start|>": 5.0, "<|im_end|>": 5.0, "<|endoftext|>": 4.0, None: 5.0}
    write_start_figures(folder, None, [StartFigures(token, bits) for token, bits in figures.items()])
    text = "The cat sat on"
    async with open_tiny_bot(folder, tmp_path) as talk:
        engine = talk.services.engine
        num_tokens = len((await talk.ask(f"!perplexity {text}"))["tokens"])
        assert (await talk.ask(f"!next {text}"))["words"] == [
            {"text": word.text, "probability": word.probability}
            for word in await engine.next_words(Prompt.document(text), num=10)
        ]
        await talk.ask(f"!complete --n 1 {text}")
        why = await talk.card("!why")
        assert why.data["num_prompt_tokens"] <= num_tokens + 1, "the last word is healed"
        assert why.data["is_exact"]
        assert Text("The prompt, after the model's start token <|endoftext|>:", is_quiet=True) in why.blocks
        read: list[Prompt] = []
        generate = engine.generate
        monkeypatch.setattr(
            engine, "generate", lambda prompt, *a, **k: (read.append(prompt), generate(prompt, *a, **k))[1]
        )
        await talk.suggest(text, num=1, max_new_tokens=2, seed=1)
        await talk.ask(f"!complete --n 1 {text}")
        assert read == [Prompt.document(text), Prompt.document(text)]


async def test_next_with_options_shows_what_they_leave_to_draw(any_talk: Talk) -> None:
    plain = await any_talk.ask("!next --temperature 1 The cat")
    assert plain["num_drawable"] == plain["vocab_size"]
    assert all(one["drawn"] == pytest.approx(one["probability"], rel=1e-4) for one in plain["words"])
    few = await any_talk.ask("!next --top_k 3 --temperature 0.5 The cat")
    assert few["num_drawable"] == 3
    # A temperature of one half squares what top_k leaves.
    squares = [one["probability"] ** 2 for one in few["words"][:3]]
    drawn = [one["drawn"] for one in few["words"]]
    assert drawn[:3] == pytest.approx([one / sum(squares) for one in squares], rel=1e-3)
    assert not any(drawn[3:])
    assert len(drawn) == 10
    greedy = await any_talk.ask("!next --preset greedy The cat")
    assert (greedy["num_drawable"], greedy["words"][0]["drawn"]) == (1, 1.0)


async def test_next_with_options_names_what_is_cut_and_refuses_beams(any_talk: Talk) -> None:
    card = await any_talk.card("!next --top_k 2 The cat")
    shown = " ".join(block.text for block in card.blocks if isinstance(block, Text))
    assert "leave 2 of" in shown
    assert "cut, with the model's own probability" in shown
    assert "top_k 2" in shown
    (bars,) = [block for block in card.blocks if isinstance(block, Bars)]
    assert sum(chance for _, chance in bars.items) + bars.rest == pytest.approx(1)
    card = await any_talk.card("!next --preset beam The cat")
    assert "several tokens ahead" in (card.error or "")
