"""The scaler's law: from what was seen of a model's load to the requests that replicas should be there for. Pure.

The value is the requests in flight now or, where they grow steadily, those expected when a replica that is asked for
now will serve:

    value = present + slope × lead, but never below present, and never above twice the present

The slope is of the last two minutes, in four quarters: the smallest step from one quarter's mean to the next. A burst
is one step or two next to each other, so one of the three is none and the slope is 0: what is there already is counted
as it is, and only a climb that goes on is carried on. A climb counts when it is beyond chance: the newest mean is
above the oldest by more than three standard deviations of the difference of two Poisson counts, √(newest + oldest).

Guarantees: never below the present load; at most twice it; more load never gives less; a steady load gives itself.
What is not known is said to be unknown, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from penstock.operate.scaling.policy import Policy

__all__ = ["ASKED_S", "HISTORY_S", "Decision", "Observation", "Recommended", "Unknown", "recommend"]

_QUARTER_S = 30.0
_QUARTERS = 4
HISTORY_S = _QUARTER_S * _QUARTERS
"""Seconds of observations that the law looks at."""
ASKED_S = 120.0
"""Seconds for which a request that found no endpoint keeps its model awake; the trigger of Prometheus has the same."""
_FRESH_S = 15.0
"""Seconds after which the newest observation is none: three beats of the reader."""
_DEVIATIONS = 3.0
_GROWTH_MAX = 2.0
"""A forecast doubles what runs at most: as much as the HPA adds in a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A model's load at one moment, all gateways together."""

    at: float
    """Monotonic seconds."""
    in_flight: float | None
    """Requests begun and unfinished, queued ones included; None where no gateway was heard."""
    is_asked: bool = False
    """Whether somebody asked since the observation before, and be it in vain."""
    heard: int = 1
    """Gateways whose count is known."""
    gateways: int = 1
    """Gateways that there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """Requests that replicas should be there for."""

    value: float
    present: float
    is_active: bool
    """Whether at least one replica should run."""
    has_trend: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Nothing can be said: whoever asks is told so, and goes by something else."""

    reason: str


Decision = Recommended | Unknown


def recommend(history: Sequence[Observation], policy: Policy, now: float) -> Decision:
    """The decision at `now` (monotonic seconds) from observations, oldest first."""
    if not history:
        return Unknown(reason="no gateway has been asked yet")
    latest = history[-1]
    present = latest.in_flight
    if present is None:
        return Unknown(reason=f"none of {latest.gateways} gateways is heard")
    if now - latest.at > _FRESH_S:
        return Unknown(reason=f"the gateways were last asked {now - latest.at:.0f} s ago")
    slope = _slope([o for o in history if o.at > latest.at - HISTORY_S])
    value = max(present, min(present + slope * policy.lead_s, _GROWTH_MAX * present))
    is_asked = policy.may_sleep and any(o.is_asked and now - o.at <= ASKED_S for o in history)
    return Recommended(
        value=value,
        present=present,
        is_active=_beyond_floor(value, policy) > 0 or is_asked,
        has_trend=value > present,
        reason=_words(latest, present, value, slope, policy, is_asked=is_asked),
    )


def _beyond_floor(value: float, policy: Policy) -> float:
    return value - policy.floor * policy.target


def _slope(history: Sequence[Observation]) -> float:
    """Requests per second of a steady climb; 0 where there is none."""
    end = history[-1].at
    quarters: list[list[float]] = [[] for _ in range(_QUARTERS)]
    for seen in history:
        if seen.in_flight is not None:
            quarters[_QUARTERS - 1 - int((end - seen.at) // _QUARTER_S)].append(seen.in_flight)
    if not all(quarters):
        return 0.0
    means = [sum(quarter) / len(quarter) for quarter in quarters]
    step = min(later - earlier for earlier, later in pairwise(means))
    rise = means[-1] - means[0]
    if step <= 0 or rise <= _DEVIATIONS * math.sqrt(means[-1] + means[0]):
        return 0.0
    return step / _QUARTER_S


def _words(latest: Observation, present: float, value: float, slope: float, policy: Policy, *, is_asked: bool) -> str:
    words = f"{present:g} requests in flight at {latest.heard} of {latest.gateways} gateways"
    if value > present:
        bound = ", bounded to twice the present" if value == _GROWTH_MAX * present else ""
        return f"{words}, growing by {60 * slope:.3g} a minute: {value:.4g} in {policy.lead_s:.0f} s{bound}"
    if present == 0 and is_asked:
        return f"{words}, and somebody asked in the last {ASKED_S:.0f} s"
    return words
