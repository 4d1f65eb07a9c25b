"""Turns of several models at the processor."""

import threading
import time

from bot.engine.pass_turns import PassTurns


def test_turns_are_taken_in_the_order_in_which_they_were_asked_for() -> None:
    turns, taken = PassTurns(), []
    turns.enter("first")
    threads = []
    for number in range(3):

        def take(number: int = number) -> None:
            turns.enter(number)
            taken.append(number)
            turns.leave(number)

        threads.append(threading.Thread(target=take))
        threads[-1].start()
        while len(turns._waiting) <= number:
            time.sleep(0.001)
    assert taken == []
    turns.leave("first")
    for thread in threads:
        thread.join()
    assert taken == [0, 1, 2]


def test_a_turn_that_was_given_up_is_not_ended_by_the_one_that_comes_back_late() -> None:
    turns = PassTurns()
    turns.enter("hung")
    turns.leave("hung")  # for it, by others
    turns.enter("next")
    turns.leave("hung")
    assert turns._holder == "next"
