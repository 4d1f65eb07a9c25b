"""Measuring on tiny models: figures against an independent computation, what is kept, what is asked again."""

import asyncio
import math
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.core.engine import Asker
from bot.core.prompt_parts import Prompt
from bot.core.statistics import ClassifyFigures, CompleteFigures, Interval
from bot.core.stopping import Stopper
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import Example, PromptTemplate
from bot.errors import RequestError
from bot.services.tuning import MAX_ROWS, MAX_SCORINGS, Candidate, Trial, Tuning, candidates_of, count_scorings, tune
from tests.bots import MOOD, Talk, open_tiny_bot

OpenTiny = Callable[..., AbstractAsyncContextManager[Talk]]
ME = Asker("measuring", "Ann")
CONTENT_FREE = ("N/A", "[MASK]", "")
WRITE = parse_template(
    '+++\ndescription = "Writes."\nstop = ["\\n"]\n[[examples]]\ninput = "cat"\noutput = "chat"\n+++\n'
    "French.\n\n$examples\n$input =\n",
    name="write",
    source="write",
)
TALKS = parse_template(
    '+++\ndescription = "Talks."\nkind = "chat"\n+++\nYou are $bot_name.\n\n$history\n$bot_name:\n',
    name="talks",
    source="talks",
)


def mood(**changes: Any) -> PromptTemplate:
    return replace(parse_template(MOOD, name="mood", source="mood"), **changes)


class Reference:
    """The same model as transformers runs it."""

    def __init__(self, folder: str) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def nats(self, prompt: str, continuation: str) -> float:
        """Return what `continuation` costs after `prompt`."""
        start = self.tokenizer(prompt)["input_ids"]
        ids = start + self.tokenizer(continuation)["input_ids"]
        with torch.inference_mode():
            table = self.model(torch.tensor([ids])).logits[0].double().log_softmax(dim=-1)
        return -sum(table[at - 1, ids[at]].item() for at in range(len(start), len(ids)))

    def shares(self, prompt: str, labels: Sequence[str]) -> list[float]:
        """Return the labels' probabilities among themselves."""
        weights = [math.exp(-self.nats(prompt, f" {label}")) for label in labels]
        return [weight / math.fsum(weights) for weight in weights]

    def calibrated(self, prompt_of: Callable[[str], str], input: str, labels: Sequence[str]) -> list[float]:
        """Return them calibrated by Zhao et al. 2021."""
        priors = [self.shares(prompt_of(free), labels) for free in CONTENT_FREE]
        prior = [math.fsum(column) / len(priors) for column in zip(*priors, strict=True)]
        odds = [share / base for share, base in zip(self.shares(prompt_of(input), labels), prior, strict=True)]
        return [odd / math.fsum(odds) for odd in odds]


def mood_prompt(examples: Sequence[Example]) -> Callable[[str], str]:
    """Return the function that writes MOOD's prompt for an input by hand."""
    shown = "".join(f"{example.input} -> {example.output}\n" for example in examples)
    return lambda input: f"Mood.\n\n{shown}{input} ->"


def num_asked(talk: Talk) -> int:
    return talk.services.engine.stats().num_done


# ---- figures


async def test_classify_figures_equal_plain_forward_passes_calibrated_by_hand(talk: Talk) -> None:
    template = mood()
    reference = Reference(talk.services.engine.info.folder)
    prompt_of = mood_prompt(template.examples)
    expected = [reference.calibrated(prompt_of, row.input, template.labels) for row in template.tests]
    figures = await talk.services.measuring.measure(template, template.tests, asker=ME)
    assert isinstance(figures, ClassifyFigures)
    right = [template.labels.index(row.output) for row in template.tests]
    assert figures.right == tuple(right)
    assert figures.answered == tuple(shares.index(max(shares)) for shares in expected)
    bits = [-math.log2(shares[index]) for shares, index in zip(expected, right, strict=True)]
    assert figures.right_bits == pytest.approx(bits, abs=2e-3)
    num_right = sum(shares.index(max(shares)) == index for shares, index in zip(expected, right, strict=True))
    assert figures.accuracy == pytest.approx(num_right / len(right))
    assert figures.mean_bits == pytest.approx(math.fsum(bits) / len(bits), abs=2e-3)
    # The labels are asked in one pass behind one prompt: three content-free inputs and one question a row.
    assert num_asked(talk) == 3 + len(template.tests)


