"""Requests to a server as JSON: a prompt and sampling options, within what the server can do."""

import base64
from dataclasses import dataclass
from typing import Final, Literal

from bot.core.prompt_parts import ChatTurn, Prompt
from bot.core.sampling_params import OPTIONS, SamplingParams
from bot.remote.abilities import OPTION_NAMES, THINKING_TOKENS, Abilities
from bot.remote.server import CHAT, COMPLETIONS, Body

# How a text is put to a server that has only chat.
_CONTINUE: Final = (
    "Continue the user's text. Begin by repeating its last word, finished if it is cut off, then go on in the same"
    " language, style and form. Write nothing but the continuation: no comment, no quotation marks."
)
_COMPLETE: Final = (
    "The user's text breaks off. Write only what comes next, in exactly its form. No comment, no explanation."
)
_GO_ON: Final = "Go on exactly where your last message breaks off. Repeat nothing of it."

_MOST_PIECES_PER_TOKEN: Final = 16
_NO_TOP_K: Final = -1  # vLLM, SGLang and llama.cpp agree on it

# How the answer joins the text before it: as it is, or after the repeated last word.
Join = Literal["as it is", "after the last word"]


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt as it is put to a server: path, body without options, and how the answer joins the text."""

    path: str
    body: Body
    join: Join = "as it is"


def put(prompt: Prompt, model: str, abilities: Abilities) -> Ask:
    """Return how `prompt` is asked: as messages, as a text to continue, or as a text with an instruction."""
    if prompt.turns:
        return Ask(CHAT, _conversation(prompt, model, abilities))
    if abilities.has_completions:
        return Ask(COMPLETIONS, {"model": model, "prompt": prompt.text})
    instruction = _CONTINUE if prompt.is_document else _COMPLETE
    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": prompt.text}]
    join: Join = "after the last word" if prompt.is_document else "as it is"
    return Ask(CHAT, {"model": model, "messages": messages}, join)


def _conversation(prompt: Prompt, model: str, abilities: Abilities) -> Body:
    messages = [{"role": turn.role, "content": _content(turn, abilities)} for turn in prompt.turns]
    body: Body = {"model": model, "messages": messages}
    if prompt.turns[-1].role == "assistant":
        if abilities.continues_answers:
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        else:
            messages.append({"role": "user", "content": _GO_ON})
    return body


def _content(turn: ChatTurn, abilities: Abilities) -> str | list[Body]:
    """Return the text of a turn, or with pictures its text and these as parts."""
    if not (turn.pictures and abilities.reads_pictures):
        return turn.content
    pictures = [picture_part(picture.media_type, picture.data) for picture in turn.pictures]
    return [{"type": "text", "text": turn.content}, *pictures]


def picture_part(media_type: str, data: bytes) -> Body:
    """Return a picture as the part of a message, in a URL that holds it."""
    url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def options_of(params: SamplingParams, abilities: Abilities, *, n: int, path: str) -> Body:
    """Return the body's sampling options; those that the server lacks are left out (see ModelInfo.lacking)."""
    body: Body = {"max_tokens": params.max_new_tokens}
    if path == CHAT and abilities.thinks:
        body = {abilities.max_tokens_name: params.max_new_tokens + THINKING_TOKENS}
    if n > 1:
        body["n"] = n
    if params.seed is not None and abilities.takes_seed:
        body["seed"] = params.seed
    if params.stop and abilities.max_stops:
        body["stop"] = list(params.stop[: abilities.max_stops])
    for name, server_name in OPTION_NAMES.items():
        if name in abilities.options:
            # Said even where it is off: some servers take their own defaults from the model's files.
            value = getattr(params, name)
            body[server_name] = _NO_TOP_K if name == "top_k" and value == OPTIONS[name].off else value
    return body | logprobs_of(abilities, path, num=0)


def most_pieces(max_new_tokens: int, abilities: Abilities, path: str) -> int:
    """Return after how many pieces of a stream an answer ends here, whatever the server was told.

    A model that thinks may write its thinking's tokens too, so its pieces are counted as tokens. Else the server keeps
    the limit; one that writes more pieces than so many tokens have letters does not.
    """
    return max_new_tokens if path == CHAT and abilities.thinks else max_new_tokens * _MOST_PIECES_PER_TOKEN


def logprobs_of(abilities: Abilities, path: str, *, num: int) -> Body:
    """Return what asks for the generated tokens' log-probabilities, and for the `num` likeliest at each place."""
    if path == COMPLETIONS:
        return {"logprobs": max(1, min(num, abilities.num_top))} if abilities.num_top else {}
    if not abilities.num_chat_top:
        return {}
    return {"logprobs": True, **({"top_logprobs": min(num, abilities.num_chat_top)} if num else {})}
