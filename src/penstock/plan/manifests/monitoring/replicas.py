"""Alerts on the number of replicas: missing, slow to start, at the maximum, and an autoscaler that is blind or stuck.
Pure. What Kubernetes says of its own objects comes from kube-state-metrics.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.law import bounds_of, is_group, start_budget_s
from penstock.plan.manifests.monitoring.rule import Alert, Cause, Page
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.signals import in_flight, quoted, scope
from penstock.plan.manifests.site import Site

__all__ = ["PAGES", "replica_alerts", "start_seconds"]

_START_SHARE = 0.75
_WAITING_PER_REPLICA = 1

_MISSING = Page(
    name="PenstockReplicasMissing",
    summary="{{ $labels.model }} lacks {{ $value }} replicas",
    description="For longer than a start may take, {{ $labels.model }} has had fewer ready replicas than it should. "
    "The others carry more than planned.",
    meaning="Replicas that the Deployment (or LeaderWorkerSet) should have, less those that are ready.",
    first="kubectl -n NAMESPACE get pods -l penstock.dev/fleet=FLEET,app.kubernetes.io/component=engine -o wide",
    causes=(
        Cause(
            "Pods are Pending: no node has the GPUs.",
            "`kubectl -n NAMESPACE describe pod POD` names the constraint. Add nodes, or lower `maxReplicas`.",
        ),
        Cause(
            "A rollout waits for a free GPU.",
            "Give the GPU's class `spareGpus`, or let one replica go at a time.",
        ),
        Cause("Engines crash while they start.", "`kubectl -n NAMESPACE logs POD --previous | tail -50`."),
        Cause("The startup probe ends them before they are loaded.", "See PenstockStartSlow."),
        Cause("Spot nodes were taken back.", "Set `scheduling.onDemandReplicas`."),
    ),
    wake="No, while PenstockModelDown and the budget alerts are quiet.",
)
_START = Page(
    name="PenstockStartSlow",
    summary="A replica of {{ $labels.model }} took {{ $value | humanizeDuration }} to start",
    description="It took more than three quarters of what the startup probe allows; a start that is a little slower is "
    "ended and begins again, for ever.",
    meaning="Seconds from the pod's start to ready, of pods that became ready lately.",
    first="kubectl -n NAMESPACE logs POD | grep -iE 'loading|took|compil|graph' | head -30",
    causes=(
        Cause("The store is slower than planned: loading the weights takes most of it.", "A faster class of volume."),
        Cause("The compile cache was empty, as after a new version of the engine.", "Once only; nothing to do."),
        Cause("The image was pulled first.", "Pull it ahead to the nodes."),
    ),
    wake="No. Raise `engine.startTimeoutS` if it stays so.",
)
_AT_MAX = Page(
    name="PenstockScalerAtMax",
    summary="{{ $labels.model }} is at its most replicas and {{ $value | humanize }} requests wait for each",
    description="The autoscaler wants no less than `maxReplicas` and requests still wait: from here on, more load only "
    "makes everybody slower.",
    meaning="The HPA's wish has been its maximum for ten minutes, and requests wait inside the engines.",
    first="kubectl -n NAMESPACE describe hpa -l penstock.dev/fleet=FLEET | tail -30",
    causes=(
        Cause("Demand grew.", "Raise `maxReplicas`, if there are GPUs; `penstock plan` says what they cost."),
        Cause("There are no GPUs left.", "Shed load: limit tenants, or move batch work to another hour."),
        Cause("One tenant sends far more than usual.", "The dashboard's tenants tell who; limit it."),
    ),
    wake="No; the budget alerts do where promises break.",
)
_BLIND = Page(
    name="PenstockScalerBlind",
    summary="Autoscaling of {{ $labels.model }} has no signal",
    description="The query that scales {{ $labels.model }} has no answer. Its replicas stay as they are, whatever the "
    "load does.",
    meaning="Neither the engines nor the gateway tell how many requests there are: the autoscaler's own query is "
    "empty.",
    first="kubectl -n NAMESPACE get podmonitor,servicemonitor -l penstock.dev/fleet=FLEET",
    causes=(
        Cause("Prometheus does not find our monitors.", "See PenstockEnginesNotScraped: `monitoring.labels`."),
        Cause("A network policy keeps it out.", "`monitoring.namespace` must be the one that it runs in."),
        Cause("Neither gateway nor engines run.", "See PenstockGatewayDown and PenstockModelDown."),
    ),
    wake="No. Until it is mended: `kubectl -n NAMESPACE scale deployment NAME --replicas=N`.",
)
_STUCK = Page(
    name="PenstockScalerStuck",
    summary="The autoscaler {{ $labels.horizontalpodautoscaler }} does not scale",
    description="The HPA says that it cannot work; replicas stay as they are.",
    meaning="Its condition `ScalingActive` is False: it cannot get its metric, or two autoscalers have one target.",
    first="kubectl -n NAMESPACE describe hpa -l penstock.dev/fleet=FLEET",
    causes=(
        Cause("KEDA or prometheus-adapter is down.", "`kubectl get apiservice | grep metrics.k8s.io` must say True."),
        Cause("Prometheus is not where we look for it.", "Correct `monitoring.prometheusUrl`."),
        Cause("Another HPA has the same target: `AmbiguousSelector`.", "Delete the other one."),
    ),
    wake="No.",
)
_UNKNOWN = Page(
    name="PenstockForecastBlind",
    summary="The controller does not know the load of {{ $labels.model }}",
    description="The controller makes no forecast for {{ $labels.model }}. KEDA gets no answer from it and goes by its "
    "fallback: the replicas that run stay, whatever the load does.",
    meaning="`penstock_scaler_known` is 0 or gone: no gateway told its load lately, or the controller is not there.",
    first="kubectl -n NAMESPACE logs deploy/FLEET-controller --since=15m | grep -iE 'gateway|scal' | tail -30",
    causes=(
        Cause("No gateway is ready.", "See PenstockGatewayDown."),
        Cause(
            "A network policy keeps the controller from the gateways' admin port.",
            "`kubectl -n NAMESPACE get networkpolicy -l penstock.dev/fleet=FLEET`; apply what `penstock render` says.",
        ),
        Cause("The controller is down.", "`kubectl -n NAMESPACE get pods -l app.kubernetes.io/component=controller`."),
        Cause("The controller runs with another file.", "`penstock diff FILE` says what differs."),
    ),
    wake="No. Until it is mended: `kubectl -n NAMESPACE scale deployment NAME --replicas=N`.",
)
PAGES = (_MISSING, _START, _AT_MAX, _BLIND, _UNKNOWN, _STUCK)


def replica_alerts(site: Site, needs: ModelNeeds) -> Iterator[Alert]:
    """Alerts on the number of a model's replicas."""
    labels = {"namespace": site.namespace, "fleet": site.name, "model": needs.spec.name}
    yield Alert(
        page=_MISSING,
        expr=_missing(site, needs),
        severity="warning",
        for_s=start_budget_s(needs) + 300,
        labels=labels,
    )
    budget_s = start_budget_s(needs)
    started = f"kube_pod_start_time{{{_pods(site, needs)}}}"
    yield Alert(
        page=_START,
        expr=f"max({start_seconds(site, needs)} and on (namespace, pod) time() - {started} < {2 * budget_s + 3600})"
        f" > {_START_SHARE * budget_s:g}",
        severity="warning",
        labels=labels,
    )
    if needs.spec.autoscaling is not None:
        yield from _scaler(site, needs, labels)


