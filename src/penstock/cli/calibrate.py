"""`penstock calibrate URL`: a short probe of a live engine, and the calibration that `plan` and `engine` then use.

Exit codes: 0 written, 1 the engine did not answer as it should, 2 the command line is wrong.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.output import Output, OutputOption, print_json, print_table, print_text, say, stderr_console
from penstock.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from penstock.facts import Architecture
    from penstock.simulate.io.calls import Target
    from penstock.simulate.io.probe import Served
    from penstock.simulate.probe import Fit, Measured, Probed

__all__ = ["register"]

_DOUBTFUL = 0.15
"""Median error of a fit from which something was wrong: simulated engines leave less than 3 %."""


def register(app: typer.Typer) -> None:
    """Adds `calibrate` to the command line."""
    app.command()(calibrate)


def calibrate(
    url: Annotated[str, typer.Argument(metavar="URL", help="The engine, with or without /v1.")],
    *,
    gpu: Annotated[str, typer.Option(help="GPU that it runs on, as in H100.")],
    key: Annotated[
        str, typer.Option(envvar=["PENSTOCK_KEY", "OPENAI_API_KEY"], help="API key.", show_default=False)
    ] = "",
    model: Annotated[str, typer.Option(help="Model to ask. Default: the first that is listed.")] = "",
    source: Annotated[
        str, typer.Option(help="Hub name or folder of that model. Default: as the engine tells it.")
    ] = "",
    tp: Annotated[int, typer.Option("--tp", min=1, help="Tensor-parallel size of the engine.")] = 1,
    kv_cache_dtype: Annotated[str, typer.Option(help="Numbers of its KV cache: auto or fp8.")] = "auto",
    machine: Annotated[str, typer.Option(help="What the machine is, for the record.")] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write. Default: GPU.calibration.json here.")
    ] = None,
    watch: Annotated[
        float | None,
        typer.Option(min=1.0, metavar="SECONDS", help="Send nothing: read its metrics while it serves, for this long."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other prompts.")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Measure a live engine for about half a minute, and write what plan and engine need to predict it.

    The engine must be otherwise idle, unless --watch: then it is left to its own traffic, and only read. Prompts are
    random tokens; nothing is kept but times.
    """
    from penstock.facts import find_gpu  # noqa: PLC0415 — start-up time
    from penstock.simulate.io.calls import Target  # noqa: PLC0415 — start-up time
    from penstock.simulate.io.probe import find_served  # noqa: PLC0415 — start-up time
    from penstock.simulate.probe import Probed  # noqa: PLC0415 — start-up time

    try:
        row = find_gpu(gpu)
    except UsageError as error:
        other = "what is not listed is calibrated as the nearest GPU: times follow what is measured, memory does not"
        raise UsageError(error.message, hint=f"{error.hint}; {other}" if error.hint else other) from error
    path = out if out is not None else Path(f"{row.name}.calibration.json")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.absolute().parent}", hint="create it first")
    target = Target.of(url, key)
    served = asyncio.run(find_served(target, model))
    probed = Probed(
        model=_architecture(source, served),
        gpu=row,
        tensor_parallel=tp,
        kv_dtype=kv_cache_dtype,
        engine=served.version,
        machine=machine,
        made_on=datetime.now(UTC).date().isoformat(),
    )
    fit = _probe(target, served, probed, seed) if watch is None else _watch(target, served, probed, watch)
    _write(path, fit)
    if output is Output.JSON:
        print_json(_record(fit, served, path, row.name))
    else:
        _print(fit, served, path, row.name)


def _architecture(source: str, served: Served) -> Architecture:
    from penstock.cli.files import architecture_of  # noqa: PLC0415 — start-up time
    from penstock.plan import unknown_model  # noqa: PLC0415 — start-up time

    wanted = source or served.root
    found = architecture_of(wanted)
    if found.is_guess and not source:
        found = architecture_of(served.model)
    if found.is_guess:
        refusal = unknown_model(wanted)
        raise UsageError(refusal.message, hint=f"say what it is with --source: {refusal.hint}")
    return found


