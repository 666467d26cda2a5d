"""From what each request saw to one report: percentiles, throughput, goodput, errors, figures over time.

Guarantees: percentiles are exact (nearest rank over all samples); times in the report are milliseconds from the moment
a request was *due*, so a client or endpoint that falls behind cannot hide it; the same samples give the same report.
Leaves to others: measuring (`simulate.io.load`), tables and plots (`cli.bench`, `simulate.io.plot`).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from penstock.simulate.workload.answers import Answer, Failure
from penstock.simulate.workload.timeline import Timeline, draw_timeline

__all__ = ["ClientHealth", "Errors", "Objectives", "Report", "Sample", "Spread", "percentile", "summarize"]

# Above these the figures say as much of the client as of the endpoint.
_CPU_SHARE_MAX = 0.85
_LAG_P99_MS_MAX = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request as the client saw it. Seconds from the start of the run; it has an answer or a failure."""

    due_s: float
    sent_s: float
    done_s: float
    first_s: float | None = None
    last_s: float | None = None
    events: int = 0
    gaps_s: array[float] = field(default_factory=lambda: array("d"))
    prompt_tokens_wanted: int = 0
    output_tokens_wanted: int = 0
    answer: Answer | None = None
    failure: Failure | None = None

    @property
    def output_tokens(self) -> int:
        """As the endpoint counted, or one for each event where it did not say."""
        if self.answer is None or self.answer.output_tokens is None:
            return self.events
        return self.answer.output_tokens

    @property
    def ttft_ms(self) -> float | None:
        """From due to the first event with output; nothing when the answer was not streamed."""
        return None if self.first_s is None else (self.first_s - self.due_s) * 1000.0

    @property
    def tpot_ms(self) -> float | None:
        """Mean time for each output token after the first."""
        if self.first_s is None or self.last_s is None or self.output_tokens < 2:
            return None
        return (self.last_s - self.first_s) * 1000.0 / (self.output_tokens - 1)

    @property
    def e2e_ms(self) -> float:
        """From due to the last byte."""
        return (self.done_s - self.due_s) * 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """What a request must meet to count as goodput; `itl_ms` is held against a request's mean (its TPOT)."""

    ttft_ms: float | None = None
    itl_ms: float | None = None
    e2e_ms: float | None = None

    @property
    def is_any(self) -> bool:
        """Is there something to meet?"""
        return (self.ttft_ms, self.itl_ms, self.e2e_ms) != (None, None, None)

    def met_by(self, sample: Sample) -> bool:
        """Did this request get a whole answer in time? A figure that it does not have (one token has no ITL) is met."""
        pairs = ((sample.ttft_ms, self.ttft_ms), (sample.tpot_ms, self.itl_ms), (sample.e2e_ms, self.e2e_ms))
        return sample.failure is None and all(
            seen is None or wanted is None or seen <= wanted for seen, wanted in pairs
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A distribution in a few numbers; all `None` where nothing was measured."""

    count: int = 0
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Exact figures over all values."""
        ordered = sorted(values)
        if not ordered:
            return cls()
        p50, p90, p95, p99 = (round(percentile(ordered, p), 3) for p in (50, 90, 95, 99))
        mean = math.fsum(ordered) / len(ordered)
        return cls(
            count=len(ordered), mean=round(mean, 3), p50=p50, p90=p90, p95=p95, p99=p99, max=round(ordered[-1], 3)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Failures of one kind, with the first one's words."""

    kind: str
    count: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHealth:
    """Was the load client itself in the way? `late_ms` is sent after due, in an open loop."""

    cpu_share: float
    lag_ms: Spread
    late_ms: Spread

    @property
    def warning(self) -> str:
        """What to tell a person; empty when the client kept up."""
        signs = []
        if self.cpu_share > _CPU_SHARE_MAX:
            signs.append(f"used {self.cpu_share:.0%} of its core")
        if (self.lag_ms.p99 or 0.0) > _LAG_P99_MS_MAX:
            signs.append(f"saw its own event loop late by {self.lag_ms.p99:.0f} ms (p99)")
        if not signs:
            return ""
        return (
            f"the load client {' and '.join(signs)}: its own delay is in these figures. Lower the rate, use a machine "
            "with a free core, or run several clients with different --seed"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of load, ready for a table, a plot or JSON."""

    seconds: float
    requests: int
    ok: int
    failed: int
    unfinished: int
    ttft_ms: Spread
    itl_ms: Spread
    tpot_ms: Spread
    e2e_ms: Spread
    requests_per_s: float
    prompt_tokens_per_s: float
    output_tokens_per_s: float
    prompt_tokens: Spread
    prompt_tokens_wanted: Spread
    output_tokens: Spread
    output_tokens_wanted: Spread
    objectives: Objectives
    met_share: float
    goodput_per_s: float
    finish_reasons: dict[str, int]
    errors: tuple[Errors, ...]
    client: ClientHealth
    itl_quantiles_ms: tuple[float, ...]
    timeline: Timeline

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "client_warning": self.client.warning}


def percentile(ordered: Sequence[float], p: float) -> float:
    """Nearest rank: the smallest value that at least p percent of all values do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * p / 100.0) - 1)]


