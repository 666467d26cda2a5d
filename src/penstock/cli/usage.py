"""`penstock usage`: who used how much, from the ledger.

Works on the store itself and the journals of this machine, so it needs no running gateway.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from penstock.cli.state import StateOption

__all__ = ["UsageOutput", "register"]

_Option = typer.Option


class UsageOutput(StrEnum):
    """How use is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Adds `usage` to the command line."""
    app.command()(usage)


def usage(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Fleet file.")],
    *,
    by: Annotated[
        str, _Option(metavar="GROUPS", help="By any of tenant, key, model, day, class, outcome; commas between.")
    ] = "tenant",
    since: Annotated[
        str | None, _Option(metavar="DAY", help="First day (UTC), `2026-11-01` or `7d` back. Default: 30 days.")
    ] = None,
    until: Annotated[str | None, _Option(metavar="DAY", help="Last day. Default: today.")] = None,
    tenant: Annotated[str | None, _Option(metavar="NAME", help="Only this tenant's.")] = None,
    state_dir: StateOption = None,
    output: Annotated[
        UsageOutput, _Option("--output", "-o", help="A table for people, JSON or CSV for programs.")
    ] = UsageOutput.TABLE,
) -> None:
    """Tell who used how many tokens and how much money, by tenant, key, model or day."""
    from penstock.cli.usage_run import run_usage  # noqa: PLC0415 — start-up time

    run_usage(file, by=by, since=since, until=until, tenant=tenant, output=output, state_dir=state_dir)
