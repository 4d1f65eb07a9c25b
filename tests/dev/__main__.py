"""Start the stand-in, the bot as a program on it, and the text client."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.patch_stdout import patch_stdout

from bot.engine.models.catalog import list_models
from bot.settings import Settings
from tests.dev.client import HELP, TextClient
from tests.servers.discord import serve_discord
from tests.soak.program import running_program

TOKEN: Final = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDe.a-token-of-the-stand-in-for-tests-0123"
SMALL_MODEL: Final = "smollm2-135m"
_NO_MODEL: Final = (
    "There is no model here yet, so a tiny random one answers: all it writes is noise. For a small real one run"
    f" once: .venv/bin/python -m bot model pull {SMALL_MODEL}"
)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _choose_model(named: str | None, folder: Path) -> str:
    """Return the value of MODEL: the named one, one that is on this machine, or a tiny random one in `folder`."""
    settings = Settings.from_env()
    if named or settings.model != "auto":
        return named or settings.model
    here = [model.name for model in list_models(settings.models_dir) if model.facts]
    if here:
        return SMALL_MODEL if SMALL_MODEL in here else here[0]
    from tests.tiny_models import make_tiny_gpt2  # imports torch and transformers: seconds

    _say(_NO_MODEL)
    return str(make_tiny_gpt2(folder / "model", context_length=512))


async def _typed_lines(client: TextClient) -> AsyncIterator[str]:
    """Yield the lines that a person types; a line of a pipe is repeated, so that the output reads as a talk."""
    if sys.stdin.isatty():
        session: PromptSession[str] = PromptSession()
        with suppress(EOFError, KeyboardInterrupt), patch_stdout():
            while True:
                yield await session.prompt_async(lambda: client.prompt)
    else:
        while line := await asyncio.to_thread(sys.stdin.readline):
            _say(f"{client.prompt}{line.rstrip()}")
            yield line.rstrip("\n")


async def _talk(client: TextClient) -> None:
    """Do what is typed until the input ends. A pipe's next line waits until the last one is answered."""
    watching = asyncio.create_task(client.watch())
    try:
        async for line in _typed_lines(client):
            if line.strip() == ":quit":
                break
            await client.type(line)
            if not sys.stdin.isatty():
                await client.settled()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _run(options: argparse.Namespace, folder: Path) -> int:
    environment = {"MODEL": _choose_model(options.model, folder), "DATABASE": str(folder / "fewshot.db")}
    arguments = ("--trace",) if options.trace else ()
    async with serve_discord(token=TOKEN) as discord:
        guild = discord.world.add_guild("Home", channels=["general", "stories"])
        async with running_program(
            "discord", {**environment, **discord.environment}, *arguments, tell=lambda line: _say(f"bot: {line}")
        ):
            _say(f"\n{HELP}\n")
            await _talk(TextClient(discord, guild, _say))
        for violation in discord.violations:
            _say(f"! The bot broke a rule of Discord's: {violation}")
        return 1 if discord.violations else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run until the input ends; return 0, or 1 where the bot did what Discord would refuse."""
    parser = argparse.ArgumentParser(prog="python -m tests.dev", description=__doc__)
    parser.add_argument("--model", help="a model's name or folder (default: one that is here, else a tiny random one)")
    parser.add_argument("--trace", action="store_true", help="print the steps of each request with times")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="fewshot-dev-") as folder:
        try:
            return asyncio.run(_run(options, Path(folder)))
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
