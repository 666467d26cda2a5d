"""The gateway in a cluster: Deployment, Service, its configuration, how many there are. Pure.

The fleet file is a ConfigMap, mounted as a folder together with the keys: the gateway watches both and takes a change
without a restart, so that no stream ends because a limit was edited. What it only reads at its start is an annotation
of its pods and does restart them, one at a time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

from penstock.plan.manifests.calibrations import config_items, config_texts
from penstock.plan.manifests.keys import (
    CONFIG_FOLDER,
    SECRETS_FOLDER,
    SECRETS_VARIABLE,
    env_secret,
    keys_by_secret,
    keys_from_env,
)
from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.names import component_labels, dns_name
from penstock.plan.manifests.probes import ending_of
from penstock.plan.manifests.quantities import canonical
from penstock.plan.manifests.site import ADMIN_PORT, GATEWAY_PORT, Site
from penstock.plan.manifests.store import state_env, state_mount, state_volume
from penstock.plan.manifests.workload import container_security, pod_settings, probes, scratch_volume, spread

__all__ = ["drain_s", "gateway_notes", "grace_s", "render_gateway"]

_LEAVE_S = 10
"""Seconds between the decision to end a pod and its SIGTERM: proxies and load balancers hear of it by then."""
_FLUSH_S = 10
"""Seconds after the drain: last bytes leave (2 s at most), logs are written, a slow node has slack."""
_FILE = "gateway"


def drain_s(site: Site) -> tuple[int, str]:
    """Seconds that requests in flight get when a gateway ends, and why: as the file says, else as long as any engine
    lets them finish, because a stream needs both."""
    timeouts = site.fleet.spec.gateway.timeouts
    stated = math.ceil(timeouts.drain_s)
    if "drain_s" in timeouts.model_fields_set:
        return stated, "as `timeouts.drainS` says"
    longest, model = _longest(site)
    if longest <= stated:
        return stated, "the default of `timeouts.drainS`"
    return longest, f"as the engines of {model} give them; `timeouts.drainS` changes it"


def sleep_s(site: Site) -> int:
    """Seconds that a pod waits before it is told to end: what the gateway does not wait by itself afterwards."""
    return max(0, _LEAVE_S - _close_delay_s(site))


def grace_s(site: Site) -> int:
    """Seconds from the decision to end a gateway's pod to its kill."""
    return max(_LEAVE_S, _close_delay_s(site)) + drain_s(site)[0] + _FLUSH_S


def _close_delay_s(site: Site) -> int:
    return math.ceil(site.fleet.spec.gateway.timeouts.close_delay_s)


def gateway_notes(site: Site) -> Iterator[str]:
    """A drain that cuts what engines would have finished."""
    seconds, (longest, model) = drain_s(site)[0], _longest(site)
    if seconds < longest:
        yield (
            f"a gateway that is replaced ends requests after {seconds} s, while those of {model} may take {longest} s: "
            f"they are cut in each rollout of the gateway; say `timeouts: {{drainS: {longest}}}`"
        )


def _longest(site: Site) -> tuple[int, str]:
    """Seconds that the most patient engines give running requests at their end, and whose they are."""
    endings = [(ending_of(site, needs), model) for model, needs in site.needs.items()]
    found = [(ending.stop_s or ending.sleep_s, model) for ending, model in endings]
    return max(found, key=lambda entry: entry[0], default=(0, ""))


def render_gateway(site: Site) -> Iterator[Manifest]:
    """Everything of the gateway but its rights and its way out."""
    yield _fleet_file(site)
    yield _service(site)
    yield _deployment(site)
    yield _budget(site)
    scale = site.fleet.spec.gateway.scale
    if scale.max_replicas > scale.min_replicas:
        yield _autoscaler(site)


def _name(site: Site) -> str:
    return dns_name(site.name, "gateway")


def _fleet_file(site: Site) -> Manifest:
    return Manifest(
        body={
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": site.metadata("gateway", dns_name(site.name, "fleet")),
            "data": {"fleet.yaml": site.text, **config_texts(site.calibrations)},
        },
        wave=Wave.STORE,
        file=_FILE,
        heading="The fleet file as the gateway reads it. Its name stays: the gateway takes a change within two minutes "
        "(the kubelet's, mostly) and keeps the last good one if the new one is wrong.",
    )


def _service(site: Site) -> Manifest:
    ports = [("http", GATEWAY_PORT), ("admin", ADMIN_PORT)]
    return Manifest(
        body={
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": site.metadata("gateway", _name(site)),
            "spec": {
                "type": "ClusterIP",
                "selector": site.selector("gateway"),
                "ports": [{"name": n, "port": p, "targetPort": n, "protocol": "TCP"} for n, p in ports],
            },
        },
        wave=Wave.SERVE,
        file=_FILE,
        heading=f"Clients inside the cluster use http://{_name(site)}.{site.namespace}.svc:{GATEWAY_PORT}/v1.",
    )


def _deployment(site: Site) -> Manifest:
    scale = site.fleet.spec.gateway.scale
    is_scaled = scale.max_replicas > scale.min_replicas
    count = {} if is_scaled else {"replicas": scale.min_replicas}
    strategy = {"maxSurge": 1, "maxUnavailable": Because(0, "A new one is ready before an old one drains.")}
    return Manifest(
        body={
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": site.metadata("gateway", _name(site)),
            "spec": {
                **count,
                "revisionHistoryLimit": 3,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": strategy},
                "selector": {"matchLabels": site.selector("gateway")},
                "template": {"metadata": _pod_metadata(site), "spec": _pod(site)},
            },
        },
        wave=Wave.SERVE,
        file=_FILE,
        heading="Tells tenants apart, queues, routes, retries."
        + (" The number of replicas is left to the autoscaler below." if is_scaled else ""),
    )


