"""The parts of the bot that commands use: one object, built once in bot.__main__."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from bot.core.channel_settings import ChannelSetting, with_chat_templates
from bot.core.messages import Author, Scope, now_utc
from bot.core.platform_traits import PlatformTraits
from bot.engine.engine import Engine
from bot.services.chat import Chat
from bot.services.measuring import Measuring
from bot.services.places import Place, load_place
from bot.services.templates import Templates
from bot.store.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the running bot. `traits` are the facts of its platform.

    `owner_ids` are the ids of the operators, who are moderators everywhere.
    """

    engine: Engine
    store: Store
    templates: Templates
    chat: Chat
    channel_settings: Mapping[str, ChannelSetting]
    measuring: Measuring
    traits: PlatformTraits
    command_prefix: str = "!"
    request_timeout_s: float = 60.0
    started_at_utc: datetime = field(default_factory=now_utc)
    owner_ids: frozenset[str] = frozenset()

    async def declared_in(self, scope: Scope) -> Mapping[str, ChannelSetting]:
        """Return the settings of `scope`, whose server may have its own chat templates."""
        return with_chat_templates(self.channel_settings, (await self.templates.of(scope)).chat_names)

    async def place_of(self, scope: Scope, author: Author | None = None) -> Place:
        """Return settings, templates and privacy of `author` in `scope`, in one query of the store."""
        author_id = None if author is None else author.id
        return await load_place(self.store, self.templates, self.channel_settings, scope, author_id)

    async def settings_in(self, scope: Scope) -> Mapping[str, str]:
        """Return the current value of every setting in `scope`."""
        return (await self.place_of(scope)).values

    async def with_rights(self, scope: Scope, author: Author, place: Place | None = None) -> Author:
        """Return `author` with `is_moderator` as it holds in `scope`.

        A moderator is one for the platform, in a direct message, as an operator, or by one of the server's roles for
        moderators. These are read from `place`, or without it from the store.
        """
        is_moderator = author.is_moderator or scope.is_direct or author.id in self.owner_ids
        if not is_moderator and author.roles:
            values = place.values if place is not None else await self.settings_in(scope)
            is_moderator = not set(values["moderator_roles"].split()).isdisjoint(author.roles)
        return replace(author, is_moderator=is_moderator and not author.is_bot)
