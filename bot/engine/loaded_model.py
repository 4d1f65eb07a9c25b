"""A model in memory: its weights on their networks, their caches, and its tokenizer."""

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
    """One network with its cache: requests of a lane share passes."""

    network: Network
    cache: PagedCache


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run, with its tokenizer.

    `writing` holds the weights in the precision that was asked for, `scoring` in float32: figures are exact. They are
    the same weights where float32 was asked for. `chat_tokenizer` is the transformers tokenizer (for its chat template
    only). `eos_ids` end a text when drawn; there may be none.
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
        """Give the memory of the weights and caches back."""
        networks = {id(lane.network): lane.network for lane in (self.scoring, self.writing)}  # it may be one
        for network in networks.values():
            network.close()
