"""A plan on the terminal: the choice first, then the memory bar, the curve, needs, reasons, runners-up, changes.

Everything reads without colour too: the bar's parts differ in texture. Data goes to stdout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from penstock.cli.output import console, print_text
from penstock.plan import ModelPlan, OperatingPoint, Option, cost_of, engine_flags, fleet_lines
from penstock.plan.options import REGIMES
from penstock.plan.quantization import words_of
from penstock.plan.reasons import changes, dollars, figure, gib, notes, reasons, shown_runners_up, verdict

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from penstock.cli.plan_asks import Asks

__all__ = ["print_plans"]

_WIDTH_MAX = 110
_TEXTURES = {
    "weights": ("█", "blue"),
    "KV cache": ("▓", "green"),
    "activations": ("▒", "yellow"),
    "graphs": ("░", "red"),
    "non-torch": ("╱", "magenta"),
    "free": ("·", "bright_black"),
}
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def print_plans(plans: Sequence[ModelPlan], asks: Asks, *, is_explained: bool) -> None:
    """All plans, and their total where there are several."""
    screen = console()
    if screen.is_terminal:
        _print_all(screen, plans, asks, is_explained=is_explained)
        return
    with screen.capture() as captured:
        _print_all(screen, plans, asks, is_explained=is_explained)
    print_text("\n".join(line.rstrip() for line in captured.get().splitlines()))  # a file needs no padding


def _print_all(screen: Console, plans: Sequence[ModelPlan], asks: Asks, *, is_explained: bool) -> None:
    width = min(screen.width, _WIDTH_MAX)
    for place, plan in enumerate(plans):
        if place:
            screen.print()
        _print_plan(screen, plan, width, is_explained=is_explained)
    if len(plans) > 1:
        screen.print()
        _print_total(screen, plans, width)
    screen.print()
    _put(screen, Text(f"Prices: {asks.price_words}.", style="dim"), width, indent=0)


def _print_plan(screen: Console, plan: ModelPlan, width: int, *, is_explained: bool) -> None:
    _put(screen, _title(plan), width, indent=0)
    screen.print()
    _pairs(screen, _summary(plan), width)
    for words in notes(plan):
        _put(screen, Text(f"! {words}", style="yellow"), width)
    screen.print()
    _memory(screen, plan, width)
    screen.print()
    _curve(screen, plan, width)
    screen.print()
    _pairs(screen, _needs(plan), width)
    _bullets(screen, "Why", reasons(plan), width)
    _runners_up(screen, plan, width, is_explained=is_explained)
    _bullets(screen, "What would change it", changes(plan), width)
    screen.print()
    _put(screen, Text("In the fleet file", style="bold"), width)
    for line in fleet_lines(plan):
        _put(screen, Text(line), width, indent=4)
    if is_explained:
        _explain(screen, plan, width)


def _title(plan: ModelPlan) -> Text:
    model = plan.ask.model
    size = _billions(model.params)
    if model.active_params < 0.7 * model.params and model.experts:
        size += f", {_billions(model.active_params)} active"
    named = "" if plan.ask.source == plan.ask.name else f" · {plan.ask.source}"
    return Text.assemble((plan.ask.name, "bold"), f"{named} · {size} parameters")


def _billions(count: float) -> str:
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.0f} M"


def _summary(plan: ModelPlan) -> Iterable[tuple[str, Text]]:
    choice, cost = plan.choice, cost_of(plan)
    replicas = "1 replica" if choice.replicas == 1 else f"{choice.replicas} replicas"
    how = words_of(plan.ask.model, choice.layout.quantization)
    yield "Run it on", Text.assemble((f"{replicas} of {choice.layout.words}", "bold"), f", weights in {how}")
    if cost.micros_per_hour is not None:
        text = f"{dollars(cost.micros_per_hour)} an hour"
        if cost.input_micros_per_million is not None:
            text += f" · {dollars(cost.input_micros_per_million)} per million input tokens"
        if cost.output_micros_per_million is not None:
            text += f", {dollars(cost.output_micros_per_million)} output"
        yield "Cost", Text(text + (" (at capacity)" if cost.is_at_capacity else ""))
    demand = plan.ask.demand
    load = f"; {choice.at_demand.requests_per_s / choice.engine.saturation():.0%} of saturation"
    yield "Demand", Text(demand.words + (load if demand.requests_per_s else "; no rate is said"))
    promised = ", ".join(f"{name} ≤ {limit:g} ms" for name, limit in plan.ask.objectives.named)
    if promised:
        yield "Promise", Text(f"{promised} at the 95th percentile")
    yield "Expect", _expectation(choice)


def _expectation(choice: Option) -> Text:
    point = choice.at_demand
    parts = [f"TTFT p50 {_with_interval(choice, point.ttft_p50_s, 'TTFT')}"]
    parts.append(f"p95 {_with_interval(choice, point.ttft_p95_s, 'TTFT')}")
    if point.tpot_p95_s:
        parts.append(f"ITL p50 {_with_interval(choice, point.itl_p50_s, 'ITL')}")
        parts.append(f"TPOT p95 {_with_interval(choice, point.tpot_p95_s, 'ITL')}")
    load = (
        ""
        if choice.ask.demand.requests_per_s
        else f"; at {figure(point.requests_per_s * choice.layout.data)} requests/s"
    )
    return Text(f"{', '.join(parts)} ms (90 % interval{load})")


def _with_interval(option: Option, seconds: float, name: str) -> str:
    low, high = option.estimate.interval(seconds * 1000, REGIMES[name])
    return f"{_short(seconds * 1000)} ({_short(low)}–{_short(high)})"


def _short(value: float) -> str:
    """Two or three digits."""
    if value >= 99.5:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}"


def _memory(screen: Console, plan: ModelPlan, width: int) -> None:
    memory = plan.choice.estimate.memory
    _put(screen, Text(f"Memory of each GPU: {gib(memory.total)}", style="bold"), width)
    cells = width - 4
    bar, legend = Text("▕"), [Text()]
    for (name, size), count in zip(memory.parts, _cells([size for _, size in memory.parts], cells), strict=True):
        texture, colour = _TEXTURES[name]
        bar.append(texture * count, style=colour)
        label = Text.assemble((texture * 2, colour), f" {name} {gib(size)}   ")
        if legend[-1].cell_len + label.cell_len > width:
            legend.append(Text())
        legend[-1].append_text(label)
    _put(screen, bar.append("▏"), width)
    for line in legend:
        _put(screen, line, width)
    if memory.kv_tokens:
        text = f"KV cache: {memory.kv_tokens:,} tokens ({memory.kv_tokens_low:,}–{memory.kv_tokens_high:,}),"
        text += f" {memory.full_requests:.1f} requests of {plan.context:,} tokens at once,"
        text += f" {plan.choice.engine.kv_requests_max:,.0f} of mean length"
        _put(screen, Text(text), width)


def _cells(sizes: Sequence[int], cells: int) -> list[int]:
    """Character cells of each part: every part that is there has one, and together they fill the bar."""
    total = sum(max(0, size) for size in sizes)
    counts = [0 if size <= 0 else max(1, round(cells * size / total)) for size in sizes]
    counts[counts.index(max(counts))] += cells - sum(counts)
    return counts


def _curve(screen: Console, plan: ModelPlan, width: int) -> None:
    choice = plan.choice
    points = [(point, False) for point in plan.curve]
    if plan.ask.demand.requests_per_s:
        demand = choice.at_demand
        apart = [pair for pair in points if abs(pair[0].requests_per_s / demand.requests_per_s - 1) > _SAME_LOAD]
        points = sorted([*apart, (demand, True)], key=lambda pair: pair[0].requests_per_s)
    rows = [(_figures(choice, point), _mark(choice, point, is_demand)) for point, is_demand in points]
    room = width - 2 - _natural_width(screen, rows)
    if room < 0:  # the least of the figures give way
        rows = [({n: text for n, text in row.items() if n not in _LEFT_OUT}, mark) for row, mark in rows]
    elif room >= _BAR_CELLS_MIN:
        cells, top = min(_BAR_CELLS_MAX, room - 3), max(point.ttft_p95_s for point, _ in points)
        rows = [
            ({**row, "": _bar_of(point.ttft_p95_s / top, cells)}, mark)
            for (row, mark), (point, _) in zip(rows, points, strict=True)
        ]
    marks = {mark for _, mark in rows}
    legend = [words for mark, words in _MARKS.items() if mark in marks]
    head = Text("One replica over load", style="bold")
    _put(screen, head.append(f" ({'; '.join(['ms, 90 % interval', *legend])})", style="not bold"), width)
    screen.print(Padding(_curve_table(rows), (0, 0, 0, 2), expand=False), soft_wrap=False)
    _put(screen, Text(f"Saturation: {figure(choice.saturation)} requests/s, where {choice.engine.bound}"), width)


_BAR_CELLS_MIN, _BAR_CELLS_MAX = 9, 24
_LEFT_OUT = ("at once", "TTFT p50")
_SAME_LOAD = 0.05
"""A line of the curve this near to the demand's says nothing more."""
_MARKS = {"▸": "▸ the demand", "✗": "✗ the objectives may not hold"}
_STYLES = {"▸": "bold", "✗": "dim", " ": ""}


