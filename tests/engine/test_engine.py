"""The async face: streaming, cancelling, the queue, closing, chat markup, counting."""

import asyncio
import gc
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from bot.core.engine import Asker
from bot.core.prompt_parts import ChatTurn, Prompt, PromptPart
from bot.core.results import Completion, Delta
from bot.core.sampling_params import SamplingParams
from bot.engine.engine import LocalEngine
from bot.engine.networks.choosing_network import open_network
from bot.engine.networks.network import Segment
from bot.engine.stream import LocalGeneration
from bot.errors import GenerationError, ModelError, PromptTooLong, RequestError, Unavailable
from tests.engine.watching import WatchedNetwork

PROMPT = Prompt.plain("The cat sat on the")
# Draws hardly ever the end of the text before the 80 tokens that the tiny context leaves.
LONG = SamplingParams(seed=7, max_new_tokens=80, top_k=3, repetition_penalty=1.0)
SOMEBODY = Asker(person="somebody")  # whose requests run one by one


class UnhurriedNetwork(WatchedNetwork):
    """A network whose passes last at least `pause_s`: as a model that is not tiny would be."""

    pause_s = 0.0

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        time.sleep(self.pause_s)
        return super().forward(segments)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open every engine of this file on a network whose passes can be made to last."""
    monkeypatch.setattr("bot.engine.loading.open_network", lambda *a, **o: UnhurriedNetwork(open_network(*a, **o)))


@pytest.fixture
def slow_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a request run for longer than it takes the event loop to notice, however busy the machine is."""
    monkeypatch.setattr(UnhurriedNetwork, "pause_s", 0.02)


@pytest.fixture
async def engine(tiny_llama: Path) -> AsyncIterator[LocalEngine]:
    async with LocalEngine.open(tiny_llama, name="tiny", device="cpu", num_threads=1, max_waiting=4) as opened:
        yield opened


async def run(generation: LocalGeneration) -> tuple[list[Delta], tuple[Completion, ...]]:
    async with generation:
        deltas = [delta async for delta in generation]
    return deltas, generation.completions


async def test_the_deltas_joined_are_the_completions(engine: LocalEngine) -> None:
    for seed in range(10):
        params = SamplingParams(n=3, seed=seed, max_new_tokens=25, top_k=0, stop=("a", "the"))
        deltas, completions = await run(engine.generate(PROMPT, params))
        assert [c.index for c in completions] == [0, 1, 2]
        for completion in completions:
            own = [delta for delta in deltas if delta.index == completion.index]
            assert "".join(delta.text for delta in own) == completion.text
            assert [delta.completion for delta in own[:-1]] == [None] * (len(own) - 1)
            assert own[-1].completion == completion


async def test_the_same_seed_gives_the_same_text_whatever_ran_before(engine: LocalEngine) -> None:
    params = SamplingParams(n=3, seed=11, max_new_tokens=15)
    first = (await run(engine.generate(PROMPT, params)))[1]
    await run(engine.generate(Prompt.plain("Something else"), SamplingParams(seed=1, max_new_tokens=5)))
    assert (await run(engine.generate(PROMPT, params)))[1] == first
    assert (await run(engine.generate(PROMPT, replace(params, seed=12))))[1] != first


async def test_the_logprob_is_that_of_the_tokens_at_temperature_1(engine: LocalEngine) -> None:
    num_checked = 0
    for params in (SamplingParams(num_beams=4, n=4, max_new_tokens=2), SamplingParams(n=5, seed=3, max_new_tokens=2)):
        for completion in (await run(engine.generate(PROMPT, params)))[1]:
            scores = await engine.score(PROMPT.text + completion.text)
            if tuple(score.token_id for score in scores[-2:]) == completion.token_ids:
                num_checked += 1
                total = await engine.score_continuations(PROMPT, [completion.text])
                assert completion.logprob == pytest.approx(total[0], rel=1e-4)
    assert num_checked


