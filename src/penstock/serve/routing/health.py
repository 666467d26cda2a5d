"""What is remembered of one endpoint's failures: its breaker's state, and the figures it is judged by. Pure.

A guard is closed (in use), open (`health` is `down`, not tried before `retry_at`) or half-open (`retry_at` has passed:
one request tries it). Guarantees: at most one such trial holds the place, and for `TRIAL_S` at most, so that a trial
that is lost or hangs does not keep the endpoint out. Leaves to `ejection` when it opens and closes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock.serve.routing.progress import Progress
from penstock.serve.routing.signals import Fault, Signal

__all__ = [
    "EJECTED_SHARE_MAX",
    "RAMP_S",
    "RECOVERED_S",
    "SLOW_SHARE",
    "TRIAL_S",
    "TRIAL_WAIT_S",
    "WINDOW_S",
    "Guard",
    "back_off_s",
]

EJECTED_SHARE_MAX = 0.5
"""Share of a pool that may be out for failing some of its requests. Beyond it the others would drown in what is left,
and what fails everywhere is not an endpoint's fault. Does not hold for what can't answer at all."""
TRIAL_S = 10.0
"""Seconds for which one request holds the place of the trial: a cold first token takes some seconds, and a request that
is lost must not keep the endpoint out."""
TRIAL_WAIT_S = 1.0
"""Seconds after which a trial is due even if the routing policy would send nothing there."""
RECOVERED_S = 30.0
"""Seconds in use after which earlier failures no longer lengthen the next back-off."""
RAMP_S = 10.0
"""Seconds over which an endpoint that was out gets its full share again: its caches are cold."""
RAMP_BEGIN = 0.1
RAMP_OUT_S = 1.0
"""Seconds out from which it comes back slowly; a shorter absence left its caches warm."""
SLOW_SHARE = 0.3
"""Share for an endpoint that is slow beside its pool: it answers, so it is not put out, but it should get less. A third
is what one that takes three times as long can do."""
WINDOW_S = 10.0
"""Seconds of each of the two buckets in which answers and errors are counted."""

_GONE_S = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Back-off of what can't answer, by times in a row: short first, most are restarts; 5 s cost one failed connection."""
_BAD_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Back-off of what answers some: Envoy begins with 30 s and ends with 300 (its `outlier_detection`), but does not try
with a single request, which is why ours may be shorter."""
_HUNG_S = (30.0, 60.0)
"""Back-off of what hangs, if no step showed earlier that it goes on: each try costs somebody `TRIAL_S`."""


def back_off_s(fault: Fault, streak: int) -> float:
    """Seconds until an endpoint is tried again that went out `streak` times in a row, 1 for the first time."""
    ladder = _BAD_S if fault == "bad" else _HUNG_S if fault == "hung" else _GONE_S
    return ladder[min(max(streak, 1), len(ladder)) - 1]


@dataclass(slots=True, kw_only=True)
class Guard:
    """The breaker of one endpoint. Owned by it, changed by `ejection` alone."""

    signal: Signal | None = None
    """Why it is out."""
    fault: Fault = ""
    since: float = 0.0
    """Monotonic seconds since which it is in or out."""
    streak: int = 0
    """Times in a row that it went out."""
    revivals: int = 0
    """Times that a sign of life took it in since an answer last began there."""
    ejections_total: int = 0
    trials_total: int = 0
    trial: int = 0
    """Number of the request that tries it; 0 for none."""
    trial_until: float = 0.0
    ramp_from: float = 0.0
    is_ramping: bool = False
    good: int = 0
    bad: int = 0
    old_good: int = 0
    old_bad: int = 0
    window_at: float = 0.0
    """Monotonic seconds at which the present bucket began."""
    ttft_s: float = 0.0
    """Usual seconds to the first token of its answers; 0 while not known."""
    ttft_count: int = 0
    slow_from: float | None = None
    """Since when it looks slow beside its pool."""
    is_slow: bool = False
    progress: Progress = field(default_factory=Progress)

    def count(self, now: float, *, good: int = 0, bad: int = 0) -> None:
        """Counts answers and errors."""
        if now - self.window_at >= WINDOW_S or now < self.window_at:
            self.turn(now)
        self.good += good
        self.bad += bad

    def turn(self, now: float) -> None:
        """Begins another bucket if the present one is full."""
        age_s = now - self.window_at
        if 0 <= age_s < WINDOW_S:
            return
        is_next = 0 <= age_s < 2 * WINDOW_S
        self.old_good, self.old_bad = (self.good, self.bad) if is_next else (0, 0)
        self.good = self.bad = 0
        self.window_at = now

    def counts(self, now: float) -> tuple[int, int]:
        """Answers and errors of the last `WINDOW_S` to twice that."""
        self.turn(now)
        return self.good + self.old_good, self.bad + self.old_bad

    def error_share(self, now: float) -> float:
        """Share of errors; 0 without any answer."""
        good, bad = self.counts(now)
        return bad / (good + bad) if bad else 0.0

    def forget(self) -> None:
        """Answers and errors no longer count: it begins anew."""
        self.good = self.bad = self.old_good = self.old_bad = 0

    def has_place(self, now: float) -> bool:
        """Whether a request may try the endpoint, as far as other trials go."""
        return not self.trial or now >= self.trial_until

    def take_place(self, now: float) -> int:
        """The number of a trial that begins now."""
        self.trials_total += 1
        self.trial, self.trial_until = self.trials_total, now + TRIAL_S
        return self.trial

    def share(self, now: float) -> float:
        """Part of its fair share that it should get while it is in, above 0 to 1."""
        share = SLOW_SHARE if self.is_slow else 1.0
        if self.is_ramping:
            past = (now - self.ramp_from) / RAMP_S
            if past >= 1.0:
                self.is_ramping = False
            else:
                share *= RAMP_BEGIN + (1.0 - RAMP_BEGIN) * max(0.0, past)
        return share
