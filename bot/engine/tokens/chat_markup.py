"""A model's own chat template: from turns to a prompt in which only the template's text is markup."""

import re
import secrets
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from bot.core.prompt_parts import ChatTurn, Prompt, PromptPart
from bot.errors import ModelError


def render_turns(tokenizer: Any, turns: Sequence[ChatTurn], *, model_name: str) -> Prompt:
    """Return the prompt for the next assistant turn, by the chat template of a transformers `tokenizer`.

    The template gets placeholders instead of contents, so that nothing people write is read as markup or as template.
    Contents lose their outer white space. If a template refuses a system turn, its text goes before the next user turn.
    Raises ModelError if the model has no chat template, or its template refuses these turns.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(f"The model {model_name} has no chat template of its own.")
    nonce = secrets.token_hex(8)
    places = [f"T{nonce}N{index}E" for index in range(len(turns))]
    roles = [turn.role for turn in turns]
    try:
        rendered = apply_template(tokenizer, list(zip(roles, places, strict=True)))
    except TemplateError:
        try:
            rendered = apply_template(tokenizer, _fold_system_turns(list(zip(roles, places, strict=True))))
        except TemplateError as e:
            raise ModelError(f"The chat template of {model_name} refuses this conversation: {e}") from e
    parts: list[PromptPart] = []
    for index, piece in enumerate(re.split(f"T{nonce}N(\\d+)E", rendered)):
        is_markup = index % 2 == 0
        text = piece if is_markup else turns[int(piece)].content.strip()
        if text:
            parts.append(PromptPart(text, is_markup))
    return Prompt(tuple(parts))


def apply_template(tokenizer: Any, turns: list[tuple[str, str]]) -> str:
    """Return roles and contents in the chat template of a transformers `tokenizer`. Raises jinja2.TemplateError."""
    messages = [{"role": role, "content": content} for role, content in turns]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _fold_system_turns(turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return `turns` with system contents moved before the next user turn's content."""
    folded: list[tuple[str, str]] = []
    waiting: list[str] = []
    for role, content in turns:
        if role == "system":
            waiting.append(content)
        elif role == "user" and waiting:
            folded.append((role, "\n\n".join([*waiting, content])))
            waiting = []
        else:
            folded.append((role, content))
    return folded
