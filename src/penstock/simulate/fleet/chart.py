"""Line charts over time as inline SVG. Pure; the same figures give the same bytes.

Colours are CSS variables of the page (`--s0` to `--s7`), so that light and dark are the page's business. Pointing at a
moment shows all its figures, without a script: a transparent bar for each moment has them as its title.
Guarantees: a hole (None) is a gap, never a line through it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from penstock.plan.reasons import figure

__all__ = ["Chart", "Curve", "draw_chart", "span_words"]

_WIDTH, _HEIGHT = 460, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 10, 24
_TITLES_MAX = 150
_TICKS = 4
_STEPS_S = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 14_400, 21_600, 43_200),
    *(86_400, 172_800, 604_800),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line. `tone`: which of the page's colours; `is_area`: filled down to zero."""

    name: str
    values: Sequence[float | None]
    tone: int = 0
    is_area: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Curves over the same moments."""

    title: str
    unit: str
    times_s: Sequence[float]
    curves: Sequence[Curve]
    limit: float | None = None
    """An objective: drawn as a line of its own."""
    limit_name: str = ""
    is_log: bool = False
    is_share: bool = False
    """Values are shown as percent, and the axis ends at 100 % at most."""


def draw_chart(chart: Chart) -> str:
    """A figure with its caption and its legend."""
    legend = "".join(
        f'<span class="key"><i class="t{curve.tone}"></i>{escape(curve.name)}</span>'
        for curve in chart.curves
        if len(chart.curves) > 1
    )
    if chart.limit is not None:
        legend += f'<span class="key"><i class="limit"></i>{escape(chart.limit_name)}</span>'
    return (
        f'<figure class="chart"><figcaption><b>{escape(chart.title)}</b> <span>{escape(chart.unit)}</span>'
        f"{legend}</figcaption>{_Drawing(chart).svg()}</figure>"
    )


class _Drawing:
    """One chart's scales and marks."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.end_s = max(chart.times_s[-1] if chart.times_s else 0.0, 1.0)
        known = [value for curve in chart.curves for value in curve.values if value is not None]
        self.top = _nice(max([*known, 0.0]))
        if chart.is_share:
            self.top = min(1.0, self.top)
        self.least = 0.0
        if chart.is_log:
            self.least = 10.0 ** math.floor(math.log10(max(min((v for v in known if v > 0), default=1.0), 1e-3)))
            self.top = 10.0 ** math.ceil(math.log10(max([*known, self.least * 10.0])) - 1e-9)
        if chart.limit is not None and chart.limit > self.top and chart.limit < 3 * self.top:
            self.top = _nice(chart.limit)

    def x(self, at_s: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at_s / self.end_s

    def y(self, value: float) -> float:
        share = value / self.top
        if self.chart.is_log:
            share = math.log10(max(value, self.least) / self.least) / math.log10(self.top / self.least)
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1.0 - min(1.0, share))

    def svg(self) -> str:
        label = f"{self.chart.title}, {self.chart.unit}"
        parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">', *self._axes()]
        for curve in self.chart.curves:
            parts += self._curve(curve)
        parts += self._limit()
        parts += self._titles()
        return "".join([*parts, "</svg>"])

    def _axes(self) -> list[str]:
        lines: list[str] = []
        for value in self._levels():
            y = self.y(value)
            lines.append(f'<path class="rule" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
            lines.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{self._shown(value)}</text>')
        step = next((s for s in _STEPS_S if self.end_s / s <= _TICKS + 1), _STEPS_S[-1])
        for n in range(int(self.end_s / step) + 1):
            x = self.x(n * step)
            anchor = "end" if x > _WIDTH - 30 else "middle" if n else "start"
            lines.append(
                f'<text x="{x:.1f}" y="{_HEIGHT - 7}" text-anchor="{anchor}">{span_words(n * step, step)}</text>'
            )
        return lines

    def _levels(self) -> list[float]:
        if self.chart.is_log:
            decades = round(math.log10(self.top / self.least))
            stride = max(1, math.ceil(decades / 5))
            return [self.least * 10.0**n for n in range(0, decades + 1, stride)]
        return [self.top * n / 4 for n in range(5)]

    def _shown(self, value: float) -> str:
        if self.chart.is_share:
            return f"{value * 100:.3g} %"
        if value >= 1e6:
            return f"{value / 1e6:.3g} M"
        return f"{value / 1e3:.3g} k" if value >= 1e4 else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"

    def _curve(self, curve: Curve) -> list[str]:
        marks: list[str] = []
        classes = f"t{curve.tone}"
        for run in _runs(self.chart.times_s, curve.values):
            points = [(self.x(at), self.y(value)) for at, value in run]
            line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            if len(points) == 1:
                marks.append(f'<circle class="{classes}" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="1.6"/>')
                continue
            if curve.is_area:
                floor = self.y(self.least)
                marks.append(
                    f'<path class="area {classes}" d="M{points[0][0]:.1f} {floor:.1f}L{line}'
                    f'L{points[-1][0]:.1f} {floor:.1f}Z"/>'
                )
            marks.append(f'<path class="line {classes}" d="M{line}"/>')
        return marks

    def _limit(self) -> list[str]:
        limit = self.chart.limit
        if limit is None or not self.least < limit <= self.top:
            return []
        return [f'<path class="limit" d="M{_LEFT} {self.y(limit):.1f}H{_WIDTH - _RIGHT}"/>']

    def _titles(self) -> list[str]:
        times = self.chart.times_s
        stride = max(1, math.ceil(len(times) / _TITLES_MAX))
        step = times[1] - times[0] if len(times) > 1 else 1.0
        bars: list[str] = []
        for place in range(0, len(times), stride):
            words = [f"at {span_words(times[place], step)}"]
            for curve in self.chart.curves:
                value = curve.values[place]
                if value is not None:
                    shown = f"{value * 100:.3g} %" if self.chart.is_share else figure(value)
                    words.append(f"{curve.name} {shown}")
            left, right = self.x(times[place]), self.x(min(self.end_s, times[place] + step * stride))
            bars.append(
                f'<rect class="at" x="{left:.1f}" y="{_TOP}" width="{max(1.0, right - left):.1f}"'
                f' height="{_HEIGHT - _TOP - _BOTTOM}"><title>{escape(chr(10).join(words))}</title></rect>'
            )
        return bars


def _runs(times: Sequence[float], values: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Neighbouring known points, split at holes."""
    found: list[list[tuple[float, float]]] = []
    is_open = False
    for at, value in zip(times, values, strict=True):
        if value is None:
            is_open = False
            continue
        if not is_open:
            found.append([])
            is_open = True
        found[-1].append((at, value))
    return found


def span_words(seconds: float, step_s: float) -> str:
    """A moment of the run, as precise as the steps between moments: `14:30 h`, `2:05 min`, `40 s`."""
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if step_s >= unit and step_s % unit == 0:
            return f"{seconds / unit:.0f} {name}"
        if seconds >= unit and unit <= 3600:
            return f"{int(seconds // unit)}:{int(seconds % unit * 60 / unit):02d} {name}"
    return f"{seconds:.3g} s"


def _nice(value: float) -> float:
    """The next round number; what is too small to have a power of ten below it counts as nothing."""
    if value < sys.float_info.min:
        return 1.0
    unit = 10 ** math.floor(math.log10(value))
    return next(float(step * unit) for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if step * unit >= value * 0.999)
