"""The command line and the composition root, the only place that builds the parts of the bot."""

import argparse
import asyncio
import gc
import getpass
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import platformdirs

from bot.commands.bot import Bot
from bot.commands.context import Services
from bot.core.channel_settings import declare_settings
from bot.core.platform_traits import PlatformTraits
from bot.core.stopping import Stopper
from bot.engine.engine import Engine
from bot.engine.models.catalog import ModelChoice, ModelNotPulled, list_models, resolve_model
from bot.engine.models.model_folder import check_model_folder
from bot.engine.networks.native.building import compile_for
from bot.engine.precision.choice import is_measured
from bot.errors import FewshotError, ModelError
from bot.platforms.terminal.conversation import Conversation
from bot.platforms.terminal.piped import run_piped
from bot.platforms.terminal.traits import TERMINAL
from bot.services.background import run_in_background
from bot.services.chat import Chat
from bot.services.ledger import Delivery
from bot.services.measuring import Measuring
from bot.services.templates import TemplateLibrary, Templates
from bot.settings import Settings
from bot.store.preparation import hold_platform
from bot.store.store import Store
from bot.trace import TraceFormatter
from bot.trace import logger as trace_logger

if TYPE_CHECKING:
    from bot.platforms.discord.starting import Application

logger = logging.getLogger("bot")

_EXIT_SETUP: Final = 2
_EXIT_INTERRUPTED: Final = 130
_RETENTION_INTERVAL_S: Final = 3600.0
_TRACE_HELP: Final = "print the steps of each request with their times, but not its text"


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


async def _forget_expired(store: Store, retention_days: int) -> None:
    """Erase messages older than their retention, now and every hour."""
    while True:
        try:
            await store.delete_expired(default_days=retention_days)
        except FewshotError as e:
            logger.warning("expired messages could not be erased: %s", e)
        await asyncio.sleep(_RETENTION_INTERVAL_S)


def _choose_model(settings: Settings) -> ModelChoice:
    """Return the model on this machine; download it first if it is missing."""
    try:
        return resolve_model(settings.model, settings.models_dir)
    except ModelNotPulled:
        return _pull(settings.model, settings)


def _pull(name: str, settings: Settings) -> ModelChoice:
    from bot.engine.models.pulling import PullLimits, pull_model

    return pull_model(name, settings.models_dir, PullLimits(timeout_s=settings.pull_timeout_s))


def _prepare_model(settings: Settings, choice: ModelChoice) -> None:
    """Measure the model in each precision if that is not done yet, and print the chosen one.

    Call it before the event loop starts, so that Ctrl-C ends it at once.
    """
    if not is_measured(settings.precision, check_model_folder(choice.folder).num_parameters):
        return
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
        _say(precision.line)


@asynccontextmanager
async def open_bot(settings: Settings, choice: ModelChoice, traits: PlatformTraits) -> AsyncIterator[Bot]:
    """Build the bot for one platform (store, templates, engine, commands); close everything at the end."""
    shipped = TemplateLibrary.read(settings.prompts_dir)
    chat_templates = [template.name for template in shipped if template.kind == "chat"]
    channel_settings = declare_settings(
        chat_templates, retention_days=settings.retention_days, mention_pattern=traits.mention_pattern
    )
    async with (
        Store.open(settings.database) as store,
        Engine.open(
            choice.folder,
            name=choice.name,
            device=settings.device,
            precision=settings.precision,
            max_waiting=settings.max_waiting,
            num_threads=settings.num_threads or None,
            kv_cache_mb=settings.kv_cache_mb,
            models_dir=settings.models_dir,
            max_running_per_person=settings.max_running_per_person,
        ) as engine,
    ):
        for notice in store.notices:
            _say(notice)
        if not logger.isEnabledFor(logging.WARNING):  # else the log shows them
            for notice in engine.info.notices:
                _say(notice)
        forgetting = run_in_background(_forget_expired(store, settings.retention_days), "erasing expired messages")
        try:
            templates = Templates(shipped, store)
            chat = Chat(
                engine,
                store,
                templates,
                channel_settings,
                bot_name=settings.bot_name,
                timeout_s=settings.request_timeout_s,
            )
            yield Bot(
                Services(
                    engine=engine,
                    store=store,
                    templates=templates,
                    chat=chat,
                    channel_settings=channel_settings,
                    measuring=Measuring(engine, store, bot_name=settings.bot_name),
                    traits=traits,
                    command_prefix=settings.command_prefix,
                    request_timeout_s=settings.request_timeout_s,
                    owner_ids=frozenset(settings.owner_ids),
                )
            )
        finally:
            forgetting.cancel()
            await asyncio.wait([forgetting])


