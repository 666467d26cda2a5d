"""The restricted pod security standard, for pods of engines and download Jobs, which nobody logs into. Pure."""

from __future__ import annotations

from typing import Any

from penstock.plan.manifests.manifest import Because

__all__ = ["USER", "container_security", "pod_security"]

USER = 65532
"""The user `nonroot` of slim images: a number, because a name cannot be checked before the start."""


def pod_security() -> dict[str, Any]:
    """`securityContext` of the pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": Because(USER, "Volumes are this group's, so that a pull can write them without being root."),
        "fsGroupChangePolicy": Because("OnRootMismatch", "Else each start would walk through all files of the volume."),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """`securityContext` of a container: what it must write is mounted, nothing else can be."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
