"""A sketch of logits: few numbers, in which rows of logits are about as far apart as in the whole vocabulary."""

from functools import lru_cache
from typing import Final

import torch

SKETCH_SIZE: Final = 128
_SEED: Final = 0
_NUM_DIGITS: Final = 4


def sketch_logits(logits: torch.Tensor) -> tuple[float, ...]:
    """Return the sketch of `logits` (vocab,), SKETCH_SIZE numbers, alike on every device up to rounding.

    Each token's logit, less the mean of all, is added with a random sign to a random one of the numbers, so that
    distances between sketches are those between logits with an error of about 1 / sqrt(SKETCH_SIZE). Source: Charikar,
    Chen, Farach-Colton 2002, "Finding Frequent Items in Data Streams" (count sketch).
    """
    order, signs = _places(logits.shape[0])
    own = logits.detach().to("cpu", torch.float32)
    signed = ((own - own.mean())[order] * signs).view(SKETCH_SIZE, -1)
    sums = signed.sum(dim=1) / logits.shape[0] ** 0.5
    return tuple(round(number, _NUM_DIGITS) for number in sums.tolist())


@lru_cache(maxsize=4)
def _places(vocab_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens in random order, so many times SKETCH_SIZE, and their signs; 0 is a place without a token."""
    draw = torch.Generator().manual_seed(_SEED)
    num_places = -(-vocab_size // SKETCH_SIZE) * SKETCH_SIZE
    order = torch.randperm(num_places, generator=draw)
    signs = torch.randint(0, 2, (num_places,), generator=draw).float() * 2 - 1
    signs[order >= vocab_size] = 0
    return order.clamp(max=vocab_size - 1), signs
