"""`penstock wait FILE`: until a fleet in a cluster is ready, rolled out or gone.

Exit codes: 0 it is, 1 it is not in time or something failed (the reasons are said), 2 wrong use.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.kube_options import ClusterName, ContextName, FleetFile, NamespaceName
from penstock.cli.output import Output, OutputOption, print_json, say

if TYPE_CHECKING:
    from penstock.operate.io.kubernetes.waiting import Waited

__all__ = ["register"]

_Option = typer.Option


class For(StrEnum):
    """What is waited for."""

    READY = "ready"
    ROLLED_OUT = "rolled-out"
    DELETED = "deleted"


def register(app: typer.Typer) -> None:
    """Adds `wait` to the command line."""
    app.command()(wait)


def wait(
    file: FleetFile,
    *,
    what: Annotated[
        For,
        _Option("--for", help="`ready`: volumes, downloads and replicas; `rolled-out`: replicas only; `deleted`."),
    ] = For.READY,
    timeout: Annotated[float, _Option(min=0.0, metavar="S", help="Longest wait, seconds.")] = 3600.0,
    context: ContextName = None,
    namespace: NamespaceName = None,
    cluster: ClusterName = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Wait until a fleet in a cluster is ready, rolled out or deleted; else say what is missing and why."""
    from penstock.cli.kube_target import in_loop, places  # noqa: PLC0415 — start-up time
    from penstock.cli.kube_wait import waited_for  # noqa: PLC0415 — start-up time

    (place,) = places(file, context=context, namespace=namespace, cluster=cluster, all_clusters=False)
    found = in_loop(lambda: waited_for(place, what.value, timeout), resumes="Nothing was changed.")
    if output is Output.JSON:
        print_json(_record(found))
    for row in found.unready:
        say(f"{row.ref.short} is not {what.value}: {row.readiness.state}: {row.readiness.reason}")
    if not found.is_ready:
        say(f"not {what.value} after {timeout:g} s" if found.is_timeout else "something failed")
        raise typer.Exit(1)
    say(f"it is {what.value}")


def _record(found: Waited) -> dict[str, object]:
    rows = [
        {"kind": row.ref.kind, "name": row.ref.name, "state": row.readiness.state, "reason": row.readiness.reason}
        for row in found.rows
    ]
    return {"is_ready": found.is_ready, "is_timeout": found.is_timeout, "objects": rows}
