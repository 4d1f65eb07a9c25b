"""What a window asks in Write: somebody's texts with their branches, and what the model would write."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Final, Literal

from bot.commands.bot import Bot
from bot.core import tree_editing
from bot.core.messages import Scope
from bot.core.safe_text import replace_lone_surrogates
from bot.core.sampling_params import MAX_SEED, OPTIONS
from bot.core.text_tree import Branch, TextTree
from bot.errors import RequestError
from bot.platforms.web.fields import long_field, number_field, text_field
from bot.platforms.web.stage import Stage
from bot.platforms.web.windows import Window
from bot.platforms.web.wire import Json
from bot.services import writing as texts
from bot.services.hosted_places import direct_channel_of
from bot.services.writing import Writing, Writings

logger = logging.getLogger(__name__)

_MAX_TEXT_BYTES: Final = 2 * tree_editing.MAX_TEXT_BYTES  # which a tree refuses with a sentence of its own
_MAX_SHOWN: Final = 200  # characters of a branch in the tree
_OPTIONS: Final = frozenset({*OPTIONS, "preset"})
_ASIDE: Final = "This text was changed in another window. What you typed here is a branch of its own."


class WritingSession:
    """The texts of the person who speaks in one window. RequestError and OptedOut are for that person."""

    def __init__(self, bot: Bot, writings: Writings, stage: Stage, window: Window) -> None:
        self._bot = bot
        self._writings = writings
        self._stage = stage
        self._window = window
        self._continuing: dict[int, asyncio.Task[Any]] = {}
        self._stopped: set[int] = set()
        self.ordered: Mapping[str, Callable[[Json], Awaitable[Json]]] = {
            "writings": self._list,
            "writing": self._get,
            "add_writing": self._add,
            "rename_writing": self._rename,
            "remove_writing": self._remove,
            "save_writing": self._save,
            "take_writing": self._take,
            "put_word": self._put_word,
            "go_branch": self._go,
            "name_branch": self._name,
            "prune_branch": self._prune,
            "undo_writing": self._undo,
            "export_writing": self._export,
        }
        self.at_once: Mapping[str, Callable[[Json], Awaitable[Json]]] = {
            "continue": self._continue,
            "stop_continuing": self._stop_continuing,
            "instead": self._instead,
        }

    # ---- texts

    async def _list(self, _: Json) -> Json:
        entries = await self._writings.list(self._owner)
        return {
            "writings": [
                {
                    "id": one.id,
                    "name": one.name,
                    "changed_at": one.changed_at_utc.isoformat(),
                    "num_branches": one.num_branches,
                }
                for one in entries
            ]
        }

    async def _get(self, frame: Json) -> Json:
        return {"writing": writing_json(await self._writings.get(self._owner, text_field(frame, "id")))}

    async def _add(self, frame: Json) -> Json:
        text = _words(frame, "text")
        tree = TextTree()
        writing = await self._writings.add(self._owner, tree_editing.typed(tree, tree.here.at, text) if text else tree)
        self._tell_list()
        return {"writing": writing_json(writing)}

    async def _rename(self, frame: Json) -> Json:
        answer = await self._change(frame, lambda one: texts.renamed(one, text_field(frame, "name")))
        self._tell_list()
        return answer

    async def _remove(self, frame: Json) -> Json:
        await self._writings.remove(self._owner, text_field(frame, "id"))
        self._tell_list()
        return {}

    async def _save(self, frame: Json) -> Json:
        return await self._change(frame, lambda one: one, saves=True)

    async def _take(self, frame: Json) -> Json:
        added = _words(frame, "added")
        seed = None if frame.get("seed") is None else number_field(frame, "seed", 0, 2**53)

        def take(tree: TextTree) -> TextTree:
            return tree_editing.taken(tree, tree.here.at, added, seed=seed) if added else tree

        return await self._change(frame, lambda one: _with(one, take(one.tree)), saves=True)

    async def _put_word(self, frame: Json) -> Json:
        whole, word = _words(frame, "whole"), _words(frame, "word")
        probability = frame.get("probability")
        if not isinstance(probability, int | float) or not 0 < probability <= 1:
            raise RequestError("Choose a word first.")
        if not word or not whole.endswith(word):
            raise RequestError("Choose a word first.")
        before = whole.removesuffix(word)
        logprob = round(math.log(probability), 4)

        def put(one: Writing) -> Writing:
            return _with(one, tree_editing.word_put(one.tree, one.tree.here.at, before, word, logprob=logprob))

        return await self._change(frame, put, saves=True)

    # ---- branches

    async def _go(self, frame: Json) -> Json:
        branch_id = number_field(frame, "branch", 0, 2**53)
        return await self._change(frame, lambda one: texts.moved_to(one, branch_id, tree_editing.gone))

    async def _name(self, frame: Json) -> Json:
        branch_id, name = number_field(frame, "branch", 0, 2**53), text_field(frame, "name")
        return await self._change(frame, lambda one: texts.branch_named(one, branch_id, name))

    async def _prune(self, frame: Json) -> Json:
        branch_id = number_field(frame, "branch", 0, 2**53)
        return await self._change(frame, lambda one: texts.branch_pruned(one, branch_id))

    async def _undo(self, frame: Json) -> Json:
        return await self._change(frame, texts.undone)

    async def _export(self, frame: Json) -> Json:
        writing = await self._writings.get(self._owner, text_field(frame, "id"))
        form: Literal["txt", "json"] = "json" if text_field(frame, "format") == "json" else "txt"
        file = await self._bot.desk.exported(self._scope(frame), writing.tree, form)
        return {"name": file.name, "text": file.text}

    async def _change(self, frame: Json, change: texts.Change, *, saves: bool = False) -> Json:
        """Change a text, let the person's other windows show it, and return it; with `saves`, after what was typed."""
        notice = ""

        def whole_change(one: Writing) -> Writing:
            nonlocal notice
            notice = ""
            if saves:
                one, notice = _typed(one, frame)
            return change(one)

        writing = await self._writings.change(self._owner, text_field(frame, "id"), whole_change)
        owner = self._owner
        self._stage.windows.broadcast(
            {"op": "writing", "writing": writing_json(writing)},
            where=lambda window: window is not self._window and window.person.id == owner,
        )
        return {"writing": writing_json(writing, notice)}

    def _tell_list(self) -> None:
        owner = self._owner
        self._stage.windows.broadcast(
            {"op": "writings"}, where=lambda window: window is not self._window and window.person.id == owner
        )

    # ---- the model

    async def _continue(self, frame: Json) -> Json:
        options = frame.get("options") or {}
        if not isinstance(options, dict) or not options.keys() <= _OPTIONS:
            raise RequestError("Those are no sampling options.")
        number, task = frame["n"], asyncio.current_task()
        assert task is not None
        self._continuing[number] = task
        answer: Json = {"texts": [], "seed": number_field(frame, "seed", 0, MAX_SEED)}
        try:
            snapshots = self._bot.desk.continue_text(
                self._scope(frame),
                _words(frame, "text"),
                options,
                num=number_field(frame, "num", 1, 5),
                max_new_tokens=number_field(frame, "max_new_tokens", 1, 200),
                seed=answer["seed"],
                person=self._owner,
                tell=partial(self._window.tell_loading, frame["n"]),
            )
            async with aclosing(snapshots):
                async for found in snapshots:
                    answer["texts"], answer["seed"] = list(found.texts), found.seed
                    if not found.is_whole:
                        self._window.put({"op": "continuing", "asked": number, "texts": answer["texts"]})
        except asyncio.CancelledError:
            if number not in self._stopped:
                raise
            task.uncancel()  # what is written by now is the answer
        finally:
            if self._continuing.get(number) is task:
                del self._continuing[number]
            self._stopped.discard(number)
        return answer

    async def _stop_continuing(self, frame: Json) -> Json:
        asked = number_field(frame, "asked", 0, 2**53)
        task = self._continuing.get(asked)
        if task is not None:
            self._stopped.add(asked)
            task.cancel()
        return {}

    async def _instead(self, frame: Json) -> Json:
        before, word = _words(frame, "before"), _words(frame, "word")
        probability, others = await self._bot.desk.words_instead(
            self._scope(frame),
            before,
            word,
            person=self._owner,
            tell=partial(self._window.tell_loading, frame["n"]),
        )
        return {
            "probability": probability,
            "words": [{"text": one.text, "probability": one.probability} for one in others],
        }

    @property
    def _owner(self) -> str:
        return self._window.person.id

    def _scope(self, frame: Json) -> Scope:
        """Return the channel whose model is meant, the one that is open."""
        channel = text_field(frame, "channel") or direct_channel_of(self._window.person)
        return self._stage.places.scope_of(self._window.person, channel)


