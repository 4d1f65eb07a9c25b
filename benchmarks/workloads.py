"""The texts that all engines are given: of exact token counts, seeded, never the same twice."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from bot.core.prompt import build_prompt
from bot.core.templates.parsing import parse_template
from bot.core.templates.template import PromptTemplate

PROMPTS_DIR: Final = Path(__file__).resolve().parent.parent / "prompts"
PREFIX_TOKENS: Final = 512
SCORED_TOKENS: Final = 1024
LONG_TOKENS: Final = 10_000  # of a text whose scoring takes so long that people write meanwhile
LABELS: Final = (" Positive", " Negative", " Neutral", " Mixed")
# Templates whose prompts repeat themselves, as few-shot prompts do.
FEW_SHOT: Final = ("question-answer", "sentiment", "translate-en-fr")
# (tokens of the prompt, tokens of the answer) of eight conversations; their means are 64 and 64.
_LENGTHS: Final = ((16, 64), (112, 32), (48, 96), (64, 48), (80, 64), (32, 80), (96, 56), (64, 72))

_PROSE: Final = Path(__file__).with_name("prose.txt")  # Alice's Adventures in Wonderland, chapter 1, public domain


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, as text and as the tokens it is, with what is wanted: `max_new_tokens` more of them.

    It is greedy, or sampled with the bot's own options. It arrives `arrival_s` after the first one of those it is asked
    with, or, where they are asked in turn, after the answer before it.
    """

    text: str
    ids: tuple[int, ...]
    max_new_tokens: int
    is_sampled: bool = False
    seed: int = 0
    arrival_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. `scale` divides the lengths of the conversations and of the single stream."""

    rounds: int = 5
    serve_rounds: int = 3
    few_shot_rounds: int = 2
    scale: int = 1
    lag_s: float = 10.0
    starts: int = 3
    long_rounds: int = 2
    num_arrivals: int = 24  # at most, while a long text is scored …
    pause_s: float = 2.0  # … each so long, at most, after the one before was answered

    @classmethod
    def quick(cls) -> "Sizes":
        """Return the sizes that show that all works, not how fast it is."""
        return cls(
            rounds=1,
            serve_rounds=1,
            few_shot_rounds=1,
            scale=4,
            lag_s=1.0,
            starts=1,
            long_rounds=1,
            num_arrivals=6,
            pause_s=0.1,
        )


class Workload:
    """Make questions for one model. Two texts begin differently, unless one is made to go on from the other."""

    def __init__(self, folder: Path, *, scale: int = 1, seed: int = 0) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.encode_special_tokens = True  # as the engine reads people's texts
        self._sentences = _PROSE.read_text(encoding="utf-8").split("\n")[:-1]
        self._scale = scale
        self._random = random.Random(seed)
        self._num_texts = 0

    def text(self, num_tokens: int, *, after: str = "") -> str:
        """Return a new text that is `num_tokens` tokens more than `after`, which it begins with."""
        num_before = len(self._encode(after))
        for _ in range(1000):
            self._num_texts += 1
            ids = self._encode(f"{after}{self._fresh_prose(num_tokens)}")[: num_before + num_tokens]
            text = self._tokenizer.decode(ids)
            # A cut may fall where the shorter text is tokens of its own: then another text is taken.
            if text.startswith(after) and self._encode(text) == ids and self._encode(after) == ids[:num_before]:
                return text
        raise RuntimeError(f"no text of {num_tokens} tokens was found")

    def question(self, num_tokens: int, max_new_tokens: int, *, after: str = "", is_sampled: bool = False) -> Question:
        """Return a question of a new text, `num_tokens` beyond `after`."""
        return self.ask(self.text(num_tokens, after=after), max_new_tokens, is_sampled=is_sampled)

    def ask(self, text: str, max_new_tokens: int, *, is_sampled: bool = False) -> Question:
        """Return the question that `text` is."""
        return Question(text, tuple(self._encode(text)), max_new_tokens, is_sampled, seed=self._random.randrange(2**31))

    def stream(self) -> Question:
        """Return the question of the single stream: 64 tokens and 64 more, greedy."""
        return self.question(64 // self._scale, 64 // self._scale)

    def prefix(self) -> str:
        """Return a new text of 512 tokens that stands for a template's instruction and examples."""
        return self.text(PREFIX_TOKENS)

    def few_shot(self, round_number: int) -> list[tuple[Question, Question]]:
        """Return what a round asks of filled templates: for each a question of one token, which reads the template,

        and the question that counts; each has another one of the template's own tests as its input.
        """
        pairs = []
        for name in FEW_SHOT:
            template = read_shipped_template(name)
            tests = template.tests
            first, second = (tests[(2 * round_number + offset) % len(tests)].input for offset in (0, 1))
            before = self.ask(build_prompt(template, first).text, 1)
            pairs.append((before, self.ask(build_prompt(template, second).text, 64 // self._scale)))
        return pairs

    def conversations(self, num: int, *, spread_s: float = 0.0) -> list[Question]:
        """Return `num` sampled questions of mixed lengths, at random times within `spread_s`, the first one at 0."""
        arrivals = sorted(self._random.uniform(0, spread_s) for _ in range(num - 1))
        return [
            replace(self.question(prompt // self._scale, answer // self._scale, is_sampled=True), arrival_s=arrival)
            for (prompt, answer), arrival in zip(_repeat(_LENGTHS, num), [0.0, *arrivals], strict=True)
        ]

    def arrivals(self, num: int, pause_s: float) -> list[Question]:
        """Return `num` short sampled questions, each at a random time within `pause_s` after the answer before it."""
        return [
            replace(self.question(64, 8, is_sampled=True), arrival_s=self._random.uniform(0, pause_s))
            for _ in range(num)
        ]

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _fresh_prose(self, num_tokens: int) -> str:
        pieces = [f"{self._random.randrange(100)} times {self._num_texts}:"]
        while sum(map(len, pieces)) < 8 * num_tokens + 100:
            pieces += self._random.sample(self._sentences, len(self._sentences))
        return " ".join(pieces)


def read_shipped_template(name: str) -> PromptTemplate:
    """Return a template of prompts/."""
    path = PROMPTS_DIR / f"{name}.prompt"
    return parse_template(path.read_text(encoding="utf-8"), name=name, source=path.name)


def _repeat(lengths: Sequence[tuple[int, int]], num: int) -> list[tuple[int, int]]:
    return [lengths[index % len(lengths)] for index in range(num)]
