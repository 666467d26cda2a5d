"""The report of a load as tables on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.cli.output import print_table, print_text

if TYPE_CHECKING:
    from penstock.simulate.workload import Objectives, Report, Spread

__all__ = ["print_report"]

_WORTH_A_WORD = 0.2  # prompts that are this much longer or shorter than wanted


def print_report(report: Report) -> None:
    """What a person wants to see of a run: counts, latency, goodput, errors."""
    unfinished = f", {report.unfinished} unfinished" if report.unfinished else ""
    print_text(
        f"{report.requests} requests in {report.seconds:.1f} s: {report.ok} ok, {report.failed} failed{unfinished}"
    )
    rows = [
        _row("TTFT ms", report.ttft_ms),
        _row("ITL ms", report.itl_ms),
        _row("TPOT ms", report.tpot_ms),
        _row("E2E ms", report.e2e_ms),
        _row("prompt tokens", report.prompt_tokens),
        _row("output tokens", report.output_tokens),
    ]
    rows = [row for row in rows if row[1] is not None]
    if rows:
        print_table(("", "mean", "p50", "p90", "p95", "p99", "max"), rows)
    print_text(
        f"{report.requests_per_s:.2f} requests/s, {report.prompt_tokens_per_s:,.0f} prompt tokens/s, "
        f"{report.output_tokens_per_s:,.0f} output tokens/s"
    )
    if report.objectives.is_any:
        print_text(
            f"goodput {report.goodput_per_s:.2f} requests/s: {report.met_share:.1%} met {_told(report.objectives)}"
        )
    for line in _notes(report):
        print_text(line)
    if report.errors:
        print_table(("error", "count", "first one"), [(e.kind, e.count, e.example) for e in report.errors])


def _row(name: str, spread: Spread) -> tuple[object, ...]:
    figures = (spread.mean, spread.p50, spread.p90, spread.p95, spread.p99, spread.max)
    return (name, *(None if x is None else _short(x) for x in figures))


def _short(figure: float) -> float:
    """Three digits or so: enough to compare, few enough to read."""
    return round(figure) if figure >= 1000 else round(figure, 1 if figure >= 10 else 2)


def _told(objectives: Objectives) -> str:
    named = (("TTFT", objectives.ttft_ms), ("ITL", objectives.itl_ms), ("E2E", objectives.e2e_ms))
    return ", ".join(f"{name} ≤ {value:g} ms" for name, value in named if value is not None)


def _notes(report: Report) -> list[str]:
    notes = []
    late = report.client.late_ms
    if late.p99 is not None and late.p99 >= 5.0:
        notes.append(f"sent late: p99 {late.p99:.0f} ms, at most {late.max or 0:.0f} ms (inside the figures above)")
    if report.itl_ms.p50 == 0.0:
        notes.append("most gaps between tokens are 0: several tokens came in one read; TPOT says more than ITL here")
    for what, seen, wanted in (
        ("prompt", report.prompt_tokens.mean, report.prompt_tokens_wanted.mean),
        ("output", report.output_tokens.mean, report.output_tokens_wanted.mean),
    ):
        if seen is not None and wanted and abs(seen / wanted - 1) > _WORTH_A_WORD:
            notes.append(f"{what} tokens: {seen:.0f} on average where the workload wanted {wanted:.0f}")
    return notes
