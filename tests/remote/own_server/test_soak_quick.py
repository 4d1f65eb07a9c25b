"""The short form of `python -m tests.soak engine`: nothing lost, nothing doubled."""

from collections.abc import Callable
from pathlib import Path

from tests.soak.engine_kills import run_engine_kills


async def test_a_server_killed_while_people_ask_loses_and_doubles_nothing(
    tmp_path: Path, roomy_model: Callable[[str], Path]
):
    (await run_engine_kills(tmp_path, roomy_model("llama"), lambda _: None, num=2, num_channels=4)).check()
