"""What clients may ask for: bodies of /v1/completions and /v1/chat/completions, read and checked. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.core.prompt_parts import ChatTurn, Prompt, PromptPart, Role
from bot.core.sampling_params import OPTIONS, SamplingParams
from bot.errors import RequestError
from bot.serving.errors import refuse
from bot.serving.fields import Fields, show

MAX_CHOICES: Final = 128  # prompts times n
MAX_LIKELIEST: Final = 20  # alternatives for each token
MAX_MESSAGES: Final = 1000
MAX_NEW_TOKENS: Final = int(OPTIONS["max_new_tokens"].highest)
_DEFAULT_MAX_TOKENS: Final = 16  # of a completion, as OpenAI has it

# Sampling options with the value at which OpenAI leaves them out; the last four are extensions.
_OPTIONS: Final[Mapping[str, int | float | None]] = {
    "n": 1,
    "seed": None,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
}
_COMMON: Final = frozenset({"model", "stop", "stream", "stream_options", "user", "logprobs", "max_tokens", *_OPTIONS})
# Fields that would change an answer in a way that this server doesn't have, and the values at which they don't.
_UNUSED: Final[Mapping[str, tuple[Any, ...]]] = {
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "logit_bias": ({},),
}
_UNUSED_IN_COMPLETIONS: Final = {**_UNUSED, "suffix": ("",)}
_UNUSED_IN_CHATS: Final[Mapping[str, tuple[Any, ...]]] = {
    **_UNUSED,
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "verbosity": (),
    "web_search_options": (),
}
_IN_COMPLETIONS: Final = _COMMON | _UNUSED_IN_COMPLETIONS.keys() | {
    "prompt", "best_of", "echo", "split_special_tokens",
}  # fmt: skip
_IN_CHATS: Final = _COMMON | _UNUSED_IN_CHATS.keys() | {"messages", "max_completion_tokens", "top_logprobs"}
_ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of each prompt: `params.n` continuations of at most `max_tokens` tokens (0: none).

    With `is_echoed` the prompt comes before each. `num_likeliest` is the number of alternatives for each token, None
    without log-probabilities.
    """

    model: str
    params: SamplingParams
    max_tokens: int
    num_likeliest: int | None
    is_streamed: bool
    includes_usage: bool
    user: str
    is_echoed: bool = False


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A request for continuations of `prompts`; `texts` are those of the prompts, None for one of token ids."""

    wanted: Wanted
    prompts: tuple[Prompt, ...]
    texts: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request for the next turn after `turns`."""

    wanted: Wanted
    turns: tuple[ChatTurn, ...]


def parse_completion(body: Mapping[str, Any], *, vocab_size: int) -> CompletionRequest:
    """Read the body of /v1/completions; token ids must be below `vocab_size`. Raises ApiError (400)."""
    fields = Fields(body)
    fields.check_names(_IN_COMPLETIONS)
    fields.check_unused(_UNUSED_IN_COMPLETIONS)
    max_tokens = fields.whole("max_tokens", 0, MAX_NEW_TOKENS)
    wanted = _read_wanted(
        fields,
        max_tokens=_DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens,
        num_likeliest=fields.whole("logprobs", 0, MAX_LIKELIEST),
        is_echoed=fields.flag("echo"),
    )
    if fields.get("best_of") not in (None, wanted.params.n):
        raise refuse("best_of must be the same as n, or left out.", "best_of")
    given = _split_prompt(fields.get("prompt"), wanted.params.n)
    is_plain = fields.flag("split_special_tokens")
    prompts = tuple(_read_prompt(one, vocab_size, is_plain=is_plain) for one in given)
    return CompletionRequest(wanted, prompts, tuple(one if isinstance(one, str) else None for one in given))


def parse_chat(body: Mapping[str, Any]) -> ChatRequest:
    """Read the body of /v1/chat/completions. Raises ApiError (400)."""
    fields = Fields(body)
    fields.check_names(_IN_CHATS)
    fields.check_unused(_UNUSED_IN_CHATS)
    older = fields.whole("max_tokens", 1, MAX_NEW_TOKENS)
    newer = fields.whole("max_completion_tokens", 1, MAX_NEW_TOKENS)
    if older is not None and newer is not None and older != newer:
        raise refuse("max_tokens and max_completion_tokens differ; send one of them.", "max_tokens")
    num_likeliest = fields.whole("top_logprobs", 0, MAX_LIKELIEST)
    if fields.flag("logprobs"):
        num_likeliest = num_likeliest or 0
    elif num_likeliest is not None:
        raise refuse("top_logprobs needs logprobs: true.", "top_logprobs")
    wanted = _read_wanted(fields, max_tokens=newer or older or MAX_NEW_TOKENS, num_likeliest=num_likeliest)
    return ChatRequest(wanted, _read_messages(fields.get("messages")))


