"""A run of load as a picture: latency over time, gaps between tokens, throughput.

Guarantees: the file's format follows its ending; a missing matplotlib (extra `plot`) is a `UsageError` with the line
that installs it, told before a run rather than after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from penstock.errors import UsageError
from penstock.simulate.workload.report import Report

__all__ = ["check_plot", "write_plot"]

_FORMATS = ("png", "svg", "pdf")
# Colours that stay apart for colour-blind readers (Okabe and Ito).
_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"


def check_plot(path: Path) -> None:
    """Can this plot be written when the run is over?"""
    if path.suffix.lower().lstrip(".") not in _FORMATS:
        raise UsageError(f"--plot {path}: the ending must be one of {', '.join(_FORMATS)}", hint="e.g. --plot run.svg")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--plot {path}: there is no folder {path.absolute().parent}", hint="create it first")
    if find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib, which is not installed", hint="pip install 'penstock[plot]'")


def write_plot(report: Report, path: Path, *, title: str) -> None:
    """Draw the report into the file."""
    from matplotlib.figure import Figure  # noqa: PLC0415 — optional extra; Figure alone needs no display and no pyplot

    figure = Figure(figsize=(11, 8), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(2, 2)
    _latency(axes[0][0], report)
    _gaps(axes[0][1], report)
    _tokens(axes[1][0], report)
    _requests(axes[1][1], report)
    for axis in axes.flat:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, dpi=130)
    except OSError as e:
        raise UsageError(f"--plot {path}: cannot be written: {e.strerror or e}") from e


def _latency(axis: Any, report: Report) -> None:
    line = report.timeline
    axis.set_title("Latency, by when a request was due")
    columns = (
        ("TTFT p50", line.ttft_p50_ms, _BLUE, "-"),
        ("TTFT p95", line.ttft_p95_ms, _BLUE, "--"),
        ("E2E p50", line.e2e_p50_ms, _ORANGE, "-"),
        ("E2E p95", line.e2e_p95_ms, _ORANGE, "--"),
    )
    for name, values, colour, style in columns:
        if any(v is not None for v in values):
            axis.plot(line.t_s, _with_holes(values), style, color=colour, label=name, linewidth=1.4)
    for name, value, colour in (("TTFT", report.objectives.ttft_ms, _BLUE), ("E2E", report.objectives.e2e_ms, _ORANGE)):
        if value is not None:
            axis.axhline(value, color=colour, linewidth=0.9, linestyle=":", label=f"{name} objective")
    axis.set_xlabel("seconds")
    axis.set_ylabel("ms")
    if any(v for values in (line.ttft_p50_ms, line.e2e_p50_ms) for v in values):
        axis.set_yscale("log")
        axis.legend(fontsize=8)


def _gaps(axis: Any, report: Report) -> None:
    axis.set_title(f"Gaps between tokens ({report.itl_ms.count:,} gaps)")
    quantiles = report.itl_quantiles_ms
    if quantiles:
        axis.plot(quantiles, range(len(quantiles)), color=_GREEN, linewidth=1.6)
        for p, value in ((50, report.itl_ms.p50), (99, report.itl_ms.p99)):
            axis.annotate(f"p{p} {value:.1f} ms", (value, p), textcoords="offset points", xytext=(6, -10), fontsize=8)
    if report.objectives.itl_ms is not None:
        axis.axvline(report.objectives.itl_ms, color=_RED, linewidth=0.9, linestyle=":", label="objective")
        axis.legend(fontsize=8)
    axis.set_xlabel("ms")
    axis.set_ylabel("% of gaps at most this long")
    axis.set_ylim(0, 101)
    axis.set_xlim(left=0)


def _tokens(axis: Any, report: Report) -> None:
    axis.set_title("Output tokens per second")
    axis.fill_between(report.timeline.t_s, report.timeline.output_tokens_per_s, color=_GREEN, alpha=0.35, step="post")
    axis.set_xlabel("seconds")
    axis.set_ylim(bottom=0)


def _requests(axis: Any, report: Report) -> None:
    line = report.timeline
    axis.set_title("Requests per second and in flight")
    for name, counts, colour in (
        ("sent", line.sent, _GREY),
        ("answered", line.ok, _BLUE),
        ("failed", line.failed, _RED),
    ):
        if any(counts):
            per_s = [count / line.interval_s for count in counts]
            axis.step(line.t_s, per_s, where="post", color=colour, label=name, linewidth=1.3)
    axis.plot(line.t_s, line.in_flight, color=_ORANGE, label="in flight", linewidth=1.1, linestyle="--")
    axis.set_xlabel("seconds")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)


def _with_holes(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if v is None else v for v in values]
