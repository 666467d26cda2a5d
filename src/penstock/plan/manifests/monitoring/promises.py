"""Alerts on what was promised: how fast the budgets for failed and for late requests are used up, and models that are
gone altogether. Pure.

Four burn rates, each over a long window and a short one: the long one says that it matters, the short one that it still
goes on. None fires for fewer than ten requests: one failure of three at night is no rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from penstock.plan.manifests.law import start_budget_s
from penstock.plan.manifests.monitoring.recording import models_of, sleepers, window_name
from penstock.plan.manifests.monitoring.rule import Alert, Cause, Page, Severity
from penstock.plan.manifests.signals import asked, monitoring_of, quoted, scope, window_s
from penstock.plan.manifests.site import Site

__all__ = ["PAGES", "promise_alerts"]

REQUESTS_MIN = 10
"""Failed or late requests in the long window, below which nobody is told."""


@dataclass(frozen=True, slots=True)
class _Burn:
    """`rate` times the speed that would use the budget up in 30 days."""

    rate: float
    long_s: int
    short_s: int
    severity: Severity


_BURNS = (
    _Burn(14.4, 3600, 300, "critical"),
    _Burn(6, 21600, 1800, "critical"),
    _Burn(3, 86400, 7200, "warning"),
    _Burn(1, 259200, 21600, "warning"),
)
"""2 % of a month's budget in 1 h, 5 % in 6 h, 10 % in 1 d, 10 % in 3 d."""

_PODS = "kubectl -n NAMESPACE get pods -l penstock.dev/fleet=FLEET -o wide"

_ERRORS = Page(
    name="PenstockErrorBudgetBurn",
    summary="{{ $labels.model }}: {{ $value | humanizePercentage }} of requests fail",
    description="Requests for {{ $labels.model }} fail through no fault of the caller, {{ $labels.burn }} times as "
    "fast as its availability promise allows over a month (seen over {{ $labels.window }}).",
    meaning="Of the requests that were not refused for the caller's own fault (outcomes `client_error` and `limited`), "
    "the share that was shed, timed out or failed in the engine, as the gateway counted them. A model that may scale "
    "to zero is not charged for the refusals that wake it.",
    first="kubectl -n NAMESPACE logs -l penstock.dev/fleet=FLEET,app.kubernetes.io/component=gateway --since=10m | "
    "grep 'model=MODEL' | grep -v outcome=ok | tail",
    causes=(
        Cause(
            "Engines crash or restart: `reason=no_endpoint` and `upstream_error` in the log.",
            "Look at PenstockEngineRestarts and the engine's last words: `kubectl -n NAMESPACE logs POD --previous`.",
        ),
        Cause(
            "There are too few replicas: `timeout`, and requests wait.",
            "Raise `maxReplicas`, or lower the load: PenstockQueueing and PenstockScalerAtMax say which.",
        ),
        Cause(
            "A new revision is worse than the old one: it began with a rollout.",
            "Roll back: put the former `revision` or `engine` into the fleet file and apply it.",
        ),
        Cause(
            "A node or its network failed: one endpoint has all the failures.", "Drain the node; the rest takes over."
        ),
    ),
    wake="At `critical`, at once: a month's budget is gone in two to five days at this rate. At `warning`, next "
    "morning.",
)
_TTFT = Page(
    name="PenstockTtftBudgetBurn",
    summary="{{ $labels.model }}: {{ $value | humanizePercentage }} of streams begin late",
    description="First tokens of {{ $labels.model }} come later than its objective {{ $labels.burn }} times as often "
    "as its promise allows over a month (seen over {{ $labels.window }}).",
    meaning="The share of streams whose first token came later than `objectives.ttftMs`, from the end of the request's "
    "head to the first token sent, waiting included, as the gateway measured it. Requests that fail are not in it.",
    first="kubectl -n NAMESPACE get hpa,pods -l penstock.dev/fleet=FLEET",
    causes=(
        Cause(
            "Requests wait for a place: PenstockQueueing fires too, or saturation on the dashboard is over 1.",
            "Give it replicas: raise `maxReplicas`, or `minReplicas` where the load comes faster than a start takes.",
        ),
        Cause(
            "Prompts are longer than planned: prompt tokens per request grew.",
            "Correct `demand.inputTokens` and ask `penstock plan` again.",
        ),
        Cause(
            "The prefix cache misses: the share of cached tokens fell, as after a rollout or a change of the prompts.",
            "Wait for it to fill; keep what prompts have in common at their beginning.",
        ),
        Cause(
            "The engine is slow by itself: its own TTFT is as high with nothing waiting.",
            "Look at PenstockGpuHot: a GPU that is too hot slows down. Compare with `penstock bench`.",
        ),
    ),
    wake="At `critical`, at once. At `warning`, next morning.",
)
_DOWN = Page(
    name="PenstockModelDown",
    summary="{{ $labels.model }} has no engine that answers",
    description="No replica of {{ $labels.model }} is ready, and within the last day there was one. Every request "
    "for it is refused with 503.",
    meaning="The gateway finds no endpoint of the model that answers. Models that may scale to zero are not watched by "
    "this alert but by PenstockWakeSlow, and a model that never was ready by PenstockReplicasMissing.",
    first=_PODS,
    causes=(
        Cause(
            "The engine restarts and loads again: `RESTARTS` grew.",
            "Read why: `kubectl -n NAMESPACE logs POD --previous | tail -50`. It comes back by itself when loaded.",
        ),
        Cause(
            "Pods are Pending: no node has the GPUs.",
            "`kubectl -n NAMESPACE describe pod POD` says which constraint fails; add nodes or free some.",
        ),
        Cause(
            "A new revision does not start.",
            "Put the former one into the fleet file and apply it.",
        ),
        Cause(
            "The gateway cannot reach engines that run: a network policy or its rights to read endpoints.",
            "`kubectl -n NAMESPACE get endpointslices -l penstock.dev/fleet=FLEET` must list addresses.",
        ),
    ),
    wake="At once: users of this model get nothing.",
)
_WAKE = Page(
    name="PenstockWakeSlow",
    summary="{{ $labels.model }} is asked for and does not wake",
    description="Somebody asks for {{ $labels.model }}, which was asleep, and for longer than a start may take no "
    "engine of it is ready.",
    meaning="Requests came within the last minutes and none of the model's replicas is ready, for as long as the "
    "startup probe allows and five minutes more.",
    first="kubectl -n NAMESPACE describe scaledobject -l penstock.dev/fleet=FLEET | grep -A12 Conditions",
    causes=(
        Cause(
            "KEDA cannot ask Prometheus: `Ready` is False in the conditions.",
            "See PenstockScalerBlind; meanwhile `kubectl -n NAMESPACE scale deployment NAME --replicas=1` wakes it.",
        ),
        Cause("Pods are Pending: no node has the GPUs.", "Add nodes, or free some; see the pod's events."),
        Cause(
            "The engine starts and is ended before it is ready.",
            "See PenstockStartSlow and `kubectl -n NAMESPACE logs POD --previous`.",
        ),
    ),
    wake="At once if people wait for it by day; a model that may sleep is rarely worth a night.",
)
PAGES = (_ERRORS, _TTFT, _DOWN, _WAKE)


