"""Short forms of the long runs of tests/soak/slack: nothing lost, nothing doubled, everything acknowledged in time."""

from pathlib import Path

from tests.platforms.slack.connecting import on_slack, open_slack_bot
from tests.servers.slack.server import serve_slack
from tests.soak.slack.disconnects import run_disconnects
from tests.soak.slack.interactions import Load, run_interactions
from tests.soak.slack.sends import run_sends


def _say(_: str) -> None:
    """Show no progress."""


async def test_losses_of_all_kinds_lose_and_double_nothing(tmp_path: Path):
    (await run_disconnects(tmp_path, _say, num=8)).check()


async def test_a_web_api_that_fails_loses_and_doubles_nothing(tmp_path: Path):
    (await run_sends(tmp_path, _say, num=100)).check()


async def test_interactions_are_acknowledged_while_the_model_writes(tmp_path: Path, roomy_model):
    async with serve_slack() as slack:
        load = Load(slack, 4)
        async with open_slack_bot(roomy_model("gpt2"), tmp_path) as talk, on_slack(talk, slack):
            (await run_interactions(slack, load, _say, num=60, per_s=10)).check()