def _mark(choice: Option, point: OperatingPoint, is_demand: bool) -> str:
    return "▸" if is_demand else "✗" if choice.missed(point) else " "


def _curve_table(rows: Sequence[tuple[dict[str, str], str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in rows[0][0]:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for row, mark in rows:
        first, *rest = row.values()
        table.add_row(f"{mark} {first}", *rest, style=_STYLES[mark])
    return table


def _natural_width(screen: Console, rows: Sequence[tuple[dict[str, str], str]]) -> int:
    """Columns that the table wants, however many there are."""
    options = screen.options.update(width=10 * _WIDTH_MAX, max_width=10 * _WIDTH_MAX)
    return Measurement.get(screen, options, _curve_table(rows)).maximum


def _figures(choice: Option, point: OperatingPoint) -> dict[str, str]:
    """One line of the curve: column and text."""
    engines, is_generating = choice.layout.data, choice.ask.model.task == "generate"
    figures = {
        "req/s": figure(point.requests_per_s * engines),
        "at once": f"{point.running * engines:,.0f}" if point.running >= 1 else "<1",
        "load": f"{point.requests_per_s / choice.engine.saturation():.0%}",
        "TTFT p50": _short(point.ttft_p50_s * 1000),
        "TTFT p95": _with_interval(choice, point.ttft_p95_s, "TTFT"),
    }
    if is_generating:
        figures["ITL p50"] = _short(point.itl_p50_s * 1000)
        figures["TPOT p95"] = _with_interval(choice, point.tpot_p95_s, "ITL")
    else:
        del figures["at once"]
    tokens = point.output_tokens_per_s if is_generating else point.prompt_tokens_per_s
    return {**figures, "tokens/s": f"{tokens * engines:,.0f}"}


def _bar_of(share: float, cells: int) -> str:
    eighths = max(1, round(share * cells * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _needs(plan: ModelPlan) -> Iterable[tuple[str, Text]]:
    host = plan.host
    cold, warm = host.cold, host.warm
    yield (
        "Start-up",
        Text(
            f"{cold.total_s:.0f} s cold (weights {cold.load_s:.0f}, compile {cold.compile_s:.0f}, graphs and kernels"
            f" {cold.capture_s:.0f}, processes {cold.other_s:.0f}), {warm.total_s:.0f} s warm; startupProbe:"
            f" periodSeconds {host.probe_period_s}, failureThreshold {host.probe_failures}"
        ),
    )
    yield (
        "Machine",
        Text(
            f"memory {gib(host.memory_bytes)} ({gib(host.page_cache_bytes)} of it keep the weights cached), /dev/shm"
            f" {gib(host.shm_bytes)}, disk {gib(host.disk_bytes)} for the model and {gib(host.image_bytes)} for the"
            " image"
        ),
    )
    flags = " ".join(f"--{name} {value}" for name, value in engine_flags(plan).items())
    yield "Engine", Text(flags or "vLLM's defaults")


def _runners_up(screen: Console, plan: ModelPlan, width: int, *, is_explained: bool) -> None:
    options = (*plan.runners_up, *plan.impossible) if is_explained else shown_runners_up(plan)
    if not options:
        return
    screen.print()
    _put(screen, Text("Runners-up", style="bold"), width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, width=width - 2)
    table.add_column("configuration")
    table.add_column("replicas", justify="right")
    table.add_column("req/s", justify="right", no_wrap=True)
    table.add_column("$/h", justify="right", no_wrap=True)
    table.add_column("why not", ratio=1, overflow="fold")
    for option in options:
        is_sized = option.is_possible and option.capacity > 0
        price = option.price if is_sized else option.replica_price
        table.add_row(
            _configuration(plan, option),
            str(option.replicas) if is_sized else "-",
            figure(option.capacity * option.replicas) if is_sized else "-",
            dollars(price).lstrip("$") if price is not None and is_sized else "-",
            verdict(plan, option),
        )
    screen.print(Padding(table, (0, 0, 0, 2), expand=False), soft_wrap=False)


def _configuration(plan: ModelPlan, option: Option) -> str:
    """A layout, and its quantization where that is another one than the choice's."""
    if option.layout.quantization == plan.choice.layout.quantization:
        return option.layout.words
    return f"{option.layout.words}, {words_of(plan.ask.model, option.layout.quantization)}"


def _explain(screen: Console, plan: ModelPlan, width: int) -> None:
    """What the figures were made from."""
    estimate, demand = plan.choice.estimate, plan.ask.demand
    calibration = estimate.calibration
    bounds = ((name, calibration.interval(1.0, name)) for name in sorted(calibration.errors))
    errors = ", ".join(f"{name} ×{low:.2f}–{high:.2f}" for name, (low, high) in bounds)
    engine = plan.choice.engine
    lines = (
        f"Calibration {calibration.name}: {calibration.source}; {calibration.machine}.",
        f"90 % of measurements lie between these multiples of what is predicted: {errors}.",
        f"Model: {plan.ask.model.source}. GPU: {plan.choice.layout.gpu.source}.",
        f"Lengths: prompt {demand.prompt_tokens:,.0f} on average, {demand.prompt_p95:,.0f} at p95; answer"
        f" {demand.output_tokens:,.0f}, {demand.output_p95:,.0f}; {demand.cached_share:.0%} of prompts cached.",
        f"KV cache: {estimate.memory.kv_bytes_per_token:,} bytes per token on each GPU.",
        f"A step with 1 request: {_short(engine.at_running(1).itl_p50_s * 1000)} ms; at the demand"
        f" {plan.choice.at_demand.prefill_share:.0%} of time goes to prompts.",
        f"{plan.considered} configurations were compared.",
    )
    _bullets(screen, "Made from", lines, width)


def _print_total(screen: Console, plans: Sequence[ModelPlan], width: int) -> None:
    _put(screen, Text("The fleet", style="bold"), width, indent=0)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("model", "each"):
        table.add_column(name)
    for name in ("replicas", "GPUs", "$/h"):
        table.add_column(name, justify="right")
    for plan in plans:
        choice = plan.choice
        price = "-" if choice.price is None else dollars(choice.price).lstrip("$")
        gpus = choice.replicas * choice.layout.gpus
        table.add_row(plan.ask.name, choice.layout.words, str(choice.replicas), str(gpus), price)
    gpus = sum(plan.choice.replicas * plan.choice.layout.gpus for plan in plans)
    prices = [plan.choice.price for plan in plans if plan.choice.price is not None]
    total = dollars(sum(prices)).lstrip("$") if len(prices) == len(plans) else "-"
    table.add_section()
    table.add_row("all", "", "", str(gpus), total, style="bold")
    screen.print(table, soft_wrap=False)


def _pairs(screen: Console, pairs: Iterable[tuple[str, RenderableType]], width: int) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.width = width - 2
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(ratio=1)
    for name, text in pairs:
        grid.add_row(name, text)
    screen.print(Padding(grid, (0, 0, 0, 2), expand=False), soft_wrap=False)


def _bullets(screen: Console, title: str, lines: Sequence[str], width: int) -> None:
    if not lines:
        return
    screen.print()
    _put(screen, Text(title, style="bold"), width)
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.width = width - 2
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for line in lines:
        grid.add_row("•", Text(line))
    screen.print(Padding(grid, (0, 0, 0, 2), expand=False), soft_wrap=False)


def _put(screen: Console, text: Text, width: int, *, indent: int = 2) -> None:
    screen.print(Padding(text, (0, 0, 0, indent), expand=False), width=width, soft_wrap=False)
