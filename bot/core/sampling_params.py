"""Sampling options and presets; names and meaning as in Hugging Face GenerationConfig.

The fields of SamplingParams are the only table of options. Ranges, help texts, the options of commands and the line
that explains an answer are read from it, and each sampler names the options that it supports.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal

from bot.core.wording import quote
from bot.errors import RequestError

MAX_SEED: Final = 2**63 - 1
# Well below 2^53: a form's numbers are floating point, and later rounds use the numbers after the drawn seed.
MAX_DRAWN_SEED: Final = 2**31
MAX_STOPS: Final = 4
MAX_STOP_CHARACTERS: Final = 32

# What an option changes: the request (how much is generated, and how it is searched); the logits of earlier tokens
# ("processor": greedy and beams apply it too); or the distribution from which the next token is drawn ("warper").
OptionRole = Literal["request", "processor", "warper"]


@dataclass(frozen=True, slots=True)
class SamplingOption:
    """One row of the table: an option's range, its role, and the value `off`, at which it has no effect.

    `off` is None for an option that always has an effect, `default` is None for one that is drawn. Without
    `takes_lowest` the value must be above `lowest`.
    """

    name: str
    role: OptionRole
    help: str
    lowest: float
    highest: float
    default: int | float | None
    off: int | float | None = None
    is_real: bool = False
    takes_lowest: bool = True

    @property
    def takes(self) -> str:
        """Return the range in words."""
        kind = "a number" if self.is_real else "a whole number"
        highest = "2^63-1" if self.highest == MAX_SEED else f"{self.highest:g}"
        if not self.takes_lowest:
            return f"{kind} above {self.lowest:g} and up to {highest}"
        return f"{kind} from {self.lowest:g} to {highest}"

    def check(self, value: object, *, typed: str = "") -> int | float:
        """Return `value` as the option's type. Raises RequestError with the range and what was `typed`, if anything."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            is_right_kind = self.is_real or isinstance(value, int)
            # Comparisons refuse nan and infinity too, and unlike isfinite() they accept an int of any size.
            if is_right_kind and self.lowest <= value <= self.highest and (self.takes_lowest or value > self.lowest):
                return float(value) if self.is_real else int(value)
        # repr() refuses an int of thousands of digits.
        shown = "a number that long" if isinstance(value, int) and value.bit_length() > 64 else typed or repr(value)
        raise RequestError(f"{self.name} takes {self.takes}, not {shown}.")


def _option(
    default: int | float | None,
    lowest: float,
    highest: float,
    role: OptionRole,
    help: str,
    *,
    off: int | float | None = None,
    takes_lowest: bool = True,
) -> Any:
    """Return the field for one row of the table, for real numbers if its default is a float, else for whole ones."""
    row = {"role": role, "help": help, "lowest": lowest, "highest": highest, "default": default, "off": off}
    return field(default=default, metadata={**row, "is_real": isinstance(default, float), "takes_lowest": takes_lowest})


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """The sampling options of one request. Invalid ones raise RequestError, which names the option and its range.

    Temperature 0 is greedy. `seed` is None until it is drawn. `stop` holds texts that end the answer and are not part
    of it; templates and chat may set more and longer ones than a person may (`check_stops`).
    """

    n: int = _option(1, 1, 5, "request", "how many answers")
    max_new_tokens: int = _option(60, 1, 512, "request", "the most tokens in an answer")
    temperature: float = _option(
        0.8, 0, 2, "warper", "0 always takes the likeliest token; higher is more random", off=1.0
    )
    top_k: int = _option(50, 0, 1000, "warper", "draw from the k likeliest tokens; 0 is off", off=0)
    top_p: float = _option(
        0.95,
        0,
        1,
        "warper",
        "draw from the likeliest tokens that together have this probability",
        off=1.0,
        takes_lowest=False,
    )
    min_p: float = _option(
        0.0, 0, 1, "warper", "drop tokens below this share of the likeliest one's probability; 0 is off", off=0.0
    )
    repetition_penalty: float = _option(
        1.1, 0.8, 2, "processor", "above 1 avoids tokens that were used before", off=1.0
    )
    no_repeat_ngram_size: int = _option(
        0, 0, 10, "processor", "never repeat a run of this many tokens; 0 is off", off=0
    )
    num_beams: int = _option(
        1, 1, 16, "request", "beam search with this many beams, instead of sampling; 1 is off", off=1
    )
    seed: int | None = _option(None, 0, MAX_SEED, "request", "the same seed gives the same answer")
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            value = getattr(self, name)
            if value is not None or option.default is not None:
                object.__setattr__(self, name, option.check(value))
        if any(not isinstance(stop, str) or not stop for stop in self.stop):
            raise RequestError("stop takes texts that are not empty.")
        if self.num_beams > 1:
            if self.n > self.num_beams:
                raise RequestError(f"n takes at most num_beams ({self.num_beams}) when beams are used, not {self.n}.")
        elif self.is_greedy and self.n > 1:
            raise RequestError(f"temperature 0 always picks the likeliest token, so n must be 1, not {self.n}.")

    @property
    def is_greedy(self) -> bool:
        """Say whether each step takes the likeliest token, without beams."""
        return self.num_beams == 1 and self.temperature == 0

    @property
    def is_sampled(self) -> bool:
        """Say whether the result depends on the seed."""
        return self.num_beams == 1 and self.temperature > 0

    def list_active(self, *roles: OptionRole) -> frozenset[str]:
        """Return the names of the options with these roles that have an effect."""
        found = (option for option in OPTIONS.values() if option.role in roles)
        return frozenset(option.name for option in found if getattr(self, option.name) != option.off)

    def with_seed(self, *, is_kept: bool = True) -> "SamplingParams":
        """Return the same options, with a drawn seed if they have none; without one for a model that keeps none."""
        if not is_kept:
            return replace(self, seed=None)
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(MAX_DRAWN_SEED))

    def shift_seed(self, distance: int) -> "SamplingParams":
        """Return the same options with `distance` added to the seed, if there is one (0 follows the highest)."""
        return self if self.seed is None else replace(self, seed=(self.seed + distance) % (MAX_SEED + 1))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON-able values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["stop"] = list(self.stop)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SamplingParams":
        """Return the options from `to_dict()` values. Raises RequestError."""
        return cls(**{**values, "stop": tuple(values.get("stop", ()))})


