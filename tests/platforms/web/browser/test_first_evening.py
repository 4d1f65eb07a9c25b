"""A newcomer's first evening on the page of the program itself: everything is there after a reload and after kill -9."""

import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.bots import write_prompts
from tests.platforms.web.browser.browsing import Context, Tab, eventually
from tests.soak.program import Program, start_program
from tests.tiny_models import make_tiny_gpt2

REAL = os.environ.get("FEWSHOT_TEST_MODEL", "")
MODELS = [
    "tiny",
    pytest.param(
        "real",
        marks=[pytest.mark.real_model, pytest.mark.skipif(not REAL, reason="FEWSHOT_TEST_MODEL names no model")],
    ),
]


def settings_of(folder: Path, model: str) -> dict[str, str]:
    """Return the settings of a program on a new database."""
    if model == "real":
        return {"MODEL": REAL, "DATABASE": str(folder / "fewshot.db"), "WEB_PORT": "0"}
    return {
        "MODEL": str(make_tiny_gpt2(folder / "model", context_length=512)),
        "PROMPTS_DIR": str(write_prompts(folder / "prompts")),
        "DATABASE": str(folder / "fewshot.db"),
        "WEB_PORT": "0",
    }


@asynccontextmanager
async def running(settings: dict[str, str]) -> AsyncIterator[tuple[Program, str]]:
    """Run `python -m bot web` while the block runs; yield it with the address that it prints."""
    program = await start_program("web", settings, "--no-open")
    try:
        await program.is_there()
        found = re.search(r"The page is at (\S+)", program.said)
        assert found is not None
        yield program, found[1]
    finally:
        await program.end(signal.SIGTERM)
