"""`python -m bot terminal`: talk to the bot here."""

import argparse
import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

import platformdirs

from bot.core.stopping import Stopper
from bot.platforms.terminal.conversation import Conversation
from bot.platforms.terminal.piped import run_once, run_piped
from bot.platforms.terminal.traits import TERMINAL
from bot.program.offers import choose_models, prepare_models
from bot.program.opening import Choice, is_loaded, load_quickly, open_bot
from bot.services.models import Offers
from bot.services.templates import TemplateLibrary
from bot.settings import Settings
from bot.telling import say


async def _run_terminal(settings: Settings, choice: Choice, offers: Offers, arguments: argparse.Namespace) -> int:
    async with open_bot(settings, choice, TERMINAL, offers) as bot:
        is_loaded()
        conversation = Conversation.of(
            bot,
            server=arguments.server,
            channel=arguments.channel,
            name=arguments.name,
            is_moderator=arguments.role == "moderator",
        )
        if arguments.text is None and sys.stdin.isatty() and not arguments.json:
            from bot.platforms.terminal.interactive import run_interactive

            # Earlier versions saved the typed lines here, where nothing erased them.
            with suppress(OSError):
                (Path(platformdirs.user_state_dir("fewshot", appauthor=False)) / "typed_lines").unlink(missing_ok=True)
            return await run_interactive(conversation, editor=settings.visual or settings.editor)
        stopper = Stopper()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopper.stop)
        if arguments.text is not None:
            return await run_once(conversation, arguments.text, stopper, is_json=arguments.json)
        return await run_piped(conversation, stopper, is_json=arguments.json)


def run_terminal(settings: Settings, arguments: argparse.Namespace) -> int:
    """Talk until the person leaves; return the exit status."""
    load_quickly()
    TemplateLibrary.read(settings.prompts_dir)
    choices = choose_models(settings)
    for choice in choices:
        say(choice.line)
    offers = prepare_models(settings, choices)
    return asyncio.run(_run_terminal(settings, choices[0], offers, arguments))
