"""`penstock up FILE`: the whole fleet on this machine, in the foreground: engines, gateway, admin port, dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.output import Output, OutputOption
from penstock.cli.state import StateOption

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds `up` to the command line."""
    app.command()(up)


def up(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Fleet file.")],
    *,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where clients connect; port 0: any free one. Default: the file's."),
    ] = None,
    admin: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where metrics and the dashboard are. Default: the file's."),
    ] = None,
    state_dir: StateOption = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Take changes of the file while it runs.")] = True,
    calibration: Annotated[
        list[str] | None,
        typer.Option(metavar="GPU=FILE", help="Times of this GPU as `penstock calibrate` measured them, for routing."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run a fleet on this machine: start its engines, put the gateway in front, restart what dies, roll what changes.

    Ctrl-C drains and stops; a second one stops at once.
    """
    from penstock.cli.front_door import Listeners  # noqa: PLC0415 — start-up time
    from penstock.cli.screens import JsonScreen, PeopleScreen  # noqa: PLC0415 — start-up time
    from penstock.cli.up_run import UpOptions, run_up  # noqa: PLC0415 — start-up time

    listeners = Listeners(listen=listen, admin=admin, calibrations=tuple(calibration or ()), state_dir=state_dir)
    options = UpOptions(file=file, listeners=listeners, is_watching=watch)
    run_up(options, JsonScreen() if output is Output.JSON else PeopleScreen())