def writing_json(writing: Writing, notice: str = "") -> Json:
    """Return a text as the page shows it; `notice` is for the window that changed it."""
    tree = writing.tree
    return {
        "id": writing.id,
        "name": writing.shown_name,
        "revision": writing.revision,
        "at": tree.here.at,
        "text": writing.text,
        "can_undo": bool(tree.past),
        "notice": notice,
        "branches": [_branch_json(tree, branch, depth) for branch, depth in tree.listed()],
    }


def _branch_json(tree: TextTree, branch: Branch, depth: int) -> Json:
    replaced = tree.replaced_by(branch, num_characters=_MAX_SHOWN).split(maxsplit=1)
    return {
        "id": branch.id,
        "parent": branch.parent,
        "depth": depth,
        "text": branch.text[:_MAX_SHOWN],
        "name": branch.name,
        "is_model": not branch.is_word,
        "seed": branch.seed,
        "instead_of": replaced[0] if replaced else "",
    }


def _typed(writing: Writing, frame: Json) -> tuple[Writing, str]:
    """Return a text with what was typed in a window, and what to say about it."""
    tree, text = writing.tree, _words(frame, "text")
    at = number_field(frame, "at", 0, 2**53)
    is_aside = number_field(frame, "revision", 0, 2**53) != writing.revision
    if not tree.is_shown(at):
        # Pruned or removed elsewhere: what of the text is still there goes on from where the other window is.
        at = tree.here.at
    if is_aside and tree.text_of(at) == text:
        return _with(writing, tree_editing.gone(tree, at)), ""
    return _with(writing, tree_editing.typed(tree, at, text, is_aside=is_aside)), _ASIDE if is_aside else ""


def _words(frame: Json, name: str) -> str:
    """Return a field with people's words as they can be stored."""
    return replace_lone_surrogates(long_field(frame, name, max_bytes=_MAX_TEXT_BYTES))


def _with(writing: Writing, tree: TextTree) -> Writing:
    return Writing(writing.id, writing.name, tree, writing.revision)
