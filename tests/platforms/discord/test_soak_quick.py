"""Short forms of the long runs of tests/soak: nothing lost, nothing doubled, everything acknowledged in time."""

from pathlib import Path

from tests.bots import open_tiny_bot
from tests.platforms.discord.connecting import TOKEN, on_discord
from tests.servers.discord import serve_discord
from tests.soak.disconnects import run_disconnects
from tests.soak.interactions import run_interactions
from tests.soak.sends import run_sends


def _say(_: str) -> None:
    """Show no progress."""


async def test_disconnects_of_all_kinds_lose_and_double_nothing(tmp_path: Path):
    (await run_disconnects(tmp_path, _say, num=12, identify_pause_s=0.1)).check()


async def test_an_interface_that_fails_loses_and_doubles_nothing(tmp_path: Path):
    (await run_sends(tmp_path, _say, num=100)).check()


async def test_interactions_are_acknowledged_while_the_model_writes(tmp_path: Path, roomy_model):
    async with (
        serve_discord(token=TOKEN) as discord,
        open_tiny_bot(roomy_model("gpt2"), tmp_path) as talk,
        on_discord(talk, discord),
    ):
        (await run_interactions(discord, _say, num=60, num_writing=4, per_s=10)).check()
