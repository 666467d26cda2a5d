"""What doctor reads of a live cluster: which kinds, how little of each object, whose logs, which Secrets by name. Pure.

Guarantees: what is kept of an object is what rules look at, so that ten thousand pods stay small; values of Secrets
have no place here. Leaves the asking to `operate/io/kubernetes/evidence.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.operate.doctor.evidence import Resource
from penstock.operate.doctor.pods import Pod, matches, pods_of

__all__ = ["EVENT_REASONS", "KINDS", "Kept", "Kind", "LogWanted", "logs_wanted", "of_fleet", "secrets_named"]

Object = dict[str, Any]
FLEET_LABEL = "penstock.dev/fleet"
LOGS_MAX = 40
"""Logs that are read: each is a request, and a fault shows in the first ones."""
_LOGS_OF_ONE_MAKER = 2
"""Pods of one workload whose logs are read: its replicas die of the same."""
_CONFIG_BYTES_MAX = 256 * 1024
"""Of one ConfigMap; dashboards of a megabyte say nothing to a rule."""
_CONFIGS_BYTES_MAX = 16 * 1024 * 1024
"""Of all ConfigMaps together; past it only their names are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind that is listed."""

    api_version: str
    name: str
    fields: str = ""
    """A field selector that leaves out what no rule asks for."""
    is_labelled: bool = False
    """Objects of a fleet carry its label, so the API server can choose them."""
    is_shared: bool = False
    """Read from all namespaces whichever is asked for: it stands in one of its own and acts on others."""


def _kinds(rows: str) -> tuple[Kind, ...]:
    found = []
    for row in rows.strip().splitlines():
        api_version, name, *rest = row.split()
        fields = next((word for word in rest if "=" in word), "")
        found.append(
            Kind(
                api_version=api_version,
                name=name,
                fields=fields,
                is_labelled="labelled" in rest,
                is_shared="shared" in rest,
            )
        )
    return tuple(found)


KINDS = _kinds("""
v1 Node
v1 Namespace
v1 Pod status.phase!=Succeeded labelled
v1 Event
v1 Service labelled
v1 ConfigMap labelled
v1 PersistentVolumeClaim labelled
v1 PersistentVolume
v1 ResourceQuota
apps/v1 Deployment labelled
apps/v1 ReplicaSet labelled
apps/v1 StatefulSet labelled
apps/v1 DaemonSet
batch/v1 Job labelled
batch/v1 CronJob labelled
autoscaling/v2 HorizontalPodAutoscaler
policy/v1 PodDisruptionBudget
discovery.k8s.io/v1 EndpointSlice labelled
networking.k8s.io/v1 NetworkPolicy
networking.k8s.io/v1 Ingress labelled
storage.k8s.io/v1 StorageClass
scheduling.k8s.io/v1 PriorityClass
node.k8s.io/v1 RuntimeClass
apiregistration.k8s.io/v1 APIService
keda.sh/v1alpha1 ScaledObject
monitoring.coreos.com/v1 Prometheus shared
monitoring.coreos.com/v1 ServiceMonitor labelled
monitoring.coreos.com/v1 PodMonitor labelled
monitoring.coreos.com/v1 PrometheusRule labelled
leaderworkerset.x-k8s.io/v1 LeaderWorkerSet labelled
gateway.networking.k8s.io/v1 HTTPRoute labelled
networking.istio.io/v1 VirtualService labelled
karpenter.sh/v1 NodePool
nvidia.com/v1 ClusterPolicy
penstock.dev/v1alpha1 Fleet
""")
"""In the order in which they are asked for. A kind that the cluster does not know is left out without a word."""

EVENT_REASONS = frozenset({
    "FailedScheduling", "Unhealthy", "Killing", "ProvisioningFailed", "FailedBinding", "FailedAttachVolume",
    "FailedMount", "SuccessfulRescale", "ScalingReplicaSet", "FailedCreate",
})  # fmt: skip
"""Reasons of events that a rule asks for; a busy cluster has a hundred times as many others."""


class Kept:
    """What is kept of each object. Owns the specs that pods of one maker share, and the room left for ConfigMaps."""

    def __init__(self) -> None:
        self._specs: dict[tuple[str, str, str], Object] = {}
        self._config_bytes = 0

    def of(self, obj: Object) -> Object | None:
        """The object without what no rule reads; None where nothing is left of it."""
        metadata = obj.get("metadata") or {}
        metadata.pop("managedFields", None)
        (metadata.get("annotations") or {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
        match obj.get("kind"):
            case "Secret":
                return None
            case "Event":
                return _event(obj)
            case "Pod":
                return self._pod(obj)
            case "ReplicaSet":
                return _replica_set(obj)
            case "Node":
                status = obj.get("status") or {}
                kept = {name: status[name] for name in ("allocatable", "capacity", "conditions") if name in status}
                return obj | {"status": kept}
            case "ConfigMap":
                return self._config(obj)
            case "EndpointSlice":
                endpoints = [{"conditions": e.get("conditions") or {}} for e in obj.get("endpoints") or ()]
                return obj | {"endpoints": endpoints}
            case _:
                return obj

    def _pod(self, pod: Object) -> Object:
        spec = pod.get("spec") or {}
        spec["volumes"] = [v for v in spec.get("volumes") or () if not v["name"].startswith("kube-api-access-")]
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            mounts = [m for m in container.get("volumeMounts") or () if not m["name"].startswith("kube-api-access-")]
            container["volumeMounts"] = mounts
        metadata = pod["metadata"]
        labels = metadata.get("labels") or {}
        owner = next((o for o in metadata.get("ownerReferences") or () if o.get("controller")), None)
        if owner is None:
            return pod
        template = str(labels.get("pod-template-hash") or labels.get("controller-revision-hash") or "")
        shared = self._specs.setdefault((owner["uid"], template, metadata.get("namespace", "")), spec)
        own = ("nodeName", "hostname", "schedulingGates")
        kept = {name: shared[name] for name in shared if name not in own}
        kept |= {name: spec[name] for name in own if name in spec}
        if spec["volumes"] != shared["volumes"]:  # a StatefulSet's claims are each pod's own
            kept["volumes"] = spec["volumes"]
        return pod | {"spec": kept}

    def _config(self, config: Object) -> Object:
        config.pop("binaryData", None)
        size = sum(len(str(text)) for text in (config.get("data") or {}).values())
        if size > _CONFIG_BYTES_MAX or self._config_bytes + size > _CONFIGS_BYTES_MAX:
            return config | {"data": {}}
        self._config_bytes += size
        return config


def _event(event: Object) -> Object | None:
    if event.get("reason") not in EVENT_REASONS:
        return None
    names = ("apiVersion", "kind", "reason", "message", "count", "series", "involvedObject", "lastTimestamp")
    metadata = {name: event["metadata"].get(name) for name in ("name", "namespace")}
    return {name: event[name] for name in names if name in event} | {"metadata": metadata}


def _replica_set(found: Object) -> Object | None:
    """Those of a Deployment's old revisions hold nothing."""
    if not found["metadata"].get("ownerReferences"):
        return found
    has_pods = (found.get("spec") or {}).get("replicas") or (found.get("status") or {}).get("replicas")
    return found if has_pods else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogWanted:
    """One container's log."""

    namespace: str
    pod: str
    container: str
    is_previous: bool = False
    """Of the run before: where it says why it died."""

    @property
    def title(self) -> str:
        return f"{self.namespace}/Pod/{self.pod} log of {self.container}{' before its restart' * self.is_previous}"


