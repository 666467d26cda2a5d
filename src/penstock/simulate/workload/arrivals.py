"""Arrival processes: endless, rising streams of times in seconds.

Guarantees: each depends only on the random stream and the mean rate handed in; scaling the rate scales the intensity
and leaves the shape (when bursts start, how the day goes) alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

__all__ = [
    "BURST_MEAN_RATE",
    "HOUR_CURVE",
    "bursts",
    "constant",
    "diurnal",
    "diurnal_stress",
    "poisson",
    "renewal",
    "stepped",
    "trend",
]

# Code completion (Azure 2023): bursts of 30-60 s at 5-10 requests/s, one second in 45 at up to 67; 20-220 s of silence.
_ON_S, _OFF_S = (30.0, 60.0), (20.0, 220.0)
_BURST_RATE, _SPIKE_RATE, _SPIKE_SHARE = (5.0, 10.0), 67.0, 1 / 45
BURST_MEAN_RATE = (
    (sum(_ON_S) / 2)
    * (sum(_BURST_RATE) / 2 * (1 - _SPIKE_SHARE) + _SPIKE_RATE * _SPIKE_SHARE)
    / (sum(_ON_S) / 2 + sum(_OFF_S) / 2)
)

# Requests in each hour of the day over their mean: 14 days of m-small, ServeGen (Apache-2.0).
HOUR_CURVE = (
    *(0.839, 0.714, 0.733, 0.676, 0.714, 0.660, 0.684, 0.855, 1.015, 1.054, 1.125, 1.093),
    *(1.060, 1.073, 1.060, 1.047, 1.091, 1.079, 1.007, 1.229, 1.456, 1.402, 1.270, 1.063),
)
_STEP_S = 600.0
# A step up of +16 % to +41 % within ten minutes is the recorded p95, +223 % the worst; about one in twelve steps here.
_STEP_SHARE, _STEP_UP, _STEP_UP_STRESS, _STEP_NOISE = 1 / 12, 1.4, 3.2, 0.05
_TREND_PERIOD_S, _TREND_SWING = 3_600.0, 0.2


def constant(_rng: Random, rate: float) -> Iterator[float]:
    """Evenly spaced."""
    n = 0
    while True:
        yield n / rate
        n += 1


def poisson(rng: Random, rate: float, *, start_s: float = 0.0) -> Iterator[float]:
    """Independent arrivals; the first is a gap after the start."""
    now = start_s
    while True:
        now += rng.expovariate(rate)
        yield now


def renewal(rng: Random, rate: float, *, cv: float) -> Iterator[float]:
    """Gamma gaps with this coefficient of variation: 1 is Poisson, above 1 comes in clumps."""
    shape, now = 1 / cv**2, 0.0
    while True:
        now += rng.gammavariate(shape, 1 / (shape * rate))
        yield now


def trend(rng: Random, rate: float) -> Iterator[float]:
    """Nearly Poisson (CV 1.1) on a slow swing of 20 % over an hour."""
    shape, now = 1 / 1.1**2, 0.0
    while True:
        here = rate * (1 + _TREND_SWING * math.sin(2 * math.pi * now / _TREND_PERIOD_S))
        now += rng.gammavariate(shape, 1 / (shape * here))
        yield now


def bursts(rng: Random, rate: float) -> Iterator[float]:
    """On and off, starting on: a short run sees traffic at once."""
    scale, start_s = rate / BURST_MEAN_RATE, 0.0
    while True:
        on_s, burst_rate = rng.uniform(*_ON_S), rng.uniform(*_BURST_RATE)
        seconds = (start_s + k for k in range(math.ceil(on_s)))
        for second in seconds:
            here = _SPIKE_RATE if rng.random() < _SPIKE_SHARE else burst_rate
            yield from _within(rng, second, min(second + 1.0, start_s + on_s), here * scale)
        start_s += on_s + rng.uniform(*_OFF_S)


def diurnal(rng: Random, rate: float) -> Iterator[float]:
    """A day's curve from midnight, in steps of ten minutes, some of them +40 %."""
    return _diurnal(rng, rate, _STEP_UP)


def diurnal_stress(rng: Random, rate: float) -> Iterator[float]:
    """The same day with steps of +220 %."""
    return _diurnal(rng, rate, _STEP_UP_STRESS)


def stepped(rng: Random, steps: tuple[tuple[float, float], ...]) -> Iterator[float]:
    """Poisson arrivals under recorded (time, rate) steps, counted from the first; ends with the last step."""
    if not steps:
        return
    origin_s = steps[0][0]
    last_s = steps[-1][0] + (steps[-1][0] - steps[-2][0] if len(steps) > 1 else _STEP_S)
    ends = [*(at_s for at_s, _ in steps[1:]), last_s]
    for (at_s, rate), end_s in zip(steps, ends, strict=True):
        yield from _within(rng, at_s - origin_s, end_s - origin_s, rate)


def _diurnal(rng: Random, rate: float, step_up: float) -> Iterator[float]:
    share = _STEP_SHARE
    mean_boost = 1 - share + share * step_up
    step = 0
    while True:
        at_s = step * _STEP_S
        boost = step_up if rng.random() < share else 1.0
        here = rate * HOUR_CURVE[int(at_s // 3600) % 24] * boost / mean_boost * rng.lognormvariate(0.0, _STEP_NOISE)
        yield from _within(rng, at_s, at_s + _STEP_S, here)
        step += 1


def _within(rng: Random, start_s: float, end_s: float, rate: float) -> Iterator[float]:
    """Poisson arrivals of a fixed rate in [start, end)."""
    if rate <= 0:
        return
    now = start_s + rng.expovariate(rate)
    while now < end_s:
        yield now
        now += rng.expovariate(rate)
