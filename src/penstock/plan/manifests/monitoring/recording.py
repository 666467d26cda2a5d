"""Recorded series: what alerts and dashboards share, by model. Pure.

Names: `penstock:WHAT:HOW`. Ratios are absent where nothing was asked, never 0/0. Shares of requests within an objective
are read off the gateway's histogram, between two of its bounds in proportion, as `histogram_quantile` does it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from penstock.plan.manifests.law import sleeps, target_of
from penstock.plan.manifests.monitoring.rule import Record
from penstock.plan.manifests.signals import duration, quoted, scope, window_s
from penstock.plan.manifests.site import Site
from penstock.spec import ModelSpec

__all__ = [
    "BURN_WINDOWS_S",
    "BY",
    "FAILED",
    "JUDGED",
    "met",
    "model_records",
    "models_of",
    "records",
    "sleepers",
    "slow_share",
    "window_name",
]

BY = "by (namespace, fleet, model)"
FAILED = 'outcome=~"shed|timeout|upstream_error"'
"""Outcomes that are the service's fault: those that the gateway calls errors."""
JUDGED = 'outcome!~"client_error|limited"'
"""Without what a client did wrong or had no right to: a flood of those must not hide failures."""
BURN_WINDOWS_S = (300, 1800, 3600, 7200, 21600, 86400, 259200)
"""5 m, 30 m, 1 h, 2 h, 6 h, 1 d, 3 d: the windows of the four burn rates, short and long."""
LONG_WINDOWS_S = (3600, 21600, 86400, 259200)
_SHORT_S = 300
_LATENCY_BOUNDS_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.063, 0.08, 0.1, 0.16, 0.2, 0.25, 0.315, 0.4, 0.5, 0.63, 0.8),
    *(1.0, 1.6, 2.0, 2.5, 4.0, 5.0, 8.0, 10.0, 20.0, 40.0, 80.0, 160.0, 315.0, 630.0),
)
"""Bounds of the gateway's `penstock_ttft_seconds` and `penstock_request_duration_seconds`."""
_TPOT_BOUNDS_S = (
    *(0.001, 0.002, 0.004, 0.005, 0.008, 0.01, 0.016, 0.02, 0.025, 0.0315, 0.04, 0.05, 0.063, 0.08, 0.1),
    *(0.16, 0.25, 0.5, 1.0, 2.5),
)
"""Bounds of the gateway's `penstock_time_per_output_token_seconds`."""
_WAIT_BOUNDS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.1, 0.2, 0.25, 0.4, 0.5, 0.8),
    *(1.0, 2.0, 4.0, 8.0, 10.0, 20.0, 40.0, 80.0, 160.0, 315.0, 630.0),
)
"""Bounds of the gateway's `penstock_queue_wait_seconds`."""
_BOUNDS_S = {
    "penstock_queue_wait_seconds": _WAIT_BOUNDS_S,
    "penstock_ttft_seconds": _LATENCY_BOUNDS_S,
    "penstock_request_duration_seconds": _LATENCY_BOUNDS_S,
    "penstock_time_per_output_token_seconds": _TPOT_BOUNDS_S,
}


def models_of(site: Site) -> list[ModelSpec]:
    """All models that the gateway serves here, those that run elsewhere included."""
    return [m for m in site.fleet.spec.models if m.name in site.needs or m.endpoints is not None]


def sleepers(site: Site) -> list[str]:
    """Models that have no replica when nobody asks for them: their first requests are refused by design."""
    return [needs.spec.name for needs in site.needs.values() if sleeps(site, needs)]


def window_name(site: Site, seconds: int) -> str:
    """The window as names and ranges have it."""
    return duration(window_s(site, seconds))


def records(site: Site) -> dict[str, list[Record]]:
    """Recorded series of all models together, by group: each group is evaluated in order."""
    return {
        "load": [*_load(site), *_traffic(site), *_saturation(site), *_queue(site)],
        "latency": list(_latency(site)),
        "objectives": [record for w in BURN_WINDOWS_S for record in _burn(site, w)],
    }


def model_records(site: Site, model: ModelSpec) -> list[Record]:
    """Recorded series that depend on a model's own objectives."""
    objective_ms = model.objectives.ttft_ms
    slow = [] if objective_ms is None else [r for w in BURN_WINDOWS_S for r in _slow(site, model, objective_ms, w)]
    return [*slow, *_goodput(site, model)]


