"""How often a continuation turns the last word of a text into a word that does not exist, by a spell checker's lists.

Run by `make measure-healing`; the beginnings were written before anything was measured on them.
"""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from spellchecker import SpellChecker

from benchmarks.__main__ import describe_run
from benchmarks.bench import Machine
from bot.core.prompt_parts import Prompt
from bot.core.sampling_params import SamplingParams
from bot.core.statistics import wilson_interval
from bot.engine.engine import LocalEngine
from bot.engine.models.catalog import resolve_model
from bot.settings import Settings

_BEGINNINGS: Final = Path(__file__).with_name("beginnings.txt")
_PARAMS: Final = SamplingParams(n=5, max_new_tokens=10)  # otherwise as a person who gives no option gets it
_LAST_WORD: Final = re.compile(r"[\w'’]*\Z")
_FIRST_WORD: Final = re.compile(r"[\w'’]*")
_SUFFIX: Final = re.compile(r"['’](s|t|re|ve|ll|d|m)?\Z")
_NUMBER: Final = re.compile(r"\d+(st|nd|rd|th|s|am|pm|km|kg|cm|mm|m|k|bn|C|F)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Beginning:
    """A text as somebody stops typing it, and its kind."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A beginning with one of its continuations."""

    beginning: Beginning
    continuation: str

    @property
    def word(self) -> str:
        """Return the word at the border; "" if there is none."""
        last = _LAST_WORD.search(self.beginning.text)
        first = _FIRST_WORD.match(self.continuation)
        return (last[0] if last else "") + (first[0] if first else "")

    @property
    def is_glued(self) -> bool:
        """Say whether something was written right after the last word, and the result is not a word."""
        return bool(_FIRST_WORD.match(self.continuation)[0]) and not is_word(self.word)


def read_beginnings() -> tuple[Beginning, ...]:
    """Return the committed beginnings, in order."""
    found: list[Beginning] = []
    kind = ""
    for line in _BEGINNINGS.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            kind = line.strip("[]")
        elif line and not line.startswith("#"):
            found.append(Beginning(kind, line))
    return tuple(found)


@cache
def _lists() -> tuple[SpellChecker, SpellChecker]:
    return SpellChecker(language="en"), SpellChecker(language="de")


def is_word(word: str) -> bool:
    """Say whether `word` is a number, or an English or German word; an apostrophe's ending does not count."""
    bare = _SUFFIX.sub("", word).strip("'’_").casefold()
    return not bare or bool(_NUMBER.fullmatch(bare)) or any(bare in words for words in _lists())


async def finish(engine: LocalEngine, beginnings: Sequence[Beginning]) -> list[Finished]:
    """Return five continuations of each beginning, sampled with its number as the seed."""
    found = []
    for seed, beginning in enumerate(beginnings):
        params = SamplingParams(n=_PARAMS.n, max_new_tokens=_PARAMS.max_new_tokens, seed=seed)
        generation = engine.generate(Prompt.plain(beginning.text), params, heal=True)
        async with generation:
            async for _ in generation:
                pass
        found += [Finished(beginning, completion.text) for completion in generation.completions]
    return found


def table(finished: Sequence[Finished]) -> list[str]:
    """Return the lines of the table by kinds, and the words that do not exist."""
    lines = [
        "| last word | continuations | go on with it | not a word | share | 95 % interval |",
        "|---|---|---|---|---|---|",
    ]
    kinds = list(dict.fromkeys(one.beginning.kind for one in finished))
    for kind in (*kinds, "all"):
        of_kind = [one for one in finished if kind in ("all", one.beginning.kind)]
        num_longer = sum(bool(_FIRST_WORD.match(one.continuation)[0]) for one in of_kind)
        num_glued = sum(one.is_glued for one in of_kind)
        share = wilson_interval(num_glued, len(of_kind))
        lines.append(
            f"| {kind} | {len(of_kind)} | {num_longer} | {num_glued} | {share.mean:.1%} |"
            f" {share.low:.1%} to {share.high:.1%} |"
        )
    words = [f"{one.word} ({one.beginning.text.split()[-1]})" for one in finished if one.is_glued]
    return [*lines, "", "Not words: " + (", ".join(words) or "none") + "."]


async def measure(model: str, folder: Path, beginnings: Sequence[Beginning], precision: str) -> list[Finished]:
    """Return the continuations of `beginnings` by the model in `folder`."""
    async with LocalEngine.open(folder, name=model, device="cpu", precision=precision) as engine:
        return await finish(engine, beginnings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.healing", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m", help="a pulled model's name, or a folder")
    parser.add_argument("--precision", default="float32", help="of the model; only float32 repeats a run exactly")
    parser.add_argument("--quick", action="store_true", help="only every 20th beginning, to see that it works")
    parser.add_argument("--all", action="store_true", help="print every continuation too")
    chosen = parser.parse_args(arguments)
    choice = resolve_model(chosen.model, Settings.from_env().models_dir)
    facts: dict[str, Any] = describe_run(Machine("cpu", os.cpu_count() or 1), is_quick=chosen.quick)
    name = Path(choice.name).name
    beginnings = read_beginnings()[:: 20 if chosen.quick else 1]
    finished = asyncio.run(measure(name, choice.folder, beginnings, chosen.precision))
    if chosen.all:
        sys.stdout.writelines(f"{one.beginning.text}|{one.continuation!r}\n" for one in finished)
    sys.stdout.write(
        f"{facts['machine']}, {facts['date']}, commit {facts['commit']}: `make measure-healing`, {name} in"
        f" {chosen.precision}, {len(beginnings)} beginnings × {_PARAMS.n}. Intervals are Wilson's.\n\n"
        + "\n".join(table(finished))
        + "\n"
    )


if __name__ == "__main__":
    main()
