"""What an API server would say to objects, as far as that can be known without one.

    problems_of(objects) -> ["Deployment/chat: spec.replicas: -1 is less than the minimum of 0", …]

Core kinds by the strict schemas of `kubernetes-validate`; custom resources by their CRD files: structure, unknown
fields, defaults and CEL rules. Beside the schemas, what the API server checks in code (names, references inside a pod,
selectors, quantities), and what makes a second apply change something: nulls, empty maps, quantities that it would
write otherwise.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from referencing import Registry, Resource

from penstock.spec.quantity import parse_quantity

__all__ = ["CRDS", "KUBERNETES", "problems_of", "rewritten_lists", "unchecked"]

KUBERNETES = "1.36"
CRDS = Path(os.environ.get("PENSTOCK_CRDS", Path(__file__).parents[4] / "shared" / "data" / "crds"))
"""Folder of CRD files; where it is absent, custom resources go unchecked: `unchecked` says so."""

_SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE_GROUPS = re.compile(r"([a-z0-9.]+\.k8s\.io|apps|batch|policy|autoscaling|extensions)$")
_KEYWORDS = (
    *("enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties"),
    *("maxProperties", "required", "multipleOf", "format", "uniqueItems"),
)
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
Check = Callable[[dict[str, Any]], Iterator[str]]


def problems_of(objects: list[dict[str, Any]]) -> list[str]:
    """Everything that an API server would reject or write otherwise; empty where it would take all as they are."""
    problems = [
        f"{body.get('kind')}/{body.get('metadata', {}).get('name')}: {problem}"
        for body in objects
        for problem in _problems(body)
    ]
    return problems + _doubles(objects)


def unchecked(objects: list[dict[str, Any]]) -> str | None:
    """Why some of these objects go unchecked; None where all are. For `pytest.skip`."""
    custom = {body["kind"] for body in objects if not _is_core(body["apiVersion"])}
    if custom and not CRDS.is_dir():
        return f"no CRD files at hand for {', '.join(sorted(custom))}"
    return None


def rewritten_lists(body: dict[str, Any]) -> Iterator[str]:
    """Lists of a custom resource that its definition's defaults change. `kubectl apply` sends such a list each time and
    says "configured": it compares lists as a whole. None for other kinds, and where there are no CRD files."""
    version, kind = body["apiVersion"], body["kind"]
    schema = None if _is_core(version) or not CRDS.is_dir() else _crd_schema(version, kind)
    if schema is not None:
        filled = copy.deepcopy(body)
        _fill_defaults(schema, filled)
        yield from (f"{kind}{at}" for at in _changed_lists(body, filled, ""))


def _changed_lists(before: Any, after: Any, at: str) -> Iterator[str]:
    if isinstance(before, list) and before != after:
        yield at
    elif isinstance(before, dict):
        for name, value in before.items():
            yield from _changed_lists(value, after[name], f"{at}.{name}")


def _problems(body: dict[str, Any]) -> Iterator[str]:
    version, kind = body.get("apiVersion"), body.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        yield "has no apiVersion or kind"
        return
    if _is_core(version):
        yield from _core_problems(version, kind, body)
    elif CRDS.is_dir():
        yield from _custom_problems(version, kind, body)
    yield from _names_and_labels(body)
    yield from _unstable(body, "")
    for check in _CHECKS.get(kind, ()) if "spec" in body else ():
        yield from check(body)
    for path, template in pod_templates(body):
        yield from (f"{path}: {problem}" for problem in _pod_problems(template))


def _doubles(objects: list[dict[str, Any]]) -> list[str]:
    seen: set[tuple[Any, ...]] = set()
    problems = []
    for body in objects:
        metadata = body.get("metadata", {})
        key = (body.get("apiVersion"), body.get("kind"), metadata.get("namespace"), metadata.get("name"))
        if key in seen:
            problems.append(f"{body.get('kind')}/{metadata.get('name')}: stands there twice")
        seen.add(key)
    return problems


# ---- schemas


def _is_core(version: str) -> bool:
    group = version.partition("/")[0] if "/" in version else ""
    return not group or (
        _CORE_GROUPS.fullmatch(group) is not None
        and not group.endswith((".x-k8s.io", "gateway.networking.k8s.io"))
        and group != "inference.networking.k8s.io"
    )


def _core_problems(version: str, kind: str, body: dict[str, Any]) -> Iterator[str]:
    validator = _core_validator(version, kind)
    if validator is None:
        yield f"Kubernetes {KUBERNETES} has no {kind} in {version}"
        return
    for error in validator.iter_errors(body):
        yield _words(error)


@cache
def _core_validator(version: str, kind: str) -> Any:
    folder = next(iter(sorted(_SCHEMAS.glob(f"v{KUBERNETES}.*-local-strict"))))
    name = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", version)
    path = folder / f"{kind.lower()}-{name}.json"
    if not path.exists():
        return None
    schema = json.loads(path.read_text(encoding="utf-8"))
    registry: Any = Resource.from_contents(schema) @ _definitions(folder)
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def _definitions(folder: Path) -> Any:
    registry: Any = Registry()
    return Resource.from_contents(json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))) @ registry


def _custom_problems(version: str, kind: str, body: dict[str, Any]) -> Iterator[str]:
    schema = _crd_schema(version, kind)
    if schema is None:
        yield f"no CRD file has {kind} in {version}"
        return
    filled = copy.deepcopy(body)
    _fill_defaults(schema, filled)
    for error in _crd_validator(version, kind).iter_errors(filled):
        yield _words(error)
    yield from _broken_rules(schema, filled, "")


@cache
def _crd_documents() -> tuple[str, ...]:
    texts = (
        path.read_text(encoding="utf-8") for path in sorted(CRDS.rglob("*.yaml")) if "experimental" not in str(path)
    )
    return tuple(
        part for text in texts for part in re.split(r"(?m)^---\s*$", text) if "CustomResourceDefinition" in part
    )


@cache
def _crd_schema(version: str, kind: str) -> dict[str, Any] | None:
    group, _, wanted = version.partition("/")
    for text in _crd_documents():
        if not re.search(rf"(?m)^\s+kind: {re.escape(kind)}\s*$", text) or f"group: {group}" not in text:
            continue
        spec = yaml.load(text.replace("- =\n", '- "="\n'), _LOADER)["spec"]
        if spec["group"] != group or spec["names"]["kind"] != kind:
            continue
        for entry in spec["versions"]:
            if entry["name"] == wanted and entry.get("served"):
                schema: dict[str, Any] = entry["schema"]["openAPIV3Schema"]
                return schema
    return None


@cache
def _crd_validator(version: str, kind: str) -> Any:
    schema = _closed(_crd_schema(version, kind))
    schema.setdefault("properties", {}).update({name: {} for name in ("apiVersion", "kind", "metadata", "status")})
    return jsonschema.Draft202012Validator(schema)


def _closed(schema: Any) -> Any:
    """A structural schema as JSON Schema that refuses unknown fields, as strict field validation does."""
    if not isinstance(schema, dict):
        return schema
    closed: dict[str, Any] = {name: schema[name] for name in _KEYWORDS if name in schema}
    if schema.get("x-kubernetes-int-or-string"):
        closed["type"] = ["integer", "string"]
    elif "type" in schema:
        closed["type"] = [schema["type"], "null"] if schema.get("nullable") else schema["type"]
    for name in ("allOf", "anyOf", "oneOf", "not"):
        if name in schema:
            closed[name] = _without_extensions(schema[name])
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    if "properties" in schema:
        closed["properties"] = {name: _closed(part) for name, part in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            closed["additionalProperties"] = False
    if isinstance(schema.get("additionalProperties"), dict):
        closed["additionalProperties"] = _closed(schema["additionalProperties"])
    return closed


def _without_extensions(schema: Any) -> Any:
    match schema:
        case dict():
            return {
                name: part if name in ("enum", "required") else _without_extensions(part)
                for name, part in schema.items()
                if not name.startswith("x-kubernetes")
            }
        case list():
            return [_without_extensions(part) for part in schema]
        case _:
            return schema


def _fill_defaults(schema: dict[str, Any], value: Any) -> None:
    for part, inner in _children(schema, value, missing=True):
        _fill_defaults(part, inner)


def _children(schema: dict[str, Any], value: Any, *, missing: bool = False) -> Iterator[tuple[dict[str, Any], Any]]:
    properties = schema.get("properties") or {}
    match value:
        case dict():
            for name, part in properties.items():
                if missing and name not in value and "default" in part:
                    value[name] = copy.deepcopy(part["default"])
                if name in value:
                    yield part, value[name]
            if isinstance(extra := schema.get("additionalProperties"), dict):
                yield from ((extra, inner) for name, inner in value.items() if name not in properties)
        case list():
            yield from ((schema.get("items") or {}, inner) for inner in value)
        case _:
            return


def _broken_rules(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    import cel

    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" in rule["rule"]:
            continue  # about a change, not about an object
        try:
            holds = cel.evaluate(rule["rule"], {"self": value})
        except Exception:
            continue
        if not holds:
            yield f"{path or '.'}: {rule.get('message', rule['rule'])}"
    for part, inner in _children(schema, value):
        yield from _broken_rules(part, inner, f"{path}/")


def _words(error: Any) -> str:
    place = ".".join(map(str, error.absolute_path))
    return f"{place}: {error.message[:300]}" if place else str(error.message[:300])


# ---- what the API server checks in code


def _names_and_labels(body: dict[str, Any]) -> Iterator[str]:
    metadata = body.get("metadata", {})
    name = str(metadata.get("name", ""))
    form = _SERVICE_NAME if body["kind"] == "Service" else _DNS_NAME
    if not form.fullmatch(name) or len(name) > 253:
        yield f"metadata.name: {name!r} is no name"
    for holder in (metadata, *(template.get("metadata", {}) for _, template in pod_templates(body))):
        for key, value in holder.get("labels", {}).items():
            if not _LABEL_KEY.fullmatch(key) or not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
                yield f"label {key}: {value!r} is none"
        for key, value in holder.get("annotations", {}).items():
            if not _LABEL_KEY.fullmatch(key) or not isinstance(value, str):
                yield f"annotation {key}: {value!r} is none"


_RESOURCE_LISTS = {"requests", "limits", "capacity", "hard"}


def _unstable(value: Any, path: str) -> Iterator[str]:
    """What the API server would drop or write otherwise, so that each apply would find a difference."""
    match value:
        case None:
            yield f"{path}: is null"
        case dict():
            if not value and not path.endswith(
                (".emptyDir", "podSelector", "namespaceSelector", "nodeSelector", ".from")
            ):
                yield f"{path}: is an empty map"
            for name, inner in value.items():
                yield from _unstable(inner, f"{path}.{name}" if path else name)
                if path.rpartition(".")[2] in _RESOURCE_LISTS or name in ("sizeLimit", "storage"):
                    yield from _quantity(inner, f"{path}.{name}")
        case list():
            for place, inner in enumerate(value):
                yield from _unstable(inner, f"{path}[{place}]")
        case _:
            return


def _quantity(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict | list):
        return
    if not isinstance(value, str):
        yield f"{path}: the quantity {value!r} is not text"
        return
    try:
        number = parse_quantity(value)
    except ValueError as error:
        yield f"{path}: {error}"
        return
    if value != (canonical := _canonical(value, number)):
        yield f"{path}: the API server writes {value!r} as {canonical!r}"


def _canonical(text: str, number: Decimal) -> str:
    if text.endswith("i"):
        for suffix, factor in (
            ("Ei", 2**60),
            ("Pi", 2**50),
            ("Ti", 2**40),
            ("Gi", 2**30),
            ("Mi", 2**20),
            ("Ki", 2**10),
        ):
            if number % factor == 0:
                return f"{int(number // factor)}{suffix}"
        return str(int(number))
    for suffix, scale in (("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3)):
        factor10 = Decimal(10) ** scale
        if number % factor10 == 0:
            return f"{int(number / factor10)}{suffix}"
    return text


def pod_templates(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod template of an object, with where it is."""
    spec = body.get("spec", {})
    match body.get("kind"):
        case "Deployment" | "StatefulSet" | "DaemonSet" | "Job":
            yield "spec.template", spec.get("template", {})
        case "CronJob":
            yield "spec.jobTemplate.spec.template", spec["jobTemplate"]["spec"]["template"]
        case "LeaderWorkerSet":
            template = spec.get("leaderWorkerTemplate", {})
            for name in ("leaderTemplate", "workerTemplate"):
                if name in template:
                    yield f"spec.leaderWorkerTemplate.{name}", template[name]
        case _:
            return


