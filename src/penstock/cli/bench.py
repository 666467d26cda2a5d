"""`penstock bench URL`: load from a generator or a recorded trace, and what came of it.

Exit codes: 0 ok, 1 every request failed or none was sent, 2 the command line or the trace is wrong, 130 interrupted
(the report of what was measured until then is still printed).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock import __version__
from penstock.cli.bench_tables import print_report
from penstock.cli.output import Output, OutputOption, print_json, print_table, print_text, say, warn
from penstock.errors import UsageError

if TYPE_CHECKING:
    from penstock.cli.bench_workload import WorkloadOptions
    from penstock.simulate.io.load import RequestShape
    from penstock.simulate.workload import Objectives

__all__ = ["register"]


class Api(StrEnum):
    """Which endpoint is loaded."""

    CHAT = "chat"
    COMPLETIONS = "completions"


_Option = typer.Option
_Url = Annotated[str, typer.Argument(metavar="URL", help="The API, with or without /v1.")]
_Key = Annotated[str, _Option(envvar=["PENSTOCK_KEY", "OPENAI_API_KEY"], help="API key.", show_default=False)]
_Model = Annotated[str, _Option(help="Model to ask. Default: the first that is listed.")]
_Trace = Annotated[Path | None, _Option(metavar="FILE", help="Replay this trace: CSV, JSON lines or rates; or .gz.")]
_Column = Annotated[str, _Option(help="Which model's column of a trace of rates. Default: the first.")]
_Profile = Annotated[str, _Option(help="Generate this kind of traffic; `list` tells which there are.")]
_Rate = Annotated[float | None, _Option(metavar="R", help="Mean requests/s (open loop).")]
_Concurrency = Annotated[int | None, _Option(min=1, metavar="N", help="Sessions kept in flight (closed loop).")]
_Duration = Annotated[
    float | None, _Option(min=0.1, metavar="SECONDS", help="Send for this long. Default: 30, or all of a trace.")
]
_Requests = Annotated[int | None, _Option(min=1, metavar="N", help="Stop after this many requests.")]
_InputTokens = Annotated[str, _Option(metavar="N|P50:P99", help="Prompt lengths, approximate.")]
_OutputTokens = Annotated[str, _Option(metavar="N|P50:P99", help="Answer lengths.")]
_Speed = Annotated[float, _Option(min=0.001, metavar="X", help="Play time this many times as fast.")]
_Seed = Annotated[int, _Option(help="Same seed, same requests.")]
_Api = Annotated[Api, _Option(help="Which endpoint to load.")]
_Stream = Annotated[bool, _Option(help="Ask for streams.")]
_IgnoreEos = Annotated[bool, _Option(help="Ask for the exact output length (a vLLM extension); else turn off.")]
_Timeout = Annotated[float, _Option(min=0.1, metavar="SECONDS", help="Longest wait for one answer.")]
_TtftMs = Annotated[float | None, _Option(min=0, metavar="MS", help="Objective: time to first token.")]
_ItlMs = Annotated[float | None, _Option(min=0, metavar="MS", help="Objective: a request's mean time between tokens.")]
_E2eMs = Annotated[float | None, _Option(min=0, metavar="MS", help="Objective: time to the whole answer.")]
_Plot = Annotated[Path | None, _Option(metavar="FILE", help="Draw the run (.svg, .png or .pdf).")]


def register(app: typer.Typer) -> None:
    """Adds `bench` to the command line."""
    app.command()(bench)


def bench(
    url: _Url,
    *,
    key: _Key = "",
    model: _Model = "",
    trace: _Trace = None,
    column: _Column = "",
    profile: _Profile = "",
    rate: _Rate = None,
    concurrency: _Concurrency = None,
    duration: _Duration = None,
    requests: _Requests = None,
    input_tokens: _InputTokens = "",
    output_tokens: _OutputTokens = "",
    speed: _Speed = 1.0,
    seed: _Seed = 0,
    api: _Api = Api.CHAT,
    stream: _Stream = True,
    ignore_eos: _IgnoreEos = True,
    timeout: _Timeout = 600.0,
    ttft_ms: _TtftMs = None,
    itl_ms: _ItlMs = None,
    e2e_ms: _E2eMs = None,
    plot: _Plot = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Load an API, open-loop or closed-loop, and report latency, throughput, goodput and errors.

    In an open loop times count from the moment a request was due, so an API that falls behind cannot hide it.
    """
    from penstock.cli.bench_workload import WorkloadOptions  # noqa: PLC0415 — start-up time
    from penstock.simulate.io.load import RequestShape  # noqa: PLC0415 — start-up time
    from penstock.simulate.workload import Objectives  # noqa: PLC0415 — start-up time

    if profile == "list":
        _print_profiles()
        return
    _bench(
        url=url,
        key=key,
        model=model,
        options=WorkloadOptions(
            trace=trace,
            column=column,
            profile=profile,
            rate=rate,
            concurrency=concurrency,
            duration_s=duration,
            requests=requests,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            speed=speed,
            seed=seed,
        ),
        shape=RequestShape(api=api.value, is_stream=stream, ignores_eos=ignore_eos, timeout_s=timeout),
        objectives=Objectives(ttft_ms=ttft_ms, itl_ms=itl_ms, e2e_ms=e2e_ms),
        plot=plot,
        output=output,
    )


