"""Rules of built-in kinds that no schema says: what must fit together, and which words a field may have. Pure.

Guarantees: the real server's words and causes. The subset is what people get wrong in workloads, services, claims,
budgets and scalers; it is not all of `pkg/apis/*/validation`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.names import invalid_value, label_causes, not_supported, required
from penstock.operate.testing.quantities import amount_of
from penstock.operate.testing.selectors import label_selector_matches
from penstock.operate.testing.status import Cause

__all__ = ["rule_causes_of"]

Json = dict[str, Any]
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_WHOLE = ("nvidia.com/", "amd.com/")


def rule_causes_of(resource: Resource, obj: Json) -> list[Cause]:
    """What is wrong with an object of a built-in kind."""
    check = _CHECKS.get(resource.group_plural)
    return list(check(obj)) if check is not None else []


def _word(node: Json, name: str, at: str, *allowed: str) -> Iterator[Cause]:
    if name in node and node[name] not in allowed:
        yield not_supported(f"{at}.{name}", node[name], sorted(allowed))


def _workload(obj: Json) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    selector = spec.get("selector")
    if selector is not None:
        if not selector:
            yield invalid_value("spec.selector", selector, "empty selector is invalid for deployment")
        elif not label_selector_matches(selector, labels):
            words = "`selector` does not match template `labels`"
            yield invalid_value("spec.template.metadata.labels", labels or {}, words)
    yield from label_causes(labels, "spec.template.metadata.labels")
    policy = (template.get("spec") or {}).get("restartPolicy", "Always")
    if policy != "Always":
        yield not_supported("spec.template.spec.restartPolicy", policy, ["Always"])
    yield from _pod_spec(template.get("spec") or {}, "spec.template.spec")


def _deployment(obj: Json) -> Iterator[Cause]:
    yield from _workload(obj)
    strategy = (obj.get("spec") or {}).get("strategy") or {}
    yield from _word(strategy, "type", "spec.strategy", "Recreate", "RollingUpdate")
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        words = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        yield Cause("FieldValueForbidden", words, "spec.strategy.rollingUpdate")
    elif rolling and rolling.get("maxUnavailable") in (0, "0%") and rolling.get("maxSurge") in (0, "0%"):
        words = "may not be 0 when `maxSurge` is 0"
        yield invalid_value("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], words)


def _job(obj: Json) -> Iterator[Cause]:
    template = (obj.get("spec") or {}).get("template") or {}
    policy = (template.get("spec") or {}).get("restartPolicy", "Always")
    if policy not in ("OnFailure", "Never"):
        words = 'Required value: valid values: "OnFailure", "Never"'
        yield Cause("FieldValueRequired", words, "spec.template.spec.restartPolicy")
    yield from _pod_spec(template.get("spec") or {}, "spec.template.spec")


def _pod(obj: Json) -> Iterator[Cause]:
    yield from _pod_spec(obj.get("spec") or {}, "spec")


def _pod_spec(spec: Json, at: str) -> Iterator[Cause]:
    yield from _word(spec, "restartPolicy", at, "Always", "OnFailure", "Never")
    yield from _word(spec, "dnsPolicy", at, "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
    volumes = [volume.get("name") for volume in spec.get("volumes") or ()]
    for index, name in enumerate(volumes):
        if name in volumes[:index]:
            yield Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{at}.volumes[{index}].name")
    if not spec.get("containers"):
        yield required(f"{at}.containers")
    names: list[str] = []
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or ()):
            here = f"{at}.{kind}[{index}]"
            name = container.get("name", "")
            if name and not _LABEL.fullmatch(name):
                yield invalid_value(f"{here}.name", name, _LABEL_WORDS)
            if name in names:
                yield Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{here}.name")
            names.append(name)
            yield from _container(container, here, set(volumes))
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        if toleration.get("operator") == "Exists" and toleration.get("value"):
            words = "value must be empty when `operator` is 'Exists'"
            yield invalid_value(f"{at}.tolerations[{index}].operator", toleration["value"], words)
        if not toleration.get("key") and toleration.get("operator", "Equal") != "Exists":
            words = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid_value(f"{at}.tolerations[{index}].operator", toleration.get("operator", ""), words)


def _container(container: Json, at: str, volumes: set[Any]) -> Iterator[Cause]:
    if not container.get("image"):
        yield required(f"{at}.image")
    yield from _word(container, "imagePullPolicy", at, "Always", "IfNotPresent", "Never")
    for index, port in enumerate(container.get("ports") or ()):
        number = port.get("containerPort", 0)
        if not 1 <= number <= 65535:
            words = "must be between 1 and 65535, inclusive"
            yield invalid_value(f"{at}.ports[{index}].containerPort", number, words)
        if len(str(port.get("name", ""))) > 15:
            yield invalid_value(f"{at}.ports[{index}].name", port["name"], "must be no more than 15 characters")
    paths: list[str] = []
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            words = f'Not found: "{mount.get("name", "")}"'
            yield Cause("FieldValueNotFound", words, f"{at}.volumeMounts[{index}].name")
        if mount.get("mountPath") in paths:
            yield invalid_value(f"{at}.volumeMounts[{index}].mountPath", mount["mountPath"], "must be unique")
        paths.append(mount.get("mountPath", ""))
    for name in ("livenessProbe", "startupProbe"):
        threshold = (container.get(name) or {}).get("successThreshold", 1)
        if threshold != 1:
            yield invalid_value(f"{at}.{name}.successThreshold", threshold, "must be 1")
    yield from _resources(container.get("resources") or {}, f"{at}.resources")


def _resources(resources: Json, at: str) -> Iterator[Cause]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, amount in sorted(limits.items()):
        if name.startswith(_WHOLE) and amount_of(amount).denominator != 1:
            yield invalid_value(f"{at}.limits[{name}]", amount, "must be an integer")
    for name, amount in sorted(requests.items()):
        if name in limits and amount_of(amount) > amount_of(limits[name]):
            words = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid_value(f"{at}.requests", amount, words)
        elif "/" in name and (name not in limits or amount_of(limits[name]) != amount_of(amount)):
            if name not in limits:
                words = "Limit must be set for non overcommitable resources"
                yield required(f"{at}.limits", words)
            else:
                words = f"must be equal to {name} limit of {limits[name]}"
                yield invalid_value(f"{at}.requests", amount, words)


def _service(obj: Json) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    yield from _word(spec, "type", "spec", "ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield required("spec.ports")
    seen: list[tuple[Any, Any]] = []
    for index, port in enumerate(ports):
        if len(ports) > 1 and not port.get("name"):
            yield required(f"spec.ports[{index}].name")
        if not 1 <= port.get("port", 0) <= 65535:
            words = "must be between 1 and 65535, inclusive"
            yield invalid_value(f"spec.ports[{index}].port", port.get("port", 0), words)
        key = (port.get("port"), port.get("protocol", "TCP"))
        if key in seen:
            shown = '{"port":%s,"protocol":"%s"}' % key  # noqa: UP031 — braces
            yield Cause("FieldValueDuplicate", f"Duplicate value: {shown}", f"spec.ports[{index}]")
        seen.append(key)


def _claim(obj: Json) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    if not spec.get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    known = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
    for mode in spec.get("accessModes") or ():
        if mode not in known:
            yield not_supported("spec.accessModes", mode, known)
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        yield required("spec.resources[storage]")


def _budget(obj: Json) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        words = "minAvailable and maxUnavailable cannot be both set"
        shown = {key: spec[key] for key in ("minAvailable", "maxUnavailable")}
        yield invalid_value("spec", shown, words)


def _scaler(obj: Json) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    least, most = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if most < 1:
        yield invalid_value("spec.maxReplicas", most, "must be greater than 0")
    elif most < least:
        words = "must be greater than or equal to `minReplicas`"
        yield invalid_value("spec.maxReplicas", most, words)
    if least < 1 and not any(m.get("type") in ("Object", "External") for m in spec.get("metrics") or ()):
        yield invalid_value("spec.minReplicas", least, "must be greater than or equal to 1")


_CHECKS: dict[tuple[str, str], Callable[[Json], Iterator[Cause]]] = {
    ("", "persistentvolumeclaims"): _claim,
    ("", "pods"): _pod,
    ("", "services"): _service,
    ("apps", "daemonsets"): _workload,
    ("apps", "deployments"): _deployment,
    ("apps", "replicasets"): _workload,
    ("apps", "statefulsets"): _workload,
    ("autoscaling", "horizontalpodautoscalers"): _scaler,
    ("batch", "jobs"): _job,
    ("policy", "poddisruptionbudgets"): _budget,
}