async def _run_terminal(settings: Settings, choice: ModelChoice, arguments: argparse.Namespace) -> int:
    async with open_bot(settings, choice, TERMINAL) as bot:
        # Imported objects are never freed: the collector need not scan them.
        gc.freeze()
        gc.enable()
        conversation = Conversation.of(
            bot,
            server=arguments.server,
            channel=arguments.channel,
            name=arguments.name,
            is_moderator=arguments.role == "moderator",
        )
        if sys.stdin.isatty() and not arguments.json:
            from bot.platforms.terminal.interactive import run_interactive

            history_file = Path(platformdirs.user_state_dir("fewshot", appauthor=False)) / "typed_lines"
            return await run_interactive(conversation, history_file, editor=settings.visual or settings.editor)
        stopper = Stopper()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopper.stop)
        return await run_piped(conversation, stopper, is_json=arguments.json)


def _terminal(settings: Settings, arguments: argparse.Namespace) -> int:
    # Importing torch and transformers creates almost no garbage; collecting it would take most of a second.
    gc.disable()
    TemplateLibrary.read(settings.prompts_dir)
    choice = _choose_model(settings)
    _say(choice.line)
    _prepare_model(settings, choice)
    return asyncio.run(_run_terminal(settings, choice, arguments))


async def _run_discord(settings: Settings, choice: ModelChoice, application: "Application", *, syncs: bool) -> int:
    from bot.platforms.discord.client import FewshotClient
    from bot.platforms.discord.running import run_discord
    from bot.platforms.discord.traits import DISCORD

    async with open_bot(settings, choice, DISCORD) as bot:
        gc.freeze()
        gc.enable()

        def client_of(application: "Application") -> FewshotClient:
            return FewshotClient(
                bot,
                Delivery(bot.store, DISCORD),
                application,
                owner_ids=frozenset(settings.owner_ids),
                api_base=settings.discord_api_base,
                forces_sync=syncs,
                tell=_say,
            )

        return await run_discord(client_of, application, settings.discord_token, _say)


def _discord(settings: Settings, arguments: argparse.Namespace) -> int:
    gc.disable()
    # Until the bot is connected there is nothing to lose. As a container's first process it would ignore the signal.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from bot.platforms.discord.log_rules import LOG_RULES
    from bot.platforms.discord.starting import look_up_application, use_api
    from bot.platforms.discord.traits import DISCORD
    from bot.platforms.shared.masking import mask_secrets

    mask_secrets(settings.discord_token, LOG_RULES)
    use_api(settings.discord_api_base)
    # Before the model is loaded, so that a wrong token is reported at once.
    application = asyncio.run(look_up_application(settings.discord_token))
    if arguments.invite:
        sys.stdout.write(f"{application.invite_url}\n")
        return 0
    TemplateLibrary.read(settings.prompts_dir)
    with hold_platform(settings.database, DISCORD.name):
        choice = _choose_model(settings)
        _say(choice.line)
        _prepare_model(settings, choice)
        return asyncio.run(_run_discord(settings, choice, application, syncs=arguments.sync))


def _model_list(settings: Settings, arguments: argparse.Namespace) -> int:
    for model in list_models(settings.models_dir):
        absent = model.problem or f"not downloaded; available from the {model.source}"
        state = f"downloaded: {model.folder}" if model.facts else absent
        sys.stdout.write(f"{model.name:40} {state}\n")
    return 0


def _model_pull(settings: Settings, arguments: argparse.Namespace) -> int:
    choice = _pull(arguments.model or settings.model, settings)
    _say(choice.line)
    try:
        _prepare_model(settings, choice)
    except ModelError as e:
        _say(f"The model is downloaded, but can't be measured yet: {e}")
    sys.stdout.write(f"{choice.folder}\n")
    return 0


