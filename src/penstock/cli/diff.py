"""`penstock diff FILE`: what an apply would change, field by field. Changes nothing.

Exit codes, as `kubectl diff` has them: 0 nothing would change, 1 something would, 2 it cannot be said (the file is
wrong, the cluster cannot be asked, or it refuses an object).
"""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.kube_options import AllClusters, ClusterName, ContextName, FleetFile, NamespaceName
from penstock.cli.output import Output, OutputOption, print_error
from penstock.errors import PenstockError

__all__ = ["register"]

_Option = typer.Option


def register(app: typer.Typer) -> None:
    """Adds `diff` to the command line."""
    app.command()(diff)


def diff(
    file: FleetFile,
    *,
    context: ContextName = None,
    namespace: NamespaceName = None,
    cluster: ClusterName = None,
    all_clusters: AllClusters = False,
    force_conflicts: Annotated[
        bool, _Option("--force-conflicts", help="As if fields of other managers were taken.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what an apply would change, as a unified diff: the live object against what the API server would make of it.

    Values of Secrets and keys are hidden. Exit code 0: nothing would change, 1: something would, 2: it failed.
    """
    from penstock.cli.kube_apply import run_diff  # noqa: PLC0415 — start-up time
    from penstock.cli.kube_target import places  # noqa: PLC0415 — start-up time
    from penstock.operate.apply.planning import Options  # noqa: PLC0415 — start-up time

    try:
        found = places(file, context=context, namespace=namespace, cluster=cluster, all_clusters=all_clusters)
        code = run_diff(found, Options(is_forced=force_conflicts), is_json=output is Output.JSON)
    except PenstockError as error:
        print_error(error)
        raise typer.Exit(2) from None
    if code:
        raise typer.Exit(code)
