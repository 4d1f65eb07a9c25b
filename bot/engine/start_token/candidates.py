"""The tokens that a plain text may start after, by what a tokenizer's files call them."""

import re
from typing import Any, Final

from tokenizers import AddedToken

# Names of tokens that start or end a text, letters only: of <|endoftext|>, <｜begin▁of▁sentence｜>, [EOS], </s>.
_NAME: Final = re.compile(r"(begin|start|end)(ning)?of(text|sentence|sequence|document)|[be]o[std]|s", re.IGNORECASE)
_NO_LETTERS: Final = re.compile(r"[\W_]+")
_MAX_CANDIDATES: Final = 6  # each is read once


def find_candidates(chat_tokenizer: Any, *, vocab_size: int) -> tuple[int, ...]:
    """Return the ids of a transformers tokenizer's candidates: BOS, EOS, then the others in the order of their ids.

    Ids outside the model's vocabulary are left out.
    """
    added: dict[int, AddedToken] = chat_tokenizer.backend_tokenizer.get_added_tokens_decoder()
    named = sorted(
        token_id
        for token_id, token in added.items()
        if token.special and _NAME.fullmatch(_NO_LETTERS.sub("", token.content))
    )
    known = (chat_tokenizer.bos_token_id, chat_tokenizer.eos_token_id, *named)
    ids = dict.fromkeys(token_id for token_id in known if token_id is not None and token_id < vocab_size)
    return tuple(ids)[:_MAX_CANDIDATES]
