"""What the pods of the gateway and of the controller share: security, spread, probes. Pure."""

from __future__ import annotations

from typing import Any

from penstock.plan.manifests.manifest import Because
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.site import Site

__all__ = [
    "USER",
    "container_security",
    "pod_settings",
    "probes",
    "scratch_volume",
    "spread",
]

USER = 65532
"""The user `nonroot` of slim images: a number, because a name cannot be checked before the start."""
_ZONE, _HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"


def pod_settings(site: Site, component: str, *, reads_api: bool) -> dict[str, Any]:
    """The fields of a pod's spec that are the same for both."""
    pulls = {"imagePullSecrets": [{"name": name} for name in site.kubernetes.image_pull_secrets]}
    return {
        "priorityClassName": Because(
            "penstock-serving", "As high as the engines behind it, which would else take its place on a full node."
        ),
        "serviceAccountName": dns_name(site.name, component),
        "automountServiceAccountToken": Because(reads_api, "The token reads what its Role allows, nothing else."),
        "enableServiceLinks": Because(
            False, "Else a Service called `penstock` would set PENSTOCK_ variables, which mean something else to us."
        ),
        **(pulls if site.kubernetes.image_pull_secrets else {}),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": Because(USER, "Mounted keys belong to this group and are read by nobody else."),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def container_security() -> dict[str, Any]:
    """The `restricted` pod security standard, and a root file system that nobody can write to."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def spread(site: Site, component: str) -> list[dict[str, Any]]:
    """Replicas apart from each other, as far as there are hosts and zones."""

    def over(key: str) -> dict[str, Any]:
        return {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": site.selector(component)},
            "matchLabelKeys": ["pod-template-hash"],
        }

    reason = "A wish, not a must: on a cluster with one host or zone the replicas still start."
    return [{**over(_HOST), "maxSkew": Because(1, reason)}, over(_ZONE)]


def probes(port: str = "admin") -> dict[str, Any]:
    """On the admin port, which answers while the client port is full or drains."""

    def ask(path: str) -> dict[str, Any]:
        return {"path": path, "port": port}

    return {
        "startupProbe": {
            "httpGet": ask("/healthz"),
            "periodSeconds": 1,
            "failureThreshold": Because(60, "It starts within a second or two; a slow disk is given a minute."),
        },
        "readinessProbe": {
            "httpGet": Because(
                ask("/readyz"),
                "Engines do not matter here: without any it still answers clients, and wakes what sleeps.",
            ),
            "periodSeconds": 5,
            "timeoutSeconds": 2,
        },
        "livenessProbe": {
            "httpGet": Because(ask("/healthz"), "Answers while the event loop turns."),
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": Because(6, "A minute of silence: under full load a late answer is no reason to die."),
        },
    }


def scratch_volume() -> dict[str, Any]:
    return {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}
