"""Rules on probes: whether a loading engine is left alone, and a hung one is not. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from penstock.operate.doctor.case import Case
from penstock.operate.doctor.engines import Engine
from penstock.operate.doctor.evidence import Node
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.sizing import cold_start

__all__ = ["RULES"]

_SLOW_MIN_S = 60.0
"""No engine of any model is ready on a new node before."""
_KILL_S = 10.0


def _number(node: Node, default: float) -> float:
    return default if node.number is None else node.number


def _budget_s(probe: Node) -> float:
    """Seconds from the container's start until a probe that never succeeds ends it."""
    period, failures = _number(probe["periodSeconds"], 10), _number(probe["failureThreshold"], 3)
    return _number(probe["initialDelaySeconds"], 0) + period * failures


def _probed(case: Case) -> Iterator[tuple[Engine, Node]]:
    for engine in case.whole_engines:
        if engine.container is not None and engine.pod is not None and not engine.pod.is_batch:
            yield engine, engine.container.node
    for resource in case.resources:
        for node in resource.root.walk() if "servingEngineSpec" in resource.keys else ():
            if node.path[-1:] == ("servingEngineSpec",):
                for engine in case.whole_engines:
                    if engine.chart is not None and engine.chart.resource is resource:
                        yield engine, node


def _need_s(engine: Engine) -> float:
    needed = cold_start(engine)
    return _SLOW_MIN_S if needed is None else needed.total_s


def _slowest(case: Case) -> Iterator[tuple[Engine, Node]]:
    """For each container with probes the engine that needs the longest: a chart's probes are all its models'."""
    slowest: dict[tuple[int, tuple[str | int, ...]], tuple[Engine, Node]] = {}
    for engine, node in _probed(case):
        key = (id(node.resource), node.path)
        if key not in slowest or _need_s(engine) > _need_s(slowest[key][0]):
            slowest[key] = (engine, node)
    yield from slowest.values()


def _short_startup(case: Case) -> Iterator[Hit]:
    for engine, node in _slowest(case):
        probe = node["startupProbe"]
        if not probe.mapping:
            continue
        budget, need = _budget_s(probe), _need_s(engine)
        if budget >= need:
            continue
        period = _number(probe["periodSeconds"], 10)
        where = probe["failureThreshold"] if probe["failureThreshold"] else probe
        yield Hit(
            where=where.where if where is not probe else probe.key_where,
            message=f"{engine.title}: the startup probe ends the engine after {budget:.0f} s;"
            f" {engine.model or 'any model'} takes about {need:.0f} s from a volume of 1 GB/s",
            evidence=f"startupProbe: {budget:.0f} s = initialDelaySeconds + periodSeconds × failureThreshold",
            fix=f"failureThreshold: {math.ceil(2 * need / period)} with periodSeconds {period:.0f}",
        )


def _delay_beside_startup(case: Case) -> Iterator[Hit]:
    for engine, node in _slowest(case):
        delay = node.at("readinessProbe", "initialDelaySeconds")
        if node["startupProbe"].mapping and delay.number is not None and delay.number >= 10:
            yield Hit(
                where=delay.key_where,
                message=f"{engine.title}: the readiness probe waits {delay.text} s more after the startup probe",
                evidence=delay.shown,
                edits=delay.removed(),
            )


def _liveness_alone(case: Case) -> Iterator[Hit]:
    for engine, node in _slowest(case):
        probe = node["livenessProbe"]
        if not probe.mapping or node["startupProbe"].mapping or engine.chart is not None:
            continue
        budget, need = _budget_s(probe), _need_s(engine)
        is_late = budget >= 2 * need
        outcome = (
            "a hung engine is left alone as long"
            if is_late
            else f"{engine.model or 'a model'} takes about {need:.0f} s to load"
        )
        yield Hit(
            where=probe.key_where,
            message=f"{engine.title} has a liveness probe and no startup probe: it is killed after"
            f" {budget:.0f} s, and {outcome}",
            evidence=f"livenessProbe: {budget:.0f} s from start",
            fix=f"startupProbe on /health with periodSeconds 10, failureThreshold {math.ceil(2 * need / 10)}",
            severity=Severity.WARNING if is_late else None,
        )


def _kill_at_once(case: Case) -> Iterator[Hit]:
    for engine, node in _probed(case):
        for name in ("livenessProbe", "startupProbe"):
            grace = node.at(name, "terminationGracePeriodSeconds")
            if grace.number is not None and grace.number < _KILL_S:
                yield Hit(
                    where=grace.where,
                    message=f"{engine.title}: a failed {name} kills the engine after {grace.text} s, whatever it is"
                    f" answering",
                    evidence=grace.shown,
                )


RULES = (
    Rule(
        id="PS023-startup-probe-short",
        title="The startup probe is shorter than loading",
        severity=Severity.ERROR,
        rows=(23,),
        consequence="Each start is cut off just before it is done, and begins again: for ever.",
        fix="Budget = bytes / bandwidth + compile, times two.",
        check=_short_startup,
    ),
    Rule(
        id="PS126-delay-beside-startup",
        title="A readiness delay beside a startup probe",
        severity=Severity.INFO,
        rows=(23,),
        consequence="A replica that is ready waits for nothing.",
        fix="Delete initialDelaySeconds: readiness is only asked once the startup probe has passed.",
        check=_delay_beside_startup,
    ),
    Rule(
        id="PS024-liveness-without-startup",
        title="A liveness probe without a startup probe",
        severity=Severity.ERROR,
        rows=(24,),
        consequence="A large model is killed while it loads; a delay long enough for it also lets a hung"
        " engine hang that long.",
        fix="A startupProbe for loading; the livenessProbe without a delay.",
        check=_liveness_alone,
    ),
    Rule(
        id="PS128-probe-kills-at-once",
        title="A failed probe kills at once",
        severity=Severity.WARNING,
        rows=(24, 29),
        consequence="A slow answer of /health under load ends every running request.",
        fix="Leave terminationGracePeriodSeconds out of the probe: the pod's own holds.",
        check=_kill_at_once,
    ),
)
