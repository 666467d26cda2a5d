"""Fits a calibration to measured points, by a small deterministic least squares.

Each chosen overhead is moved by a factor; the factors minimise the squared logarithms of predicted over measured, plus
a pull towards the start (`trust`: one point's weight for each factor), so that what the points do not show stays where
it was. Gauss-Newton with numeric slopes; no randomness, so the same points give the same calibration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from penstock.facts.architecture import Architecture
from penstock.facts.gpus import Gpu
from penstock.perf.calibration import Calibration, Regime
from penstock.perf.timing import StepTime

__all__ = [
    "DECODE_OVERHEADS",
    "PREFILL_OVERHEADS",
    "Point",
    "error_bounds",
    "fit_line",
    "fit_points",
    "predict",
    "with_errors",
]

DECODE_OVERHEADS = (
    "overheads.bandwidth_share",
    "overheads.kv_bandwidth_share",
    "overheads.matmul_share",
    "overheads.expert_matmul_share",
    "overheads.layer_s",
    "overheads.expert_layer_s",
    "overheads.decode_layer_s",
    "overheads.elementwise_hiddens",
    "host.graph_s",
)
"""What decode steps show."""
PREFILL_OVERHEADS = ("overheads.attention_share", "host.piecewise_layer_s", "host.ungraphed_layer_s")
"""What prefills of one prompt show beyond that."""
_ROUNDS = 8
_NUDGE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measured figure of an engine."""

    kind: Literal["decode", "prefill"]
    """A decode step's time, or the time from decision to first token of one prompt alone."""
    model: Architecture
    gpu: Gpu
    seconds: float
    requests: int = 1
    context: int = 0
    """Mean context of the decoding requests."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    max_num_batched_tokens: int = 8192
    tensor_parallel: int = 1
    kv_dtype: str | None = None
    is_eager: bool = False


def predict(point: Point, calibration: Calibration) -> float:
    """Seconds that the model says for a point."""
    timing = StepTime(
        point.model,
        point.gpu,
        tensor_parallel=point.tensor_parallel,
        kv_dtype=point.kv_dtype,
        is_eager=point.is_eager,
        calibration=calibration,
    )
    if point.kind == "decode":
        return timing.decode_s(point.requests, point.context)
    return timing.prefill_s(
        point.prompt_tokens,
        cached_tokens=point.cached_tokens,
        max_num_batched_tokens=point.max_num_batched_tokens,
    )


def fit_points(
    points: Sequence[Point],
    start: Calibration,
    names: Sequence[str] = DECODE_OVERHEADS,
    *,
    trust: float = 1.0,
    reach: float = 1.0,
) -> Calibration:
    """The calibration near `start` that fits the points best. `names`: which overheads move, as `part.field`; `reach`:
    how far at most, as the logarithm of a factor."""
    factors = [0.0] * len(names)
    for _ in range(max(_ROUNDS, math.ceil(2 * reach))):
        now = _moved(start, names, factors)
        residuals = [math.log(predict(p, now) / p.seconds) for p in points]
        slopes: list[list[float]] = []
        for place in range(len(names)):
            nudged = list(factors)
            nudged[place] += _NUDGE
            other = _moved(start, names, nudged)
            slopes.append(
                [(math.log(predict(p, other) / p.seconds) - r) / _NUDGE for p, r in zip(points, residuals, strict=True)]
            )
        gradient = [sum(s * r for s, r in zip(slope, residuals, strict=True)) for slope in slopes]
        normal = [[sum(a * b for a, b in zip(one, two, strict=True)) for two in slopes] for one in slopes]
        for place in range(len(names)):
            normal[place][place] += trust
            gradient[place] += trust * factors[place]
        step = _solve(normal, gradient)
        factors = [_bounded(f - _bounded(s, 1.0), reach) for f, s in zip(factors, step, strict=True)]
    return _moved(start, names, factors)


def fit_line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Intercept and slope of the least-squares line, neither below 0: a front end's fixed and per-token time."""
    count = len(xs)
    mean_x, mean_y = sum(xs) / count, sum(ys) / count
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0
    slope = max(0.0, slope)
    intercept = mean_y - slope * mean_x
    if intercept < 0:
        squares = sum(x * x for x in xs)
        return 0.0, max(0.0, sum(x * y for x, y in zip(xs, ys, strict=True)) / squares)
    return intercept, slope


def error_bounds(predicted: Sequence[float], measured: Sequence[float], share: float = 0.9) -> tuple[float, float]:
    """Factors around a prediction that hold `share` of the measured values, as `Calibration.errors` keeps them."""
    ratios = sorted(m / p for p, m in zip(predicted, measured, strict=True))
    tail = (1.0 - share) / 2
    return _quantile(ratios, tail), _quantile(ratios, 1.0 - tail)


def with_errors(calibration: Calibration, regime: Regime, bounds: tuple[float, float]) -> Calibration:
    """The calibration with another interval for one kind of figure."""
    return replace(calibration, errors={**calibration.errors, regime: bounds})


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _moved(start: Calibration, names: Sequence[str], factors: Sequence[float]) -> Calibration:
    changed = start
    for name, factor in zip(names, factors, strict=True):
        part_name, field_name = name.split(".")
        part = getattr(changed, part_name)
        part = replace(part, **{field_name: getattr(part, field_name) * math.exp(factor)})
        changed = replace(changed, **{part_name: part})
    return changed


def _bounded(value: float, most: float) -> float:
    return max(-most, min(most, value))


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gaussian elimination with pivoting; the matrix is positive definite by the pull towards the start."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for place in range(size):
        pivot = max(range(place, size), key=lambda i: abs(rows[i][place]))
        rows[place], rows[pivot] = rows[pivot], rows[place]
        for below in range(place + 1, size):
            share = rows[below][place] / rows[place][place]
            rows[below] = [b - share * a for a, b in zip(rows[place], rows[below], strict=True)]
    found = [0.0] * size
    for place in reversed(range(size)):
        known = sum(rows[place][j] * found[j] for j in range(place + 1, size))
        found[place] = (rows[place][size] - known) / rows[place][place]
    return found