def start_seconds(site: Site, needs: ModelNeeds) -> str:
    """Seconds from start to ready of each of a model's pods."""
    pods = _pods(site, needs)
    ready, started = (
        f"max by (namespace, pod) (kube_pod_{name}{{{pods}}})" for name in ("status_ready_time", "start_time")
    )
    return f"({ready} - {started} > 0)"


def _scaler(site: Site, needs: ModelNeeds, labels: dict[str, str]) -> Iterator[Alert]:
    hpa = _hpa(site, needs)
    here = scope(site, model=needs.spec.name)
    wish = f"max(kube_horizontalpodautoscaler_status_desired_replicas{{{hpa}}})"
    most = f"max(kube_horizontalpodautoscaler_spec_max_replicas{{{hpa}}})"
    waiting = f"max(penstock:engine_waiting:sum{{{here}}}) / (max(penstock:engines_up:count{{{here}}}) > 0)"
    yield Alert(
        page=_AT_MAX,
        expr=f"{waiting} > {_WAITING_PER_REPLICA}\nand {wish} >= {most}",
        severity="warning",
        for_s=600,
        labels=labels,
    )
    yield Alert(
        page=_BLIND,
        expr=f"absent({in_flight(site, needs.spec.name)})",
        severity="warning",
        for_s=300,
        labels=labels,
    )
    if needs.spec.autoscaling is not None and needs.spec.autoscaling.via == "penstock":
        yield Alert(
            page=_UNKNOWN,
            expr=f"absent(max(penstock_scaler_known{{{here}}}) > 0)",
            severity="warning",
            for_s=300,
            labels=labels,
        )
    if needs.spec.autoscaling is not None and bounds_of(site, needs, needs.spec.autoscaling).least > 0:
        # at 0 replicas an HPA is not active by design
        states = f'kube_horizontalpodautoscaler_status_condition{{{hpa},condition="ScalingActive",status="false"}}'
        yield Alert(
            page=_STUCK,
            expr=f"max by (horizontalpodautoscaler) ({states}) == 1",
            severity="warning",
            for_s=600,
            labels=labels,
        )


def _missing(site: Site, needs: ModelNeeds) -> str:
    name = site.names[needs.spec.name]
    if is_group(site, needs):  # its leaders are a StatefulSet of the same name
        where = f"namespace={quoted(site.namespace)},statefulset={quoted(name)}"
        wanted, ready = "kube_statefulset_replicas", "kube_statefulset_status_replicas_ready"
    else:
        where = f"namespace={quoted(site.namespace)},deployment=~{quoted(f'{name}(-on-demand)?')}"
        wanted, ready = "kube_deployment_spec_replicas", "kube_deployment_status_replicas_ready"
    return f"sum({wanted}{{{where}}}) - sum({ready}{{{where}}}) > 0"


def _hpa(site: Site, needs: ModelNeeds) -> str:
    name = site.names[needs.spec.name]
    spec = needs.spec.autoscaling
    made_by_keda = spec is not None and spec.via != "hpa"
    hpa = f"keda-hpa-{name}" if made_by_keda else name
    return f"namespace={quoted(site.namespace)},horizontalpodautoscaler={quoted(hpa)}"


def _pods(site: Site, needs: ModelNeeds) -> str:
    """The model's pods and no other's whose name begins alike."""
    name = site.names[needs.spec.name]
    tail = "[0-9]+" if is_group(site, needs) else "(on-demand-)?[a-z0-9]+-[a-z0-9]{5}"
    return f"namespace={quoted(site.namespace)},pod=~{quoted(f'{name}-{tail}')}"
