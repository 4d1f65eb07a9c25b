"""Token healing: the last, half-typed word is taken back from the prompt, and the model writes it again as typed.

The word ends as it is typed, or goes on. Both ways are weighed by the model's probabilities.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch

from bot.core.sampling_params import SamplingParams
from bot.engine.loaded_model import LoadedModel
from bot.engine.paged_cache import Row, Rows
from bot.engine.requests.work import Feed, Steps
from bot.engine.tokens.tokenizing import EncodedPrompt
from bot.engine.tokens.vocabulary import Vocabulary, is_spaced_word

Way = Literal["as_typed", "longer"]

_WAYS: Final[tuple[Way, Way]] = ("as_typed", "longer")
_LARGEST_LOG_ODDS: Final = 700.0  # beyond it, exp() is no number
_MAX_TOKENS: Final = 16  # taken back at most; no token is as long as what is left out


@dataclass(frozen=True, slots=True)
class Healing:
    """What may be written where a prompt's last word was taken back; by default nothing was.

    `typed` are the word's bytes, `typed_ids` its tokens. The first token is one of `longer_ids`, which start with all
    of `typed` and go on; or `typed_ids` are written, and after them none of `inside_ids`, with which the word would go
    on in pieces that the model has never seen.
    """

    typed: bytes = b""
    typed_ids: tuple[int, ...] = ()
    longer_ids: tuple[int, ...] = ()
    inside_ids: tuple[int, ...] = ()

    def allowed_after(self, token_ids: Sequence[int], way: Way | None = None) -> Sequence[int] | None:
        """Return the tokens that may follow the continuation's first `token_ids` (None: all), on both ways or one."""
        num = len(token_ids)
        if num >= len(self.typed_ids) or tuple(token_ids) != self.typed_ids[:num]:
            return None
        as_typed = self.typed_ids[num : num + 1] if way != "longer" else ()
        return (*as_typed, *self.longer_ids) if num == 0 and way != "as_typed" else as_typed

    def excluded_after(self, token_ids: Sequence[int]) -> Sequence[int]:
        """Return the tokens that must not follow the continuation's first `token_ids`."""
        is_typed = len(token_ids) == len(self.typed_ids) and tuple(token_ids) == self.typed_ids
        return self.inside_ids if is_typed else ()


def back_off(encoded: EncodedPrompt, model: LoadedModel) -> tuple[tuple[int, ...], Healing]:
    """Return the prompt's ids without the tokens to write again, and what may be written there.

    These are the most tokens of the last word with which some token starts as a whole and goes on; white space at the
    end is a word too. Without such a token nothing is taken back: the word can go on after it as it is, and so it can
    where the model reads its beginning in pieces anyway. A prompt without tokens before them begins with the start
    token; a model without one keeps its prompt.
    """
    vocabulary = model.vocabulary
    if not encoded.plain_ids or (vocabulary.style == "word_end" and encoded.ends_in_space):
        return encoded.ids, Healing()  # no plain text at the end, or its last word is complete
    start_id = model.tokenizer.start_id
    num_tokens = _count_last_word(encoded.plain_ids, vocabulary)
    for num in range(num_tokens, 0, -1):
        kept = encoded.ids[:-num] or (() if start_id is None else (start_id,))
        typed_ids = encoded.plain_ids[-num:]
        typed = b"".join(map(vocabulary.token_bytes, typed_ids))
        if vocabulary.style == "word_end":
            typed = typed.rstrip(b" ")  # the word may continue
        longer_ids = [token_id for token_id in vocabulary.ids_longer_than(typed) if token_id != typed_ids[-1]]
        if kept and typed and longer_ids:
            has_end = vocabulary.style != "word_end" and num == num_tokens and is_spaced_word(typed)
            return kept, Healing(typed, typed_ids, tuple(longer_ids), vocabulary.inside_ids if has_end else ())
    return encoded.ids, Healing()


def inside_last_word(encoded: EncodedPrompt, model: LoadedModel) -> tuple[int, ...]:
    """Return the tokens with which the last word of a prompt would go on; none where it shows its own end."""
    vocabulary = model.vocabulary
    if vocabulary.style == "word_end" or not encoded.plain_ids:
        return ()
    return vocabulary.inside_ids if is_spaced_word(vocabulary.token_bytes(encoded.plain_ids[-1])) else ()


def _count_last_word(ids: Sequence[int], vocabulary: Vocabulary) -> int:
    """Return how many of the last tokens are the last word, at least one.

    A word in a script without spaces is its last character.
    """
    pieces = [vocabulary.token_bytes(token_id) for token_id in ids[-_MAX_TOKENS:]]
    if pieces[-1].isspace():
        blank = [piece.isspace() for piece in reversed(pieces)]
        return blank.index(False) if False in blank else len(blank)
    num = 1
    while num < len(pieces) and _is_one_word(pieces[-num - 1], pieces[-num]):
        num += 1
    has_own_space = num < len(pieces) and pieces[-num - 1] == b" " and is_spaced_word(pieces[-num])
    return num + has_own_space


def _is_one_word(before: bytes, after: bytes) -> bool:
    """Say whether one word goes on, or one character, from the end of a token to the next one."""
    if b"\x80" <= after[:1] < b"\xc0":  # in the middle of a character
        return True
    return is_spaced_word(before) and is_spaced_word(after.decode("utf-8", "ignore")[:1].encode())


def weigh(
    model: LoadedModel,
    ids: Sequence[int],
    healing: Healing,
    params: SamplingParams,
    rows: Rows,
    *,
    after: Row | None,
) -> Steps[tuple[Way, ...]]:
    """Return the way of each of the `params.n` continuations of the prompt `ids`.

    The probability of `typed_ids` and then an end is weighed against that of `longer_ids`. Sampling draws between them
    as it draws a token; greedy decoding takes the likelier.
    """
    found: dict[int, float] = {}
    longer_ids = torch.tensor(healing.longer_ids)
    inside_ids = torch.tensor(healing.inside_ids, dtype=torch.long)
    num = len(healing.typed_ids)

    def take(first: int, logits: torch.Tensor) -> None:
        for at, row in enumerate(logits.float().log_softmax(dim=-1), first):
            if at == 0:
                found[-1] = float(row[longer_ids.to(row.device)].logsumexp(dim=-1))
            if at < num:
                found[at] = float(row[healing.typed_ids[at]])
            else:
                ends = row.index_fill(0, inside_ids.to(row.device), float("-inf"))
                found[at] = float(ends.logsumexp(dim=-1))

    typed = rows.open((*ids, *healing.typed_ids), after=after, num_unread=num + 1)
    yield [Feed(typed, take=take, num_logits=num + 1)]
    rows.close(typed)
    log_odds = sum(found[at] for at in range(num + 1)) - found[-1]
    return tuple(_choose_way(log_odds, params, index) for index in range(params.n))


def _choose_way(log_odds: float, params: SamplingParams, index: int) -> Way:
    """Choose as a sampler between two tokens: `log_odds` are those of ending as typed."""
    likelier, other = _WAYS if log_odds >= 0 else _WAYS[::-1]
    if not params.is_sampled or params.top_k == 1:
        return likelier
    ratio = math.exp(-min(abs(log_odds) / params.temperature, _LARGEST_LOG_ODDS))  # of the other way to the likelier
    share = ratio / (1 + ratio)
    if 1 - share >= params.top_p or ratio < params.min_p:
        return likelier
    return other if random.Random(f"{params.seed or 0} {index}").random() < share else likelier
