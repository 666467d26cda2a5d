"""Counts of one model: by caller, by failure, by latency.

Bounded: callers (tenant and class) and failure reasons have a maximum, what exceeds it is counted as `other`.
Written by `Telemetry`, which owns every tally; read when somebody asks.
"""

from __future__ import annotations

from collections import deque
from operator import sub

from penstock.serve.flow.ticket import CLASSES
from penstock.serve.histogram import Histogram
from penstock.serve.record import OUTCOMES, Hedged, Outcome

__all__ = ["ERROR_OUTCOMES", "OTHER", "CallerTally", "ModelTally"]

OTHER = "other"
"""Label that takes what exceeds a bound."""

ERROR_OUTCOMES: tuple[Outcome, ...] = ("shed", "timeout", "upstream_error")
"""Outcomes that are the service's fault; the others are the caller's choice, mistake or limit."""

CALLERS_MAX = 100
"""Callers (tenant and class) counted apart in each model: each costs up to ten series in Prometheus."""
REASONS_MAX = 50
"""Failure reasons counted apart in each model; our own code has about twenty."""
MARK_TICKS = 60
"""Ticks (seconds) that counts are remembered for, so as to tell what the last minute brought."""


class CallerTally:
    """Counts of one tenant in one class for one model."""

    __slots__ = ("cached_tokens", "outcomes", "output_tokens", "prompt_tokens")

    def __init__(self) -> None:
        self.outcomes: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.output_tokens = 0


class ModelTally:
    """Counts of one model since the start. Owned by `Telemetry`."""

    __slots__ = (
        *("callers", "continued", "failures", "hedges", "in_flight", "marks", "resumes", "retries"),
        *("total", "tpot", "ttft", "waits"),
    )

    def __init__(self) -> None:
        self.in_flight = 0
        self.callers: dict[tuple[str, str], CallerTally] = {}
        """By tenant and class."""
        self.failures: dict[tuple[Outcome, str], int] = {}
        """By outcome and reason."""
        self.retries = 0
        self.resumes = 0
        self.continued = 0
        self.hedges: dict[Hedged, int] = {"first": 0, "second": 0, "none": 0}
        """Requests that were sent to a second endpoint too, by which of the two answered."""
        self.ttft = Histogram()
        self.tpot = Histogram()
        self.total = Histogram()
        self.waits: dict[str, Histogram] = {name: Histogram() for name in CLASSES}
        """Time in the queue by class, of requests that waited there and then went to an endpoint."""
        self.marks: deque[tuple[int, int, int]] = deque([(0, 0, 0)], maxlen=MARK_TICKS + 1)
        """Requests, errors and output tokens so far, at each of the last ticks."""

    def add_caller(self, tenant: str, traffic_class: str) -> CallerTally:
        """The tally of a caller seen for the first time; that of `other` once there are too many."""
        key = (tenant, traffic_class) if len(self.callers) < CALLERS_MAX else (OTHER, OTHER)
        return self.callers.setdefault(key, CallerTally())

    def count_failure(self, outcome: Outcome, reason: str) -> None:
        """Counts one request that did not end well."""
        key = (outcome, reason)
        if key not in self.failures and len(self.failures) >= REASONS_MAX:
            key = (outcome, OTHER)
        self.failures[key] = self.failures.get(key, 0) + 1

    def outcomes(self) -> dict[Outcome, int]:
        """Finished requests by outcome, all callers together."""
        return {name: sum(c.outcomes[name] for c in self.callers.values()) for name in OUTCOMES}

    def since(self, ticks: int) -> tuple[int, int, int]:
        """Requests, errors and output tokens of the last `ticks` ticks, as far as they are remembered."""
        old = self.marks[max(0, len(self.marks) - 1 - ticks)]
        requests, errors, tokens = map(sub, self.marks[-1], old)
        return requests, errors, tokens

    def tick(self) -> None:
        """Closes one second."""
        for histogram in (self.ttft, self.tpot, self.total, *self.waits.values()):
            histogram.tick()
        outcomes = self.outcomes()
        errors = sum(outcomes[name] for name in ERROR_OUTCOMES)
        tokens = sum(c.output_tokens for c in self.callers.values())
        self.marks.append((sum(outcomes.values()), errors, tokens))
