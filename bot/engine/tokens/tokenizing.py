"""From prompts to token ids: people's words are plain text; only a model's own markup has special tokens."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tokenizers import Encoding, Tokenizer

from bot.core.prompt_parts import Prompt, PromptPart
from bot.core.safe_text import replace_lone_surrogates
from bot.engine.tokens.vocabulary import Vocabulary
from bot.errors import RequestError

_LOOKS_LIKE_A_MARKER: Final = re.compile(r"<.+>|\[.+\]")
# What tokenizers take for white space: without the separators \x1c to \x1f.
_SPACE_BEFORE: Final = re.compile(r"\A[^\S\x1c-\x1f]+")
_SPACE_AFTER: Final = re.compile(r"[^\S\x1c-\x1f]+\Z")
_ANCHORS: Final = ("\n", ".", "|", "a")  # texts whose last token rarely merges with what follows


def _find_any(contents: Iterable[str]) -> re.Pattern[str] | None:
    """Return the pattern, one group, of any of these texts, the longest one first; None without texts."""
    in_order = sorted(contents, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, in_order))})") if in_order else None


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """An encoded prompt: its `ids`, of which the first `num_added` were put before what the prompt says.

    `plain_ids` are those of the plain text at the prompt's end; `ends_in_space` says whether that text ends in white
    space.
    """

    ids: tuple[int, ...]
    plain_ids: tuple[int, ...]
    ends_in_space: bool
    num_added: int = 0


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A plain text's token ids, and the characters (start, end) of each."""

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]