async def test_the_empty_input_is_left_out_where_the_prompt_would_end_in_it(talk: Talk) -> None:
    await talk.services.measuring.prior(mood(query="Feel of: $input"), asker=ME)
    assert num_asked(talk) == 2
    prior = await talk.services.measuring.prior(mood(), asker=ME)
    assert num_asked(talk) == 5
    reference = Reference(talk.services.engine.info.folder)
    shares = [reference.shares(mood_prompt(mood().examples)(input), mood().labels) for input in CONTENT_FREE]
    assert prior == pytest.approx([math.fsum(column) / 3 for column in zip(*shares, strict=True)], rel=1e-3)


async def test_complete_figures_equal_plain_forward_passes(talk: Talk) -> None:
    reference = Reference(talk.services.engine.info.folder)
    prompt = "French.\n\ncat = chat\n{} ="
    rows = [Example("dog", "le chien"), Example("the cat", "é ou è"), Example("hi", "two\nlines")]
    figures = await talk.services.measuring.measure(WRITE, rows, asker=ME)
    assert isinstance(figures, CompleteFigures)
    nats = [reference.nats(prompt.format(row.input), f" {row.output}") for row in rows]
    assert [outcome.nats for outcome in figures.outcomes] == pytest.approx(nats, rel=1e-4)
    num_bytes = [len(row.output.encode()) for row in rows]
    assert [outcome.num_bytes for outcome in figures.outcomes] == num_bytes == [8, 8, 9]
    assert figures.bits_per_byte == pytest.approx(math.fsum(nats) / math.log(2) / sum(num_bytes), rel=1e-4)
    assert [outcome.is_exact for outcome in figures.outcomes] == [False, False, None]


def greedy(reference: Reference, prompt: str, *, num: int) -> str:
    """Return the likeliest tokens one after another, by plain forward passes."""
    ids = reference.tokenizer(prompt)["input_ids"]
    start = len(ids)
    for _ in range(num):
        with torch.inference_mode():
            ids.append(int(reference.model(torch.tensor([ids])).logits[0, -1].argmax()))
    return str(reference.tokenizer.decode(ids[start:]))


async def test_an_answer_is_exact_where_the_greedy_one_is_that_and_ends_there(talk: Talk) -> None:
    reference = Reference(talk.services.engine.info.folder)
    for number in range(200):
        written = greedy(reference, f"French.\n\ncat = chat\nword {number} =", num=6)
        if re.match(r"[!-~]{5}", written):
            break
    else:
        pytest.fail("this model writes nothing that can be a row")
    first, rest = written[:3], written[3:5]
    input = f"word {number}"
    ends_there = replace(WRITE, stop=(rest,))
    rows = [Example(input, first), Example(input, f"{first}x"), Example(input, first[:-1] or "?")]
    figures = await talk.services.measuring.measure(ends_there, rows, asker=ME)
    assert isinstance(figures, CompleteFigures)
    assert [outcome.is_exact for outcome in figures.outcomes] == [True, False, False]
    # Without an end it goes on, so it is another answer.
    goes_on = await talk.services.measuring.measure(replace(WRITE, stop=("\n\n\n",)), rows[:1], asker=ME)
    assert isinstance(goes_on, CompleteFigures)
    assert goes_on.num_exact == 0


async def test_a_chat_template_is_measured_as_a_talk_of_two(any_talk: Talk) -> None:
    engine = any_talk.services.engine
    figures = await any_talk.services.measuring.measure(TALKS, [Example("Hi", "Yes it is")], asker=ME)
    assert isinstance(figures, CompleteFigures)
    reference = Reference(engine.info.folder)
    if engine.info.has_chat_template:
        turns = [{"role": "system", "content": "You are Fewshot."}, {"role": "user", "content": "Hi"}]
        prompt = reference.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        expected = reference.nats(prompt, "Yes it is")
    else:
        expected = reference.nats("You are Fewshot.\n\nMember: Hi\nFewshot:", " Yes it is")
    assert figures.outcomes[0].nats == pytest.approx(expected, rel=1e-4)


# ---- what is kept


