"""The scheduler with its step loop, on a network that only counts: turns, failures, cancelling, hanging."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import torch

from bot.core.engine import Asker
from bot.core.fair_queue import PRIORITIES, Priority
from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.engine.engine import LocalEngine
from bot.engine.loaded_model import Lane
from bot.engine.networks.network import Segment
from bot.engine.paged_cache import PagedCache
from bot.engine.requests.generation import plan_generation, plan_job
from bot.engine.requests.scoring import plan_score_text
from bot.engine.requests.work import Feed, Job, QuickWork, Steps, Work, WorkCancelled
from bot.engine.scheduler import Scheduler
from bot.engine.step_loop import SCORING_CHUNK_TOKENS
from bot.engine.stream import LocalGeneration
from bot.errors import GenerationError, ModelError, RequestError, Unavailable
from tests.engine.running import load_pair
from tests.engine.watching import Arrival, drive, watch

PROMPT = Prompt.plain("The cat sat on the")
LONG = SamplingParams(seed=7, max_new_tokens=80, top_k=3, repetition_penalty=1.0)


class CountingNetwork:
    """A network without weights: it counts passes, and waits while a test holds it."""

    precision = "float32"
    device = torch.device("cpu")
    vocab_size = 10
    context_length = 100_000

    def __init__(self, *, num_blocks: int = 400) -> None:
        self.num_blocks = num_blocks
        self.num_passes = 0
        self.used_in: set[str] = set()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        self.may_go_on.wait(10)
        time.sleep(0.0002)
        self.num_passes += 1
        self.used_in.add(threading.current_thread().name)
        return torch.zeros(sum(segment.num_logits for segment in segments), self.vocab_size)

    def forward_by_layers(self, segments: Sequence[Segment]) -> Generator[None, None, torch.Tensor]:
        yield from ()
        return self.forward(segments)

    def make_twin(self) -> Self:
        return self

    def copy_block(self, source: int, target: int) -> None:
        pass

    def close(self) -> None:
        self.may_go_on.set()


class Model:
    """What the scheduler opens: jobs of so many passes, and the order in which they ran."""

    def __init__(self, *, num_blocks: int = 400) -> None:
        self.network = CountingNetwork(num_blocks=num_blocks)
        self.lane = Lane(self.network, PagedCache(self.network))
        self.began: list[object] = []
        self.ended: list[object] = []
        self.is_freed = False

    def count(self, num: int, name: object = None, *, num_rows: int = 1, num_blocks: int = 1) -> Job[int]:
        """Return a job of `num` passes that reads the same token again and again."""
        return Job(self._count(num, name), self.lane, num_rows, num_blocks)

    def _count(self, num: int, name: object) -> Steps[int]:
        self.began.append(name)
        with self.lane.cache.rows() as rows:
            for _ in range(num):
                yield [Feed(row := rows.open([1], is_remembered=False))]
                rows.close(row)
        self.ended.append(name)
        return num

    def count_until_cancelled(self) -> Job[str]:
        """Return a job that ends when it is cancelled, and says why."""

        def steps() -> Steps[str]:
            try:
                yield from self._count(1_000_000, "endless")
            except WorkCancelled as e:
                return e.reason
            return "ended"

        return Job(steps(), self.lane, 1, 1)

    def fail(self, error: BaseException) -> Job[int]:
        """Return a job that raises after its first pass."""

        def steps() -> Steps[int]:
            yield from self._count(1, "failing")
            raise error

        return Job(steps(), self.lane, 1, 1)


@asynccontextmanager
async def running(model: Model, *, max_waiting: int = 100, **options: Any) -> AsyncIterator[Scheduler[Model]]:
    @contextmanager
    def open_model() -> Iterator[Model]:
        try:
            yield model
        finally:
            model.is_freed = True

    scheduler = Scheduler(open_model, max_waiting=max_waiting, **options)
    await scheduler.open()
    try:
        yield scheduler
    finally:
        model.network.may_go_on.set()
        await scheduler.close()
        assert model.lane.cache.num_used_blocks == model.lane.cache.num_reserved_blocks == 0


def submit(
    scheduler: Scheduler[Model], plan: Callable[[Model], Job[Any]], asker: Asker | None = None, **options: Any
) -> Work[Model, Any]:
    work: Work[Model, Any] = Work(plan, asker=asker, **options)
    scheduler.submit(work)
    return work


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.001)


async def held(scheduler: Scheduler[Model], model: Model) -> Work[Model, Any]:
    """Start a request, and hold the network in its first pass: what is submitted now waits."""
    model.network.may_go_on.clear()
    work = submit(scheduler, lambda model: model.count(1, "first"))
    await until(lambda: scheduler.num_running == 1)
    return work


async def test_work_runs_in_the_model_thread_only_and_all_of_it_together() -> None:
    model = Model()
    async with running(model) as scheduler:
        works = [submit(scheduler, lambda model: model.count(50)) for _ in range(8)]
        assert [await scheduler.result(work, timeout_s=5) for work in works] == [50] * 8
        assert model.network.num_passes < 8 * 50
    assert model.network.used_in == {"model"}
    assert model.is_freed
    assert not any(thread.name == "model" for thread in threading.enumerate())


async def test_a_request_that_runs_alone_lets_others_go_first_and_shares_no_pass() -> None:
    model = Model()
    async with running(model) as scheduler:
        await held(scheduler, model)
        submit(scheduler, lambda model: model.count(2, "second"))
        lone = submit(scheduler, lambda model: model.count(20, "lone"), is_alone=True)
        others = [submit(scheduler, lambda model, at=at: model.count(5, at)) for at in range(3)]
        num_passes = model.network.num_passes
        model.network.may_go_on.set()
        await until(lambda: "lone" in model.began)
        late = [submit(scheduler, lambda model: model.count(5, "late"), priority=one) for one in PRIORITIES]
        assert await scheduler.result(lone, timeout_s=5) == 20
        for work in (*others, *late):
            await scheduler.result(work, timeout_s=5)
    assert model.ended == ["first", "second", 0, 1, 2, "lone", "late", "late"]
    assert model.network.num_passes >= num_passes + 5 + 20 + 5


async def test_others_join_a_request_that_runs_alone_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.engine.scheduler.LONE_S", 0.0)
    model = Model()
    async with running(model) as scheduler:
        lone = submit(scheduler, lambda model: model.count(300, "lone"), is_alone=True)
        await until(lambda: "lone" in model.began)
        assert not lone.was_joined
        other = submit(scheduler, lambda model: model.count(2, "other"))
        assert await scheduler.result(other, timeout_s=5) == 2
        assert lone.was_joined
        assert await scheduler.result(lone, timeout_s=5) == 300
    assert model.ended == ["other", "lone"]


async def test_after_a_request_that_runs_alone_was_cancelled_or_has_failed_others_run() -> None:
    async with running(Model()) as scheduler:
        for plan in (Model.count_until_cancelled, lambda model: model.fail(RequestError("No."))):
            lone = submit(scheduler, plan, is_alone=True)
            other = submit(scheduler, lambda model: model.count(2))
            await asyncio.sleep(0.01)
            scheduler.withdraw(lone)
            assert await scheduler.result(other, timeout_s=5) == 2
            await asyncio.wait([lone.future])


async def test_a_failure_ends_only_its_own_request(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Model()) as scheduler:
        broken = submit(scheduler, lambda model: model.fail(ZeroDivisionError("secret text")))
        refused = submit(scheduler, lambda model: model.fail(RequestError("Too long.")))
        unplanned = submit(scheduler, lambda model: 1 // 0)  # type: ignore[arg-type, return-value]
        fine = submit(scheduler, lambda model: model.count(2))
        for work in (broken, unplanned):
            with pytest.raises(GenerationError, match="other requests are not affected") as caught:
                await scheduler.result(work, timeout_s=5)
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
        with pytest.raises(RequestError, match=r"Too long\."):
            await scheduler.result(refused, timeout_s=5)
        assert await scheduler.result(fine, timeout_s=5) == 2
    assert "ZeroDivisionError" in caplog.text


async def test_a_thread_that_dies_fails_what_runs_and_waits_and_comes() -> None:
    model = Model()

    @contextmanager
    def open_model() -> Iterator[Model]:
        yield model

    scheduler = Scheduler(open_model, max_waiting=9, max_running_per_person=1)
    await scheduler.open()
    works = [submit(scheduler, lambda model: model.count(500), Asker(person=person)) for person in "aab"]
    works.append(submit(scheduler, lambda model: model.fail(SystemExit())))
    for work in works:
        with pytest.raises(Unavailable, match="stopped working"):
            await scheduler.result(work, timeout_s=5)
    with pytest.raises(Unavailable, match="stopped working"):
        submit(scheduler, lambda model: model.count(1))
    await until(lambda: scheduler.has_died)
    await scheduler.close()


async def test_a_model_that_cannot_be_opened_fails_what_was_submitted_meanwhile() -> None:
    may_fail = threading.Event()

    @contextmanager
    def open_nothing() -> Iterator[Model]:
        may_fail.wait(10)
        raise ModelError("It is not there.")
        yield Model()

    scheduler = Scheduler(open_nothing, max_waiting=1)
    opening = asyncio.create_task(scheduler.open())
    await asyncio.sleep(0)
    work = submit(scheduler, lambda model: model.count(1))
    may_fail.set()
    with pytest.raises(ModelError, match=r"It is not there\."):
        await opening
    with pytest.raises(Unavailable, match="stopped working"):
        await scheduler.result(work, timeout_s=5)
    await until(lambda: scheduler.has_died)
    await scheduler.close()


async def test_cancelled_work_stops_before_its_next_pass() -> None:
    model = Model()
    async with running(model) as scheduler:
        model.network.may_go_on.clear()
        work = submit(scheduler, lambda model: model.count(1000))
        task = asyncio.create_task(scheduler.result(work, timeout_s=5))
        await until(lambda: scheduler.num_running == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        model.network.may_go_on.set()
        await until(lambda: scheduler.num_running == 0)
        assert model.network.num_passes <= 1


async def test_work_may_hand_back_what_it_has_when_it_is_cancelled_or_its_time_is_up() -> None:
    async with running(Model()) as scheduler:
        work = submit(scheduler, lambda model: model.count_until_cancelled())
        await until(lambda: scheduler.num_running == 1)
        assert not scheduler.withdraw(work)
        assert await scheduler.result(work, timeout_s=5) == "cancelled"
        limited = submit(scheduler, lambda model: model.count_until_cancelled(), deadline=time.perf_counter() + 0.05)
        assert await scheduler.result(limited, timeout_s=5) == "length"


async def test_quick_work_comes_between_the_passes_of_other_work() -> None:
    async with running(Model()) as scheduler:
        long = submit(scheduler, lambda model: model.count_until_cancelled())
        quick: QuickWork[Model, int] = QuickWork(lambda model: model.network.num_passes)
        scheduler.submit(quick)
        assert await scheduler.result(quick, timeout_s=5) >= 0
        assert not long.future.done()
        broken: QuickWork[Model, int] = QuickWork(lambda model: 1 // 0)
        scheduler.submit(broken)
        with pytest.raises(GenerationError):
            await scheduler.result(broken, timeout_s=5)
        withdrawn: QuickWork[Model, int] = QuickWork(lambda model: 1)
        scheduler.submit(withdrawn)
        scheduler.withdraw(withdrawn)
        assert not long.future.done()


async def test_closing_refuses_what_waits_and_is_felt_by_what_runs() -> None:
    model = Model()
    async with running(model, max_running_per_person=1) as scheduler:
        endless = submit(scheduler, lambda model: model.count_until_cancelled(), Asker(person="a"))
        lost = submit(scheduler, lambda model: model.count(100_000))
        waiting = submit(scheduler, lambda model: model.count(1), Asker(person="a"))
        await until(lambda: scheduler.num_running == 2)
    assert endless.future.result() == "cancelled"
    for work in (lost, waiting):
        with pytest.raises(Unavailable, match="shutting down"):
            work.future.result()
    with pytest.raises(Unavailable, match="shutting down"):
        submit(scheduler, lambda model: model.count(1))


def test_a_loop_that_was_closed_under_it_leaves_no_noise() -> None:
    model = Model()

    async def leave_without_closing() -> None:
        @contextmanager
        def open_model() -> Iterator[Model]:
            yield model

        scheduler = Scheduler(open_model, max_waiting=1)
        await scheduler.open()
        model.network.may_go_on.clear()
        submit(scheduler, lambda model: model.count(3))

    asyncio.run(leave_without_closing())
    model.network.may_go_on.set()
    for thread in threading.enumerate():
        if thread.name == "model":
            thread.join(10)
    assert not any(thread.name == "model" for thread in threading.enumerate())


async def test_a_full_queue_refuses_and_who_waits_too_long_is_told() -> None:
    model = Model()
    async with running(model, max_waiting=3, max_running_per_person=1) as scheduler:
        await held(scheduler, model)
        works = [submit(scheduler, lambda model: model.count(1), Asker(person="a")) for _ in range(3)]
        with pytest.raises(Unavailable, match="3 requests are already waiting"):
            submit(scheduler, lambda model: model.count(1))
        assert [scheduler.num_ahead(work) for work in works] == [1, 2, 3]
        with pytest.raises(Unavailable, match="without a turn"):
            await scheduler.result(works[1], timeout_s=0.02)
        assert [scheduler.num_ahead(work) for work in works] == [1, 0, 2]
        assert scheduler.num_waiting == 2
        assert scheduler.withdraw(works[2])
        model.network.may_go_on.set()
        assert await scheduler.result(works[0], timeout_s=5) == 1


async def test_one_conversation_with_fifty_requests_does_not_starve_another() -> None:
    model = Model()
    async with running(model) as scheduler:
        await held(scheduler, model)
        many = [
            submit(scheduler, lambda model, at=at: model.count(20, f"a{at}", num_rows=8), Asker("a"))  # type: ignore[misc]
            for at in range(50)
        ]
        other = [
            submit(scheduler, lambda model, at=at: model.count(20, f"b{at}", num_rows=8), Asker("b"))  # type: ignore[misc]
            for at in range(3)
        ]
        assert [scheduler.num_ahead(work) for work in other] == [2, 4, 6]
        model.network.may_go_on.set()
        await asyncio.gather(*(scheduler.result(work, timeout_s=20) for work in [*many, *other]))
    assert model.began[1:7] == ["a0", "b0", "a1", "b1", "a2", "b2"]


async def test_of_one_person_one_request_runs_at_a_time_and_others_pass_by() -> None:
    model = Model()
    num_at_once: list[int] = []
    async with running(model, max_running_per_person=1) as scheduler:
        await held(scheduler, model)

        def plan(name: str) -> Callable[[Model], Job[int]]:
            def plan_it(model: Model) -> Job[int]:
                num_at_once.append(
                    sum(one[0] == name[0] for one in model.began) - sum(one[0] == name[0] for one in model.ended)
                )
                return model.count(10, name)

            return plan_it

        works = [submit(scheduler, plan(f"x{at}"), Asker(f"c{at}", "x")) for at in range(5)]
        works += [submit(scheduler, plan(f"y{at}"), Asker("c", "y")) for at in range(2)]
        model.network.may_go_on.set()
        await asyncio.gather(*(scheduler.result(work, timeout_s=5) for work in works))
        assert not scheduler._num_running_of
    assert num_at_once == [0] * 7
    assert model.began[1:3] == ["x0", "y0"]


async def test_chat_starts_before_scoring_that_came_first() -> None:
    model = Model()
    async with running(model) as scheduler:
        await held(scheduler, model)
        scoring = submit(scheduler, lambda model: model.count(3, "score"), priority="scoring")
        chats = [submit(scheduler, lambda model: model.count(3, "chat")) for _ in range(2)]
        assert [scheduler.num_ahead(work) for work in (*chats, scoring)] == [1, 2, 3]
        model.network.may_go_on.set()
        await asyncio.gather(*(scheduler.result(work, timeout_s=5) for work in (scoring, *chats)))
    assert model.began == ["first", "chat", "chat", "score"]


async def test_scoring_gets_on_while_chats_never_end() -> None:
    async with running(Model()) as scheduler:
        chats = [submit(scheduler, lambda model: model.count_until_cancelled()) for _ in range(3)]
        await until(lambda: scheduler.num_running == 3)
        scoring = submit(scheduler, lambda model: model.count(20), priority="scoring")
        assert await scheduler.result(scoring, timeout_s=10) == 20
        assert not any(chat.future.done() for chat in chats)


async def test_a_chat_that_waits_for_room_is_not_passed_by_scoring() -> None:
    model = Model(num_blocks=10)
    async with running(model) as scheduler:
        first = submit(scheduler, lambda model: model.count(30, "small", num_blocks=4))
        await until(lambda: scheduler.num_running == 1)
        model.network.may_go_on.clear()
        large = submit(scheduler, lambda model: model.count(2, "large", num_blocks=8))
        scores = [
            submit(scheduler, lambda model: model.count(3, "score", num_blocks=4), priority="scoring") for _ in range(6)
        ]
        model.network.may_go_on.set()
        await asyncio.gather(*(scheduler.result(work, timeout_s=5) for work in (first, large, *scores)))
        assert not scheduler._planned
    assert model.began == ["small", "large", *["score"] * 6]


@pytest.mark.parametrize("priority", ["chat", "scoring"])
async def test_what_can_never_fit_is_refused_at_once_and_holds_nobody_up(priority: Priority) -> None:
    model = Model(num_blocks=10)
    async with running(model) as scheduler:
        endless = submit(scheduler, lambda model: model.count_until_cancelled())
        await until(lambda: scheduler.num_running == 1)
        too_large = submit(scheduler, lambda model: model.count(1, num_blocks=11), priority=priority)
        behind = [submit(scheduler, lambda model: model.count(2), priority=kind) for kind in PRIORITIES]
        with pytest.raises(GenerationError, match="Shorten the text"):
            await scheduler.result(too_large, timeout_s=5)
        assert [await scheduler.result(work, timeout_s=5) for work in behind] == [2, 2]
        assert not endless.future.done()
        assert not scheduler._planned


async def test_what_needs_more_room_than_there_is_is_refused_and_nothing_is_kept_of_who_gave_up() -> None:
    model = Model(num_blocks=10)
    async with running(model, max_running_per_person=1) as scheduler:
        with pytest.raises(GenerationError, match="KV_CACHE_MB"):
            await scheduler.result(submit(scheduler, lambda model: model.count(1, num_blocks=11)), timeout_s=5)
        endless = submit(scheduler, lambda model: model.count_until_cancelled())
        await until(lambda: scheduler.num_running == 1)
        for person in range(5):
            waiting = submit(scheduler, lambda model: model.count(1, num_blocks=10), Asker(person=person))
            with pytest.raises(Unavailable, match="without a turn"):
                await scheduler.result(waiting, timeout_s=0.02)
        assert len(scheduler._planned) <= 1
        scheduler.withdraw(endless)
        await scheduler.result(endless, timeout_s=5)
        assert not scheduler._num_running_of
        assert await scheduler.result(submit(scheduler, lambda model: model.count(1, num_blocks=10)), timeout_s=5) == 1


@pytest.fixture
async def engine(tiny_llama: Path) -> AsyncIterator[LocalEngine]:
    async with LocalEngine.open(
        tiny_llama, name="tiny", device="cpu", precision="float32", num_threads=1, hang_s=1.0
    ) as opened:
        yield opened


async def consume(generation: LocalGeneration) -> LocalGeneration:
    async with generation:
        async for _ in generation:
            pass
    return generation


async def test_an_answer_whose_time_is_up_ends_with_what_it_has(engine: LocalEngine) -> None:
    def look(shown: str) -> None:
        time.sleep(0.01)

    generation = await consume(engine.generate(PROMPT, LONG, end_at=look, timeout_s=0.4))
    (completion,) = generation.completions
    assert completion.finish_reason == "length"
    assert 0 < len(completion.token_ids) < 80


async def test_a_thread_that_died_is_started_anew_and_says_so(
    engine: LocalEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def die(shown: str) -> None:
        raise SystemExit

    dying = asyncio.create_task(consume(engine.generate(PROMPT, LONG, end_at=die)))
    others = [asyncio.create_task(consume(engine.generate(PROMPT, LONG))) for _ in range(2)]
    for task in (dying, *others):
        with pytest.raises(Unavailable, match="being restarted"):
            await task
    await until(lambda: engine.num_restarts == 1 and "restarted" in caplog.text)
    assert (await consume(engine.generate(PROMPT, LONG))).completions
    assert "The model thread ended: SystemExit" in caplog.text


async def test_a_thread_that_hangs_is_left_and_another_one_serves(
    engine: LocalEngine, caplog: pytest.LogCaptureFixture
) -> None:
    may_wake = threading.Event()

    def hang(shown: str) -> None:
        may_wake.wait(20)

    hanging = asyncio.create_task(consume(engine.generate(PROMPT, LONG, end_at=hang)))
    scoring = asyncio.create_task(engine.score("The cat sat on the mat."))
    for task in (hanging, scoring):
        with pytest.raises(Unavailable, match="being restarted"):
            await asyncio.wait_for(task, 10)
    await until(lambda: "was restarted" in caplog.text)
    assert (await consume(engine.generate(PROMPT, LONG))).completions
    may_wake.set()
    await until(lambda: sum(thread.name == "model" for thread in threading.enumerate()) == 1)
    assert (await consume(engine.generate(PROMPT, LONG))).completions
    assert engine.num_restarts == 1


async def test_a_restart_that_fails_is_tried_again(
    engine: LocalEngine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, num_starts = engine._start, 0

    @contextmanager
    def open_nothing() -> Iterator[Any]:
        raise ModelError("The disk is away.")
        yield

    def start_or_not() -> Any:
        nonlocal num_starts
        num_starts += 1
        return Scheduler(open_nothing, max_waiting=4) if num_starts == 1 else start()

    def die(shown: str) -> None:
        raise SystemExit

    monkeypatch.setattr(engine, "_start", start_or_not)
    with pytest.raises(Unavailable):
        await consume(engine.generate(PROMPT, LONG, end_at=die))
    await until(lambda: engine.num_restarts == 2 and "was restarted" in caplog.text)
    assert "The disk is away." in caplog.text
    assert (await consume(engine.generate(PROMPT, LONG))).completions


async def test_closing_does_not_wait_for_a_thread_that_hangs(tiny_llama: Path) -> None:
    may_wake = threading.Event()

    def hang(shown: str) -> None:
        may_wake.wait(20)

    started_at = time.perf_counter()
    async with LocalEngine.open(tiny_llama, name="tiny", device="cpu", precision="float32", hang_s=1.0) as engine:
        hanging = asyncio.create_task(consume(engine.generate(PROMPT, LONG, end_at=hang)))
        await until(lambda: engine.stats().num_running == 1)
    assert time.perf_counter() - started_at < 15
    with pytest.raises(Unavailable):
        await hanging
    may_wake.set()
    await until(lambda: not any(thread.name == "model" for thread in threading.enumerate()))


def test_a_chat_waits_for_at_most_one_chunk_of_a_long_score(
    roomy_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SCORING_S", "BUSY_SCORING_S"):  # one part of a pass at a stretch
        monkeypatch.setattr(f"bot.engine.step_loop.{name}", 0.0)
    model, network = watch(load_pair(roomy_model("gpt2")).ours)
    shown: list[int] = []

    def chat() -> Job[Any]:
        network.passes.clear()
        plan = plan_generation(model, PROMPT, SamplingParams(temperature=0, max_new_tokens=5), heal=False)
        return plan_job(model, plan, SamplingParams(), lambda delta: shown.append(len(network.passes)))

    text = "The cat sat on the mat and looked at the other cats. " * 800
    scoring = Arrival(lambda: plan_score_text(model, text, num_expected=0), 0, 40, "scoring")
    drive([scoring, Arrival(chat, 10)])
    num_prompt = len(model.tokenizer.encode_prompt(PROMPT).ids)
    before_first_token = [one.num_tokens for one in network.passes[: shown[0]]]
    assert before_first_token[0] == num_prompt
    assert len(before_first_token) <= 2  # its prompt's pass, and one of the score that was due
    assert all(num <= SCORING_CHUNK_TOKENS for num in before_first_token)
    assert len(network.passes) > 10  # the score goes on
