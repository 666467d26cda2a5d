"""What a model is sized for: how many requests arrive at the busiest time, and how long they are. Pure.

A demand is a value; recorded requests become one by `demand_of_requests`. It keeps the busiest minute, because that is
what must be served, and the rate over time, which says what scaling with the demand would save.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from penstock.errors import UsageError

__all__ = ["PEAK_WINDOW_S", "Demand", "demand_of_rates", "demand_of_requests", "plain_demand"]

PEAK_WINDOW_S = 60.0
"""The busiest window of this length is what replicas are counted for: a queue of seconds drains inside it, and a new
replica takes longer than that to start."""
_TIMELINE_STEP_S = 600.0
"""Rates over time are kept in steps of this length: scaling is not faster."""
_TIMELINE_STEPS_MAX = 2_100
"""Two weeks of such steps; a longer record is kept in longer ones."""
INPUT_TOKENS, OUTPUT_TOKENS = 1024, 256
"""Lengths taken where none are said: a chat with some context."""
_SPREAD = 2.0
"""A 95th percentile over the mean where only a mean is said: between recorded chats (1.5 to 2.5)."""
_LONGEST = 4.0
"""The longest request over the mean where only a mean is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Requests per second at the peak, and their lengths in tokens."""

    requests_per_s: float
    prompt_tokens: float
    """Mean."""
    prompt_p95: float
    output_tokens: float
    """Mean."""
    output_p95: float
    longest_tokens: int
    """Prompt and answer together of the longest request to serve (of a record: the 99th percentile)."""
    prompt_square: float
    """Mean of the squared prompt length: attention costs follow it."""
    cached_share: float = 0.0
    """Share of prompt tokens that the prefix cache holds already."""
    timeline: tuple[float, ...] = ()
    """Requests per second in successive steps of equal length; empty where only the peak is known."""
    is_stated: bool = True
    """The lengths are said or recorded, not assumed."""
    is_recorded: bool = False
    """The lengths are those of a record, not of a mean and an assumed spread."""
    words: str
    """Where it is from, for people."""

    @property
    def total_tokens(self) -> float:
        """Mean tokens of one request, prompt and answer."""
        return self.prompt_tokens + self.output_tokens

    @property
    def lengths(self) -> Demand:
        """The same without a rate, a time or words: equal for requests that are alike."""
        return replace(self, requests_per_s=0.0, timeline=(), words="")

    def at(self, requests_per_s: float) -> Demand:
        """The same requests at another rate."""
        return replace(self, requests_per_s=requests_per_s, timeline=())


def plain_demand(
    requests_per_s: float,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    *,
    cached_share: float = 0.0,
) -> Demand:
    """A demand of which the mean lengths are known, or not even those.

    `output_tokens` 0: embeddings, which have no answer to generate.
    """
    prompt = INPUT_TOKENS if input_tokens is None else input_tokens
    output = OUTPUT_TOKENS if output_tokens is None else output_tokens
    assumed = " (assumed)" if input_tokens is None and not output_tokens else ""
    lengths = f"{prompt:,} prompt and {output:,} answer tokens" if output else f"{prompt:,} prompt tokens"
    rate = f"{requests_per_s:g} requests/s of " if requests_per_s else "requests of "
    return Demand(
        requests_per_s=requests_per_s,
        prompt_tokens=prompt,
        prompt_p95=_SPREAD * prompt,
        output_tokens=output,
        output_p95=_SPREAD * output,
        longest_tokens=math.ceil(_LONGEST * (prompt + output)),
        prompt_square=1.5 * prompt * prompt,  # of lengths that spread about as much as the 95th percentile says
        cached_share=cached_share,
        is_stated=not assumed,
        words=f"{rate}{lengths}{assumed}",
    )


def demand_of_requests(requests: Iterable[tuple[float, int, int]], *, cached_share: float = 0.0, words: str) -> Demand:
    """A demand of recorded requests: arrival in seconds, prompt and answer tokens.

    Raises:
        UsageError: there are none.
    """
    rows = sorted(requests)
    if not rows:
        raise UsageError(f"{words}: no requests to size for")
    times = [row[0] - rows[0][0] for row in rows]
    prompts, outputs = sorted(row[1] for row in rows), sorted(row[2] for row in rows)
    peak = _busiest(times)
    return Demand(
        requests_per_s=peak,
        prompt_tokens=sum(prompts) / len(rows),
        prompt_p95=_quantile(prompts, 0.95),
        output_tokens=sum(outputs) / len(rows),
        output_p95=_quantile(outputs, 0.95),
        longest_tokens=round(_quantile(sorted(row[1] + row[2] for row in rows), 0.99)),
        prompt_square=sum(p * p for p in prompts) / len(rows),
        cached_share=cached_share,
        timeline=_timeline(times),
        is_recorded=True,
        words=f"{words}: {len(rows):,} requests in {_duration(times[-1])}, {_short(peak)}/s in the busiest minute",
    )


def demand_of_rates(steps: Sequence[tuple[float, float]], lengths: Demand, *, words: str) -> Demand:
    """A demand of recorded rates, (second, requests per second), with the lengths of another one."""
    peak = max((rate for _, rate in steps), default=0.0)
    if peak <= 0:
        raise UsageError(f"{words}: no requests to size for")
    timeline = tuple(rate for _, rate in steps)
    return replace(
        lengths, requests_per_s=peak, timeline=timeline, words=f"{words}: {_short(peak)}/s at the busiest time"
    )


def _busiest(times: Sequence[float]) -> float:
    """The highest rate of any window; of a record that is shorter than one, its mean."""
    window = min(PEAK_WINDOW_S, max(times[-1], 1.0))
    most = max(bisect_left(times, start + window) - place for place, start in enumerate(times))
    return most / window


def _timeline(times: Sequence[float]) -> tuple[float, ...]:
    if times[-1] < 2 * _TIMELINE_STEP_S:
        return ()
    step = max(_TIMELINE_STEP_S, times[-1] / _TIMELINE_STEPS_MAX)
    counts = [0] * (int(times[-1] // step) + 1)
    for at in times:
        counts[int(at // step)] += 1
    last = times[-1] % step or step  # the last step is not whole
    return tuple(n / (step if place + 1 < len(counts) else max(last, 1.0)) for place, n in enumerate(counts))


def _quantile(values: Sequence[int], share: float) -> float:
    """Of sorted values."""
    return float(values[min(len(values) - 1, int(share * len(values)))])


def _short(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _duration(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
