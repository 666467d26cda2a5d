"""Reports of simulations as words and tables on stdout."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from penstock.cli.output import print_text
from penstock.plan.reasons import dollars, figure
from penstock.simulate.fleet import FleetReport, Share, cheapest_held
from penstock.simulate.workload import Spread

__all__ = ["print_reports"]

_REPLICAS_SHOWN = 16
"""A larger fleet's replicas are in the JSON and the HTML."""
_SHARES_SHOWN = 16
_WIDTH_MIN, _WIDTH_MAX = 60, 110
_UNEVEN = 1.1
"""Balance from which it is worth a word."""


def print_reports(reports: Sequence[FleetReport], workload: str, *, price_words: str) -> None:
    """One run in full, or several side by side."""
    print_text(f"{reports[0].scenario.model}: {workload}")
    if len(reports) == 1:
        _print_run(reports[0], price_words)
    else:
        _print_comparison(reports)


def _print_comparison(reports: Sequence[FleetReport]) -> None:
    heads = ("", "verdict", "met", "TTFT p50", "p95", "ITL p95", "E2E p95", "hits", "GPU-h", "cost")
    _print_table(heads, [_compared(report) for report in reports])
    for report in reports:
        _print_words(f"{report.scenario.words}: {report.verdict.words}")
    best = cheapest_held(reports)
    if best is None:
        print_text("No run holds every objective.")
    elif best.objectives:
        print_text(f"The cheapest that holds its objectives: {best.scenario.words}.")


def _compared(report: FleetReport) -> tuple[object, ...]:
    cost = report.cost.usd_micro
    return (
        report.scenario.words,
        report.verdict.level,
        _percent(report.met_share),
        _short(report.ttft_ms.p50),
        _short(report.ttft_ms.p95),
        _short(report.itl_ms.p95),
        _short(report.e2e_ms.p95),
        _percent(report.prefix_hit_share),
        figure(report.cost.gpu_hours),
        None if cost is None else dollars(cost),
    )


def _print_run(report: FleetReport, price_words: str) -> None:
    print_text(f"{report.scenario.words}: {_counts(report)} in {_span(report.seconds)}")
    print_text("")
    _print_words(report.verdict.words)
    if report.objectives:
        print_text("")
        _print_table(
            ("objective", "met by", "p95", ""),
            [
                (
                    f"{o.name} ≤ {o.limit_ms:g} ms",
                    _percent(o.met_share),
                    _ms(o.p95_ms),
                    "held" if o.is_held else "missed",
                )
                for o in report.objectives
            ],
        )
        print_text(f"goodput {figure(report.goodput_per_s)} requests/s: {_percent(report.met_share)} met them all")
    print_text("")
    rows = [
        _row("TTFT ms", report.ttft_ms),
        _row("ITL ms", report.itl_ms),
        _row("TPOT ms", report.tpot_ms),
        _row("E2E ms", report.e2e_ms),
        _row("gateway ms", report.waited_ms),
        _row("engine ms", report.queue_ms),
    ]
    _print_table(("", "mean", "p50", "p90", "p95", "p99", "max"), [row for row in rows if row[2] is not None])
    for line in _lines(report, price_words):
        _print_words(line)
    for title, shares in (("tenant", report.shares.tenants), ("class", report.shares.classes)):
        if shares:
            print_text("")
            _print_shares(title, shares)
    if len(report.replicas) <= _REPLICAS_SHOWN:
        print_text("")
        _print_replicas(report)


def _counts(report: FleetReport) -> str:
    parts = [f"{report.requests:,} requests", f"{report.ok:,} ok"]
    others = (
        (report.client_errors, "refused as longer than the context"),
        (report.limited, "over a tenant's limit"),
        (report.shed, "shed"),
        (report.timeouts, "timed out"),
        (report.no_endpoint, "without an endpoint"),
        (report.unfinished, "unfinished"),
    )
    return ", ".join([*parts, *(f"{n:,} {words}" for n, words in others if n)])


