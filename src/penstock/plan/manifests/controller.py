"""The controller in a cluster: it keeps the fleet as the Fleet object says. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.names import component_labels, dns_name
from penstock.plan.manifests.site import ADMIN_PORT, Site
from penstock.plan.manifests.workload import container_security, pod_settings, probes, scratch_volume

__all__ = ["SCALER_PORT", "render_controller"]

SCALER_PORT = 6000
"""Where the controller answers KEDA."""


def render_controller(site: Site) -> Iterator[Manifest]:
    """The controller's Deployment and Service, where the file asks for it."""
    if not site.has_controller:
        return
    yield _service(site)
    labels = component_labels(site.name, "controller", extra=site.kubernetes.labels)
    container = {
        "name": "controller",
        "image": site.image,
        "args": ["controller", "--fleet", site.name, *_addresses()],
        "env": [
            {"name": "PENSTOCK_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 — a volume of the pod's own
        ],
        "ports": [
            {"name": "metrics", "containerPort": ADMIN_PORT, "protocol": "TCP"},
            {"name": "scaler", "containerPort": SCALER_PORT, "protocol": "TCP"},
        ],
        **probes("metrics"),
        "resources": {
            "requests": {"cpu": "100m", "memory": "512Mi"},
            "limits": Because({"memory": "512Mi"}, "No CPU limit: it works in bursts, and late decisions cost more."),
        },
        "securityContext": container_security(),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 — a volume of the pod's own
    }
    pod = {**pod_settings(site, "controller", reads_api=True), "containers": [container], "volumes": [scratch_volume()]}
    yield Manifest(
        body={
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": site.metadata("controller", dns_name(site.name, "controller")),
            "spec": {
                "replicas": Because(1, "One decides. While it restarts, everything runs on as it is."),
                "revisionHistoryLimit": 3,
                "strategy": {"type": Because("Recreate", "Never two at once, so it needs no election.")},
                "selector": {"matchLabels": site.selector("controller")},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        wave=Wave.SERVE,
        file="controller",
    )


def _addresses() -> list[str]:
    return ["--listen", f"0.0.0.0:{ADMIN_PORT}", "--scaler", f"0.0.0.0:{SCALER_PORT}"]


def _service(site: Site) -> Manifest:
    ports = [("metrics", ADMIN_PORT), ("scaler", SCALER_PORT)]
    return Manifest(
        body={
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": site.metadata("controller", dns_name(site.name, "controller")),
            "spec": {
                "type": "ClusterIP",
                "selector": site.selector("controller"),
                "ports": [{"name": n, "port": p, "targetPort": n, "protocol": "TCP"} for n, p in ports],
            },
        },
        wave=Wave.SERVE,
        file="controller",
        heading="Metrics for Prometheus, the forecast for KEDA.",
    )
