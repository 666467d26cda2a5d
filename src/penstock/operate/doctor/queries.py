"""Every PromQL query of the evidence, and who asks it: scalers, alerts, dashboards, adapter rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from penstock.operate.doctor.evidence import Node, Resource
from penstock.operate.doctor.promql import Expr, parse
from penstock.operate.doctor.series import metric_names

__all__ = ["AdapterRule", "Query", "adapter_rules", "queries_of"]

Asker = Literal["keda", "alert", "record", "panel", "adapter", "other"]
_QUERY_KEYS = frozenset({"query", "expr"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """One query."""

    node: Node
    text: str
    asker: Asker
    defines: str = ""
    """The series that it records, or the alert that it raises."""

    @cached_property
    def expr(self) -> Expr | None:
        return parse(self.text)

    @cached_property
    def metrics(self) -> list[str]:
        return metric_names(self.expr) if self.expr is not None else []


@dataclass(frozen=True, kw_only=True, eq=False)
class AdapterRule:
    """One rule of prometheus-adapter: from a series to a metric of the custom- or external-metrics API."""

    node: Node
    is_external: bool

    @property
    def series(self) -> str:
        return self.node["seriesQuery"].text

    @property
    def name(self) -> str:
        """What it exposes; "" where that is a pattern."""
        given = self.node.at("name", "as").text
        if given and "$" not in given:
            return given
        matches = self.node.at("name", "matches").text
        plain = self.series.partition("{")[0].strip()
        return plain if not given and not matches else ""


def queries_of(resource: Resource) -> Iterator[Query]:
    """The queries of one document, whatever it is."""
    if resource.kind in ("ScaledObject", "ScaledJob"):
        for trigger in resource.root.at("spec", "triggers"):
            node = trigger.at("metadata", "query")
            if trigger["type"].text == "prometheus" and node.text:
                yield Query(node=node, text=node.text, asker="keda")
        return
    if not {"expr", "serverAddress"} & resource.keys:
        return
    for node in resource.root.walk():
        if not isinstance(node.value, dict):
            continue
        if node["expr"].text and (node["alert"].text or node["record"].text):
            asker: Asker = "alert" if node["alert"].text else "record"
            defines = node["alert"].text or node["record"].text
            yield Query(node=node["expr"], text=node["expr"].text, asker=asker, defines=defines)
        elif node["expr"].text and (
            node["refId"] or node["legendFormat"] or node["datasource"] or "targets" in node.path
        ):
            yield Query(node=node["expr"], text=node["expr"].text, asker="panel")
        elif node["serverAddress"].text and node["query"].text:  # a KEDA trigger in somebody's values
            yield Query(node=node["query"], text=node["query"].text, asker="keda")


def adapter_rules(resource: Resource) -> Iterator[AdapterRule]:
    """Rules of prometheus-adapter: in its ConfigMap, or in its chart's values."""
    for node in resource.root.walk() if "seriesQuery" in resource.keys else ():
        if isinstance(node.value, dict) and node["seriesQuery"].text:
            keys = [key for key in node.path if isinstance(key, str)]
            is_external = "externalRules" in keys or "external" in keys
            yield AdapterRule(node=node, is_external=is_external)


def recorded(queries: Sequence[Query]) -> set[str]:
    """Series that the evidence's own rules make."""
    return {query.defines for query in queries if query.asker == "record"}
