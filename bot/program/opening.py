"""What every way to run the bot has in common: the model, the store, the engine, and a bot for each platform."""

import asyncio
import gc
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from bot.background import keep_running
from bot.commands.bot import Bot
from bot.commands.context import Services
from bot.core.channel_settings import declare_settings
from bot.core.engine import Engine
from bot.core.platform_traits import PlatformTraits
from bot.core.watch import Watch
from bot.engine.engine import LocalEngine
from bot.engine.models.catalog import ModelChoice, ModelNotPulled, resolve_model
from bot.engine.models.model_folder import check_model_folder
from bot.engine.precision.choice import choose_precision, is_measured
from bot.engine.processors import count_processors
from bot.engine.references.record import read_references
from bot.engine.start_token.record import read_start_figures
from bot.errors import FewshotError, ModelError, SetupError
from bot.platforms.shared.masking import LogRules, mask_secrets
from bot.remote.choice import RemoteChoice, check_remote_name, is_remote_name
from bot.services.backups import BackupPlan, Backups
from bot.services.chat import Chat
from bot.services.measuring import Measuring
from bot.services.models import NO_OTHERS, Models, Offers
from bot.services.templates import TemplateLibrary, Templates
from bot.services.worth import measure_when_idle
from bot.settings import Settings
from bot.stalls import LoopStalls
from bot.store.store import Store
from bot.telling import say

logger = logging.getLogger("bot")

_RETENTION_INTERVAL_S: Final = 3600.0
_SERVER_WAIT_S: Final = 180.0  # a server that starts at the same time loads its model meanwhile
# No key of a server is logged, not even one of another server in a header.
LOG_RULES: Final = LogRules(
    token=re.compile(r"(Bearer )[\w.~+/=-]+"),
    library="openai",
    ordinary_errors=(ConnectionError,),
    libraries=("openai", "httpx2", "httpcore2"),
)
_NO_OPENAI: Final = (
    "The package for models of servers is not installed. Install it with:"
    " python -m pip install -c constraints.txt -e '.[openai]'"
)


def limit_threads(settings: Settings) -> Settings:
    """Return settings with no more threads than processors; say once if there were more."""
    num_processors = count_processors()
    if settings.num_threads <= num_processors:
        return settings
    say(
        f"NUM_THREADS={settings.num_threads} is more than this program may use, "
        f"so it uses {num_processors} (the number of its processors)."
    )
    return replace(settings, num_threads=num_processors)


async def _delete_expired(store: Store, retention_days: int) -> None:
    """Erase messages older than their retention; if that fails, another program may try. Raises Unavailable."""
    try:
        await store.delete_expired(default_days=retention_days)
    except FewshotError:
        if store.is_shared:
            await store.release("", "retention")
        raise


async def _forget_expired(store: Store, retention_days: int) -> None:
    """Erase messages older than their retention, now and every hour; of several programs one does it."""
    while True:
        try:
            await store.finish_forgetting()
            if not store.is_shared or not await store.claim("", "retention", _RETENTION_INTERVAL_S - 1):
                await _delete_expired(store, retention_days)
        except FewshotError as e:
            logger.warning("expired messages could not be erased: %s", e)
        await asyncio.sleep(_RETENTION_INTERVAL_S)


# A model on this machine, or one of a server.
Choice = ModelChoice | RemoteChoice


def choose_model(settings: Settings) -> Choice:
    """Return the model that MODEL names; download one of this machine first if it is missing. Raises ModelError."""
    if is_remote_name(settings.model):
        return remote_choice(settings, settings.model)
    try:
        return resolve_model(settings.model, settings.models_dir)
    except ModelNotPulled:
        return pull(settings.model, settings)


def remote_choice(settings: Settings, name: str) -> RemoteChoice:
    """Return the model `name` of the server that the settings name. Raises ModelError for a wrong name."""
    return RemoteChoice(
        check_remote_name(name),
        settings.model_api_base,
        settings.models_dir,
        settings.model_context_length,
        settings.read_model_api_key(),
    )