@dataclass(order=True, slots=True)
class _Patient:
    rank: int
    namespace: str
    pod: str
    container: str
    maker: str = field(compare=False)
    restarts: int = field(compare=False)
    is_running: bool = field(compare=False)


def logs_wanted(objects: Iterable[Mapping[str, Any]], most: int = LOGS_MAX) -> tuple[LogWanted, ...]:
    """Logs of containers that crash, ended badly, restarted or are not ready, the worst first; at most `most`, and two
    pods of one maker."""
    patients = sorted(patient for obj in objects if obj.get("kind") == "Pod" for patient in _patients(obj))
    taken: dict[tuple[str, str, str], int] = {}
    wanted: list[LogWanted] = []
    for patient in patients:
        key = (patient.namespace, patient.maker, patient.container)
        if taken.get(key, 0) >= _LOGS_OF_ONE_MAKER:
            continue
        taken[key] = taken.get(key, 0) + 1
        log = LogWanted(namespace=patient.namespace, pod=patient.pod, container=patient.container)
        if patient.restarts:
            wanted.append(replace(log, is_previous=True))
        if patient.is_running or not patient.restarts:
            wanted.append(log)
    return tuple(wanted[:most])


def _patients(pod: Mapping[str, Any]) -> Iterable[_Patient]:
    metadata, status = pod["metadata"], pod.get("status") or {}
    owners = metadata.get("ownerReferences") or ()
    maker = str(owners[0].get("uid") or owners[0].get("name")) if owners else str(metadata["name"])
    for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = each.get("state") or {}
        reason = (state.get("waiting") or {}).get("reason", "")
        ended = state.get("terminated") or {}
        restarts = int(each.get("restartCount") or 0)
        if "CrashLoop" in reason:
            rank = 0
        elif ended.get("exitCode"):
            rank = 1
        elif restarts:
            rank = 2
        elif "running" in state and not each.get("ready"):
            rank = 3
        else:
            continue
        yield _Patient(
            rank, metadata.get("namespace", ""), metadata["name"], each["name"], maker, restarts, "running" in state
        )


