"""METRICS_PORT: the address where a running bot is watched; and `python -m bot health`, which asks it."""

import argparse
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from bot.core.watch import Connection
from bot.errors import SetupError
from bot.monitoring.asking import ask_health
from bot.program.opening import Core
from bot.settings import Settings
from bot.telling import say

if TYPE_CHECKING:
    from bot.monitoring.server import HeldPort

_NO_METRICS: Final = (
    "METRICS_PORT needs packages that are not installed. Install them with:"
    " python -m pip install -c constraints.txt -e '.[metrics]'"
)


def hold_metrics_port(settings: Settings) -> "HeldPort | None":
    """Return the bound address for the figures, None without METRICS_PORT. Raises SetupError."""
    if settings.metrics_port is None:
        return None
    try:
        from bot.monitoring.server import hold_port
    except ModuleNotFoundError as e:
        raise SetupError(_NO_METRICS) from e
    return hold_port(settings.metrics_host, settings.metrics_port)


@asynccontextmanager
async def watched(
    core: Core, held: "HeldPort | None", platforms: Sequence[str], connecting: Sequence[str]
) -> AsyncIterator[None]:
    """Let the bot be watched at the bound address for a block; `connecting` are the platforms with a service."""
    if held is None:
        yield
        return
    from bot.commands.bot import REPORTED_COMMANDS
    from bot.monitoring.figures import BotFigures, Watched
    from bot.monitoring.health import Health
    from bot.monitoring.server import serve_figures

    figures = BotFigures(Watched(core.engine.stats, core.store, core.stalls, core.backups, core.watch))
    for platform in platforms:
        figures.expect(platform, REPORTED_COMMANDS)

    def connection_of(name: str) -> Connection:
        return core.watch.connections.get(name) or Connection(lambda: 0, lambda: _not_yet(name))

    def connections() -> list[Connection]:
        return [connection_of(name) for name in connecting]

    health = Health(core.engine, core.store, core.backups, connections)
    async with serve_figures(held, figures, health.find_faults) as base:
        say(f"Figures for Prometheus: {base}/metrics")
        yield


async def _not_yet(name: str) -> str:
    return f"The bot has not connected to {name.capitalize()} yet."


def run_health(settings: Settings, _: argparse.Namespace) -> int:
    """Ask the running bot whether all is well; print a sentence for each fault, and return 1 if there is any."""
    if not settings.metrics_port:
        raise SetupError("METRICS_PORT is not set to a port, so there is no address at which to ask the bot; set it.")
    faults = ask_health(settings.metrics_host, settings.metrics_port)
    sys.stdout.write("".join(f"{one}\n" for one in faults or ("All is well.",)))
    return 1 if faults else 0
