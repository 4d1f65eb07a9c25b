"""A loaded model: its networks, their KV caches, and its tokenizer."""

from dataclasses import dataclass
from typing import Any

import torch

from bot.core.results import ModelInfo
from bot.engine.networks.network import Network
from bot.engine.paged_cache import PagedCache
from bot.engine.tokens.tokenizing import PromptTokenizer
from bot.engine.tokens.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Lane:
    """One network with its KV cache; requests of a lane share batches."""

    network: Network
    cache: PagedCache


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run, with its tokenizer.

    `writing` holds the weights in the chosen precision, `scoring` in float32, so that scores are exact; in float32 both
    share the weights. `chat_tokenizer` is the transformers tokenizer (for its chat template only). Sampling one of
    `eos_ids` ends a text; the tuple may be empty.
    """

    writing: Lane
    scoring: Lane
    chat_tokenizer: Any
    tokenizer: PromptTokenizer
    vocabulary: Vocabulary
    device: torch.device
    eos_ids: tuple[int, ...]
    info: ModelInfo

    def close(self) -> None:
        """Free the memory of the weights and KV caches."""
        networks = {id(lane.network): lane.network for lane in (self.scoring, self.writing)}  # both may be the same
        for network in networks.values():
            network.close()
