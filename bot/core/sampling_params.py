"""How the next token is chosen: options, ranges, presets; names and meaning as in Hugging Face GenerationConfig."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from bot.errors import RequestError

MAX_SEED: Final = 2**63 - 1
# Well below 2^53: a form's numbers are floating point, and the seeds of later rounds count on from the drawn one.
MAX_DRAWN_SEED: Final = 2**31
MAX_STOPS: Final = 4
MAX_STOP_CHARACTERS: Final = 32

# name -> (lowest, highest); temperature, top_p and repetition_penalty are real numbers, the rest whole ones.
RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "n": (1, 5),
    "max_new_tokens": (1, 512),
    "temperature": (0, 2),
    "top_k": (0, 1000),
    "top_p": (0, 1),
    "repetition_penalty": (0.8, 2),
    "no_repeat_ngram_size": (0, 10),
    "num_beams": (1, 8),
    "seed": (0, MAX_SEED),
}
_REAL: Final = frozenset({"temperature", "top_p", "repetition_penalty"})


def range_text(name: str) -> str:
    """Describe the range of the option `name` as a person reads it."""
    low, high = RANGES[name]
    if name == "top_p":
        return "a number above 0 and up to 1"
    if name in _REAL:
        return f"a number from {low:g} to {high:g}"
    if name == "seed":
        return "a whole number from 0 to 2^63-1"
    return f"a whole number from {low:g} to {high:g}"


def check_option(name: str, value: object) -> int | float:
    """Return `value` as the option `name` takes it. Raises RequestError that states the range."""
    low, high = RANGES[name]
    if isinstance(value, int | float) and not isinstance(value, bool):
        is_right_kind = name in _REAL or isinstance(value, int)
        # Comparisons refuse nan and infinity too, and unlike isfinite() they take an int of any size.
        if is_right_kind and low <= value <= high and not (name == "top_p" and value == 0):
            return float(value) if name in _REAL else int(value)
    # repr() refuses an int of thousands of digits.
    shown = "a number that long" if isinstance(value, int) and value.bit_length() > 64 else repr(value)
    raise RequestError(f"{name} takes {range_text(name)}, not {shown}.")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """The options of one generation, checked when made (RequestError names the option and its range).

    temperature 0 is greedy. top_k 0 and no_repeat_ngram_size 0 are off. `seed` None means: not drawn yet. `stop` holds
    texts that end the answer and are not part of it; templates and chat may set more and longer ones than
    the four of 32 characters that a person may (`check_stops`).
    """

    n: int = 1
    max_new_tokens: int = 60
    temperature: float = 0.8
    top_k: int = 50
    top_p: float = 0.95
    repetition_penalty: float = 1.1
    no_repeat_ngram_size: int = 0
    num_beams: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in RANGES:
            value = getattr(self, name)
            if name == "seed" and value is None:
                continue
            object.__setattr__(self, name, check_option(name, value))
        if any(not isinstance(stop, str) or not stop for stop in self.stop):
            raise RequestError("stop takes texts that are not empty.")
        if self.num_beams > 1:
            if self.n > self.num_beams:
                raise RequestError(f"n takes at most num_beams ({self.num_beams}) when beams are used, not {self.n}.")
        elif self.is_greedy and self.n > 1:
            raise RequestError(f"temperature 0 always picks the likeliest token, so n must be 1, not {self.n}.")

    @property
    def is_greedy(self) -> bool:
        """Say whether each step takes the likeliest token (of one sequence)."""
        return self.num_beams == 1 and self.temperature == 0

    @property
    def is_sampled(self) -> bool:
        """Say whether the result depends on the seed."""
        return self.num_beams == 1 and self.temperature > 0

    def with_seed(self) -> "SamplingParams":
        """Return the same options with a seed drawn where there was none."""
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(MAX_DRAWN_SEED))

    def shift_seed(self, distance: int) -> "SamplingParams":
        """Return the same options with the seed `distance` further on (after the last one comes 0), if there is one."""
        return self if self.seed is None else replace(self, seed=(self.seed + distance) % (MAX_SEED + 1))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON-able values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["stop"] = list(self.stop)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SamplingParams":
        """Make options from `to_dict()` values. Raises RequestError."""
        return cls(**{**values, "stop": tuple(values.get("stop", ()))})


PRESETS: Final[Mapping[str, Mapping[str, int | float]]] = {
    "careful": {"temperature": 0.5, "top_k": 20, "top_p": 0.9},
    "normal": {"temperature": 0.8, "top_k": 50, "top_p": 0.95},
    "wild": {"temperature": 1.2, "top_k": 0, "top_p": 0.98},
    "greedy": {"temperature": 0.0, "n": 1},
    "beam": {"num_beams": 4, "n": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 2},
}


def check_stops(stops: tuple[str, ...]) -> tuple[str, ...]:
    """Return the stop texts that a person typed. Raises RequestError above 4 texts or outside of 1-32 characters."""
    if len(stops) > MAX_STOPS:
        raise RequestError(f"stop takes at most {MAX_STOPS} texts, not {len(stops)}.")
    for stop in stops:
        if not 1 <= len(stop) <= MAX_STOP_CHARACTERS:
            raise RequestError(f"stop takes texts of 1 to {MAX_STOP_CHARACTERS} characters, not {len(stop)}.")
    return stops


def apply_options(base: SamplingParams, options: Mapping[str, Any]) -> SamplingParams:
    """Return `base` changed by a person's `options` (names of RANGES, "stop", "preset"); options beat the preset.

    Beams refuse temperature, top_k and top_p beside them; greedy and beams bring n down to 1 unless n is asked for.
    Raises RequestError.
    """
    asked = {name: value for name, value in options.items() if name != "preset"}
    changes: dict[str, Any] = {}
    if "preset" in options:
        name = options["preset"]
        if name not in PRESETS:
            raise RequestError(f"preset takes one of {', '.join(PRESETS)}, not {name!r}.")
        changes |= PRESETS[name]
        if "temperature" in asked or "num_beams" not in PRESETS[name]:
            changes.setdefault("num_beams", 1)
    for name, value in asked.items():
        changes[name] = check_stops(tuple(value)) if name == "stop" else check_option(name, value)
    num_beams = changes.get("num_beams", base.num_beams)
    if num_beams > 1:
        clash = [name for name in ("temperature", "top_k", "top_p") if name in asked]
        if clash:
            raise RequestError(f"Beams sample nothing: leave out {', '.join(clash)}, or set num_beams to 1.")
    is_single = num_beams > 1 or changes.get("temperature", base.temperature) == 0
    if is_single and "n" not in asked:
        changes["n"] = 1
    return replace(base, **changes)