def promise_alerts(site: Site) -> Iterator[Alert]:
    """Burn rates, and models that are gone."""
    monitoring, here = monitoring_of(site), scope(site)
    yield from _burn(site, _ERRORS, "penstock:errors", 1 - monitoring.availability)
    if any(model.objectives.ttft_ms is not None for model in models_of(site)):
        yield from _burn(site, _TTFT, "penstock:ttft_slow", 1 - monitoring.ttft_share)
    asleep = sleepers(site)
    switched_off = [n.spec.name for n in site.needs.values() if n.spec.autoscaling is None and n.replicas == 0]
    without = "|".join(name.replace(".", "\\.") for name in (*asleep, *switched_off))
    awake = f",model!~{quoted(without)}" if without else ""
    ready = f"penstock_replicas_ready{{{here}{awake}}}"
    by = "max by (namespace, fleet, model)"
    yield Alert(
        page=_DOWN,
        expr=f"{by} ({ready}) == 0 and {by} (max_over_time({ready}[1d])) > 0",
        severity="critical",
        for_s=120,
    )
    for name in asleep:
        yield Alert(
            page=_WAKE,
            expr=f"{asked(site, name)} == 1 and max(penstock_replicas_ready{{{scope(site, model=name)}}}) == 0",
            severity="warning",
            for_s=start_budget_s(site.needs[name]) + 300,
            labels={"namespace": site.namespace, "fleet": site.name, "model": name},
        )


def _burn(site: Site, page: Page, series: str, budget: float) -> Iterator[Alert]:
    here = scope(site)
    for burn in _BURNS:
        limit = burn.rate * budget
        if limit >= 1:  # the promise is so weak that even a total outage burns no faster
            continue
        long, short = window_name(site, burn.long_s), window_name(site, burn.short_s)
        yield Alert(
            page=page,
            expr=f"{series}:ratio_rate{long}{{{here}}} > {limit:.6g}\n"
            f"and {series}:ratio_rate{short}{{{here}}} > {limit:.6g}\n"
            f"and {series}:increase{long}{{{here}}} >= {REQUESTS_MIN}",
            severity=burn.severity,
            for_s=2 * monitoring_of(site).interval_s if burn.long_s == 3600 else window_s(site, 300),
            labels={"burn": f"{burn.rate:g}", "window": long},
        )