def _read_wanted(fields: Fields, *, max_tokens: int, num_likeliest: int | None, is_echoed: bool = False) -> Wanted:
    options = {name: fields.option(name, default) for name, default in _OPTIONS.items()}
    is_streamed = fields.flag("stream")
    stops = fields.stops()
    try:
        params = SamplingParams(**options, max_new_tokens=max(1, max_tokens), stop=stops)
    except RequestError as e:  # options that exclude one another
        raise refuse(str(e), "n") from e
    return Wanted(
        model=fields.text("model", is_required=True),
        params=params,
        max_tokens=max_tokens,
        num_likeliest=num_likeliest,
        is_streamed=is_streamed,
        includes_usage=_read_stream_options(fields.get("stream_options"), is_streamed=is_streamed),
        user=fields.text("user"),
        is_echoed=is_echoed,
    )


def _read_stream_options(options: Any, *, is_streamed: bool) -> bool:
    """Return whether a stream ends with the usage."""
    if options is None:
        return False
    if not is_streamed:
        raise refuse("stream_options needs stream: true.", "stream_options")
    if not isinstance(options, dict):
        raise refuse(f"stream_options takes an object, not {show(options)}.", "stream_options")
    fields = Fields(options)
    fields.check_names({"include_usage", "include_obfuscation"})
    fields.check_unused({"include_obfuscation": (False,)})
    return fields.flag("include_usage")


def _split_prompt(given: Any, n: int) -> list[str] | list[list[int]]:
    """Return the prompts as a list: of texts, or of lists of token ids."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and given:
        if not isinstance(given[0], int) and len(given) * n > MAX_CHOICES:
            raise refuse(
                f"One request takes at most {MAX_CHOICES} continuations (prompts times n), not {len(given) * n:,}.",
                "prompt",
            )
        if all(isinstance(one, str) for one in given):
            return given
        if _are_ids(given):
            return [given]
        if all(isinstance(one, list) and one and _are_ids(one) for one in given):
            return given
    raise refuse(
        "prompt takes a text, a list of texts, a list of token ids, or a list of such lists; no list may be empty.",
        "prompt",
    )


def _are_ids(values: list[Any]) -> bool:
    return all(isinstance(one, int) and not isinstance(one, bool) for one in values)


def _read_prompt(given: str | list[int], vocab_size: int, *, is_plain: bool) -> Prompt:
    """Return one prompt; special tokens in a text count as such unless it `is_plain`."""
    if isinstance(given, str):
        return Prompt((PromptPart(given, is_markup=not is_plain),))
    unknown = next((one for one in given if not 0 <= one < vocab_size), None)
    if unknown is not None:
        raise refuse(
            f"The token id {show(unknown)} is not one of this model's; they go from 0 to {vocab_size - 1}.", "prompt"
        )
    return Prompt.of_tokens(given)


def _read_messages(given: Any) -> tuple[ChatTurn, ...]:
    if not isinstance(given, list) or not given:
        raise refuse("messages takes a list of at least one message.", "messages")
    if len(given) > MAX_MESSAGES:
        raise refuse(f"messages takes at most {MAX_MESSAGES:,} messages, not {len(given):,}.", "messages")
    return tuple(_read_message(one, f"messages[{index}]") for index, one in enumerate(given))


def _read_message(given: Any, where: str) -> ChatTurn:
    if not isinstance(given, dict):
        raise refuse(f"{where} takes an object with role and content.", where)
    fields = Fields(given)
    role = given.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise refuse(f"{where}.role takes system, developer, user or assistant, not {show(role)}.", f"{where}.role")
    for name in given:
        if name not in ("role", "content") and fields.get(name) is not None:
            raise refuse(f"{where}.{name[:60]} is not supported; write it into the content.", f"{where}.{name[:60]}")
    return ChatTurn(_ROLES[role], _read_content(fields.get("content"), f"{where}.content"))


def _read_content(given: Any, where: str) -> str:
    """Return the content as one text: a text, or the texts of a list of parts."""
    if isinstance(given, str):
        return given
    if not isinstance(given, list) or not given:
        raise refuse(f"{where} takes a text, or a list of parts of type text.", where)
    texts = []
    for part in given:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("image_url", "input_audio", "file"):
            raise refuse(f"{where} has a part of type {kind}, but this model reads text only.", where)
        if kind != "text" or not isinstance(part.get("text"), str):
            raise refuse(f"{where} takes parts of the form {{type: text, text: …}}.", where)
        texts.append(part["text"])
    return "".join(texts)