def _probe(target: Target, served: Served, probed: Probed, seed: int) -> Fit:
    from penstock.facts import engine_defaults  # noqa: PLC0415 — start-up time
    from penstock.simulate.io.probe import run_rounds  # noqa: PLC0415 — start-up time
    from penstock.simulate.probe import calibrate as fit_to  # noqa: PLC0415 — start-up time
    from penstock.simulate.probe import measure, plan_rounds  # noqa: PLC0415 — start-up time

    rounds = plan_rounds(served.context or probed.model.context, engine_defaults(probed.gpu).max_num_seqs)
    with _progress() as progress:
        task = progress.add_task(f"probing {served.model}", total=len(rounds))
        results = asyncio.run(
            run_rounds(
                target,
                served.model,
                rounds,
                vocab=probed.model.vocab,
                seed=seed,
                on_round=lambda _: progress.advance(task),
            )
        )
    return fit_to(measure(results), probed, name=_name(probed))


def _watch(target: Target, served: Served, probed: Probed, seconds: float) -> Fit:
    from penstock.simulate.io.probe import WATCH_EVERY_S, watch  # noqa: PLC0415 — start-up time
    from penstock.simulate.probe import calibrate as fit_to  # noqa: PLC0415 — start-up time
    from penstock.simulate.watching import measured_of  # noqa: PLC0415 — start-up time

    with _progress() as progress:
        task = progress.add_task(f"watching {served.model}", total=seconds / WATCH_EVERY_S)
        readings = asyncio.run(watch(target, seconds, on_reading=lambda: progress.advance(task)))
    return fit_to(measured_of(readings), probed, name=_name(probed), how=f"{seconds:g} s of metrics read")


def _name(probed: Probed) -> str:
    return f"{probed.gpu.name.lower()}-calibrated-{probed.made_on}"


def _progress() -> Progress:
    from rich.progress import Progress  # noqa: PLC0415 — start-up time

    return Progress(console=stderr_console(), transient=True)


def _write(path: Path, fit: Fit) -> None:
    try:
        path.write_text(fit.calibration.to_json(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def _rows(fit: Fit) -> list[tuple[str, float, float, float]]:
    """Each round in words, with milliseconds as measured, as predicted before and as predicted now."""
    return [(_words(m), _ms(m.seconds), _ms(before), _ms(after)) for m, before, after in fit.rows]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _words(measured: Measured) -> str:
    if measured.kind == "prefill":
        return f"first token of a prompt of {measured.tokens:,}"
    return f"decode step, {measured.requests} at once, context {measured.tokens:,}"


def _print(fit: Fit, served: Served, path: Path, gpu: str) -> None:
    print_table(("round", "measured ms", "predicted ms", "now ms"), _rows(fit))
    print_text(f"median error {fit.error_before:.1%} before, {fit.error_after:.1%} now")
    print_text(f"{path}: calibration {fit.calibration.name} of {served.model} on {gpu}")
    for words in _doubts(fit, gpu):
        say(words)
    say(f"use it: penstock plan … --calibration {gpu}={path}")


def _doubts(fit: Fit, gpu: str) -> list[str]:
    """What makes the figures doubtful, in words."""
    doubts = []
    if fit.is_far:
        doubts.append(
            f"{fit.slowness:.0f} times slower than the data sheet of the {gpu} allows: is it on one, and is it idle?"
            " The calibration follows what was measured; memory is still planned as the GPU's"
        )
    if fit.error_after > _DOUBTFUL:
        doubts.append(
            f"half of the figures are more than {fit.error_after:.0%} off even so: something else was busy there. Probe"
            " again while engine and machine are idle"
        )
    return doubts


def _record(fit: Fit, served: Served, path: Path, gpu: str) -> dict[str, object]:
    names = ("round", "measured_ms", "predicted_before_ms", "predicted_ms")
    return {
        "file": str(path),
        "name": fit.calibration.name,
        "model": served.model,
        "engine": served.version,
        "rounds": [dict(zip(names, row, strict=True)) for row in _rows(fit)],
        "median_error_before": round(fit.error_before, 4),
        "median_error": round(fit.error_after, 4),
        "slowness": round(fit.slowness, 2),
        "doubts": _doubts(fit, gpu),
    }
