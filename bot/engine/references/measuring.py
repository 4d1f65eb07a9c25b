"""Measurement of how surprising the reference texts are to a model."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch

from bot.core.results import ReferenceFigure
from bot.engine.models.pull_progress import ProgressDisplay
from bot.engine.networks.network import BLOCK_TOKENS, Network
from bot.engine.references.record import TEXTS_FILE, read_references, write_references
from bot.engine.start_token.measuring import read_after
from bot.engine.tokens.tokenizing import PromptTokenizer

# A text is cut here, so that the figures of all kinds are of texts of about one length.
MAX_TOKENS: Final = 64
_LEARNT_SHARE: Final = 0.5
_BETWEEN: Final = "\n---\n"


def find_references(
    folder: Path,
    *,
    name: str,
    tokenizer: PromptTokenizer,
    network: Network,
    models_dir: Path | None,
    display: ProgressDisplay | None = None,
) -> tuple[ReferenceFigure, ...]:
    """Return the perplexity of each kind of reference text; measure them if there is no record.

    `network` is the model's float32 network, whose KV cache is overwritten. Progress goes to `display`.
    """
    figures = read_references(folder, models_dir)
    if figures is None:
        figures = _measure(network, name, tokenizer, display or ProgressDisplay())
        # To a model that guesses, all texts are the same.
        has_learnt = any(one.perplexity < network.vocab_size * _LEARNT_SHARE for one in figures)
        figures = figures if has_learnt else ()
        write_references(folder, models_dir, figures)
    return figures


def read_texts() -> Mapping[str, Sequence[str]]:
    """Return the reference texts by their kind."""
    kinds: dict[str, list[str]] = {}
    for part in TEXTS_FILE.read_text(encoding="utf-8").removeprefix("# ").split("\n# "):
        kind, _, texts = part.partition("\n")
        kinds[kind.strip()] = [text.strip("\n") for text in texts.strip("\n").split(_BETWEEN)]
    return kinds


def _measure(
    network: Network, name: str, tokenizer: PromptTokenizer, display: ProgressDisplay
) -> tuple[ReferenceFigure, ...]:
    prefix = tokenizer.document_prefix
    room = min(MAX_TOKENS, network.context_length - len(prefix), network.num_blocks * BLOCK_TOKENS - len(prefix))
    kinds = {kind: [tokenizer.encode_text(text).ids[:room] for text in texts] for kind, texts in read_texts().items()}
    known = {kind: [ids for ids in all_ids if max(ids) < network.vocab_size] for kind, all_ids in kinds.items()}
    display.phase(f"Reading reference texts with {name}", sum(map(len, known.values())), " texts")
    done = itertools.count(1)
    figures = []
    try:
        with torch.inference_mode():
            for kind, all_ids in known.items():
                means = []
                for ids in all_ids:
                    means.append(statistics.fmean(read_after(network, prefix, ids, scores_first=bool(prefix))))
                    display.advance(next(done))
                if means and math.isfinite(mean := statistics.fmean(means)):
                    figures.append(ReferenceFigure(kind, math.exp(mean)))
    finally:
        display.close()
    return tuple(figures)
