"""The model thread alone, with steps that compute nothing: order, failures, cancelling, a loop that goes away."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from bot.engine.model_thread import ModelThread, Steps, Work, WorkCancelled
from bot.errors import GenerationError, ModelError, RequestError, Unavailable


class Counter:
    """A stand-in for a model: counts, and lets a test hold its steps."""

    def __init__(self) -> None:
        self.num_steps = 0
        self.is_freed = False
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.used_in: set[str] = set()

    def count(self, num: int) -> Steps[int]:
        for _ in range(num):
            self.may_go_on.wait(10)
            self.num_steps += 1
            self.used_in.add(threading.current_thread().name)
            yield
        return self.num_steps

    def count_until_cancelled(self) -> Steps[str]:
        try:
            yield from self.count(1_000_000)
        except WorkCancelled:
            return "cancelled"
        return "ended"

    def fail(self, error: BaseException) -> Steps[int]:
        yield
        raise error


@asynccontextmanager
async def running_thread(counter: Counter, *, max_waiting: int = 8) -> AsyncIterator[ModelThread[Counter]]:
    @contextmanager
    def open_counter() -> Iterator[Counter]:
        try:
            yield counter
        finally:
            counter.is_freed = True

    thread = ModelThread(open_counter, max_waiting=max_waiting)
    await thread.open()
    try:
        yield thread
    finally:
        counter.may_go_on.set()
        await thread.close()


def submit(thread: ModelThread[Counter], work: Work[Counter, int]) -> Work[Counter, int]:
    thread.submit(work)
    return work


async def test_work_runs_in_order_and_only_in_the_model_thread() -> None:
    counter = Counter()
    async with running_thread(counter) as thread:
        works = [submit(thread, Work(lambda model: model.count(3))) for _ in range(3)]
        assert [await thread.result(work, timeout_s=5) for work in works] == [3, 6, 9]
    assert counter.used_in == {"model"}
    assert counter.is_freed
    assert not any(thread.name == "model" for thread in threading.enumerate())


async def test_a_failure_ends_only_its_own_request(caplog: pytest.LogCaptureFixture) -> None:
    async with running_thread(Counter()) as thread:
        broken = submit(thread, Work(lambda model: model.fail(ZeroDivisionError("secret text"))))
        refused = submit(thread, Work(lambda model: model.fail(RequestError("Too long."))))
        fine = submit(thread, Work(lambda model: model.count(2)))
        with pytest.raises(GenerationError, match="others are not affected") as caught:
            await thread.result(broken, timeout_s=5)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        with pytest.raises(RequestError, match=r"Too long\."):
            await thread.result(refused, timeout_s=5)
        assert await thread.result(fine, timeout_s=5) == 2
    assert "ZeroDivisionError" in caplog.text


async def test_a_thread_that_dies_fails_what_waits_and_what_comes(caplog: pytest.LogCaptureFixture) -> None:
    async with running_thread(Counter()) as thread:
        dying = submit(thread, Work(lambda model: model.fail(SystemExit())))
        waiting = submit(thread, Work(lambda model: model.count(1)))
        for work in (dying, waiting):
            with pytest.raises(Unavailable, match="stopped working"):
                await thread.result(work, timeout_s=5)
        with pytest.raises(Unavailable):
            submit(thread, Work(lambda model: model.count(1)))


async def test_cancelled_work_stops_at_its_next_step() -> None:
    counter = Counter()
    counter.may_go_on.clear()
    async with running_thread(counter) as thread:
        task = asyncio.create_task(thread.result(submit(thread, Work(lambda model: model.count(1000))), timeout_s=5))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        counter.may_go_on.set()
        assert await thread.result(submit(thread, Work(lambda model: model.count(0))), timeout_s=5) <= 1


async def test_steps_may_hand_back_what_they_have_when_cancelled() -> None:
    async with running_thread(Counter()) as thread:
        work: Work[Counter, str] = Work(lambda model: model.count_until_cancelled())
        thread.submit(work)
        while thread.num_running == 0:  # noqa: ASYNC110  nothing tells the loop that a work begins
            await asyncio.sleep(0.001)
        thread.withdraw(work)
        assert await thread.result(work, timeout_s=5) == "cancelled"


async def test_quick_work_comes_between_the_steps_of_other_work() -> None:
    async with running_thread(Counter()) as thread:
        long: Work[Counter, str] = Work(lambda model: model.count_until_cancelled())
        thread.submit(long)
        quick: Work[Counter, int] = Work(lambda model: model.count(1), is_quick=True)
        thread.submit(quick)
        assert await thread.result(quick, timeout_s=5) > 0
        assert not long.future.done()


async def test_closing_refuses_what_waits_and_is_felt_by_what_runs() -> None:
    async with running_thread(Counter()) as thread:
        running: Work[Counter, str] = Work(lambda model: model.count_until_cancelled())
        thread.submit(running)
        waiting = submit(thread, Work(lambda model: model.count(1)))
        while thread.num_running == 0:  # noqa: ASYNC110  nothing tells the loop that a work begins
            await asyncio.sleep(0.001)
    assert running.future.result() == "cancelled"
    with pytest.raises(Unavailable, match="shutting down"):
        waiting.future.result()


async def test_an_error_while_opening_is_raised_and_the_thread_is_gone() -> None:
    @contextmanager
    def open_nothing() -> Iterator[Counter]:
        raise ModelError("It is not there.")
        yield Counter()

    thread = ModelThread(open_nothing, max_waiting=1)
    with pytest.raises(ModelError, match=r"It is not there\."):
        await thread.open()
    await thread.close()


def test_a_loop_that_was_closed_under_it_leaves_no_noise() -> None:
    counter = Counter()

    async def leave_without_closing() -> None:
        @contextmanager
        def open_counter() -> Iterator[Counter]:
            yield counter

        thread = ModelThread(open_counter, max_waiting=1)
        await thread.open()
        counter.may_go_on.clear()
        submit(thread, Work(lambda model: model.count(3)))

    asyncio.run(leave_without_closing())
    counter.may_go_on.set()
    for thread in threading.enumerate():
        if thread.name == "model":
            thread.join(10)
    assert not any(thread.name == "model" for thread in threading.enumerate())
