"""`penstock status FILE|NAME`: how a fleet in a cluster is: models, replicas, revisions, what is pending and why.

Exit codes: 0 all is ready, 1 something is not, or the fleet is not there, 2 wrong use.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.kube_options import ClusterName, ContextName, NamespaceName
from penstock.cli.output import Output, OutputOption, print_json, print_table, print_text, say

if TYPE_CHECKING:
    from penstock.operate.apply.fleet_status import FleetStatus, ModelStatus

__all__ = ["register"]

_Option = typer.Option


def register(app: typer.Typer) -> None:
    """Adds `status` to the command line."""
    app.command()(status)


def status(
    fleet: Annotated[str, typer.Argument(metavar="FILE|NAME", help="Fleet file, or the name of a fleet.")],
    *,
    context: ContextName = None,
    namespace: NamespaceName = None,
    cluster: ClusterName = None,
    watch: Annotated[bool, _Option("--watch", "-w", help="Show it again after each change, until Ctrl-C.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show how a fleet in a cluster is: ready replicas, revision, rollout, restarts, what is pending and why."""
    from penstock.cli.kube_name import Wanted, found_fleet, wanted_fleet  # noqa: PLC0415 — start-up time
    from penstock.cli.kube_target import in_loop  # noqa: PLC0415 — start-up time
    from penstock.operate.io.kubernetes.observing import read_status, watch_status  # noqa: PLC0415 — start-up time

    wanted: Wanted = wanted_fleet(fleet, context=context, namespace=namespace, cluster=cluster)

    async def look() -> FleetStatus:
        async with found_fleet(wanted) as here:
            if not watch:
                return await read_status(here.api, here.name, here.namespace, here.names)
            async for found in watch_status(here.api, here.name, here.namespace, here.names):
                _show(found, output)
            raise AssertionError("a watch does not end")

    found = in_loop(look)
    _show(found, output)
    if not found.is_there:
        say(f"there is no fleet {found.fleet} in namespace {found.namespace}")
    if not found.is_ready or not found.is_there:
        raise typer.Exit(1)


def _show(found: FleetStatus, output: Output) -> None:
    if output is Output.JSON:
        print_json(found)
        return
    columns = ("model", "ready", "revision", "rollout", "restarts", "age")
    now = datetime.now(UTC)
    parts = (*found.models, *found.parts)
    print_table(columns, [_row(row, now) for row in parts], title=f"fleet {found.fleet} in namespace {found.namespace}")
    for row in parts:
        for words in (row.reason, row.scaler):
            if words:
                print_text(f"  {row.workload}: {words}")
        for pod in row.pending:
            print_text(f"  pod {pod.name}: {pod.reason}")
    for line in found.storage:
        print_text(f"  {line}")
    if found.events:
        print_text("last warnings:")
        for line in found.events:
            print_text(f"  {line}")


def _row(row: ModelStatus, now: datetime) -> tuple[object, ...]:
    name = row.name if row.component == "engine" else f"({row.component})"
    return (name, f"{row.ready}/{row.desired}", row.revision, row.rollout, row.restarts, _age(row.since, now))


def _age(since: str, now: datetime) -> str:
    """As kubectl shows it: in its largest unit."""
    try:
        seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    except (ValueError, TypeError):
        return "?"
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