def _load(site: Site) -> Iterator[Record]:
    engines = scope(site, component="engine")
    yield Record(name="penstock:engine_running:sum", expr=f"sum {BY} (vllm:num_requests_running{{{engines}}})")
    yield Record(name="penstock:engine_waiting:sum", expr=f"sum {BY} (vllm:num_requests_waiting{{{engines}}})")
    yield Record(name="penstock:kv_usage:max", expr=f"max {BY} (vllm:kv_cache_usage_perc{{{engines}}})")
    yield Record(name="penstock:engines_up:count", expr=f"sum {BY} (up{{{engines}}})")
    # one gateway's in-flight counter may be lower than what engines have: somebody may go past the gateway
    gateway = scope(site, component="gateway")
    in_flight = f'sum {BY} (penstock_in_flight_requests{{{gateway},model!=""}})'
    ours = f"penstock:engine_running:sum{{{scope(site)}}} + penstock:engine_waiting:sum{{{scope(site)}}}"
    higher = f"({in_flight} >= ({ours}))\nor ({ours})\nor {in_flight}"
    yield Record(name="penstock:in_flight:max", expr=higher)


def _traffic(site: Site) -> Iterator[Record]:
    gateway, engines = scope(site, component="gateway"), scope(site, component="engine")
    w = window_name(site, _SHORT_S)
    asked = f"penstock_requests_total{{{gateway},{JUDGED}}}"
    yield Record(name=f"penstock:requests:rate{w}", expr=f"sum {BY} (rate({asked}[{w}]))")
    for name, series in (
        ("prompt_tokens", "vllm:prompt_tokens_total"),
        ("cached_tokens", "vllm:prompt_tokens_cached_total"),
        ("output_tokens", "vllm:generation_tokens_total"),
        ("preemptions", "vllm:num_preemptions_total"),
    ):
        yield Record(name=f"penstock:{name}:rate{w}", expr=f"sum {BY} (rate({series}{{{engines}}}[{w}]))")


def _saturation(site: Site) -> Iterator[Record]:
    """In flight over what the replicas that answer are meant to have."""
    for needs in site.needs.values():
        yield Record(
            name="penstock:replica_target:requests",
            expr=f"vector({target_of(needs).requests:g})",
            labels={"namespace": site.namespace, "fleet": site.name, "model": needs.spec.name},
        )
    here = scope(site)
    room = f"penstock:replica_target:requests{{{here}}} * penstock:engines_up:count{{{here}}}"
    yield Record(name="penstock:saturation:ratio", expr=f"penstock:in_flight:max{{{here}}} / ({room} > 0)")


def _queue(site: Site) -> Iterator[Record]:
    """What waits in the gateways, how long it waited, and what was turned away."""
    gateway, w = scope(site, component="gateway"), window_name(site, _SHORT_S)
    by = "by (namespace, fleet, model, class)"
    yield Record(name="penstock:queue_requests:sum", expr=f"sum {by} (penstock_queue_requests{{{gateway}}})")
    yield Record(name=f"penstock:shed:rate{w}", expr=f"sum {by} (rate(penstock_shed_total{{{gateway}}}[{w}]))")
    buckets = "sum by (namespace, fleet, model, class, le) "
    buckets += f"(rate(penstock_queue_wait_seconds_bucket{{{gateway}}}[{w}]))"
    for label, share in (("p50", 0.5), ("p95", 0.95)):
        expr = f"histogram_quantile({share:g}, {buckets}) >= 0"
        yield Record(name=f"penstock:queue_wait_seconds:{label}_{w}", expr=expr)


def _latency(site: Site) -> Iterator[Record]:
    w = window_name(site, _SHORT_S)
    for name, series, component in (
        ("ttft_seconds", "penstock_ttft_seconds", "gateway"),
        ("tpot_seconds", "penstock_time_per_output_token_seconds", "gateway"),
        ("request_seconds", "penstock_request_duration_seconds", "gateway"),
        ("engine_ttft_seconds", "vllm:time_to_first_token_seconds", "engine"),
        ("engine_itl_seconds", "vllm:inter_token_latency_seconds", "engine"),
        ("engine_queue_seconds", "vllm:request_queue_time_seconds", "engine"),
    ):
        where = scope(site, component=component)
        buckets = f"sum by (namespace, fleet, model, le) (rate({series}_bucket{{{where}}}[{w}]))"
        for label, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            # the comparison drops NaN, which is what a quantile of nothing is
            expr = f"histogram_quantile({share:g}, {buckets}) >= 0"
            yield Record(name=f"penstock:{name}:{label}_{w}", expr=expr)


