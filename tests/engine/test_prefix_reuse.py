"""The block manager reuses prefixes that were already read, never confuses two, and stays within its budget."""

import gc
import tracemalloc
from collections.abc import Callable, Generator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.engine.loaded_model import LoadedModel
from bot.engine.networks.network import BLOCK_TOKENS, Segment
from bot.engine.paged_cache import PagedCache, Row, count_blocks
from bot.engine.requests.generation import GenerationResult, plan_generation, plan_job
from bot.engine.requests.next_words import plan_expect_words
from bot.engine.requests.scoring import plan_score_continuations, plan_score_text
from tests.engine.running import Pair, load_pair, run_job, run_transformers
from tests.engine.watching import WatchedNetwork, check_nothing_is_left, watch

TEMPLATE = "Text: I love this. Mood: Positive\nText: I hate this. Mood: Negative\n"
GREEDY = SamplingParams(temperature=0, max_new_tokens=4)


@pytest.fixture(scope="module")
def loaded(roomy_model: Callable[[str], Path]) -> Callable[[str], Pair]:
    return cache(lambda name: load_pair(roomy_model(name)))


@pytest.fixture(params=["gpt2", "llama"])
def pair(request: pytest.FixtureRequest, loaded: Callable[[str], Pair]) -> Pair:
    return loaded(request.param)


def write(model: LoadedModel, text: str, params: SamplingParams = GREEDY) -> list[list[int]]:
    plan = plan_generation(model, Prompt.plain(text), params, heal=False)
    result: GenerationResult = run_job(plan_job(model, plan, params, lambda delta: None))
    return [list(completion.token_ids) for completion in result.completions]


def num_tokens(model: LoadedModel, text: str) -> int:
    return len(model.tokenizer.encode_prompt(Prompt.plain(text)).ids)


def num_read(network: WatchedNetwork, run: Callable[[], object]) -> int:
    """Return how many tokens the network reads while `run` runs."""
    before = len(network.passes)
    run()
    return sum(one.num_tokens for one in network.passes[before:])


def test_a_template_is_read_once_and_changes_no_answer(pair: Pair) -> None:
    model, network = watch(pair.ours)
    for number, question in enumerate(("The cat sat.", "It can do this.", "Can it?", "the other cats and dogs")):
        text = TEMPLATE + f"Text: {question} Mood:"
        read = num_read(network, lambda text=text: write(model, text, SamplingParams(temperature=0, max_new_tokens=1)))  # type: ignore[misc]
        num_shared = num_tokens(model, TEMPLATE) // BLOCK_TOKENS * BLOCK_TOKENS
        assert num_shared >= 2 * BLOCK_TOKENS
        assert read <= num_tokens(model, text) - num_shared * (number > 0)
        for params in (
            SamplingParams(temperature=0, max_new_tokens=12),
            SamplingParams(n=3, seed=number, max_new_tokens=12, top_k=0),
            SamplingParams(num_beams=3, n=2, max_new_tokens=8),
        ):
            assert write(model, text, params) == run_transformers(pair, text, params)
    check_nothing_is_left(model.writing.cache)


def test_a_template_edited_early_is_read_anew_from_there(pair: Pair) -> None:
    model, network = watch(pair.ours)
    question = "Text: The cat sat. Mood:"
    write(model, TEMPLATE + question)
    for edited in (TEMPLATE.replace("love", "like", 1), " " + TEMPLATE, TEMPLATE[1:]):
        text = edited + question
        reused = model.writing.cache.num_reused_tokens
        assert num_read(network, lambda text=text: write(model, text)) >= num_tokens(model, text)  # type: ignore[misc]
        assert model.writing.cache.num_reused_tokens == reused
        assert write(model, text) == run_transformers(pair, text, GREEDY)
    late = TEMPLATE.replace("Negative", "Neutral", 1) + question
    assert num_read(network, lambda: write(model, late)) < num_tokens(model, late)
    assert write(model, late) == run_transformers(pair, late, GREEDY)
    check_nothing_is_left(model.writing.cache)


