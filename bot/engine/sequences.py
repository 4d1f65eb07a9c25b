"""Rows of tokens of one length with what the model remembers of them: the only place that runs the network."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch
from transformers import DynamicCache

from bot.engine.loading import LoadedModel
from bot.engine.model_thread import Steps
from bot.errors import GenerationError

CHUNK_TOKENS = 256  # of a prompt in one forward pass: between two of them a request can be cancelled
# Bounds of memory for copies of a prompt: rows at once, tokens of cache in all of them, rows of logits.
_MAX_ROWS: Final = 16
_MAX_CACHED_TOKENS: Final = 4096
_MAX_LOGIT_ROWS: Final = 512


class Sequences:
    """Token rows (num_rows, length) that grow together; models without a KV cache read the whole row each time."""

    def __init__(self, model: LoadedModel, ids: Sequence[int]) -> None:
        self.ids = self._check(model, torch.tensor([list(ids)], dtype=torch.long, device=model.device))
        self._model = model
        self._cache: Any = DynamicCache(config=model.network.config) if model.info.has_cache else None

    @property
    def num_rows(self) -> int:
        """Return how many rows there are."""
        return int(self.ids.shape[0])

    def prefill(self) -> Steps[torch.Tensor]:
        """Read the one row that was given, in chunks; return the logits after it (1, vocab)."""
        length = self.ids.shape[1]
        if self._cache is None:
            return self._forward(self.ids, 0, num_logits=1)[:, -1]
        for first in range(0, length, CHUNK_TOKENS):
            logits = self._forward(self.ids[:, first : first + CHUNK_TOKENS], first, num_logits=1)
            if first + CHUNK_TOKENS < length:
                yield
        return logits[:, -1]

    def read_chunks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Read the one row that was given; yield each chunk's first position and its logits (k, vocab)."""
        length = self.ids.shape[1]
        size = CHUNK_TOKENS if self._cache is not None else max(length, 1)
        for first in range(0, length, size):
            chunk = self.ids[:, first : first + size]
            yield first, self._forward(chunk, first, num_logits=chunk.shape[1])[0]

    def extend(self, tokens: torch.Tensor) -> torch.Tensor:
        """Add one token to each row, (num_rows,); return the logits after it (num_rows, vocab)."""
        return self.extend_by(tokens[:, None])[:, -1]

    def extend_by(self, tokens: torch.Tensor) -> torch.Tensor:
        """Add the same number of tokens to each row, (num_rows, k); return the logits at all of them (…, k, vocab)."""
        width = tokens.shape[1]
        length = self.ids.shape[1]
        self.ids = torch.cat([self.ids, self._check(self._model, tokens)], dim=1)
        if self._cache is None:
            return self._forward(self.ids, 0, num_logits=width)
        return self._forward(tokens, length, num_logits=width)

    def select(self, rows: torch.Tensor) -> None:
        """Keep the rows (k,) in that order; a row may come several times, each a copy of its own."""
        self.ids = self.ids[rows]
        if self._cache is not None:
            self._cache.batch_select_indices(rows)

    def num_copies_at_once(self, width: int) -> int:
        """Return how many copies of one row, each extended by `width` tokens, memory has room for; at least 1."""
        length = int(self.ids.shape[1])
        return max(1, min(_MAX_ROWS, _MAX_CACHED_TOKENS // (length + width), _MAX_LOGIT_ROWS // width))

    def copy(self, rows: torch.Tensor) -> "Sequences":
        """Return new sequences made of `rows` (k,) of these, which stay as they are."""
        twin = Sequences.__new__(Sequences)
        twin.ids = self.ids[rows]
        twin._model = self._model
        twin._cache = None
        if self._cache is not None:
            twin._cache = DynamicCache(config=self._model.network.config)
            for index, layer in enumerate(self._cache.layers):
                twin._cache.update(layer.keys[rows], layer.values[rows], index)
        return twin

    def _forward(self, tokens: torch.Tensor, start: int, *, num_logits: int) -> torch.Tensor:
        """Run the network on `tokens` (num_rows, k) that stand at position `start`; (num_rows, num_logits, vocab)."""
        stop = start + tokens.shape[1]
        if stop > self._model.info.context_length:  # on a GPU a position out of range would end the whole process
            raise GenerationError("The model's context is full.")
        arguments: dict[str, Any] = {"position_ids": torch.arange(start, stop, device=tokens.device)[None]}
        if self._cache is not None:
            arguments |= {"past_key_values": self._cache, "use_cache": True}
        try:
            logits: torch.Tensor = self._model.network(
                input_ids=tokens, logits_to_keep=num_logits, return_dict=True, **arguments
            ).logits.float()
        except torch.OutOfMemoryError as e:
            raise GenerationError("The device has not enough memory for this request; make it shorter.") from e
        # A maximum is NaN if any logit is, and infinite if any is.
        if not bool(torch.isfinite(logits.amax(dim=-1)).all()):
            raise GenerationError("The model gave no usable numbers for this text.")
        return logits

    @staticmethod
    def _check(model: LoadedModel, tokens: torch.Tensor) -> torch.Tensor:
        size = model.network.get_input_embeddings().weight.shape[0]
        if tokens.numel() and (int(tokens.min()) < 0 or int(tokens.max()) >= size):
            raise GenerationError(
                "The tokenizer and the model do not belong together: a token is unknown to the model."
            )
        return tokens
