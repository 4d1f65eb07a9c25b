"""Calls of Slack's Web API: tried again where that is safe, within a deadline, with errors of this project."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.errors import DeliveryFailed, FewshotError, MessageGone, MissingPermission, SendRefused

logger = logging.getLogger(__name__)

Json = dict[str, Any]
Call = Callable[[], Awaitable[Any]]
# Looks for what an earlier try may have left; None where it left nothing.
Find = Callable[[], Awaitable[Json | None]]

DEADLINE_S: Final = 45.0
# A connection that leads nowhere: the next try may take another one.
_TRY_S: Final = 20.0
_MAX_BACKOFF_S: Final = 8.0
_TEMPORARY: Final = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
_NOT_ACCEPTED: Final = frozenset({"ratelimited", "rate_limited"})
_GONE: Final = frozenset(
    {
        "message_not_found",
        "thread_not_found",
        "cant_update_message",
        "cant_delete_message",
        "edit_window_closed",
        "expired_trigger_id",
        "exchanged_trigger_id",
        "trigger_expired",
        "invalid_trigger_id",
        "expired_url",
        "used_url",
        "user_not_in_channel",
    }
)
_REFUSED_PLACE: Final = frozenset(
    {
        "not_in_channel",
        "channel_not_found",
        "is_archived",
        "restricted_action",
        "restricted_action_read_only_channel",
        "restricted_action_thread_only_channel",
        "restricted_action_non_threadable_channel",
        "restricted_action_thread_locked",
        "no_permission",
        "access_denied",
        "ekm_access_denied",
        "team_access_not_granted",
        "user_is_restricted",
        "cannot_reply_to_message",
        "messages_tab_disabled",
        "account_inactive",
        "token_revoked",
        "invalid_auth",
        "not_authed",
    }
)


class SlackRefused(SendRefused):
    """Slack refuses a call; `code` is its name of the error."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(f"Slack refused the message ({code}).")


class Calls:
    """Makes calls. Every method raises DeliveryFailed, MissingPermission, MessageGone or SlackRefused."""

    def __init__(self, *, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s

    async def run(
        self, call: Call, *, deadline_s: float | None = None, find: Find | None = None, is_unsure: bool = False
    ) -> Json:
        """Make `call` until it succeeds, and return its answer.

        Give `find` for a call that must not be carried out twice: after a try with an unknown outcome its result counts
        as the answer. With `is_unsure` an earlier call had one. The deadline is in seconds.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + (self._deadline_s if deadline_s is None else deadline_s)
        num_tries = 0
        while True:
            try:
                if is_unsure and find is not None and (found := await find()) is not None:
                    return found
                async with asyncio.timeout_at(min(end, loop.time() + _TRY_S)):
                    response = await call()
                return dict(response.data) if hasattr(response, "data") else {}
            except (SlackApiError, SlackClientError, aiohttp.ClientError, OSError, TimeoutError) as e:
                error = _translated(e)
                if not isinstance(error, DeliveryFailed):
                    raise error from e
                is_unsure = is_unsure or not _is_certainly_refused(e)
                wait = _wait_s(e, num_tries)
                num_tries += 1
                if loop.time() + wait >= end:
                    raise error from e
            logger.info("a call of Slack failed and is tried again in %.1f s", wait)
            await asyncio.sleep(wait)


def error_code(error: Exception) -> str:
    """Return Slack's name of an error, "" if it has none."""
    response = getattr(error, "response", None)
    data = getattr(response, "data", response)
    return str(data.get("error", "")) if isinstance(data, dict) else ""


def retry_after_s(error: Exception) -> float | None:
    """Return how many seconds Slack asks to wait, None if it does not say."""
    headers = getattr(_answer_of(error), "headers", None) or {}
    try:
        return max(0.1, float(headers.get("Retry-After") or headers.get("retry-after") or ""))
    except ValueError:
        return None


def _answer_of(error: Exception) -> object:
    """Return what came with an error: the SDK keeps the answer apart, an error of aiohttp says it itself."""
    return getattr(error, "response", error)


def _status(error: Exception) -> int:
    answer = _answer_of(error)
    return int(getattr(answer, "status_code", 0) or getattr(answer, "status", 0) or 0)


def _translated(error: Exception) -> FewshotError:
    code = error_code(error)
    if code and code not in _TEMPORARY:
        return refusal_of(code, needed=_needed_scope(error))
    return DeliveryFailed(f"Slack could not be reached ({code or type(error).__name__}).")


def refusal_of(code: str, *, needed: str = "?") -> FewshotError:
    """Return the error of a call that Slack refuses with `code`; `needed` is the scope that is missing."""
    if code == "missing_scope":
        return MissingPermission(f"The bot's token lacks the scope {needed}. Add it to the app and install it again.")
    if code in _REFUSED_PLACE:
        return MissingPermission(f"Slack does not let the bot do that in this channel ({code}).")
    if code in _GONE:
        return MessageGone("The message, channel or trigger no longer exists.")
    return SlackRefused(code)


def _needed_scope(error: Exception) -> str:
    response = getattr(error, "response", None)
    data = getattr(response, "data", response)
    return str(data.get("needed", "?")) if isinstance(data, dict) else "?"


def _is_certainly_refused(error: Exception) -> bool:
    """Say whether Slack can't have carried out the call."""
    return (
        _status(error) == 429
        or error_code(error) in _NOT_ACCEPTED
        or isinstance(error, aiohttp.ClientConnectorError)  # never connected
    )


def _wait_s(error: Exception, num_tries: int) -> float:
    """Return how long to wait: as Slack says, else an exponential backoff with jitter."""
    asked_s = retry_after_s(error)
    return min(_MAX_BACKOFF_S, 0.5 * 2.0**num_tries) * random.uniform(0.5, 1.0) if asked_s is None else asked_s
