"""Options that the commands of a cluster share: which cluster, which namespace."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["AllClusters", "ClusterName", "ContextName", "FleetFile", "NamespaceName"]

FleetFile = Annotated[str, typer.Argument(metavar="FILE", help="Fleet file; `-` reads stdin.")]
ContextName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Context of the kubeconfig. Default: the file's, else the current.")
]
NamespaceName = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAME", help="Namespace. Default: the file's, else the context's."),
]
ClusterName = Annotated[str | None, typer.Option(metavar="NAME", help="One of `spec.clusters`.")]
AllClusters = Annotated[bool, typer.Option("--all-clusters", help="Every one of `spec.clusters`, in turn.")]
