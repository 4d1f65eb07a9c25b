"""The real bot on the stand-in for Slack: connected as the program connects it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from bot.platforms.slack.client import SlackClient
from bot.platforms.slack.outgoing.pace import Pace
from bot.platforms.slack.sockets import SocketTimings
from bot.platforms.slack.starting import client_of, look_up_workspaces
from bot.platforms.slack.traits import SLACK
from bot.services.ledger import Delivery
from tests.bots import Talk, open_tiny_bot
from tests.servers.slack.server import Slack

QUICK = SocketTimings(ping_s=2.0, grace_s=2.0, close_s=1.0, connect_s=5.0, first_pause_s=0.05, max_pause_s=0.3)


def scaled_pace(slack: Slack, scale: float) -> Pace:
    """Return a pace whose waits take `scale` of what they take on Slack, and let the stand-in's limits do the same."""
    slack.pacing.scale = scale
    return Pace(clock=lambda: time.monotonic() / scale, sleep=lambda seconds: asyncio.sleep(seconds * scale))


@asynccontextmanager
async def open_slack_bot(model_folder: Path, folder: Path, **how: Any) -> AsyncIterator[Talk]:
    """Open the real bot with Slack's traits."""
    async with open_tiny_bot(model_folder, folder, traits=replace(SLACK), **how) as talk:
        yield talk


@asynccontextmanager
async def on_slack(
    talk: Talk,
    slack: Slack,
    *,
    tell: Callable[[str], None] = lambda _: None,
    timings: SocketTimings = QUICK,
    pace: Pace | None = None,
    **how: Any,
) -> AsyncIterator[SlackClient]:
    """Connect the open bot to the stand-in, wait until a socket is open, and disconnect it at the end.

    Without `pace`, Slack's limits hold on a clock that runs ten times as fast.
    """
    async with aiohttp.ClientSession() as session:
        tokens = [one.bot_token for one in slack.app.installations.values()]
        workspaces = await look_up_workspaces(tokens, slack.app.app_token, slack.api_url, session)
        client = SlackClient(
            talk.bot,
            Delivery(talk.store, SLACK),
            workspaces,
            session,
            app_token=slack.app.app_token,
            socket_client=client_of(tokens[0], slack.api_url, session),
            api_url=slack.api_url,
            tell=tell,
            timings=timings,
            pace=pace or scaled_pace(slack, 0.1),
            **how,
        )
        await client.open()
        try:
            await slack.wait_for(lambda: client.sockets.num_healthy > 0 and client.is_caught_up, 60, "an open socket")
            yield client
        finally:
            await client.close()
