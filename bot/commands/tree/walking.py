"""Walking the tree of a completion: its lists of words and branches, and what is done with one of them."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from bot.commands.framework.command import Cards
from bot.commands.framework.request import allowed_words
from bot.commands.tree.branches import as_json, as_text, branch_entries, clean_branch_name, name_form
from bot.commands.tree.drawing import Step
from bot.commands.tree.expected import expected_behind
from bot.commands.tree.lists import NOTHING_THERE, PICK, find, leave, page_of
from bot.commands.tree.words import NO_WORDS, instead_of, put_word, stem_before, word_entries
from bot.core.cards import Card, Text, TextFile
from bot.core.results import WordProbability
from bot.core.text_tree import BEGINNING
from bot.core.written_words import WrittenWord, words_here
from bot.errors import RequestError
from bot.services.completions import CompletionState, View
from bot.services.replies import KeptReply

WORDS: Final = "words"
BRANCHES: Final = "branches"
_WORD_NOT_ALLOWED: Final = "The moderators don't allow that word here. Choose another one."


async def open_list(step: Step, state: CompletionState, action: str) -> Card:
    """Show the first page of the words or of the branches."""
    if action == WORDS and not words_here(state.tree, step.base):
        raise RequestError(NO_WORDS)
    return await step.show(replace(state, view=View("words" if action == WORDS else "branches")))


async def walk(step: Step, state: CompletionState, action: str, value: str) -> Cards:
    """Carry out an action in a view of the tree."""
    view, services = state.view, step.request.services
    if action == "back":
        yield await step.show(replace(state, view=leave(view)))
    elif action == "more":
        yield await step.show(replace(state, view=replace(view, page=view.page + 1)))
    elif action == "txt":
        yield _exported(step, await asyncio.to_thread(as_text, state, step.base))
    elif action == "json":
        yield _exported(step, await asyncio.to_thread(as_json, state, step.base, model=services.engine.info.name))
    elif action == "name" and services.traits.has_buttons and step.card is not None:
        _check_branch(state, view.branch_id)
        yield Card(form=name_form(state, step.card.id))
    elif action == "name":
        yield await name_branch(step, state, view.branch_id, value)
    elif action == "prune":
        yield await _prune(step, state)
    elif action == PICK and view.kind in (WORDS, BRANCHES):
        yield await _open(step, state, value)
    else:
        async with aclosing(_go_on(step, state, action, value)) as snapshots:
            async for snapshot in snapshots:
                yield snapshot


async def _open(step: Step, state: CompletionState, value: str) -> Card:
    """Show the page, the word or the branch that was picked in a list."""
    view = state.view
    if (page := page_of(value)) is not None:
        return await step.show(replace(state, view=replace(view, page=page)))
    if view.kind == BRANCHES:
        entry = find(branch_entries(state), value)
        if entry is None:
            raise RequestError(NOTHING_THERE)
        branch_id = BEGINNING if entry.branch is None else entry.branch.id
        return await step.show(replace(state, view=replace(view, kind="branch", branch_id=branch_id)))
    pages = word_entries(state, step.base)
    found = find(pages[view.page % len(pages)], value) if pages else None
    if found is None:
        raise RequestError(NOTHING_THERE)
    expected = await _expected(step, state, found.word)
    return await step.show(replace(state, view=instead_of(state, step.base, found.word, expected)))


async def _expected(step: Step, state: CompletionState, word: WrittenWord) -> tuple[WordProbability, ...]:
    """Return what the model expects in the place of a word: words, or tokens in a script without spaces."""
    stem = stem_before(step.base, state.tree.text_of(word.branch_id), word.start)
    return await expected_behind(step.request.services.engine, step.request.asker, stem, word.text)


async def _go_on(step: Step, state: CompletionState, action: str, value: str) -> Cards:
    """Go to a branch, or behind a word that was picked; write there if nothing is written yet."""
    branch_id = state.view.branch_id
    moved = None
    if action == PICK:
        moved = put_word(state, value)
        if moved is not None:
            await _check_word(step, moved)
    elif state.tree.is_shown(branch_id):
        moved = state.go(branch_id)
    if moved is None:
        raise RequestError(NOTHING_THERE)
    if moved.tree.here.options:
        yield await step.show(moved)
        return
    async with aclosing(step.draw(moved)) as snapshots:
        async for snapshot in snapshots:
            yield snapshot


async def _check_word(step: Step, moved: CompletionState) -> None:
    """Raise RequestError for a word that was picked, at the end of the text so far, if it is not allowed here."""
    text = moved.tree.branch(moved.tree.here.at).text
    before = step.base + moved.taken.removesuffix(text)
    if (await allowed_words(step.request)).is_in(text, before=before):
        raise RequestError(_WORD_NOT_ALLOWED)


async def _prune(step: Step, state: CompletionState) -> Card:
    branch_id = state.view.branch_id
    _check_branch(state, branch_id)
    num = 1 + sum(1 for _ in state.tree.listed(branch_id))
    sentence = (
        "Pruned: 1 branch. Undo brings it back." if num == 1 else f"Pruned: {num} branches. Undo brings them back."
    )
    return await step.show(state.prune(branch_id), kept=KeptReply(None, sentence))


async def name_branch(step: Step, state: CompletionState, branch_id: int, typed: str) -> Card:
    """Name a branch and return the answer; the card's buttons stay good."""
    _check_branch(state, branch_id)
    name = clean_branch_name(typed)
    named = replace(state, tree=state.tree.name(branch_id, name), num_named=state.num_named + 1)
    sentence = f"That branch is called “{name}” now." if name else "That branch has no name now."
    shown = await step.save(named, kept=KeptReply(None, sentence))
    if not step.request.services.traits.has_buttons:
        return shown
    return Card(blocks=(Text(sentence),), data={"text": sentence}, answers="private")


def _check_branch(state: CompletionState, branch_id: int) -> None:
    """Raise RequestError for the beginning, which has no name and is never pruned, and for a branch that is gone."""
    if branch_id == BEGINNING or not state.tree.is_shown(branch_id):
        raise RequestError(NOTHING_THERE)


def _exported(step: Step, file: TextFile) -> Card:
    """Return a file of the tree for the person who asked; where lines are typed, its text is all that is shown."""
    blocks = (Text("All branches of this text:"),) if step.request.services.traits.has_buttons else ()
    return Card(blocks=blocks, file=file, data={"text": file.text}, answers="private")
