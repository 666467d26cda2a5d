"""A plan as a picture: the memory of each GPU, and latency and throughput over load. Pure; gives SVG text.

Drawn by hand rather than with matplotlib: a bar and three curves need no plotting library (60 MB in the image, a second
to import), and the same plan must give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from penstock.perf import Regime
from penstock.plan.reasons import dollars, figure, gib
from penstock.plan.sizing import ModelPlan

__all__ = ["COLOURS", "draw"]

COLOURS = {
    "weights": "#0072B2",
    "KV cache": "#009E73",
    "activations": "#E69F00",
    "graphs": "#D55E00",
    "non-torch": "#CC79A7",
    "free": "#E6E6E6",
}
"""Colours that stay apart for colour-blind readers (Okabe and Ito)."""
_WIDTH, _MARGIN = 960, 48
_BAR_TOP, _BAR_HEIGHT = 78, 36
_CHART_TOP, _CHART_HEIGHT = 212, 180
_MODEL_HEIGHT = 450
_GAP = 64
_LINE, _LIMIT = "#0072B2", "#D55E00"


def draw(plans: Sequence[ModelPlan]) -> str:
    """One SVG of all plans, one below the other."""
    height = _MODEL_HEIGHT * len(plans) + 8
    body = [part for place, plan in enumerate(plans) for part in _model(plan, place * _MODEL_HEIGHT)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13" fill="#222">'
    )
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>', *body, "</svg>", ""])


def _model(plan: ModelPlan, top: int) -> list[str]:
    choice, memory = plan.choice, plan.choice.estimate.memory
    cost = f", {dollars(choice.price)} an hour" if choice.price is not None else ""
    count = f"{choice.replicas} replica{'' if choice.replicas == 1 else 's'} of {choice.layout.words}"
    title = f"{plan.ask.name}: {count}{cost}"
    return [
        _text(_MARGIN, top + 34, title, size=18, weight=600),
        _text(_MARGIN, top + 58, f"Memory of each GPU: {gib(memory.total)}, {memory.kv_tokens:,} KV tokens"),
        *_bar(plan, top + _BAR_TOP),
        *_charts(plan, top + _CHART_TOP),
    ]


def _bar(plan: ModelPlan, top: int) -> list[str]:
    memory = plan.choice.estimate.memory
    width = _WIDTH - 2 * _MARGIN
    parts: list[str] = []
    at, label_at = float(_MARGIN), float(_MARGIN)
    for name, size in memory.parts:
        span = width * max(0, size) / memory.total
        fill = COLOURS[name]
        title = f"<title>{escape(name)} {gib(size)}</title>"
        parts.append(
            f'<rect x="{at:.1f}" y="{top}" width="{span:.1f}" height="{_BAR_HEIGHT}" fill="{fill}">{title}</rect>'
        )
        at += span
        label = f"{name} {gib(size)}"
        parts.append(f'<rect x="{label_at:.1f}" y="{top + _BAR_HEIGHT + 14}" width="11" height="11" fill="{fill}"/>')
        parts.append(_text(label_at + 16, top + _BAR_HEIGHT + 24, label))
        label_at += 30 + 7.2 * len(label)
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curve:
    """One figure over the load of a replica: (load, low, value, high) of each point, and what it is judged by."""

    title: str
    points: Sequence[tuple[float, float, float, float]]
    load: str
    """Unit of the load."""
    demand: float
    """The demand's load on each replica; 0 where none is said."""
    limit: float | None = None


