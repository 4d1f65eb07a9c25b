"""The command line: what `python -m bot` can be told, and what each way runs."""

import argparse
import getpass
from typing import Final

from bot.program.backups import run_backup, run_check, run_restore
from bot.program.chat_services import run_chat_services
from bot.program.models import print_info, print_models, pull_model
from bot.program.monitor import run_health
from bot.program.moving import run_move
from bot.program.serve import run_serve
from bot.program.terminal import run_terminal
from bot.program.version import ShowVersion

_TRACE_HELP: Final = "print the steps of each request with their times, but not its text"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; the chosen way is `run`."""
    parser = argparse.ArgumentParser(prog="python -m bot", description="A chat bot that runs its own language model.")
    parser.add_argument("--version", action=ShowVersion)
    # Asked of a command too, as most programs answer it.
    version = argparse.ArgumentParser(add_help=False)
    version.add_argument("--version", action=ShowVersion, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True)

    terminal = commands.add_parser(
        "terminal", parents=[version], help="talk to the bot here; from a pipe, each line is one message"
    )
    terminal.add_argument("-p", dest="text", metavar="TEXT", help="print the answer to this one message, and exit")
    terminal.add_argument("words", nargs="*", type=_unquoted, metavar="TEXT", help=argparse.SUPPRESS)
    terminal.add_argument("--channel", default="terminal", help="the channel to talk in (default: terminal)")
    terminal.add_argument("--as", dest="name", default=_user_name(), metavar="NAME", help="your name")
    terminal.add_argument("--server", default="local", help="the server that the channel belongs to (default: local)")
    terminal.add_argument("--role", choices=("member", "moderator"), default="moderator", help="what you may do")
    terminal.add_argument("--json", action="store_true", help="answer each message with a JSON object")
    terminal.add_argument("--trace", action="store_true", help=_TRACE_HELP)
    terminal.set_defaults(run=run_terminal)

    discord = commands.add_parser(
        "discord", parents=[version], help="run the bot on Discord, with the token in DISCORD_TOKEN"
    )
    _add_others(discord, "slack", "web")
    discord.add_argument("--invite", action="store_true", help="print the link that invites the bot, and exit")
    discord.add_argument("--sync", action="store_true", help="send the slash commands to Discord even if unchanged")
    discord.add_argument("--trace", action="store_true", help=_TRACE_HELP)
    discord.set_defaults(run=run_chat_services)

    slack = commands.add_parser(
        "slack", parents=[version], help="run the bot on Slack, with SLACK_BOT_TOKEN and SLACK_APP_TOKEN"
    )
    _add_others(slack, "discord", "web")
    slack.add_argument("--manifest", action="store_true", help="print the app manifest to paste into Slack, and exit")
    slack.add_argument("--trace", action="store_true", help=_TRACE_HELP)
    slack.set_defaults(run=run_chat_services)

    web = commands.add_parser("web", parents=[version], help="open the page in a browser of this machine")
    _add_others(web, "discord", "slack")
    web.add_argument("--no-open", action="store_true", help="print the page's address, but open no browser")
    web.add_argument("--as", dest="name", default=_user_name(), metavar="NAME", help="your name at the first start")
    web.add_argument("--trace", action="store_true", help=_TRACE_HELP)
    web.set_defaults(run=run_chat_services)

    serve = commands.add_parser(
        "serve", parents=[version], help="serve the model to other programs, with an interface in OpenAI's form"
    )
    serve.add_argument("--trace", action="store_true", help=_TRACE_HELP)
    serve.set_defaults(run=run_serve)

    _add_care(commands, version)

    model = commands.add_parser("model", parents=[version], help="list, download and describe models")
    actions = model.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="list the known and the downloaded models").set_defaults(run=print_models)
    pull = actions.add_parser("pull", help="download a model, so that the bot can start without a network")
    pull.add_argument("model", nargs="?", metavar="NAME", help="default: the setting MODEL")
    pull.set_defaults(run=pull_model)
    info = actions.add_parser("info", help="load a model and describe it")
    info.add_argument("model", nargs="?", metavar="NAME", help="default: the setting MODEL")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(run=print_info)
    return parser


def _add_care(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", version: argparse.ArgumentParser
) -> None:
    """Add the commands with which an operator looks after the database and the running bot."""
    backup = commands.add_parser(
        "backup", parents=[version], help="write a backup of the database, while the bot runs or not"
    )
    backup.add_argument("to", nargs="?", metavar="TO", help="a new file, or a folder (default: the setting BACKUP_DIR)")
    backup.set_defaults(run=run_backup)
    restore = commands.add_parser(
        "restore", parents=[version], help="put a backup in the place of the database; stop the bot first"
    )
    restore.add_argument("backup", metavar="FROM", help="the file of the backup")
    restore.set_defaults(run=run_restore)
    health = commands.add_parser(
        "health", parents=[version], help="ask the running bot at METRICS_PORT whether all is well"
    )
    health.set_defaults(run=run_health)
    check = commands.add_parser("check", parents=[version], help="look for damage in the database")
    check.add_argument("file", nargs="?", metavar="FILE", help="a backup to look at instead")
    check.set_defaults(run=run_check)
    store = commands.add_parser("store", parents=[version], help="move all that is stored into another database")
    moves = store.add_subparsers(dest="action", required=True)
    move = moves.add_parser("move", help="copy everything from FROM into the new database TO, and compare both")
    move.add_argument("source", metavar="FROM", help="the path of a database, or postgresql://USER@HOST/NAME")
    move.add_argument("target", metavar="TO", help="the same, of a new or empty one")
    move.set_defaults(run=run_move)


def _add_others(parser: argparse.ArgumentParser, *names: str) -> None:
    """Let the program run on other platforms as well: they share the model and the store."""

    def name_of(value: str) -> str:
        # Not by `choices`, which refuse an empty list.
        if value not in names:
            raise argparse.ArgumentTypeError(f"{value!r} is none of {', '.join(names)}")
        return value

    shown = f"run it there as well: {' or '.join(names)}, or both"
    parser.add_argument("also", nargs="*", type=name_of, metavar="OTHER", help=shown)


def _unquoted(word: str) -> str:
    """Raise argparse's error for words that stand outside of quotation marks."""
    raise argparse.ArgumentTypeError("to ask one question, write it in quotation marks after -p: -p 'What is a llama?'")


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "member"
