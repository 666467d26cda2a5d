"""`penstock apply FILE`: makes the cluster as the file says, shows what changes, waits until all is ready.

Exit codes: 0 it is as the file says, 1 something failed, is in conflict or is not ready in time, 2 the file or the
command line is wrong, or something would be deleted and nobody is there to ask; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.kube_options import AllClusters, ClusterName, ContextName, FleetFile, NamespaceName
from penstock.cli.output import Output, OutputOption

__all__ = ["register"]

_Option = typer.Option


def register(app: typer.Typer) -> None:
    """Adds `apply` to the command line."""
    app.command()(apply)


def apply(
    file: FleetFile,
    *,
    context: ContextName = None,
    namespace: NamespaceName = None,
    cluster: ClusterName = None,
    all_clusters: AllClusters = False,
    dry_run: Annotated[bool, _Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    yes: Annotated[bool, _Option("--yes", "-y", help="Do not ask before something is deleted.")] = False,
    force_conflicts: Annotated[
        bool, _Option("--force-conflicts", help="Take fields that another manager owns.")
    ] = False,
    replace: Annotated[
        bool, _Option("--replace", help="Delete and make again what cannot be changed: Jobs that are done, bindings.")
    ] = False,
    prune: Annotated[bool, _Option("--prune/--no-prune", help="Delete what the file asks for no more.")] = True,
    prune_volumes: Annotated[
        bool, _Option("--prune-volumes", help="Delete volumes too that the file asks for no more, and their data.")
    ] = False,
    wait: Annotated[bool, _Option("--wait/--no-wait", help="Wait until each wave is ready.")] = True,
    timeout: Annotated[float, _Option(min=0.0, metavar="S", help="Longest wait, seconds.")] = 3600.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a cluster as the file says: server-side apply, in order, each wave ready before the next.

    Run it again after an interruption: it goes on from what is there. What is as it should be is not written.
    """
    from penstock.cli.kube_apply import ApplyWishes, run_apply  # noqa: PLC0415 — start-up time
    from penstock.cli.kube_target import places  # noqa: PLC0415 — start-up time
    from penstock.operate.apply.planning import Options  # noqa: PLC0415 — start-up time

    found = places(file, context=context, namespace=namespace, cluster=cluster, all_clusters=all_clusters)
    options = Options(is_forced=force_conflicts, may_replace=replace, is_pruning=prune, prunes_volumes=prune_volumes)
    wishes = ApplyWishes(
        options=options, is_dry_run=dry_run, is_agreed=yes, wait_s=timeout if wait else None, shown=file
    )
    code = run_apply(found, wishes, is_json=output is Output.JSON)
    if code:
        raise typer.Exit(code)
