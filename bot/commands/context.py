"""The parts of the bot that commands use: one object, built once in bot.program.opening."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bot.core.channel_settings import ChannelSetting, with_chat_templates
from bot.core.engine import Engine
from bot.core.messages import Author, Scope, now_utc
from bot.core.platform_traits import PlatformTraits
from bot.core.rights import is_moderator
from bot.core.watch import Watch
from bot.services.chat import Chat
from bot.services.measuring import Measuring
from bot.services.models import Models
from bot.services.places import Place, load_place
from bot.services.story import StoryTurns
from bot.services.templates import Templates
from bot.stalls import LoopStalls
from bot.store.store import Store


@dataclass(slots=True)
class PlaceNames:
    """The names of roles and channels: `look_up` is the platform's, and returns None for an id that it does not know.

    Without it, ids are their own names. `fetch` asks the platform first, where names are not there by themselves.
    """

    look_up: Callable[[Scope, str], str | None] | None = None
    fetch: Callable[[Scope, Sequence[str]], Awaitable[None]] | None = None

    async def prepare(self, scope: Scope, ids: Sequence[str]) -> None:
        """Let `name_of` know these ids, as far as the platform tells."""
        if self.fetch is not None and ids:
            await self.fetch(scope, ids)

    def name_of(self, scope: Scope, id: str) -> str:
        """Return the name of a role or channel of the server of `scope`, as people write it."""
        if self.look_up is None:
            return id
        return self.look_up(scope, id) or f"{id} (deleted)"


@dataclass(frozen=True, slots=True)
class PlatformFigure:
    """A count of the platform for `stats`: `label` is for people, `read` gives the present value."""

    label: str
    read: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the running bot. `engine`, `chat` and `measuring` are those of one of the `models`.

    `traits` are the facts of its platform, `names` its roles and channels. `owner_ids` are the ids of the operators,
    who are moderators everywhere. `platform_figures` are what `stats` shows of the platform, by their names in JSON.
    What is erased may be in backups for `backup_days` more. `watch` hears of each request that ends.
    """

    engine: Engine
    store: Store
    templates: Templates
    chat: Chat
    channel_settings: Mapping[str, ChannelSetting]
    measuring: Measuring
    traits: PlatformTraits
    models: Models
    command_prefix: str = "!"
    request_timeout_s: float = 60.0
    started_at_utc: datetime = field(default_factory=now_utc)
    owner_ids: frozenset[str] = frozenset()
    names: PlaceNames = field(default_factory=PlaceNames)
    platform_figures: dict[str, PlatformFigure] = field(default_factory=dict)
    story_turns: StoryTurns = field(default_factory=StoryTurns)
    stalls: LoopStalls = field(default_factory=LoopStalls)
    backup_days: int = 0
    watch: Watch = field(default_factory=Watch)

    def on(self, engine: Engine) -> "Services":
        """Return the same parts with another model."""
        if engine is self.engine:
            return self
        return replace(self, engine=engine, chat=self.chat.on(engine), measuring=self.measuring.on(engine))

    @property
    def named_model(self) -> str:
        """Return the name of this model where there are several, "" where it needs no name."""
        if len(self.models.names) == 1:
            return ""
        name = self.engine.info.name
        return self.models.find(name) or name

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

        The server's roles for moderators are read from `place`, or without it from the store.
        """
        role_ids: list[str] = []
        if author.roles and not author.is_moderator:
            values = place.values if place is not None else await self.settings_in(scope)
            role_ids = values["moderator_roles"].split()
        is_operator = author.id in self.owner_ids
        return replace(
            author, is_moderator=is_moderator(scope.kind, author, is_operator=is_operator, role_ids=role_ids)
        )