async def _open_info(settings: Settings, choice: ModelChoice) -> dict[str, Any]:
    async with Engine.open(
        choice.folder,
        name=choice.name,
        device=settings.device,
        precision=settings.precision,
        num_threads=settings.num_threads or None,
        kv_cache_mb=settings.kv_cache_mb,
        models_dir=settings.models_dir,
    ) as engine:
        info = engine.info
        return {
            "name": info.name,
            "folder": info.folder,
            "device": info.device,
            "precision": info.precision,
            "context_length": info.context_length,
            "num_parameters": info.num_parameters,
            "vocab_size": info.vocab_size,
            "model_type": info.model_type,
            "has_cache": info.has_cache,
            "has_chat_template": info.has_chat_template,
            "reason": choice.reason,
            "precision_reason": info.precision_reason,
            "precisions": [
                {**asdict(one), "is_admitted": one.is_admitted, "is_used": one.precision == info.precision}
                for one in info.precision_figures
            ],
            "notices": list(info.notices),
        }


def _model_info(settings: Settings, arguments: argparse.Namespace) -> int:
    choice = resolve_model(arguments.model or settings.model, settings.models_dir)
    _prepare_model(settings, choice)
    info = asyncio.run(_open_info(settings, choice))
    if arguments.json:
        sys.stdout.write(json.dumps(info) + "\n")
        return 0
    precisions, notices = info.pop("precisions"), info.pop("notices")
    sys.stdout.write("".join(f"{name:20} {value}\n" for name, value in info.items()))
    if precisions:
        sys.stdout.write(_table_of_precisions(precisions))
    sys.stdout.write("".join(f"{notice}\n" for notice in notices))
    return 0


def _table_of_precisions(precisions: Sequence[dict[str, Any]]) -> str:
    """Return a blank line and the table of the measured precisions."""
    lines = ["", "precision  perplexity  tokens/s  of 8 at once  prompt tokens/s"]
    for one in precisions:
        state = "used" if one["is_used"] else "admitted" if one["is_admitted"] else "not admitted by auto"
        if one["perplexity_ratio"] is None:
            lines.append(f"{one['precision']:10} not available: {one['problem']}")
        else:
            figures = (
                f"{one['perplexity_ratio']:10.4f} {one['tokens_per_s']:9.1f} "
                f"{one['tokens_per_s_of_8']:13.1f} {one['prefill_tokens_per_s']:16.1f}"
            )
            lines.append(f"{one['precision']:10} {figures}  {state}")
    lines.append("(perplexity: on a test text, divided by that of float32)")
    return "\n".join(lines) + "\n"


def _show_trace() -> None:
    """Print the steps of every request on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(TraceFormatter())
    trace_logger.addHandler(handler)
    trace_logger.propagate = False
    trace_logger.setLevel(logging.DEBUG)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bot", description="A chat bot that runs its own language model.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    terminal = commands.add_parser("terminal", help="talk to the bot here; from a pipe, each line is one message")
    terminal.add_argument("--channel", default="terminal", help="the channel to talk in (default: terminal)")
    terminal.add_argument("--as", dest="name", default=_user_name(), metavar="NAME", help="your name")
    terminal.add_argument("--server", default="local", help="the server that the channel belongs to (default: local)")
    terminal.add_argument("--role", choices=("member", "moderator"), default="moderator", help="what you may do")
    terminal.add_argument("--json", action="store_true", help="answer each line of standard input with a JSON object")
    terminal.add_argument("--trace", action="store_true", help=_TRACE_HELP)
    terminal.set_defaults(run=_terminal)

    discord = commands.add_parser("discord", help="run the bot on Discord, with the token in DISCORD_TOKEN")
    discord.add_argument("--invite", action="store_true", help="print the link that invites the bot, and exit")
    discord.add_argument("--sync", action="store_true", help="send the slash commands to Discord even if unchanged")
    discord.add_argument("--trace", action="store_true", help=_TRACE_HELP)
    discord.set_defaults(run=_discord)

    model = commands.add_parser("model", help="list, download and describe models")
    actions = model.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="list the known and the downloaded models").set_defaults(run=_model_list)
    pull = actions.add_parser("pull", help="download a model, so that the bot can start without a network")
    pull.add_argument("model", nargs="?", metavar="NAME", help="default: the setting MODEL")
    pull.set_defaults(run=_model_pull)
    info = actions.add_parser("info", help="load a model and describe it")
    info.add_argument("model", nargs="?", metavar="NAME", help="default: the setting MODEL")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(run=_model_info)
    return parser


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "member"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 2 for an error that the operator can fix, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings.from_env()
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        compile_for(settings.compile_for)
        if getattr(arguments, "trace", False):
            _show_trace()
        return int(arguments.run(settings, arguments))
    except FewshotError as e:
        _say(str(e))
        return _EXIT_SETUP
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of standard output is gone; the interpreter must not flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
