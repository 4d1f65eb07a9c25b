"""A batch: one continuation for each of several prompts, as one request that reads their common prefix once."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, islice, takewhile
from typing import Final

from bot.core.results import Delta
from bot.core.sampling_params import SamplingParams
from bot.engine.loaded_model import LoadedModel
from bot.engine.networks.network import BLOCK_TOKENS
from bot.engine.paged_cache import count_blocks, count_blocks_of_branches
from bot.engine.requests.generation import Clock, GenerationResult, Plan, generate
from bot.engine.requests.work import Feed, Job, Steps, WorkCancelled

_MAX_ROWS: Final = 16  # of one batch in a pass, so that other requests fit beside it


def plan_batch(
    model: LoadedModel, plans: Sequence[Plan], params: Sequence[SamplingParams], emit: Callable[[Delta], None]
) -> Job[GenerationResult]:
    """Return the job that continues the prompt of plan k with the options `params[k]`, whose n is 1.

    Each continuation equals that of a separate generation and needs no more of the cache: if not all fit at once, the
    later ones wait until earlier ones end.
    """
    num_shared = _count_shared(plans)
    room = model.writing.cache.num_blocks - count_blocks(num_shared)
    # The most that any so many of the members need together: the widest ones.
    rows_of = list(accumulate(sorted((one.num_beams for one in params), reverse=True)))
    blocks_of = list(accumulate(sorted(_count_own_blocks(plans, params, num_shared), reverse=True)))
    fitting = (rows <= _MAX_ROWS and blocks <= room for rows, blocks in zip(rows_of, blocks_of, strict=True))
    num_at_once = max(1, sum(fitting))
    return Job(
        _write_batch(model, plans, params, num_shared, num_at_once, emit),
        model.writing,
        rows_of[num_at_once - 1],
        count_blocks(num_shared) + blocks_of[num_at_once - 1],
    )


def _count_own_blocks(plans: Sequence[Plan], params: Sequence[SamplingParams], num_shared: int) -> list[int]:
    """Return how many blocks of the cache each member needs besides the common prefix."""
    return [
        count_blocks_of_branches(len(plan.ids) - num_shared, one.num_beams, plan.max_num_own)
        for plan, one in zip(plans, params, strict=True)
    ]


def _count_shared(plans: Sequence[Plan]) -> int:
    """Return the length of the prompts' common prefix, in tokens, cut to full blocks; each prompt is longer."""
    if len(plans) == 1:
        return 0
    columns = zip(*(plan.ids for plan in plans), strict=False)
    num_equal = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    return max(0, num_equal - 1) // BLOCK_TOKENS * BLOCK_TOKENS


class _Member:
    """One generation of a batch: the feeds it asks for next, and its result once it has ended."""

    def __init__(self, steps: Steps[GenerationResult]) -> None:
        self.steps = steps
        self.feeds: list[Feed] = []
        self.has_started = False
        self.result: GenerationResult | None = None

    def start(self) -> None:
        """Run it to its first feeds."""
        self.has_started = True
        self.resume(partial(next, self.steps))

    def resume(self, go_on: Callable[[], list[Feed]]) -> None:
        """Run it to its next feeds, or to its end."""
        try:
            self.feeds = go_on()
        except StopIteration as stop:
            self.feeds = []
            self.result = stop.value

    def cancel(self, error: WorkCancelled) -> None:
        """End it with its text so far; one that has not started is "cancelled" whatever ended the batch."""
        if not self.has_started:
            self.start()  # only a started generation can return an empty continuation
            error = WorkCancelled()
        if self.result is None:
            self.resume(partial(self.steps.throw, error))


def _write_batch(
    model: LoadedModel,
    plans: Sequence[Plan],
    params: Sequence[SamplingParams],
    num_shared: int,
    num_at_once: int,
    emit: Callable[[Delta], None],
) -> Steps[GenerationResult]:
    clock, shared_ms = Clock(), 0.0
    with model.writing.cache.rows() as rows:
        prefix = rows.open(plans[0].ids[: num_shared + 1])
        prefix.ids.pop()  # a row is opened with at least one unread token; each member reads that one itself
        members = [
            _Member(generate(model, plan, params[k], partial(_emit_as, k, emit), after=prefix))
            for k, plan in enumerate(plans)
        ]
        try:
            if prefix.num_unread:
                yield [Feed(prefix)]
            shared_ms = clock.read_ms()[0]
            yield from _run_members(members, num_at_once, clock)
        except WorkCancelled as e:
            for member in members:
                member.cancel(e)
        finally:
            for member in members:
                member.steps.close()
    results = [member.result for member in members if member.result is not None]
    completions = tuple(replace(one.completions[0], index=k) for k, one in enumerate(results))
    parts = tuple(replace(one, prefill_ms=shared_ms + one.prefill_ms) for one in results)
    return GenerationResult(completions, *clock.read_ms(), tuple(len(plan.ids) for plan in plans), parts)


def _run_members(members: Sequence[_Member], num_at_once: int, clock: Clock) -> Steps[None]:
    """Run the members to their ends, `num_at_once` of them in the same passes."""
    waiting, running = deque(members), list[_Member]()
    while waiting or running:
        while waiting and len(running) < num_at_once:
            running.append(waiting.popleft())
            running[-1].start()
        answers = iter((yield [feed for member in running for feed in member.feeds]))
        clock.mark_prefilled()
        for member in running:
            member.resume(partial(member.steps.send, list(islice(answers, len(member.feeds)))))
        running = [member for member in running if member.result is None]


def _emit_as(index: int, emit: Callable[[Delta], None], delta: Delta) -> None:
    completion = delta.completion and replace(delta.completion, index=index)
    emit(Delta(index, delta.text, completion))
