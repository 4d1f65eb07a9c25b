"""Continuations of a text while somebody types it: ready in a second or not at all, one request a person."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from bot.core.engine import Asker, Engine, Generation
from bot.core.prompt_parts import Prompt
from bot.core.safe_text import clean_model_text, replace_lone_surrogates
from bot.core.sampling_params import SamplingParams
from bot.errors import FewshotError
from bot.services.models import Models

# Discord gives 3 s for all of it, and the next key is pressed before that.
WAIT_S: Final = 1.0
# Somebody else's server may take money for each request, so it is asked only once a person pauses.
PAUSE_S: Final = 0.5
_NUM: Final = 3
_MAX_NEW_TOKENS: Final = 8
_SEED: Final = 0
# Below this room there is no word to add.
_MIN_ROOM: Final = 3
_MAX_CACHED: Final = 32


class Continuations:
    """Continues what people are typing. Of what they typed only a digest is kept, in memory, to find the last results.

    `max_characters` is the most that a typed text and its continuation may have together.
    """

    def __init__(self, models: Models, *, max_characters: int) -> None:
        self._models = models
        self._max_characters = max_characters
        self._running: dict[Hashable, Generation] = {}
        self._newest: dict[Hashable, object] = {}  # what somebody typed last, while it waits for a pause
        self._cached: OrderedDict[bytes, tuple[str, ...]] = OrderedDict()

    async def suggest(self, person: Hashable, typed: str, model: str) -> tuple[str, ...]:
        """Return `typed` with each of its continuations, as far as they are written after WAIT_S at the latest.

        The request for what the person typed before is cancelled, and returns nothing. A `model` that is not loaded has
        no suggestions: loading takes longer than anybody waits, and may close one that others use.
        """
        before = self._running.pop(person, None)
        if before is not None:
            before.cancel()
        self._newest.pop(person, None)
        text = replace_lone_surrogates(typed)
        if not text.strip() or self._max_characters - len(text) < _MIN_ROOM:
            return ()
        if not self._models.is_ready(model):
            return ()
        digest = hashlib.sha256(f"{model}\0{text}".encode()).digest()
        if digest in self._cached:
            self._cached.move_to_end(digest)
            continuations = self._cached[digest]
        else:
            async with self._models.lease(model) as engine:
                if await self._is_overtaken(person, engine):
                    return ()
                written, is_whole = await self._write(person, text, engine)
            continuations = tuple(dict.fromkeys(filter(None, map(_cleaned, written))))
            if is_whole:
                self._keep(digest, continuations)
        fitting = (_fitted(text, one, self._max_characters) for one in continuations)
        return tuple(dict.fromkeys(one for one in fitting if one is not None))

    async def _is_overtaken(self, person: Hashable, engine: Engine) -> bool:
        """Say whether the person typed on within a pause; a model of this bot's own is asked without one."""
        if not engine.info.server:
            return False
        own = self._newest[person] = object()
        await asyncio.sleep(PAUSE_S)
        if self._newest.get(person) is not own:
            return True
        del self._newest[person]
        return False

    async def _write(self, person: Hashable, text: str, engine: Engine) -> tuple[list[str], bool]:
        """Return what the model writes after `text`, and whether it is whole; nothing after a newer request."""
        params = SamplingParams(n=_NUM, max_new_tokens=_MAX_NEW_TOKENS, seed=_SEED, stop=("\n",))
        generation = engine.generate(
            Prompt.plain(text),
            params,
            heal=True,
            timeout_s=WAIT_S,
            # Not the person's own turn: a command that is sent need not wait for its suggestions. Chats go first.
            asker=Asker(person=("typing", person)),
            priority="scoring",
        )
        self._running[person] = generation
        written = [""] * _NUM
        is_whole = False
        try:
            async with asyncio.timeout(WAIT_S), generation:
                async for delta in generation:
                    written[delta.index] += delta.text
            is_whole = all(one.finish_reason != "cancelled" for one in generation.completions)
        except TimeoutError:
            pass  # what is written by now is shown
        except FewshotError:
            written = []
        if self._running.get(person) is not generation:
            return [], False
        del self._running[person]
        return written, is_whole

    def _keep(self, digest: bytes, continuations: tuple[str, ...]) -> None:
        self._cached[digest] = continuations
        while len(self._cached) > _MAX_CACHED:
            self._cached.popitem(last=False)


def _cleaned(text: str) -> str:
    return clean_model_text(text).rstrip()


def _fitted(text: str, continuation: str, max_characters: int) -> str | None:
    """Return both together, without the words at the end that do not fit; None if none fits."""
    whole = text + continuation
    if len(whole) > max_characters:
        cut = whole[: max_characters + 1].rfind(" ")
        whole = whole[:cut] if cut > len(text) else text
    return whole if whole.strip() != text.strip() else None
