"""A vLLM production-stack Helm values file as a fleet. Pure.

Guarantees: the result is a fleet file that loads, or a `UsageError` says why there is none; every value of the file
ends in a note; nothing secret is copied. Fields it knows: `servingEngineSpec`, `routerSpec`, `loraAdapters`,
`sharedPvcStorage` and what switches monitoring on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from penstock.errors import UsageError
from penstock.plan.imports.stack_model import model_of
from penstock.plan.imports.stack_router import far_models, gateway_of
from penstock.plan.imports.values import Ledger, Note, Values
from penstock.plan.manifests.emit import emit
from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.spec import API_VERSION
from penstock.spec.document import Plain

__all__ = ["Imported", "import_values", "is_values_file"]

_GPU = "H100"
"""What nodes are taken to have where nobody says: the chart's values name no GPU."""
_ENGINE_LEFT = {
    "startupProbe": "probes are sized from the plan: bytes over bandwidth, compilation, twice",
    "livenessProbe": "probes are sized from the plan",
    "readinessProbe": "probes are sized from the plan",
    "strategy": "rolling updates follow `spareGpus` of the GPU's class",
    "securityContext": "pods run restricted: not as root, read-only, without capabilities",
    "containerSecurityContext": "pods run restricted: not as root, read-only, without capabilities",
    "imagePullPolicy": "images are pinned, so the default holds",
    "configs": "say `engine.env` of each model",
    "labels": "say `kubernetes.labels`",
    "schedulerName": "the cluster's own scheduler is used",
    "sidecar": "nothing needs one",
    "extraPorts": "engines have one port",
    "containerPort": "engines listen on 8000",
    "servicePort": "clients reach the gateway, which finds the engines by itself",
    "enableEngine": "a fleet starts its models; remove those that it should not",
}
_TOP_LEFT = {
    "cacheserverSpec": "a KV cache server is not supported",
    "loraController": "adapters are loaded by the engines: `adapters`",
    "extraObjects": "keep them in files of their own",
    "grafanaDashboards": "say `monitoring`",
    "kube-prometheus-stack": "install it by its own chart; `monitoring.labels` is how it finds the monitors",
    "prometheus-adapter": "install it by its own chart; `autoscaling.via: hpa` writes its rule",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A fleet read from somebody else's file."""

    body: dict[str, Any]
    """The fleet file, with reasons beside what is not as it was."""
    notes: tuple[Note, ...]

    @property
    def text(self) -> str:
        """The fleet file."""
        return emit(Manifest(body=self.body, wave=Wave.CLUSTER, file="fleet"))


def is_values_file(value: Plain) -> bool:
    """Whether this is a values file of the chart."""
    return isinstance(value, dict) and ("servingEngineSpec" in value or "routerSpec" in value)


def import_values(value: Plain, *, name: str, gpu: str | None = None, is_fixing: bool = False) -> Imported:
    """Reads the values as a fleet called `name`. `gpu`: what the nodes have; None: H100, which is said in the file.
    `is_fixing`: mend what is wrong.

    Raises:
        UsageError: this is no values file of the chart, or it names no model.
    """
    if not is_values_file(value):
        message = "this is no values file of the vLLM production stack: it has neither servingEngineSpec nor routerSpec"
        raise UsageError(message, hint="name the file that is given to `helm install -f`")
    ledger = Ledger(is_fixing=is_fixing)
    top = Values(value, (), ledger)
    engines, router = top.part("servingEngineSpec"), top.part("routerSpec")
    if engines.peek("enableEngine") is True:
        engines.carry("enableEngine", "models are what a fleet is")
    models = [model_of(part, gpu or _GPU) for part in _enabled(engines)] + far_models(router)
    if gpu is None:
        _say_assumed(models)
    if not models:
        raise UsageError("the values file names no model that is enabled", hint="see servingEngineSpec.modelSpec")
    _adapters(top, models)
    spec: dict[str, Any] = {"models": models, "gateway": gateway_of(router)}
    spec["gateway"] |= _auth(engines, router)
    spec |= _storage(top)
    spec |= _cluster(engines, gpu)
    if _is_watched(engines) or _is_watched(router):
        spec["monitoring"] = {}
    engines.leave_rest(_ENGINE_LEFT, "neither the chart nor Penstock has such a value")
    top.leave_rest(_TOP_LEFT, "neither the chart nor Penstock has such a value")
    body = {
        "apiVersion": API_VERSION,
        "kind": "Fleet",
        "metadata": {"name": _fleet_name(name)},
        "spec": {key: part for key, part in spec.items() if part or key == "monitoring"},
    }
    return Imported(body=body, notes=tuple(_in_order(ledger.notes)))


def _say_assumed(models: list[dict[str, Any]]) -> None:
    """Says once, at the first model that has it, that its GPU is assumed."""
    first = next((m["hardware"] for m in models if m.get("hardware", {}).get("gpu") == _GPU), None)
    if first is not None:
        reason = f"The values file names no GPU: {_GPU} with 80 GB is assumed. `--gpu NAME` says another."
        first["gpu"] = Because(_GPU, reason)


def _in_order(notes: list[Note]) -> list[Note]:
    """As they were made, which is the order of the file's parts, without repeats."""
    return list(dict.fromkeys(replace(note) for note in notes))


def _fleet_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
    return name or "imported"


def _enabled(engines: Values) -> list[Values]:
    found = []
    for part in engines.parts("modelSpec"):
        if part.peek("enabled") is False:
            engines.ledger.note(part.at, "left out", "it is not enabled")
            for name in part.value:
                part.take(name)
        else:
            found.append(part)
    return found


def _auth(engines: Values, router: Values) -> dict[str, Any]:
    """The chart's one key, or its absence."""
    tenants: list[dict[str, Any]] = []
    for values in (engines, router):
        at = (*values.at, "vllmApiKey")
        key = values.take("vllmApiKey")
        if isinstance(key, dict) and key.get("secretName"):
            tenants = _tenant(str(key["secretName"]), str(key.get("secretKey") or "VLLM_API_KEY"))
            values.ledger.note(at, "carried", "a key of the tenant `default`")
        elif key is not None:
            message = "a key in a file is everybody's: put it into a Secret and name it in `gateway.tenants`"
            values.ledger.note(at, "left out", message)
            tenants = _tenant("penstock-keys", "default")
    if tenants:
        return {"tenants": tenants}
    reason = "The values file asks for no key, so whoever reaches the gateway may call. Name tenants to change that."
    return {"auth": {"anonymous": Because(True, reason)}}


def _tenant(secret: str, key: str) -> list[dict[str, Any]]:
    source = {"secretKeyRef": {"name": secret, "key": key}}
    return [{"name": "default", "keys": [{"name": "default", "valueFrom": source}]}]


def _adapters(top: Values, models: list[dict[str, Any]]) -> None:
    for adapter in top.parts("loraAdapters"):
        if adapter.peek("enabled") is False:
            for name in adapter.value:
                adapter.take(name)
            continue
        base = adapter.text("baseModel", "the model it stands under")
        source = adapter.part("adapterSource")
        where = source.text("repository", "`adapters[].source`") or source.text("adapterPath", "`adapters[].source`")
        called = adapter.text("name", "`adapters[].name`")
        owner = next((m for m in models if base in (m["name"], m.get("source"))), None)
        adapter.take("enabled")
        if owner is None or where is None or called is None:
            adapter.ledger.note(adapter.at, "left out", f"no model here is called {base!r}, or its source is not said")
        else:
            owner.setdefault("adapters", []).append({"name": called, "source": where})
            args = owner.get("engine", {}).get("args", {})
            args.pop("enable-lora", None)
            if not args:
                owner.get("engine", {}).pop("args", None)


def _storage(top: Values) -> dict[str, Any]:
    shared = top.part("sharedPvcStorage")
    if not shared.carry("enabled", "`storage`"):
        for name in shared.value:
            shared.take(name)
        return {}
    storage: dict[str, Any] = {"mode": "shared"}
    shared.carry("accessModes", "`storage.mode: shared`")
    storage_class = shared.text("storageClass", "`storage.storageClass`")
    storage |= {"storageClass": storage_class} if storage_class else {}
    shared.leave("size", "each model has a volume of its own, sized from the plan")
    return {"storage": storage}


def _cluster(engines: Values, gpu: str | None) -> dict[str, Any]:
    """What the chart says of all models: the nodes' runtime and taints, and the hub's token."""
    found: dict[str, Any] = {}
    entry: dict[str, Any] = {"gpu": gpu or _GPU}
    runtime = engines.text("runtimeClassName", "`hardware.classes[].runtimeClass`")
    entry |= {"runtimeClass": runtime} if runtime else {}
    tolerations = engines.carry("tolerations", "`hardware.classes[].tolerations`")
    if isinstance(tolerations, list):
        entry["tolerations"] = [
            {k: t[k] for k in ("key", "operator", "value", "effect") if t.get(k)} for t in tolerations if t.get("key")
        ]
    if len(entry) > 1:
        found["hardware"] = {"classes": [entry]}
    token = _token(engines)
    if token:
        found["kubernetes"] = {"huggingFaceToken": token}
    return found


def _token(engines: Values) -> dict[str, str]:
    """The hub's token, wherever a model names its Secret."""
    found: dict[str, str] = {}
    models = engines.peek("modelSpec")
    for place, model in enumerate(models if isinstance(models, list) else []):
        token = model.get("hf_token") if isinstance(model, dict) else None
        at = (*engines.at, "modelSpec", place, "hf_token")
        if isinstance(token, dict) and token.get("secretName"):
            found = {"name": str(token["secretName"]), "key": str(token.get("secretKey") or "HF_TOKEN")}
            engines.ledger.note(at, "carried", "`kubernetes.huggingFaceToken`, for whatever downloads")
        elif isinstance(token, str) and token:
            found = found or {"name": "hf-token", "key": "HF_TOKEN"}
            engines.ledger.note(at, "left out", "a token in a file is everybody's: put it into the Secret `hf-token`")
    return found


def _is_watched(values: Values) -> bool:
    monitor = values.part("serviceMonitor")
    is_watched = monitor.take("enabled") is True
    if is_watched:
        values.ledger.note((*monitor.at, "enabled"), "carried", "`monitoring`: monitors, alerts, dashboards")
    else:
        for name in monitor.value:
            monitor.take(name)
    return is_watched
