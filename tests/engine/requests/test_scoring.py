"""Scores equal a plain forward pass of transformers; what is expected next adds up."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from bot.core.prompt_parts import Prompt
from bot.engine.engine import LocalEngine
from bot.engine.networks.native.building import NativeUnavailable, load_library
from bot.engine.requests.sketching import SKETCH_SIZE
from bot.errors import PromptTooLong, RequestError

MODELS = ("gpt2", "llama", "llama2", "openai_gpt")
TEXTS = ("a", "The cat sat on the mat.", "😀 日本語", "def f(x):\n    return x", "  two  spaces ")
LABELS = (" Positive", " Negative", " a", " the other cats")


@pytest.fixture(params=MODELS)
async def engine(request: pytest.FixtureRequest, tiny_model: Callable[[str], Path]) -> AsyncIterator[LocalEngine]:
    folder = tiny_model(request.param)
    async with LocalEngine.open(folder, name=request.param, device="cpu", num_threads=1) as opened:
        yield opened


def plain_logprobs(network: PreTrainedModel, ids: list[int]) -> list[float]:
    """Return the log-probability of each of `ids` but the first, by one forward pass."""
    with torch.inference_mode():
        logprobs = network(torch.tensor([ids])).logits[0].log_softmax(-1)
    return [float(logprobs[at, token_id]) for at, token_id in enumerate(ids[1:])]


def load(engine: LocalEngine) -> tuple[PreTrainedModel, list[int]]:
    network = AutoModelForCausalLM.from_pretrained(engine.info.folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(engine.info.folder)
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return network, [] if start is None else [start]


def plain_ranks(network: PreTrainedModel, ids: list[int]) -> list[tuple[int, int]]:
    """Return the best and worst place of each token after the first among all, as kernels differ in the last bits."""
    with torch.inference_mode():
        logits = network(torch.tensor([ids])).logits[0]
    rows = zip(logits, ids[1:], strict=False)
    return [(int((row > row[token] + 1e-4).sum()) + 1, int((row > row[token] - 1e-4).sum()) + 1) for row, token in rows]


@pytest.mark.parametrize("text", TEXTS)
async def test_a_score_is_that_of_a_plain_forward_pass(engine: LocalEngine, text: str) -> None:
    network, prefix = load(engine)
    scores = await engine.score(text, num_expected=3)
    ids = prefix + [score.token_id for score in scores]
    scored = [score for score in scores if score.logprob is not None]
    assert [score.logprob for score in scored] == pytest.approx(plain_logprobs(network, ids), rel=1e-5)
    assert len(scored) == len(ids) - 1
    for score in scored:
        assert [e.logprob for e in score.expected] == sorted((e.logprob for e in score.expected), reverse=True)
        assert len(score.expected) == 3
        # A part of a character may be likelier than all that can be read.
        assert not score.text.isascii() or score.expected[0].logprob >= score.logprob
        assert all("\ufffd" not in e.text for e in score.expected)
        assert score.text == text[score.start : score.end]
    for score, (best, worst) in zip(scored, plain_ranks(network, ids), strict=True):
        assert best <= score.rank <= worst
    assert [score.rank for score in await engine.score(text)] == [None] * len(scores)


async def test_without_bos_and_eos_the_first_token_stays_unscored(tiny_openai_gpt: Path) -> None:
    async with LocalEngine.open(tiny_openai_gpt, name="tiny", device="cpu", num_threads=1) as engine:
        first, *others = await engine.score("the cat sat")
        assert first.logprob is None
        assert all(score.logprob is not None for score in others)
        assert (await engine.score("the"))[0].logprob is None


async def test_a_text_longer_than_the_context_is_scored_in_rolling_windows(engine: LocalEngine) -> None:
    network, prefix = load(engine)
    scores = await engine.score("The cat sat on the mat and looked at the dog. " * 20)
    ids = prefix + [score.token_id for score in scores]
    context = engine.info.context_length
    assert len(ids) > 2 * context
    expected: list[float] = []
    while 1 + len(expected) < len(ids):
        done = 1 + len(expected)
        stop = min(done + context, len(ids))
        window = ids[max(stop - 1 - context, 0) : stop]
        expected += plain_logprobs_of_last(network, window, stop - done)
    assert [score.logprob for score in scores if score.logprob is not None] == pytest.approx(expected, rel=1e-4)


def plain_logprobs_of_last(network: PreTrainedModel, ids: list[int], num: int) -> list[float]:
    with torch.inference_mode():
        logprobs = network(torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    return [float(logprobs[at, ids[at + 1]]) for at in range(len(ids) - 1)][-num:]


async def test_scoring_in_small_chunks_is_the_same(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The cat sat on the mat and looked at the dog. " * 5
    whole = await engine.score(text, num_expected=2)
    monkeypatch.setattr("bot.engine.step_loop.SCORING_CHUNK_TOKENS", 7)
    pieces = await engine.score(text, num_expected=2)
    assert [s.token_id for s in whole] == [s.token_id for s in pieces]
    assert [s.logprob for s in whole][1:] == pytest.approx([s.logprob for s in pieces][1:], rel=1e-4)


async def test_an_empty_text_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(RequestError, match="at least one word"):
        await engine.score("")


async def test_continuations_score_as_each_does_alone_in_a_plain_forward_pass(engine: LocalEngine) -> None:
    network, _ = load(engine)
    prompt = Prompt.plain("The cat sat on the mat ->")
    tokenizer = AutoTokenizer.from_pretrained(engine.info.folder)
    totals = await engine.score_continuations(prompt, LABELS)
    for label, total in zip(LABELS, totals, strict=True):
        ids = tokenizer(prompt.text + label).input_ids
        num_prompt = len(tokenizer(prompt.text).input_ids)
        assert total == pytest.approx(sum(plain_logprobs(network, ids)[num_prompt - 1 :]), rel=1e-4)
        assert (await engine.score_continuations(prompt, [label]))[0] == pytest.approx(total, rel=1e-5)


async def test_a_sketch_of_the_prompt_comes_with_the_same_scores(engine: LocalEngine) -> None:
    for text in ("The cat sat on the mat ->", "A dog"):
        scores = await engine.score_and_sketch(Prompt.plain(text), LABELS)
        assert scores.logprobs == await engine.score_continuations(Prompt.plain(text), LABELS)
        assert len(scores.sketch) == SKETCH_SIZE
        alone = await engine.score_and_sketch(Prompt.plain(text), LABELS[:1])
        assert alone.sketch == pytest.approx(scores.sketch, abs=1e-3), "it is of the prompt, whatever the labels"
    nothing = await engine.score_and_sketch(Prompt.plain("A dog"), [])
    assert (nothing.logprobs, nothing.sketch) == ((), ())


async def test_more_continuations_than_fit_into_one_pass(engine: LocalEngine) -> None:
    prompt = Prompt.plain("The cat")
    labels = [f" sat on {word} mat{end}" for word in ("the", "a", "that", "this") for end in (".", "!", "?", ";", ",")]
    together = await engine.score_continuations(prompt, labels)
    alone = [(await engine.score_continuations(prompt, [label]))[0] for label in labels]
    assert list(together) == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "llama", "llama2"])
async def test_natively_a_continuations_score_is_the_same_bits_in_any_company_and_any_pieces(
    name: str, tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        load_library()
    except NativeUnavailable as e:
        if "No C++ compiler" not in str(e):
            raise
        pytest.skip(str(e))
    prompt = Prompt.plain("The cat sat on the")
    labels = (*LABELS, *(f" mat and looked at {animal} other cats for a long time" for animal in ("the", "all", "no")))
    async with LocalEngine.open(tiny_model(name), name=name, device="cpu", num_threads=1) as engine:
        together = await engine.score_continuations(prompt, labels)
        alone = [(await engine.score_continuations(prompt, [label]))[0] for label in labels]
        assert list(together) == alone
        monkeypatch.setattr("bot.engine.step_loop.SCORING_CHUNK_TOKENS", 5)
        assert await engine.score_continuations(prompt, labels) == together


async def test_with_few_branches_at_once_the_figures_are_the_same(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = Prompt.plain("The cat sat on the")
    totals = await engine.score_continuations(prompt, LABELS)
    words = await engine.next_words(prompt, num=8)
    monkeypatch.setattr("bot.engine.requests.scoring._MAX_BRANCHES", 2)
    monkeypatch.setattr("bot.engine.step_loop.SCORING_CHUNK_TOKENS", 5)
    assert list(await engine.score_continuations(prompt, LABELS)) == pytest.approx(list(totals), rel=1e-4)
    again = await engine.next_words(prompt, num=8)
    assert [word.text for word in again] == [word.text for word in words]


async def test_continuations_that_are_empty_or_too_long_are_refused(engine: LocalEngine) -> None:
    with pytest.raises(RequestError, match="at least one word"):
        await engine.score_continuations(Prompt.plain("The cat"), [" sat", ""])
    with pytest.raises(PromptTooLong):
        await engine.score_continuations(Prompt.plain("The cat"), [" sat" * 200])
    assert await engine.score_continuations(Prompt.plain("The cat"), []) == ()


async def test_next_tokens_are_the_softmax_of_a_plain_forward_pass(engine: LocalEngine) -> None:
    network, _ = load(engine)
    tokenizer = AutoTokenizer.from_pretrained(engine.info.folder)
    tokens = await engine.next_tokens(Prompt.plain("The cat sat"), num=10_000)
    with torch.inference_mode():
        expected = network(torch.tensor([tokenizer("The cat sat").input_ids])).logits[0, -1].softmax(-1)
    assert [token.probability for token in tokens] == pytest.approx(sorted(expected.tolist(), reverse=True), rel=1e-4)
    assert sum(token.probability for token in tokens) == pytest.approx(1, abs=1e-4)


async def test_next_words_are_whole_and_add_up_to_at_most_1(engine: LocalEngine) -> None:
    words = await engine.next_words(Prompt.plain("The cat sat"), num=20)
    assert len({word.text for word in words}) == len(words) > 0
    assert sum(word.probability for word in words) <= 1
    assert all("\ufffd" not in word.text for word in words), "no parts of characters"
    assert [w.probability for w in words] == sorted((w.probability for w in words), reverse=True)


async def test_a_words_probability_is_that_of_its_tokens_and_an_end_after_them(tiny_llama: Path) -> None:
    async with LocalEngine.open(tiny_llama, name="tiny", device="cpu", num_threads=1) as engine:
        prompt = Prompt.plain("The cat sat")
        words = await engine.next_words(prompt, num=12)
        for word in words:
            if not word.text.strip().isalpha() or not word.text.isascii():
                continue
            start = (await engine.score_continuations(prompt, [word.text]))[0]
            after = await engine.next_tokens(Prompt.plain(prompt.text + word.text), num=10_000)
            ends = sum(t.probability for t in after if not (t.text[:1].isalnum() or t.text[:1] in "_\ufffd"))
            # One way to write it is a lower bound: other ways may add to it.
            assert word.probability >= torch.tensor(start).exp().item() * ends * 0.98


async def test_next_of_a_prompt_that_fills_the_context_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(PromptTooLong):
        await engine.next_words(Prompt.plain("cat " * 300), num=3)