def _pod_metadata(site: Site) -> dict[str, Any]:
    labels = component_labels(site.name, "gateway", extra=site.kubernetes.labels)
    gateway = site.fleet.spec.gateway
    settings = {"accessLog": gateway.access_log}
    if gateway.store is not None:
        settings["store.url"] = gateway.store.url
    if gateway.limits.url is not None:
        settings["limits.url"] = gateway.limits.url
    if site.calibrations:
        settings["hardware.calibrations"] = "\0".join(config_texts(site.calibrations).values())
    at_start = hashlib.sha256("\0".join(settings.values()).encode()).hexdigest()[:8]
    named = ", ".join(f"`{name}`" for name in settings)
    reason = f"Changes, and so restarts the pods, with the settings that are read at the start alone ({named})."
    return {"labels": labels, "annotations": {"penstock.dev/read-at-start": Because(at_start, reason)}}


def _pod(site: Site) -> dict[str, Any]:
    seconds, why = drain_s(site)
    delay_s = _close_delay_s(site)
    leaving = f"{sleep_s(site)} s before the signal" + (f", {delay_s} s until the port closes" if delay_s else "")
    grace = f"{leaving}, {seconds} s for requests in flight, {why}; {_FLUSH_S} s to flush."
    return {
        **pod_settings(site, "gateway", reads_api=True),
        "terminationGracePeriodSeconds": Because(grace_s(site), grace),
        "topologySpreadConstraints": spread(site, "gateway"),
        "containers": [_container(site)],
        "volumes": [_configuration(site), scratch_volume(), *state_volume()],
    }


def _container(site: Site) -> dict[str, Any]:
    file = f"{CONFIG_FOLDER}/fleet.yaml"
    listen = ["--listen", f"0.0.0.0:{GATEWAY_PORT}", "--admin", f"0.0.0.0:{ADMIN_PORT}"]
    return {
        "name": "gateway",
        "image": site.image,
        "args": ["gateway", file, *listen, "--drain", str(drain_s(site)[0]), "--discover", "kubernetes"],
        "env": _env(site),
        "ports": [
            {"name": "http", "containerPort": GATEWAY_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
        ],
        **probes(),
        **_lifecycle(site),
        "resources": _resources(site),
        "securityContext": container_security(),
        "volumeMounts": [
            {
                "name": "configuration",
                "mountPath": Because(CONFIG_FOLDER, "The folder, not a `subPath` of it: those never see a change."),
                "readOnly": True,
            },
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 — a volume of the pod's own
            *state_mount(),
        ],
    }


def _lifecycle(site: Site) -> dict[str, Any]:
    seconds = sleep_s(site)
    if not seconds:
        return {}  # the gateway itself takes requests for as long
    reason = "Requests still come until every proxy has heard of the end."
    return {"lifecycle": {"preStop": {"sleep": {"seconds": Because(seconds, reason)}}}}


def _resources(site: Site) -> dict[str, Any]:
    scale = site.fleet.spec.gateway.scale
    memory = canonical(scale.memory)
    reason = "No CPU limit: a throttled event loop stalls every stream at once; the request is what scaling goes by."
    return {
        "requests": {"cpu": canonical(scale.cpu), "memory": memory},
        "limits": Because({"memory": memory}, reason),
    }


def _env(site: Site) -> list[dict[str, Any]]:
    secret = env_secret(site.fleet)
    return [
        {"name": SECRETS_VARIABLE, "value": SECRETS_FOLDER},
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 — a volume of the pod's own
        *state_env(),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}
            for name in keys_from_env(site.fleet)
        ),
    ]


def _configuration(site: Site) -> dict[str, Any]:
    """One volume, so that the file and the keys it names change together."""
    items = [{"key": "fleet.yaml", "path": "fleet.yaml"}, *config_items(site.calibrations)]
    config = {"name": dns_name(site.name, "fleet"), "items": items}
    secrets = [
        {"secret": {"name": name, "items": [{"key": key, "path": f"secrets/{name}/{key}"} for key in keys]}}
        for name, keys in keys_by_secret(site.fleet).items()
    ]
    mode = Because(0o440, "0440: read by the pod's own user and group.")
    return {"name": "configuration", "projected": {"defaultMode": mode, "sources": [{"configMap": config}, *secrets]}}


def _budget(site: Site) -> Manifest:
    return Manifest(
        body={
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": site.metadata("gateway", _name(site)),
            "spec": {
                "maxUnavailable": Because(1, "Node drains take one at a time and are never blocked for good."),
                "unhealthyPodEvictionPolicy": Because(
                    "AlwaysAllow", "A pod that is not ready serves nobody and must not hold a drain up."
                ),
                "selector": {"matchLabels": site.selector("gateway")},
            },
        },
        wave=Wave.SERVE,
        file=_FILE,
    )


def _autoscaler(site: Site) -> Manifest:
    scale = site.fleet.spec.gateway.scale
    cpu = {"type": "Utilization", "averageUtilization": scale.cpu_percent}
    down = {
        "stabilizationWindowSeconds": 300,
        "policies": [{"type": "Pods", "value": Because(1, "Each one that goes drains first."), "periodSeconds": 60}],
    }
    return Manifest(
        body={
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": site.metadata("gateway", _name(site)),
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": _name(site)},
                "minReplicas": scale.min_replicas,
                "maxReplicas": scale.max_replicas,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": cpu}}],
                "behavior": {"scaleDown": down},
            },
        },
        wave=Wave.SERVE,
        file=_FILE,
        heading="The gateway's work is CPU: bytes relayed. Engines scale by their own signal.",
    )