class PromptTokenizer:
    """Encodes prompts and texts. Use it in the model thread only: each call sets a mode of the shared tokenizer."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        *,
        bos_id: int | None = None,
        eos_id: int | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.document_id: int | None = None  # what plain texts start after, once it is known (bot.engine.start_token)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # The tokens that the tokenizer adds in front (Llama 2: <s>). Those it adds at the end would end the text.
        bare = tokenizer.encode("a", add_special_tokens=False).ids
        full = tokenizer.encode("a", add_special_tokens=True).ids
        self.prefix_ids: tuple[int, ...] = tuple(full[: full.index(bare[0])]) if bare else ()
        added = list(tokenizer.get_added_tokens_decoder().values())
        self._marker = _find_any(
            token.content for token in added if not token.special and _LOOKS_LIKE_A_MARKER.fullmatch(token.content)
        )
        self._known_marker = _find_any(
            token.content for token in added if token.special or _LOOKS_LIKE_A_MARKER.fullmatch(token.content)
        )
        # The markers that take the white space before them, or after them, with them.
        self._takes_before = {token.content for token in added if token.lstrip}
        self._takes_after = {token.content for token in added if token.rstrip}
        self._anchor = next((token.content for token in added if token.special), None)
        # Some tokenizers put a space before every text between two markers, others before the first one only.
        self._prefixes_first_only = bool(bare) and self._encode_after_marker("a") != bare

    @property
    def start_id(self) -> int | None:
        """Return the token that stands for an empty text: BOS, else EOS, else None."""
        return self.bos_id if self.bos_id is not None else self.eos_id

    @property
    def document_prefix(self) -> tuple[int, ...]:
        """Return the start token of plain text as a sequence, empty if the model reads it without one."""
        return () if self.document_id is None else (self.document_id,)

    def encode_prompt(
        self, prompt: Prompt, *, known: dict[tuple[str, bool], tuple[int, ...]] | None = None
    ) -> EncodedPrompt:
        """Return `prompt` encoded; an empty one becomes BOS, else EOS. Raises RequestError if the model has neither.

        A document is read after the start token of plain text, other prompts after what the tokenizer adds in front.
        The result is that of the whole text, in which only markup has markers. Texts between two markers that are in
        `known` are not encoded again; the others are added to it.
        """
        if prompt.token_ids:
            # Where words end in a space of their own, the last token holds that space.
            return EncodedPrompt(prompt.token_ids, (), ends_in_space=True)
        known = {} if known is None else known
        parts = [PromptPart(replace_lone_surrogates(part.text), part.is_markup) for part in _merge_plain(prompt.parts)]
        ids: list[int] = []
        is_first = True
        for is_marker, text in self._cut_at_markup(parts):
            if is_marker:
                ids += self._encode_markup(text)
            else:
                if (text, is_first) not in known:
                    known[text, is_first] = self._encode_between(text, is_first=is_first)
                ids += known[text, is_first]
            is_first = False
        plain_ids = self._ids_of_end(parts, ids)
        prefix = self.document_prefix if prompt.is_document else self.prefix_ids
        if ids[: len(prefix)] == list(prefix):
            prefix = ()
        if not ids and not prefix:
            if self.start_id is None:
                raise RequestError("This model can't start from an empty text. Give at least one word.")
            prefix = (self.start_id,)
        ends_in_space = bool(parts) and not parts[-1].is_markup and parts[-1].text[-1:].isspace()
        return EncodedPrompt((*prefix, *ids), plain_ids, ends_in_space, len(prefix))

    def check_known(self, ids: Sequence[int]) -> None:
        """Raise RequestError if the model, which may be smaller than its tokenizer, has no weights for one of `ids`."""
        unknown = next((token_id for token_id in ids if token_id >= self._vocabulary.size), None)
        if unknown is not None:
            token = self._vocabulary.token_text(unknown)
            raise RequestError(
                f"The model can't read “{token}”: this token was added to its tokenizer, but not to the model. "
                "Leave it out or write it differently."
            )

    def encode_text(self, text: str) -> EncodedText:
        """Return `text` encoded as plain text: `<|endoftext|>` in it is thirteen characters, and nothing is added."""
        text = replace_lone_surrogates(text)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        start = 0
        for piece in self._cut_markers(text):
            encoding = self._encode_piece(piece)
            new_ids, new_offsets = encoding.ids, encoding.offsets
            if start:
                new_ids = list(self._encode_inside(piece))
                new_offsets = new_offsets[-len(new_ids) :]
                new_offsets = [(0, 0)] * (len(new_ids) - len(new_offsets)) + new_offsets
            ids += new_ids
            offsets += [(first + start, last + start) for first, last in new_offsets]
            start += len(piece)
        if self._vocabulary.style == "byte_level":
            offsets = self._offsets_by_bytes(text, ids) or offsets
        return EncodedText(tuple(ids), tuple(offsets))

    def encode_continuation(self, prompt: Prompt, prompt_ids: Sequence[int], continuation: str) -> tuple[int, ...]:
        """Return the tokens of `continuation` after `prompt`, whose tokens are `prompt_ids`."""
        if prompt.token_ids:
            return self._encode_between(replace_lone_surrogates(continuation), is_first=False)
        whole = self.encode_prompt(replace(prompt, parts=(*prompt.parts, PromptPart(continuation)))).ids
        if whole[: len(prompt_ids)] == tuple(prompt_ids):
            return whole[len(prompt_ids) :]
        # A token spans the border, so the continuation is encoded as a separate text.
        return self._encode_between(replace_lone_surrogates(continuation), is_first=False)

    def _cut_at_markup(self, parts: Sequence[PromptPart]) -> list[tuple[bool, str]]:
        """Return the text of `parts` cut before and after each marker of the markup; True: a marker."""
        found: list[tuple[bool, str]] = []
        for part in parts:
            pieces = self._known_marker.split(part.text) if self._known_marker and part.is_markup else [part.text]
            for at, piece in enumerate(pieces):
                if found and not found[-1][0] and at % 2 == 0:
                    found[-1] = (False, found[-1][1] + piece)
                else:
                    found.append((at % 2 == 1, piece))
        if self._takes_before or self._takes_after:
            found = [
                (is_marker, text if is_marker else self._left(found, at)) for at, (is_marker, text) in enumerate(found)
            ]
        return [(is_marker, text) for is_marker, text in found if text]

    def _left(self, found: Sequence[tuple[bool, str]], at: int) -> str:
        """Return the text at `at` without the white space that the markers around it take with them."""
        text = found[at][1]
        if at and found[at - 1][1] in self._takes_after:
            text = _SPACE_BEFORE.sub("", text)
        if at + 1 < len(found) and found[at + 1][1] in self._takes_before:
            text = _SPACE_AFTER.sub("", text)
        return text

    def _encode_between(self, text: str, *, is_first: bool) -> tuple[int, ...]:
        """Return the ids of a text between two markers; what looks like a marker in it is plain text."""
        first, *others = self._cut_markers(text)
        if is_first or not self._prefixes_first_only:
            ids = self._encode_piece(first).ids
        else:
            ids = list(self._encode_inside(first))
        return (*ids, *itertools.chain.from_iterable(map(self._encode_inside, others)))

    def _encode_inside(self, piece: str) -> tuple[int, ...]:
        """Return the ids of a text that goes on with another one, so that no space is put before it."""
        for before in _ANCHORS:
            lead = self._encode_piece(before).ids
            ids = self._encode_piece(before + piece).ids
            if ids[: len(lead)] == lead:
                return tuple(ids[len(lead) :])
        return tuple(self._encode_piece(piece).ids)

    def _encode_after_marker(self, text: str) -> list[int]:
        """Return the ids of `text`, which holds no marker, after one."""
        self._tokenizer.encode_special_tokens = False
        marker = self._anchor or ""
        return list(self._tokenizer.encode(marker + text, add_special_tokens=False).ids[bool(marker) :])

    def _ids_of_end(self, parts: Sequence[PromptPart], ids: Sequence[int]) -> tuple[int, ...]:
        """Return the last of `ids`, those within the plain text at the end."""
        if not parts or parts[-1].is_markup:
            return ()
        if len(parts) == 1:
            return tuple(ids)
        num, left = 0, len(parts[-1].text.encode())
        while num < len(ids) and (left := left - len(self._vocabulary.token_bytes(ids[-1 - num]))) >= 0:
            num += 1
        return tuple(ids[len(ids) - num :])

    def _encode_piece(self, piece: str) -> Encoding:
        self._tokenizer.encode_special_tokens = True
        return self._tokenizer.encode(piece, add_special_tokens=False)

    def _encode_markup(self, text: str) -> tuple[int, ...]:
        self._tokenizer.encode_special_tokens = False
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

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
