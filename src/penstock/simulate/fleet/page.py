"""The report of a simulation as one HTML page: no script, no network, light and dark, from a phone to a wide screen.

Guarantees: everything that came from a file or the command line is escaped; the same reports give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from penstock.plan.reasons import dollars, figure
from penstock.simulate.fleet.chart import Chart, Curve, draw_chart
from penstock.simulate.fleet.record import cheapest_held
from penstock.simulate.fleet.report import HELD_SHARE, FleetReport
from penstock.simulate.fleet.shares import Share
from penstock.simulate.fleet.style import STYLE
from penstock.simulate.workload.report import Spread

__all__ = ["html_page"]

_TONES = (0, 1, 3, 6, 4, 7, 5)
"""Of runs over one another: all but the red one, which is for failures."""


def html_page(reports: Sequence[FleetReport], *, fleet: str, workload: str, seed: int, version: str) -> str:
    """The whole page."""
    first = reports[0]
    title = f"{first.scenario.model} of {fleet}: {workload}"
    compared = [_comparison(reports)] if len(reports) > 1 else []
    shown = cheapest_held(reports) or first
    body = [
        f"<header><p class='product'>Penstock simulation</p><h1>{escape(first.scenario.model)}</h1>"
        f"<p>{escape(workload)}</p></header>",
        "<main>",
        *compared,
        *(_run(report, is_open=report is shown) for report in reports),
        "</main>",
        f"<footer>{_footer(first, fleet, seed, version)}</footer>",
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style></head><body>",
            *body,
            "</body></html>",
            "",
        ]
    )


def _footer(report: FleetReport, fleet: str, seed: int, version: str) -> str:
    engine = report.scenario.engine
    context = engine.max_model_len or engine.model.context
    return escape(
        f"Fleet {fleet} · engine {engine.model.name}, context {context:,}, {engine.max_num_seqs:,} requests and"
        f" {engine.max_num_batched_tokens:,} tokens a step, {report.kv_tokens:,} KV tokens ·"
        f" seed {seed} · Penstock {version} · engines, queue and routing in virtual time; the network and the"
        " gateway's own time are left out"
    )


# Runs side by side ----------------------------------------------------------------------------------------------------


def _comparison(reports: Sequence[FleetReport]) -> str:
    best = cheapest_held(reports)
    rows = "".join(_compared(report, is_best=report is best) for report in reports)
    heads = (
        "",
        "verdict",
        "objectives met",
        "TTFT p50",
        "p95",
        "ITL p95",
        "E2E p95",
        "prefix hits",
        "GPU-hours",
        "cost",
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    words = (
        "No run holds every objective."
        if best is None
        else f"The cheapest that holds its objectives: {best.scenario.words}."
    )
    charts = "".join(draw_chart(chart) for chart in _overlaid(reports))
    return (
        f"<section><h2>Compared</h2><p class='verdict'>{escape(words)}</p><div class='scroll'><table><thead><tr>{head}"
        f"</tr></thead><tbody>{rows}</tbody></table></div><div class='charts'>{charts}</div></section>"
    )


def _compared(report: FleetReport, *, is_best: bool) -> str:
    cells = (
        _lamp(report.verdict.level) + escape(report.verdict.level),
        _percent(report.met_share),
        _ms(report.ttft_ms.p50),
        _ms(report.ttft_ms.p95),
        _ms(report.itl_ms.p95),
        _ms(report.e2e_ms.p95),
        _percent(report.prefix_hit_share),
        figure(report.cost.gpu_hours),
        "–" if report.cost.usd_micro is None else dollars(report.cost.usd_micro),
    )
    classes = " class='best'" if is_best else ""
    return f"<tr{classes}><th>{escape(report.scenario.words)}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>"


def _overlaid(reports: Sequence[FleetReport]) -> list[Chart]:
    """The same figure of each run; of runs whose intervals are equal, or else they cannot be laid over one another."""
    longest = max(reports, key=lambda report: len(report.timeline.t_s))
    step, times = longest.timeline.interval_s, longest.timeline.t_s
    alike = [report for report in reports if report.timeline.interval_s == step][: len(_TONES)]

    def curves(values: Sequence[Sequence[float | None]]) -> list[Curve]:
        return [
            Curve(name=report.scenario.words, values=_stretched(column, len(times)), tone=tone)
            for tone, report, column in zip(_TONES, alike, values, strict=False)
        ]

    limit = longest.scenario.objectives.ttft_ms
    return [
        Chart(
            title="TTFT p95",
            unit="ms",
            times_s=times,
            curves=curves([report.timeline.ttft_p95_ms for report in alike]),
            limit=limit,
            limit_name="objective",
            is_log=True,
        ),
        Chart(
            title="Waiting",
            unit="requests, in gateways and engines, most at once",
            times_s=times,
            curves=curves([_waiting(report) for report in alike]),
        ),
    ]


def _waiting(report: FleetReport) -> list[float]:
    over = report.over
    return [inside + queued for inside, queued in zip(over.waiting_max, over.queued_max, strict=True)]


def _stretched(values: Sequence[float | None], length: int) -> list[float | None]:
    return [*values, *[None] * (length - len(values))]


# One run --------------------------------------------------------------------------------------------------------------


def _run(report: FleetReport, *, is_open: bool) -> str:
    charts = "".join(draw_chart(chart) for chart in _charts(report))
    state = " open" if is_open else ""
    return (
        f"<details{state}><summary>{_lamp(report.verdict.level)}{escape(report.scenario.words)}</summary>"
        f"<p class='verdict'>{escape(report.verdict.words)}</p>"
        f"<dl class='cards'>{''.join(_card(*card) for card in _cards(report))}</dl>"
        f"<div class='charts'>{charts}</div>"
        f"<div class='tables'>{_latencies(report)}{_promises(report)}{_refusals(report)}"
        f"{_shares('Tenants', report.shares.tenants)}{_shares('Classes', report.shares.classes)}"
        f"{_replicas(report)}</div></details>"
    )


def _cards(report: FleetReport) -> list[tuple[str, str, str]]:
    """Name, figure, and what stands below it."""
    cost = report.cost
    met = "–" if report.met_share is None or not report.objectives else _percent(report.met_share)
    hourly = "no price is known" if cost.usd_micro_per_hour is None else f"{dollars(cost.usd_micro_per_hour)} an hour"
    pairs = ((report.client_errors, "too long"), (report.limited, "over a limit"), (report.lost, "lost"))
    refused = [f"{n:,} {word}" for n, word in pairs if n]
    refused += [f"{report.unfinished:,} unfinished"] if report.unfinished else []
    per_million = cost.usd_micro_per_million_output_tokens
    return [
        ("answered", f"{report.ok:,}", ", ".join(refused) or f"of {report.requests:,}"),
        ("met all objectives", met, "none is set" if not report.objectives else f"{figure(report.goodput_per_s)}/s"),
        ("output tokens/s", figure(report.output_tokens_per_s), f"{figure(report.requests_per_s)} requests/s"),
        (
            "waited in the gateway",
            _percent(report.queued / report.requests if report.requests else None),
            f"{report.queued_max:,} at most at once",
        ),
        ("prefix hits", _percent(report.prefix_hit_share), f"{report.preemptions:,} preemptions"),
        ("GPU-hours", figure(cost.gpu_hours), f"{report.seconds / 3600:.3g} h × {report.scenario.gpus}"),
        ("cost", "–" if cost.usd_micro is None else dollars(cost.usd_micro), hourly),
        ("per million out", "–" if per_million is None else dollars(per_million), "output tokens"),
    ]


def _card(name: str, value: str, below: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd><dd class='below'>{escape(below)}</dd></div>"


def _charts(report: FleetReport) -> list[Chart]:
    line, over, said = report.timeline, report.over, report.scenario.objectives
    times, step = line.t_s, line.interval_s

    def rate(counts: Sequence[int]) -> list[float | None]:
        return [round(n / step, 4) for n in counts]

    failed = [Curve(name="failed", values=rate(line.failed), tone=2)] if any(line.failed) else []
    return [
        Chart(
            title="Requests",
            unit="per second",
            times_s=times,
            curves=[Curve(name="came", values=rate(line.sent), is_area=True), *failed],
        ),
        _latency_chart("Time to first token", times, (line.ttft_p50_ms, line.ttft_p95_ms), said.ttft_ms),
        _latency_chart("Whole request", times, (line.e2e_p50_ms, line.e2e_p95_ms), said.e2e_ms),
        Chart(
            title="In the engines",
            unit="requests, all replicas",
            times_s=times,
            curves=[
                Curve(name="running, mean", values=over.running, tone=0, is_area=True),
                Curve(name="waiting, most", values=over.waiting_max, tone=1),
            ],
        ),
        Chart(
            title="In the gateway's queue",
            unit="requests",
            times_s=times,
            curves=[
                Curve(name="waiting, mean", values=over.queued, tone=4, is_area=True),
                Curve(name="waiting, most", values=over.queued_max, tone=1),
            ],
        ),
        Chart(
            title="KV cache",
            unit="share in use, fullest replica",
            times_s=times,
            curves=[Curve(name="in use", values=over.kv_max_share, tone=3, is_area=True)],
            is_share=True,
        ),
        Chart(
            title="Output tokens",
            unit="per second",
            times_s=times,
            curves=[Curve(name="tokens/s", values=line.output_tokens_per_s, tone=6, is_area=True)],
        ),
    ]


def _latency_chart(
    title: str,
    times: Sequence[float],
    values: tuple[Sequence[float | None], Sequence[float | None]],
    limit: float | None,
) -> Chart:
    return Chart(
        title=title,
        unit="ms",
        times_s=times,
        curves=[Curve(name="p95", values=values[1], tone=1), Curve(name="p50", values=values[0], tone=0)],
        limit=limit,
        limit_name="objective",
        is_log=True,
    )


def _latencies(report: FleetReport) -> str:
    rows = (
        ("TTFT", report.ttft_ms),
        ("ITL", report.itl_ms),
        ("TPOT", report.tpot_ms),
        ("E2E", report.e2e_ms),
        ("gateway queue", report.waited_ms),
        ("engine queue", report.queue_ms),
    )
    body = "".join(_latency(name, spread) for name, spread in rows if spread.count)
    head = "".join(f"<th>{name}</th>" for name in ("ms", "mean", "p50", "p90", "p95", "p99", "max"))
    return _table("Latency", head, body)


def _latency(name: str, spread: Spread) -> str:
    figures = (spread.mean, spread.p50, spread.p90, spread.p95, spread.p99, spread.max)
    return f"<tr><th>{name}</th>{''.join(f'<td>{_ms(value)}</td>' for value in figures)}</tr>"


def _promises(report: FleetReport) -> str:
    if not report.objectives:
        return ""
    rows = "".join(
        f"<tr><th>{o.name} ≤ {o.limit_ms:g} ms</th><td>{_percent(o.met_share)}</td><td>{_ms(o.p95_ms)}</td>"
        f"<td>{'held' if o.is_held else '<b>missed</b>'}</td></tr>"
        for o in report.objectives
    )
    head = f"<th>objective</th><th>met by</th><th>p95, ms</th><th>{HELD_SHARE:.0%} must meet it</th>"
    return _table("Objectives", head, rows)


def _refusals(report: FleetReport) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{n:,}</td></tr>" for name, n in (*report.sheds, *report.limits))
    return _table("Refused by the gateway", "<th>why</th><th>requests</th>", rows) if rows else ""


def _shares(title: str, shares: Sequence[Share]) -> str:
    if not shares:
        return ""
    rows = "".join(
        f"<tr><th>{escape(one.name) or '–'}</th><td>{one.requests:,}</td><td>{one.ok:,}</td><td>{one.limited:,}</td>"
        f"<td>{one.lost:,}</td><td class='bar'><i style='width:{100 * (one.share or 0.0):.1f}%'></i>"
        f"{_percent(one.share)}</td><td>{_ms(one.waited_ms.p50)}</td><td>{_ms(one.waited_ms.p95)}</td>"
        f"<td>{_ms(one.ttft_ms.p95)}</td></tr>"
        for one in shares
    )
    names = ("", "requests", "ok", "limited", "lost", "work", "waited p50, ms", "p95", "TTFT p95, ms")
    return _table(title, "".join(f"<th>{name}</th>" for name in names), rows)


def _replicas(report: FleetReport) -> str:
    most = max((replica.requests for replica in report.replicas), default=0) or 1
    rows = "".join(
        f"<tr><th>{escape(r.id)}</th>"
        f"<td class='bar'><i style='width:{100 * r.requests / most:.1f}%'></i>{r.requests:,}</td>"
        f"<td>{r.output_tokens:,}</td><td>{_percent(r.busy_share)}</td>"
        f"<td>{r.running_mean:.3g}</td><td>{r.running_max}</td><td>{r.waiting_max}</td>"
        f"<td>{_percent(r.kv_max_share)}</td><td>{_percent(r.prefix_hit_share)}</td><td>{r.preemptions}</td></tr>"
        for r in report.replicas
    )
    names = (
        *("replica", "requests", "tokens out", "busy", "running, mean", "running, most", "waiting, most"),
        *("KV, most", "prefix hits", "preemptions"),
    )
    return _table("Replicas", "".join(f"<th>{name}</th>" for name in names), rows)


def _table(title: str, head: str, rows: str) -> str:
    return (
        f"<div class='scroll'><h3>{title}</h3><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _lamp(level: str) -> str:
    return f"<i class='lamp {level}'></i>"


def _ms(value: float | None) -> str:
    return "–" if value is None else figure(value)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.3g} %"
