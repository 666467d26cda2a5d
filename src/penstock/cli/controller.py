"""`penstock controller`: keeps the Fleets of a namespace as they say. Runs in the cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.output import say

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds `controller` to the command line."""
    app.command()(controller)


def controller(
    *,
    namespace: Annotated[
        str | None,
        typer.Option(envvar="PENSTOCK_NAMESPACE", metavar="NAME", help="Namespace to keep. Default: the context's."),
    ] = None,
    fleet: Annotated[str | None, typer.Option(metavar="NAME", help="Keep this Fleet only. Default: all of it.")] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where probes and metrics are answered; port 0: any free one.")
    ] = "127.0.0.1:8081",
    scaler: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Where KEDA is answered (scaling `via: penstock`); port 0: nowhere."),
    ] = "127.0.0.1:0",
) -> None:
    """Keep the Fleets of a namespace as they say: apply, watch, mend, report. SIGTERM ends it; nothing stops with it.

    It decides from what is in the cluster alone, so it may be restarted at any time.
    """
    from penstock.cli.controller_run import run_controller  # noqa: PLC0415 — start-up time

    run_controller(namespace=namespace, fleet=fleet, listen=listen, scaler=scaler)
    say("stopped")