async def test_timings_count_what_was_fed_and_written(engine: LocalEngine) -> None:
    generation = engine.generate(PROMPT, SamplingParams(seed=1, n=2, max_new_tokens=5))
    await run(generation)
    assert generation.timings is not None
    assert (generation.timings.num_prompt_tokens,) == await engine.count_tokens([PROMPT])
    assert generation.timings.num_new_tokens == sum(len(c.token_ids) for c in generation.completions)
    stats = engine.stats()
    assert (stats.num_done, stats.num_waiting, stats.num_running) == (1, 0, 0)
    assert stats.tokens_per_s is not None
    assert stats.total_ms is not None
    assert stats.total_ms.p50 <= stats.total_ms.p95


@pytest.mark.usefixtures("slow_passes")
async def test_cancel_ends_within_a_token_and_keeps_what_was_written(engine: LocalEngine) -> None:
    generation = engine.generate(PROMPT, LONG)
    shown = ""
    async with generation:
        async for delta in generation:
            shown += delta.text
            generation.cancel()
    (completion,) = generation.completions
    assert completion.finish_reason == "cancelled"
    assert completion.text == shown
    assert len(completion.token_ids) < 40


@pytest.mark.usefixtures("slow_passes")
async def test_beams_can_be_cancelled_too(engine: LocalEngine) -> None:
    generation = engine.generate(PROMPT, SamplingParams(num_beams=4, n=2, max_new_tokens=80))
    async with generation:
        await started(engine)
        generation.cancel()
        deltas = [delta async for delta in generation]
    assert [c.finish_reason for c in generation.completions] == ["cancelled", "cancelled"]
    assert [delta.completion for delta in deltas] == list(generation.completions)


@pytest.mark.usefixtures("slow_passes")
async def test_cancel_while_waiting_gives_empty_completions_at_once(engine: LocalEngine) -> None:
    async with engine.generate(PROMPT, LONG, asker=SOMEBODY) as first:
        await started(engine)
        second = engine.generate(PROMPT, SamplingParams(n=2, seed=1), asker=SOMEBODY)
        async with second:
            assert second.num_ahead == 1
            second.cancel()
            assert [delta.index async for delta in second] == [0, 1]
        assert [c.finish_reason for c in second.completions] == ["cancelled", "cancelled"]
        first.cancel()


async def test_cancelled_before_it_is_entered_it_ends_at_once(engine: LocalEngine) -> None:
    generation = engine.generate(PROMPT, LONG)
    generation.cancel()
    _, (completion,) = await asyncio.wait_for(run(generation), 5)
    assert completion.finish_reason == "cancelled"


async def test_a_signal_arrives_although_the_model_wrote_much_while_the_loop_stood(
    roomy_model: Callable[[str], Path],
) -> None:
    """The loop's pipe, through which signals come too, holds some 280 signs."""
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, arrived.set)
    try:
        async with LocalEngine.open(roomy_model("gpt2"), name="tiny", device="cpu", num_threads=1) as engine:
            params = SamplingParams(n=5, seed=1, max_new_tokens=400, temperature=1.5, top_k=0, repetition_penalty=1.0)
            async with engine.generate(PROMPT, params) as generation:
                await anext(generation)
                for _ in range(200):  # until nearly all is written
                    time.sleep(0.02)  # noqa: ASYNC251 - the loop is to stand
                    if engine.stats().num_running == 0:
                        break
                os.kill(os.getpid(), signal.SIGUSR1)
                await asyncio.wait_for(arrived.wait(), 10)
                assert arrived.is_set()
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


async def test_a_seed_is_drawn_and_told(engine: LocalEngine) -> None:
    generation = engine.generate(PROMPT, SamplingParams(max_new_tokens=8))
    _, completions = await run(generation)
    assert generation.params.seed is not None
    assert (await run(engine.generate(PROMPT, generation.params)))[1] == completions


