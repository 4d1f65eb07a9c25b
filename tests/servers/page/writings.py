"""The texts of the stand-in's people: trees of branches, and what a scripted model expects in them."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from tests.servers.page import cards
from tests.servers.page.cards import Json, card

EXPECTED: Final = ((" dog", 0.41), (" cat", 0.22), (" fox", 0.08), (" girl", 0.02))
STRATEGIES: Final = ("greedy", "beam", "careful", "normal", "wild")


class Asker(Protocol):
    """The window that asks."""

    me: Json

    async def send(self, frame: Json) -> None:
        """Send a frame."""


class Gone(Exception):
    """A text that is not there; the message is for the person."""


class Writings:
    """The texts, by their ids; each has an owner. A branch holds the whole text at its end.

    `tell` sends a frame to the other windows of a person, `wait_for` waits while something is held: "written" is the
    end of what `partial` shows while it is written. `continuations` returns what follows; `probability` is that of
    every word, None for one that is not expected.
    """

    def __init__(
        self, tell: Callable[[Asker, Json], Awaitable[None]], wait_for: Callable[[str], Awaitable[None]]
    ) -> None:
        self._tell = tell
        self._wait_for = wait_for
        self.texts: dict[str, Json] = {}
        self.partial: list[str] = []
        self.probability: float | None = 0.0031
        self.continuations: Callable[[Json], list[str]] = lambda asked: [
            f"{' and so on' * asked['max_new_tokens']}"[: asked["max_new_tokens"] * 4] + f" {i + 1}"
            for i in range(asked["num"])
        ]
        self._next_id = 0
        self.answers: dict[str, Callable[[Asker, Json], Awaitable[Json]]] = {
            name: getattr(self, f"_{name}")
            for name in (
                *("writings", "writing", "add_writing", "rename_writing", "remove_writing", "save_writing"),
                *("take_writing", "put_word", "go_branch", "name_branch", "prune_branch", "undo_writing"),
                *("export_writing", "instead", "continue", "stop_continuing", "look"),
            )
        }

    def add(self, owner: str, *wholes: str, name: str = "A text") -> Json:
        """Add a text; each of `wholes` is a branch that goes on from the longest one before that it begins with."""
        self._next_id += 1
        text = {"id": f"w{self._next_id}", "owner": owner, "name": name, "revision": 1, "at": 0, "branches": []}
        self.texts[str(text["id"])] = {**text, "past": [], "notice": ""}
        for whole in wholes:
            self._branch(self.texts[str(text["id"])], whole)
        return self.texts[str(text["id"])]

    def text_at(self, text: Json, at: int) -> str:
        """Return the whole text at the end of a branch."""
        return next((str(one["whole"]) for one in text["branches"] if one["id"] == at), "")

    def _branch(self, text: Json, whole: str, **fields: Any) -> None:
        fitting = [one for one in text["branches"] if whole.startswith(one["whole"]) and whole != one["whole"]]
        parent = max(fitting, key=lambda one: len(one["whole"]), default={"id": 0})["id"]
        branch = {"id": len(text["branches"]) + 1, "parent": parent, "whole": whole, "name": "", "is_model": False}
        text["branches"].append({**branch, "seed": None, "instead_of": "", "is_pruned": False, **fields})
        text["past"].append(text["at"])
        text["at"] = branch["id"]

    def _shown(self, text: Json) -> Json:
        branches: list[Json] = []

        def walk(parent: int, depth: int) -> None:
            for one in text["branches"]:
                if one["parent"] == parent and not one["is_pruned"]:
                    own = one["whole"][len(self.text_at(text, parent)) :]
                    kept = {name: one[name] for name in ("id", "parent", "name", "is_model", "seed", "instead_of")}
                    branches.append({**kept, "depth": depth, "text": own})
                    walk(one["id"], depth + 1)

        walk(0, 1)
        shown = {name: text[name] for name in ("id", "name", "revision", "at", "notice")}
        return {
            **shown,
            "text": self.text_at(text, text["at"]),
            "can_undo": bool(text["past"]),
            "branches": branches,
        }

    async def _changed(self, who: Asker, text: Json, notice: str = "") -> Json:
        text["revision"] += 1
        text["notice"] = notice
        shown = {"writing": self._shown(text)}
        await self._tell(who, {"op": "writing", **shown})
        return shown

    def _own(self, who: Asker, asked: Json) -> Json:
        text = self.texts.get(asked["id"])
        if text is None or text["owner"] != who.me["id"]:
            raise Gone("That text is not there any more.")
        return text

    async def _writings(self, who: Asker, _: Json) -> Json:
        own = [one for one in reversed(self.texts.values()) if one["owner"] == who.me["id"]]
        entries = [
            {
                "id": one["id"],
                "name": one["name"],
                "changed_at": "2026-01-02T10:00:00+00:00",
                "num_branches": len(one["branches"]),
            }
            for one in own
        ]
        return {"writings": entries}

    async def _writing(self, who: Asker, asked: Json) -> Json:
        return {"writing": self._shown(self._own(who, asked))}

    async def _add_writing(self, who: Asker, asked: Json) -> Json:
        text = self.add(who.me["id"], asked["text"], name=asked["text"][:40])
        await self._tell(who, {"op": "writings"})
        return {"writing": self._shown(text)}

    async def _rename_writing(self, who: Asker, asked: Json) -> Json:
        text = self._own(who, asked)
        text["name"] = asked["name"]
        return await self._changed(who, text)

    async def _remove_writing(self, who: Asker, asked: Json) -> Json:
        del self.texts[self._own(who, asked)["id"]]
        await self._tell(who, {"op": "writings"})
        return {}

    async def _save_writing(self, who: Asker, asked: Json) -> Json:
        text = self._own(who, asked)
        if asked["revision"] != text["revision"]:
            self._branch(text, asked["text"])
            return await self._changed(who, text, "It changed elsewhere, so your text is a branch of its own.")
        self._type(text, asked)
        return await self._changed(who, text)

    def _type(self, text: Json, asked: Json) -> None:
        """Let the text be as it was typed; the last branch of one's own is changed in place."""
        here = next((one for one in text["branches"] if one["id"] == asked["at"]), None)
        if self.text_at(text, asked["at"]) == asked["text"]:
            return
        is_end = here is not None and not any(one["parent"] == here["id"] for one in text["branches"])
        if here is not None and is_end and not here["is_model"] and not here["instead_of"]:
            here["whole"] = asked["text"]
        else:
            self._branch(text, asked["text"])

    async def _take_writing(self, who: Asker, asked: Json) -> Json:
        text = self._own(who, asked)
        self._type(text, asked)
        self._branch(text, asked["text"] + asked["added"], is_model=True, seed=asked["seed"])
        return await self._changed(who, text)

    async def _put_word(self, who: Asker, asked: Json) -> Json:
        text = self._own(who, asked)
        self._type(text, asked)
        before = asked["whole"].rstrip().rpartition(" ")[0]
        old = asked["text"][len(before) :].split()[0]
        self._branch(text, asked["whole"], instead_of=old)
        return await self._changed(who, text)

    async def _go_branch(self, who: Asker, asked: Json) -> Json:
        text = self._own(who, asked)
        text["past"].append(text["at"])
        text["at"] = asked["branch"]
        return await self._changed(who, text)

    async def _name_branch(self, who: Asker, asked: Json) -> Json:
        text = self._own(who, asked)
        next(one for one in text["branches"] if one["id"] == asked["branch"])["name"] = asked["name"]
        return await self._changed(who, text)

    async def _prune_branch(self, who: Asker, asked: Json) -> Json:
        text = self._own(who, asked)
        branch = next(one for one in text["branches"] if one["id"] == asked["branch"])
        branch["is_pruned"] = True
        text["past"].append((text["at"], branch))
        if self.text_at(text, text["at"]).startswith(branch["whole"]):
            text["at"] = branch["parent"]
        return await self._changed(who, text)

    async def _undo_writing(self, who: Asker, asked: Json) -> Json:
        text = self._own(who, asked)
        before = text["past"].pop()
        if isinstance(before, tuple):
            before[1]["is_pruned"] = False
        text["at"] = before[0] if isinstance(before, tuple) else before
        return await self._changed(who, text)

    async def _export_writing(self, who: Asker, asked: Json) -> Json:
        shown = self._shown(self._own(who, asked))
        words = shown["text"] if asked["format"] == "txt" else json.dumps(shown)
        return {"name": f"text.{asked['format']}", "text": words}

    async def _instead(self, _: Asker, asked: Json) -> Json:
        # Behind a space of the person's own the words come without theirs.
        space = " " if asked["before"].endswith(" ") else ""
        words = [{"text": text.removeprefix(space), "probability": share} for text, share in EXPECTED]
        return {"probability": self.probability, "words": words}

    async def _continue(self, who: Asker, asked: Json) -> Json:
        if self.partial:
            await who.send({"op": "continuing", "asked": asked["n"], "texts": self.partial[: asked["num"]]})
        await self._wait_for("written")
        return {"texts": self.continuations(asked), "seed": asked["seed"]}

    async def _stop_continuing(self, _: Asker, __: Json) -> Json:
        return {}

    async def _look(self, who: Asker, asked: Json) -> Json:
        command, _, words = asked["line"].partition(" -- ")
        if command == "perplexity":
            return {"card": cards.PERPLEXITY, "data": _measured(words.strip())}
        options = [f" by {name} means." for name in STRATEGIES]
        block = {"type": "choices", "prompt": words, "options": options, "first_number": 1, "labels": [*STRATEGIES]}
        await who.send({"op": "looking", "look": asked["n"], "card": card(block, is_final=False)})
        await self._wait_for("written")
        strategies = [
            {
                "name": name,
                "sentence": f"It writes in the {name} way, which takes a sentence to say.",
                "options": {},
                "seed": 7,
                "text": text,
                "finish_reason": "length",
            }
            for name, text in zip(STRATEGIES, options, strict=True)
        ]
        return {"card": card(block), "data": {"strategies": strategies}}


def _measured(words: str) -> Json:
    """Return tokens as `perplexity` measures them: each word has a bit more than the one before."""
    tokens: list[Json] = []
    for found in re.finditer(r"\s*\S+", words):
        scored = {"logprob": -0.7 * len(tokens), "rank": 3 * len(tokens)} if tokens else {"logprob": None, "rank": None}
        expected = [[text, share] for text, share in EXPECTED]
        place = {"start": found.start(), "end": found.end()}
        tokens.append({"text": found[0], **place, **scored, "expected": expected})
    return {"input": words, "tokens": tokens}