def pull(name: str, settings: Settings) -> ModelChoice:
    """Download a model. Raises ModelError."""
    if is_remote_name(name):
        raise ModelError(f"{name} is a model of a server, so there is nothing to download.")
    from bot.engine.models.pulling import PullLimits, pull_model

    return pull_model(name, settings.models_dir, PullLimits(timeout_s=settings.pull_timeout_s))


def prepare_model(settings: Settings, choice: Choice) -> str:
    """Measure the model's start token and precisions if that is not done yet; print and return the chosen precision.

    Call it before the event loop starts, so that Ctrl-C ends it at once. What a server can do is found when it is
    opened.
    """
    if isinstance(choice, RemoteChoice):
        _import_remote()
        return ""
    num_parameters = check_model_folder(choice.folder).num_parameters
    has_start = read_start_figures(choice.folder, settings.models_dir) is not None
    has_references = read_references(choice.folder, settings.models_dir) is not None
    if has_start and has_references and not is_measured(settings.precision, num_parameters):
        return choose_precision(settings.precision, num_parameters, ()).precision
    from bot.engine.loading import measure_model

    precision = measure_model(
        choice.folder,
        name=choice.name,
        device=settings.device,
        precision=settings.precision,
        num_threads=settings.num_threads or None,
        models_dir=settings.models_dir,
        tell=lambda _: None,  # loading the model reports it
    )
    if precision.is_worth_saying:
        say(precision.line)
    return precision.precision


@dataclass(frozen=True, slots=True)
class Core:
    """What all platforms of one program share."""

    settings: Settings
    store: Store
    engine: Engine
    models: Models
    measuring: Measuring
    shipped: TemplateLibrary
    stalls: LoopStalls
    backups: Backups
    watch: Watch

    def bot(self, traits: PlatformTraits) -> Bot:
        """Return the bot for a platform with these traits."""
        settings, chat_templates = self.settings, [one.name for one in self.shipped if one.kind == "chat"]
        channel_settings = declare_settings(
            chat_templates,
            models=self.models.names,
            retention_days=settings.retention_days,
            quota_per_minute=settings.quota_per_minute,
            server_quota_per_minute=settings.server_quota_per_minute,
            mention_pattern=traits.mention_pattern,
            roles=traits.roles,
            channels=traits.channels,
        )
        templates = Templates(self.shipped, self.store)
        chat = Chat(
            self.engine,
            self.store,
            templates,
            channel_settings,
            bot_name=settings.bot_name,
            timeout_s=settings.request_timeout_s,
        )
        return Bot(
            Services(
                engine=self.engine,
                store=self.store,
                templates=templates,
                chat=chat,
                channel_settings=channel_settings,
                measuring=self.measuring,
                traits=traits,
                models=self.models,
                command_prefix=settings.command_prefix,
                request_timeout_s=settings.request_timeout_s,
                owner_ids=frozenset(settings.owner_ids),
                stalls=self.stalls,
                watch=self.watch,
                backup_days=settings.retention_days if self.backups.is_planned else 0,
            )
        )


@asynccontextmanager
async def open_engine(
    settings: Settings, choice: Choice, *, server_wait_s: float = _SERVER_WAIT_S, watch: Watch | None = None
) -> AsyncIterator[Engine]:
    """Open the engine of the chosen model, and tell the operator what it lacks; close it at the end.

    A model on this machine is loaded; of one on a server it is found out what that can do. `watch` hears of each
    answer. Raises SetupError.
    """
    watch = watch or Watch()
    opened = (
        _open_remote(settings, choice, server_wait_s, watch)
        if isinstance(choice, RemoteChoice)
        else _open_local(settings, choice, watch)
    )
    async with opened as engine:
        if not logger.isEnabledFor(logging.WARNING):  # else the log shows them
            for notice in engine.info.notices:
                say(notice)
        yield engine