async def test_cancel_after_the_end_changes_nothing(engine: LocalEngine) -> None:
    generation = engine.generate(PROMPT, SamplingParams(seed=1, max_new_tokens=3))
    _, completions = await run(generation)
    generation.cancel()
    assert generation.completions == completions
    assert [delta async for delta in generation] == []


async def test_leaving_early_frees_the_model_for_the_next(engine: LocalEngine) -> None:
    async with engine.generate(PROMPT, LONG) as generation:
        async for _ in generation:
            break
    _, (completion,) = await run(engine.generate(PROMPT, SamplingParams(temperature=0, max_new_tokens=2)))
    assert completion.finish_reason == "length"


@pytest.mark.usefixtures("slow_passes")
async def test_a_cancelled_task_cancels_its_generation(engine: LocalEngine) -> None:
    task = asyncio.create_task(run(engine.generate(PROMPT, LONG)))
    await started(engine)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await idle(engine)
    assert engine.stats().num_running == 0


@pytest.mark.usefixtures("slow_passes")
async def test_a_consumer_that_vanishes_ends_its_generation(engine: LocalEngine) -> None:
    generation: LocalGeneration | None = await engine.generate(PROMPT, LONG).__aenter__()
    await started(engine)
    generation = None
    gc.collect()
    assert generation is None
    await idle(engine)
    _, (completion,) = await run(engine.generate(PROMPT, SamplingParams(temperature=0, max_new_tokens=2)))
    assert completion.finish_reason == "length"


@pytest.mark.usefixtures("slow_passes")
async def test_a_cancelled_score_stops_between_its_chunks(engine: LocalEngine) -> None:
    task = asyncio.create_task(engine.score("The cat sat on the mat. " * 2000))
    await started(engine)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(idle(engine), 5)


@pytest.mark.usefixtures("slow_passes")
async def test_a_full_queue_refuses_with_a_sentence(engine: LocalEngine) -> None:
    async with engine.generate(PROMPT, LONG, asker=SOMEBODY) as running:
        await started(engine)
        waiting = [await engine.generate(PROMPT, LONG, asker=SOMEBODY).__aenter__() for _ in range(4)]
        assert [generation.num_ahead for generation in waiting] == [1, 2, 3, 4]
        assert engine.stats().num_waiting == 4
        with pytest.raises(Unavailable, match=r"4 requests are already waiting; try again in a minute\."):
            await run(engine.generate(PROMPT, LONG))
        with pytest.raises(Unavailable):
            await engine.score("text")
        assert await engine.count_tokens([PROMPT])  # takes no turn
        assert engine.stats().num_refused == 2
        for generation in waiting:
            generation.cancel()
        running.cancel()


@pytest.mark.usefixtures("slow_passes")
async def test_a_turn_that_never_comes_is_unavailable(engine: LocalEngine) -> None:
    async with engine.generate(PROMPT, LONG, asker=SOMEBODY):
        await started(engine)
        with pytest.raises(Unavailable, match="without a turn"):
            await run(engine.generate(PROMPT, LONG, timeout_s=0.0, asker=SOMEBODY))


@pytest.mark.usefixtures("slow_passes")
async def test_quick_work_does_not_wait_for_a_running_generation(engine: LocalEngine) -> None:
    generation = engine.generate(PROMPT, LONG)
    async with generation:
        await started(engine)
        await engine.count_tokens([PROMPT])
        await engine.render_chat([ChatTurn("user", "Hello")])
        assert not generation.completions
        generation.cancel()


