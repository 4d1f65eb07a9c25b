"""Run: python -m tests.soak SUBJECT [PART …]. Prints a table; exits with 1 at a broken bound."""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bot.engine.models.catalog import resolve_model
from bot.errors import FewshotError
from bot.settings import Settings
from tests.bots import PROMPTS, write_prompts
from tests.platforms.discord.connecting import TOKEN
from tests.platforms.discord.slow_model import make_slow_llama
from tests.servers.discord import serve_discord
from tests.servers.slack.server import serve_slack
from tests.soak.disconnects import run_disconnects
from tests.soak.engine_kills import run_engine_kills
from tests.soak.figures import Figure, Run, describe_machine, format_table
from tests.soak.interactions import run_interactions
from tests.soak.page import run_tab, run_windows
from tests.soak.parsing import MAX_MEMORY_RATIO, MAX_MS, run_parsing
from tests.soak.program import running_program
from tests.soak.programs import run_programs
from tests.soak.restarts import run_restarts
from tests.soak.sends import run_sends
from tests.soak.slack import disconnects as slack_disconnects
from tests.soak.slack import interactions as slack_interactions
from tests.soak.slack import restarts as slack_restarts
from tests.soak.slack import sends as slack_sends
from tests.soak.typing import run_typing
from tests.tiny_models import make_tiny_gpt2

_REAL_MODEL: Final = "smollm2-135m"
_LONGER_CHAT: Final = PROMPTS["chat"].replace("max_new_tokens = 12", "max_new_tokens = 100")

_NUM_WRITING: Final = 16

Part = Callable[[Path, argparse.Namespace], Awaitable[Run]]


