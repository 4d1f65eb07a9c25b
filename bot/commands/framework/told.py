"""A story as it can be read now: the stored parts with their words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bot.commands.context import Services
from bot.commands.framework.command import Command
from bot.commands.framework.request import asked_text, is_command_line
from bot.core.messages import Scope
from bot.core.story import StoryPart, join_parts
from bot.store.story import StoredPart, StoredStory

_STEP: Final = re.compile(r"[1-9]|again|undo", re.IGNORECASE)


def is_step(text: str) -> bool:
    """Say whether a plain message is a step of a story rather than words of it."""
    return _STEP.fullmatch(text.strip()) is not None


@dataclass(frozen=True, slots=True)
class Told:
    """A stored story, and its text: `parts` are the words of those of its parts that can be read (`readable`)."""

    stored: StoredStory
    readable: tuple[StoredPart, ...]
    parts: tuple[StoryPart, ...]

    @property
    def text(self) -> str:
        """Return the whole text."""
        return join_parts(self.parts)


async def load_told(services: Services, commands: Mapping[str, Command], scope: Scope) -> Told | None:
    """Return the story in progress in `scope`, else the last one; None if there is none."""
    stored = await services.store.load_story(scope)
    if stored is None:
        return None
    words = [(part, words_of_part(services, commands, stored.begun_by, part)) for part in stored.parts]
    readable = [(part, one) for part, one in words if one is not None]
    return Told(stored, tuple(part for part, _ in readable), tuple(one for _, one in readable))


def words_of_part(
    services: Services, commands: Mapping[str, Command], begun_by: str, part: StoredPart
) -> StoryPart | None:
    """Return the words of a part of the story that the message `begun_by` began; None if they are gone."""
    if part.bot_text is not None:
        return StoryPart(part.bot_text, is_bot=True)
    if part.message is None:
        return None
    is_first = part.message_id == begun_by
    if not is_first and (is_step(part.message.text) or is_command_line(part.message.text, services.command_prefix)):
        return None  # an edit made something else of it
    asked = asked_text(
        part.message,
        is_command_line=is_first,
        prefix=services.command_prefix,
        commands=commands,
    )
    return StoryPart(asked[0], is_bot=False) if asked is not None and asked[0].strip() else None
