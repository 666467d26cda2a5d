"""Alerts on what the gateway thinks of endpoints: out of use for long, too many of them, retries refused. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.monitoring.recording import window_name
from penstock.plan.manifests.monitoring.rule import Alert, Cause, Page
from penstock.plan.manifests.signals import scope
from penstock.plan.manifests.site import Site

__all__ = ["PAGES", "endpoint_alerts"]

_OUT_S = 900
"""Longer than a restart with a load of the weights takes where they are on the node."""
_SHRUNK_SHARE = 0.5
_REFUSED_MIN = 10
_OUT = 'condition=~"out|trial"'
_WHY = (
    "kubectl -n NAMESPACE port-forward svc/FLEET-gateway 8081 & sleep 2; curl -s http://127.0.0.1:8081/api/v1/endpoints"
)

_ENDPOINT = Page(
    name="PenstockEndpointOut",
    summary="{{ $labels.model }}: endpoint {{ $labels.endpoint }} has been out of use for 15 minutes",
    description="The gateway sends this endpoint nothing but a request now and then that tries it. The other endpoints "
    "of {{ $labels.model }} carry its load.",
    meaning="`penstock_endpoint_condition` says `out` or `trial` of the endpoint for 15 minutes, at any of the "
    "gateways: each judges by what it saw itself.",
    first=_WHY,
    causes=(
        Cause(
            "The engine hangs: `health_detail.why` says that it makes no steps, and its process runs.",
            "See PenstockEngineStalled; `kubectl -n NAMESPACE delete pod POD` is always right.",
        ),
        Cause(
            "It answers with errors while others don't: a damaged copy of the weights, a faulty GPU.",
            "See PenstockEngineErrors and PenstockGpuFault; delete the pod, and drain the node if it comes again.",
        ),
        Cause(
            "Only some gateways find it out: the network between two nodes fails.",
            "`penstock_endpoint_condition` by gateway's pod tells which; drain the node that they share.",
        ),
    ),
    wake="No, while PenstockPoolShrunk and PenstockModelDown are quiet.",
)
_SHRUNK = Page(
    name="PenstockPoolShrunk",
    summary="{{ $labels.model }}: {{ $value | humanizePercentage }} of its endpoints are out of use",
    description="More than half of the endpoints of {{ $labels.model }} get no requests. Those that are left carry at "
    "least twice their load, and may follow.",
    meaning="Endpoints whose `penstock_endpoint_condition` is `out` or `trial`, over all of the model's, as the "
    "gateway sees it that sees most of them out.",
    first=_WHY,
    causes=(
        Cause("A change went to all of them: image, flags, weights.", "Put the former one into the file and apply it."),
        Cause(
            "The load is too high for all: they answer 503, or nothing in time.",
            "See PenstockShedding and PenstockScalerAtMax: more replicas, or fewer requests.",
        ),
        Cause(
            "The gateway can't reach them: a network policy, a node that is cut off.",
            "`kubectl -n NAMESPACE get pods -o wide`: are those that are out on one node?",
        ),
        Cause("One request ends every engine that gets it.", "One caller is in the gateway's log before each end."),
    ),
    wake="By day at once; by night PenstockErrorBudgetBurn and PenstockModelDown wake somebody when users notice.",
)
_RETRIES = Page(
    name="PenstockRetriesRefused",
    summary="Fleet {{ $labels.fleet }}: {{ $value | humanize }} requests were not tried again in 10 minutes",
    description="So many requests fail at their endpoint that the gateway tries only some of them again elsewhere: the "
    "others end with an error. Trying all again would only double the load.",
    meaning="`penstock_retries_refused_total`: the retry budget of a model was used up.",
    first="kubectl -n NAMESPACE logs -l penstock.dev/fleet=FLEET,app.kubernetes.io/component=gateway --since=15m | "
    "grep -v outcome=ok | tail",
    causes=(
        Cause("Several endpoints fail at once.", "See PenstockPoolShrunk and PenstockEndpointFailing."),
        Cause("One kind of request fails everywhere.", "The log's `reason`, `tenant` and `route` tell which."),
    ),
    wake="No; PenstockErrorBudgetBurn does where it matters.",
)
PAGES = (_ENDPOINT, _SHRUNK, _RETRIES)


def endpoint_alerts(site: Site) -> Iterator[Alert]:
    """Alerts on endpoints, as gateways judge them."""
    gateway, w = scope(site, component="gateway"), window_name(site, 600)
    condition = "penstock_endpoint_condition"
    out = f"sum by (namespace, fleet, model, endpoint, pod) ({condition}{{{gateway},{_OUT}}})"
    expr = f"max by (namespace, fleet, model, endpoint) ({out}) == 1"
    yield Alert(page=_ENDPOINT, expr=expr, severity="warning", for_s=_OUT_S)
    by = "by (namespace, fleet, model, pod)"  # each endpoint has one condition, so their sum counts endpoints
    share = f"sum {by} ({condition}{{{gateway},{_OUT}}})\n/ (sum {by} ({condition}{{{gateway}}}) > 0)"
    expr = f"max by (namespace, fleet, model) ({share}) > {_SHRUNK_SHARE:g}"
    yield Alert(page=_SHRUNK, expr=expr, severity="warning", for_s=120)
    refused = f"sum by (namespace, fleet) (increase(penstock_retries_refused_total{{{gateway}}}[{w}]))"
    yield Alert(page=_RETRIES, expr=f"{refused} >= {_REFUSED_MIN}", severity="warning")
