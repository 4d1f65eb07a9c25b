"""The branches of a tree: as an indented list, one with what can be done with it, and all as a file."""

import json
import math
import re
from dataclasses import dataclass
from typing import Final

from bot.commands.tree.lists import BACK, MAX_SHOWN, PICK, Shown, find, on_one_line, tail_of, turning
from bot.core.cards import (
    Block,
    Button,
    Choices,
    Facts,
    Form,
    FormField,
    Select,
    SelectOption,
    Text,
    TextFile,
    Verbatim,
)
from bot.core.safe_text import clean_model_text, cut_text, one_line
from bot.core.text_tree import BEGINNING, Branch
from bot.core.wording import shorten
from bot.services.completions import CompletionState

MAX_NAME: Final = 60

_MAX_ROW: Final = 70
_MAX_INDENT: Final = 10
_TRAILING_MARKS: Final = re.compile(r"[\W_]+\Z")
_UNDO: Final = Button("undo", "Undo")


@dataclass(frozen=True, slots=True)
class BranchEntry:
    """A branch in a list, with its number there; None is the beginning."""

    number: int
    branch: Branch | None
    depth: int

    @property
    def value(self) -> str:
        """Return what a select's option for it carries."""
        return str(BEGINNING if self.branch is None else self.branch.id)


def branch_entries(state: CompletionState) -> tuple[BranchEntry, ...]:
    """Return the beginning and all branches, each before what goes on from it."""
    listed = (BranchEntry(number, branch, depth) for number, (branch, depth) in enumerate(state.tree.listed(), 2))
    return (BranchEntry(1, None, 0), *listed)


def show_branches(state: CompletionState, given: str, *, has_buttons: bool) -> Shown:
    """Return the tree as an indented list, a page of it where there are buttons."""
    entries = branch_entries(state)
    # Where lines are typed there is no limit, and every number can be used at once.
    num = len(entries) if not has_buttons or len(entries) <= MAX_SHOWN else MAX_SHOWN - 1
    num_pages = math.ceil(len(entries) / num)
    page = state.view.page % num_pages
    shown = entries[page * num : (page + 1) * num]
    width = len(str(entries[-1].number))
    lines = [f"{entry.number:>{width}} {shorten(_row(state, given, entry), _MAX_ROW)}" for entry in shown]
    how = "Choose a branch" if has_buttons else "Type the number of a branch"
    blocks = (Verbatim("\n".join(lines)), Text(f"{how} to go on there, name it or prune it.", is_quiet=True))
    buttons = [BACK]
    if state.tree.past:
        buttons.append(_UNDO)
    if state.tree.branches:
        buttons += [Button("txt", "Export .txt"), Button("json", "Export .json")]
    data = {
        "branches": [
            {
                "number": entry.number,
                "depth": entry.depth,
                "text": given if entry.branch is None else entry.branch.text,
                "name": entry.branch.name if entry.branch else "",
                "instead_of": _replaced_word(state, entry.branch),
                "is_here": _id_of(entry) == state.tree.here.at,
            }
            for entry in entries
        ]
    }
    if not has_buttons:
        return Shown(blocks, tuple(buttons), data=data)
    options = [
        SelectOption(entry.value, f"{entry.number} · {_label(given, entry)}", _about(state, entry)) for entry in shown
    ]
    select = Select(PICK, "Choose a branch", (*options, *turning("branches", page, num_pages)))
    return Shown(blocks, tuple(buttons), (select,), data)


def show_branch(state: CompletionState, given: str, *, has_buttons: bool) -> Shown:
    """Return one branch with what can be done with it."""
    go = Button("go", "Go on here", "primary")
    entry = find(branch_entries(state), str(state.view.branch_id))
    if entry is None or entry.branch is None:
        return Shown((Choices(given, ()),), (go, BACK), data={"branch": given})
    tree, branch = state.tree, entry.branch
    num_behind = sum(1 for _ in tree.listed(branch.id))
    facts = [
        *([("name", branch.name)] if branch.name else []),
        *([("instead of", word)] if (word := _replaced_word(state, branch)) else []),
        *([("strategy", branch.strategy)] if branch.strategy else []),
        *([("seed", str(branch.seed))] if branch.seed is not None and state.params.is_sampled else []),
        *([("tokens", f"{len(branch.ends):,}")] if branch.ends else []),
        ("branches after it", f"{num_behind:,}"),
    ]
    blocks: list[Block] = [
        Choices(given + clean_model_text(tree.text_before(branch.id)), (branch.text,), entry.number),
        Facts(tuple(facts)),
    ]
    if not has_buttons:
        blocks.append(
            Text("Type name TITLE to name it, or prune to remove it and what goes on from it.", is_quiet=True)
        )
    name = (Button("name", "Name"),) if has_buttons else ()
    return Shown(
        tuple(blocks),
        (go, *name, Button("prune", "Prune", "danger"), BACK),
        data={"branch": given + tree.text_of(branch.id), "name": branch.name},
    )


