"""A plan as a picture: the memory of each GPU, and latency and throughput over load. Pure; gives SVG text.

Drawn by hand rather than with matplotlib: a bar and three curves need no plotting library (60 MB in the image, a second
to import), and the same plan must give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from penstock.plan.reasons import dollars, gib
from penstock.plan.serving import OperatingPoint
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
_WIDTH, _MARGIN = 960, 32
_BAR_TOP, _BAR_HEIGHT = 78, 36
_CHART_TOP, _CHART_HEIGHT = 212, 180
_MODEL_HEIGHT = 450
_GAP = 64
_LINE, _LIMIT = "#0072B2", "#D55E00"
_Reader = Callable[[OperatingPoint], tuple[float, float, float]]
"""A point's figure between the ends of its interval: low, value, high."""


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


def _charts(plan: ModelPlan, top: int) -> list[str]:
    width = (_WIDTH - 2 * _MARGIN - 2 * _GAP) / 3
    limits = plan.ask.objectives
    interval = plan.choice.estimate.interval

    def ttft(point: OperatingPoint) -> tuple[float, float, float]:
        low, high = interval(point.ttft_p95_s * 1000, "ttft")
        return low, point.ttft_p95_s * 1000, high

    def itl(point: OperatingPoint) -> tuple[float, float, float]:
        low, high = interval(point.tpot_p95_s * 1000, "itl")
        return low, point.tpot_p95_s * 1000, high

    def tokens(point: OperatingPoint) -> tuple[float, float, float]:
        rate = (point.output_tokens_per_s or point.prompt_tokens_per_s) * plan.choice.layout.data
        low, high = interval(rate, "throughput")
        return low, rate, high

    what = "output tokens/s" if plan.ask.model.task == "generate" else "prompt tokens/s"
    charts = [("TTFT p95, ms", ttft, limits.ttft_ms), (f"{what} of a replica", tokens, None)]
    if plan.ask.model.task == "generate":
        charts.insert(1, ("time per output token p95, ms", itl, limits.itl_ms))
    lines: list[str] = []
    for place, (title, read, limit) in enumerate(charts):
        lines += _chart(plan, title, read, limit, (_MARGIN + place * (width + _GAP), top, width))
    return lines


def _chart(
    plan: ModelPlan, title: str, read: _Reader, limit: float | None, box: tuple[float, float, float]
) -> list[str]:
    """One figure over requests per second of a replica: the curve, its 90 % interval, and the objective."""
    left, top, width = box
    points = [(point.requests_per_s * plan.choice.layout.data, *read(point)) for point in plan.curve]
    right = _nice(max((x for x, *_ in points), default=1.0))
    highest = max((high for *_, high in points), default=1.0)
    upper = _nice(max(highest, limit if limit is not None and limit < 3 * highest else 0.0))

    def place(x: float, y: float) -> str:
        return f"{left + width * x / right:.1f},{top + _CHART_HEIGHT * (1 - y / upper):.1f}"

    band = [place(x, low) for x, low, _, _ in points] + [place(x, high) for x, _, _, high in reversed(points)]
    bottom = top + _CHART_HEIGHT
    curve = " ".join(place(x, y) for x, _, y, _ in points)
    lines = [
        _text(left, top - 12, title, weight=600),
        f'<path d="M{left:.1f} {top} V{bottom} H{left + width:.1f}" fill="none" stroke="#999"/>',
        f'<polygon points="{" ".join(band)}" fill="{_LINE}" fill-opacity="0.15"/>',
        f'<polyline points="{curve}" fill="none" stroke="{_LINE}" stroke-width="2"/>',
        _text(left - 6, top + 5, f"{upper:,.4g}", anchor="end", size=11),
        _text(left - 6, bottom, "0", anchor="end", size=11),
        _text(left + width, bottom + 16, f"{right:,.4g} requests/s", anchor="end", size=11),
    ]
    if limit is not None and limit <= upper:
        y = top + _CHART_HEIGHT * (1 - limit / upper)
        lines.append(f'<path d="M{left:.1f} {y:.1f} h{width:.1f}" stroke="{_LIMIT}" stroke-dasharray="5 4"/>')
        lines.append(_text(left + width, y - 5, f"objective {limit:g}", anchor="end", size=11, fill=_LIMIT))
    rate = plan.ask.demand.requests_per_s / plan.choice.replicas
    if 0 < rate <= right:
        x = left + width * rate / right
        lines.append(f'<path d="M{x:.1f} {top} v{_CHART_HEIGHT}" stroke="#777" stroke-dasharray="2 3"/>')
        lines.append(_text(x + 4, bottom + 16, "demand", size=11, fill="#777"))
    return lines


def _text(
    x: float, y: float, words: str, *, size: int = 13, weight: int = 400, anchor: str = "start", fill: str = "#222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
        f' fill="{fill}">{escape(words)}</text>'
    )


def _nice(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if value <= 0:
        return 1.0
    unit = 10 ** math.floor(math.log10(value))
    return next(float(step * unit) for step in (1, 2, 5, 10) if step * unit >= value * 0.999)
