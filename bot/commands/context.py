"""What the commands work with: one object, built once in bot.__main__."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from bot.commands.framework.command import Command
from bot.core.channel_settings import ChannelSetting, effective_values, with_chat_templates
from bot.core.messages import Author, Scope, now_utc
from bot.core.platform_traits import PlatformTraits
from bot.engine.engine import Engine
from bot.services.chat import Chat
from bot.services.measuring import Measuring
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
    commands: Mapping[str, Command]
    measuring: Measuring
    traits: PlatformTraits
    command_prefix: str = "!"
    request_timeout_s: float = 60.0
    started_at_utc: datetime = field(default_factory=now_utc)
    owner_ids: frozenset[str] = frozenset()

    async def declared_in(self, scope: Scope) -> Mapping[str, ChannelSetting]:
        """Return the settings as they may be set in `scope`, whose server may have templates of its own."""
        return with_chat_templates(self.channel_settings, (await self.templates.of(scope)).chat_names)

    async def settings_in(self, scope: Scope) -> Mapping[str, str]:
        """Return the value of every setting as it holds in `scope`."""
        return effective_values(await self.declared_in(scope), await self.store.get_settings(scope))

    async def with_rights(self, scope: Scope, author: Author) -> Author:
        """Return `author` with all that makes a moderator here taken into account.

        That is: the platform says so, a direct message, being an operator, or one of the roles that the server names.
        """
        is_moderator = author.is_moderator or scope.is_direct or author.id in self.owner_ids
        if not is_moderator and author.roles:
            roles = (await self.settings_in(scope))["moderator_roles"].split()
            is_moderator = not set(roles).isdisjoint(author.roles)
        return replace(author, is_moderator=is_moderator and not author.is_bot)
