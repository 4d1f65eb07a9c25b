"""Planned faults of the REST API: by probability with a seed, or scripted in order."""

import random
from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal

Kind = Literal["rate_limited", "banned", "error", "accepted_then_error", "reset", "accepted_then_reset", "slow"]

ROUTES = {
    ("POST", "/channels/{channel_id}/messages"): "send",
    ("PATCH", "/channels/{channel_id}/messages/{message_id}"): "edit",
    ("DELETE", "/channels/{channel_id}/messages/{message_id}"): "delete",
    ("POST", "/channels/{channel_id}/messages/bulk-delete"): "delete",
    ("POST", "/channels/{channel_id}/typing"): "typing",
    ("POST", "/interactions/{interaction_id}/{interaction_token}/callback"): "callback",
    ("POST", "/users/@me/channels"): "dm",
}


def route_kind(method: str, template: str) -> str:
    """Return send, edit, delete, typing, callback, dm, reaction, webhook, commands, attachment, read or other."""
    if (method, template) in ROUTES:
        return ROUTES[method, template]
    for part, kind in (("/reactions/", "reaction"), ("/webhooks/", "webhook"), ("/commands", "commands")):
        if part in template:
            return kind
    if template.startswith("/attachments/"):
        return "attachment"
    return "read" if method == "GET" else "other"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a request.

    rate_limited is 429 with `Via`, banned 429 without; error comes before acceptance, accepted_* after it; resets cut
    the connection; slow answers late.
    """

    kind: Kind
    status: int = 502
    retry_after_s: float = 0.05
    delay_s: float = 0.5


class FaultPlan:
    """Decides the fault of each request. `num_injected` counts kinds."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)
        self._scripted: dict[str, deque[Fault]] = {}
        self._rates: list[tuple[str, Fault, float]] = []
        self.num_injected: Counter[str] = Counter()

    def once(self, route: str, fault: Fault | Kind, times: int = 1) -> None:
        """Let the next `times` requests of a route kind (or `any`) meet `fault`, before any by probability."""
        fault = Fault(fault) if isinstance(fault, str) else fault
        self._scripted.setdefault(route, deque()).extend([fault] * times)

    def sometimes(self, route: str, fault: Fault | Kind, probability: float) -> None:
        """Let requests of a route kind (or `any`) meet `fault` with `probability`."""
        self._rates.append((route, Fault(fault) if isinstance(fault, str) else fault, probability))

    def clear(self) -> None:
        self._scripted.clear()
        self._rates.clear()

    def fault_of(self, method: str, template: str) -> Fault | None:
        """Return the fault of this request, if any."""
        kind = route_kind(method, template)
        fault = self._choose(kind)
        if fault:
            self.num_injected[fault.kind] += 1
        return fault

    def _choose(self, kind: str) -> Fault | None:
        for name in (kind, "any"):
            if self._scripted.get(name):
                return self._scripted[name].popleft()
        point = self._rng.random()
        for name, fault, probability in self._rates:
            if name in (kind, "any"):
                if point < probability:
                    return fault
                point -= probability
        return None
