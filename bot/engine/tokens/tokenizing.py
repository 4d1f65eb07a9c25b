"""From prompts to token ids: people's words are plain text; only a model's own markup has special tokens."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tokenizers import Encoding, Tokenizer

from bot.core.prompt_parts import Prompt, PromptPart
from bot.engine.tokens.vocabulary import Vocabulary
from bot.errors import RequestError

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LOOKS_LIKE_A_MARKER: Final = re.compile(r"<.+>|\[.+\]")


def replace_surrogates(text: str) -> str:
    """Return `text` with each lone surrogate, which no tokenizer accepts, as U+FFFD; the length stays the same."""
    return _LONE_SURROGATE.sub("\ufffd", text)


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """An encoded prompt: its `ids`.

    `plain_ids` are those of the plain text at the prompt's end; `ends_in_space` says whether that text ends in white
    space.
    """

    ids: tuple[int, ...]
    plain_ids: tuple[int, ...]
    ends_in_space: bool


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A plain text's token ids, and the characters (start, end) of each."""

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]


class PromptTokenizer:
    """Encodes prompts and texts. Use it in the model thread only: each call sets a mode of the shared tokenizer."""

    def __init__(
        self, tokenizer: Tokenizer, vocabulary: Vocabulary, *, bos_id: int | None = None, eos_id: int | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self.bos_id = bos_id
        self.eos_id = eos_id
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # The tokens that the tokenizer adds in front (Llama 2: <s>). Those it adds at the end would end the text.
        bare = tokenizer.encode("a", add_special_tokens=False).ids
        full = tokenizer.encode("a", add_special_tokens=True).ids
        self.prefix_ids: tuple[int, ...] = tuple(full[: full.index(bare[0])]) if bare else ()
        markers = [
            token.content
            for token in tokenizer.get_added_tokens_decoder().values()
            if not token.special and _LOOKS_LIKE_A_MARKER.fullmatch(token.content)
        ]
        self._marker = re.compile("|".join(map(re.escape, markers))) if markers else None

    @property
    def start_id(self) -> int | None:
        """Return the token before the first one of a text: BOS, else EOS, else None."""
        return self.bos_id if self.bos_id is not None else self.eos_id

    def encode_prompt(self, prompt: Prompt, *, known: dict[PromptPart, tuple[int, ...]] | None = None) -> EncodedPrompt:
        """Return `prompt` encoded; an empty one becomes BOS, else EOS. Raises RequestError if the model has neither.

        Parts in `known` are not encoded again; the others are added to it.
        """
        known = {} if known is None else known
        ids: list[int] = []
        plain_ids: tuple[int, ...] = ()
        parts = _merge_plain(prompt.parts)
        for part in parts:
            if part not in known:
                known[part] = self._encode_markup(part.text) if part.is_markup else self._encode_plain(part.text)
            part_ids = known[part]
            plain_ids = () if part.is_markup else part_ids
            ids += part_ids
        has_own_prefix = ids[: len(self.prefix_ids)] == list(self.prefix_ids)
        prefix = () if has_own_prefix else self.prefix_ids
        if not ids and not prefix:
            if self.start_id is None:
                raise RequestError("This model can't start from an empty text. Give at least one word.")
            prefix = (self.start_id,)
        ends_in_space = bool(parts) and not parts[-1].is_markup and parts[-1].text[-1:].isspace()
        return EncodedPrompt((*prefix, *ids), plain_ids, ends_in_space)

    def encode_text(self, text: str) -> EncodedText:
        """Return `text` encoded as plain text: `<|endoftext|>` in it is thirteen characters, and nothing is added."""
        text = replace_surrogates(text)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        start = 0
        for piece in self._cut_markers(text):
            encoding = self._encode_piece(piece)
            ids += encoding.ids
            offsets += [(first + start, last + start) for first, last in encoding.offsets]
            start += len(piece)
        if self._vocabulary.style == "byte_level":
            offsets = self._offsets_by_bytes(text, ids) or offsets
        return EncodedText(tuple(ids), tuple(offsets))

    def encode_continuation(self, prompt: Prompt, prompt_ids: Sequence[int], continuation: str) -> tuple[int, ...]:
        """Return the tokens of `continuation` after `prompt`, whose tokens are `prompt_ids`."""
        whole = self.encode_prompt(Prompt((*prompt.parts, PromptPart(continuation)))).ids
        if whole[: len(prompt_ids)] == tuple(prompt_ids):
            return whole[len(prompt_ids) :]
        # A token spans the border, so the continuation is encoded as a separate text.
        return self._encode_plain(continuation)

    def _encode_plain(self, text: str) -> tuple[int, ...]:
        """Return the ids of `encode_text`, which spends most of its time on the offsets."""
        pieces = self._cut_markers(replace_surrogates(text))
        return tuple(token_id for piece in pieces for token_id in self._encode_piece(piece).ids)

    def _encode_piece(self, piece: str) -> Encoding:
        self._tokenizer.encode_special_tokens = True
        return self._tokenizer.encode(piece, add_special_tokens=False)

    def _encode_markup(self, text: str) -> tuple[int, ...]:
        self._tokenizer.encode_special_tokens = False
        return tuple(self._tokenizer.encode(replace_surrogates(text), add_special_tokens=False).ids)

    def _cut_markers(self, text: str) -> list[str]:
        """Return `text` cut inside the markers that are not special but that the tokenizer would read as tokens."""
        if self._marker is None:
            return [text]
        cuts = [0, *(match.start() + 1 for match in self._marker.finditer(text)), len(text)]
        return [text[first:last] for first, last in itertools.pairwise(cuts)]

    def _offsets_by_bytes(self, text: str, ids: list[int]) -> list[tuple[int, int]] | None:
        """Return character offsets from the tokens' bytes, None if those differ from `text` (due to a normaliser)."""
        pieces = [self._vocabulary.token_bytes(token_id) for token_id in ids]
        if b"".join(pieces) != text.encode():
            return None
        character_at = [at for at, character in enumerate(text) for _ in character.encode()]
        offsets = []
        start = 0
        for piece in pieces:
            offsets.append((character_at[start], character_at[start + len(piece) - 1] + 1))
            start += len(piece)
        return offsets


def _merge_plain(parts: Sequence[PromptPart]) -> list[PromptPart]:
    merged: list[PromptPart] = []
    for part in parts:
        if not part.text:
            continue
        if merged and not part.is_markup and not merged[-1].is_markup:
            merged[-1] = PromptPart(merged[-1].text + part.text)
        else:
            merged.append(part)
    return merged