async def test_nothing_is_asked_twice_even_after_a_restart(tiny_gpt2: Path, tmp_path: Path) -> None:
    template = mood()
    rows = template.tests
    async with open_tiny_bot(tiny_gpt2, tmp_path) as talk:
        measuring = talk.services.measuring
        assert await measuring.cached(template, rows) is None
        stopper, seen = Stopper(), []

        def on_progress(num_done: int, num_total: int) -> None:
            seen.append((num_done, num_total))
            if num_done == 2:
                stopper.stop()

        assert await measuring.measure(template, rows, asker=ME, on_progress=on_progress, stopper=stopper) is None
        assert seen == [(0, len(rows)), (1, len(rows)), (2, len(rows))]
        assert num_asked(talk) == 3 + 2
        assert await measuring.cached(template, rows) is None
    async with open_tiny_bot(tiny_gpt2, tmp_path) as talk:
        measuring, seen = talk.services.measuring, []
        first = await measuring.measure(template, rows, asker=ME, on_progress=lambda *how: seen.append(how))
        assert num_asked(talk) == len(rows) - 2
        assert seen[0] == (2, len(rows))
        assert seen[-1] == (len(rows), len(rows))
        assert await measuring.measure(template, rows, asker=ME) == first
        assert await measuring.cached(template, rows) == first
        assert num_asked(talk) == len(rows) - 2
    async with open_tiny_bot(tiny_gpt2, tmp_path) as talk:
        assert await talk.services.measuring.cached(template, rows) == first
        assert num_asked(talk) == 0


async def test_cancelled_between_rows_it_keeps_what_is_done(talk: Talk) -> None:
    template = mood()
    reached = asyncio.Event()

    def on_progress(num_done: int, num_total: int) -> None:
        if num_done == 3:
            reached.set()

    measuring = asyncio.create_task(
        talk.services.measuring.measure(template, template.tests, asker=ME, on_progress=on_progress)
    )
    await reached.wait()
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    seen: list[int] = []
    await talk.services.measuring.measure(
        template, template.tests, asker=ME, on_progress=lambda num_done, _: seen.append(num_done)
    )
    assert seen[0] >= 3


async def test_only_what_the_model_reads_makes_it_measure_again(talk: Talk) -> None:
    template, rows = mood(), mood().tests
    await talk.services.measuring.measure(template, rows, asker=ME)
    asked = num_asked(talk)
    for same in (
        mood(description="Other words."),
        mood(tests=(*rows, Example("one more", "good"))),
        mood(tests=()),
        mood(name="other"),
    ):
        assert await talk.services.measuring.measure(same, rows, asker=ME)
        # Another right answer is another figure of the same question.
        assert await talk.services.measuring.measure(same, [replace(rows[0], output="bad")], asker=ME)
    assert num_asked(talk) == asked
    for other in (
        mood(examples=mood().examples[::-1]),
        mood(instruction="Moods.\n\n"),
        mood(query="$input =>"),
        mood(labels=("bad", "good")),
        mood(separator="\n"),
        mood(example_separator="\n\n"),
    ):
        assert await talk.services.measuring.cached(other, rows) is None, other


async def test_of_two_rows_that_say_the_same_one_is_asked_and_both_count(talk: Talk) -> None:
    rows = [Example("a", "good"), Example("a", "good"), Example("a", "bad")]
    await talk.services.measuring.measure(mood(), rows, asker=ME)
    figures = await talk.services.measuring.cached(mood(), rows)
    assert isinstance(figures, ClassifyFigures)
    assert figures.num_rows == 3
    assert len(set(figures.answered)) == 1


async def test_other_weights_are_another_model(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    template, fingerprints = mood(), []
    for name in ("gpt2", "llama", "gpt2"):
        async with open_tiny_bot(tiny_model(name), tmp_path) as talk:
            measuring = talk.services.measuring
            fingerprints.append(measuring.fingerprint)
            is_known = await measuring.cached(template, template.tests) is not None
            assert is_known == (len(fingerprints) == 3), "what the first model gave is not the second one's"
            await measuring.measure(template, template.tests, asker=ME)
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]
    assert all(fingerprint.startswith("tiny@") for fingerprint in fingerprints)


