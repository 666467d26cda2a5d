"""From samples to tables: medians, ratios to Penstock, Markdown. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.workloads import WORKLOADS, Figure, Workload

__all__ = ["MARKER", "markdown", "marks", "medians", "ratio", "replace_marked", "table_cells", "table_heads"]

Sample = Mapping[str, Any]
MARKER = "bench"
"""Where a run is written to in a file, unless it is told otherwise; see `marks`."""
OURS = "penstock"
NOISY_CPU_PCT = 20.0
"""Other processes took more than this share of one core: the row is marked."""

_FIGURE_HEADS: dict[Figure, str] = {
    "cpu_us_per_request": "CPU µs/request",
    "cpu_us_per_token": "CPU µs/token",
    "tokens_per_s": "tokens/s",
    "kb_per_stream": "KB/stream",
}


def medians(samples: Sequence[Sample]) -> dict[str, Any]:
    """One row from the repeats of a peer at a load: medians of numbers, sums of failures, and the figure's range."""
    row: dict[str, Any] = {"repeats": len(samples)}
    for key in samples[0]:
        values = [sample.get(key) for sample in samples]
        if key == "failures":
            row[key] = sum_failures([value for value in values if value])
        elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            row[key] = statistics.median(values)  # type: ignore[type-var]
        else:
            row[key] = values[0]
    figures = [sample[sample["figure"]] for sample in samples if sample.get(sample["figure"]) is not None]
    row["figure_range"] = [min(figures), max(figures)] if figures else None
    return row


def sum_failures(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Failures by kind over all repeats."""
    total: dict[str, int] = {}
    for count in counts:
        for kind, number in count.items():
            total[kind] = total.get(kind, 0) + number
    return total


def ratio(row: Sample, ours: Sample | None) -> float | None:
    """How many times our figure this row's is; None where either is missing or zero."""
    figure = row["figure"]
    if ours is None or not ours.get(figure) or not row.get(figure):
        return None
    return float(row[figure]) / float(ours[figure])


def _number(value: float | None, unit: float = 1.0) -> str:
    if value is None:
        return "-"
    scaled = value / unit
    decimals = 0 if abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
    return f"{scaled:,.{decimals}f}"


def table_heads(workload: Workload) -> list[str]:
    """Column heads of a load's table."""
    heads = ["gateway", _FIGURE_HEADS[workload.figure], "range", "× penstock"]
    if workload.figure == "kb_per_stream":
        return [*heads, "RSS MB"]
    heads += ["TTFT p50 ms", "p99 ms", "token transit p99 ms"] if workload.is_stream else ["p50 ms", "p99 ms"]
    heads.append("tokens/s" if workload.is_stream else "requests/s")
    if workload.offered_tokens_per_s:
        heads.append("held %")
    return [*heads, "its CPU %", "RSS MB", "others' CPU %", "failures"]


def table_cells(workload: Workload, row: Sample, ours: Sample | None) -> list[str]:
    """One row's cells, as `table_heads` names them."""
    low_high = row.get("figure_range")
    times = ratio(row, ours)
    cells = [
        str(row["peer"]),
        _number(row.get(workload.figure)),
        f"{_number(low_high[0])}-{_number(low_high[1])}" if low_high else "-",
        _number(times) if times is not None else "-",
    ]
    if workload.figure == "kb_per_stream":
        return [*cells, _number(row.get("rss_mb"))]
    shown = ("ttft_p50_us", "ttft_p99_us", "transit_p99_us") if workload.is_stream else ("total_p50_us", "total_p99_us")
    cells += [_number(row.get(key), 1000.0) for key in shown]
    cells.append(_number(row.get("tokens_per_s" if workload.is_stream else "requests_per_s")))
    if workload.offered_tokens_per_s:
        cells.append(_number(row.get("held_pct")))
    cells.append(_number(row.get("gateway_cpu_pct")))
    noise = row.get("others_cpu_pct")
    failures = ", ".join(f"{count} {kind}" for kind, count in sorted(row["failures"].items())) or "none"
    noise_cell = _number(noise) + ("*" if noise is not None and noise > NOISY_CPU_PCT else "")
    return [*cells, _number(row.get("rss_mb")), noise_cell, failures]


def markdown(run: Mapping[str, Any]) -> str:
    """The run as Markdown: what machine, which peers, one table per load."""
    machine = run["machine"]
    lines = [
        f"Measured {run['at'][:10]} with `{run['command']}` on {machine['cpu']}, {machine['cores']} cores, "
        f"Linux {machine['kernel']}, Python {machine['python']}; revision {run['revision']}. "
        f"Medians of {run['repeats']} repeats, gateways taking turns. CPU is that of the gateway's processes, by the "
        "kernel's own nanosecond count; each gateway is pinned to one core, load and upstreams to another. "
        f"`*`: other processes took over {NOISY_CPU_PCT:.0f} % of a core meanwhile.",
        "",
        *(f"- `{peer['name']}`: {peer['does']}" for peer in run["peers"]),
        "",
    ]
    for workload in WORKLOADS:
        rows = [row for row in run["rows"] if row["workload"] == workload.name]
        if not rows:
            continue
        ours = next((row for row in rows if row["peer"] == OURS), None)
        heads = table_heads(workload)
        lines += [f"### {workload.title[0].upper()}{workload.title[1:]}", "", _line(heads), _line(["---"] * len(heads))]
        lines += [_line(table_cells(workload, row, ours)) for row in rows]
        lines.append("")
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def marks(name: str) -> tuple[str, str]:
    """The lines of a file between which the tables of that name stand."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def replace_marked(text: str, part: str, name: str = MARKER) -> str:
    """Puts `part` between the marks of `text`; at its end, with marks, where it has none."""
    begin, end = marks(name)
    marked = f"{begin}\n{part}{end}"
    if begin in text and end in text:
        return text[: text.index(begin)] + marked + text[text.index(end) + len(end) :]
    return f"{text.rstrip()}\n\n{marked}\n".lstrip()
