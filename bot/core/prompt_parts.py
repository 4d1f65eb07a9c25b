"""The exact prompt given to the model, in parts that say whether special tokens in them count."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptPart:
    """A piece of a prompt. In `is_markup` parts (a model's own chat markers) special tokens are special tokens;

    in all others (templates, people's words) `<|endoftext|>` is only text.
    """

    text: str
    is_markup: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as a sequence of parts; adjacent plain parts are one text to the tokenizer."""

    parts: tuple[PromptPart, ...]

    @classmethod
    def plain(cls, text: str) -> "Prompt":
        """Return a prompt that is one plain text."""
        return cls((PromptPart(text),))

    @property
    def text(self) -> str:
        """Return the whole prompt as a person reads it."""
        return "".join(part.text for part in self.parts)
