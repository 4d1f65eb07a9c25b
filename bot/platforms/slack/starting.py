"""Logging in to Slack: the tokens, the checks, and each error in one sentence."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError, SlackRequestError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.core.messages import now_utc
from bot.core.wording import list_words
from bot.errors import SetupError
from bot.platforms.slack.manifest import SCOPES
from bot.platforms.slack.outgoing.calls import error_code
from bot.platforms.slack.workspaces import Workspace, Workspaces

logger = logging.getLogger(__name__)

APPS: Final = "https://api.slack.com/apps"
_TIMEOUT_S: Final = 20
_MAX_CLOCK_ERROR_MIN: Final = 5
_BAD_TOKENS: Final = frozenset(
    {"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "not_allowed_token_type"}
)

_OUTAGES: Final = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited"})


class _Client(AsyncWebClient):
    """The SDK's client, which breaks at an answer that is no object of JSON: here that is a failed call."""

    async def _request(self, *, http_verb: str, api_url: str, req_args: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await super()._request(http_verb=http_verb, api_url=api_url, req_args=req_args)
        except UnicodeError as e:
            raise SlackRequestError("The answer is no text.") from e
        return answer if isinstance(answer["data"], dict) else {**answer, "data": {}}


def client_of(token: str, api_url: str, session: aiohttp.ClientSession) -> AsyncWebClient:
    """Return a client; its errors are handled in `Calls`, so that nothing is sent twice by itself."""
    base = f"{api_url.rstrip('/')}/" if api_url else AsyncWebClient.BASE_URL
    return _Client(token=token, base_url=base, session=session, timeout=_TIMEOUT_S, retry_handlers=[])


def check_tokens(bot_tokens: Sequence[str], app_token: str) -> None:
    """Raise SetupError, one sentence, for a token that is missing or of the wrong kind."""
    if not bot_tokens:
        raise SetupError(
            f"SLACK_BOT_TOKEN is not set. Copy the Bot User OAuth Token (xoxb-…) from {APPS}, page OAuth & Permissions."
        )
    if not app_token:
        raise SetupError(
            "SLACK_APP_TOKEN is not set. Create an app-level token (xapp-…) with the scope connections:write at"
            f" {APPS}, page Basic Information."
        )
    if app_token.startswith("xoxb-") and any(token.startswith("xapp-") for token in bot_tokens):
        raise SetupError("SLACK_BOT_TOKEN and SLACK_APP_TOKEN are swapped: xoxb-… is the bot's, xapp-… the app's.")
    for token in bot_tokens:
        if not token.startswith("xoxb-"):
            raise SetupError(
                f"SLACK_BOT_TOKEN is not a bot token, which begins with xoxb-. Copy it from {APPS}, page OAuth &"
                " Permissions."
            )
    if not app_token.startswith("xapp-"):
        raise SetupError(
            f"SLACK_APP_TOKEN is not an app-level token, which begins with xapp-. Create one at {APPS}, page Basic"
            " Information."
        )


async def look_up_workspaces(
    bot_tokens: Sequence[str], app_token: str, api_url: str, session: aiohttp.ClientSession
) -> Workspaces:
    """Ask Slack which workspaces the tokens belong to, and whether a socket may be opened.

    Raises SetupError, one sentence.
    """
    check_tokens(bot_tokens, app_token)
    workspaces = []
    for number, token in enumerate(bot_tokens, 1):
        which = f"token {number} of SLACK_BOT_TOKEN" if len(bot_tokens) > 1 else "SLACK_BOT_TOKEN"
        workspaces.append(await _look_up(client_of(token, api_url, session), app_token, which))
    await _open_connection(client_of(bot_tokens[0], api_url, session), app_token)
    return Workspaces(workspaces)


async def check_socket(bot_token: str, app_token: str, api_url: str, session: aiohttp.ClientSession) -> None:
    """Open a socket for a moment. Raises SetupError, one sentence, if Slack says that Socket Mode is off."""
    url = await _open_connection(client_of(bot_token, api_url, session), app_token)
    try:
        async with asyncio.timeout(_TIMEOUT_S), session.ws_connect(url) as socket:
            first = json.loads(await socket.receive_str())
    except (aiohttp.ClientError, OSError, TimeoutError, TypeError, ValueError) as e:
        # The bot's sockets are opened again and again, and say what is wrong.
        logger.info("a socket of Slack could not be tried: %s", type(e).__name__)
        return
    if isinstance(first, dict) and first.get("reason") == "link_disabled":
        raise _socket_mode_off()


async def _in_time(answer: Awaitable[AsyncSlackResponse]) -> AsyncSlackResponse:
    """Wait for an answer as long as somebody looks at a prompt that says nothing. Raises TimeoutError."""
    async with asyncio.timeout(_TIMEOUT_S):
        return await answer


async def _open_connection(client: AsyncWebClient, app_token: str) -> str:
    """Return the address of a new socket. Raises SetupError."""
    try:
        answer = await _in_time(client.apps_connections_open(app_token=app_token))
    except (SlackApiError, SlackClientError, aiohttp.ClientError, OSError, TimeoutError) as e:
        raise _socket_refused(e) from e
    return str(answer.get("url") or "")


async def _look_up(client: AsyncWebClient, app_token: str, which: str) -> Workspace:
    try:
        answer = await _in_time(client.auth_test())
    except (SlackApiError, SlackClientError, aiohttp.ClientError, OSError, TimeoutError) as e:
        code = error_code(e)
        if code in _BAD_TOKENS:
            raise SetupError(
                f"Slack does not accept {which} ({code}). Copy the Bot User OAuth Token again from {APPS}."
            ) from e
        raise _unreachable(e) from e
    scopes = frozenset(_header(answer.headers, "x-oauth-scopes").replace(" ", "").split(",")) - {""}
    missing = sorted(set(SCOPES) - scopes)
    name = str(answer.get("team") or answer["team_id"])
    if scopes and missing:
        noun, them = ("scope", "it") if len(missing) == 1 else ("scopes", "them")
        raise SetupError(
            f"The bot's token for {name} lacks the {noun} {list_words(missing)}. Add {them} at {APPS}, page OAuth &"
            " Permissions, and install the app again."
        )
    _check_clock(answer.headers)
    bot_id = str(answer.get("bot_id") or "")
    await _check_same_app(client, bot_id, app_token, name)
    return Workspace(
        team=str(answer["team_id"]),
        name=name,
        user_id=str(answer["user_id"]),
        bot_id=bot_id,
        client=client,
        scopes=scopes,
    )


def _check_clock(headers: object) -> None:
    """Raise SetupError if this machine's clock is wrong: every message would be too old, or missed for ever."""
    try:
        minutes = round((now_utc() - parsedate_to_datetime(_header(headers, "date"))).total_seconds() / 60)
    except (TypeError, ValueError):  # no date, or one without a time zone
        return
    if abs(minutes) >= _MAX_CLOCK_ERROR_MIN:
        where = "ahead of" if minutes > 0 else "behind"
        raise SetupError(f"This machine's clock is {abs(minutes):,} minutes {where} Slack's. Set it, and start again.")


async def _check_same_app(client: AsyncWebClient, bot_id: str, app_token: str, name: str) -> None:
    """Raise SetupError if the bot's token is one of another app than the app-level token, which names its app."""
    try:
        answer = await _in_time(client.bots_info(bot=bot_id))
    except (SlackApiError, SlackClientError, aiohttp.ClientError, OSError, TimeoutError) as e:
        logger.info("the app of a token is not known: %s", error_code(e) or type(e).__name__)
        return
    app_id = str((answer.get("bot") or {}).get("app_id") or "")
    parts = app_token.split("-")
    if app_id and len(parts) > 3 and parts[2].startswith("A") and parts[2] != app_id:
        raise SetupError(
            f"The bot's token for {name} is one of the app {app_id}, but SLACK_APP_TOKEN is one of the app {parts[2]}."
            f" Copy both from the same app at {APPS}."
        )


def _header(headers: object, name: str) -> str:
    found = {str(key).lower(): value for key, value in dict(headers or {}).items()}.get(name, "")  # type: ignore[call-overload]
    return ",".join(found) if isinstance(found, list) else str(found)


def _socket_refused(error: Exception) -> SetupError:
    code = error_code(error)
    if code in _BAD_TOKENS:
        return SetupError(
            f"Slack does not accept SLACK_APP_TOKEN ({code}). Create an app-level token again at {APPS}, page Basic"
            " Information."
        )
    if code == "missing_scope":
        return SetupError(
            f"SLACK_APP_TOKEN lacks the scope connections:write. Create another app-level token at {APPS}, page Basic"
            " Information."
        )
    return _socket_mode_off(code) if code and code not in _OUTAGES else _unreachable(error)


def _socket_mode_off(code: str = "link_disabled") -> SetupError:
    return SetupError(f"Slack opens no socket for this app ({code}). Turn Socket Mode on at {APPS}, page Socket Mode.")


def _unreachable(error: Exception) -> SetupError:
    if code := error_code(error):
        return SetupError(f"Slack answered with the error {code}. Start the bot again later.")
    return SetupError("Slack can't be reached from here. Check this machine's network and DNS.")