def test_a_conversation_that_grows_reads_only_what_is_new(pair: Pair) -> None:
    model, network = watch(pair.ours)
    text = "Hello there, who are you?"
    num_known = 0
    tokenizer = pair.ours.chat_tokenizer
    for turn in range(6):
        params = SamplingParams(temperature=0.7, top_k=4, seed=turn, max_new_tokens=10, repetition_penalty=1.0)
        new_tokens = num_tokens(model, text)
        before = model.writing.cache.num_reused_tokens
        (ids,) = write(model, text, params)
        assert [ids] == run_transformers(pair, text, params)
        if turn:
            reused = model.writing.cache.num_reused_tokens - before
            # Tokens may join where the answer met the next question: the block there is read again.
            assert reused >= (num_known - 8) // BLOCK_TOKENS * BLOCK_TOKENS
            assert reused < new_tokens
        num_known = new_tokens
        text += tokenizer.decode(ids, skip_special_tokens=True) + "\nI am a bot. Can it do that?"
    assert num_tokens(model, text) > 120
    assert network.passes
    check_nothing_is_left(model.writing.cache)


def test_continuations_beams_labels_and_words_share_one_reading_of_their_prompt(pair: Pair) -> None:
    text = TEMPLATE + "Text: The cat sat. Mood:"
    length = num_tokens(pair.ours, text)
    model, network = watch(pair.ours)
    labels = (" Positive", " Negative", " Neutral", " the other cats")
    longest = sum(num_tokens(model, label) for label in labels)
    runs: list[tuple[Callable[[], object], int]] = [
        (lambda: write(model, text, SamplingParams(n=5, seed=1, max_new_tokens=6, top_k=0)), 5 * 5),
        (lambda: write(model, text, SamplingParams(num_beams=4, max_new_tokens=6)), 4 * 5),
        (lambda: run_job(plan_score_continuations(model, Prompt.plain(text), labels)), longest),
        (lambda: run_job(plan_expect_words(model, Prompt.plain(text), num=5)), 16 * 10),
    ]
    for run, num_own in runs:
        model.writing.cache.forget()
        read = num_read(network, run)
        assert length <= read <= length + num_own
    # The last of a prompt's blocks is not full: each of several rows needs its own copy of it.
    assert network.num_copies >= (4 + 3) * (length % BLOCK_TOKENS > 0)
    check_nothing_is_left(model.writing.cache)


def test_a_scored_text_takes_the_place_of_no_remembered_one(pair: Pair) -> None:
    model, network = watch(pair.ours, num_blocks=80)
    text = TEMPLATE + "Text: The cat sat. Mood:"
    write(model, text)
    for number in range(5):
        run_job(plan_score_text(model, f"{number} " + "The dog ran to the door. " * 60, num_expected=0))
    assert num_read(network, lambda: write(model, text, SamplingParams(temperature=0, max_new_tokens=1))) < BLOCK_TOKENS


def test_two_thousand_different_prompts_stay_within_the_budget(pair: Pair) -> None:
    model, _ = watch(pair.ours, num_blocks=48)
    blocks = model.writing.cache
    params = SamplingParams(temperature=0, max_new_tokens=1)
    for number in range(2000):
        write(model, f"{number} the cats {number * 7} and dogs {number * 3}", params)
        assert blocks.num_used_blocks == blocks.num_reserved_blocks == 0
        assert blocks.num_idle_blocks <= blocks.num_blocks
    assert blocks.num_idle_blocks > 40
    text = TEMPLATE + "Text: The cat sat. Mood:"
    assert write(model, text) == run_transformers(pair, text, GREEDY)
    check_nothing_is_left(blocks)