def _curves(plan: ModelPlan) -> Iterator[_Curve]:
    choice, limits = plan.choice, plan.ask.objectives
    interval, engines = choice.estimate.interval, choice.layout.data
    rates = [point.requests_per_s * engines for point in plan.curve]
    demand = choice.ask.demand.requests_per_s / choice.replicas

    def timed(title: str, times: Sequence[float], regime: Regime, limit: float | None) -> _Curve:
        ends = [interval(ms, regime) for ms in times]
        points = [(x, end.low, ms, end.high) for x, ms, end in zip(rates, times, ends, strict=True)]
        return _Curve(title=title, points=points, load="requests/s", demand=demand, limit=limit)

    yield timed("TTFT p95, ms", [p.ttft_p95_s * 1000 for p in plan.curve], "ttft", limits.ttft_ms)
    if plan.ask.model.task != "generate":
        return
    yield timed("TPOT p95, ms", [p.tpot_p95_s * 1000 for p in plan.curve], "itl", limits.itl_ms)
    points = []
    for point in plan.curve:
        tokens = point.output_tokens_per_s * engines
        low, high = interval(tokens, "throughput")
        points.append((point.running * engines, low, tokens, high))
    running = choice.at_demand.running * engines if demand else 0.0
    yield _Curve(title="output tokens/s", points=points, load="requests at once", demand=running)


def _charts(plan: ModelPlan, top: int) -> list[str]:
    width = (_WIDTH - 2 * _MARGIN - 2 * _GAP) / 3
    lines: list[str] = []
    for place, curve in enumerate(_curves(plan)):
        lines += _chart(curve, _MARGIN + place * (width + _GAP), top, width)
    return lines


def _chart(curve: _Curve, left: float, top: int, width: float) -> list[str]:
    """The curve, its 90 % interval, the objective and the demand."""
    limit, points, bottom = curve.limit, curve.points, top + _CHART_HEIGHT
    right = _nice(max(x for x, *_ in points))
    highest = 1.05 * max(high for *_, high in points)
    upper = _nice(max(highest, 1.05 * limit) if limit is not None and limit < 3 * highest else highest)

    def place(x: float, y: float) -> str:
        return f"{left + width * x / right:.1f},{top + _CHART_HEIGHT * (1 - y / upper):.1f}"

    band = [place(x, low) for x, low, _, _ in points] + [place(x, high) for x, _, _, high in reversed(points)]
    line = " ".join(place(x, y) for x, _, y, _ in points)
    lines = [
        _text(left, top - 12, curve.title, weight=600),
        f'<path d="M{left:.1f} {top} V{bottom} H{left + width:.1f}" fill="none" stroke="#999"/>',
        f'<polygon points="{" ".join(band)}" fill="{_LINE}" fill-opacity="0.15"/>',
        f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="2"/>',
        _text(left - 6, top + 5, figure(upper), anchor="end", size=11),
        _text(left - 6, bottom, "0", anchor="end", size=11),
        _text(left + width, bottom + 16, f"{figure(right)} {curve.load}", anchor="end", size=11),
    ]
    if limit is not None and limit <= upper:
        y = top + _CHART_HEIGHT * (1 - limit / upper)
        lines.append(f'<path d="M{left:.1f} {y:.1f} h{width:.1f}" stroke="{_LIMIT}" stroke-dasharray="5 4"/>')
        lines.append(_text(left + width, y + 14, f"objective {limit:g}", anchor="end", size=11, fill=_LIMIT))
    if 0 < curve.demand <= right:
        x = left + width * curve.demand / right
        shift, anchor = (-4, "end") if curve.demand > right / 2 else (4, "start")
        lines.append(f'<path d="M{x:.1f} {top} v{_CHART_HEIGHT}" stroke="#777" stroke-dasharray="2 3"/>')
        lines.append(_text(x + shift, bottom - 6, "demand", size=11, fill="#777", anchor=anchor))
    return lines


def _text(
    x: float, y: float, words: str, *, size: int = 13, weight: int = 400, anchor: str = "start", fill: str = "#222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
        f' fill="{fill}">{escape(words)}</text>'
    )


def _nice(value: float) -> float:
    """The next round number."""
    if value <= 0:
        return 1.0
    unit = 10 ** math.floor(math.log10(value))
    return next(float(step * unit) for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * unit >= value * 0.999)
