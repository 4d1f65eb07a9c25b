"""The state of a completion's card: rounds, options made of several branches, cards from before there were trees."""

import json
from dataclasses import replace

from bot.core.results import Completion
from bot.core.sampling_params import SamplingParams
from bot.core.text_tree import BEGINNING
from bot.services.completions import CompletionState, View, drawn_branch

STATE = CompletionState("m1", True, SamplingParams(n=2, seed=3), request_id="m1")


def drawn(state: CompletionState, *texts: str) -> CompletionState:
    """Return the state after a round that drew `texts`."""
    at = state.tree.here.at
    kept = 0 if at == BEGINNING else len(state.tree.branch(at).text)
    completions = [Completion(i, text, (1,), -1.0, "stop") for i, text in enumerate(texts)]
    return state.offer([drawn_branch(one, at, kept, seed=state.round_params.seed) for one in completions])


def test_an_option_that_was_lengthened_is_one_text_with_the_seed_of_its_beginning() -> None:
    state = drawn(STATE, " a", " b")
    first, second = (state.tree.branch(branch_id) for branch_id in state.tree.here.options)
    longer = drawn_branch(Completion(0, " c", (1,), -2.0, "length"), first.id, 2, seed=9)
    state = state.lengthen([longer, None])
    assert [option.to_dict() for option in state.options] == [
        {"text": " a c", "logprob": -3.0, "finish_reason": "length", "seed": 3},
        {"text": " b", "logprob": -1.0, "finish_reason": "stop", "seed": 3},
    ]
    assert state.tree.here.options[1] == second.id
    taken = state.take(0)
    assert (taken.taken, taken.options) == (" a c", ())
    assert [option.text for option in taken.undo().options] == [" a c", " b"]


def test_a_state_is_read_as_it_was_written() -> None:
    state = drawn(drawn(STATE, " a", " b").take(0), " c", " d")
    state = replace(state, view=View("word", 1, 3, 2, ((" x", 0.25),)), num_named=2)
    assert CompletionState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_undo_in_the_list_of_branches_stays_there() -> None:
    state = drawn(drawn(STATE, " a", " b").take(0), " c", " d")
    for kind, kept in (("branches", "branches"), ("branch", "branches"), ("words", "options"), ("options", "options")):
        assert replace(state, view=View(kind)).undo().view.kind == kept  # type: ignore[arg-type]


def test_the_card_of_an_older_version_goes_on_with_its_options_and_its_undo() -> None:
    def option(text: str) -> dict[str, object]:
        return {"text": text, "logprob": -1.5, "finish_reason": "stop", "seed": 3}

    stored = {
        "message_id": "m1",
        "is_command_line": True,
        "params": SamplingParams(n=2, seed=3).to_dict(),
        "taken": " a",
        "options": [option(" c."), option(" d.")],
        "past": [["", [option(" a"), option(" b")]], ["", [option(" a, longer"), option(" b")]], [" a", []]],
        "num_rounds": 3,
        "ends_sentence": True,
        "request_id": "m2",
    }
    state = CompletionState.from_dict(stored)
    assert state.taken == " a"
    assert [one.to_dict() for one in state.options] == stored["options"]
    assert (state.num_rounds, state.request_id, state.view.kind) == (3, "m2", "options")
    texts = []
    while state.tree.past:
        state = state.undo()
        texts.append((state.taken, [one.text for one in state.options]))
    assert texts == [(" a", []), ("", [" a, longer", " b"]), ("", [" a", " b"])]
    assert [branch.text for branch, _ in state.tree.listed()] == [" a", " c.", " d.", " b", " a, longer"]