def _burn(site: Site, seconds: int) -> Iterator[Record]:
    w = window_name(site, seconds)
    gateway = scope(site, component="gateway") + ',model!=""'
    judged = f"sum {BY} (rate(penstock_requests_total{{{gateway},{JUDGED}}}[{w}]))"
    yield Record(name=f"penstock:errors:ratio_rate{w}", expr=f"({_failed(site, gateway, w)})\n/ ({judged} > 0)")
    if seconds in LONG_WINDOWS_S:
        count = f"({_failed(site, gateway, w)}) * {window_s(site, seconds)}"
        yield Record(name=f"penstock:errors:increase{w}", expr=count)


def _failed(site: Site, gateway: str, w: str) -> str:
    """Failures per second; of models that sleep, without the refusals that wake them."""
    failed = f"sum {BY} (rate(penstock_requests_total{{{gateway},{FAILED}}}[{w}]))"
    asleep = sleepers(site)
    if not asleep:
        return failed
    names = quoted("|".join(name.replace(".", "\\.") for name in asleep))
    refused = f'penstock_request_failures_total{{{gateway},reason="no_endpoint",model=~{names}}}'
    return f"clamp_min({failed} - sum {BY} (rate({refused}[{w}])), 0)\nor {failed}"


def _slow(site: Site, model: ModelSpec, objective_ms: float, seconds: int) -> Iterator[Record]:
    w = window_name(site, seconds)
    share = slow_share(site, model.name, "penstock_ttft_seconds", objective_ms / 1000, w)
    yield Record(name=f"penstock:ttft_slow:ratio_rate{w}", expr=share, labels={"model": model.name})
    if seconds in LONG_WINDOWS_S:
        where = scope(site, component="gateway", model=model.name)
        streams = f"sum {BY} (rate(penstock_ttft_seconds_count{{{where}}}[{w}])) * {window_s(site, seconds)}"
        expr = f"penstock:ttft_slow:ratio_rate{w}{{{scope(site, model=model.name)}}} * {streams}"
        yield Record(name=f"penstock:ttft_slow:increase{w}", expr=expr, labels={"model": model.name})


def slow_share(site: Site, model: str, name: str, objective_s: float, w: str) -> str:
    """Share of requests that took longer than the objective; nothing where there were none."""
    where = scope(site, component="gateway", model=model)
    in_time = met(f"{name}_bucket{{{where},le=~%s}}", name, objective_s, w)
    return f"clamp_min(1 - ({in_time})\n/ (sum {BY} (rate({name}_count{{{where}}}[{w}])) > 0), 0)"


def met(selector: str, name: str, objective_s: float, w: str) -> str:
    """Requests per second within the objective, by the histogram `name`; `%s` in the selector of its buckets is where
    the bound goes."""
    bounds = _BOUNDS_S[name]

    def within(le: str) -> str:
        return f"sum {BY} (rate({selector % le}[{w}]))"

    place = bisect_left(bounds, objective_s)
    if place < len(bounds) and bounds[place] == objective_s:
        return within(_le(objective_s))
    above = '"\\\\+Inf"' if place == len(bounds) else _le(bounds[place])
    if place in (0, len(bounds)):
        return within(above)
    low, high = bounds[place - 1], bounds[place]
    share = (objective_s - low) / (high - low)
    return f"{share:.4g} * {within(above)}\n+ {1 - share:.4g} * {within(_le(low))}"


def _le(bound: float) -> str:
    """A bound as either Prometheus keeps it: 2 writes `1`, 3 writes `1.0`."""
    text = f"{bound:g}"
    return quoted(text.replace(".", "\\.") if "." in text else f"{text}(\\.0)?")


def _goodput(site: Site, model: ModelSpec) -> Iterator[Record]:
    """Per objective the share of requests that met it, and requests per second that met them all, at most."""
    w, limits, labels = window_name(site, _SHORT_S), model.objectives, {"model": model.name}
    for objective, limit_ms, series in (
        ("ttft", limits.ttft_ms, "penstock_ttft_seconds"),
        ("itl", limits.itl_ms, "penstock_time_per_output_token_seconds"),
        ("e2e", limits.e2e_ms, "penstock_request_duration_seconds"),
    ):
        if limit_ms is not None:
            share = slow_share(site, model.name, series, limit_ms / 1000, w)
            name = f"penstock:objective_met:ratio_rate{w}"
            yield Record(name=name, expr=f"1 - {share}", labels={"objective": objective, **labels})
    where = scope(site, component="gateway", model=model.name)
    ok = f'sum {BY} (rate(penstock_requests_total{{{where},outcome="ok"}}[{w}]))'
    met = f"min {BY} (penstock:objective_met:ratio_rate{w}{{{scope(site, **labels)}}})"
    yield Record(name=f"penstock:goodput:rate{w}", expr=f"{ok}\n* {met}\nor {ok}", labels=labels)