def _pod_problems(template: dict[str, Any]) -> Iterator[str]:
    spec = template.get("spec", {})
    volumes = [volume["name"] for volume in spec.get("volumes", [])]
    containers = [*spec.get("initContainers", []), *spec.get("containers", [])]
    names = [container["name"] for container in containers]
    yield from (f"the name {name} stands there twice" for name in _twice(volumes) + _twice(names))
    yield from (f"{name!r} is no name" for name in (*volumes, *names) if not _DNS_LABEL.fullmatch(name))
    for volume in spec.get("volumes", []):
        if len(volume) != 2:
            yield f"volume {volume['name']} has {len(volume) - 1} sources"
    used = {mount["name"] for container in containers for mount in container.get("volumeMounts", [])}
    yield from (f"volume {name} is mounted nowhere" for name in volumes if name not in used)
    claims = {claim["name"] for claim in spec.get("resourceClaims", [])}
    for container in containers:
        yield from (f"{container['name']}: {problem}" for problem in _container_problems(container, volumes, claims))
    grace = spec.get("terminationGracePeriodSeconds", 30)
    for container in spec.get("containers", []):
        sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if sleep > grace:
            yield f"{container['name']}: sleeps {sleep} s in preStop, longer than the grace of {grace} s"


def _container_problems(container: dict[str, Any], volumes: list[str], claims: set[str]) -> Iterator[str]:
    mounts = container.get("volumeMounts", [])
    yield from (f"mounts {m['name']}, which is no volume" for m in mounts if m["name"] not in volumes)
    yield from (f"two mounts at {path}" for path in _twice([m["mountPath"] for m in mounts]))
    yield from (f"variable {name} stands there twice" for name in _twice([e["name"] for e in container.get("env", [])]))
    ports = container.get("ports", [])
    yield from (f"port {name} stands there twice" for name in _twice([p["name"] for p in ports if "name" in p]))
    yield from (f"port {p['containerPort']} has no protocol" for p in ports if "protocol" not in p)
    resources = container.get("resources", {})
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    for name, amount in requests.items():
        if name in limits and parse_quantity(amount) > parse_quantity(limits[name]):
            yield f"asks for {amount} of {name}, and its limit is {limits[name]}"
        if "/" in name and limits.get(name) != amount:
            yield f"asks for {amount} of {name}, limit {limits.get(name)}: an extended resource takes one number"
    yield from (f"has no resource claim {c['name']}" for c in resources.get("claims", []) if c["name"] not in claims)
    known = {port["name"] for port in ports if "name" in port}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        port = container.get(probe, {}).get("httpGet", {}).get("port")
        if isinstance(port, str) and port not in known:
            yield f"{probe} asks port {port}, which it does not have"


