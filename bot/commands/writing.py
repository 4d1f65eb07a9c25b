"""What an editor asks of the model: continuations of a text while they are written, and other words for one of it."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from bot.commands.context import Services
from bot.commands.framework.model_choice import Tell, leased, model_of_place, tell_nobody
from bot.commands.tree.branches import as_json, as_text
from bot.commands.tree.expected import expected_instead
from bot.core.cards import TextFile
from bot.core.engine import Asker
from bot.core.messages import Scope
from bot.core.prompt_parts import Prompt
from bot.core.safe_text import clean_model_text, replace_lone_surrogates
from bot.core.sampling_params import COMPLETION_DEFAULTS, SamplingParams, apply_options, check_lacking
from bot.core.text_tree import TextTree
from bot.services.completions import CompletionState

# So often a reader sees more of a text that is being written.
_EVERY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Continued:
    """The continuations so far, those that differ; `seed` draws the same ones again, None if the model keeps none."""

    texts: tuple[str, ...]
    seed: int | None
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class OtherWord:
    """A word that the model expects in the place of another, as it is written there."""

    text: str
    probability: float


class Desk:
    """The models for editors: `scope` is the place whose model is meant; `person` tells whose turn a request takes.

    `tell` is told that a model is loaded first.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    async def continue_text(
        self,
        scope: Scope,
        text: str,
        options: Mapping[str, Any],
        *,
        num: int,
        max_new_tokens: int,
        seed: int,
        person: str,
        model: str | None = None,
        tell: Tell = tell_nobody,
    ) -> AsyncGenerator[Continued, None]:
        """Yield at most `num` (1-5) continuations of a text, up to the end of its line, while they are written.

        A half-typed word is finished. `model` is another one than the place's. Raises RequestError for options that are
        none or that the model lacks, PromptTooLong, Unavailable.
        """
        base = SamplingParams(n=num, max_new_tokens=max_new_tokens, seed=seed, stop=("\n",))
        params = apply_options(base, options)
        async with self._by(scope, tell, model) as services:
            engine = services.engine
            check_lacking(options, engine.info.lacking)
            kept = seed if engine.info.keeps_seed else None
            generation = engine.generate(
                _prompt(text), params, heal=True, timeout_s=services.request_timeout_s, asker=_asker(person)
            )
            written = [""] * params.n
            shown: tuple[str, ...] = ()
            next_s = 0.0
            async with generation:
                async for delta in generation:
                    written[delta.index] += delta.text
                    if time.monotonic() >= next_s and (texts := _cleaned(written)) != shown:
                        next_s, shown = time.monotonic() + _EVERY_S, texts
                        yield Continued(texts, kept)
            yield Continued(_cleaned([one.text for one in generation.completions]), kept, is_whole=True)

    async def words_instead(
        self, scope: Scope, before: str, word: str, *, person: str, tell: Tell = tell_nobody
    ) -> tuple[float | None, tuple[OtherWord, ...]]:
        """Return what the model expects behind `before`, in place of `word`: its probability, if known, and the others.

        The likeliest comes first. Raises PromptTooLong, Unavailable.
        """
        before, word = replace_lone_surrogates(before), replace_lone_surrogates(word)
        async with self._by(scope, tell) as services:
            probability, others = await expected_instead(services.engine, _asker(person), before, word)
        return probability, tuple(OtherWord(text, share) for text, share in others)

    async def exported(self, scope: Scope, tree: TextTree, form: Literal["txt", "json"]) -> TextFile:
        """Return a whole tree as a file. Raises Unavailable."""
        state = CompletionState("", is_command_line=False, params=COMPLETION_DEFAULTS, tree=tree)
        if form == "txt":
            return await asyncio.to_thread(as_text, state, "")
        model = model_of_place(self._services, await self._services.place_of(scope))
        return await asyncio.to_thread(as_json, state, "", model=model)

    @asynccontextmanager
    async def _by(self, scope: Scope, tell: Tell, model: str | None = None) -> AsyncIterator[Services]:
        """Return the parts with the model that is meant."""
        services = self._services
        name = model or model_of_place(services, await services.place_of(scope))
        async with leased(services, name, tell) as by:
            yield by


def _prompt(text: str) -> Prompt:
    return Prompt.document(replace_lone_surrogates(text))


def _asker(person: str) -> Asker:
    # Not the person's own turn: a command that is sent need not wait for what is offered while one types.
    return Asker(person=("writing", person))


def _cleaned(texts: list[str]) -> tuple[str, ...]:
    """Return the texts that differ, as people may see them."""
    cleaned = (clean_model_text(text).rstrip() for text in texts)
    return tuple(dict.fromkeys(text for text in cleaned if text))
