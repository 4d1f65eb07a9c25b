"""Token healing: a half-typed word goes on with a token that the model knows, or ends as it is typed."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from bot.core.prompt_parts import Prompt
from bot.core.results import Completion
from bot.core.sampling_params import SamplingParams
from bot.engine.loaded_model import LoadedModel
from bot.engine.loading import load_model
from bot.engine.networks import choosing_network
from bot.engine.paged_cache import BLOCK_TOKENS
from bot.engine.requests.generation import plan_generation, plan_job
from bot.engine.requests.healing import Healing
from bot.engine.step_loop import StepLoop
from bot.engine.tokens.vocabulary import byte_of_character
from tests.engine.running import Ends, PlainWork, run_job

# Each merge makes a token of two. " bask" is none, but " basket" is; "日" is two tokens, "日本" three.
MERGES = (
    *("a s", "as k", "s k", "sk y", "Ġ sky", "l i", "n e", "li ne", "Ġsky line", "Ġ s", "l a", "Ġ la"),
    *("e t", "ask et", "Ġ b", "Ġb asket", "a ll", "l l", "b all", "Ġbasket ball"),
    *("t h", "th e", "Ġ the", "r e", "Ġthe re", "Ġ 1", "9 8", "Ġ Ġ", "æ Ĺ", "¥æ ľ", "¥ æ"),
)


def make_tokenizer() -> Tokenizer:
    """Return a byte-level BPE tokenizer with the tokens of MERGES and the 256 bytes."""
    merges = [tuple(merge.split(" ")) for merge in MERGES]
    names = ["<|endoftext|>", *byte_of_character(), *("".join(merge) for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a GPT-2 with random weights and the vocabulary of MERGES."""
    found = tmp_path_factory.mktemp("healing")
    tokenizer = make_tokenizer()
    torch.manual_seed(11)
    size = tokenizer.get_vocab_size()
    config = GPT2Config(
        vocab_size=size, n_positions=96, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3, bos_token_id=0
    )
    GPT2LMHeadModel(config).eval().save_pretrained(found)
    names = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(found)
    return found


@pytest.fixture(scope="module", params=["native", "torch"])
def model(folder: Path, request: pytest.FixtureRequest) -> LoadedModel:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            patch.setattr(choosing_network, "supports", lambda folder, *, precision: False)
        return load_model(folder, name="healing", device="cpu", precision="float32", num_threads=1)


def heal(model: LoadedModel, text: str) -> tuple[tuple[int, ...], Healing]:
    """Return the ids that are read of `text`, and what may follow them."""
    plan = plan_generation(model, Prompt.plain(text), SamplingParams(), heal=True)
    return plan.ids, plan.healing


def write(model: LoadedModel, text: str, **options: Any) -> tuple[Completion, ...]:
    params = SamplingParams(**options)
    plan = plan_generation(model, Prompt.plain(text), params, heal=True)
    return run_job(plan_job(model, plan, params, lambda delta: None)).completions


def shown(model: LoadedModel, ids: Sequence[int]) -> set[str]:
    return {model.vocabulary.token_text(token_id) for token_id in ids}


@pytest.mark.parametrize(
    ("text", "typed", "pieces", "longer"),
    [
        # The whole word is a token: no part of it may begin another word.
        ("the sky", b" sky", [" sky"], {" skyline"}),
        # It is none, but it begins some: those, or its own tokens.
        ("the bask", b" bask", [" b", "ask"], {" basket", " basketball"}),
        ("the sk", b" sk", [" ", "sk"], {" sky", " skyline"}),
        # No token begins with all of it: the beginning stays, and the longest rest that begins some is taken back.
        ("sal", b"al", ["a", "l"], {"all"}),
        ("the xbask", b"ask", ["ask"], {"asket"}),
        ("199", b"9", ["9"], {"98"}),
        (
            "the ",
            b" ",
            [" "],
            {" s", " sky", " skyline", " la", " b", " basket", " basketball", " the", " there", " 1", "  "},
        ),
        ("the x,", b"", [], set()),
    ],
)
def test_what_may_follow_is_a_token_with_the_whole_rest_or_the_rest_itself(
    model: LoadedModel, text: str, typed: bytes, pieces: list[str], longer: set[str]
) -> None:
    whole = model.tokenizer.encode_prompt(Prompt.plain(text)).ids
    ids, healing = heal(model, text)
    assert (healing.typed, [model.vocabulary.token_text(i) for i in healing.typed_ids]) == (typed, pieces)
    assert shown(model, healing.longer_ids) == longer
    assert (*ids, *healing.typed_ids) == (whole if len(ids) + len(pieces) == len(whole) else (0, *whole))