def name_form(state: CompletionState, card_id: str) -> Form:
    """Return the form that names the branch on view; its id says which branch of which card."""
    branch_id = state.view.branch_id
    field = FormField(
        "name",
        "Name",
        help="Leave it empty to remove the name.",
        value=state.tree.branch(branch_id).name,
        is_required=False,
        max_characters=MAX_NAME,
    )
    return Form(f"{card_id}.{branch_id}", "Name a branch", (field,))


def clean_branch_name(typed: str) -> str:
    """Return a name as it is kept."""
    return cut_text(one_line(clean_model_text(typed)), MAX_NAME).strip()


def as_text(state: CompletionState, given: str) -> TextFile:
    """Return the whole tree as an indented text."""
    parts = []
    for entry in branch_entries(state):
        text = given if entry.branch is None else _head(state, entry.branch) + entry.branch.text.strip()
        parts += [f"{'  ' * entry.depth}{line}" for line in clean_model_text(text).split("\n")]
    return TextFile("branches.txt", "\n".join(parts) + "\n")


def as_json(state: CompletionState, given: str, *, model: str) -> TextFile:
    """Return the whole tree as data: each branch with its place, seed and tokens."""
    branches = []
    for branch, depth in state.tree.listed():
        starts = (0, *branch.ends)
        tokens = [
            {"text": branch.text[start:end], "logprob": logprob}
            for start, end, logprob in zip(starts, branch.ends, branch.logprobs, strict=False)
        ]
        branches.append(
            {
                "id": branch.id,
                "parent": branch.parent,
                "parent_characters": branch.kept,
                "depth": depth,
                "name": branch.name,
                "text": branch.text,
                "instead_of": _replaced_word(state, branch),
                "is_chosen_word": branch.is_word,
                "strategy": branch.strategy or None,
                "seed": branch.seed,
                "finish_reason": branch.finish_reason,
                "logprob": branch.logprob,
                "tokens": tokens,
            }
        )
    values = {
        "text": given,
        "model": model,
        "sampling": state.params.to_dict(),
        "here": state.tree.here.at,
        "branches": branches,
    }
    return TextFile("branches.json", json.dumps(values, ensure_ascii=False, indent=1) + "\n")


def _id_of(entry: BranchEntry) -> int:
    return BEGINNING if entry.branch is None else entry.branch.id


def _replaced_word(state: CompletionState, branch: Branch | None) -> str | None:
    """Return the word in whose place a branch stands, None if it goes on from the end of another one."""
    words = state.tree.replaced_by(branch).split() if branch is not None else []
    return on_one_line(_TRAILING_MARKS.sub("", words[0]) or words[0]) if words else None


def _head(state: CompletionState, branch: Branch) -> str:
    """Return what is said of a branch before its text: where it leaves its parent, its name and its strategy."""
    word = _replaced_word(state, branch)
    head = f"↳ instead of “{word}”: " if word else ""
    head = f"{head}[{branch.name}] " if branch.name else head
    return f"{head}{branch.strategy}: " if branch.strategy else head


def _label(given: str, entry: BranchEntry) -> str:
    if entry.branch is None:
        return tail_of(given)
    return entry.branch.name or on_one_line(entry.branch.text)


def _about(state: CompletionState, entry: BranchEntry) -> str:
    if _id_of(entry) == state.tree.here.at:
        return "you are here"
    if entry.branch is not None and entry.branch.strategy:
        return entry.branch.strategy
    word = _replaced_word(state, entry.branch)
    return f"instead of “{word}”" if word else ""


def _row(state: CompletionState, given: str, entry: BranchEntry) -> str:
    """Return the line of a branch in the list, without its number."""
    mark = "→ " if _id_of(entry) == state.tree.here.at else ""
    indent = "  " * min(entry.depth, _MAX_INDENT)
    if entry.branch is None:
        return f"{indent}{mark}{tail_of(given)}"
    return f"{indent}{mark}{_head(state, entry.branch)}{on_one_line(entry.branch.text)}"
