"""Planned faults of the Web API: by probability with a seed, or scripted in order."""

import random
from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal

Kind = Literal["rate_limited", "error", "accepted_then_error", "reset", "accepted_then_reset", "slow", "refused"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a call.

    rate_limited is 429 with Retry-After in whole seconds; error comes before acceptance, accepted_* after it; resets
    cut the connection; slow answers late; refused answers `ok` false with `reason`, such as unknown_method. What an
    error says is of `content_type`: somebody between the app and Slack has written it.
    """

    kind: Kind
    status: int = 502
    retry_after_s: int = 1
    delay_s: float = 0.5
    reason: str = "unknown_method"
    content_type: str = "text/html"


class FaultPlan:
    """Decides the fault of each call. `num_injected` counts kinds.

    Places are the names of methods, `upload`, `download`, `response_url` and `any`.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)
        self._scripted: dict[str, deque[Fault]] = {}
        self._rates: list[tuple[str, Fault, float]] = []
        self._always: dict[str, Fault] = {}
        self.num_injected: Counter[str] = Counter()

    def once(self, place: str, fault: Fault | Kind, times: int = 1) -> None:
        """Let the next `times` calls at a place meet `fault`, before any by probability."""
        fault = Fault(fault) if isinstance(fault, str) else fault
        self._scripted.setdefault(place, deque()).extend([fault] * times)

    def sometimes(self, place: str, fault: Fault | Kind, probability: float) -> None:
        """Let calls at a place meet `fault` with `probability`."""
        self._rates.append((place, Fault(fault) if isinstance(fault, str) else fault, probability))

    def always(self, place: str, fault: Fault | Kind) -> None:
        """Let every call at a place meet `fault`, until `clear`."""
        self._always[place] = Fault(fault) if isinstance(fault, str) else fault

    def clear(self) -> None:
        self._scripted.clear()
        self._rates.clear()
        self._always.clear()

    def fault_of(self, place: str) -> Fault | None:
        """Return the fault of this call, if any."""
        fault = self._choose(place)
        if fault:
            self.num_injected[fault.kind] += 1
        return fault

    def _choose(self, place: str) -> Fault | None:
        for name in (place, "any"):
            if self._scripted.get(name):
                return self._scripted[name].popleft()
        for name in (place, "any"):
            if name in self._always:
                return self._always[name]
        point = self._rng.random()
        for name, fault, probability in self._rates:
            if name in (place, "any"):
                if point < probability:
                    return fault
                point -= probability
        return None
