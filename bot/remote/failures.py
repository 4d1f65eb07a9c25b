"""What a server answers when it can't: each as one sentence of ours, never with the key and never the raw response."""

import json
from typing import Any, Final

import httpx2
import openai

from bot.core.safe_text import clean_model_text, cut_text, one_line
from bot.errors import Busy, FewshotError, GenerationError, RequestError, Unavailable

_MAX_SHOWN: Final = 200
_LONG_S: Final = 24 * 3600.0  # after which nobody counts seconds
_MAX_LOOKED_AT: Final = 2000
_MASK: Final = "‹key›"
_TOO_LONG: Final = ("context_length", "context length", "maximum context", "too long", "max_model_len")
# What a request to a server can raise: the client's errors, and those of a stream, which the client passes on.
FOREIGN: Final = (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, ValueError, RecursionError)


class ServerFailure(Exception):
    """A request that a server did not answer; `error` is for the person who asked.

    With `may_pass` the same request may work later, in `retry_after_s` seconds if the server says so. `status` is that
    of HTTP, None without a response; `said` is the server's own message, for the probe alone.
    """

    def __init__(
        self,
        error: FewshotError,
        *,
        may_pass: bool = False,
        retry_after_s: float | None = None,
        status: int | None = None,
        said: str = "",
    ) -> None:
        self.error = error
        self.may_pass = may_pass
        self.retry_after_s = retry_after_s
        self.status = status
        self.said = said
        super().__init__(str(error))


def was_cut() -> ServerFailure:
    """Return the failure of a stream that ended before its answer did."""
    sentence = "The connection to the model's server broke. Try again."
    return ServerFailure(Unavailable(sentence), may_pass=True)


def took_too_long(seconds: float) -> Unavailable:
    """Return the error of a server that did not begin to answer within `seconds`."""
    return Unavailable(f"The model's server did not answer within {seconds:,.0f} s. Try again in a minute.")


def translate(error: Exception, *, model: str, key: str) -> ServerFailure:
    """Return what one of FOREIGN means."""
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, model, key)
    if isinstance(error, openai.APIConnectionError):
        sentence = "The model's server can't be reached. Try again in a minute."
        return ServerFailure(Unavailable(sentence), may_pass=True)
    if isinstance(error, openai.APIError):  # an error in the middle of a stream
        return ServerFailure(Unavailable("The model's server broke off with an error. Try again."), may_pass=True)
    if isinstance(error, httpx2.HTTPError | httpx2.StreamError):
        return was_cut()
    return ServerFailure(Unavailable("The model's server gave an answer that can't be read. Try again in a minute."))


def _of_status(error: openai.APIStatusError, model: str, key: str) -> ServerFailure:
    status, said = error.status_code, _message_of(error.body, key)
    lowered = said.lower()
    if status in (401, 403):
        sentence = "The model's server refuses the bot's key. The operator can correct MODEL_API_KEY."
        return ServerFailure(GenerationError(sentence), status=status, said=said)
    if status == 404:
        sentence = (
            f"The model's server has no model named {model}, or not this use of it. The operator can change MODEL."
        )
        return ServerFailure(GenerationError(sentence), status=status, said=said)
    if status == 429:
        return _of_too_many(error, said)
    if status in (400, 413) and any(sign in lowered for sign in _TOO_LONG):
        sentence = "The text and its answer are too long for the model's server. Shorten the text."
        return ServerFailure(RequestError(sentence), status=status, said=said)
    if status in (408, 409) or status >= 500:
        sentence = f"The model's server has a problem (status {status}). Try again in a minute."
        return ServerFailure(Unavailable(sentence), may_pass=True, retry_after_s=_retry_after(error), status=status)
    remark = f": {said}" if said else "."
    sentence = f"The model's server refuses this request (status {status}){remark}"
    return ServerFailure(RequestError(sentence), status=status, said=said)


def _of_too_many(error: openai.APIStatusError, said: str) -> ServerFailure:
    if "insufficient_quota" in (error.code or "", error.type or ""):
        sentence = "The account at the model's server has no credit left. The operator can add some."
        return ServerFailure(GenerationError(sentence), status=429, said=said)
    seconds = _retry_after(error)
    when = "in a minute" if seconds is None else f"in {max(1, round(seconds)):,} s"
    if seconds is not None and seconds > _LONG_S:
        when = "later"
    sentence = f"The model's server has too many requests now. Try again {when}."
    return ServerFailure(Busy(sentence), may_pass=True, retry_after_s=seconds, status=429, said=said)


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Return the seconds that the server asks to wait; None if it does not say, or says a date."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(error.response.headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return None


def _message_of(body: object, key: str) -> str:
    """Return the server's own message as one short line, without the key."""
    found: Any = body
    if isinstance(found, dict):
        found = found.get("message") or found.get("error") or found.get("detail") or ""
    if isinstance(found, dict):
        found = found.get("message", "")
    if not isinstance(found, str):
        found = json.dumps(found, ensure_ascii=False)
    text = found.replace(key, _MASK) if key else found
    return cut_text(one_line(clean_model_text(text[:_MAX_LOOKED_AT])), _MAX_SHOWN)
