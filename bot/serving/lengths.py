"""Prompts that are far too long: refused before the model's thread reads them whole, which would hold up others."""

from collections.abc import Sequence
from typing import Final

from bot.core.engine import Engine
from bot.core.prompt_parts import Prompt, PromptPart
from bot.serving.errors import ApiError

_SURE: Final = 2  # times the context: pieces have a few tokens more than the whole
_READ_AT_ONCE: Final = 4  # characters for each token of the context; reading so many takes a moment
_MIN_PIECE: Final = 4096  # characters


async def check_lengths(engine: Engine, prompts: Sequence[Prompt], param: str) -> None:
    """Raise ApiError (400) for a prompt that can't fit; others go on between the pieces that are counted."""
    room = engine.info.context_length
    for prompt in prompts:
        if len(prompt.token_ids) > _SURE * room:
            raise _too_long(f"{len(prompt.token_ids):,}", room, param)
        num_tokens = 0
        if sum(len(part.text) for part in prompt.parts) <= _READ_AT_ONCE * room:
            continue
        for piece in _pieces(prompt.parts, max(_MIN_PIECE, room)):
            num_tokens += sum(await engine.count_tokens([Prompt((piece,))]))
            if num_tokens > _SURE * room:
                raise _too_long(f"more than {_SURE * room:,}", room, param)


def _pieces(parts: Sequence[PromptPart], size: int) -> list[PromptPart]:
    return [
        PromptPart(part.text[start : start + size], part.is_markup)
        for part in parts
        for start in range(0, len(part.text), size)
    ]


def _too_long(num_tokens: str, room: int, param: str) -> ApiError:
    message = f"The prompt has {num_tokens} tokens, but at most {room - 1:,} fit. Shorten the text."
    return ApiError(400, message, param, "context_length_exceeded")
