"""The tokens of a model as bytes: what each one adds to a text, and which ones start with given bytes."""

import bisect
import json
import re
import unicodedata
from functools import cached_property
from itertools import takewhile
from typing import Final, Literal

from tokenizers import AddedToken, Tokenizer

from bot.errors import ModelError

TokenStyle = Literal["byte_level", "sentencepiece", "word_end"]

BROKEN_CHARACTER: Final = "\ufffd"  # stands for bytes that are no character

_BYTE_TOKEN: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# Scripts without spaces between words, by the first words of their characters' names.
_UNSPACED: Final = frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "KHMER", "LAO", "MYANMAR", "THAI"})


def byte_of_character() -> dict[str, int]:
    """Return the byte of each of the 256 characters of a byte-level vocabulary.

    Visible Latin-1 characters represent their own byte; characters from U+0100 on represent the others, in order.
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in set(visible)]
    return {chr(byte): byte for byte in visible} | {chr(256 + rank): byte for rank, byte in enumerate(hidden)}


def is_spaced_word(shown: bytes) -> bool:
    """Say whether the bytes end within or at the end of a word, in a script with spaces between words."""
    last = shown.decode("utf-8", "ignore")[-1:]
    return _is_of_word(last) and unicodedata.name(last, "").partition(" ")[0] not in _UNSPACED


def _is_of_word(character: str) -> bool:
    return bool(character) and (character == "_" or unicodedata.category(character)[0] in "LMN")


def _starts_in_word(shown: bytes) -> bool:
    """Say whether a token of these bytes may continue a word; part of a character may."""
    first = shown[:4].decode("utf-8", "replace")[:1]
    return first in ("", BROKEN_CHARACTER) or _is_of_word(first)


def _ends_in_word(shown: bytes) -> bool:
    last = shown.decode("utf-8", "replace")[-1:]
    return last == BROKEN_CHARACTER or _is_of_word(last)


class Vocabulary:
    """Token ids and the bytes they add to a text. Special tokens add none.

    In the style "word_end" (the first GPT) a token that ends a word adds the space after it; in the two others a
    space is part of the token that follows it.
    """

    def __init__(self, tokenizer: Tokenizer, *, size: int) -> None:
        self.size = size  # of the model's output; ids beyond the tokenizer's own add no text
        self._tokenizer = tokenizer
        self.style, self._suffix = _find_style(tokenizer)
        self._byte_of = byte_of_character()
        self._added: dict[int, AddedToken] = tokenizer.get_added_tokens_decoder()
        self._bytes: dict[int, bytes] = {}

    @cached_property
    def num_tokens(self) -> int:
        """Return how many token ids the tokenizer gives, up to the highest one; this may be more than `size`."""
        return max(self._tokenizer.get_vocab_size(with_added_tokens=True), max(self._added, default=-1) + 1)

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes that the token adds to a text; they may be part of a UTF-8 character."""
        if token_id not in self._bytes:
            self._bytes[token_id] = self._make_bytes(token_id)
        return self._bytes[token_id]

    def shown_bytes(self, token_id: int) -> bytes:
        """Return the bytes that the token adds to a text, of a special token its name."""
        return self._added[token_id].content.encode() if self.is_special(token_id) else self.token_bytes(token_id)

    def token_text(self, token_id: int) -> str:
        """Return the token as a person reads it: special tokens by name, broken characters as BROKEN_CHARACTER."""
        if self.is_special(token_id):
            return self._added[token_id].content
        text = self.token_bytes(token_id).decode("utf-8", "replace")
        return text.rstrip(" ") if self.style == "word_end" else text

    def is_special(self, token_id: int) -> bool:
        """Say whether the token is special, and so never shown in a text."""
        return token_id in self._added and self._added[token_id].special

    def ids_longer_than(self, beginning: bytes) -> list[int]:
        """Return the tokens that start with the bytes `beginning` and go on."""
        keys, ids = self._sorted
        first = bisect.bisect_right(keys, beginning)
        found = takewhile(lambda at: keys[at].startswith(beginning), range(first, len(keys)))
        return [ids[at] for at in found]

    @cached_property
    def boundary_ids(self) -> list[int]:
        """Return the tokens that can't continue a word: they start with a space or a mark, or are special."""
        if self.style == "word_end":  # here the last token of a word shows its end
            return [token_id for token_id in range(self.size) if self.is_special(token_id)]
        return [
            token_id
            for token_id in range(self.size)
            if self.is_special(token_id) or not _starts_in_word(self.token_bytes(token_id))
        ]

    @cached_property
    def inside_ids(self) -> tuple[int, ...]:
        """Return all tokens but `boundary_ids`."""
        return tuple(sorted(set(range(self.size)) - set(self.boundary_ids)))

    def is_open_word(self, token_id: int) -> bool:
        """Say whether the next token may belong to the same word as this one."""
        if self.is_special(token_id):
            return False
        shown = self.token_bytes(token_id)
        return shown == b" " or _ends_in_word(shown)

    @cached_property
    def _sorted(self) -> tuple[list[bytes], list[int]]:
        pairs = ((self.token_bytes(token_id), token_id) for token_id in range(self.size))
        in_order = sorted(pair for pair in pairs if pair[0])
        return [key for key, _ in in_order], [token_id for _, token_id in in_order]

    def _make_bytes(self, token_id: int) -> bytes:
        if token_id in self._added:
            added = self._added[token_id]
            return b"" if added.special else added.content.encode()
        token = self._tokenizer.id_to_token(token_id)
        if token is None:
            return b""
        if self.style == "byte_level":
            return b"".join(
                bytes((self._byte_of[c],)) if c in self._byte_of else c.encode("utf-8", "replace") for c in token
            )
        if self.style == "word_end":
            if token.endswith(self._suffix):
                return f"{token.removesuffix(self._suffix)} ".encode()
            return token.encode()
        if byte := _BYTE_TOKEN.fullmatch(token):
            return bytes((int(byte[1], 16),))
        return token.replace("▁", " ").encode()


def _find_style(tokenizer: Tokenizer) -> tuple[TokenStyle, str]:
    """Return the style of the tokens and the suffix that ends a word. Raises ModelError for an unknown one."""
    decoder = json.loads(tokenizer.decoder.__getstate__()) if tokenizer.decoder is not None else {}
    kinds = {part["type"]: part for part in (decoder, *decoder.get("decoders", ())) if "type" in part}
    if "ByteLevel" in kinds:
        return "byte_level", ""
    if "BPEDecoder" in kinds:
        return "word_end", str(kinds["BPEDecoder"]["suffix"])
    if "Metaspace" in kinds or "▁" in json.dumps(decoder, ensure_ascii=False):
        return "sentencepiece", ""
    raise ModelError("This bot does not support the model's kind of tokenizer. Choose another model.")
