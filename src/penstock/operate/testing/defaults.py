"""What the API server fills into objects of built-in kinds: the defaults of workloads, services, claims and roles.

Guarantees: filling in twice is filling in once; a value that was given stays. Source: `pkg/apis/*/v1/defaults.go`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.operate.testing.kinds import Resource

__all__ = ["with_defaults"]

Json = dict[str, Any]


def with_defaults(resource: Resource, obj: Json) -> Json:
    """`obj`, filled in in place and returned."""
    fill = _FILLERS.get(resource.group_plural)
    if fill is not None:
        fill(obj)
    return obj


def _set(node: Json, **values: Any) -> None:
    for name, value in values.items():
        node.setdefault(name, value)


def _node(parent: Json, name: str) -> Json:
    found: Json = parent.setdefault(name, {})
    return found


def _fill_pod_spec(spec: Json) -> None:
    _set(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
    )
    spec.setdefault("securityContext", {})
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            _fill_container(container)
    for volume in spec.get("volumes") or ():
        _fill_volume(volume)
    for constraint in spec.get("topologySpreadConstraints") or ():
        _set(constraint, maxSkew=1)


def _fill_container(container: Json) -> None:
    image = str(container.get("image", ""))
    tag = image.rsplit("/", 1)[-1]
    is_latest = "@" not in image and (":" not in tag or tag.endswith(":latest"))
    _set(
        container,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy="Always" if is_latest else "IfNotPresent",
    )
    container.setdefault("resources", {})
    for port in container.get("ports") or ():
        _set(port, protocol="TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _fill_probe(container[name])
    for moment in (container.get("lifecycle") or {}).values():
        if isinstance(moment, dict) and "httpGet" in moment:
            _set(moment["httpGet"], path="/", scheme="HTTP")
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            _set(reference, apiVersion="v1")


def _fill_probe(probe: Json) -> None:
    _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if "httpGet" in probe:
        _set(probe["httpGet"], path="/", scheme="HTTP")


def _fill_volume(volume: Json) -> None:
    for name in ("configMap", "secret", "projected", "downwardAPI"):
        if name in volume:
            _set(volume[name], defaultMode=420)
    if "hostPath" in volume:
        _set(volume["hostPath"], type="")
    for source in (volume.get("projected") or {}).get("sources") or ():
        if "serviceAccountToken" in source:
            _set(source["serviceAccountToken"], expirationSeconds=3600)
    claim = ((volume.get("ephemeral") or {}).get("volumeClaimTemplate") or {}).get("spec")
    if claim is not None:
        _set(claim, volumeMode="Filesystem")
    if not set(volume) - {"name"}:
        volume["emptyDir"] = {}


def _fill_template(spec: Json) -> None:
    template = _node(spec, "template")
    template.setdefault("metadata", {})
    _fill_pod_spec(_node(template, "spec"))


def _pod(obj: Json) -> None:
    spec = _node(obj, "spec")
    _fill_pod_spec(spec)
    _set(spec, enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority", priority=0)
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        limits = container["resources"].get("limits") or {}
        if limits:  # of pods only: a template keeps what it says
            _set(_node(container["resources"], "requests"), **limits)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(t.get("key") in (key, None) and t.get("effect") in ("NoExecute", None) for t in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})


def _deployment(obj: Json) -> None:
    spec = _node(obj, "spec")
    _set(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = _node(spec, "strategy")
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(_node(strategy, "rollingUpdate"), maxUnavailable="25%", maxSurge="25%")
    _fill_template(spec)


def _replica_set(obj: Json) -> None:
    spec = _node(obj, "spec")
    _set(spec, replicas=1)
    _fill_template(spec)


def _stateful_set(obj: Json) -> None:
    spec = _node(obj, "spec")
    _set(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    strategy = _node(spec, "updateStrategy")
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(_node(strategy, "rollingUpdate"), partition=0)
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("status", {"phase": "Pending"})
        _set(_node(claim, "spec"), volumeMode="Filesystem")
    _fill_template(spec)


def _daemon_set(obj: Json) -> None:
    spec = _node(obj, "spec")
    _set(spec, revisionHistoryLimit=10)
    strategy = _node(spec, "updateStrategy")
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(_node(strategy, "rollingUpdate"), maxUnavailable=1, maxSurge=0)
    _fill_template(spec)


def _fill_job(spec: Json) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    _set(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False, manualSelector=False)
    _set(spec, podReplacementPolicy="Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")
    _fill_template(spec)


def _job(obj: Json) -> None:
    spec = _node(obj, "spec")
    _fill_job(spec)
    uid, name = obj["metadata"].get("uid"), obj["metadata"].get("name")
    if uid and "selector" not in spec:
        labels = {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name}
        both = labels | {"controller-uid": uid, "job-name": name}
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        metadata = spec["template"]["metadata"]
        metadata["labels"] = (metadata.get("labels") or {}) | both


def _cron_job(obj: Json) -> None:
    spec = _node(obj, "spec")
    _set(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )
    template = _node(_node(spec, "jobTemplate"), "spec")
    _fill_template(template)


def _service(obj: Json) -> None:
    spec = _node(obj, "spec")
    _set(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports") or ():
        _set(port, protocol="TCP", targetPort=port.get("port"))
    if spec["type"] == "ExternalName":
        return
    _set(spec, internalTrafficPolicy="Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _set(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        _set(spec, allocateLoadBalancerNodePorts=True)
    if spec.get("clusterIP"):
        _set(spec, clusterIPs=[spec["clusterIP"]], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")


def _claim(obj: Json) -> None:
    _set(_node(obj, "spec"), volumeMode="Filesystem")
    obj["metadata"].setdefault("finalizers", ["kubernetes.io/pvc-protection"])


def _volume(obj: Json) -> None:
    _set(_node(obj, "spec"), volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")


def _scaler(obj: Json) -> None:
    spec = _node(obj, "spec")
    _set(spec, minReplicas=1)
    utilization = {"type": "Utilization", "averageUtilization": 80}
    spec.setdefault("metrics", [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}])
    if "behavior" in spec:
        up, down = _node(spec["behavior"], "scaleUp"), _node(spec["behavior"], "scaleDown")
        _set(up, stabilizationWindowSeconds=0, selectPolicy="Max")
        up.setdefault(
            "policies",
            [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}],
        )
        _set(down, selectPolicy="Max")
        down.setdefault("policies", [{"type": "Percent", "value": 100, "periodSeconds": 15}])


def _policy(obj: Json) -> None:
    spec = _node(obj, "spec")
    if "policyTypes" not in spec:
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            _set(port, protocol="TCP")


def _binding(obj: Json) -> None:
    _set(_node(obj, "roleRef"), apiGroup="rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _set(subject, apiGroup="rbac.authorization.k8s.io")


def _secret(obj: Json) -> None:
    _set(obj, type="Opaque")


def _storage_class(obj: Json) -> None:
    _set(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _priority_class(obj: Json) -> None:
    _set(obj, preemptionPolicy="PreemptLowerPriority")


def _node_object(obj: Json) -> None:
    status = _node(obj, "status")
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))
    _node(obj, "spec")


_FILLERS: dict[tuple[str, str], Callable[[Json], None]] = {
    ("", "nodes"): _node_object,
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _volume,
    ("", "pods"): _pod,
    ("", "secrets"): _secret,
    ("", "services"): _service,
    ("apps", "daemonsets"): _daemon_set,
    ("apps", "deployments"): _deployment,
    ("apps", "replicasets"): _replica_set,
    ("apps", "statefulsets"): _stateful_set,
    ("autoscaling", "horizontalpodautoscalers"): _scaler,
    ("batch", "cronjobs"): _cron_job,
    ("batch", "jobs"): _job,
    ("networking.k8s.io", "networkpolicies"): _policy,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _binding,
    ("rbac.authorization.k8s.io", "rolebindings"): _binding,
    ("scheduling.k8s.io", "priorityclasses"): _priority_class,
    ("storage.k8s.io", "storageclasses"): _storage_class,
}