def _bench(
    *,
    url: str,
    key: str,
    model: str,
    options: WorkloadOptions,
    shape: RequestShape,
    objectives: Objectives,
    plot: Path | None,
    output: Output,
) -> None:
    from penstock.cli import bench_run  # noqa: PLC0415 — start-up time
    from penstock.cli.bench_workload import build_workload  # noqa: PLC0415 — start-up time
    from penstock.simulate.io.calls import Target  # noqa: PLC0415 — start-up time
    from penstock.simulate.io.load import LoadPlan  # noqa: PLC0415 — start-up time
    from penstock.simulate.io.plot import check_plot, write_plot  # noqa: PLC0415 — start-up time
    from penstock.simulate.workload import summarize  # noqa: PLC0415 — start-up time

    target = Target.of(url, key)
    if not shape.is_stream and (objectives.ttft_ms is not None or objectives.itl_ms is not None):
        raise UsageError("--ttft-ms and --itl-ms need streams", hint="leave --no-stream out, or hold --e2e-ms only")
    if plot is not None:
        check_plot(plot)
    workload = build_workload(options)
    if not model:
        model, listed = bench_run.first_model(target)
        if listed > 1:
            say(f"{listed} models are listed; loading the first, {model} (choose with --model)")
    plan = LoadPlan(
        sessions=workload.sessions,
        model=model,
        seed=options.seed,
        words_per_token=bench_run.measure_words_per_token(target, model, options.seed),
        shape=shape,
        concurrency=workload.concurrency,
        duration_s=workload.duration_s,
        requests_max=workload.requests,
    )
    run, was_stopped = bench_run.run_with_progress(plan, target, workload)
    report = summarize(run.samples, objectives=objectives, client=run.client, unfinished=run.unfinished)
    if output is Output.JSON:
        heading = {"version": __version__, "url": target.origin, "model": model, "workload": workload.words}
        print_json({**heading, "seed": options.seed, "was_stopped": was_stopped, **report.to_json()})
    else:
        print_text(f"{model} at {target.origin}: {workload.words}")
        print_report(report)
    if report.client.warning:
        warn(report.client.warning)
    if plot is not None:
        write_plot(report, plot, title=f"{model}: {workload.words}")
        say(f"plot: {plot}")
    if was_stopped:
        raise typer.Exit(130)
    if not report.ok:
        say("every request failed" if report.requests else "nothing was sent: no request was due in the time given")
        raise typer.Exit(1)


def _print_profiles() -> None:
    from penstock.simulate.workload import PROFILES  # noqa: PLC0415 — start-up time

    rows = [(p.name, round(p.rate, 2), p.summary) for p in PROFILES.values()]
    print_table(("profile", "per second", "what"), rows)
