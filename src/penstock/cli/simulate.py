"""`penstock simulate`: a trace through N simulated replicas and the gateway's queue and routing, in virtual time.

Exit codes: 0 every run holds its objectives (of several: one of them does), 1 none does, or nothing was answered, 2 the
command line, the fleet file or the trace is wrong. The report is printed in either of the first two.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock import __version__
from penstock.cli.output import Output, OutputOption, print_json, say
from penstock.errors import UsageError

if TYPE_CHECKING:
    from penstock.cli.simulate_asks import SimulateOptions
    from penstock.simulate.fleet import FleetReport

__all__ = ["register"]

_Option = typer.Option
_File = Annotated[str, typer.Argument(metavar="FILE", help="Fleet file; `-` reads stdin.")]
_Trace = Annotated[
    Path | None,
    _Option(
        metavar="FILE", help="Recorded requests: CSV, JSON lines or rates; or .gz. Default: the model's `demand.trace`."
    ),
]
_Column = Annotated[str, _Option(help="Which model's column of a trace of rates. Default: the first.")]
_Profile = Annotated[str, _Option(help="Generate this kind of traffic instead; `penstock bench` lists them.")]
_Rate = Annotated[float | None, _Option(metavar="R", help="Mean requests/s of the generated traffic.")]
_Duration = Annotated[
    float | None, _Option(min=0.1, metavar="SECONDS", help="Requests come for this long. Default: all of a trace.")
]
_Requests = Annotated[int | None, _Option(min=1, metavar="N", help="Stop after this many requests.")]
_InputTokens = Annotated[str, _Option(metavar="N|P50:P99", help="Prompt lengths of generated traffic.")]
_OutputTokens = Annotated[str, _Option(metavar="N|P50:P99", help="Answer lengths of generated traffic.")]
_Speed = Annotated[float, _Option(min=0.001, metavar="X", help="Requests come this many times as fast.")]
_Until = Annotated[
    float | None, _Option(min=0.1, metavar="SECONDS", help="End the simulation here, whatever is unfinished.")
]
_Seed = Annotated[int, _Option(help="Same seed, same bytes.")]
_Model = Annotated[str | None, _Option(metavar="NAME", help="Which model of the file. Default: the only one.")]
_Replicas = Annotated[
    list[str] | None, _Option(metavar="N[,N]", help="Replicas, over the file's; several are compared.")
]
_Gpu = Annotated[list[str] | None, _Option(metavar="NAME", help="GPU, over the file's; several are compared.")]
_Tp = Annotated[int | None, _Option("--tp", min=1, max=64, help="Tensor-parallel size, over the file's.")]
_Policy = Annotated[list[str] | None, _Option(metavar="NAME", help="Routing policy; several are compared.")]
_Gateways = Annotated[
    int, _Option(min=1, max=64, metavar="N", help="Gateways that share the requests, each with its own view.")
]
_Queue = Annotated[
    bool | None,
    _Option("--queue/--no-queue", help="Wait in the gateway, or go to the engines at once. Default: as the file."),
]
_Tenant = Annotated[
    str, _Option(metavar="NAME", help="Whose the requests are that name no tenant: its weight, class and limits.")
]
_TtftMs = Annotated[float | None, _Option(min=0, metavar="MS", help="Objective over the file's: time to first token.")]
_ItlMs = Annotated[float | None, _Option(min=0, metavar="MS", help="Objective: a request's mean time between tokens.")]
_E2eMs = Annotated[float | None, _Option(min=0, metavar="MS", help="Objective: time to the whole answer.")]
_Calibration = Annotated[
    list[str] | None, _Option(metavar="GPU=FILE", help="Times of this GPU as `penstock calibrate` measured them.")
]
_Html = Annotated[Path | None, _Option(metavar="FILE", help="Write the report with charts as one HTML page.")]


def register(app: typer.Typer) -> None:
    """Adds `simulate` to the command line."""
    app.command()(simulate)


def simulate(
    file: _File,
    *,
    trace: _Trace = None,
    column: _Column = "",
    profile: _Profile = "",
    rate: _Rate = None,
    duration: _Duration = None,
    requests: _Requests = None,
    input_tokens: _InputTokens = "",
    output_tokens: _OutputTokens = "",
    speed: _Speed = 1.0,
    until: _Until = None,
    seed: _Seed = 0,
    model: _Model = None,
    replicas: _Replicas = None,
    gpu: _Gpu = None,
    tp: _Tp = None,
    policy: _Policy = None,
    gateways: _Gateways = 1,
    queue: _Queue = None,
    tenant: _Tenant = "",
    ttft_ms: _TtftMs = None,
    itl_ms: _ItlMs = None,
    e2e_ms: _E2eMs = None,
    calibration: _Calibration = None,
    html: _Html = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """What a fleet would do with this traffic: objectives met, latency, cost, queues. Needs no GPU, starts nothing.

    Options hold over the file. Several replicas, GPUs or policies are run one after another and compared.
    """
    from penstock.cli.simulate_asks import SimulateOptions  # noqa: PLC0415 — start-up time

    if html is not None:
        _check_html(html)
    options = SimulateOptions(
        file=file,
        model=model,
        replicas=_split(replicas),
        gpus=_split(gpu),
        policies=_split(policy),
        gateways=gateways,
        has_queue=queue,
        tenant=tenant,
        tensor=tp,
        ttft_ms=ttft_ms,
        itl_ms=itl_ms,
        e2e_ms=e2e_ms,
        calibrations=tuple(calibration or ()),
        trace=trace,
        column=column,
        profile=profile,
        rate=rate,
        duration_s=duration,
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        speed=speed,
        until_s=until,
        seed=seed,
    )
    _simulate(options, html=html, output=output)


def _simulate(options: SimulateOptions, *, html: Path | None, output: Output) -> None:
    from penstock.cli.simulate_asks import read_asks  # noqa: PLC0415 — start-up time
    from penstock.cli.simulate_run import run_all  # noqa: PLC0415 — start-up time
    from penstock.cli.simulate_screen import print_reports  # noqa: PLC0415 — start-up time
    from penstock.simulate.fleet import fleet_record, html_page  # noqa: PLC0415 — start-up time

    asked = read_asks(options)
    for note in asked.notes:
        say(note)
    reports = run_all(asked)
    if output is Output.JSON:
        record = fleet_record(reports, fleet=asked.fleet, workload=asked.workload, seed=options.seed)
        print_json({"version": __version__, **record, "notes": asked.notes})
    else:
        print_reports(reports, asked.workload, price_words=asked.price_words)
    if html is not None:
        page = html_page(reports, fleet=asked.fleet, workload=asked.workload, seed=options.seed, version=__version__)
        _write(html, page)
        say(f"report: {html}")
    _exit(reports)


def _exit(reports: list[FleetReport]) -> None:
    if not any(report.requests for report in reports):
        say("nothing was sent: no request came in the time given")
        raise typer.Exit(1)
    if not any(report.is_held and report.ok for report in reports):
        raise typer.Exit(1)


def _split(given: list[str] | None) -> tuple[str, ...]:
    """`6,8` and `--replicas 6 --replicas 8` are the same; twice the same is once."""
    return tuple(dict.fromkeys(part.strip() for text in given or () for part in text.split(",") if part.strip()))


def _check_html(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html {path}: the report is an HTML page", hint="e.g. --html report.html")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--html {path}: there is no folder {path.absolute().parent}", hint="create it first")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
