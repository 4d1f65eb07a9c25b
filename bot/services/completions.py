"""The state of a completion's card: the tree of its text, the sampling options, and what of the tree is on view."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from bot.core.messages import Scope
from bot.core.results import Completion
from bot.core.sampling_params import SamplingParams
from bot.core.strategies import find_strategy
from bot.core.text_tree import BEGINNING, EMPTY_TREE, Branch, Position, TextTree
from bot.services.open_cards import COMPLETE, COMPLETION_CARD, FOR_GOOD, STRATEGIES, open_card
from bot.store.cards import OpenCard
from bot.store.store import Store

MAX_OPTIONS: Final = 9
_LOGPROB_DIGITS: Final = 4

ViewKind = Literal["options", "words", "word", "branches", "branch"]


@dataclass(frozen=True, slots=True)
class CompletionOption:
    """One continuation: its text, log-probability (nats), why it ended, and the round's seed and strategy, if any."""

    text: str
    logprob: float | None
    finish_reason: str | None
    seed: int | None = None
    strategy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values; the strategy only where several take part."""
        values = {"text": self.text, "logprob": self.logprob, "finish_reason": self.finish_reason, "seed": self.seed}
        return {**values, "strategy": self.strategy} if self.strategy else values


@dataclass(frozen=True, slots=True)
class View:
    """What a completion's card shows: the options, a list of words or branches, or one of these.

    `page` is that of the list. `branch_id` is the branch on view, or the one in whose text the word at `start` is;
    `instead` are the words that may stand there, with their probabilities.
    """

    kind: ViewKind = "options"
    page: int = 0
    branch_id: int = BEGINNING
    start: int = 0
    instead: tuple[tuple[str, float], ...] = ()


OPTIONS_VIEW: Final = View()


@dataclass(frozen=True, slots=True)
class CompletionState:
    """The state of a completion.

    The text so far is the asker's text followed by `taken`. The asker's text is stored in the message `message_id`
    (after its command with `is_command_line`), not here, so that erasing the message erases it. `request_id` is the
    message that asked for the card; it differs if it asked about the message it replied to. `num_rounds` counts the
    rounds of sampling; each round's seed follows from the first. With `ends_sentence` continuations end with their
    sentence, as no length was asked for. `num_named` counts the last revisions that only named a branch: buttons from
    before them still mean the same. Where words are typed, one that `is_left` is meant only by the word that brings it
    back. With `by_strategy` each round has a continuation by each strategy, all with the round's seed.
    """

    message_id: str
    is_command_line: bool
    params: SamplingParams
    tree: TextTree = EMPTY_TREE
    num_rounds: int = 0
    ends_sentence: bool = True
    request_id: str = ""
    view: View = OPTIONS_VIEW
    num_named: int = 0
    is_left: bool = False
    by_strategy: bool = False

    @property
    def command(self) -> str:
        """Return the name of the command whose answer the card is."""
        return STRATEGIES if self.by_strategy else COMPLETE

    @property
    def taken(self) -> str:
        """Return the text between the asker's and the options."""
        return self.tree.text_of(self.tree.here.at)

    @property
    def options(self) -> tuple[CompletionOption, ...]:
        """Return the continuations on offer."""
        return tuple(self._option(branch_id) for branch_id in self.tree.here.options)

    def _option(self, branch_id: int) -> CompletionOption:
        """Return the branches from the present position to `branch_id` as one."""
        path = [branch for branch, _ in self.tree.path(branch_id)]
        ids = [branch.id for branch in path]
        at = self.tree.here.at
        own = path[ids.index(at) + 1 :] if at in ids else path
        text = "".join(branch.text for branch in own)
        known = [branch.logprob for branch in own if branch.logprob is not None]
        logprob = sum(known) if len(known) == len(own) else None
        return CompletionOption(text, logprob, own[-1].finish_reason, own[0].seed, own[-1].strategy)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the strategies of the continuations on offer; none unless each round has one by each strategy."""
        return tuple(option.strategy for option in self.options) if self.by_strategy else ()

    @property
    def round_params(self) -> SamplingParams:
        """Return the sampling options of the next round: those of the first with another seed."""
        return self.params.shift_seed(self.num_rounds)

    def params_to_lengthen(self, index: int) -> SamplingParams:
        """Return the sampling options with which option `index` (from 0) is made longer."""
        strategy = find_strategy(self.options[index].strategy)
        if strategy is not None:
            return strategy.params_from(self.round_params)
        return replace(self.round_params, n=1).shift_seed(index)

    @property
    def seed(self) -> int | None:
        """Return the seed with which the newest of the options was drawn; that of the first round if there are none."""
        drawn = self.options[-1].seed if self.tree.here.options else None
        return self.params.seed if drawn is None else drawn

    @property
    def num_grown(self) -> int:
        """Return how many of the last steps only added options to those that were there."""
        num, here = 0, self.tree.here
        for before in reversed(self.tree.past):
            is_longer = here.options[: len(before.options)] == before.options != here.options
            if (before.at, before.pruned) != (here.at, here.pruned) or not is_longer:
                break
            num, here = num + 1, before
        return num

    def offer(self, drawn: Sequence[Branch], *, keeps: bool = False) -> "CompletionState":
        """Return the state after a round that drew branches; `keeps` adds them to those on offer."""
        tree, ids = self.tree.add(drawn)
        return self._moved(tree, (*tree.here.options, *ids) if keeps else ids)

    def lengthen(self, added: Sequence[Branch | None]) -> "CompletionState":
        """Return the state after a round that lengthened the options on offer, each by a branch or not at all."""
        tree, ids = self.tree.add([branch for branch in added if branch is not None])
        new_ids = iter(ids)
        pairs = zip(tree.here.options, added, strict=True)
        return self._moved(tree, tuple(old if branch is None else next(new_ids) for old, branch in pairs))

    def _moved(self, tree: TextTree, options: tuple[int, ...]) -> "CompletionState":
        return replace(self, tree=tree.move(replace(tree.here, options=options)), num_rounds=self.num_rounds + 1)

    def take(self, index: int) -> "CompletionState":
        """Return the state after option `index` (from 0) was taken; nothing is on offer."""
        here = self.tree.here
        return replace(self, tree=self.tree.move(replace(here, at=here.options[index], options=())))

    def put_word(self, branch: Branch) -> "CompletionState":
        """Return the state behind a word that a person chose; nothing is on offer."""
        tree, (branch_id,) = self.tree.add([branch])
        tree = tree.move(replace(tree.here, at=branch_id, options=()))
        return replace(self, tree=tree, view=OPTIONS_VIEW)

    def go(self, branch_id: int) -> "CompletionState":
        """Return the state behind a branch, with what the model wrote there before."""
        return replace(self, tree=self.tree.go(branch_id, MAX_OPTIONS), view=OPTIONS_VIEW)

    def prune(self, branch_id: int) -> "CompletionState":
        """Return the state without a branch and all that goes on from it, with the list of branches on view."""
        return replace(self, tree=self.tree.prune(branch_id, MAX_OPTIONS), view=View("branches"))

    def undo(self) -> "CompletionState":
        """Return the state before its last step; a list of branches stays on view. Raises IndexError at the start."""
        kept = View("branches") if self.view.kind in ("branches", "branch") else OPTIONS_VIEW
        return replace(self, tree=self.tree.undo(), view=kept)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON-able values."""
        view = self.view
        return {
            "message_id": self.message_id,
            "is_command_line": self.is_command_line,
            "params": self.params.to_dict(),
            "tree": self.tree.to_dict(),
            "num_rounds": self.num_rounds,
            "ends_sentence": self.ends_sentence,
            "request_id": self.request_id,
            "view": [view.kind, view.page, view.branch_id, view.start, view.instead],
            "num_named": self.num_named,
            "is_left": self.is_left,
            "by_strategy": self.by_strategy,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "CompletionState":
        """Return the state that `to_dict()` wrote."""
        kind, page, branch_id, start, instead = values.get("view", ("options", 0, BEGINNING, 0, ()))
        return cls(
            message_id=values["message_id"],
            is_command_line=values["is_command_line"],
            params=SamplingParams.from_dict(values["params"]),
            tree=TextTree.from_dict(values["tree"]) if "tree" in values else _grown_from(values),
            num_rounds=values["num_rounds"],
            ends_sentence=values["ends_sentence"],
            request_id=values.get("request_id", values["message_id"]),
            view=View(kind, page, branch_id, start, tuple((word, probability) for word, probability in instead)),
            num_named=values.get("num_named", 0),
            is_left=values.get("is_left", False),
            by_strategy=values.get("by_strategy", False),
        )


def view_kind_of(values: Mapping[str, Any]) -> ViewKind:
    """Return what the card of a stored state shows, without reading all of it."""
    kind: ViewKind = values["view"][0] if "view" in values else OPTIONS_VIEW.kind
    return kind


def command_of(values: Mapping[str, Any]) -> str:
    """Return the name of the command whose answer the card of a stored state is, without reading all of it."""
    return STRATEGIES if values.get("by_strategy", False) else COMPLETE


def is_left(values: Mapping[str, Any]) -> bool:
    """Say whether the card of a stored state was left, without reading all of it."""
    return bool(values.get("is_left", False))


def drawn_branch(completion: Completion, parent: int, kept: int, *, seed: int | None, strategy: str = "") -> Branch:
    """Return what the model wrote behind `kept` characters of `parent` as a branch that has no id yet."""
    return Branch(
        completion.text,
        parent,
        kept,
        completion.logprob,
        completion.finish_reason,
        seed,
        completion.token_ends,
        tuple(round(logprob, _LOGPROB_DIGITS) for logprob in completion.token_logprobs),
        strategy=strategy,
    )


def _grown_from(values: Mapping[str, Any]) -> TextTree:
    """Return the tree of a card from before there were trees: its texts were stored step by step, without tokens."""
    tree = TextTree()
    id_of = {"": BEGINNING}
    positions: list[Position] = []
    for taken, options in [*values["past"], (values["taken"], values["options"])]:
        at = id_of.get(taken, BEGINNING)
        kept = 0 if at == BEGINNING else len(tree.branch(at).text)
        ids = []
        for option in options:
            whole = taken + option["text"]
            if whole not in id_of:
                branch = Branch(
                    option["text"], at, kept, option["logprob"], option["finish_reason"], option.get("seed")
                )
                tree, (id_of[whole],) = tree.add([branch])
            ids.append(id_of[whole])
        positions.append(Position(at, tuple(ids)))
    return replace(tree, here=positions[-1], past=tuple(positions[:-1]))


async def leave_completion(store: Store, card: OpenCard) -> None:
    """Let the words after an ordinary message be no words to the card; its tree is kept."""
    if not is_left(card.state):
        state = replace(CompletionState.from_dict(card.state), view=OPTIONS_VIEW, is_left=True)
        await store.save_open_card(replace(card, revision=card.revision + 1, state=state.to_dict()))


async def save_completion(
    store: Store, scope: Scope, owner_id: str, state: CompletionState, card: OpenCard | None
) -> OpenCard:
    """Store `state` as a new card, or as the next revision of `card`; return the stored card.

    If `card` was changed or closed in between, the state becomes a new card, so nothing is lost. Raises OptedOut if the
    owner asked not to be read.
    """
    if card is not None:
        following = replace(card, revision=card.revision + 1, state=state.to_dict())
        if await store.save_open_card(following):
            return following
    return await open_card(
        store, scope, owner_id, COMPLETION_CARD, state.to_dict(), source_message_id=state.message_id, lives=FOR_GOOD
    )