class RecordingNetwork:
    """Blocks that hold, for each token, what its keys and values depend on: all tokens up to it."""

    precision = "float32"
    device = torch.device("cpu")
    vocab_size = 1000
    context_length = 10_000

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.blocks: list[list[object]] = [[None] * BLOCK_TOKENS for _ in range(num_blocks)]

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        for segment in segments:
            for at in range(segment.start, segment.stop):
                content = hash(tuple(segment.ids[: at + 1]))
                self.blocks[segment.blocks[at // BLOCK_TOKENS]][at % BLOCK_TOKENS] = content
        return torch.empty(0)

    def forward_by_layers(self, segments: Sequence[Segment]) -> Generator[None, None, torch.Tensor]:
        yield from ()
        return self.forward(segments)

    def make_twin(self) -> Self:
        return self

    def copy_block(self, source: int, target: int) -> None:
        self.blocks[target] = list(self.blocks[source])

    def close(self) -> None:
        self.blocks = []

    def check(self, row: Row) -> None:
        """Raise AssertionError where the row does not find its own tokens in its blocks."""
        for at in range(row.length):
            content = self.blocks[row.blocks[at // BLOCK_TOKENS]][at % BLOCK_TOKENS]
            assert content == hash(tuple(row.ids[: at + 1])), at


def read_all(blocks: PagedCache, network: RecordingNetwork, row: Row, drafts: Sequence[int] = ()) -> None:
    ids = [*row.ids, *drafts]
    blocks.prepare(row, len(ids))
    network.forward([Segment(ids, row.length, len(ids), row.blocks, 1)])
    row.length = len(row.ids)


def remember(blocks: PagedCache, network: RecordingNetwork, ids: Sequence[int]) -> None:
    with blocks.rows() as rows:
        row = rows.open(ids)
        read_all(blocks, network, row)
        network.check(row)


def num_reused(blocks: PagedCache, ids: Sequence[int]) -> int:
    with blocks.rows() as rows:
        return rows.open(ids).length


# Few different tokens and long common beginnings, so that rows meet again and again.
beginnings = st.builds(
    lambda length, change: [at * (1 if at != change else 3) % 7 for at in range(length)],
    st.integers(1, 70),
    st.none() | st.integers(0, 70),
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("open"), beginnings, st.booleans()),
        st.tuples(st.just("fork"), st.integers(0, 9), st.lists(st.integers(0, 2), max_size=20)),
        st.tuples(st.just("write"), st.integers(0, 9), st.lists(st.integers(0, 2), min_size=1, max_size=20)),
        st.tuples(st.just("guess"), st.integers(0, 9), st.lists(st.integers(0, 2), min_size=1, max_size=20)),
        st.tuples(st.just("close"), st.integers(0, 9), st.none()),
        st.tuples(st.just("forget"), st.none(), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=250)
@given(operations=operations, num_blocks=st.integers(5, 40))
def test_every_row_finds_its_own_tokens_whatever_the_others_do(
    operations: list[tuple[str, Any, Any]], num_blocks: int
) -> None:
    network = RecordingNetwork(num_blocks)
    blocks = PagedCache(network)
    rows_of: list[Row] = []

    def has_room(*more: int) -> bool:
        return sum(count_blocks(n) + 1 for n in (*(len(row.ids) for row in rows_of), *more)) <= num_blocks

    with blocks.rows() as rows:
        for kind, which, what in operations:
            row = rows_of[which % len(rows_of)] if rows_of and isinstance(which, int) else None
            if kind == "open" and has_room(len(which)):
                rows_of.append(rows.open(which, is_remembered=what))
                assert rows_of[-1].length < len(which)
                assert rows_of[-1].length % BLOCK_TOKENS == 0
            elif kind == "fork" and row is not None and has_room(len(row.ids) + len(what)):
                read_all(blocks, network, row) if row.num_unread else None
                rows_of.append(rows.fork(row, what))
            elif kind == "write" and row is not None and has_room(len(what)):
                row.ids.extend(what)
                read_all(blocks, network, row)
            elif kind == "guess" and row is not None and has_room(2 * len(what)):
                row.ids.append(what[0])
                read_all(blocks, network, row, what)
                num_right = len(what) // 2
                row.ids.extend(what[:num_right])
                row.length = len(row.ids)
            elif kind == "close" and row is not None:
                rows_of.remove(row)
                rows.close(row)
            elif kind == "forget":
                blocks.forget()
            for one in rows_of:
                network.check(one)
            used = {block for one in rows_of for block in one.blocks}
            assert blocks.num_used_blocks == len(used)
            assert blocks.num_used_blocks + blocks.num_idle_blocks <= num_blocks
    check_nothing_is_left(blocks)


def test_what_was_used_last_is_dropped_last() -> None:
    network = RecordingNetwork(12)
    blocks = PagedCache(network)
    texts = [[number] * (3 * BLOCK_TOKENS + 1) for number in range(4)]
    for text in texts[:3]:
        remember(blocks, network, text)
    assert num_reused(blocks, texts[0]) == 3 * BLOCK_TOKENS  # and now it is the last one used
    remember(blocks, network, texts[3])
    assert num_reused(blocks, texts[0]) == 3 * BLOCK_TOKENS
    assert num_reused(blocks, texts[1]) < 3 * BLOCK_TOKENS
    assert num_reused(blocks, texts[3]) == 3 * BLOCK_TOKENS


def test_of_a_text_its_end_is_dropped_before_its_beginning() -> None:
    network = RecordingNetwork(8)
    blocks = PagedCache(network)
    text = list(range(6 * BLOCK_TOKENS + 1))
    remember(blocks, network, text)
    remember(blocks, network, [900 + at for at in range(3 * BLOCK_TOKENS)])
    assert num_reused(blocks, text) >= 4 * BLOCK_TOKENS


def test_the_same_text_read_by_two_rows_at_once_is_kept_once() -> None:
    network = RecordingNetwork(30)
    blocks = PagedCache(network)
    text = list(range(4 * BLOCK_TOKENS))
    with blocks.rows() as rows:
        both = [rows.open(text), rows.open(text)]
        for row in both:
            read_all(blocks, network, row)
            row.ids += [1] * (2 * BLOCK_TOKENS)
            read_all(blocks, network, row)
            network.check(row)
    assert blocks.num_idle_blocks == 6
    assert num_reused(blocks, [*text, *[1] * (2 * BLOCK_TOKENS), 5]) == 6 * BLOCK_TOKENS
    check_nothing_is_left(blocks)


def test_a_copy_that_fails_leaves_no_block_behind() -> None:
    class Full(RecordingNetwork):
        def copy_block(self, source: int, target: int) -> None:
            raise torch.OutOfMemoryError("No room for a copy.")

    blocks = PagedCache(Full(10))
    with blocks.rows() as rows:
        row = rows.open(list(range(20)))
        blocks.prepare(row, 20)
        row.length = 20
        twin = rows.fork(row, [1])
        with pytest.raises(torch.OutOfMemoryError):
            blocks.prepare(twin, 21)
        assert blocks.num_used_blocks == 2
    check_nothing_is_left(blocks)


def test_promises_are_kept_within_the_number_of_blocks() -> None:
    blocks = PagedCache(RecordingNetwork(10))
    assert blocks.reserve(7)
    assert not blocks.reserve(4)
    assert blocks.reserve(3)
    blocks.unreserve(7)
    assert blocks.num_reserved_blocks == 3
    with blocks.rows() as rows, pytest.raises(RuntimeError, match="more KV cache blocks"):
        blocks.prepare(rows.open([1] * 200), 200)
    assert blocks.num_used_blocks == 0


def test_the_tree_of_prefixes_grows_no_more_once_the_blocks_are_used_up() -> None:
    network = RecordingNetwork(64)
    blocks = PagedCache(network)
    sizes = []
    tracemalloc.start()
    try:
        for number in range(2000):
            remember(blocks, network, [number % 1000, number // 1000, *range(40)])
            if number in (500, 1999):
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[1] - sizes[0] < 50_000
