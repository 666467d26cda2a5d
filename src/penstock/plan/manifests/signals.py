"""The PromQL by which a model's load is told: what scaling asks, and what alerts watch it with. Pure.

Labels: our monitors put `namespace`, `fleet`, `component` and, on engines, `model` (its name in the fleet file) on each
series; the gateway says `model` itself. So a model's series are one selector, whatever its engine calls itself.

Guarantees of every query here: one element or none, never more; none where nothing was heard, never a made-up 0; what
is not a number is left out, and so is what a pod said before it went away, also when Prometheus itself was away then.
"""

from __future__ import annotations

from penstock.plan.manifests.site import Site
from penstock.spec import MonitoringSpec

__all__ = ["asked", "duration", "in_flight", "monitoring_of", "quoted", "scope", "window_s"]

_SCRAPES_MIN = 4
"""Scrapes in the shortest window of a rate: two make a rate, two may fail."""
_FRESH_SCRAPES = 3
_FRESH_S = 60


def monitoring_of(site: Site) -> MonitoringSpec:
    """The file's, else its defaults: scaling needs a Prometheus also where nobody asked for alerts."""
    return site.fleet.spec.monitoring or MonitoringSpec()


def quoted(text: str) -> str:
    """A PromQL string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def scope(site: Site, **labels: str) -> str:
    """Label matchers of the fleet's series; `labels` are matched exactly besides."""
    wanted = {"namespace": site.namespace, "fleet": site.name, **labels}
    return ",".join(f"{name}={quoted(value)}" for name, value in wanted.items())


def window_s(site: Site, seconds: int) -> int:
    """A rate's window, seconds: what is wanted, but never fewer than four scrapes."""
    return max(seconds, _SCRAPES_MIN * monitoring_of(site).interval_s)


def duration(seconds: int) -> str:
    """As Prometheus writes it: `5m`, `90s`, `3d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def in_flight(site: Site, model: str) -> str:
    """Requests of a model that are running or waiting, all replicas together.

    Told twice, and the higher is believed: engines do not know what waits in the gateway, and the gateway does not see
    what goes past it; while one of them is not heard the other still is.
    """
    where = scope(site, model=model)
    running, waiting, gateway = (
        _fresh_sum(site, f"{name}{{{where}}}")
        for name in ("vllm:num_requests_running", "vllm:num_requests_waiting", "penstock_in_flight_requests")
    )
    return "\n".join(
        (
            "max(",
            "  label_replace(",
            f"    {running}",
            f"    + {waiting},",
            '    "told_by", "engines", "", "")',
            "  or",
            "  label_replace(",
            f"    {gateway},",
            '    "told_by", "gateway", "", "")',
            ")",
        )
    )


def asked(site: Site, model: str) -> str:
    """1 where somebody asked for a model lately or waits for it, 0 where the gateway says that nobody did.

    Refused asks count too: a model without replicas refuses all. A counter's first value counts, as the first ask after
    the gateway's start is the one that shall wake the model; Prometheus' `increase` does not see it.
    """
    where = scope(site, model=model)
    counter = f'penstock_requests_total{{{where},outcome!~"client_error|limited"}}'
    lately = duration(window_s(site, 120))
    waiting = _fresh_sum(site, f"penstock_in_flight_requests{{{where}}}")
    return "\n".join(
        (
            "sgn(",
            f"  sum(increase({counter}[{lately}])) > 0",
            f"  or sum({counter} unless {counter} offset {lately}) > 0",
            f"  or {waiting}",
            ")",
        )
    )


def _fresh_sum(site: Site, selector: str) -> str:
    """Sum of gauges that were told within a minute."""
    fresh = duration(max(_FRESH_S, _FRESH_SCRAPES * monitoring_of(site).interval_s))
    return f"sum({selector} >= 0 and present_over_time({selector}[{fresh}]))"
