"""The commands that continue a text, and the actions on their card: take, draw, lengthen, walk the tree."""

import re
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final

from bot.commands.framework.command import MODEL, SAMPLING_OPTIONS, Cards, Command, Request
from bot.commands.tree import walking
from bot.commands.tree.drawing import Step
from bot.commands.tree.lists import PICK, named_by_number
from bot.commands.tree.walking import BRANCHES, WORDS, open_list, walk
from bot.core.cards import Card
from bot.core.mentions import mention, mention_option
from bot.core.sampling_params import COMPLETION_DEFAULTS, SamplingParams, apply_options
from bot.errors import RequestError
from bot.services.completions import MAX_OPTIONS, CompletionState, ViewKind, is_left, view_kind_of
from bot.services.open_cards import COMPLETE, STRATEGIES
from bot.store.cards import OpenCard

MOVED_ON: Final = "That card is out of date; use the newest one."
TOO_MANY: Final = f"There are already {MAX_OPTIONS} continuations. Choose one, or use longer, again or undo."
ONE_EACH: Final = "Each strategy writes one text. Use again for other texts."
TEXT_GONE: Final = f"The text of this card was deleted. Start again with {mention('complete TEXT')}."

# What is the same for all strategies.
_SHARED: Final = ("max_new_tokens", "seed", "stop")
_OWN: Final = (
    f"Each strategy sets its own sampling options, so {mention('strategies TEXT')} takes only"
    f" {', '.join(map(mention_option, _SHARED))}. Use {mention('complete TEXT')} to choose the others."
)

# The actions in each view of the card. The value of a pick says what was picked; what is typed for it is a number.
_ACTIONS: Final[Mapping[ViewKind, re.Pattern[str]]] = {
    "options": re.compile(r"[1-9]|more|longer|again|undo|words|branches"),
    "words": re.compile(r"pick|more|back|undo|words|branches"),
    "word": re.compile(r"pick|back|undo|words|branches"),
    "branches": re.compile(r"pick|more|back|undo|txt|json|words|branches"),
    "branch": re.compile(r"go|name|prune|back|undo|words|branches"),
}
_NOT_TYPED: Final = (PICK, "name")  # alone: a number stands for a pick, and a name comes with its text
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,2}")
_NAME: Final = re.compile(r"name\s+(\S.*)", re.IGNORECASE)


def is_action(text: str) -> bool:
    """Say whether a plain message may be an action on a completion card, whatever that shows."""
    typed = text.strip().lower()
    is_known = typed not in _NOT_TYPED and any(one.fullmatch(typed) for one in _ACTIONS.values())
    return is_known or _NUMBER.fullmatch(typed) is not None


def is_name(text: str) -> bool:
    """Say whether a plain message may name the branch that a completion card shows."""
    return _NAME.fullmatch(text.strip()) is not None


def typed_action(card: OpenCard, text: str, *, allows_name: bool) -> tuple[str, str] | None:
    """Return the action on a completion card that typed words stand for, and its value; None if they are no action."""
    view = view_kind_of(card.state)
    typed = text.strip()
    action = typed.lower()
    if is_left(card.state):
        return (BRANCHES, "") if action == BRANCHES else None
    if view == "options":
        return (action, "") if _ACTIONS[view].fullmatch(action) else None
    if _NUMBER.fullmatch(typed) and _ACTIONS[view].fullmatch(PICK):
        return PICK, named_by_number(int(typed))
    if view in ("branches", "branch") and allows_name and (named := _NAME.fullmatch(typed)):
        return "name", named[1]
    # In a list a word of another view is a slip: as a word to the model it would close the card.
    return (action, "") if is_action(typed) else None


def answer_complete(request: Request) -> Cards:
    """Answer with several continuations of the text to choose from."""
    return _begin(request, apply_options(COMPLETION_DEFAULTS, request.options))


def answer_strategies(request: Request) -> Cards:
    """Answer with a continuation of the text by each sampling strategy, to compare and to choose from."""
    return _begin(request, apply_options(SamplingParams(), request.options), by_strategy=True)


async def _begin(request: Request, params: SamplingParams, *, by_strategy: bool = False) -> Cards:
    """Answer with the first continuations of the request's text."""
    source, info = request.source, request.services.engine.info
    state = CompletionState(
        source.message_id,
        source.is_command_line,
        params.with_seed(is_kept=info.keeps_seed),
        ends_sentence="max_new_tokens" not in request.options,
        request_id=request.message.id,
        by_strategy=by_strategy,
        model=info.name,
    )
    async with aclosing(Step(request, request.text, None).draw(state)) as snapshots:
        async for snapshot in snapshots:
            yield snapshot


