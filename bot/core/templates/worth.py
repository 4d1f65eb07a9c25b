"""How good a template is on its own tests with the model at hand, in figures and in words."""

from dataclasses import dataclass
from typing import Final

from bot.core.statistics import ClassifyFigures, CompleteFigures, Figures
from bot.core.templates.template import Example
from bot.core.verdicts import judge_figures

# With less, the answer hardly depends on the message: of the templates that come with the bot, on SmolLM2-135M, those
# below write mostly wrong answers, and those above mostly right ones.
MIN_FIT: Final = 0.5


@dataclass(frozen=True, slots=True)
class Worth:
    """The figures of a template on its own tests.

    `fit`, of free text, is the share of the right outputs' bits that are saved by reading the test's own message
    instead of another test's: 0 if the model answers every message alike, 1 if it is sure of the right answer. It is
    None for labels, and if no two tests have different outputs.
    """

    figures: Figures
    fit: float | None = None

    @property
    def is_enough(self) -> bool:
        """Say whether the template works with this model: better than guessing, or a fit of at least MIN_FIT."""
        if isinstance(self.figures, ClassifyFigures):
            return self.figures.accuracy_interval.low > self.figures.guessed_share
        return self.fit is None or self.fit >= MIN_FIT

    @property
    def words(self) -> str:
        """Return the worth in a few words, for a list."""
        figures = self.figures
        if isinstance(figures, ClassifyFigures):
            return f"{sum(figures.is_right)} of {figures.num_rows} right"
        parts = [] if self.fit is None else [f"fit {self.fit:.0%}"]
        if num_asked := num_exact_asked(figures):
            parts.append(f"{figures.num_exact} of {num_asked} exact")
        return ", ".join(parts) or f"{figures.bits_per_byte:.3f} bits per byte"

    @property
    def verdict(self) -> str:
        """Return the worth as a sentence for people who do not know the figures."""
        if self.fit is None or isinstance(self.figures, ClassifyFigures):
            return judge_figures(self.figures)
        how = "mostly knows" if self.is_enough else "hardly knows"
        num_asked = num_exact_asked(self.figures)
        exact = f" {self.figures.num_exact} of {num_asked} outputs are exactly as expected." if num_asked else ""
        return f"This model {how} the right answers: reading the message saves {self.fit:.0%} of their bits.{exact}"


def num_exact_asked(figures: CompleteFigures) -> int:
    """Return for how many rows it was tested whether the answer is exactly the right one."""
    return sum(outcome.is_exact is not None for outcome in figures.outcomes)


def swap_inputs(tests: tuple[Example, ...]) -> tuple[tuple[int, Example], ...]:
    """Return each test's output with the input of a later test of another output, and the test's index."""
    swapped = []
    for i, test in enumerate(tests):
        others = (*tests[i + 1 :], *tests[:i])
        other = next((one for one in others if one.output != test.output and one.input != test.input), None)
        if other is not None:
            swapped.append((i, Example(other.input, test.output)))
    return tuple(swapped)


def fit_of(own: CompleteFigures, swapped: CompleteFigures) -> float | None:
    """Return the fit from the figures of the same outputs with their own inputs and with others'."""
    bits, other_bits = sum(own.row_bits), sum(swapped.row_bits)
    return 1 - bits / other_bits if other_bits > 0 else None
