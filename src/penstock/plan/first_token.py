"""When the first token of a request comes that arrives at a random moment of a steady load.

The engine's host goes round: it decides and launches a step while the GPU runs the one before, then hands out that
one's tokens. So a request waits

1. for what is left of the round that it arrives in,
2. for the GPU to be through with the step that was launched in it,
3. for its own step, in which all that arrived in the same round are prefilled too, or for the host to launch it,
4. for the next launch, since the host hands nothing out before: short for decodes, as long as its own for a prefill
   of more than 512 tokens. The longer a launch takes, the likelier is a request that makes the next one long too.

The host is quick or slow for a while (`Estimate.spells`). An idle engine decides at once, and its GPU has begun a lead
later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from penstock.plan.estimate import StepParts

__all__ = ["Rounds"]

_RARE = 1e-3
"""Probability below which one of several chances is left out."""
_ALWAYS = ((1.0, 1.0),)
_LONG_S = 0.02
"""Rounds that last longer are looked at in more moments: with few, a percentile jumps by half a round."""
_FEW_MOMENTS, _MANY_MOMENTS = (1 / 4, 3 / 4), (1 / 8, 3 / 8, 5 / 8, 7 / 8)
"""Shares of a round that are left when a request arrives, each as likely."""
_OTHERS_MAX = 4.0
"""Mean arrivals per round beyond which their number is taken as the mean."""


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """The load that a request finds."""

    steps: Sequence[tuple[float, StepParts]]
    """(probability, step), by the number of prompts in it; the first has the fewest."""
    after: StepParts
    """The step that follows one's own where nothing arrived meanwhile."""
    following: StepParts
    """The same where a request did."""
    rate: float
    """Arrivals per second."""
    idle: float = 0.0
    """Chance that nothing runs at all where the steps say that no prompt does."""
    pauses_anywhere: bool = False
    """The engine has no decodes: it is idle or not whatever the steps say."""
    lead: float = 0.0
    """From a decision until an idle GPU has begun."""
    spells: Sequence[tuple[float, float]]
    """(probability, factor) of the host's paces, the slowest last."""

    def found(self, alone: StepParts, own: Callable[[float], StepParts]) -> list[tuple[float, float]]:
        """(probability, seconds) of a request that arrives at a random moment.

        `alone`: its own step on an engine that does nothing.
        `own`: the request's own step, with so many others that arrived in the same round.
        """
        points: list[tuple[float, float]] = []
        for chance, spell in self._spells(own(0.0)):
            cases = []
            for place, (p, lasts, left) in enumerate(self._rounds(spell)):
                idle = self.idle if place == 0 or self.pauses_anywhere else 0.0
                cases.append((chance * p * idle, 0.0, 0.0, alone))
                going = chance * p * (1.0 - idle)
                cases += [(going * q, lasts, left, own(n)) for q, n in _others(round(self.rate * lasts, 2))]
            points += self._ends(cases, spell)
        return points

    def _spells(self, own: StepParts) -> Sequence[tuple[float, float]]:
        slowest = self.spells[-1][1]
        decides = any(step.host_in(slowest) > step.gpu_s for step in (own, self.following, self.after))
        return self.spells if decides else _ALWAYS

    def _rounds(self, spell: float) -> Sequence[tuple[float, float, float]]:
        """(probability to arrive in it, how long it lasts, what it leaves to the GPU) of the rounds."""
        if spell not in self._found:
            self._found[spell] = self._find_rounds(spell)
        return self._found[spell]

    @cached_property
    def _found(self) -> dict[float, Sequence[tuple[float, float, float]]]:
        return {}

    def _find_rounds(self, spell: float) -> Sequence[tuple[float, float, float]]:
        classes = _two_points(self.steps, spell)
        shortest = self.steps[0][1].gpu_s
        begun = [(p, _left(shortest, busy, host)) for p, busy, host in classes]
        found = []
        least = _RARE * sum(p * max(step) for p, step in self.steps)
        for p, step in self.steps:
            own_host = step.host_in(spell)
            before = sum(q * max(then, own_host) for q, then in begun)  # who arrived then is in this round's step
            left = sum(q * _left(then, step.gpu_s, own_host) for q, then in begun)
            none = math.exp(-self.rate * before) if len(classes) > 1 else 1.0
            for chance, (_, busy, host) in zip((p * none, p * (1.0 - none)), classes, strict=False):
                lasts = max(left, host)
                if chance * lasts > least:
                    found.append((chance * lasts, lasts, _left(left, busy, host)))
        total = sum(p for p, _, _ in found)
        return [(p / total, lasts, left) for p, lasts, left in found]

    def _ends(self, cases: Sequence[tuple[float, float, float, StepParts]], spell: float) -> list[tuple[float, float]]:
        """(probability, seconds) until the first token.

        Of cases (probability, how long the round lasts, what it leaves to the GPU, one's own step).
        """
        after, following, rate = self.after.host_in(spell), self.following.host_in(spell), self.rate
        lead = self.lead * spell
        points: list[tuple[float, float]] = []
        for p, lasts, left, own in cases:
            launched = own.host_in(spell)
            through = (left if left > lead else lead) + own.gpu_s
            through = launched if through < launched else through
            launched = left if launched < left else launched
            moments = _MANY_MOMENTS if lasts > _LONG_S else _FEW_MOMENTS
            p /= len(moments)
            alone = launched + after
            alone = through if alone < through else alone
            held = launched + following
            if held <= alone:
                points += [(p, lasts * moment + alone) for moment in moments]
                continue
            held = through if held < through else held
            quiet = p * math.exp(-rate * launched)
            busy = p - quiet
            for moment in moments:
                points += ((quiet, lasts * moment + alone), (busy, lasts * moment + held))
        return points


def _left(before: float, busy: float, host: float) -> float:
    """What a round leaves to the GPU, which had `before` to do and got a step."""
    return max(0.0, before + busy - max(before, host))


def _two_points(steps: Sequence[tuple[float, StepParts]], spell: float) -> list[tuple[float, float, float]]:
    """(probability, GPU, host) of the step with the fewest prompts, and of all others as one."""
    (first, fewest), *rest = steps
    found = [(first, fewest.gpu_s, fewest.host_in(spell))]
    chance = sum(p for p, _ in rest)
    if chance > 0.0:
        busy = sum(p * step.gpu_s for p, step in rest) / chance
        found.append((chance, busy, sum(p * step.host_in(spell) for p, step in rest) / chance))
    return found


@lru_cache(maxsize=4096)
def _others(mean: float) -> tuple[tuple[float, float], ...]:
    """(probability, number) of requests that arrive in the same round: Poisson."""
    if mean > _OTHERS_MAX:
        spread = math.sqrt(3 * mean)
        return ((1 / 6, mean - min(spread, mean)), (2 / 3, mean), (1 / 6, mean + spread))
    chance, number = math.exp(-mean), 0
    points = []
    while chance > _RARE or number <= mean:
        points.append((chance, float(number)))
        number += 1
        chance *= mean / number
    total = sum(p for p, _ in points)
    return tuple((p / total, n) for p, n in points)
