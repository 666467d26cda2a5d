"""Alerts on the gateway's queue: requests turned away, requests that wait too long. Pure.

Only of class `interactive`: that batch work waits, and that experiments are shed first, is what those classes are for.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.monitoring.recording import BY, JUDGED, met, window_name
from penstock.plan.manifests.monitoring.rule import Alert, Cause, Page
from penstock.plan.manifests.signals import scope
from penstock.plan.manifests.site import Site
from penstock.spec import ModelSpec

__all__ = ["PAGES", "queue_alerts", "wait_alerts", "wait_limit_s"]

_SHED_MIN = 10
"""Requests turned away from which it is no single mishap: as for the budget alerts."""
_SHED_SHARE = 0.01
_LATE_SHARE = 0.05
"""As many streams as the usual promise, 0.95 of them within the objective, lets be late."""
_WAIT_S = 60.0
"""The longest wait of class `interactive` where the file says nothing, as in the reference of the fleet file."""
_LOAD = "kubectl -n NAMESPACE get hpa,pods -l penstock.dev/fleet=FLEET"
_MINE = 'class="interactive"'

_SHED = Page(
    name="PenstockShedding",
    summary="{{ $labels.model }}: the queue turned {{ $value | humanize }} interactive requests away in 10 minutes",
    description="People's requests for {{ $labels.model }} are refused with 503 and a time to try again: the queue is "
    "full, or they waited in it as long as they may.",
    meaning="`penstock_shed_total` of class `interactive`: at least ten in ten minutes, and more than one in a "
    "hundred. Requests for a model without any engine are not counted: PenstockModelDown tells of those. Batch and "
    "experimental requests are meant to be shed first.",
    first=_LOAD,
    causes=(
        Cause("More is asked than the replicas serve.", "Raise `maxReplicas`; see PenstockScalerAtMax."),
        Cause(
            "Endpoints are out of use, and the others are not enough.",
            "See PenstockPoolShrunk, PenstockEndpointOut.",
        ),
        Cause(
            "One tenant sends far more than usual.",
            "The dashboard's tenants tell who; the queue shares fairly, a limit of that tenant keeps the queue short.",
        ),
        Cause(
            "Batch work comes without its class.",
            "Set the class of its key to `batch`: it then waits behind people, and is shed before them.",
        ),
    ),
    wake="No by itself; PenstockErrorBudgetBurn counts the same refusals and wakes somebody where they break the "
    "promise.",
)
_WAIT = Page(
    name="PenstockQueueWaitLong",
    summary="{{ $labels.model }}: {{ $value | humanizePercentage }} of interactive requests wait too long in its queue",
    description="People wait for {{ $labels.model }} before any engine has begun with their request. What they wait "
    "here is lost to its first token.",
    meaning="The share of requests of class `interactive` that waited in the gateway's queue for longer than "
    "`objectives.ttftMs`, by `penstock_queue_wait_seconds`; of a model without that objective, for longer than half of "
    "what the class may wait. More than one in twenty, for five minutes.",
    first=_LOAD,
    causes=(
        Cause("Replicas are being added and load still.", "Nothing: it ends when they are ready."),
        Cause("The model is at its most replicas.", "See PenstockScalerAtMax."),
        Cause("Endpoints are out of use, and the others are not enough.", "See PenstockPoolShrunk."),
        Cause(
            "Few requests with very long prompts take the room of many.",
            "The dashboard's prompt tokens by tenant tell whose; bound `requests.promptTokensMax`.",
        ),
    ),
    wake="No: requests are late, not lost. PenstockTtftBudgetBurn wakes somebody where the promise breaks.",
)
PAGES = (_SHED, _WAIT)


def queue_alerts(site: Site) -> Iterator[Alert]:
    """Requests turned away, of all models."""
    gateway, w = scope(site, component="gateway"), window_name(site, 600)
    shed = f'sum {BY} (increase(penstock_shed_total{{{gateway},{_MINE},reason!="no_endpoint"}}[{w}]))'
    asked = f"sum {BY} (increase(penstock_requests_total{{{gateway},{_MINE},{JUDGED}}}[{w}]))"
    yield Alert(
        page=_SHED,
        expr=f"{shed} >= {_SHED_MIN}\nand {shed} > {_SHED_SHARE:g} * {asked}",
        severity="warning",
    )


def wait_alerts(site: Site, model: ModelSpec) -> Iterator[Alert]:
    """Requests of one model that wait for longer than it promises."""
    gateway, w = scope(site, component="gateway", model=model.name), window_name(site, 300)
    name, limit_s = "penstock_queue_wait_seconds", wait_limit_s(site, model)
    waited = f"sum {BY} (rate({name}_count{{{gateway},{_MINE}}}[{w}]))"
    in_time = met(f"{name}_bucket{{{gateway},{_MINE},le=~%s}}", name, limit_s, w)
    asked = f"sum {BY} (rate(penstock_requests_total{{{gateway},{_MINE},{JUDGED}}}[{w}]))"
    yield Alert(
        page=_WAIT,
        expr=f"({waited} - ({in_time}))\n/ ({asked} > 0) > {_LATE_SHARE:g}",
        severity="warning",
        for_s=300,
        labels={"namespace": site.namespace, "fleet": site.name, "model": model.name},
    )


def wait_limit_s(site: Site, model: ModelSpec) -> float:
    """Seconds in the queue from which a request of class `interactive` is late, whatever its engine does then."""
    if model.objectives.ttft_ms is not None:
        return model.objectives.ttft_ms / 1000
    return (site.fleet.spec.gateway.classes.interactive.wait_s or _WAIT_S) / 2
