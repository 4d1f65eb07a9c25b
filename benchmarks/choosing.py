"""Measure how long the choice of the next tokens takes, beside nothing else: median milliseconds of one call.

Run: python benchmarks/choosing.py [VOCAB_SIZE]. "compiled" and "numpy" are the two ways to the same tokens; a line
is one kind of options, at 1, 8 and 32 rows. Logits are random, as peaked as a model's (the likeliest of 50,257
tokens has about a tenth of the mass).
"""

import statistics
import sys
import time
from typing import Any

import torch

from bot.core.sampling_params import SamplingParams
from bot.engine.networks.native.building import NativeUnavailable
from bot.engine.networks.native.library import open_library
from bot.engine.networks.native.row_chooser import use_library
from bot.engine.sampler.sampler import Choice, Chosen, TokenChooser, choose_tokens

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "greedy": {"temperature": 0},
    "wild": {"temperature": 1.2, "top_k": 0, "top_p": 0.98},
    "min_p": {"temperature": 1.2, "top_k": 0, "top_p": 1.0, "min_p": 0.1},
    "n=3": {"n": 3},
    "no_repeat_ngram": {"no_repeat_ngram_size": 3},
}
ROWS = (1, 8, 32)
PROMPT_TOKENS = 200
STEPS = 30


def measure(options: dict[str, Any], num_rows: int, vocab_size: int) -> float:
    """Return the median milliseconds of a step; requests of n rows fill up `num_rows`, the last one in part."""
    generator = torch.Generator().manual_seed(1)
    # Made beforehand: torch's threads stay awake for a while after a large operation, in the way of those measured.
    passes = [torch.randn(num_rows, vocab_size, generator=generator) * 3 - 30 for _ in range(3)]
    n = options.get("n", 1)
    choosers = [
        TokenChooser(SamplingParams(**options, seed=at), torch.device("cpu")) for at in range(-(-num_rows // n))
    ]
    texts = torch.randint(0, vocab_size, (num_rows, PROMPT_TOKENS), generator=generator).tolist()
    durations = []
    for step in range(STEPS):
        choices = [Choice(choosers[row // n], row % n, text, None) for row, text in enumerate(texts)]
        started = time.perf_counter()
        results = choose_tokens(passes[step % len(passes)], choices)
        durations.append(time.perf_counter() - started)
        for text, result in zip(texts, results, strict=True):
            if not isinstance(result, Chosen):
                raise result
            text.append(result.token_id)
    return statistics.median(durations[2:]) * 1e3


def main() -> None:
    """Print the table."""
    vocab_size = int(sys.argv[1]) if len(sys.argv) > 1 else 50257
    torch.set_grad_enabled(False)
    sys.stdout.write(f"{'':24}" + "".join(f"{f'{rows} rows':>10}" for rows in ROWS) + "\n")
    for way in ("numpy", "compiled"):
        if way == "compiled":
            try:
                use_library(open_library(), num_threads=torch.get_num_threads())
            except NativeUnavailable as e:
                sys.exit(f"Not measured: {e}")
        for name, options in OPTIONS.items():
            times = [measure(options, rows, vocab_size) for rows in ROWS]
            sys.stdout.write(
                f"{way + ' ' + name:24}" + "".join(f"{milliseconds:10.2f}" for milliseconds in times) + "\n"
            )


if __name__ == "__main__":
    main()