async def answer_action(request: Request, card: OpenCard, state: CompletionState, action: str, value: str) -> Cards:
    """Carry out an action on the open card; `request.text` is the text to continue."""
    step = Step(request, request.text, card)
    if _ACTIONS[state.view.kind].fullmatch(action) is None:
        raise RequestError(_why_not(state.view.kind, action))
    if action == "undo":
        if not state.tree.past:
            raise RequestError("There is nothing to undo.")
        yield await step.show(state.undo())
    elif action in (WORDS, BRANCHES):
        yield await open_list(step, state, action)
    elif state.view.kind != "options":
        async with aclosing(walk(step, state, action, value)) as snapshots:
            async for snapshot in snapshots:
                yield snapshot
    else:
        async with aclosing(_drawn(step, state, action)) as snapshots:
            async for snapshot in snapshots:
                yield snapshot


def _why_not(view: ViewKind, action: str) -> str:
    """Return why the card does not act on a word or button in this view."""
    if not any(one.fullmatch(action) for one in _ACTIONS.values()):
        return MOVED_ON
    is_for_branch = view == "branches" and _ACTIONS["branch"].fullmatch(action)
    return "Choose a branch first." if is_for_branch else "That is not possible here. Use back first."


def _drawn(step: Step, state: CompletionState, action: str) -> Cards:
    """Return the snapshots of the next round. Raises RequestError if there is none."""
    num_options = len(state.tree.here.options)
    if action.isdecimal():
        number = int(action[:9])
        if not num_options:
            raise RequestError("There is nothing to choose from. Use again.")
        if not 1 <= number <= num_options:
            raise RequestError(f"Choose a number from 1 to {num_options}.")
        return step.draw(state.take(number - 1))
    if action == "longer":
        if not num_options:
            raise RequestError("There are no continuations to make longer. Use again.")
        return step.lengthen(state)
    if not state.params.is_sampled:
        raise RequestError("These options always give the same continuation. Ask again with a temperature above 0.")
    if action == "more" and state.by_strategy:
        raise RequestError(ONE_EACH)
    if action == "more" and num_options >= MAX_OPTIONS:
        raise RequestError(TOO_MANY)
    return step.draw(state, keeps=action == "more")


def show_again(request: Request, card: OpenCard, state: CompletionState, notice: str) -> Card:
    """Return the unchanged open card with a notice."""
    return Step(request, request.text, card).card_of(state, card, notice=notice)


async def name_branch(request: Request, card: OpenCard, state: CompletionState, branch_id: int, typed: str) -> Card:
    """Name a branch of the open card, which stays as it is shown; return the answer to the person who did."""
    return await walking.name_branch(Step(request, request.text, card), state, branch_id, typed)


COMMANDS: Final = (
    Command(
        name=COMPLETE,
        summary="Continue a text: several versions to choose from",
        answer=answer_complete,
        text="required",
        continues_text=True,
        options=(*SAMPLING_OPTIONS, MODEL),
        menu="Complete",
        details="A number goes on with that continuation; more adds continuations, longer extends them, again replaces"
        " them and undo goes one step back. Words lists the words that the model was least sure of: open one to see"
        " what else was expected there, and go on with another word in a new branch. Branches shows the whole tree: go"
        " back to any branch, name it, prune it, or export all as .txt or .json.",
        words=("1", "2", "more", "longer", "again", "undo", "words", "branches"),
        examples=("complete The best thing about rain is", "complete --n 2 --seed 7 Once upon a time"),
    ),
    Command(
        name=STRATEGIES,
        summary="Continue a text with each sampling strategy, side by side",
        answer=answer_strategies,
        text="required",
        continues_text=True,
        allows_look=True,
        options=(*(option for option in SAMPLING_OPTIONS if option.name in _SHARED), MODEL),
        refused_options={option.name: _OWN for option in SAMPLING_OPTIONS if option.name not in _SHARED},
        details="Greedy and beam search for a likely text; careful, normal and wild draw. A number goes on with that"
        " text, again by each strategy; longer extends each by its own strategy, again changes only what is drawn."
        " Undo, words and branches work as for complete. A strategy that the model's server lacks is left out.",
        words=("1", "2", "longer", "again", "undo", "words", "branches"),
        examples=(
            "strategies The best thing about rain is",
            "strategies --seed 7 --max_new_tokens 30 Once upon a time",
        ),
    ),
)
