"""Rules on autoscalers: KEDA, HorizontalPodAutoscalers, prometheus-adapter, and what they scale on. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.operate.doctor.case import Case
from penstock.operate.doctor.evidence import Node
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.scalers import Scaler, Signal
from penstock.operate.doctor.series import gives_one_series, outer_aggregate

__all__ = ["RULES"]

_WAITING = re.compile(r"(vllm[:_])?num_requests_waiting$|pending_requests")
_UTIL = re.compile(r"DCGM_FI_DEV_GPU_UTIL|gpu[-_]util", re.IGNORECASE)


def _triggers(case: Case, kind: str = "prometheus") -> Iterator[tuple[str, Node]]:
    """Triggers of KEDA, of ScaledObjects and of others' values, each with its owner's title."""
    for resource in case.kind("ScaledObject", "ScaledJob"):
        for trigger in resource.root.at("spec", "triggers"):
            if trigger["type"].text == kind:
                yield f"{resource.kind} {resource.name}", trigger


def _metric_name(case: Case) -> Iterator[Hit]:
    for resource in case.kind("ScaledObject", "ScaledJob"):
        for trigger in resource.root.at("spec", "triggers"):
            node = trigger.at("metadata", "metricName")
            if node and trigger["type"].text in (
                "prometheus",
                "cpu",
                "memory",
                "redis",
                "kafka",
                "external",
                "metrics-api",
            ):
                yield Hit(
                    where=node.key_where,
                    message=f"{resource.kind} {resource.name}: the trigger has metricName, which KEDA 2.12 dropped",
                    evidence=node.shown,
                    edits=node.removed(),
                )


def _total_threshold(case: Case) -> Iterator[Hit]:
    for title, trigger in _triggers(case):
        query = case.query_at(trigger.at("metadata", "query"))
        aggregate = outer_aggregate(query.expr) if query is not None and query.expr is not None else None
        threshold = trigger.at("metadata", "threshold")
        if aggregate is None or aggregate.name not in ("sum", "count") or aggregate.by or trigger["metricType"]:
            continue
        yield Hit(
            where=threshold.where,
            message=f"{title}: the query sums over all pods and metricType is not said, so KEDA takes"
            f" {threshold.text or 'the threshold'} per replica:"
            f" desired = ceil(sum / {threshold.text or 'threshold'})",
            evidence=threshold.shown,
        )


def _sum_with_value(case: Case) -> Iterator[Hit]:
    for title, trigger in _triggers(case):
        kind = trigger["metricType"]
        query = case.query_at(trigger.at("metadata", "query"))
        if query is not None and query.expr is not None and kind.text == "Value":
            aggregate = outer_aggregate(query.expr)
            if aggregate is not None and aggregate.name == "sum":
                yield Hit(
                    where=kind.where,
                    message=f"{title}: a sum compared as Value: it does not fall when replicas are added, so each"
                    f" round multiplies them",
                    evidence=kind.shown,
                    fix="metricType: AverageValue",
                )


def _average_divided(case: Case) -> Iterator[Hit]:
    for title, trigger in _triggers(case):
        query = case.query_at(trigger.at("metadata", "query"))
        aggregate = outer_aggregate(query.expr) if query is not None and query.expr is not None else None
        if aggregate is None or aggregate.name != "avg" or trigger["metricType"].text == "Value" or query is None:
            continue
        if any("vllm" in name for name in query.metrics):
            yield Hit(
                where=query.node.where,
                message=f"{title}: an average over pods as AverageValue is divided by the replicas a second time",
                evidence=query.node.shown,
                fix="sum(…) instead of avg(…)",
            )


def _cooldown(case: Case) -> Iterator[Hit]:
    for scaler in case.scalers:
        spec = scaler.resource.root["spec"]
        node = spec["cooldownPeriod"]
        if (
            scaler.is_keda
            and node
            and scaler.min_replicas >= 1
            and not spec["idleReplicaCount"]
            and not scaler.behavior["scaleDown"]
        ):
            yield Hit(
                where=node.key_where,
                message=f"{scaler.title}: cooldownPeriod {node.text} does nothing: it holds the step to 0 only,"
                f" and minReplicaCount is {scaler.min_replicas}",
                evidence=node.shown,
            )


def _null_is_zero(case: Case) -> Iterator[Hit]:
    for title, trigger in _triggers(case):
        node = trigger.at("metadata", "ignoreNullValues")
        if node.text.lower() != "false":
            where = node.where if node else trigger["metadata"].key_where
            yield Hit(
                where=where,
                message=f"{title}: no answer of Prometheus counts as 0 (ignoreNullValues is"
                f" true{'' if node else ' by default'})",
                evidence=node.shown if node else "metadata without ignoreNullValues",
            )


def _no_fallback(case: Case) -> Iterator[Hit]:
    for scaler in case.scalers:
        if not scaler.is_keda or scaler.resource.root.at("spec", "fallback"):
            continue
        triggers = scaler.resource.root.at("spec", "triggers")
        if any(t.at("metadata", "ignoreNullValues").text.lower() == "false" for t in triggers):
            yield Hit(
                where=case.node_of(scaler.resource).where,
                message=f"{scaler.title} has no fallback: without an answer of Prometheus it stays where it is,"
                f" also at night's size in the morning",
                evidence="spec without fallback",
            )


def _many_series(case: Case) -> Iterator[Hit]:
    for query in case.queries:
        if query.asker == "keda" and query.expr is not None and query.metrics and not gives_one_series(query.expr):
            yield Hit(
                where=query.node.where,
                message="the query returns one series for each pod; KEDA takes exactly one",
                evidence=query.node.shown,
                fix=f"sum({' '.join(query.text.split())})",
            )


def _two_scalers(case: Case) -> Iterator[Hit]:
    owners: dict[tuple[str, str, str], list[Scaler]] = {}
    for scaler in case.scalers:
        if scaler.target["name"].text:
            owners.setdefault(scaler.key, []).append(scaler)
    for (_, kind, name), found in owners.items():
        others = [
            s
            for s in found[1:]
            if (s.resource.kind, s.resource.name) != (found[0].resource.kind, found[0].resource.name)
        ]
        for scaler in others:  # the same object in two folders is one, for two clusters
            yield Hit(
                where=scaler.target["name"].where,
                message=f"{scaler.title} and {found[0].title} both scale {kind} {name}",
                evidence=scaler.target["name"].shown,
            )


def _colon(case: Case) -> Iterator[Hit]:
    for scaler in case.scalers:
        for signal in scaler.signals:
            if signal.query is None and ":" in signal.metric:
                yield Hit(
                    where=signal.node.where,
                    message=f"{scaler.title} asks the metrics API for {signal.metric}: the colon must survive the"
                    f" API's path and the adapter's pattern",
                    evidence=signal.node.shown,
                    fix=f"name: {signal.metric.replace(':', '_')}, with `name: {{as:"
                    f" {signal.metric.replace(':', '_')}}}` in the adapter's rule",
                )


def _not_exposed(case: Case) -> Iterator[Hit]:
    rules = case.adapter_rules
    if not rules or any(not rule.name for rule in rules):
        return
    exposed = {rule.name for rule in rules}
    for scaler in case.scalers:
        for signal in scaler.signals:
            if (
                signal.type in ("Pods", "Object", "External")
                and signal.metric
                and signal.metric not in exposed
                and ":" not in signal.metric
            ):
                yield Hit(
                    where=signal.node.where,
                    message=f"{scaler.title} asks for {signal.metric}, which no rule of the adapter exposes: they"
                    f" expose {', '.join(sorted(exposed))}",
                    evidence=signal.node.shown,
                )


def _two_external(case: Case) -> Iterator[Hit]:
    external = [rule for rule in case.adapter_rules if rule.is_external]
    if external and case.kind("ScaledObject"):
        yield Hit(
            where=external[0].node["seriesQuery"].where,
            message="prometheus-adapter's external rules and KEDA both want to be external.metrics.k8s.io",
            evidence=external[0].node["seriesQuery"].shown,
        )


def _waiting_only(case: Case) -> Iterator[Hit]:
    for scaler in case.scalers:
        names = [name for signal in scaler.signals for name in signal.metrics]
        if names and all(_WAITING.search(name.removesuffix("_total")) for name in names):
            signal = scaler.signals[0]
            yield Hit(
                where=signal.node.where,
                message=f"{scaler.title} watches only the requests that wait, which is 0 until the engine is full",
                evidence=signal.node.shown,
            )


def _gpu_util(case: Case) -> Iterator[Hit]:
    for scaler in case.scalers:
        for signal in scaler.signals:
            name = next((n for n in signal.metrics if _UTIL.search(n)), None)
            if name is not None:
                yield Hit(
                    where=signal.node.where,
                    message=f"{scaler.title} scales on {name}, which is near 100 % under any load",
                    evidence=signal.node.shown,
                )


def _cpu(case: Case) -> Iterator[Hit]:
    for scaler in case.scalers:
        engine = case.scaled_engine(scaler)
        signals = [s for s in scaler.signals if s.metric in ("cpu", "memory") and s.query is None]
        if engine is not None and signals and engine.gpus != 0 and len(signals) == len(scaler.signals):
            yield _cpu_hit(scaler, signals[0])


def _cpu_hit(scaler: Scaler, signal: Signal) -> Hit:
    return Hit(
        where=signal.node.where,
        message=f"{scaler.title} scales an engine on {signal.metric}, which does not follow its load",
        evidence=signal.node.shown,
    )


def _hpa_to_zero(case: Case) -> Iterator[Hit]:
    for scaler in case.scalers:
        if scaler.is_keda or scaler.min_replicas != 0:
            continue
        has_outside = any(s.type in ("External", "Object") for s in scaler.signals)
        why = (
            "nothing holds requests while there is no pod"
            if has_outside
            else "that needs an Object or External metric, and nothing holds requests while there is no pod"
        )
        yield Hit(
            where=scaler.min_node.where,
            message=f"{scaler.title} scales to 0: {why}",
            evidence=scaler.min_node.shown,
            severity=Severity.WARNING if has_outside else None,
        )


def _keda_to_zero(case: Case) -> Iterator[Hit]:
    for scaler in case.scalers:
        spec = scaler.resource.root["spec"]
        idles = spec["idleReplicaCount"].number == 0
        if not scaler.is_keda or (scaler.min_replicas > 0 and not idles):
            continue
        own = [s for s in scaler.signals if any(n.startswith(("vllm:", "DCGM_")) for n in s.metrics)]
        if own and len(own) == len(scaler.signals):
            node = spec["idleReplicaCount"] if idles else scaler.min_node
            said = node.shown if node else "minReplicaCount is left out: 0"
            where = node.where if node else case.node_of(scaler.resource).where
            yield Hit(
                where=where,
                message=f"{scaler.title} scales to 0 on the engine's own metrics: with no engine there is no"
                f" metric, so nothing wakes it",
                evidence=said,
            )


RULES = (
    Rule(
        id="PS007-keda-metric-name",
        title="KEDA's `metricName` is gone",
        severity=Severity.WARNING,
        rows=(7,),
        consequence="KEDA 2.12 and later ignore it: whatever refers to the metric by that name finds nothing.",
        fix="Delete it; a trigger may have a `name:`.",
        check=_metric_name,
    ),
    Rule(
        id="PS008-total-as-threshold",
        title="A sum's threshold is per replica",
        severity=Severity.WARNING,
        rows=(8,),
        consequence="Read as a total it scales out at a fraction of the load, or never: desired = ceil(sum /"
        " threshold).",
        fix="Write the concurrency of one replica as threshold, on running + waiting, and say"
        " `metricType: AverageValue`.",
        check=_total_threshold,
    ),
    Rule(
        id="PS111-sum-as-value",
        title="A sum compared as `Value` runs away",
        severity=Severity.ERROR,
        rows=(8,),
        consequence="desired = replicas × sum / threshold: replicas multiply each round until the maximum.",
        fix="`metricType: AverageValue` with the concurrency of one replica.",
        check=_sum_with_value,
    ),
    Rule(
        id="PS110-average-divided-twice",
        title="An average is divided by the replicas again",
        severity=Severity.ERROR,
        rows=(6, 8),
        consequence="desired = avg / threshold: it can never ask for more than a replica or two, and shrinks"
        " under load; hot pods are hidden.",
        fix="Sum over the pods.",
        check=_average_divided,
    ),
    Rule(
        id="PS009-cooldown-is-not-scale-in",
        title="`cooldownPeriod` does not slow scaling in",
        severity=Severity.WARNING,
        rows=(9,),
        consequence="Replicas go after the HPA's own 5 minutes, all at once, whatever is written there.",
        fix="`advanced.horizontalPodAutoscalerConfig.behavior.scaleDown`.",
        check=_cooldown,
    ),
    Rule(
        id="PS010-outage-counts-as-zero",
        title="A Prometheus outage counts as no load",
        severity=Severity.WARNING,
        rows=(10,),
        consequence="Prometheus restarts at the peak, and the fleet is scaled to its minimum.",
        fix='`ignoreNullValues: "false"` and a `fallback`; guard NaN in the query.',
        check=_null_is_zero,
    ),
    Rule(
        id="PS112-no-fallback",
        title="No fallback for when the metric is away",
        severity=Severity.WARNING,
        rows=(10,),
        consequence="The number of replicas freezes for as long as Prometheus is away.",
        fix="`fallback: {failureThreshold: 3, replicas: N}` with the replicas of a busy hour.",
        check=_no_fallback,
    ),
    Rule(
        id="PS149-keda-many-series",
        title="The query gives more than one series",
        severity=Severity.ERROR,
        rows=(10,),
        consequence="KEDA fails with an error as soon as there are two pods, and scaling stops.",
        fix="Aggregate: `sum(…)`.",
        check=_many_series,
    ),
    Rule(
        id="PS011-two-scalers",
        title="Two autoscalers on one workload",
        severity=Severity.ERROR,
        rows=(11,),
        consequence="KEDA makes an HPA of its own: the two overwrite each other's replicas every 15 s.",
        fix="Keep one; put both signals into it.",
        check=_two_scalers,
    ),
    Rule(
        id="PS012-colon-in-metrics-api",
        title="A metric with a colon asked of the metrics API",
        severity=Severity.WARNING,
        rows=(12,),
        consequence="It works only with a rule that keeps the colon; else the HPA shows <unknown> and never scales.",
        fix="Rename it in the adapter's rule, or use KEDA or an External metric.",
        check=_colon,
    ),
    Rule(
        id="PS109-metric-not-exposed",
        title="No adapter rule exposes the metric",
        severity=Severity.ERROR,
        rows=(12,),
        consequence="The HPA shows <unknown> and never scales.",
        fix="Ask for a name that a rule exposes, or add the rule.",
        check=_not_exposed,
    ),
    Rule(
        id="PS119-two-external-apis",
        title="KEDA and prometheus-adapter both serve external metrics",
        severity=Severity.WARNING,
        rows=(12,),
        consequence="One APIService serves external.metrics.k8s.io: whichever was installed last breaks the other.",
        fix="Leave external metrics to KEDA; keep the adapter's custom rules only.",
        check=_two_external,
    ),
    Rule(
        id="PS013-waiting-only",
        title="Scaling on waiting requests alone",
        severity=Severity.WARNING,
        rows=(13,),
        consequence="The queue is 0 until an engine is full: the new replica starts when it is already late,"
        " minutes before it is ready.",
        fix="Scale on running + waiting per replica, or on a backlog of tokens, with a latency term.",
        check=_waiting_only,
    ),
    Rule(
        id="PS014-scale-on-gpu-util",
        title="Scaling on GPU utilization",
        severity=Severity.ERROR,
        rows=(14,),
        consequence="Continuous batching keeps it near 100 % with one request: it scales to the maximum and"
        " stays; on MIG it does not exist.",
        fix="Scale on running + waiting requests; watch `DCGM_FI_PROF_GR_ENGINE_ACTIVE` on a dashboard.",
        check=_gpu_util,
    ),
    Rule(
        id="PS121-scale-engine-on-cpu",
        title="Scaling an engine on CPU or memory",
        severity=Severity.WARNING,
        rows=(14,),
        consequence="One core polls at 100 % whether there is work or not, and memory never falls: it scales"
        " by accident.",
        fix="Scale on running + waiting requests.",
        check=_cpu,
    ),
    Rule(
        id="PS048-hpa-to-zero",
        title="An HPA that scales to 0",
        severity=Severity.ERROR,
        rows=(48,),
        consequence="A Service has no buffer: requests fail until a pod is ready, minutes later; Pods and"
        " Resource metrics do not exist without pods.",
        fix="Keep one replica, or put a gateway before it that holds requests and wakes the model.",
        check=_hpa_to_zero,
    ),
    Rule(
        id="PS148-keda-never-wakes",
        title="Scaled to 0 on the engine's own metrics",
        severity=Severity.ERROR,
        rows=(48,),
        consequence="The first quiet hour stops the model for good: no pod, no metric, no trigger.",
        fix="`minReplicaCount: 1`, or a trigger on what the gateway holds.",
        check=_keda_to_zero,
    ),
)
