"""The exact prompt given to the model, in parts with or without special tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bot.core.picture import Picture

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """One turn in the form that a model's own chat template reads; `pictures` go along to a model that takes them."""

    role: Role
    content: str
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptPart:
    """A part of a prompt.

    In an `is_markup` part (a model's own chat markup) special tokens are recognised; in all others (templates,
    people's words) `<|endoftext|>` is only text.
    """

    text: str
    is_markup: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as a sequence of parts; adjacent plain parts are one text to the tokenizer.

    An `is_document` prompt is a text of its own, not a template's or a conversation: it is read after the token with
    which this model's plain texts start (`ModelInfo.start_token`). `turns` are those of a conversation whose markup a
    server adds: it gets them instead of the parts, which are what people are shown.

    A prompt of `token_ids` has no parts: the model reads exactly these tokens.
    """

    parts: tuple[PromptPart, ...]
    is_document: bool = False
    turns: tuple[ChatTurn, ...] = ()
    token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.token_ids and (self.parts or self.is_document):
            raise ValueError("A prompt of token ids has no parts, and nothing is put before it.")

    @classmethod
    def plain(cls, text: str) -> "Prompt":
        """Return a prompt that is one plain text."""
        return cls((PromptPart(text),))

    @classmethod
    def document(cls, text: str) -> "Prompt":
        """Return a prompt that is a plain text of its own, such as one that a person wants continued."""
        return cls((PromptPart(text),), is_document=True)

    @classmethod
    def of_tokens(cls, token_ids: Sequence[int]) -> "Prompt":
        """Return a prompt of exactly these tokens."""
        return cls((), token_ids=tuple(token_ids))

    @property
    def num_pictures(self) -> int:
        """Return how many pictures a model sees with it."""
        return sum(len(turn.pictures) for turn in self.turns)

    @property
    def text(self) -> str:
        """Return the whole prompt as one text; one of token ids has none."""
        return "".join(part.text for part in self.parts)
