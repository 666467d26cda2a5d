"""Priority classes: what serves people above what can wait. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.site import Site

__all__ = ["render_priority_classes"]

_SERVING, _BATCH = 100_000, 1_000
"""Above 0, which pods without a class have; far below a billion, where the cluster's own begin."""


def render_priority_classes(site: Site) -> Iterator[Manifest]:
    """The two classes, unless the file says that they are there."""
    if not site.kubernetes.priority_classes:
        return
    yield _class(
        "penstock-serving",
        Because(
            _SERVING, "Above batch work and above pods without a class; a class can't be changed once it is there."
        ),
        "PreemptLowerPriority",
        "Engines that serve people: take GPUs from batch work when there are too few.",
    )
    yield _class(
        "penstock-batch",
        Because(_BATCH, "Below serving."),
        "Never",
        "Engines whose work can wait: give way, and never take GPUs from others.",
    )


def _class(name: str, value: Because, preemption: str, description: str) -> Manifest:
    labels = {
        "app.kubernetes.io/managed-by": Because(
            "penstock", "Not labelled as this fleet's: all fleets of the cluster share it, so none of them prunes it."
        )
    }
    return Manifest(
        body={
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name, "labels": labels},
            "value": value,
            "preemptionPolicy": preemption,
            "description": description,
        },
        wave=Wave.CLUSTER,
        file="priority",
    )