def test_a_prompt_of_one_word_begins_from_the_start_token(model: LoadedModel) -> None:
    ids, healing = heal(model, " sky")
    assert (ids, healing.typed) == ((model.tokenizer.start_id,), b" sky")


def test_a_part_of_a_character_is_taken_back_where_a_token_goes_on_from_it(model: LoadedModel) -> None:
    _, healing = heal(model, "the 日")
    assert healing.typed == "日".encode()[2:]
    assert [model.vocabulary.token_bytes(i) for i in healing.longer_ids] == [
        "日本".encode()[2:4],
        "日本".encode()[2:5],
    ]
    assert healing.inside_ids == ()  # no space comes between the words of this script


def test_after_a_whole_word_comes_a_space_or_a_mark(model: LoadedModel) -> None:
    _, healing = heal(model, "the sky")
    assert healing.excluded_after(()) == ()
    inside = shown(model, healing.excluded_after(healing.typed_ids))
    assert {"la", "s", "98"} <= inside
    assert not inside & {" ", ",", " la", "<|endoftext|>", "'"}
    assert healing.allowed_after(healing.typed_ids) is None
    (longer,) = healing.longer_ids
    assert (healing.allowed_after((longer,)), healing.excluded_after((longer,))) == (None, ())


def odds_of(theirs: Any, ids: Sequence[int], healing: Healing) -> tuple[float, float]:
    """Return the probabilities of the word as typed and of a longer one, by transformers alone."""
    with torch.inference_mode():
        rows = theirs(torch.tensor([[*ids, *healing.typed_ids]])).logits[0].softmax(dim=-1)[len(ids) - 1 :]
    typed = math.prod(float(row[i]) for row, i in zip(rows, healing.typed_ids, strict=False))
    end = 1 - float(rows[-1][list(healing.inside_ids)].sum())
    return typed * end, float(rows[0][list(healing.longer_ids)].sum())


TEXTS = ("the sky", "the bask", "la sky", "there bask", "the the", "19", "a ball the sk", "the sky the sky the bask")


def is_longer(completion: Completion, healing: Healing) -> bool:
    return completion.token_ids[0] in healing.longer_ids


@pytest.mark.parametrize("text", TEXTS)
def test_the_likelier_way_wins_without_sampling_and_sampling_draws_by_the_probabilities(
    model: LoadedModel, folder: Path, text: str
) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    ids, healing = heal(model, text)
    typed, longer = odds_of(theirs, ids, healing)
    (greedy,) = write(model, text, temperature=0, max_new_tokens=3)
    assert is_longer(greedy, healing) == (longer > typed)
    free: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
    drawn = [c for seed in range(40) for c in write(model, text, n=5, seed=seed, max_new_tokens=2, **free)]
    share = sum(is_longer(completion, healing) for completion in drawn) / len(drawn)
    expected = longer / (typed + longer)
    assert abs(share - expected) < 4 * math.sqrt(max(expected * (1 - expected), 0.01) / len(drawn))
    # The less likely way is a token too unlikely to be drawn, if the options say so.
    if max(expected, 1 - expected) > 0.5:
        only = write(model, text, n=5, top_p=0.5, max_new_tokens=2)
        assert all(is_longer(completion, healing) == (longer > typed) for completion in only)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    "options",
    [{"temperature": 0}, {"seed": 3}, {"seed": 5, "n": 5, "temperature": 1.5}, {"num_beams": 4, "n": 3}],
    ids=["greedy", "sampled", "n", "beams"],
)
def test_every_continuation_goes_on_in_one_of_the_two_ways(
    model: LoadedModel, text: str, options: dict[str, Any]
) -> None:
    _, healing = heal(model, text)
    num = len(healing.typed_ids)
    for completion in write(model, text, max_new_tokens=6, **options):
        if not is_longer(completion, healing):
            assert completion.token_ids[:num] == healing.typed_ids
            assert completion.token_ids[num] not in healing.inside_ids
        written = b"".join(map(model.vocabulary.token_bytes, completion.token_ids))
        assert written[len(healing.typed) :].decode("utf-8", "ignore") == completion.text.replace("\ufffd", "")


