"""The life of the bot on Slack: connecting, draining and closing."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import aiohttp

from bot.commands.bot import Bot
from bot.platforms.slack.client import SlackClient
from bot.platforms.slack.starting import check_socket, client_of, look_up_workspaces
from bot.platforms.slack.workspaces import Workspaces
from bot.services.ledger import Delivery

logger = logging.getLogger(__name__)

# A service manager kills the process after 20 to 90 seconds; unfinished requests are answered after the restart.
DRAIN_S: Final = 13.0
_CLOSE_S: Final = 5.0


def open_session() -> aiohttp.ClientSession:
    """Return a session that uses the proxy of the environment, as the SDK does: not all requests are made by it."""
    return aiohttp.ClientSession(trust_env=True)


async def check_slack(bot_tokens: Sequence[str], app_token: str, api_url: str) -> Workspaces:
    """Ask Slack about the tokens before the model is loaded. Raises SetupError, one sentence."""
    async with open_session() as session:
        workspaces = await look_up_workspaces(bot_tokens, app_token, api_url, session)
        await check_socket(bot_tokens[0], app_token, api_url, session)
        return workspaces


async def run_slack(
    bot: Bot,
    delivery: Delivery,
    *,
    bot_tokens: Sequence[str],
    app_token: str,
    api_url: str,
    name_prefix: str,
    is_over: asyncio.Event,
    tell: Callable[[str], None],
) -> None:
    """Connect and answer until `is_over`; running answers are finished, no new ones are started.

    Raises SetupError, one sentence, if Slack refuses the tokens.
    """
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        workspaces = await look_up_workspaces(bot_tokens, app_token, api_url, session)
        client = SlackClient(
            bot,
            delivery,
            workspaces,
            session,
            app_token=app_token,
            socket_client=client_of(bot_tokens[0], api_url, session),
            api_url=api_url,
            name_prefix=name_prefix,
            tell=tell,
        )
        await client.open()
        try:
            await is_over.wait()
            if client.answering.num_running:
                tell("Finishing the answers that are being written …")
            await client.drain(DRAIN_S)
        finally:
            closing = asyncio.ensure_future(client.close())
            await asyncio.wait({closing}, timeout=_CLOSE_S)
            if not closing.done():
                closing.cancel()
                logger.warning("the connection to Slack could not be closed in time")
