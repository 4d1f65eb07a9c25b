"""`python -m bot discord`, `slack`, `web`, or several in one program: they share the engine and the store."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bot.commands.bot import COMMANDS
from bot.core.platform_traits import PlatformTraits
from bot.core.shards import Shards
from bot.core.watch import Watch
from bot.errors import SetupError
from bot.platforms.shared.masking import mask_secrets
from bot.platforms.shared.signals import ended_by_signals
from bot.program.monitor import hold_metrics_port, watched
from bot.program.offers import choose_models, prepare_models
from bot.program.opening import Choice, Core, is_loaded, load_quickly, open_core
from bot.services.ledger import Delivery
from bot.services.models import Offers
from bot.services.sharing import Sharing
from bot.services.templates import TemplateLibrary
from bot.settings import Settings
from bot.store.backends import hold_platform
from bot.store.processes import LEASE_S
from bot.store.store import Store
from bot.telling import say

if TYPE_CHECKING:
    from bot.monitoring.server import HeldPort

logger = logging.getLogger(__name__)

# Connects one platform and answers there until the event is set.
Start = Callable[[Core, Sharing | None, asyncio.Event], Coroutine[Any, Any, None]]

# Those that connect to a service; the others are asked at an address of this machine.
_CONNECTING: Final = frozenset({"discord", "slack"})
_NO_SLACK: Final = (
    "Slack's packages are not installed. Install them with: python -m pip install -c constraints.txt -e '.[slack]'"
)


@dataclass(frozen=True, slots=True)
class Run:
    """What a program runs with; `platforms` are the keys of its platforms, `metrics` the address of its figures."""

    settings: Settings
    choice: Choice
    offers: Offers
    watch: Watch
    metrics: "HeldPort | None"
    platforms: tuple[str, ...]
    seats: Callable[[], tuple[str, ...]]


def run_chat_services(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the bot on the platforms that the command line names; return the exit status."""
    load_quickly()
    if getattr(arguments, "manifest", False):
        return _print_manifest(settings)
    # Until the bot is connected there is nothing to lose. As a container's first process it would ignore the signal.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    names = dict.fromkeys([arguments.command, *arguments.also])
    if getattr(arguments, "invite", False):
        return _print_invitation(settings)
    # Before the model is loaded, so that a wrong token is reported at once.
    starts = [_PREPARE[name](settings, arguments) for name in names]
    metrics = hold_metrics_port(settings)
    TemplateLibrary.read(settings.prompts_dir)
    watch = Watch()
    with ExitStack() as stack:
        if metrics is not None:
            stack.enter_context(metrics)
        held = [
            stack.enter_context(hold_platform(settings.database, traits.name, parts=_parts_of(settings, traits)))
            for traits, _ in starts
        ]
        choices = choose_models(settings)
        for choice in choices:
            say(choice.line)
        offers = prepare_models(settings, choices, watch)
        run = Run(
            settings,
            choices[0],
            offers,
            watch,
            metrics,
            tuple(traits.key for traits, _ in starts),
            lambda: tuple(seat for seats in held for seat in seats()),
        )
        asyncio.run(_run(run, [start for _, start in starts]))
    return 0


async def _run(run: Run, starts: Sequence[Start]) -> None:
    """Answer on all platforms until a signal."""
    is_over = asyncio.Event()
    connecting = [name for name in run.platforms if name in _CONNECTING]
    async with (
        open_core(run.settings, run.choice, run.offers, run.watch) as core,
        _shared(core, run.seats) as sharing,
        watched(core, run.metrics, run.platforms, connecting),
    ):
        is_loaded()
        with ended_by_signals(is_over):
            error = await _wait_for_all([start(core, sharing, is_over) for start in starts], is_over)
    if error is not None:
        raise error


@asynccontextmanager
async def _shared(core: Core, seats: Callable[[], tuple[str, ...]]) -> AsyncIterator[Sharing | None]:
    """Share requests with other programs while the block runs, if the database allows several."""
    if not core.store.is_shared:
        yield None
        return
    async with Sharing.open(core.store, seats) as sharing:
        await _check_totals(core.store, core.settings.shards)
        yield sharing


async def _wait_for_all(platforms: Sequence[Coroutine[Any, Any, None]], is_over: asyncio.Event) -> BaseException | None:
    """Run the platforms to their ends, and return the first error; where one ends, the others end in order."""
    running = [asyncio.ensure_future(platform) for platform in platforms]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    is_over.set()
    await asyncio.wait(running)
    errors = [error for task in running if (error := task.exception()) is not None]
    for error in errors[1:]:
        logger.error("another platform failed as well: %s", error)
    return errors[0] if errors else None


def _parts_of(settings: Settings, traits: PlatformTraits) -> Sequence[str]:
    """Return the parts of a platform that this program has, where others may have others; () is all of it."""
    return settings.shards.names if traits.key == "discord" and settings.shards is not None else ()


