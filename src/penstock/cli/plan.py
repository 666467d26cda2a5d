"""`penstock plan`: which GPUs a fleet needs, what it costs, how fast it will be, and why. Starts nothing.

Exit codes: 0 every model has a plan, 2 something cannot work as asked (the other models' plans are still printed).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.output import Output, OutputOption, print_json
from penstock.errors import UsageError

if TYPE_CHECKING:
    from penstock.cli.plan_asks import PlanOptions

__all__ = ["register"]


class QuantizationOption(StrEnum):
    """The same as the fleet file's `quantization`."""

    NONE = "none"
    FP8 = "fp8"
    FP8_WEIGHTS = "fp8-weights"
    AWQ = "awq"
    GPTQ = "gptq"
    MXFP4 = "mxfp4"
    ANY = "any"


class KvDtypeOption(StrEnum):
    """The same as the fleet file's `kvCacheDtype`."""

    FP8 = "fp8"


_Option = typer.Option
_File = Annotated[str | None, typer.Argument(metavar="FILE", help="Fleet file; `-` reads stdin.", show_default=False)]
_Model = Annotated[
    str | None, _Option(metavar="NAME", help="Without FILE: the model to plan for. With FILE: only this one of it.")
]
_Gpu = Annotated[list[str] | None, _Option(metavar="NAME", help="GPU to use; several to choose among.")]
_Count = Annotated[int | None, _Option(min=1, max=64, help="GPUs of one replica. Default: as few as will do.")]
_Tp = Annotated[int | None, _Option("--tp", min=1, max=64, help="Tensor-parallel size.")]
_Pp = Annotated[int | None, _Option("--pp", min=1, max=16, help="Pipeline-parallel size.")]
_Dp = Annotated[int | None, _Option("--dp", min=1, max=64, help="Data-parallel size.")]
_Quantization = Annotated[QuantizationOption | None, _Option(help="How weights are quantized. Default: as the source.")]
_KvDtype = Annotated[KvDtypeOption | None, _Option(help="Numbers of the KV cache.")]
_Context = Annotated[int | None, _Option(min=16, metavar="TOKENS", help="Longest prompt plus answer.")]
_Concurrency = Annotated[int | None, _Option(min=1, metavar="N", help="Requests that one engine runs at once.")]
_Rate = Annotated[float | None, _Option(min=0.0, metavar="R", help="Requests per second at the peak.")]
_InputTokens = Annotated[int | None, _Option(min=1, metavar="N", help="Mean prompt length. Default: 1024.")]
_OutputTokens = Annotated[int | None, _Option(min=1, metavar="N", help="Mean answer length. Default: 256.")]
_CachedShare = Annotated[
    float | None, _Option(min=0.0, max=0.99, metavar="SHARE", help="Of prompt tokens, in the prefix cache already.")
]
_Objective = Annotated[
    list[str] | None, _Option(metavar="NAME=TIME", help="Promise at p95: ttft=500ms, itl=50ms or e2e=10s.")
]
_Trace = Annotated[Path | None, _Option(metavar="FILE", help="Take rate and lengths from a recorded trace.")]
_Column = Annotated[str, _Option(help="Which model's column of a trace of rates. Default: the first.")]
_Price = Annotated[list[str] | None, _Option(metavar="GPU=USD", help="What you pay for one GPU-hour, as in H100=2.5.")]
_Calibration = Annotated[
    list[str] | None, _Option(metavar="GPU=FILE", help="Times of this GPU as `penstock calibrate` measured them.")
]
_Plot = Annotated[Path | None, _Option(metavar="FILE", help="Draw memory and curves (.svg).")]
_Explain = Annotated[bool, _Option("--explain", help="Print every option that was compared, and the calibration.")]


def register(app: typer.Typer) -> None:
    """Adds `plan` to the command line."""
    app.command()(plan)


def plan(
    file: _File = None,
    *,
    model: _Model = None,
    gpu: _Gpu = None,
    count: _Count = None,
    tp: _Tp = None,
    pp: _Pp = None,
    dp: _Dp = None,
    quantization: _Quantization = None,
    kv_cache_dtype: _KvDtype = None,
    context: _Context = None,
    concurrency: _Concurrency = None,
    rate: _Rate = None,
    input_tokens: _InputTokens = None,
    output_tokens: _OutputTokens = None,
    cached_share: _CachedShare = None,
    objective: _Objective = None,
    trace: _Trace = None,
    column: _Column = "",
    price: _Price = None,
    calibration: _Calibration = None,
    plot: _Plot = None,
    explain: _Explain = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Size a fleet, or one model: hardware, replicas, memory, speed and cost, with the reasons.

    Options hold over the file, so `penstock plan fleet.yaml --gpu H200` answers "what if".
    """
    from penstock.cli.plan_asks import PlanOptions  # noqa: PLC0415 — start-up time

    if file is None and model is None:
        raise UsageError("nothing to plan for", hint="penstock plan FILE, or penstock plan --model NAME")
    if plot is not None:
        _check_plot(plot)
    options = PlanOptions(
        model=model,
        gpus=tuple(name for given in gpu or () for name in given.split(",") if name),
        count=count,
        tensor=tp,
        pipeline=pp,
        data=dp,
        quantization=quantization.value if quantization is not None else None,
        kv_dtype=kv_cache_dtype.value if kv_cache_dtype is not None else None,
        context=context,
        max_num_seqs=concurrency,
        rate=rate,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_share=cached_share,
        objectives=tuple(objective or ()),
        trace=trace,
        column=column,
        prices=tuple(price or ()),
        calibrations=tuple(calibration or ()),
    )
    _plan(file, options, plot=plot, is_explained=explain, output=output)


def _plan(file: str | None, options: PlanOptions, *, plot: Path | None, is_explained: bool, output: Output) -> None:
    from penstock.cli.plan_asks import fleet_asks, model_asks  # noqa: PLC0415 — start-up time
    from penstock.cli.plan_screen import print_plans  # noqa: PLC0415 — start-up time
    from penstock.plan import draw, fleet_record, size  # noqa: PLC0415 — start-up time

    asks = fleet_asks(file, options) if file is not None else model_asks(options)
    sized = [(asked, asked.refusals or size(asked.ask)) for asked in asks.models]
    plans = [found for _, found in sized if not isinstance(found, list)]
    refused = [asked.problem(refusal) for asked, found in sized if isinstance(found, list) for refusal in found]
    if output is Output.JSON:
        record = fleet_record(asks.fleet, plans, price_words=asks.price_words)
        print_json({**record, "skipped": asks.skipped, "refused": refused})
    elif plans:
        print_plans(plans, asks, is_explained=is_explained)
    if plot is not None and plans:
        _write(plot, draw(plans))
    if refused:
        if output is Output.TABLE:
            asks.print_refusals(refused)
        raise typer.Exit(2)


def _check_plot(path: Path) -> None:
    if path.suffix.lower() != ".svg":
        raise UsageError(f"--plot {path}: a plan is drawn as SVG", hint="e.g. --plot plan.svg")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--plot {path}: there is no folder {path.absolute().parent}", hint="create it first")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
