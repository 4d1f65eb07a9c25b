"""Token healing: the last, half-typed word is removed from the prompt, and the model writes it again as typed."""

from collections.abc import Sequence

from bot.engine.loaded_model import LoadedModel
from bot.engine.tokens.tokenizing import EncodedPrompt
from bot.engine.tokens.vocabulary import Vocabulary


class Healing:
    """The constraint that the first tokens of a continuation repeat the bytes `typed` (empty: no constraint)."""

    def __init__(self, vocabulary: Vocabulary, typed: bytes) -> None:
        self.typed = typed
        self._vocabulary = vocabulary
        self._fitting: dict[bytes, list[int]] = {}

    def allowed_after(self, token_ids: Sequence[int]) -> list[int] | None:
        """Return the tokens that may follow `token_ids`, None if all may."""
        written = b""
        for token_id in token_ids:
            if len(written) >= len(self.typed):
                break
            written += self._vocabulary.token_bytes(token_id)
        remaining = self.typed[len(written) :]
        if not remaining or not self.typed.startswith(written):
            return None
        if remaining not in self._fitting:
            self._fitting[remaining] = self._vocabulary.ids_that_fit(remaining)
        return self._fitting[remaining] or None


def back_off(encoded: EncodedPrompt, model: LoadedModel) -> tuple[tuple[int, ...], bytes]:
    """Return the prompt's ids without its last plain token, and the bytes removed.

    White space at the end is removed as a whole. A prompt of one token is replaced by BOS, else EOS; without either,
    nothing is removed.
    """
    vocabulary = model.vocabulary
    if not encoded.plain_ids or (vocabulary.style == "word_end" and encoded.ends_in_space):
        return encoded.ids, b""  # no plain text at the end, or its last word is complete
    pieces = [vocabulary.token_bytes(token_id) for token_id in encoded.plain_ids]
    num_removed = 0
    while num_removed < len(pieces) and pieces[-1 - num_removed].isspace():
        num_removed += 1
    num_removed = max(num_removed, 1)
    typed = b"".join(pieces[-num_removed:])
    if vocabulary.style == "word_end":
        typed = typed.rstrip(b" ")  # the word may continue
    kept = encoded.ids[:-num_removed]
    if not kept and model.tokenizer.start_id is not None:
        kept = (model.tokenizer.start_id,)
    return (kept, typed) if kept and typed else (encoded.ids, b"")