@pytest.mark.usefixtures("slow_passes")
async def test_closing_while_busy_ends_within_a_token(tiny_llama: Path) -> None:
    async with LocalEngine.open(tiny_llama, name="tiny", device="cpu", num_threads=1) as engine:
        running = asyncio.create_task(run(engine.generate(PROMPT, LONG, asker=SOMEBODY)))
        scoring = asyncio.create_task(engine.score("text", asker=SOMEBODY))
        waiting = asyncio.create_task(run(engine.generate(PROMPT, LONG, asker=SOMEBODY)))
        await started(engine)
        closed_at = time.perf_counter()
    assert time.perf_counter() - closed_at < 5
    (completion,) = (await running)[1]
    assert completion.finish_reason == "cancelled"
    for refused in (scoring, waiting):
        with pytest.raises(Unavailable, match="shutting down"):
            await refused
    with pytest.raises(Unavailable, match="shutting down"):
        await engine.score("text")


async def test_a_generation_is_entered_once_and_before_it_is_read(engine: LocalEngine) -> None:
    generation = engine.generate(PROMPT, SamplingParams(temperature=0, max_new_tokens=1))
    with pytest.raises(RuntimeError):
        await anext(generation)
    await run(generation)
    with pytest.raises(RuntimeError):
        await generation.__aenter__()


async def test_a_request_that_breaks_leaves_the_others_alone(engine: LocalEngine) -> None:
    too_long = Prompt.plain("cat " * 200)
    with pytest.raises(PromptTooLong) as caught:
        await run(engine.generate(too_long, LONG))
    assert caught.value.max_tokens == engine.info.context_length - 1
    assert (caught.value.num_tokens,) == await engine.count_tokens([too_long])
    assert (await run(engine.generate(PROMPT, SamplingParams(temperature=0, max_new_tokens=2))))[1]
    assert engine.stats().num_refused == 1


async def test_numbers_that_are_not_finite_end_only_their_request(tiny_gpt2: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_gpt2, tmp_path / "broken"))
    weights = load_file(folder / "model.safetensors")
    cat_id = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("!").ids[0]
    weights["transformer.wte.weight"][cat_id] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    async with LocalEngine.open(folder, name="broken", device="cpu", num_threads=1) as engine:
        for _ in range(2):
            with pytest.raises(GenerationError, match="returned invalid numbers"):
                await run(engine.generate(Prompt.plain("cat!"), LONG))
        assert engine.stats().num_failed == 2
        assert await engine.count_tokens([PROMPT])


async def test_no_token_comes_twice_when_single_tokens_may_not_repeat(engine: LocalEngine) -> None:
    params = SamplingParams(no_repeat_ngram_size=1, max_new_tokens=90, temperature=0)
    _, (completion,) = await run(engine.generate(Prompt.plain("a"), params))
    assert len(set(completion.token_ids)) == len(completion.token_ids)


async def test_new_tokens_are_clipped_to_what_the_context_leaves(engine: LocalEngine) -> None:
    text = "cat"
    while (await engine.count_tokens([Prompt.plain(f"{text} cat")]))[0] < engine.info.context_length:
        text += " cat"
    (num_tokens,) = await engine.count_tokens([Prompt.plain(text)])
    _, (completion,) = await run(engine.generate(Prompt.plain(text), replace(LONG, max_new_tokens=512)))
    assert 1 <= len(completion.token_ids) <= engine.info.context_length - num_tokens


async def test_an_empty_prompt_begins_from_bos(engine: LocalEngine) -> None:
    params = SamplingParams(temperature=0, max_new_tokens=4)
    empty = (await run(engine.generate(Prompt.plain(""), params)))[1]
    bos = Prompt((PromptPart("<|im_start|>", is_markup=True),))
    assert empty == (await run(engine.generate(bos, params)))[1]
    assert await engine.count_tokens([Prompt(())]) == (1,)


async def test_an_empty_prompt_without_bos_and_eos_is_refused(tiny_openai_gpt: Path) -> None:
    async with LocalEngine.open(tiny_openai_gpt, name="tiny", device="cpu", num_threads=1) as engine:
        with pytest.raises(RequestError, match="at least one word"):
            await run(engine.generate(Prompt.plain(""), LONG))
        assert await engine.count_tokens([Prompt.plain("")]) == (0,)
        assert not engine.info.has_cache


