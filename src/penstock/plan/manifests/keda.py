"""A model's ScaledObject: KEDA makes the HPA from it. Pure. Checked against KEDA 2.20.

What is left to chance elsewhere and not here: a query that answers nothing is an error and keeps the replicas that run
(KEDA's own default takes it for 0 and scales to the minimum at the peak); one object scales a model, so no second HPA
fights it; only a step to 0 waits for `cooldownPeriod`, every other step is the HPA's `behavior`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from penstock.plan.manifests.controller import SCALER_PORT
from penstock.plan.manifests.law import (
    Target,
    behavior,
    bounds_of,
    floor_of,
    scale_target,
    sleeps,
    start_budget_s,
    target_of,
)
from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.signals import asked, in_flight, monitoring_of
from penstock.plan.manifests.site import Site
from penstock.spec import AutoscalingSpec

__all__ = ["scaled_object"]

_POLL_S = 15
"""As often as an HPA looks; KEDA's own 30 s would double the wait for a model that sleeps."""
_FAILURES = 3


def scaled_object(site: Site, needs: ModelNeeds, spec: AutoscalingSpec) -> Manifest:
    """`via: keda` and `via: penstock`."""
    name = site.names[needs.spec.name]
    bounds = bounds_of(site, needs, spec)
    return Manifest(
        body={
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": site.metadata("engine", name, name),
            "spec": {
                "scaleTargetRef": scale_target(site, needs),
                "pollingInterval": _POLL_S,
                **({"cooldownPeriod": _cooldown(site, needs, spec)} if bounds.least == 0 else {}),
                "minReplicaCount": _beside(bounds.least, bounds.floor),
                "maxReplicaCount": _beside(bounds.most, bounds.floor),
                "fallback": _fallback(needs, spec, bounds.floor),
                "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior(spec)}},
                "triggers": list(_triggers(site, needs, spec)),
            },
        },
        wave=Wave.SCALE,
        file=f"{name}/scaling",
        heading=f"Replicas of {needs.spec.name}. The only thing that sets them: KEDA makes an HPA of this by itself.",
    )


def _beside(replicas: int, floor: int) -> Any:
    if not floor:
        return replicas
    return Because(replicas, f"Beside the {floor} that always run (`onDemandReplicas`).")


def _cooldown(site: Site, needs: ModelNeeds, spec: AutoscalingSpec) -> Because:
    if not sleeps(site, needs):
        return Because(spec.scale_down_window_s, "For the step to 0 only, beside those that always run.")
    start_s = start_budget_s(needs)
    if start_s > spec.idle_s:
        reason = f"For the step to 0 only. `idleS` is {spec.idle_s}, less than a start may take, which would end it."
        return Because(start_s, reason)
    return Because(spec.idle_s, "For the step to 0 only: so long nobody asked (`idleS`).")


def _fallback(needs: ModelNeeds, spec: AutoscalingSpec, floor: int) -> Because:
    replicas = max(0, min(spec.max_replicas, max(1, spec.min_replicas, needs.replicas)) - floor)
    reason = (
        f"When Prometheus does not answer {_FAILURES} times: the replicas that run stay, and there are at least "
        f"{replicas}. An outage of the monitoring must not become one of the service."
    )
    return Because({"failureThreshold": _FAILURES, "replicas": replicas, "behavior": "currentReplicasIfHigher"}, reason)


def _triggers(site: Site, needs: ModelNeeds, spec: AutoscalingSpec) -> Iterator[Any]:
    """KEDA takes the highest of what they ask for."""
    model = needs.spec.name
    if spec.via == "penstock":
        yield Because(
            _external(site, model),
            "The controller's forecast. While it is away nothing is taken away; the trigger below still adds.",
        )
    floor = floor_of(site, needs)
    yield _by_requests(site, model, target_of(needs), floor)
    if sleeps(site, needs):
        yield _by_asking(site, model)
    names: set[str] = set()
    for entry in spec.schedule:
        if entry.replicas <= floor:
            continue
        yield {
            "type": "cron",
            "name": _unique(entry.name, names),
            "metadata": {
                "timezone": entry.timezone,
                "start": entry.start,
                "end": entry.end,
                "desiredReplicas": str(entry.replicas - floor),
            },
        }


def _by_requests(site: Site, model: str, target: Target, floor: int) -> Because:
    is_whole = target.requests == int(target.requests)
    query = in_flight(site, model)
    if floor:
        query = f"clamp_min({query} - {floor * target.requests:g}, 0)"
    threshold = str(int(target.requests)) if is_whole else str(round(target.requests * 1000))
    scaled = "" if is_whole else " Both in thousandths: KEDA's fallback reckons with whole targets only."
    trigger = {
        "type": "prometheus",
        "name": "requests",
        "metricType": Because("AverageValue", "desired = ceil(sum over all replicas / threshold)."),
        "metadata": {
            **_prometheus(site),
            "query": query if is_whole else f"1000 * {query}",
            "threshold": Because(threshold, target.reason + scaled),
            "activationThreshold": "0",
        },
    }
    reason = "Requests running and waiting, of all replicas: one number, or an error where neither engines nor gateway "
    without = f" Without what the {floor} that always run are meant to have." if floor else ""
    return Because(trigger, f"{reason}are heard.{without}")


def _by_asking(site: Site, model: str) -> Because:
    trigger = {
        "type": "prometheus",
        "name": "asked",
        "metricType": "AverageValue",
        "metadata": {**_prometheus(site), "query": asked(site, model), "threshold": "1", "activationThreshold": "0"},
    }
    return Because(trigger, "Wakes the model and keeps one replica while it is asked for; asks for no more than one.")


def _prometheus(site: Site) -> dict[str, Any]:
    null = Because("false", "No answer is an error, not 0: KEDA's default would scale to the minimum at the peak.")
    return {"serverAddress": monitoring_of(site).prometheus_url, "ignoreNullValues": null}


def _external(site: Site, model: str) -> dict[str, Any]:
    address = f"{dns_name(site.name, 'controller')}.{site.namespace}.svc:{SCALER_PORT}"
    return {
        "type": "external",
        "name": "forecast",
        "metricType": "AverageValue",
        "metadata": {"scalerAddress": address, "fleet": site.name, "model": model},
    }


def _unique(name: str, taken: set[str]) -> str:
    """A trigger's name: KEDA wants each once."""
    plain = "at-" + (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "times")
    unique, number = plain, 2
    while unique in taken:
        unique, number = f"{plain}-{number}", number + 1
    taken.add(unique)
    return unique