def test_a_word_of_many_tokens_takes_nothing_from_max_new_tokens(model: LoadedModel) -> None:
    _, healing = heal(model, "la bask")
    assert len(healing.typed_ids) == 2
    lengths = set()
    for seed in range(20):
        (completion,) = write(model, "la bask", max_new_tokens=4, seed=seed)
        if completion.finish_reason == "length":
            lengths.add((is_longer(completion, healing), len(completion.token_ids)))
    assert lengths <= {(True, 4), (False, 5)}
    (shortest,) = write(model, "la bask", max_new_tokens=1, temperature=0)
    assert len(shortest.token_ids) in (1, 2)


@pytest.mark.parametrize("num_repeated", range(BLOCK_TOKENS))
def test_what_is_remembered_of_a_text_changes_nothing_wherever_its_blocks_end(
    model: LoadedModel, num_repeated: int
) -> None:
    for word in ("the", " the bask"):
        text = "a" * num_repeated + " " + "the sky" * 6 + word
        first, again = (write(model, text, max_new_tokens=2, temperature=0) for _ in range(2))
        assert [one.token_ids for one in first] == [one.token_ids for one in again]


@pytest.mark.parametrize("options", [{"seed": 3}, {"temperature": 0}, {"seed": 1, "n": 3}, {"num_beams": 3}])
def test_the_neighbours_in_the_batch_change_nothing(model: LoadedModel, options: dict[str, Any]) -> None:
    alone = [write(model, text, max_new_tokens=8, **options) for text in TEXTS]
    ends = Ends()
    loop = StepLoop(ends)
    works = []
    with torch.inference_mode():
        for text in TEXTS:
            params = SamplingParams(max_new_tokens=8, **options)
            plan = plan_generation(model, Prompt.plain(text), params, heal=True)
            works.append(PlainWork())
            assert loop.start(works[-1], plan_job(model, plan, params, lambda delta: None))
            loop.step()
        while loop.num_running:
            loop.step()
    together = [completion for work in works for completion in ends.results[work].completions]  # type: ignore[attr-defined]
    expected = [completion for completions in alone for completion in completions]
    # Kernels add up in another order for another number of rows, so the last bits of logprobs may differ.
    for one, other in zip(together, expected, strict=True):
        unmeasured = {"logprob": 0.0, "token_logprobs": ()}
        assert replace(one, **unmeasured) == replace(other, **unmeasured)
        assert one.logprob == pytest.approx(other.logprob, rel=1e-5)
        assert one.token_logprobs == pytest.approx(other.token_logprobs, rel=1e-4)


def test_a_run_of_tokens_is_not_repeated_after_the_word_either(model: LoadedModel) -> None:
    text = "the sky, the sky, the sky"
    for seed in range(10):
        completions = write(model, text, n=5, seed=seed, max_new_tokens=2, no_repeat_ngram_size=2, temperature=2.0)
        _, healing = heal(model, text)
        for completion in completions:
            if not is_longer(completion, healing):
                assert model.vocabulary.token_text(completion.token_ids[1]) != ","


def test_a_word_that_is_whole_does_not_go_on(model: LoadedModel) -> None:
    firsts: dict[bool, set[str]] = {}
    for is_whole in (False, True):
        params = SamplingParams(n=5, max_new_tokens=1, temperature=2.0, top_k=0, top_p=1.0, seed=1)
        plan = plan_generation(model, Prompt.plain("the sky"), params, heal=False, is_word_whole=is_whole)
        completions = [
            one
            for seed in range(20)
            for one in run_job(plan_job(model, plan, params.shift_seed(5 * seed), lambda delta: None)).completions
        ]
        firsts[is_whole] = {one.text[:1] for one in completions if one.text}
    assert any(c.isalpha() for c in firsts[False])
    assert firsts[True]
    assert not any(c.isalnum() for c in firsts[True])
    after_mark = plan_generation(model, Prompt.plain("the sky."), params, heal=False, is_word_whole=True)
    assert after_mark.healing == Healing()


def test_each_token_has_its_place_and_probability_but_not_those_that_repeat_what_was_typed(model: LoadedModel) -> None:
    for text in ("the bask", "the sky"):
        for completion in write(model, text, n=5, max_new_tokens=12, temperature=1.5, top_k=0, top_p=1.0, seed=4):
            assert len(completion.token_ends) == len(completion.token_logprobs) <= len(completion.token_ids)
            assert list(completion.token_ends) == sorted(completion.token_ends)
            assert completion.token_ends[-1:] in ((), (len(completion.text),))
            assert sum(completion.token_logprobs) >= completion.logprob - 1e-6
            if completion.finish_reason == "length" and not heal(model, text)[1].typed:
                assert sum(completion.token_logprobs) == pytest.approx(completion.logprob)