def _say(sentence: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {sentence}\n")
    sys.stderr.flush()


def _tiny(folder: Path) -> dict[str, str]:
    """Return the settings of a bot on a tiny model whose answers take a moment."""
    prompts = write_prompts(folder / "prompts", {**PROMPTS, "chat": _LONGER_CHAT})
    model = make_tiny_gpt2(folder / "model", context_length=512)
    return {
        "MODEL": str(model),
        "PROMPTS_DIR": str(prompts),
        "NUM_THREADS": "1",
        "DATABASE": str(folder / "fewshot.db"),
    }


def _real(folder: Path) -> Mapping[str, str]:
    """Return the settings of a bot on the real model, where that is on this machine."""
    try:
        model = resolve_model(_REAL_MODEL, Settings.from_env().models_dir)
    except FewshotError as e:
        _say(f"A tiny model takes the place of {_REAL_MODEL}: {e}")
        return _tiny(folder)
    return {"MODEL": model.name, "DATABASE": str(folder / "fewshot.db")}


async def _disconnects(folder: Path, options: argparse.Namespace) -> Run:
    return await run_disconnects(folder, _say, num=options.scaled(100), seed=options.seed)


async def _restarts(folder: Path, options: argparse.Namespace) -> Run:
    return await run_restarts(_tiny(folder), _say, num=options.scaled(20), seed=options.seed)


async def _sends(folder: Path, options: argparse.Namespace) -> Run:
    return await run_sends(folder, _say, num=options.scaled(2000), seed=options.seed)


async def _interactions(folder: Path, options: argparse.Namespace) -> Run:
    async with (
        serve_discord(token=TOKEN, seed=options.seed) as discord,
        running_program("discord", {**_real(folder), **discord.environment}),
    ):
        return await run_interactions(discord, _say, num=options.scaled(1000), seed=options.seed)


async def _slack_disconnects(folder: Path, options: argparse.Namespace) -> Run:
    return await slack_disconnects.run_disconnects(folder, _say, num=options.scaled(100), seed=options.seed)


async def _slack_restarts(folder: Path, options: argparse.Namespace) -> Run:
    return await slack_restarts.run_restarts(_tiny(folder), _say, num=options.scaled(20), seed=options.seed)


async def _slack_sends(folder: Path, options: argparse.Namespace) -> Run:
    return await slack_sends.run_sends(folder, _say, num=options.scaled(2000), seed=options.seed)


async def _slack_interactions(folder: Path, options: argparse.Namespace) -> Run:
    async with serve_slack(seed=options.seed) as slack:
        load = slack_interactions.Load(slack, _NUM_WRITING)
        async with running_program("slack", {**_real(folder), **slack.environment}):
            return await slack_interactions.run_interactions(
                slack, load, _say, num=options.scaled(1000), seed=options.seed
            )


async def _web_windows(folder: Path, options: argparse.Namespace) -> Run:
    return await run_windows(folder, _say, num=options.scaled(1000))


async def _web_tab(folder: Path, options: argparse.Namespace) -> Run:
    return await run_tab(folder, _say, num=options.scaled(60))


async def _web_typing(folder: Path, options: argparse.Namespace) -> Run:
    return await run_typing(folder, _say, num=options.scaled(1200))


async def _engine_kills(folder: Path, options: argparse.Namespace) -> Run:
    model = make_slow_llama(folder / "model")
    return await run_engine_kills(folder, model, _say, num=options.scaled(50), seed=options.seed)


async def _programs(folder: Path, options: argparse.Namespace) -> Run:
    # Slow enough that a kill finds answers being written.
    environment = {**_tiny(folder), "MODEL": str(make_slow_llama(folder / "slow"))}
    return await run_programs(
        folder, environment, _say, num=options.scaled(2000), num_kills=options.scaled(40), seed=options.seed
    )


async def _texts(folder: Path, options: argparse.Namespace) -> Run:
    done = await asyncio.to_thread(
        run_parsing, options.scaled(1_000_000), options.seed, Settings.from_env().prompts_dir, _say
    )
    figures = (
        Figure("texts and lines", done.num),
        Figure("accepted", done.num_accepted),
        Figure("undeclared errors, changed meanings, injected slots", len(done.problems), "= 0"),
        Figure("processor time of the slowest", done.worst_ms, f"< {MAX_MS:g}", "ms"),
        Figure(
            "memory above 512 KiB, as a multiple of the text's bytes",
            done.worst_memory_ratio,
            f"< {MAX_MEMORY_RATIO:g}",
        ),
    )
    return Run("Texts of all kinds through the parsers", figures, tuple(done.problems[:20]))


_PARTS: Final[dict[str, dict[str, Part]]] = {
    "discord": {
        "disconnects": _disconnects,
        "restarts": _restarts,
        "sends": _sends,
        "interactions": _interactions,
    },
    "slack": {
        "disconnects": _slack_disconnects,
        "restarts": _slack_restarts,
        "sends": _slack_sends,
        "interactions": _slack_interactions,
    },
    "web": {"windows": _web_windows, "tab": _web_tab, "typing": _web_typing},
    "engine": {"kills": _engine_kills},
    "programs": {"kills": _programs},
    "parsing": {"texts": _texts},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="Long runs of the bot under load and faults."
    )
    parser.add_argument("subject", choices=tuple(_PARTS))
    of_discord = ", ".join(_PARTS["discord"])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of discord and slack: {of_discord}; default: all")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random (default: 1)")
    parser.add_argument("--share", type=float, default=1.0, help="do this share of the full form (default: 1)")
    options = parser.parse_args(argv)
    parts = _PARTS[options.subject]
    unknown = set(options.parts) - parts.keys()
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    options.scaled = lambda num: max(1, round(num * options.share))
    logging.basicConfig(level=logging.ERROR)
    # They tell every broken connection as an error; here they are broken on purpose.
    for library in ("discord", "slack_sdk", "slack_bolt"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    if options.subject == "discord" and not os.environ.get("DISCORD_OPENAPI"):
        _say("DISCORD_OPENAPI names no document, so bodies are held against Discord's limits only.")
    runs = []
    for name in options.parts or parts:
        _say(f"Part {name} …")
        with tempfile.TemporaryDirectory() as folder:
            runs.append(asyncio.run(parts[name](Path(folder), options)))
        for problem in runs[-1].problems:
            _say(problem)
    sys.stdout.write(f"{describe_machine()}, seed {options.seed}.\n\n{format_table(runs)}\n")
    return 0 if all(run.is_met for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