def secrets_named(resources: Iterable[Resource]) -> tuple[tuple[str, str], ...]:
    """Namespace and name of each Secret that a pod cannot start without, in order."""
    return tuple(sorted({key for resource in resources for pod in pods_of(resource) for key in _secrets(pod)}))


def _secrets(pod: Pod) -> Iterable[tuple[str, str]]:
    sources = [volume["secret"] for volume in pod.spec["volumes"]]
    names = [(source["secretName"], source) for source in sources]
    for container in pod.containers:
        refs = [env.at("valueFrom", "secretKeyRef") for env in container.env_nodes]
        refs += [source["secretRef"] for source in container.node["envFrom"]]
        names += [(ref["name"], ref) for ref in refs]
    for name, source in names:
        if name.text and source["optional"].value is not True:
            yield pod.resource.namespace, name.text


def of_fleet(resources: Sequence[Resource], fleet: str) -> tuple[Resource, ...]:
    """What belongs to a fleet or acts on it: what carries its label, what scales, guards or reports on that, and what
    belongs to the cluster."""
    own = [r for r in resources if str(r.labels.get(FLEET_LABEL, "")) == fleet]
    keys = {(r.namespace, r.kind, r.name) for r in own}
    pods = [pod for resource in own for pod in pods_of(resource)]
    return tuple(
        r for r in resources if not r.namespace or (r.namespace, r.kind, r.name) in keys or _concerns(r, keys, pods)
    )


def _concerns(resource: Resource, keys: set[tuple[str, str, str]], pods: Sequence[Pod]) -> bool:
    spec = resource.root["spec"]
    match resource.kind:
        case "Prometheus" | "ResourceQuota":
            return True
        case "Event":
            subject = resource.root["involvedObject"]
        case "HorizontalPodAutoscaler" | "ScaledObject":
            subject = spec["scaleTargetRef"]
        case "PodDisruptionBudget":
            return any(p.resource.namespace == resource.namespace and matches(spec["selector"], p.labels) for p in pods)
        case _:
            return False
    return (resource.namespace, subject["kind"].text or "Deployment", subject["name"].text) in keys
