"""The settings and templates in effect where a message was written, and whether its author may be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.core.channel_settings import ChannelSetting, effective_values, with_chat_templates
from bot.core.messages import Scope
from bot.services.templates import ServerLibrary, Templates
from bot.store.store import Store


@dataclass(frozen=True, slots=True)
class Place:
    """The settings and templates in effect in a scope for one author, read once per message in one query.

    `values` has the effective value of every setting, `stored` only those that somebody set. `template_change` is the
    number of the last change to `templates`. `is_opted_out` says that the author asked not to be read. `story_since` is
    when the story that is being written there was started, None if there is none.
    """

    templates: ServerLibrary
    values: Mapping[str, str]
    stored: Mapping[str, str]
    template_change: int
    is_opted_out: bool
    story_since: datetime | None

    def has_story_at(self, moment: datetime) -> bool:
        """Say whether what was said at `moment` belongs to a story that is being written there."""
        return self.story_since is not None and moment > self.story_since


async def load_place(
    store: Store,
    templates: Templates,
    channel_settings: Mapping[str, ChannelSetting],
    scope: Scope,
    author_id: str | None = None,
) -> Place:
    """Return the current settings and templates of `scope` for `author_id` (None: no author). Raises Unavailable."""
    found = await store.load_place(scope, author_id)
    library = await templates.after(scope, found.template_change)
    declared = with_chat_templates(channel_settings, library.chat_names)
    values = effective_values(declared, found.settings)
    return Place(library, values, found.settings, found.template_change, found.is_opted_out, found.story_since)
