"""What `longer` costs beside drawing: both write as many tokens in as many rows."""

from collections.abc import Iterator, Sequence
from statistics import mean, median
from typing import Final

from benchmarks.bench import FEWSHOT, FEWSHOT_FLOAT32, Bench
from benchmarks.engines import Longer
from benchmarks.rows import Row
from benchmarks.workloads import Question, Workload

_LENGTHS: Final = (24, 28, 32, 36, 40)  # of the five continuations: they end where their sentences do


def longer(bench: Bench) -> Iterator[Row]:
    """How many times as long it takes to extend five continuations by 32 tokens, as `longer` on a card does it,

    as to draw five new ones of 32 tokens after the same prompt of 64. They are 32 tokens long on average. Within a
    round each of the two ways comes first once.
    """

    def make(_: int) -> list[tuple[Question, list[Question]]]:
        scale = bench.sizes.scale
        return [_make_card(bench.workload, scale) for _ in range(2)]

    def measure(engine: str, cards: Sequence[tuple[Question, list[Question]]]) -> list[Longer]:
        return [
            bench.call(engine, "lengthen", prompt, options, is_drawn_first)
            for (prompt, options), is_drawn_first in zip(cards, (True, False), strict=True)
        ]

    found = bench.take_turns("longer-5", bench.among(FEWSHOT, FEWSHOT_FLOAT32), bench.sizes.rounds, make, measure)
    figures = {engine: [mean(one.of_draw for one in cards) for cards in rounds] for engine, rounds in found.items()}
    more = {
        engine: {
            "draw_ms": round(median(1000 * one.draw_s for cards in rounds for one in cards), 1),
            "extend_ms": round(median(1000 * one.extend_s for cards in rounds for one in cards), 1),
        }
        for engine, rounds in found.items()
        if rounds
    }
    yield from bench.rows("longer-5", "×", figures, more=more)


def _make_card(workload: Workload, scale: int) -> tuple[Question, list[Question]]:
    """Return a prompt, and the prompt with each continuation that is on offer.

    They are prose: what a model of random weights writes is other tokens, and more of them, when it is read again.
    """
    prompt = workload.question(64 // scale, 32 // scale, is_sampled=True)
    return prompt, [workload.question(length // scale, 32 // scale, after=prompt.text) for length in _LENGTHS]
