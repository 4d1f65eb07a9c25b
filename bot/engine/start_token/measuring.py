"""Measurement of how well a model reads plain text after each candidate for its start token, and the choice."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from bot.core.results import StartFigures
from bot.engine.models.pull_progress import ProgressDisplay
from bot.engine.networks.network import BLOCK_TOKENS, Network, Segment
from bot.engine.sampler.log_sums import log_sums
from bot.engine.start_token.candidates import find_candidates
from bot.engine.start_token.record import PASSAGES_FILE, read_start_figures, write_start_figures
from bot.engine.tokens.tokenizing import PromptTokenizer

_MAX_PASSAGE_TOKENS: Final = 24  # the start matters most to the tokens right after it
_MIN_PASSAGE_TOKENS: Final = 8
# Differences below this many bits per token are chance; among such candidates the first is chosen.
_CLOSE_BITS: Final = 0.01
# A model that saves fewer bits per token than this against guessing has learnt nothing, so its figures say nothing.
_LEARNT_BITS: Final = 0.5


@dataclass(frozen=True, slots=True)
class StartToken:
    """The token that plain texts are read after (both None: nothing), and the figures of all candidates."""

    token_id: int | None
    token: str | None
    figures: tuple[StartFigures, ...] = ()


def find_start_token(
    folder: Path,
    *,
    name: str,
    chat_tokenizer: Any,
    tokenizer: PromptTokenizer,
    network: Network,
    models_dir: Path | None,
    display: ProgressDisplay | None = None,
) -> StartToken:
    """Return the start token of the model in `folder`; measure it if there is no record.

    `network` is its float32 network, whose KV cache is overwritten. Progress and the result go to `display`.
    """
    vocab_size = network.vocab_size
    ids = find_candidates(chat_tokenizer, vocab_size=vocab_size)
    if not ids:
        return StartToken(None, None)
    tokens: dict[str | None, int | None] = {str(chat_tokenizer.convert_ids_to_tokens(one)): one for one in ids}
    tokens[None] = None
    figures = read_start_figures(folder, models_dir)
    if figures is None or {one.token for one in figures} != tokens.keys():
        display = display or ProgressDisplay()
        figures = _measure(network, name, tokens, tokenizer, display)
        if all(math.isfinite(one.bits_per_token) for one in figures):
            write_start_figures(folder, models_dir, figures)
            display.tell(_describe(name, choose_start(figures, vocab_size=vocab_size), figures))
    token = choose_start(figures, vocab_size=vocab_size)
    return StartToken(tokens[token], token, figures)


def choose_start(figures: Sequence[StartFigures], *, vocab_size: int) -> str | None:
    """Return the token of the lowest figure; the first one if the figures say nothing.

    `figures` start with the tokenizer's own BOS, else EOS. They say nothing without a number, and where even the best
    is hardly better than guessing among all tokens, as for random weights.
    """
    best = min((one.bits_per_token for one in figures), default=math.inf)
    if not best < math.log2(vocab_size) - _LEARNT_BITS:
        return figures[0].token if figures else None
    return next(one.token for one in figures if one.bits_per_token <= best + _CLOSE_BITS)


def _describe(name: str, token: str | None, figures: Sequence[StartFigures]) -> str:
    chosen = next(one for one in figures if one.token == token)
    others = ", ".join(f"{one.bits_per_token:.2f} after {_shown(one.token)}" for one in figures if one is not chosen)
    bits = f"{chosen.bits_per_token:.2f} bits per token instead of {others}"
    return f"{name} reads plain text after {_shown(token)}: {bits}."


def _shown(token: str | None) -> str:
    return "no start token" if token is None else token


def _measure(
    network: Network,
    name: str,
    tokens: dict[str | None, int | None],
    tokenizer: PromptTokenizer,
    display: ProgressDisplay,
) -> tuple[StartFigures, ...]:
    passages = _cut_passages(tokenizer, network)
    display.phase(f"Measuring the start token of {name}", len(tokens) * len(passages), " passages")
    done = itertools.count(1)
    figures = []
    try:
        with torch.inference_mode():
            for token, token_id in tokens.items():
                nats: list[float] = []
                for ids in passages:
                    nats += read_after(network, () if token_id is None else (token_id,), ids)
                    display.advance(next(done))
                figures.append(StartFigures(token, statistics.fmean(nats) / math.log(2) if nats else math.nan))
    finally:
        display.close()
    return tuple(figures)


def _cut_passages(tokenizer: PromptTokenizer, network: Network) -> list[tuple[int, ...]]:
    """Return the first tokens of each passage that the model can read."""
    room = min(_MAX_PASSAGE_TOKENS, network.context_length, network.num_blocks * BLOCK_TOKENS)
    texts = PASSAGES_FILE.read_text(encoding="utf-8").split("\n\n")
    passages = [tokenizer.encode_text(text.strip()).ids[:room] for text in texts]
    return [ids for ids in passages if len(ids) >= _MIN_PASSAGE_TOKENS and max(ids) < network.vocab_size]


def read_after(
    network: Network, prefix: tuple[int, ...], ids: tuple[int, ...], *, scores_first: bool = False
) -> list[float]:
    """Return the nats of all `ids` but the first, read after `prefix`; with `scores_first` and a prefix of all."""
    fed = (*prefix, *ids[:-1])
    wanted_ids = ids if scores_first else ids[1:]
    blocks = range(-(-len(fed) // BLOCK_TOKENS))
    logits = network.forward([Segment(fed, 0, len(fed), blocks, len(wanted_ids))])
    wanted = torch.tensor(wanted_ids, device=logits.device)
    nats: list[float] = (log_sums(logits) - logits.gather(1, wanted[:, None])[:, 0]).tolist()
    return nats