def _twice(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _selector_matches(body: dict[str, Any]) -> Iterator[str]:
    spec = body["spec"]
    wanted = spec.get("selector", {}).get("matchLabels", {})
    labels = spec.get("template", {}).get("metadata", {}).get("labels", {})
    if not wanted.items() <= labels.items():
        yield f"spec.selector: {wanted} does not match the template's labels {labels}"


def _rolls(body: dict[str, Any]) -> Iterator[str]:
    spec = body["spec"]
    rolling = spec.get("strategy", {}).get("rollingUpdate", {})
    if rolling and str(rolling.get("maxSurge")) in ("0", "0%") and str(rolling.get("maxUnavailable")) in ("0", "0%"):
        yield "spec.strategy: neither surge nor unavailable: it never rolls"
    if spec.get("progressDeadlineSeconds", 600) <= spec.get("minReadySeconds", 0):
        yield "spec.progressDeadlineSeconds: is not above minReadySeconds"


def _job_rules(body: dict[str, Any]) -> Iterator[str]:
    spec = body["spec"]
    policy = spec["template"]["spec"].get("restartPolicy")
    if policy not in ("Never", "OnFailure"):
        yield f"spec.template.spec.restartPolicy: {policy} is not for a Job"
    if "podFailurePolicy" in spec and policy != "Never":
        yield "spec.podFailurePolicy: needs restartPolicy Never"
    if len(body["metadata"]["name"]) > 63:
        yield "metadata.name: is over 63 characters, the length of the label that its pods get"


def _service_ports(body: dict[str, Any]) -> Iterator[str]:
    ports = body["spec"].get("ports", [])
    yield from (f"port {port['port']} has no protocol" for port in ports if "protocol" not in port)
    if len(ports) > 1:
        yield from (f"port {port['port']} has no name" for port in ports if "name" not in port)


def _one_bound(body: dict[str, Any]) -> Iterator[str]:
    if len({"minAvailable", "maxUnavailable"} & set(body["spec"])) != 1:
        yield "spec: has not exactly one of minAvailable and maxUnavailable"


def _hpa_bounds(body: dict[str, Any]) -> Iterator[str]:
    spec = body["spec"]
    if not 1 <= spec.get("minReplicas", 1) <= spec["maxReplicas"]:
        yield f"spec.minReplicas: {spec.get('minReplicas')} does not go with maxReplicas {spec['maxReplicas']}"


_CHECKS: dict[str, tuple[Check, ...]] = {
    "Deployment": (_selector_matches, _rolls),
    "StatefulSet": (_selector_matches,),
    "DaemonSet": (_selector_matches,),
    "Job": (_job_rules,),
    "Service": (_service_ports,),
    "PodDisruptionBudget": (_one_bound,),
    "HorizontalPodAutoscaler": (_hpa_bounds,),
}