async def test_a_prior_is_asked_once_however_many_want_it(talk: Talk) -> None:
    priors = await asyncio.gather(*(talk.services.measuring.prior(mood(), asker=Asker(i, i)) for i in range(8)))
    assert len(set(priors)) == 1
    assert num_asked(talk) == 3
    for text in ("fine", "awful", "so so"):
        await talk.ask(f"!prompt sentiment {text}")
    assert num_asked(talk) == 3 + 3 + 3, "three for the other template, and one for each text"


async def test_a_chat_does_not_wait_for_a_measurement(talk: Talk) -> None:
    # On a busy disk a chat takes as long as hundreds of rows; what is left of them is not measured.
    rows = [Example(f"row {i}", "good") for i in range(5000)]
    done: list[int] = []
    stopper = Stopper()
    measuring = asyncio.create_task(
        talk.services.measuring.measure(
            mood(), rows, asker=ME, on_progress=lambda num_done, _: done.append(num_done), stopper=stopper
        )
    )
    while not done:
        await asyncio.sleep(0.01)
    await talk.ask("Hello")
    assert not measuring.done()
    num_done = done[-1]
    while done[-1] == num_done:
        await asyncio.sleep(0.01)
    stopper.stop()
    assert await measuring is None


# ---- what can't be measured


async def test_a_row_that_does_not_fit_is_named(talk: Talk) -> None:
    rows = [Example("fine", "good"), Example("so " * 900, "bad")]
    with pytest.raises(RequestError, match=r"Row 2 is too long to measure: The prompt has [\d,]+ tokens"):
        await talk.services.measuring.measure(mood(), rows, asker=ME)
    with pytest.raises(RequestError, match="no rows"):
        await talk.services.measuring.measure(mood(), [], asker=ME)


async def test_an_output_that_is_no_label_is_never_right(talk: Talk) -> None:
    figures = await talk.services.measuring.measure(mood(), [Example("fine", "great")], asker=ME)
    assert isinstance(figures, ClassifyFigures)
    assert figures.right == (None,)
    assert figures.accuracy == 0
    assert math.isinf(figures.mean_bits)


async def test_the_cost_in_tokens_leaves_room_for_the_answer(talk: Talk) -> None:
    engine, measuring = talk.services.engine, talk.services.measuring
    reference = Reference(engine.info.folder)
    cost = await measuring.count_tokens(mood())
    prompt = mood_prompt(mood().examples)("a")
    assert cost.num_prompt_tokens == len(reference.tokenizer(prompt)["input_ids"])
    assert cost.context_length == engine.info.context_length
    longest = max(len(reference.tokenizer(f" {label}")["input_ids"]) for label in mood().labels)
    # The letter's own token is room too.
    assert cost.num_left_for_input == cost.context_length - cost.num_prompt_tokens + 1 - longest
    (whole,) = await engine.count_tokens([Prompt.plain(prompt)])
    assert whole == cost.num_prompt_tokens
    writes = await measuring.count_tokens(replace(WRITE, sampling={"max_new_tokens": 20}))
    assert writes.num_left_for_input == writes.context_length - writes.num_prompt_tokens + 1 - 20


async def test_a_template_that_fills_the_context_is_refused_with_the_count(talk: Talk) -> None:
    for template in (mood(instruction="so " * 900), replace(WRITE, instruction="so " * 900)):
        with pytest.raises(RequestError) as refused:
            await talk.services.measuring.count_tokens(template)
        (num_tokens,) = await talk.services.engine.count_tokens([Prompt.plain("so " * 900)])
        found = int(str(refused.value).split(" takes ")[1].split(" tokens")[0].replace(",", ""))
        assert found >= num_tokens > 512
        assert f"the model's context has {talk.services.engine.info.context_length}" in str(refused.value)


# ---- tuning