async def _check_totals(store: Store, shards: Shards | None) -> None:
    """Raise SetupError if other programs count the shards differently: events would come twice, or to none."""
    if shards is None:
        return
    for seat in await store.other_seats():
        platform, _, part = seat.partition(" ")
        total = part.partition("/")[2]
        if platform == "discord" and total and total != str(shards.total):
            raise SetupError(
                f"Another program runs the bot on Discord with {total} shards, this one with {shards.total}. Stop all,"
                f" wait for {LEASE_S:g} seconds, and start them with the same number."
            )


def _prepare_discord(settings: Settings, arguments: argparse.Namespace) -> tuple[PlatformTraits, Start]:
    from bot.platforms.discord.client import FewshotClient
    from bot.platforms.discord.log_rules import LOG_RULES
    from bot.platforms.discord.outgoing.request_limit import RequestLimit
    from bot.platforms.discord.running import run_discord
    from bot.platforms.discord.starting import Application, look_up_application, use_api
    from bot.platforms.discord.traits import DISCORD

    if settings.shards is not None and isinstance(settings.database, Path):
        raise SetupError(
            "SHARDS needs a database that several programs can share: set DATABASE to one on PostgreSQL, or remove"
            " SHARDS."
        )
    token = settings.read_discord_token()
    mask_secrets(token, LOG_RULES)
    use_api(settings.discord_api_base)
    requests = RequestLimit()
    application = asyncio.run(look_up_application(token, requests))

    async def start(core: Core, sharing: Sharing | None, is_over: asyncio.Event) -> None:
        bot = core.bot(DISCORD)

        def client_of(application: Application) -> FewshotClient:
            return FewshotClient(
                bot,
                Delivery(core.store, DISCORD, sharing),
                application,
                requests=requests,
                owner_ids=frozenset(settings.owner_ids),
                api_base=settings.discord_api_base,
                forces_sync=getattr(arguments, "sync", False),
                shards=settings.shards,
                tell=say,
            )

        await run_discord(client_of, application, token, say, is_over=is_over)

    return DISCORD, start


def _prepare_slack(settings: Settings, _: argparse.Namespace) -> tuple[PlatformTraits, Start]:
    try:
        from bot.platforms.slack.log_rules import LOG_RULES
        from bot.platforms.slack.running import check_slack, run_slack
        from bot.platforms.slack.traits import SLACK
    except ModuleNotFoundError as e:
        raise SetupError(_NO_SLACK) from e

    bot_tokens, app_token = settings.read_slack_bot_tokens(), settings.read_slack_app_token()
    for secret in (*bot_tokens, app_token):
        mask_secrets(secret, LOG_RULES)
    asyncio.run(check_slack(bot_tokens, app_token, settings.slack_api_url))
    prefix = settings.slack_command_prefix
    traits = replace(SLACK, slash_prefix=f"/{prefix}{SLACK.slash_prefix.removeprefix('/')}")

    async def start(core: Core, sharing: Sharing | None, is_over: asyncio.Event) -> None:
        await run_slack(
            core.bot(traits),
            Delivery(core.store, traits, sharing),
            bot_tokens=bot_tokens,
            app_token=app_token,
            api_url=settings.slack_api_url,
            name_prefix=prefix,
            is_over=is_over,
            tell=say,
        )

    return traits, start


def _prepare_web(settings: Settings, arguments: argparse.Namespace) -> tuple[PlatformTraits, Start]:
    from bot.platforms.web.running import hold_port, run_web
    from bot.platforms.web.traits import WEB

    held = hold_port(settings.web_port)

    async def start(core: Core, sharing: Sharing | None, is_over: asyncio.Event) -> None:
        await run_web(
            core.bot(WEB),
            Delivery(core.store, WEB, sharing),
            held,
            first_name=getattr(arguments, "name", "") or "You",
            opens=arguments.command == "web" and not arguments.no_open,
            is_over=is_over,
            tell=say,
        )

    return WEB, start


_PREPARE: Final = {"discord": _prepare_discord, "slack": _prepare_slack, "web": _prepare_web}


def _print_invitation(settings: Settings) -> int:
    from bot.platforms.discord.log_rules import LOG_RULES
    from bot.platforms.discord.outgoing.request_limit import RequestLimit
    from bot.platforms.discord.starting import look_up_application, use_api

    token = settings.read_discord_token()
    mask_secrets(token, LOG_RULES)
    use_api(settings.discord_api_base)
    application = asyncio.run(look_up_application(token, RequestLimit()))
    sys.stdout.write(f"{application.invite_url}\n")
    return 0


def _print_manifest(settings: Settings) -> int:
    from bot.platforms.slack.manifest import manifest_text

    text = manifest_text(
        COMMANDS,
        bot_name=settings.bot_name,
        name_prefix=settings.slack_command_prefix,
        command_prefix=settings.command_prefix,
    )
    sys.stdout.write(text)
    sys.stdout.flush()
    say("Paste this at https://api.slack.com/apps: Create New App, From a manifest. docs/slack.md has the next steps.")
    return 0
