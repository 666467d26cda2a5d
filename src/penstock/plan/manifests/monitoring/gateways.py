"""Alerts on the gateway: gone, restarting, failing by itself, full, slow. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.monitoring.recording import window_name
from penstock.plan.manifests.monitoring.rule import Alert, Cause, Page
from penstock.plan.manifests.signals import scope
from penstock.plan.manifests.site import Site

__all__ = ["PAGES", "gateway_alerts"]

_LAG_S = 0.1
_LOGS = "kubectl -n NAMESPACE logs -l penstock.dev/fleet=FLEET,app.kubernetes.io/component=gateway --since=15m"
_PODS = "kubectl -n NAMESPACE get pods -l penstock.dev/fleet=FLEET,app.kubernetes.io/component=gateway -o wide"

_DOWN = Page(
    name="PenstockGatewayDown",
    summary="No gateway of fleet {{ $labels.fleet }} answers",
    description="Prometheus reaches no gateway of the fleet. Most likely no client does either: every model of the "
    "fleet is out of reach.",
    meaning="No target of the gateway answers its scrape for two minutes.",
    first=_PODS,
    causes=(
        Cause("The pods crash: `CrashLoopBackOff`.", f"Read why: `{_LOGS} --previous`; take the last change back."),
        Cause("They are not placed: `Pending`.", "`kubectl -n NAMESPACE describe pod POD` says which resource lacks."),
        Cause(
            "They run and Prometheus is kept out.",
            "Try a request from outside; then see `monitoring.namespace` and the network policies.",
        ),
    ),
    wake="At once.",
)
_RESTARTS = Page(
    name="PenstockGatewayRestarts",
    summary="Gateway {{ $labels.pod }} restarted {{ $value }} times in an hour",
    description="Each restart cuts the streams that this gateway carried.",
    meaning="How often the process began anew in the same pod within an hour.",
    first="kubectl -n NAMESPACE describe pod POD | grep -A8 'Last State'",
    causes=(
        Cause(
            "It is killed for memory: exit code 137.", "Raise `gateway.scale.memory`, or lower `limits.inFlightMax`."
        ),
        Cause(
            "The liveness probe ends it: its event loop hangs.", "See PenstockGatewaySlow; keep the log and report it."
        ),
        Cause("It crashes.", f"`{_LOGS} --previous` has the last words; report them."),
    ),
    wake="No, while other gateways run.",
)
_FAULTS = Page(
    name="PenstockGatewayFaults",
    summary="The gateway failed by itself on {{ $value | humanize }} requests in 15 minutes",
    description="Requests ended with `internal_error`: neither caller nor engine is at fault, the gateway is.",
    meaning='`penstock_request_failures_total` with `reason="internal_error"`.',
    first=f"{_LOGS} | grep -A20 internal_error",
    causes=(Cause("A bug of the gateway.", "Go back to the version before, and report the log's trace."),),
    wake="No; PenstockErrorBudgetBurn does where it matters.",
)
_FULL = Page(
    name="PenstockGatewayFull",
    summary="The gateway turned away {{ $value | humanize }} requests in 5 minutes: it is full",
    description="A gateway has as many requests in flight as it may have and answers 503 with Retry-After.",
    meaning='`penstock_request_failures_total` with `reason="overloaded"`: the bound is `limits.inFlightMax`.',
    first=_PODS,
    causes=(
        Cause("Engines are slow and requests pile up.", "See PenstockQueueing and PenstockTtftBudgetBurn."),
        Cause("More clients than before.", "Raise `gateway.scale.maxReplicas`; then `limits.inFlightMax` and memory."),
    ),
    wake="No; PenstockErrorBudgetBurn does where it matters.",
)
_SLOW = Page(
    name="PenstockGatewaySlow",
    summary="Gateway {{ $labels.pod }} is late by {{ $value | humanizeDuration }}",
    description="The gateway has more work than one core does; each token of each stream through it is late.",
    meaning="How late its one-second timer comes, mean of five minutes: what any request may wait inside the gateway.",
    first="kubectl -n NAMESPACE top pods -l penstock.dev/fleet=FLEET,app.kubernetes.io/component=gateway",
    causes=(
        Cause("It uses its whole core.", "Raise `gateway.scale.maxReplicas`, or lower `cpuPercent`."),
        Cause("The node is overcommitted.", "Raise `gateway.scale.cpu`, so that the scheduler keeps a core for it."),
    ),
    wake="No.",
)
_LOG_LINES = Page(
    name="PenstockLogLinesLost",
    summary="Gateway {{ $labels.pod }} dropped {{ $value | humanize }} access-log lines",
    description="The access log is incomplete; requests are not affected.",
    meaning="Lines that could not be written in time are dropped rather than slow requests down.",
    first="kubectl -n NAMESPACE get pod POD -o jsonpath='{.spec.nodeName}'",
    causes=(Cause("The node's log disk is slow or full.", "Look at the node; or write the log to a volume."),),
    wake="No.",
)
_ENDPOINT = Page(
    name="PenstockEndpointFailing",
    summary="Endpoint {{ $labels.endpoint }} of {{ $labels.model }} fails",
    description="The gateway could not use this endpoint {{ $value | humanize }} times in ten minutes. Its requests "
    "went to others where there were any.",
    meaning="Connections refused or cut, answers that never came, errors of the engine.",
    first=f"{_LOGS} | grep 'model=MODEL' | grep -v outcome=ok | tail",
    causes=(
        Cause("The engine is ending or restarting.", "See PenstockEngineDown and PenstockEngineRestarts."),
        Cause("The network between two nodes fails.", "All failing endpoints on one node: drain it."),
    ),
    wake="No.",
)
_STORE = Page(
    name="PenstockStoreAway",
    summary="Gateway {{ $labels.pod }} can't read the store of keys",
    description="It goes on with the keys that it read last: one that is made now is not known there, and one that is "
    "revoked now stays valid there.",
    meaning="`penstock_store_connected` was 0 for five minutes: the gateway hears of no change of keys.",
    first=f"{_LOGS} | grep -i store | tail",
    causes=(
        Cause(
            "The database is down, or fails over.",
            "Bring it back: gateways connect again by themselves, within seconds.",
        ),
        Cause(
            "Its password or certificate was changed.",
            "Put the new one into the Secret that `gateway.store` names; a file is taken within two minutes, an "
            "environment variable with a restart.",
        ),
        Cause(
            "A network policy or a firewall keeps the gateway out.",
            "All gateways tell so, and the database runs: look at the policies of the database's namespace.",
        ),
    ),
    wake="No, unless a key must be revoked now. Restart no gateway meanwhile: a new pod knows no keys, and does not "
    "start without the database.",
)
PAGES = (_DOWN, _RESTARTS, _FAULTS, _FULL, _SLOW, _LOG_LINES, _ENDPOINT, _STORE)


def gateway_alerts(site: Site) -> Iterator[Alert]:
    """Alerts on the gateway."""
    gateway = scope(site, component="gateway")
    by, by_pod = "by (namespace, fleet)", "by (namespace, fleet, pod)"
    w5, w10, w15 = (window_name(site, seconds) for seconds in (300, 600, 900))
    yield Alert(page=_DOWN, expr=f"absent(up{{{gateway}}} == 1)", severity="critical", for_s=120)
    restarts = f"changes(process_start_time_seconds{{{gateway}}}[1h])"
    yield Alert(page=_RESTARTS, expr=f"max {by_pod} ({restarts}) >= 2", severity="warning")
    yield Alert(page=_FAULTS, expr=f"sum {by} ({_failures(gateway, 'internal_error', w15)}) >= 3", severity="warning")
    yield Alert(page=_FULL, expr=f"sum {by} ({_failures(gateway, 'overloaded', w5)}) >= 10", severity="warning")
    lag = f"max {by_pod} (avg_over_time(penstock_event_loop_lag_seconds{{{gateway}}}[{w5}]))"
    yield Alert(page=_SLOW, expr=f"{lag} > {_LAG_S:g}", severity="warning", for_s=300)
    lost = f"increase(penstock_log_lines_dropped_total{{{gateway}}}[{w15}])"
    yield Alert(page=_LOG_LINES, expr=f"sum {by_pod} ({lost}) > 0", severity="info")
    failed = f"increase(penstock_endpoint_failures_total{{{gateway}}}[{w10}])"
    expr = f"sum by (namespace, fleet, model, endpoint) ({failed}) >= 5"
    yield Alert(page=_ENDPOINT, expr=expr, severity="warning", for_s=300)
    if site.fleet.spec.gateway.store is not None:
        expr = f"min {by_pod} (penstock_store_connected{{{gateway}}}) == 0"
        yield Alert(page=_STORE, expr=expr, severity="warning", for_s=300)


def _failures(gateway: str, reason: str, w: str) -> str:
    return f'increase(penstock_request_failures_total{{{gateway},reason="{reason}"}}[{w}])'
