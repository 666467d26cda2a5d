"""`penstock gateway FILE`: the gateway alone, in front of engines that run elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.output import Output, OutputOption
from penstock.cli.state import StateOption

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds `gateway` to the command line."""
    app.command()(gateway)


def gateway(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Fleet file; `-` reads stdin.")],
    *,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where clients connect; port 0: any free one. Default: the file's."),
    ] = None,
    admin: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where metrics and the dashboard are. Default: the file's."),
    ] = None,
    drain: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Time for requests in flight at the end. Default: the file's."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Take changes of the file while it runs.")] = True,
    discover: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="Who tells the engines of models without `endpoints`: `kubernetes`, `off`, `auto` (the cluster "
            "around it, if any), or an API server's address, as `kubectl proxy` gives one.",
        ),
    ] = "auto",
    calibration: Annotated[
        list[str] | None,
        typer.Option(metavar="GPU=FILE", help="Times of this GPU as `penstock calibrate` measured them, for routing."),
    ] = None,
    takeover: Annotated[
        bool,
        typer.Option(
            "--takeover",
            help="Start beside the gateway that has the port and take all connections that begin from now on; then "
            "tell the other one SIGTERM, and no request is lost. Same user, Linux. The admin port is taken when the "
            "other one is gone.",
        ),
    ] = False,
    state_dir: StateOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run the gateway alone, in front of `endpoints` that the file names or its cluster tells. Starts no engine.

    SIGHUP, a change of the file or `POST /api/v1/reload` reloads it; SIGTERM drains and stops, a second one stops at
    once. The access log
    goes to stdout, after the line that `--output json` prints, unless the file says otherwise.
    """
    from penstock.cli.front_door import Listeners  # noqa: PLC0415 — start-up time
    from penstock.cli.gateway_run import GatewayOptions, run_gateway  # noqa: PLC0415 — start-up time

    listeners = Listeners(
        listen=listen, admin=admin, drain_s=drain, calibrations=tuple(calibration or ()), state_dir=state_dir
    )
    options = GatewayOptions(
        file=file, listeners=listeners, is_watching=watch, takes_over=takeover, is_json=output is Output.JSON
    )
    run_gateway(options, discover=discover)
