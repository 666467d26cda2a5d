"""What scales what: HorizontalPodAutoscalers and KEDA ScaledObjects in one shape. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from penstock.operate.doctor.evidence import Node, Resource
from penstock.operate.doctor.queries import Query

__all__ = ["Scaler", "Signal", "scaler_of", "target_key"]

_SCALER_KINDS = ("HorizontalPodAutoscaler", "ScaledObject")


@dataclass(frozen=True, kw_only=True, eq=False)
class Signal:
    """One metric that a scaler watches."""

    node: Node
    type: str
    """`Resource`, `Pods`, `Object`, `External`, or a KEDA trigger's type."""
    metric: str = ""
    """Its name in the metrics API; "" for a query."""
    query: Query | None = None

    @property
    def metrics(self) -> list[str]:
        """Names of series, of the query or as the API calls them."""
        return self.query.metrics if self.query is not None else [self.metric] if self.metric else []


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaler:
    """One autoscaler."""

    resource: Resource
    signals: tuple[Signal, ...]
    target: Node

    @property
    def is_keda(self) -> bool:
        return self.resource.kind == "ScaledObject"

    @property
    def title(self) -> str:
        return f"{self.resource.kind} {self.resource.name}".strip()

    @property
    def key(self) -> tuple[str, str, str]:
        """Namespace, kind and name of what it scales."""
        kind = self.target["kind"].text or "Deployment"
        return (self.resource.namespace, kind, self.target["name"].text)

    @property
    def is_made_by_keda(self) -> bool:
        """An HPA that KEDA itself created."""
        return "scaledobject.keda.sh/name" in self.resource.labels or self.resource.name.startswith("keda-hpa-")

    @property
    def min_node(self) -> Node:
        return self.resource.root.at("spec", "minReplicaCount" if self.is_keda else "minReplicas")

    @property
    def min_replicas(self) -> int:
        default = 0 if self.is_keda else 1
        number = self.min_node.number
        return default if number is None else int(number)

    @property
    def max_replicas(self) -> int:
        number = self.resource.root.at("spec", "maxReplicaCount" if self.is_keda else "maxReplicas").number
        return 100 if number is None else int(number)

    @property
    def behavior(self) -> Node:
        spec = self.resource.root["spec"]
        return spec.at("advanced", "horizontalPodAutoscalerConfig", "behavior") if self.is_keda else spec["behavior"]


def target_key(resource: Resource) -> tuple[str, str, str]:
    """The same for a workload."""
    return (resource.namespace, resource.kind, resource.name)


def scaler_of(resource: Resource) -> Scaler | None:
    """The scaler that an object is; None for any other."""
    if resource.kind not in _SCALER_KINDS:
        return None
    spec = resource.root["spec"]
    signals = _keda_signals(resource) if resource.kind == "ScaledObject" else _hpa_signals(resource)
    return Scaler(resource=resource, signals=tuple(signals), target=spec["scaleTargetRef"])


def _hpa_signals(resource: Resource) -> Iterator[Signal]:
    for metric in resource.root.at("spec", "metrics"):
        kind = metric["type"].text
        inner = metric[kind[:1].lower() + kind[1:]] if kind else metric
        name = inner.at("metric", "name")
        node = name if name else inner["name"] if inner["name"] else metric["type"]
        yield Signal(node=node, type=kind, metric=node.text)
    for metric in resource.root.at("spec", "targetCPUUtilizationPercentage"), resource.root["none"]:
        if metric:
            yield Signal(node=metric, type="Resource", metric="cpu")


def _keda_signals(resource: Resource) -> Iterator[Signal]:
    for trigger in resource.root.at("spec", "triggers"):
        kind = trigger["type"].text
        query = trigger.at("metadata", "query")
        asked = Query(node=query, text=query.text, asker="keda") if kind == "prometheus" and query.text else None
        metric = "" if asked else {"cpu": "cpu", "memory": "memory"}.get(kind, "")
        yield Signal(node=query if asked else trigger["type"], type=kind, metric=metric, query=asked)
