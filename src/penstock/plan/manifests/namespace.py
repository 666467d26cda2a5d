"""The fleet's namespace, with the pod security level that its pods keep. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.site import Site

__all__ = ["render_namespace"]

_LEVEL = "pod-security.kubernetes.io"


def render_namespace(site: Site) -> Iterator[Manifest]:
    """The namespace, unless it is `default`, which is always there and others' too."""
    if site.namespace == "default":
        return
    labels = {
        "app.kubernetes.io/managed-by": Because(
            "penstock", "Not labelled as this fleet's: others may live here, so it is never pruned with a fleet."
        ),
        f"{_LEVEL}/enforce": Because("restricted", "A pod that asks for more than the fleet's own do is refused."),
        f"{_LEVEL}/warn": "restricted",
    }
    yield Manifest(
        body={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.namespace, "labels": labels}},
        wave=Wave.CLUSTER,
        file="namespace",
    )
