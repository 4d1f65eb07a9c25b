"""Texts of all kinds thrown at the parsers: only declared errors, quickly, and with little memory."""

import contextlib
import random
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bot.commands.bot import COMMANDS
from bot.commands.framework.parsing import parse_command_line
from bot.core.prompt import build_prompt
from bot.core.safe_text import one_line
from bot.core.templates.lines import parse_rows
from bot.core.templates.parsing import format_template, parse_template
from bot.core.templates.template import PromptTemplate
from bot.errors import RequestError

MAX_MS: Final = 50.0
MAX_MEMORY_RATIO: Final = 10.0
# What a call may need however short its text is: patterns that are compiled at first use, an error with its traceback.
MEMORY_FLOOR: Final = 512 * 1024
_MEMORY_EVERY: Final = 200
_PROGRESS_EVERY: Final = 50_000
# What is compiled and cached at first use is no text's own.
_NUM_WARMING: Final = 400
_SHARE_OF_LONG: Final = 0.01

_PIECES: Final = (
    "+++\n", "+++", "\n", "[[examples]]\n", "[[tests]]\n", "[sampling]\n", 'input = "a"\n', 'output = "b"\n',
    'description = "x"\n', 'kind = "classify"\n', 'kind = "chat"\n', 'kind = "complete"\n', 'labels = ["a", "b"]\n',
    "$examples\n", "$input", "$history", "$bot_name:", "$$", "$", "${input}", "$input$input", "separator = ''\n",
    "temperature = 1e999\n", "seed = 99999999999999999999\n", "a.b.c.d = 1\n", "x = [[[[[[[[]]]]]]]]\n", "= = =\n",
    "'''", '"""', "\\u0000", "\\uD800", "\ud800", "\x00", "\r\n", "\u2028", "\u202e", "e\u0301" * 9, "\U0001f600",
    "<|endoftext|>", "<|im_start|>", "1979-05-27T07:32:00Z", "nan", "inf", "true", "{", "}", "[", "]", '"', "'", "#",
    "--n", "--", "--stop=\"", "--seed 1 ", "prompt ", "run ", "complete ", "compare ", " | ", "settings ", "=> ",
    " => ", "\\=>", "“", "”", "help", "why", "x" * 50, " " * 20, "\t", "0x_1", "9" * 30,
)  # fmt: skip


@dataclass(slots=True)
class Parsed:
    """What came of it. `problems` are texts that broke a rule, by their seeds, never the texts themselves."""

    num: int = 0
    num_accepted: int = 0
    worst_ms: float = 0.0
    worst_memory_ratio: float = 0.0
    problems: list[str] = field(default_factory=list)


def _parse_template(text: str) -> PromptTemplate:
    return parse_template(text, name="fuzzed", source="fuzzed")


def _check_template(template: PromptTemplate) -> None:
    """Check that what was accepted means the same in canonical form, and takes an input as text alone."""
    if parse_template(format_template(template), name="fuzzed", source="fuzzed") != template:
        raise AssertionError("the canonical form means something else")
    if template.kind != "chat":
        _check_injection(template)


def _check_injection(template: PromptTemplate) -> None:
    said = "$input +++ $examples $$ <|endoftext|>\n[[examples]]\n$history"
    shown = one_line(said) if not template.is_multiline and template.kind == "classify" else None
    text = build_prompt(template, said).text
    if (shown is not None and shown not in text) or (shown is None and one_line(said) not in one_line(text)):
        raise AssertionError("an input did not stay what it was")


def _parse_line(text: str) -> object:
    return parse_command_line(text, COMMANDS)


def _random_text(draw: random.Random, corpus: list[str]) -> str:
    """Return a text of pieces, a real template with some of it changed, or now and then one of up to 300 kB of that."""
    text = _short_text(draw, corpus)
    if draw.random() < _SHARE_OF_LONG:
        start = draw.randrange(len(text))
        part = text[start : start + draw.randrange(1, 2000)]
        text = text[:start] + part * (draw.randrange(10_000, 300_000) // len(part)) + text[start:]
    return text


def _short_text(draw: random.Random, corpus: list[str]) -> str:
    if draw.random() < 0.5:
        return "".join(draw.choice(_PIECES) for _ in range(draw.randrange(1, 40)))
    text = draw.choice(corpus)
    for _ in range(draw.randrange(0, 5)):
        start = draw.randrange(len(text) + 1)
        end = min(len(text), start + draw.randrange(0, 30))
        text = text[:start] + draw.choice(_PIECES) * draw.choice((0, 1, 1, 1, 3, 50)) + text[end:]
    return text


def _time_ms(parse: Callable[[str], object], text: str) -> float:
    begun = time.thread_time()
    with contextlib.suppress(RequestError):
        parse(text)
    return (time.thread_time() - begun) * 1000


def _memory_ratio(parse: Callable[[str], object], text: str) -> float:
    """Return the most memory that the call holds above MEMORY_FLOOR, as a multiple of the text's bytes."""
    tracemalloc.start()
    with contextlib.suppress(RequestError):
        parse(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return max(0, peak - MEMORY_FLOOR) / max(1, len(text.encode("utf-8", "replace")))


def run_parsing(num: int, seed: int, prompts: Path, tell: Callable[[str], None] = lambda _: None) -> Parsed:
    """Try `num` texts, drawn from `seed`; the files in `prompts` are where the real ones come from."""
    draw = random.Random(seed)
    corpus = [path.read_text(encoding="utf-8") for path in sorted(prompts.glob("*.prompt"))]
    done = Parsed()
    parsers: tuple[Callable[[str], object], ...] = (_parse_template, _parse_line, _parse_template, parse_rows)
    for number in range(num):
        text = _random_text(draw, corpus)
        parse = parsers[number % len(parsers)]
        parsed: object = None
        begun = time.thread_time()
        try:
            parsed = parse(text)
            done.num_accepted += 1
        except RequestError:
            pass
        except Exception as e:
            done.problems.append(f"text {number} of seed {seed}, {parse.__name__}: {type(e).__name__}")
        took_ms = (time.thread_time() - begun) * 1000
        if number >= _NUM_WARMING:
            # The collector of garbage, or a table of Python's own that grows, may come in between: only what happens
            # again is the text's.
            if took_ms > MAX_MS:
                took_ms = min(took_ms, _time_ms(parse, text), _time_ms(parse, text))
            done.worst_ms = max(done.worst_ms, took_ms)
            ratio = _memory_ratio(parse, text) if number % _MEMORY_EVERY < len(parsers) else 0.0
            if ratio > MAX_MEMORY_RATIO:
                ratio = min(ratio, _memory_ratio(parse, text))
            done.worst_memory_ratio = max(done.worst_memory_ratio, ratio)
            if took_ms > MAX_MS or ratio > MAX_MEMORY_RATIO:
                done.problems.append(
                    f"text {number} of seed {seed}, {parse.__name__}: {took_ms:.0f} ms, {ratio:.1f} times its bytes"
                )
        if isinstance(parsed, PromptTemplate):
            try:
                _check_template(parsed)
            except Exception as e:
                done.problems.append(f"text {number} of seed {seed}, accepted: {type(e).__name__}: {e}")
        done.num += 1
        if done.num % _PROGRESS_EVERY == 0:
            tell(f"{done.num:,} of {num:,} texts, worst {done.worst_ms:.1f} ms, {len(done.problems)} problems")
    return done
