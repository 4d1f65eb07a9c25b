"""What the commands work with: one object, built once in bot.__main__. It knows no command."""

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
    """The parts of the running bot. `traits` are its platform's.

    `owner_ids` are the operators', who are moderators everywhere.
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
        """Return the settings as they may be set in `scope`, whose server may have templates of its own."""
        return with_chat_templates(self.channel_settings, (await self.templates.of(scope)).chat_names)

    async def place_of(self, scope: Scope, author: Author | None = None) -> Place:
        """Return what holds in `scope` now for `author`, in one trip to the store."""
        author_id = None if author is None else author.id
        return await load_place(self.store, self.templates, self.channel_settings, scope, author_id)

    async def settings_in(self, scope: Scope) -> Mapping[str, str]:
        """Return the value of every setting as it holds in `scope` now."""
        return (await self.place_of(scope)).values

    async def with_rights(self, scope: Scope, author: Author, place: Place | None = None) -> Author:
        """Return `author` with all that makes a moderator here taken into account.

        That is: the platform says so, a direct message, being an operator, or one of the roles that the server names,
        which `place` tells; without it they are read.
        """
        is_moderator = author.is_moderator or scope.is_direct or author.id in self.owner_ids
        if not is_moderator and author.roles:
            values = place.values if place is not None else await self.settings_in(scope)
            is_moderator = not set(values["moderator_roles"].split()).isdisjoint(author.roles)
        return replace(author, is_moderator=is_moderator and not author.is_bot)
