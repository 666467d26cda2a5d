"""Rules on metric names and queries, whoever asks them: alerts, dashboards, scalers, adapter rules. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.facts import GONE_METRICS, metric_advice
from penstock.facts.metric_names import ALL_ENGINE_METRICS, buckets_of, metric_kind
from penstock.operate.doctor.case import Case
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.promql import Aggregate, Binary, Call, Expr, Number, Selector, walk
from penstock.operate.doctor.queries import Query
from penstock.operate.doctor.series import rated_gauges, selectors, unguarded_ratios
from penstock.spec.nearest import nearest

__all__ = ["RULES"]

_SUFFIXES = ("_bucket", "_sum", "_count")
_WRONG_LABELS = {"model": "model_name", "deployment": "the scrape's labels (namespace, pod, job) or model_name"}
_LE = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?\Z")


def _base(name: str) -> str:
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and (
            name.removesuffix(suffix) in ALL_ENGINE_METRICS or name.removesuffix(suffix) in GONE_METRICS
        ):
            return name.removesuffix(suffix)
    return name


def _asked(case: Case) -> Iterator[tuple[Query, str]]:
    for query in case.queries:
        for name in query.metrics:
            if name not in case.recorded:
                yield query, name


def _is_invented(name: str) -> bool:
    return name.startswith("vllm_") and not name.startswith(("vllm_router", "vllm_engine_", "vllm_stack"))


def _invented(case: Case) -> Iterator[Hit]:
    for query, name in _asked(case):
        if _is_invented(name):
            yield _invented_hit(query, name)
    for scaler in case.scalers:
        for signal in scaler.signals:
            name = _base(signal.metric)
            never = name in GONE_METRICS and name.startswith("vllm_") and f"vllm:{name[5:]}" not in ALL_ENGINE_METRICS
            if signal.query is None and never and signal.metric not in case.recorded:
                instead = GONE_METRICS[name].replace(":", "_")
                yield Hit(
                    where=signal.node.where,
                    message=f"{scaler.title} scales on {signal.metric}, which no engine exposes",
                    evidence=signal.node.shown,
                    fix=f"scale on {instead}",
                )


def _invented_hit(query: Query, name: str) -> Hit:
    base = _base(name)
    advice = GONE_METRICS.get(base) or (f"vllm:{base[5:]}" if f"vllm:{base[5:]}" in ALL_ENGINE_METRICS else "")
    fix = f"ask for {advice}" if advice else ""
    if not fix:
        near = nearest(f"vllm:{base[5:]}", ALL_ENGINE_METRICS, 1)
        fix = f"ask for {near[0]}" if near else ""
    return Hit(
        where=query.node.where,
        message=f"no engine exposes {name}: its names have a colon",
        evidence=query.node.shown,
        fix=fix,
    )


def _gone(case: Case) -> Iterator[Hit]:
    for query, name in _asked(case):
        if name.startswith("vllm:") and metric_advice(name) is not None:
            yield Hit(where=query.node.where, message=str(metric_advice(name)), evidence=query.node.shown)
    for scaler in case.scalers:
        for signal in scaler.signals:
            name = signal.metric.replace("vllm_", "vllm:", 1)
            if (
                signal.query is None
                and name in GONE_METRICS
                and name.startswith("vllm:")
                and signal.metric not in case.recorded
            ):
                yield Hit(
                    where=signal.node.where,
                    message=f"{scaler.title}: {metric_advice(name)}",
                    evidence=signal.node.shown,
                )
    for rule in case.adapter_rules:
        name = rule.series.partition("{")[0].strip()
        if name.startswith("vllm:") and metric_advice(name) is not None:
            yield Hit(
                where=rule.node["seriesQuery"].where,
                message=f"the adapter's rule: {metric_advice(name)}",
                evidence=rule.node["seriesQuery"].shown,
            )


def _unknown(case: Case) -> Iterator[Hit]:
    for query, name in _asked(case):
        base = _base(name)
        if not name.startswith("vllm:") or name.count(":") > 1 or base in GONE_METRICS or metric_kind(name) is not None:
            continue
        if f"{base}_total" in ALL_ENGINE_METRICS:
            yield Hit(
                where=query.node.where,
                message=f"no engine exposes {name}: a counter's name ends in _total",
                evidence=query.node.shown,
                fix=f"ask for {base}_total",
            )
            continue
        near = nearest(base, ALL_ENGINE_METRICS, 1)
        yield Hit(
            where=query.node.where,
            message=f"no engine exposes {name}",
            evidence=query.node.shown,
            fix=f"perhaps {near[0]}" if near else "",
            severity=Severity.WARNING,
        )


def _labels(case: Case) -> Iterator[Hit]:
    made = {
        node.text
        for resource in case.resources
        if "targetLabel" in resource.keys
        for node in resource.root.walk()
        if node.path[-1:] == ("targetLabel",)
    }
    for query in case.queries:
        if query.expr is None:
            continue
        said: set[str] = set()
        for selector in selectors(query.expr):
            if metric_kind(selector.name) is None or not selector.name.startswith("vllm:"):
                continue
            for label, _, value in selector.matchers:
                if label in _WRONG_LABELS and label not in made and label not in said and value:
                    said.add(label)
                    yield Hit(
                        where=query.node.where,
                        message=f"{selector.name} has no label {label!r}: the query returns nothing",
                        evidence=query.node.shown,
                        fix=f"use {_WRONG_LABELS[label]}",
                    )


def _rate_of_gauge(case: Case) -> Iterator[Hit]:
    for query in case.queries:
        if query.expr is None:
            continue
        for function, name in rated_gauges(query.expr):
            yield Hit(
                where=query.node.where,
                message=f"{function}() of {name}, which is a gauge: the result is not a queue but noise",
                evidence=query.node.shown,
                fix=f"avg_over_time({name}[1m]), summed over pods",
            )


def _percent(case: Case) -> Iterator[Hit]:
    for query in case.queries:
        if query.expr is None:
            continue
        for part in walk(query.expr):
            if not isinstance(part, Binary) or part.op not in (">", ">=", "<", "<="):
                continue
            limit = part.right.value if isinstance(part.right, Number) else None
            if limit is not None and limit > 1 and _is_share(part.left):
                yield Hit(
                    where=query.node.where,
                    message=f"vllm:kv_cache_usage_perc is a share from 0 to 1, compared with {limit:g}",
                    evidence=query.node.shown,
                    fix=f"compare with {limit / 100:g}",
                )
    for scaler in case.scalers:
        for metric in scaler.resource.root.at("spec", "metrics"):
            for inner in ("pods", "external", "object"):
                value = metric.at(inner, "target", "averageValue")
                name = metric.at(inner, "metric", "name").text
                if "cache_usage_perc" in name and value.number is not None and value.number > 1:
                    yield Hit(
                        where=value.where,
                        message=f"{scaler.title}: {name} is a share from 0 to 1, its target {value.text}",
                        evidence=value.shown,
                        fix=f"averageValue: {value.number * 10:g}m",
                    )


def _is_share(expr: Expr) -> bool:
    match expr:
        case Selector():
            return "cache_usage_perc" in expr.name
        case Aggregate():
            return expr.name in ("avg", "max", "min", "quantile", "topk") and any(_is_share(arg) for arg in expr.args)
        case Call():
            return expr.name.endswith("_over_time") and any(_is_share(arg) for arg in expr.args)
        case _:
            return False


def _bucket(case: Case) -> Iterator[Hit]:
    if any(engine.flags.find("custom-histogram-buckets") for engine in case.engines):
        return
    for query in case.queries:
        if query.expr is None:
            continue
        for selector in selectors(query.expr):
            bounds = buckets_of(selector.name) if selector.name.endswith("_bucket") else ()
            for label, op, value in selector.matchers:
                if label != "le" or op != "=" or not bounds or not _LE.match(value) or float(value) in bounds:
                    continue
                near = min(bounds, key=lambda bound: abs(bound - float(value)))
                yield Hit(
                    where=query.node.where,
                    message=f'{selector.name} has no bucket le="{value}": the query returns nothing; the nearest is'
                    f" {near:g}",
                    evidence=query.node.shown,
                    fix=f'set --custom-histogram-buckets with {value} on the engine, or ask for le="{near:g}"',
                )


def _ratio(case: Case) -> Iterator[Hit]:
    for query in case.queries:
        if query.asker not in ("keda", "alert", "record") or query.expr is None:
            continue
        if unguarded_ratios(query.expr):
            meanings = {"keda": "the scaler reads NaN", "alert": "the alert is silent or pages for nothing"}
            what = meanings.get(query.asker, "the series is NaN")
            yield Hit(
                where=query.node.where,
                message=f"without traffic this is 0/0: {what}",
                evidence=query.node.shown,
                severity=Severity.INFO if query.asker == "record" else None,
            )


def _alert_on_util(case: Case) -> Iterator[Hit]:
    for query in case.queries:
        if query.asker != "alert" or query.expr is None:
            continue
        for part in walk(query.expr):
            if (
                isinstance(part, Binary)
                and part.op in (">", ">=")
                and any(s.name == "DCGM_FI_DEV_GPU_UTIL" for s in selectors(part.left))
            ):
                yield Hit(
                    where=query.node.where,
                    message=f"alert {query.defines} fires when the GPU is busy, which is the healthy state",
                    evidence=query.node.shown,
                )
                break


RULES = (
    Rule(
        id="PS005-invented-metric",
        title="A metric that never existed",
        severity=Severity.ERROR,
        rows=(5,),
        consequence="The query returns nothing: the scaler never scales, the alert never fires.",
        fix="`vllm:num_requests_waiting`, `vllm:num_requests_running`; labels are `model_name`,"
        " `engine` and the scrape's.",
        check=_invented,
    ),
    Rule(
        id="PS106-gone-metric",
        title="A metric that this engine no longer has",
        severity=Severity.ERROR,
        rows=(5,),
        consequence="The query returns nothing: the scaler never scales, the alert never fires.",
        fix="Ask for what replaced it.",
        check=_gone,
    ),
    Rule(
        id="PS107-unknown-metric",
        title="A name under `vllm:` that no engine has",
        severity=Severity.ERROR,
        rows=(5,),
        consequence="The query returns nothing: the scaler never scales, the alert never fires.",
        fix="Correct the name; counters end in `_total`.",
        check=_unknown,
    ),
    Rule(
        id="PS108-metric-label",
        title="A label that the engine's metrics do not have",
        severity=Severity.ERROR,
        rows=(5,),
        consequence="The query matches no series and returns nothing.",
        fix="`model_name` and `engine` are the engine's labels; the rest comes from the scrape.",
        check=_labels,
    ),
    Rule(
        id="PS006-rate-of-gauge",
        title="The rate of a gauge",
        severity=Severity.ERROR,
        rows=(6,),
        consequence="It is not the queue's length: a queue that stands still at 500 reads 0, and one that"
        " drains looks like a restart.",
        fix="`sum(avg_over_time(vllm:num_requests_waiting[1m]))`, divided by the per-replica target in the scaler.",
        check=_rate_of_gauge,
    ),
    Rule(
        id="PS150-usage-in-percent",
        title="KV cache usage is a share from 0 to 1",
        severity=Severity.ERROR,
        rows=(5,),
        consequence="The threshold is never reached.",
        fix="Write 0.9 for 90 %.",
        check=_percent,
    ),
    Rule(
        id="PS050-bucket-off-objective",
        title="A histogram bucket that does not exist",
        severity=Severity.ERROR,
        rows=(50,),
        consequence="The selector matches no series: the objective is not measured at all.",
        fix="Set `--custom-histogram-buckets` so that a bucket lies at the objective.",
        check=_bucket,
    ),
    Rule(
        id="PS051-zero-over-zero",
        title="A ratio without traffic is 0/0",
        severity=Severity.WARNING,
        rows=(51,),
        consequence="NaN compares as false and hides an outage, or pages when the first request fails.",
        fix="Add a condition on volume, as in `… and sum(rate(vllm:request_success_total[5m])) >"
        " 0.1`, or `clamp_min` the denominator.",
        check=_ratio,
    ),
    Rule(
        id="PS120-alert-on-gpu-util",
        title="An alert on GPU utilization",
        severity=Severity.WARNING,
        rows=(14,),
        consequence="Continuous batching keeps the GPU near 100 % with one request: it fires all day and is muted.",
        fix="Alert on the queue, on TTFT and on errors; watch `DCGM_FI_PROF_GR_ENGINE_ACTIVE` on a dashboard.",
        check=_alert_on_util,
    ),
)
