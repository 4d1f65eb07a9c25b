"""What an editor asks of the model: continuations of a text while they are written, and other words for one of it."""

import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from bot.commands.context import Services
from bot.commands.tree.branches import as_json, as_text
from bot.commands.tree.expected import expected_instead
from bot.core.cards import TextFile
from bot.core.engine import Asker
from bot.core.prompt_parts import Prompt
from bot.core.safe_text import clean_model_text, replace_lone_surrogates
from bot.core.sampling_params import COMPLETION_DEFAULTS, SamplingParams, apply_options, check_lacking
from bot.core.text_tree import TextTree
from bot.services.completions import CompletionState

# So often a reader sees more of a text that is being written.
_EVERY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Continued:
    """The continuations so far, those that differ; `seed` is that with which they are drawn."""

    texts: tuple[str, ...]
    seed: int
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class OtherWord:
    """A word that the model expects in the place of another, as it is written there."""

    text: str
    probability: float


class Desk:
    """The model for editors; `person` tells whose turn a request takes."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def continue_text(
        self, text: str, options: Mapping[str, Any], *, num: int, max_new_tokens: int, seed: int, person: str
    ) -> AsyncGenerator[Continued, None]:
        """Yield at most `num` (1-5) continuations of a text, up to the end of its line, while they are written.

        A half-typed word is finished. Raises RequestError for options that are none, PromptTooLong, Unavailable.
        """
        base = SamplingParams(n=num, max_new_tokens=max_new_tokens, seed=seed, stop=("\n",))
        check_lacking(options, self._services.engine.info.lacking)
        params = apply_options(base, options)
        generation = self._services.engine.generate(
            _prompt(text), params, heal=True, timeout_s=self._services.request_timeout_s, asker=_asker(person)
        )
        written = [""] * params.n
        shown: tuple[str, ...] = ()
        next_s = 0.0
        async with generation:
            async for delta in generation:
                written[delta.index] += delta.text
                if time.monotonic() >= next_s and (texts := _cleaned(written)) != shown:
                    next_s, shown = time.monotonic() + _EVERY_S, texts
                    yield Continued(texts, seed)
        yield Continued(_cleaned([one.text for one in generation.completions]), seed, is_whole=True)

    async def words_instead(self, before: str, word: str, *, person: str) -> tuple[float | None, tuple[OtherWord, ...]]:
        """Return what the model expects behind `before`, in place of `word`: its probability, if known, and the others.

        The likeliest comes first. Raises PromptTooLong, Unavailable.
        """
        before, word = replace_lone_surrogates(before), replace_lone_surrogates(word)
        probability, others = await expected_instead(self._services.engine, _asker(person), before, word)
        return probability, tuple(OtherWord(text, share) for text, share in others)

    def exported(self, tree: TextTree, form: Literal["txt", "json"]) -> TextFile:
        """Return a whole tree as a file."""
        state = CompletionState("", is_command_line=False, params=COMPLETION_DEFAULTS, tree=tree)
        return as_text(state, "") if form == "txt" else as_json(state, "", model=self._services.engine.info.name)


def _prompt(text: str) -> Prompt:
    return Prompt.document(replace_lone_surrogates(text))


def _asker(person: str) -> Asker:
    # Not the person's own turn: a command that is sent need not wait for what is offered while one types.
    return Asker(person=("writing", person))


def _cleaned(texts: list[str]) -> tuple[str, ...]:
    """Return the texts that differ, as people may see them."""
    cleaned = (clean_model_text(text).rstrip() for text in texts)
    return tuple(dict.fromkeys(text for text in cleaned if text))