OPTIONS: Final[Mapping[str, SamplingOption]] = {
    f.name: SamplingOption(f.name, **f.metadata) for f in fields(SamplingParams) if f.metadata
}
WARPERS: Final = tuple(option.name for option in OPTIONS.values() if option.role == "warper")

# Those of complete, which offers a choice; chat and templates set their own.
COMPLETION_DEFAULTS: Final = SamplingParams(n=3)

PRESETS: Final[Mapping[str, Mapping[str, int | float]]] = {
    "careful": {"temperature": 0.5, "top_k": 20, "top_p": 0.9, "min_p": 0.0},
    "normal": {"temperature": 0.8, "top_k": 50, "top_p": 0.95, "min_p": 0.0},
    "wild": {"temperature": 1.2, "top_k": 0, "top_p": 0.98, "min_p": 0.0},
    "greedy": {"temperature": 0.0, "n": 1},
    "beam": {"num_beams": 4, "n": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 2},
}


def check_stops(stops: tuple[str, ...]) -> tuple[str, ...]:
    """Return the stop texts that a person typed. Raises RequestError above 4 texts or outside 1-32 characters."""
    if len(stops) > MAX_STOPS:
        raise RequestError(f"stop takes at most {MAX_STOPS} texts, not {len(stops)}.")
    for stop in stops:
        if not 1 <= len(stop) <= MAX_STOP_CHARACTERS:
            raise RequestError(f"stop takes texts of 1 to {MAX_STOP_CHARACTERS} characters, not {len(stop)}.")
    return stops


def check_lacking(options: Mapping[str, Any], lacking: Mapping[str, str]) -> None:
    """Raise RequestError for an option that a person gave and the model can't do (`ModelInfo.lacking`), unless off."""
    for name, value in options.items():
        if name in lacking and value != OPTIONS[name].off:
            raise RequestError(lacking[name])


def leave_out(params: SamplingParams, lacking: Mapping[str, str]) -> SamplingParams:
    """Return `params` as a model that lacks some options follows them: those are off, and no seed repeats an answer."""
    off: dict[str, Any] = {name: OPTIONS[name].off for name in lacking}
    return replace(params, **off)


def apply_options(base: SamplingParams, options: Mapping[str, Any]) -> SamplingParams:
    """Return `base` with a person's `options` (names of OPTIONS, "stop", "preset"); an option overrides the preset.

    Greedy and beams set n to 1 unless n is among the options. Raises RequestError, also for WARPERS beside beams.
    """
    asked = {name: value for name, value in options.items() if name != "preset"}
    changes: dict[str, Any] = {}
    if "preset" in options:
        name = options["preset"]
        if name not in PRESETS:
            raise RequestError(f"preset takes one of {', '.join(PRESETS)}, not {quote(str(name))}.")
        changes |= PRESETS[name]
        if "temperature" in asked or "num_beams" not in PRESETS[name]:
            changes.setdefault("num_beams", 1)
    for name, value in asked.items():
        changes[name] = check_stops(tuple(value)) if name == "stop" else OPTIONS[name].check(value)
    num_beams = changes.get("num_beams", base.num_beams)
    if num_beams > 1:
        clash = [name for name in WARPERS if name in asked]
        if clash:
            raise RequestError(f"Beam search does not sample: leave out {', '.join(clash)}, or set num_beams to 1.")
    is_single = num_beams > 1 or changes.get("temperature", base.temperature) == 0
    if is_single and "n" not in asked:
        changes["n"] = 1
    return replace(base, **changes)
