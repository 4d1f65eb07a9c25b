"""`python -m bot serve`: the engine as a server for other programs, without a store and without a bot."""

import argparse
import asyncio
import os
import signal
from typing import TYPE_CHECKING, Final

from bot.engine.models.catalog import ModelChoice
from bot.errors import SetupError
from bot.platforms.shared.masking import mask_secrets
from bot.platforms.shared.signals import ended_by_signals
from bot.program.opening import LOG_RULES, choose_model, is_loaded, load_quickly, open_engine, prepare_model
from bot.remote.choice import RemoteChoice
from bot.settings import Settings
from bot.telling import say

if TYPE_CHECKING:
    from bot.serving.running import Address


_NO_SERVER: Final = (
    "The server's packages are not installed. Install them with: python -m pip install -c constraints.txt -e '.[serve]'"
)


def run_serve(settings: Settings, arguments: argparse.Namespace) -> int:
    """Serve the engine until a signal; return the exit status."""
    try:
        from bot.serving.access import check_access
        from bot.serving.running import hold_address
    except ModuleNotFoundError as e:
        raise SetupError(_NO_SERVER) from e

    # Before the model is loaded, so that a wrong setting is reported at once.
    key = settings.read_api_key()
    mask_secrets(key, LOG_RULES)
    check_access(settings.serve_host, key)
    address = hold_address(settings.serve_host, settings.serve_port)
    load_quickly()
    # Until the model is loaded there is nothing to finish. As a container's first process it would ignore the signal.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    choice = choose_model(settings)
    if isinstance(choice, RemoteChoice):
        raise SetupError(f"MODEL={settings.model} is served elsewhere already; serve runs a model of this machine.")
    say(choice.line)
    prepare_model(settings, choice)
    asyncio.run(_run(settings, choice, address, key))
    return 0


async def _run(settings: Settings, choice: ModelChoice, address: "Address", key: str) -> None:
    """Serve until a signal."""
    from bot.serving.running import run_server

    is_over = asyncio.Event()
    async with open_engine(settings, choice) as engine:
        is_loaded()
        with ended_by_signals(is_over):
            await run_server(
                engine,
                address,
                key=key,
                timeout_s=settings.request_timeout_s,
                is_over=is_over,
                tell=say,
            )