def _lines(report: FleetReport, price_words: str) -> list[str]:
    cost = report.cost
    lines = [
        f"{figure(report.requests_per_s)} requests/s, {figure(report.prompt_tokens_per_s)} prompt tokens/s,"
        f" {figure(report.output_tokens_per_s)} output tokens/s",
        f"prefix hits {_percent(report.prefix_hit_share) or 'unknown: the workload does not say what requests share'},"
        f" {report.preemptions:,} preemptions; at once at most"
        f" {report.running_max:,} running, {report.waiting_max:,} waiting, KV {_percent(report.kv_max_share)}",
    ]
    if report.queued:
        lines.append(f"{report.queued:,} requests waited in the gateway, at most {report.queued_max:,} at once")
    for what, counts in (("the gateway refused or dropped", report.sheds), ("limits refused", report.limits)):
        if counts:
            lines.append(f"{what}: {', '.join(f'{name} {n:,}' for name, n in counts)}")
    if report.cut_short:
        lines.append(f"{report.cut_short:,} answers ended at the context, shorter than the workload wanted")
    if cost.usd_micro is None or cost.usd_micro_per_hour is None:
        lines.append(f"{figure(cost.gpu_hours)} GPU-hours; no price is known for {report.scenario.engine.gpu.name}")
    else:
        per_million = cost.usd_micro_per_million_output_tokens
        each = "" if per_million is None else f", {dollars(per_million)} per million output tokens"
        lines.append(
            f"{figure(cost.gpu_hours)} GPU-hours, {dollars(cost.usd_micro)} ({dollars(cost.usd_micro_per_hour)} an"
            f" hour{each}; prices: {price_words})"
        )
    if report.balance is not None and report.balance >= _UNEVEN:
        lines.append(f"uneven: the busiest replica got {report.balance:.2f} times the mean's requests")
    return lines


def _print_replicas(report: FleetReport) -> None:
    _print_table(
        ("replica", "requests", "tokens", "busy", "running", "most", "waiting", "KV", "hits"),
        [
            (
                r.id,
                f"{r.requests:,}",
                f"{r.output_tokens:,}",
                _percent(r.busy_share),
                figure(r.running_mean),
                r.running_max,
                r.waiting_max,
                _percent(r.kv_max_share),
                _percent(r.prefix_hit_share),
            )
            for r in report.replicas
        ],
    )


def _print_shares(title: str, shares: Sequence[Share]) -> None:
    hidden = len(shares) - _SHARES_SHOWN
    _print_table(
        (title, "requests", "ok", "limited", "lost", "work", "waited p50 ms", "p95", "TTFT p95 ms"),
        [
            (
                one.name or None,
                f"{one.requests:,}",
                f"{one.ok:,}",
                f"{one.limited:,}",
                f"{one.lost:,}",
                _percent(one.share),
                _short(one.waited_ms.p50),
                _short(one.waited_ms.p95),
                _short(one.ttft_ms.p95),
            )
            for one in shares[:_SHARES_SHOWN]
        ],
    )
    if hidden > 0:
        print_text(f"and {hidden} more, in the JSON and the HTML")


def _print_words(words: str) -> None:
    width = min(_WIDTH_MAX, max(_WIDTH_MIN, shutil.get_terminal_size().columns))
    print_text(textwrap.fill(words, width, subsequent_indent="  ", break_on_hyphens=False))


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned text, never cut: the first column to the left, figures to the right."""
    cells = [tuple("–" if cell is None else str(cell) for cell in row) for row in (heads, *rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(heads))]
    lines = [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(pairs)
        ).rstrip()
        for pairs in (list(zip(row, widths, strict=True)) for row in cells)
    ]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    print_text("\n".join([lines[0], rule, *lines[1:]]))


def _row(name: str, spread: Spread) -> tuple[object, ...]:
    figures = (spread.mean, spread.p50, spread.p90, spread.p95, spread.p99, spread.max)
    return (name, *map(_short, figures))


def _short(value: float | None) -> str | None:
    return None if value is None else figure(value)


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{figure(value)} ms"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share * 100:.3g}%"


def _span(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 5400
        else f"{seconds / 60:.0f} min"
        if seconds >= 300
        else f"{seconds:.1f} s"
    )
