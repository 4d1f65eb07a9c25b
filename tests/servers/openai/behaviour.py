"""What a server of the stand-in can do, and how it fails; those at the end are like servers that exist."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Echo = Literal["true", "none", "chance", "shifted", "unsteady"]


@dataclass(frozen=True)
class Behaviour:
    """Abilities of a server. `unknown` says what becomes of fields that it does not know: ignored, or that status.

    `extensions` are sampling options beyond OpenAI's; `num_top` and `num_chat_top` the most likeliest tokens (None: no
    log-probabilities), in the last chunk of a stream if it `tells_logprobs_last`; `echo` how it scores given texts;
    `usage` what it says of the tokens; `pictures` what becomes of these: their colours are named, or guessed to be red,
    or the request is refused with that status.
    """

    has_completions: bool = True
    has_chat: bool = True
    echo: Echo = "true"
    echoes_without_new: bool = True
    num_top: int | None = 20
    num_chat_top: int | None = 20
    extensions: tuple[str, ...] = ("top_k", "min_p", "repetition_penalty")
    unknown: int | None = None
    takes_temperature: bool = True
    keeps_seed: bool = True
    takes_n: bool = True
    max_stops: int = 16
    usage: Literal["true", "wrong", "huge", "none"] = "true"
    tokenizes: bool = True
    continues_answers: bool = True
    version: str | None = "0.32.0"
    owner: str = "vllm"
    max_model_len: int | None = 2048
    max_tokens_name: str = "max_tokens"
    tells_logprobs_last: bool = False
    pictures: Literal["seen", "guessed", 400, 422, 500] = 400


@dataclass
class Fault:
    """What happens to one request, instead of an answer or in its middle. `path` "" means any.

    `status` answers with an error of `body` and `headers`; `cut_after` breaks the connection after so many chunks;
    `error_after` sends an error event after so many; `held_by` keeps the request waiting until the event is set, with
    `held_after` its stream after so many chunks.
    """

    path: str = ""
    status: int | None = None
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    error_after: int | None = None
    held_by: asyncio.Event | None = None
    held_after: int | None = None


VLLM = Behaviour()
OPENAI = Behaviour(
    has_completions=False,
    echo="none",
    extensions=(),
    unknown=400,
    max_stops=4,
    tokenizes=False,
    continues_answers=False,
    version=None,
    owner="openai",
    max_model_len=None,
)
GPT_4O = replace(OPENAI, pictures="seen")
AZURE = replace(OPENAI, num_chat_top=5, unknown=422)
REASONING = replace(
    OPENAI,
    takes_temperature=False,
    num_chat_top=None,
    max_stops=0,
    keeps_seed=False,
    max_tokens_name="max_completion_tokens",
)
LLAMA_CPP = replace(VLLM, echo="chance", tokenizes=False, version=None, owner="llamacpp")
