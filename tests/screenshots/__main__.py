"""Make the pictures of README.md and docs: python -m tests.screenshots [terminal] [discord] [web] [dashboard]."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.screenshots.chat import read_chat
from tests.screenshots.dashboard import dashboard_page, read_lines
from tests.screenshots.pages import chat_page, take_picture, terminal_page
from tests.screenshots.terminal import read_terminal
from tests.screenshots.web import take_pages

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "images"
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
_COLUMNS: Final = 88
_TYPED: Final = (
    "What is the color of the sky?",
    "!perplexity Can it does what?",
    "!compare Can it do that? | Can it does what?",
    "!next The capital of France is",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the named pictures, or all; return 2 where there is no browser to draw them."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="terminal, discord, web; default: these; or dashboard")
    parser.add_argument("--model", default="smollm2-135m", help="default: smollm2-135m, fetched by model pull")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="for dashboard: one that watches a bot")
    parser.add_argument("--minutes", type=float, default=5, help="for dashboard: how much of it; default: 5")
    options = parser.parse_args(argv)
    chromium = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if chromium is None:
        sys.stderr.write(f"This needs a browser: none of {', '.join(_BROWSERS)} is installed.\n")
        return 2
    FOLDER.mkdir(exist_ok=True)
    for name in options.names or ("terminal", "discord", "web"):
        with tempfile.TemporaryDirectory() as home:
            environment = {"MODEL": options.model, "DATABASE": f"{home}/fewshot.db", "XDG_STATE_HOME": home}
            if name == "dashboard":
                page = dashboard_page(read_lines(options.prometheus, time.time(), options.minutes * 60))
                take_picture(page, FOLDER / "dashboard.png", width=1240, chromium=chromium)
            elif name == "terminal":
                page = terminal_page(read_terminal(_TYPED, environment, columns=_COLUMNS), _COLUMNS)
                take_picture(page, FOLDER / "terminal.png", width=860, chromium=chromium)
            elif name == "web":
                (FOLDER / "web").mkdir(exist_ok=True)
                asyncio.run(take_pages(environment, FOLDER / "web"))
            else:
                page = chat_page(asyncio.run(read_chat(environment)))
                take_picture(page, FOLDER / "discord.png", width=680, chromium=chromium)
    return 0


if __name__ == "__main__":
    sys.exit(main())
