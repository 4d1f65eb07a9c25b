"""The interface of a network: one forward pass over a ragged batch of sequences."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import torch

BLOCK_TOKENS: Final = 16  # tokens in one block of the KV cache


@dataclass(frozen=True, slots=True)
class Segment:
    """One sequence's part of a pass: the tokens `ids[start:stop]` are read at the positions start … stop-1.

    `ids` are the sequence's tokens from the first one (there may be more than `stop`); the first `start` of them are
    in the KV cache. `blocks` are the ids of its KV blocks in order, enough for at least `stop` tokens; blocks that new
    tokens are written to belong to this sequence alone. The pass returns logits after the last `num_logits` of the
    tokens that it reads (0 to stop - start).
    """

    ids: Sequence[int]
    start: int
    stop: int
    blocks: Sequence[int]
    num_logits: int

    @property
    def num_tokens(self) -> int:
        """Return how many tokens the pass reads."""
        return self.stop - self.start


class Network(Protocol):
    """The weights of one model in one precision, with its KV cache; used by the model thread only.

    The caller of `forward` must check its arguments: token ids below `vocab_size`, positions below `context_length`,
    block ids below `num_blocks`.
    """

    precision: str  # float32, bfloat16, float16 or int8: how the weights are held
    device: "torch.device"
    vocab_size: int
    context_length: int
    num_blocks: int

    def forward(self, segments: Sequence[Segment]) -> "torch.Tensor":
        """Read all segments; return the requested logits in segment order, (sum of num_logits, vocab) float32.

        The result is a buffer that the next call overwrites. Up to rounding, a sequence's logits do not depend on the
        rest of the batch. A second call with the same segments has the same effect. Raises torch.OutOfMemoryError.
        """

    def forward_by_layers(self, segments: Sequence[Segment]) -> "Generator[None, None, torch.Tensor]":
        """Do what `forward` does, in several parts where the network supports that.

        Between the parts, a network from `make_twin` or one with other weights may run passes; this one may not.
        """

    def make_twin(self) -> "Network":
        """Return a network with the same weights and KV cache; itself if `forward_by_layers` has only one part."""

    def copy_block(self, source: int, target: int) -> None:
        """Copy the keys and values of one KV block, in all layers."""

    def close(self) -> None:
        """Free the memory; call nothing afterwards."""
