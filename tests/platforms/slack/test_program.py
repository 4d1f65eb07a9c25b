"""`python -m bot slack` as a program: what is set up wrongly is one sentence and exit status 2."""

import asyncio
from pathlib import Path

import pytest

from bot.errors import SetupError
from bot.program.chat_services import _wait_for_all
from tests.platforms.programs import Finished, Program
from tests.servers.slack.server import Slack, serve_slack

# Each attempt costs a start of the program.
ATTEMPTS = {
    "swapped": ("slack", {"SLACK_BOT_TOKEN": "xapp-1-A1-1-x", "SLACK_APP_TOKEN": "xoxb-1"}),
    "refused": ("slack", {"SLACK_BOT_TOKEN": "xoxb-123-wrong"}),
    "of two, Slack": ("discord slack", {"DISCORD_TOKEN": "", "SLACK_BOT_TOKEN": ""}),
    "of two, Discord": ("slack discord", {"DISCORD_TOKEN": ""}),
}
SENTENCES = {
    "swapped": "SLACK_BOT_TOKEN and SLACK_APP_TOKEN are swapped: xoxb-… is the bot's, xapp-… the app's.",
    "refused": "Slack does not accept SLACK_BOT_TOKEN (invalid_auth). Copy the Bot User OAuth Token again from",
    "of two, Slack": "DISCORD_TOKEN is not set.",
    "of two, Discord": "DISCORD_TOKEN is not set.",
}


def attempt(slack: Slack, home: Path, arguments: str, environment: dict[str, str]) -> Finished:
    """Start the program, which finds the stand-in, and wait for its end."""
    home.mkdir()
    program = Program(home, home / "no-model", slack.environment | {"LOG_LEVEL": "INFO"} | environment)
    return program.run(*arguments.split())


async def test_what_is_set_up_wrongly_is_one_sentence_and_status_2(tmp_path: Path):
    async with serve_slack() as slack:
        slack.add_team("Acme")
        tried = await asyncio.gather(
            *(
                asyncio.to_thread(attempt, slack, tmp_path / name.replace(" ", "-"), *how)
                for name, how in ATTEMPTS.items()
            )
        )
        for name, finished in zip(ATTEMPTS, tried, strict=True):
            assert finished.status == 2, (name, finished)
            assert not finished.out
            told = [line for line in finished.err.splitlines() if " INFO " not in line]
            assert len(told) == 1, (name, told)
            assert told[0].startswith(SENTENCES[name])
            for token in (slack.bot_token, slack.app.app_token, "xoxb-123-wrong"):
                assert token not in finished.err, name


async def test_where_one_platform_ends_with_an_error_the_other_one_ends_in_order(caplog: pytest.LogCaptureFixture):
    is_over, said = asyncio.Event(), []

    async def refused(sentence: str) -> None:
        raise SetupError(sentence)

    async def other() -> None:
        await is_over.wait()
        await asyncio.sleep(0)
        said.append("the last answer")

    async def other_refused() -> None:
        await other()
        raise SetupError("Discord does not accept it either.")

    error = await _wait_for_all([refused("Slack does not accept it."), other()], is_over)
    assert str(error) == "Slack does not accept it."
    assert said == ["the last answer"]
    is_over.clear()
    error = await _wait_for_all([refused("Slack does not accept it."), other_refused()], is_over)
    assert str(error) == "Slack does not accept it."
    assert "another platform failed as well: Discord does not accept it either." in caplog.text