@asynccontextmanager
async def _open_local(settings: Settings, choice: ModelChoice, watch: Watch) -> AsyncIterator[Engine]:
    async with LocalEngine.open(
        choice.folder,
        name=choice.name,
        device=settings.device,
        precision=settings.precision,
        max_waiting=settings.max_waiting,
        num_threads=settings.num_threads or None,
        kv_cache_mb=settings.kv_cache_mb,
        models_dir=settings.models_dir,
        max_running_per_person=settings.max_running_per_person,
        on_answer=watch.count_answer,
    ) as engine:
        watch.batches[choice.name] = engine.batch_figures
        try:
            yield engine
        finally:
            del watch.batches[choice.name]


def _import_remote() -> None:
    """Import what asks servers, which takes a second. Raises SetupError if it is not installed."""
    try:
        import bot.remote.engine
        import bot.remote.own_server.served_engine  # noqa: F401
    except ModuleNotFoundError as e:
        raise SetupError(_NO_OPENAI) from e


@asynccontextmanager
async def _open_remote(settings: Settings, choice: RemoteChoice, wait_s: float, watch: Watch) -> AsyncIterator[Engine]:
    """Wait for the server; use all of it if it is one of this bot, else what it is found to do."""
    mask_secrets(choice.api_key, LOG_RULES)
    _import_remote()
    from bot.remote.engine import RemoteEngine
    from bot.remote.own_server.served_engine import open_own_server

    async with open_own_server(choice, say, limit_s=wait_s, on_answer=watch.count_answer) as served:
        if served is not None:
            yield served
            return
    async with RemoteEngine.open(
        choice,
        max_waiting=settings.max_waiting,
        max_running=settings.model_max_running,
        max_running_per_person=settings.max_running_per_person,
        tell=say,
        on_answer=watch.count_answer,
    ) as engine:
        yield engine


@asynccontextmanager
async def open_core(
    settings: Settings, choice: Choice, offers: Offers = NO_OTHERS, watch: Watch | None = None
) -> AsyncIterator[Core]:
    """Open store and engine, offer other models, and begin the work in the background; close everything at the end."""
    watch = watch or Watch()
    shipped = TemplateLibrary.read(settings.prompts_dir)
    async with (
        Store.open(settings.database, settings.backup_dir) as store,
        open_engine(settings, choice, watch=watch) as engine,
    ):
        for notice in store.notices:
            say(notice)
        measuring = Measuring(engine, store, bot_name=settings.bot_name)
        models = Models(engine, offers)
        stalls = LoopStalls()
        plan = BackupPlan(settings.backup_every_h, settings.backups_kept, settings.retention_days)
        backups = Backups(store, plan)
        background = [
            keep_running(stalls.watch, "watching the event loop"),
            keep_running(lambda: _forget_expired(store, settings.retention_days), "erasing expired messages"),
            keep_running(backups.run, "backups"),
        ]
        if not engine.info.server:  # what nobody asked for is not worth somebody's money or another machine's time
            start = partial(measure_when_idle, measuring, engine, shipped)
            background.append(keep_running(start, "measuring the built-in templates"))
        try:
            yield Core(settings, store, engine, models, measuring, shipped, stalls, backups, watch)
        finally:
            await models.close()
            for task in background:
                task.cancel()
            await asyncio.wait(background)


@asynccontextmanager
async def open_bot(
    settings: Settings, choice: Choice, traits: PlatformTraits, offers: Offers = NO_OTHERS
) -> AsyncIterator[Bot]:
    """Open everything that the bot needs on one platform; close it at the end."""
    async with open_core(settings, choice, offers) as core:
        yield core.bot(traits)


def load_quickly() -> None:
    """Collect no garbage while loading: importing torch creates almost none, and a collection takes a second."""
    gc.disable()


def is_loaded() -> None:
    """Collect garbage from now on, except among the imported objects, which are never freed."""
    gc.freeze()
    gc.enable()
