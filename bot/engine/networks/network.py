"""One forward pass over rows of different lengths: what every implementation of the network takes and gives."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import torch

BLOCK_TOKENS: Final = 16  # tokens whose keys and values lie in one block of the KV cache


@dataclass(frozen=True, slots=True)
class Segment:
    """One row's part of a pass: the tokens `ids[start:stop]` are read at the positions start … stop-1.

    `ids` are the row's tokens from its first one on (there may be more than `stop`); the first `start` of them are in
    the cache. `blocks` are the ids of the row's KV blocks in order, at least enough for `stop` tokens; those that the
    new tokens fall into belong to this row alone. Logits are wanted after the last `num_logits` of the tokens that
    are read (0 to stop - start).
    """

    ids: Sequence[int]
    start: int
    stop: int
    blocks: Sequence[int]
    num_logits: int

    @property
    def num_tokens(self) -> int:
        """Return how many tokens are read."""
        return self.stop - self.start


class Network(Protocol):
    """The weights of one model in one precision, with the memory of its KV cache; used by the model thread alone.

    Whoever calls `forward` has checked it all before: token ids below `vocab_size`, positions below `context_length`,
    blocks below `num_blocks`.
    """

    precision: str  # float32, bfloat16, float16 or int8: how the weights are held
    device: "torch.device"
    vocab_size: int
    context_length: int
    num_blocks: int

    def forward(self, segments: Sequence[Segment]) -> "torch.Tensor":
        """Read all segments; return the wanted logits, in the segments' order, (sum of num_logits, vocab) float32.

        The result is a buffer that the next call overwrites. What a row gets does not depend on its neighbours, up to
        rounding. Calling it again with the same segments does the same again. Raises torch.OutOfMemoryError.
        """

    def forward_by_layers(self, segments: Sequence[Segment]) -> "Generator[None, None, torch.Tensor]":
        """Do what `forward` does in several parts, if it can.

        Between the parts a network made by `make_twin`, and one with other weights, may do passes; this one may not.
        """

    def make_twin(self) -> "Network":
        """Return a network with the same weights and the same cache; itself where `forward_by_layers` has one part."""

    def copy_block(self, source: int, target: int) -> None:
        """Copy the keys and values of one block of the cache, in all layers."""

    def close(self) -> None:
        """Give the memory back; nothing may be called afterwards."""
