"""The fair queue: conversations take turns, chat comes before scoring, and the place in the queue is right."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bot.core.engine import Asker, Priority
from bot.core.fair_queue import PRIORITIES, FairQueue
from tests.engine.running import PlainWork


class Waiting(PlainWork):
    """A request of somebody in a conversation."""

    def __init__(self, name: str, conversation: object = None, person: object = None, priority: Priority = "chat"):
        super().__init__(priority)
        self.name = name
        self.asker = Asker(conversation, person)

    def __repr__(self) -> str:
        return self.name


def anybody(asker: Asker) -> bool:
    return True


def pop_all(queue: FairQueue[Waiting]) -> list[Waiting]:
    """Take all requests out, as if each was started at once and there was always room."""
    order = []
    for priority in PRIORITIES:
        while (work := queue.pop(priority, anybody)) is not None:
            order.append(work)
    return order


def filled(*works: Waiting) -> FairQueue[Waiting]:
    queue: FairQueue[Waiting] = FairQueue()
    for work in works:
        queue.put(work)
    return queue


def names(works: Sequence[Waiting]) -> str:
    return " ".join(work.name for work in works)


def test_conversations_take_turns_and_keep_their_own_order() -> None:
    many = [Waiting(f"a{at}", "a") for at in range(4)]
    queue = filled(*many, Waiting("b0", "b"), Waiting("c0", "c"), Waiting("b1", "b"))
    assert names(pop_all(queue)) == "a0 b0 c0 a1 b1 a2 a3"


def test_requests_of_nobody_in_particular_come_in_order() -> None:
    assert names(pop_all(filled(*(Waiting(str(at)) for at in range(5))))) == "0 1 2 3 4"


def test_chat_comes_before_scoring() -> None:
    queue = filled(Waiting("score", "a", priority="scoring"), Waiting("chat", "b"))
    score, chat = list(queue)[::-1]
    assert (queue.num_ahead(score), queue.num_ahead(chat)) == (1, 0)
    assert names(pop_all(queue)) == "chat score"


def test_who_may_not_start_now_is_passed_over_and_keeps_the_place() -> None:
    queue = filled(Waiting("x0", "a", "x"), Waiting("y0", "a", "y"), Waiting("x1", "b", "x"))
    first = queue.pop("chat", lambda asker: asker.person != "x")
    assert first is not None
    assert first.name == "y0"
    assert queue.pop("chat", lambda asker: asker.person != "x") is None
    assert names(pop_all(queue)) == "x1 x0"  # conversation a has had its turn


def test_what_is_put_back_is_the_very_next() -> None:
    queue = filled(*(Waiting(f"{name}{at}", name) for at in range(2) for name in "abc"))
    first = queue.pop("chat", anybody)
    assert first is not None
    queue.put_back(first)
    assert queue.num_ahead(first) == 0
    assert names(pop_all(queue)) == "a0 b0 c0 a1 b1 c1"


def test_what_is_not_there_has_no_place() -> None:
    queue = filled(Waiting("a", "a"))
    gone = Waiting("b", "a")
    assert queue.num_ahead(gone) is None
    assert not queue.remove(gone)
    assert names(queue.clear()) == "a"
    assert len(queue) == 0


works = st.builds(
    Waiting,
    st.just("work"),
    st.none() | st.sampled_from("abcd"),
    st.none(),
    st.sampled_from(PRIORITIES),
)


@given(
    works=st.lists(works, max_size=25), taken=st.integers(0, 10), removed=st.sets(st.integers(0, 24)), data=st.data()
)
def test_the_place_in_the_queue_comes_true(
    works: list[Waiting], taken: int, removed: set[int], data: st.DataObject
) -> None:
    queue = filled(*works)
    for _ in range(taken):
        work = queue.pop(data.draw(st.sampled_from(PRIORITIES)), anybody)
        if work is not None and data.draw(st.booleans()):
            queue.put_back(work)
    for at in removed & set(range(len(works))):
        queue.remove(works[at])
    places = {work: queue.num_ahead(work) for work in queue}
    assert len(places) == len(queue)
    order = pop_all(queue)
    assert [places[work] for work in order] == list(range(len(order)))
    assert len(queue) == 0