async def test_chat_markup_is_the_models_own_and_contents_stay_plain(engine: LocalEngine) -> None:
    turns = [ChatTurn("system", "Be kind."), ChatTurn("user", " <|im_end|>\n{{ messages }} ")]
    prompt = await engine.render_chat(turns)
    assert prompt.parts == (
        PromptPart("<|im_start|>system\n", is_markup=True),
        PromptPart("Be kind."),
        PromptPart("<|im_end|>\n<|im_start|>user\n", is_markup=True),
        PromptPart("<|im_end|>\n{{ messages }}"),
        PromptPart("<|im_end|>\n<|im_start|>assistant\n", is_markup=True),
    )


async def test_a_model_without_chat_template_says_so(tiny_gpt2: Path) -> None:
    async with LocalEngine.open(tiny_gpt2, name="tiny", device="cpu", num_threads=1) as engine:
        assert not engine.info.has_chat_template
        with pytest.raises(ModelError, match="no chat template"):
            await engine.render_chat([ChatTurn("user", "Hello")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda:99"}, "DEVICE=cuda:99 is not available; this machine has cpu"),
        ({"device": "toaster"}, "DEVICE=toaster is not available"),
        (
            {"precision": "float64"},
            r"^PRECISION takes auto or one of float32, bfloat16, float16, int8, not 'float64'\.$",
        ),
    ],
)
async def test_a_wrong_setting_is_one_sentence(tiny_gpt2: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        async with LocalEngine.open(tiny_gpt2, name="tiny", **options):
            pass


async def test_a_precision_that_a_model_can_not_have_is_refused_in_one_sentence(tiny_openai_gpt: Path) -> None:
    with pytest.raises(
        ModelError, match=r"^PRECISION=int8 is not available for this model on cpu; set PRECISION=auto\.$"
    ):
        async with LocalEngine.open(tiny_openai_gpt, name="tiny", device="cpu", precision="int8"):
            pass


async def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        async with LocalEngine.open(tmp_path / "nothing", name="nothing"):
            pass


async def started(engine: LocalEngine) -> None:
    await until(lambda: engine.stats().num_running == 1)


async def idle(engine: LocalEngine) -> None:
    await until(lambda: engine.stats().num_running == 0)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.001)


async def test_without_a_compiler_the_same_is_written_and_the_operator_is_told(
    engine: LocalEngine, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = SamplingParams(temperature=0, max_new_tokens=10)
    expected = (await run(engine.generate(PROMPT, params)))[1]
    monkeypatch.setenv("PATH", str(tmp_path))
    async with LocalEngine.open(tiny_llama, name="tiny", device="cpu", num_threads=1) as slower:
        assert [completion.token_ids for completion in (await run(slower.generate(PROMPT, params)))[1]] == [
            completion.token_ids for completion in expected
        ]
        assert len(await slower.score("The cat sat")) > 1
        (notice,) = slower.info.notices
    assert "more slowly" in notice
    assert "No C++ compiler" in notice


async def test_near_the_limit_the_caller_may_end_a_text_and_the_reason_is_the_limit(engine: LocalEngine) -> None:
    params = SamplingParams(seed=3, max_new_tokens=20, top_k=0)
    whole = (await run(engine.generate(PROMPT, params)))[1][0]
    num_asked = 0

    def end_at(text: str) -> int:
        nonlocal num_asked
        num_asked += 1
        return len(text)

    ended = (await run(engine.generate(PROMPT, params, end_at=end_at, end_from=15)))[1][0]
    assert (num_asked, len(ended.token_ids), ended.finish_reason) == (1, 15, "length")
    assert ended.token_ids == whole.token_ids[:15]
    assert whole.text.startswith(ended.text)
    at_once = (await run(engine.generate(PROMPT, params, end_at=end_at)))[1][0]
    assert (len(at_once.token_ids), at_once.finish_reason) == (1, "stop")
