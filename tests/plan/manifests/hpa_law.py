"""What an HPA does with an external metric that has an average target: a pure model of its documented algorithm.

Each 15 s it reckons `ceil(sum / target)` (nothing changes while `sum / (target * replicas)` is within 10 % of 1), holds
the result against its recommendations of the stabilization windows, then bounds the step by the policies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["SYNC_S", "Hpa", "replay"]

SYNC_S = 15
_TOLERANCE = 0.1


@dataclass
class Hpa:
    """One autoscaler. Owner: the test that drives it."""

    target: float
    minimum: int
    maximum: int
    behavior: dict[str, Any]
    replicas: int

    def __post_init__(self) -> None:
        self.recommended: list[tuple[float, int]] = []
        self.changes: list[tuple[float, int]] = []

    def sync(self, now: float, load: float | None) -> int:
        """One round; None is a metric that cannot be had. Returns the replicas wanted."""
        if load is None:
            return self.replicas
        ratio = load / (self.target * self.replicas)
        wish = self.replicas if abs(ratio - 1) <= _TOLERANCE else math.ceil(load / self.target)
        wish = self._stabilized(now, wish)
        wish = min(max(self._bounded(now, wish), self.minimum), self.maximum)
        if wish != self.replicas:
            self.changes.append((now, wish - self.replicas))
            self.replicas = wish
        return wish

    def _stabilized(self, now: float, wish: int) -> int:
        self.recommended.append((now, wish))
        up_s, down_s = (self.behavior[way]["stabilizationWindowSeconds"] for way in ("scaleUp", "scaleDown"))
        least = min(n for at, n in self.recommended if at >= now - up_s)
        most = max(n for at, n in self.recommended if at >= now - down_s)
        if self.replicas < least:
            return least
        return min(self.replicas, most) if most < self.replicas else self.replicas

    def _bounded(self, now: float, wish: int) -> int:
        if wish > self.replicas:
            return min(wish, max(self._limit(now, policy, 1) for policy in self.behavior["scaleUp"]["policies"]))
        if wish < self.replicas:
            return max(wish, min(self._limit(now, policy, -1) for policy in self.behavior["scaleDown"]["policies"]))
        return wish

    def _limit(self, now: float, policy: dict[str, Any], way: int) -> int:
        """How far a policy lets it go, counted from where it was at the beginning of the policy's period."""
        lately = sum(by for at, by in self.changes if at > now - policy["periodSeconds"] and by * way > 0)
        start = self.replicas - lately
        if policy["type"] == "Pods":
            return start + way * int(policy["value"])
        return math.ceil(start * (1 + way * policy["value"] / 100))


def replay(hpa: Hpa, load: Callable[[float], float | None], duration_s: int, *, lag_s: float = 30) -> list[int]:
    """Replicas at each sync, with a signal that is `lag_s` old."""
    return [hpa.sync(now, load(max(0.0, now - lag_s))) for now in range(0, duration_s, SYNC_S)]
