"""What holds where a message was said: the settings, the templates, and whether its author may be read."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.core.channel_settings import ChannelSetting, effective_values, with_chat_templates
from bot.core.messages import Scope
from bot.services.templates import ServerLibrary, Templates
from bot.store.store import Store


@dataclass(frozen=True, slots=True)
class Place:
    """What holds in a scope for one author: read once for a message, in one trip to the store, and handed on.

    `values` has every setting as it holds there, `stored` those that somebody set. `template_change` is the number of
    the last change to `templates`. `is_opted_out` says that the author asked not to be read.
    """

    templates: ServerLibrary
    values: Mapping[str, str]
    stored: Mapping[str, str]
    template_change: int
    is_opted_out: bool


async def load_place(
    store: Store,
    templates: Templates,
    channel_settings: Mapping[str, ChannelSetting],
    scope: Scope,
    author_id: str | None = None,
) -> Place:
    """Return what holds in `scope` now for the author `author_id`, None for nobody. Raises Unavailable."""
    found = await store.load_place(scope, author_id)
    library = await templates.after(scope, found.template_change)
    declared = with_chat_templates(channel_settings, library.chat_names)
    values = effective_values(declared, found.settings)
    return Place(library, values, found.settings, found.template_change, found.is_opted_out)