async def test_each_candidate_is_judged_on_the_examples_left_out_in_turn(talk: Talk) -> None:
    template = mood(tests=(Example("so " * 500, "good"),))  # a test that would break it if it were ever read
    found = await tune(talk.services.measuring, template, asker=ME)
    assert found is not None
    reference = Reference(talk.services.engine.info.folder)
    for trial in (found.trials[0], found.trials[2], found.trials[-1], found.best):
        expected = []
        for row in template.examples:
            shown = [template.examples[i] for i in trial.candidate.indexes if template.examples[i] != row]
            shares = reference.calibrated(mood_prompt(shown), row.input, template.labels)
            expected.append(-math.log2(shares[template.labels.index(row.output)]))
        assert trial.bits == pytest.approx(expected, abs=2e-3), trial.candidate.what
        assert trial.cost == pytest.approx(math.fsum(expected) / len(expected), abs=2e-3)
    assert found.best.cost == min(trial.cost for trial in found.trials)
    assert found.gain.mean == pytest.approx(found.trials[0].cost - found.best.cost)
    assert [trial.candidate.what for trial in found.trials[:3]] == [
        "unchanged",
        "without example 1",
        "without example 2",
    ]
    assert found.proposal.tests == template.tests
    assert set(found.proposal.examples) <= set(template.examples)
    asked = num_asked(talk)
    assert asked <= count_scorings(template)
    again = await tune(talk.services.measuring, template, asker=ME)
    assert again == found
    assert num_asked(talk) == asked


async def test_a_search_goes_on_where_it_was_stopped(talk: Talk) -> None:
    stopper = Stopper()
    seen: list[tuple[int, int]] = []

    def on_progress(num_done: int, num_total: int) -> None:
        seen.append((num_done, num_total))
        if num_done == 9:
            stopper.stop()

    assert await tune(talk.services.measuring, mood(), asker=ME, on_progress=on_progress, stopper=stopper) is None
    assert seen[-1][0] == 9
    asked = num_asked(talk)
    assert await tune(talk.services.measuring, mood(), asker=ME)
    total = num_asked(talk)
    assert total <= count_scorings(mood())
    assert total - asked <= count_scorings(mood()) - 9


async def test_an_example_of_free_text_costs_its_bits(talk: Talk) -> None:
    examples = tuple(Example(f"w{i}", f"mot {i}") for i in range(3))
    template = replace(WRITE, examples=examples)
    found = await tune(talk.services.measuring, template, asker=ME)
    assert found is not None
    reference = Reference(talk.services.engine.info.folder)
    nats = []
    for row in examples:
        shown = "".join(f"{other.input} = {other.output}\n" for other in examples if other != row)
        nats.append(reference.nats(f"French.\n\n{shown}{row.input} =", f" {row.output}"))
    assert found.trials[0].cost == pytest.approx(math.fsum(nats) / math.log(2) / 15, rel=1e-4)


@pytest.mark.parametrize("num", [3, 4, 8, 32, 50, 400])
@pytest.mark.parametrize("template", [mood(), WRITE], ids=["classify", "complete"])
def test_a_search_is_bounded_and_always_the_same(num: int, template: PromptTemplate) -> None:
    template = replace(template, examples=tuple(Example(f"input {i}", "good") for i in range(num)))
    candidates = candidates_of(template)
    assert candidates == candidates_of(template)
    assert count_scorings(template) <= MAX_SCORINGS
    assert len({candidate.indexes for candidate in candidates}) == len(candidates) > 5
    assert candidates[0].indexes == tuple(range(num))
    if num <= 8:
        assert len(candidates) == 1 + num + min(8, math.factorial(num) - 1)
    assert count_scorings(template) == len(candidates) * min(num, MAX_ROWS) * (4 if template.kind == "classify" else 2)


def test_the_only_example_of_a_label_is_never_left_out() -> None:
    candidates = candidates_of(mood(examples=mood().examples[:3]))  # good, bad, good
    assert [one.what for one in candidates if one.what.startswith("without")] == [
        "without example 1",
        "without example 3",
    ]


@pytest.mark.parametrize(
    ("before", "after", "is_better"),
    [(1.0, 0.9, True), (1.0, 0.985, True), (0.03, 0.023, False), (2.0, 1.985, False), (1.0, 1.0, False)],
)
def test_a_small_gain_is_not_worth_a_draft(before: float, after: float, is_better: bool) -> None:
    first, best = (
        Trial(Candidate(what, ()), ClassifyFigures(("a", "b"), (0,), (0,), (bits,)), (bits,))
        for what, bits in (("as it is", before), ("other", after))
    )
    found = Tuning(mood(), (first, best), best, Interval(0, 0, before - after), 1)
    assert found.is_better is is_better


def test_too_few_examples_are_not_tuned() -> None:
    with pytest.raises(RequestError, match="mood has 2 examples, but tuning needs at least 3"):
        candidates_of(mood(examples=mood().examples[:2]))
