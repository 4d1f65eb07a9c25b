"""The difference in bits between two texts, word by word."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Final

from bot.core.perplexity import WordSurprisal

# More words than a picture can show; comparing them takes time that grows with the square of their number.
MAX_WORDS: Final = 400

Piece = tuple[str, float | None]


def own_pieces(text: str, words: Sequence[WordSurprisal]) -> tuple[Piece, ...]:
    """Return all of `text` in pieces: the words with their bits, the text between them without."""
    return _joined(text, [(word, (word.text, word.surprisal)) for word in words])


def difference_pieces(text: str, words: Sequence[WordSurprisal], base: Sequence[WordSurprisal]) -> tuple[Piece, ...]:
    """Return all of `text` in pieces: each word with the bits that it takes more than its counterpart in `base`.

    A word that is missing from `text` stands in brackets, with the bits that it took in `base` as fewer. So the figures
    add up to the difference of the two texts. Only the first MAX_WORDS words are compared; the others have no figure.
    """
    ours, theirs = words[:MAX_WORDS], base[:MAX_WORDS]
    placed: list[tuple[WordSurprisal | None, Piece]] = list(_differences(ours, theirs))
    placed += [(word, (word.text, None)) for word in words[MAX_WORDS:]]
    return _joined(text, placed)


def _differences(
    words: Sequence[WordSurprisal], base: Sequence[WordSurprisal]
) -> Iterator[tuple[WordSurprisal | None, Piece]]:
    matcher = difflib.SequenceMatcher(None, [word.text for word in base], [word.text for word in words], autojunk=False)
    for _, start, end, our_start, our_end in matcher.get_opcodes():
        num_paired = min(end - start, our_end - our_start)
        for word, other in zip(words[our_start : our_start + num_paired], base[start:end], strict=False):
            yield word, (word.text, _minus(word.surprisal, other.surprisal))
        for word in words[our_start + num_paired : our_end]:
            yield word, (word.text, word.surprisal)
        for other in base[start + num_paired : end]:
            yield None, (f"[{other.text}]", _minus(0.0, other.surprisal))


def _minus(bits: float | None, other: float | None) -> float | None:
    return None if bits is None or other is None else bits - other


def _joined(text: str, placed: Sequence[tuple[WordSurprisal | None, Piece]]) -> tuple[Piece, ...]:
    """Return the pieces in order, with the text that is between them."""
    pieces: list[Piece] = []
    end = 0
    was_missing = False
    for word, piece in placed:
        gap = text[end : word.start] if word is not None else ""
        if not gap and pieces and (was_missing or word is None):
            gap = " "
        if gap:
            pieces.append((gap, None))
        pieces.append(piece)
        was_missing = word is None
        end = end if word is None else word.end
    if end < len(text):
        pieces.append((text[end:], None))
    return tuple(pieces)