def summarize(
    samples: Sequence[Sample], *, objectives: Objectives, client: ClientHealth, unfinished: int = 0
) -> Report:
    """The report of a run. `unfinished`: requests in flight when it was stopped; they are in no other figure."""
    good = [s for s in samples if s.failure is None]
    seconds = max((s.done_s for s in samples), default=0.0) - min((s.due_s for s in samples), default=0.0)
    per_s = 1.0 / seconds if seconds > 0 else 0.0
    gaps_ms = sorted(gap * 1000.0 for s in good for gap in s.gaps_s)
    met = sum(objectives.met_by(s) for s in samples)
    prompt_tokens = [s.answer.prompt_tokens for s in good if s.answer and s.answer.prompt_tokens is not None]
    return Report(
        seconds=round(seconds, 3),
        requests=len(samples),
        ok=len(good),
        failed=len(samples) - len(good),
        unfinished=unfinished,
        ttft_ms=Spread.of(s.ttft_ms for s in good if s.ttft_ms is not None),
        itl_ms=Spread.of(gaps_ms),
        tpot_ms=Spread.of(s.tpot_ms for s in good if s.tpot_ms is not None),
        e2e_ms=Spread.of(s.e2e_ms for s in good),
        requests_per_s=round(len(good) * per_s, 3),
        prompt_tokens_per_s=round(sum(prompt_tokens) * per_s, 1),
        output_tokens_per_s=round(sum(s.output_tokens for s in good) * per_s, 1),
        prompt_tokens=Spread.of(prompt_tokens),
        prompt_tokens_wanted=Spread.of(s.prompt_tokens_wanted for s in good),
        output_tokens=Spread.of(s.output_tokens for s in good),
        output_tokens_wanted=Spread.of(s.output_tokens_wanted for s in good),
        objectives=objectives,
        met_share=round(met / len(samples), 4) if samples else 0.0,
        goodput_per_s=round(met * per_s, 3),
        finish_reasons=dict(Counter(s.answer.finish_reason for s in good if s.answer).most_common()),
        errors=_errors(samples),
        client=client,
        itl_quantiles_ms=tuple(round(percentile(gaps_ms, p), 3) for p in range(101)) if gaps_ms else (),
        timeline=draw_timeline(samples),
    )


def _errors(samples: Iterable[Sample]) -> tuple[Errors, ...]:
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for sample in samples:
        if sample.failure is not None:
            counts[sample.failure.kind] += 1
            examples.setdefault(sample.failure.kind, sample.failure.detail)
    return tuple(Errors(kind=kind, count=n, example=examples[kind]) for kind, n in counts.most_common())
