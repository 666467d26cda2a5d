"""The gateway's own `/metrics`: telemetry's counts as Prometheus text, made when somebody asks.

Guarantees: names begin with `penstock_` and carry their unit; labels come from the fleet file, from discovery, or from
telemetry's bounded tallies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from penstock.serve.core import Core
from penstock.serve.histogram import Histogram
from penstock.serve.io.metrics_flow import FlowCollector, Leanings
from penstock.serve.platform import DiscoveryState, PlatformModel, StoreState
from penstock.serve.routing.endpoints import EndpointTable, Health
from penstock.serve.state import fresh_sample
from penstock.serve.tally import ModelTally
from penstock.serve.telemetry import Telemetry

__all__ = ["CONTENT_TYPE", "MetricsPage"]

CONTENT_TYPE = CONTENT_TYPE_LATEST

_HEALTHS: tuple[Health, ...] = ("ready", "unproven", "draining", "down")
_LATENCY_BOUNDS_MS = (
    *(1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 63.0, 80.0, 100.0, 160.0, 200.0, 250.0, 315.0, 400.0, 500.0, 630.0, 800.0),
    *(1e3, 1.6e3, 2e3, 2.5e3, 4e3, 5e3, 8e3, 1e4, 2e4, 4e4, 8e4, 1.6e5, 3.15e5, 6.3e5),
)
"""TTFT and whole requests: dense from 100 ms to 10 s, where objectives are set; to ten minutes."""
_TPOT_BOUNDS_MS = (
    *(1.0, 2.0, 4.0, 5.0, 8.0, 10.0, 16.0, 20.0, 25.0, 31.5, 40.0, 50.0, 63.0, 80.0, 100.0),
    *(160.0, 250.0, 500.0, 1e3, 2.5e3),
)
"""Time per output token: dense from 8 ms to 100 ms, where people read along."""
_WAIT_BOUNDS_MS = (
    *(1.0, 5.0, 10.0, 20.0, 40.0, 80.0, 100.0, 200.0, 250.0, 400.0, 500.0, 800.0),
    *(1e3, 2e3, 4e3, 8e3, 1e4, 2e4, 4e4, 8e4, 1.6e5, 3.15e5, 6.3e5),
)
"""Time in the queue: coarser than the others, as it is told for each class."""


class MetricsPage:
    """Renders `/metrics`. `now` is monotonic seconds; `connections` counts clients' open connections."""

    def __init__(
        self,
        telemetry: Telemetry,
        table: EndpointTable,
        *,
        now: Callable[[], float],
        connections: Callable[[], int],
        discovery: Callable[[], DiscoveryState | None] = lambda: None,
        store: Callable[[], StoreState | None] = lambda: None,
        core: Core | None = None,
        leanings: Leanings | None = None,
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        self._registry.register(_TrafficCollector(telemetry))
        self._registry.register(_FleetCollector(telemetry, table, now, connections))
        self._registry.register(_DiscoveryCollector(discovery, now))
        self._registry.register(_StoreCollector(store, now))
        if core is not None:
            self._registry.register(FlowCollector(core, leanings if leanings is not None else Leanings(), now))

    def render(self) -> bytes:
        """The page, in Prometheus' text format."""
        return generate_latest(self._registry)


class _TrafficCollector(Collector):
    """What clients asked for and got."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known only to `collect`."""
        return ()

    def collect(self) -> Iterator[Metric]:
        tallies = dict(self._telemetry.tallies())
        yield from _requests(tallies)
        yield from _tokens(tallies)
        yield _histogram(
            "penstock_request_duration_seconds",
            "Whole request, head read to last byte sent; outcomes ok and timeout.",
            _LATENCY_BOUNDS_MS,
            {model: tally.total for model, tally in tallies.items()},
        )
        yield _histogram(
            "penstock_ttft_seconds",
            "Time to first token of streams, head read to first token sent.",
            _LATENCY_BOUNDS_MS,
            {model: tally.ttft for model, tally in tallies.items()},
        )
        yield _histogram(
            "penstock_time_per_output_token_seconds",
            "Mean time per output token after the first, one value per stream.",
            _TPOT_BOUNDS_MS,
            {model: tally.tpot for model, tally in tallies.items()},
        )
        yield _waits(tallies)


def _requests(tallies: dict[str, ModelTally]) -> Iterator[Metric]:
    finished = CounterMetricFamily(
        "penstock_requests_total",
        "Finished requests. The model is empty where none was chosen.",
        labels=("model", "tenant", "class", "outcome"),
    )
    failed = CounterMetricFamily(
        "penstock_request_failures_total",
        "Finished requests whose outcome is not ok, by reason.",
        labels=("model", "outcome", "reason"),
    )
    retried = CounterMetricFamily(
        "penstock_retries_total", "Attempts on another endpoint before the first byte.", labels=("model",)
    )
    resumed = CounterMetricFamily("penstock_resumes_total", "Streams resumed on another endpoint.", labels=("model",))
    continued = CounterMetricFamily(
        "penstock_continuations_total",
        "Resumed streams whose text went on as another run of the model would have it.",
        labels=("model",),
    )
    hedged = CounterMetricFamily(
        "penstock_hedges_total",
        "Requests sent to a second endpoint as the first was late to begin, by which of the two answered.",
        labels=("model", "won"),
    )
    in_flight = GaugeMetricFamily(
        "penstock_in_flight_requests", "Requests begun and unfinished, queued ones included.", labels=("model",)
    )
    for model, tally in tallies.items():
        for (tenant, traffic_class), caller in tally.callers.items():
            for outcome, count in caller.outcomes.items():
                finished.add_metric((model, tenant, traffic_class, outcome), count)
        for (outcome, reason), count in tally.failures.items():
            failed.add_metric((model, outcome, reason), count)
        retried.add_metric((model,), tally.retries)
        resumed.add_metric((model,), tally.resumes)
        continued.add_metric((model,), tally.continued)
        for won, count in tally.hedges.items():
            hedged.add_metric((model, won), count)
        in_flight.add_metric((model,), tally.in_flight)
    yield from (finished, failed, retried, resumed, continued, hedged, in_flight)


def _tokens(tallies: dict[str, ModelTally]) -> Iterator[Metric]:
    labels = ("model", "tenant")
    prompt = CounterMetricFamily("penstock_prompt_tokens_total", "Prompt tokens that engines reported.", labels=labels)
    cached = CounterMetricFamily(
        "penstock_cached_tokens_total", "Prompt tokens that engines had in their prefix cache.", labels=labels
    )
    output = CounterMetricFamily("penstock_output_tokens_total", "Generated tokens.", labels=labels)
    for model, tally in tallies.items():
        by_tenant: dict[str, tuple[int, int, int]] = {}
        for (tenant, _), c in tally.callers.items():
            p, k, o = by_tenant.get(tenant, (0, 0, 0))
            by_tenant[tenant] = (p + c.prompt_tokens, k + c.cached_tokens, o + c.output_tokens)
        for tenant, counts in by_tenant.items():
            for family, count in zip((prompt, cached, output), counts, strict=True):
                family.add_metric((model, tenant), count)
    yield from (prompt, cached, output)


def _waits(tallies: dict[str, ModelTally]) -> Metric:
    family = HistogramMetricFamily(
        "penstock_queue_wait_seconds",
        "Time in the gateway's queue of requests that waited there and then went to an endpoint.",
        labels=("model", "class"),
    )
    bounds = [*(f"{bound / 1000:g}" for bound in _WAIT_BOUNDS_MS), "+Inf"]
    for model, tally in tallies.items():
        if model:
            for traffic_class, histogram in tally.waits.items():
                buckets = list(zip(bounds, map(float, histogram.cumulative(_WAIT_BOUNDS_MS)), strict=True))
                family.add_metric((model, traffic_class), buckets, histogram.sum_ms / 1000)
    return family


def _histogram(name: str, text: str, bounds_ms: tuple[float, ...], by_model: dict[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=("model",))
    bounds = [*(f"{bound / 1000:g}" for bound in bounds_ms), "+Inf"]
    for model, histogram in by_model.items():
        if model:
            buckets = list(zip(bounds, map(float, histogram.cumulative(bounds_ms)), strict=True))
            family.add_metric((model,), buckets, histogram.sum_ms / 1000)
    return family


class _DiscoveryCollector(Collector):
    """How well the gateway knows which endpoints there are; nothing where no cluster tells it."""

    def __init__(self, discovery: Callable[[], DiscoveryState | None], now: Callable[[], float]) -> None:
        self._discovery = discovery
        self._now = now

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known only to `collect`."""
        return ()

    def collect(self) -> Iterator[Metric]:
        state = self._discovery()
        if state is None:
            return
        yield GaugeMetricFamily(
            "penstock_discovery_connected", "1 while changes of endpoints are heard.", float(state.is_connected)
        )
        if state.heard_at:
            yield GaugeMetricFamily(
                "penstock_discovery_silence_seconds",
                "Time since the API server was last heard.",
                max(0.0, self._now() - state.heard_at),
            )
        for name, words, value in (
            ("events", "Changes of endpoints heard.", state.events_total),
            (
                "lists",
                "Whole lists of endpoints taken; one more after missed changes.",
                state.lists_total,
            ),
            ("failures", "Tries to hear of endpoints that failed.", state.failures_total),
        ):
            yield CounterMetricFamily(f"penstock_discovery_{name}_total", words, value)


class _StoreCollector(Collector):
    """How well the gateway knows the keys of its store; nothing where there is none."""

    def __init__(self, store: Callable[[], StoreState | None], now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known only to `collect`."""
        return ()

    def collect(self) -> Iterator[Metric]:
        state = self._store()
        if state is None:
            return
        yield GaugeMetricFamily(
            "penstock_store_connected", "1 while changes of keys are heard.", float(state.is_connected)
        )
        if state.read_at:
            silence_s = max(0.0, self._now() - state.read_at)
            yield GaugeMetricFamily(
                "penstock_store_silence_seconds", "Time since the store of keys was last read.", silence_s
            )
        yield GaugeMetricFamily("penstock_store_keys", "Valid keys of the store.", state.keys)
        yield GaugeMetricFamily(
            "penstock_store_snapshot_failed",
            "1 while the keys can't be kept for a start without the store.",
            float(bool(state.snapshot_error)),
        )
        yield CounterMetricFamily("penstock_store_changes_total", "Changes of keys taken.", state.changes_total)
        yield CounterMetricFamily(
            "penstock_store_failures_total", "Tries to read the store that failed.", state.failures_total
        )


class _FleetCollector(Collector):
    """What is there to answer with: endpoints, replicas, and the gateway itself."""

    def __init__(
        self,
        telemetry: Telemetry,
        table: EndpointTable,
        now: Callable[[], float],
        connections: Callable[[], int],
    ) -> None:
        self._telemetry = telemetry
        self._table = table
        self._now = now
        self._connections = connections

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known only to `collect`."""
        return ()

    def collect(self) -> Iterator[Metric]:
        telemetry = self._telemetry
        yield from self._endpoints()
        yield from self._engines()
        yield from self._replicas()
        yield GaugeMetricFamily("penstock_connections", "Open connections of clients.", self._connections())
        yield GaugeMetricFamily(
            "penstock_event_loop_lag_seconds", "How late the last one-second timer came.", telemetry.loop_lag_s
        )
        yield CounterMetricFamily(
            "penstock_log_lines_dropped_total",
            "Access-log lines dropped because the log could not keep up.",
            telemetry.log_lines_dropped,
        )
        yield InfoMetricFamily(
            "penstock_build",
            "Version of this gateway and the fleet it serves.",
            {"version": telemetry.version, "fleet": telemetry.fleet_name},
        )

    def _endpoints(self) -> Iterator[Metric]:
        labels = ("model", "endpoint")
        in_flight = GaugeMetricFamily(
            "penstock_endpoint_in_flight_requests", "Requests sent to the endpoint and unfinished.", labels=labels
        )
        health = GaugeMetricFamily(
            "penstock_endpoint_health", "1 for the health that the endpoint is in.", labels=(*labels, "health")
        )
        sent = CounterMetricFamily(
            "penstock_endpoint_dispatched_total", "Requests sent to the endpoint.", labels=labels
        )
        failed = CounterMetricFamily(
            "penstock_endpoint_failures_total", "Failed contacts with the endpoint.", labels=labels
        )
        for endpoint in self._table.all():
            key = (endpoint.model, endpoint.id)
            in_flight.add_metric(key, endpoint.in_flight)
            for name in _HEALTHS:
                health.add_metric((*key, name), float(endpoint.health == name))
            sent.add_metric(key, endpoint.dispatched_total)
            failed.add_metric(key, endpoint.failures_total)
        yield from (in_flight, health, sent, failed)

    def _engines(self) -> Iterator[Metric]:
        """What engines say of themselves; nothing for one that has not said so lately."""
        labels = ("model", "endpoint")
        running = GaugeMetricFamily(
            "penstock_endpoint_running_requests", "Requests in the engine's batch.", labels=labels
        )
        waiting = GaugeMetricFamily(
            "penstock_endpoint_waiting_requests", "Requests queued in the engine.", labels=labels
        )
        kv_usage = GaugeMetricFamily(
            "penstock_endpoint_kv_usage_ratio", "Share of the engine's KV blocks in use.", labels=labels
        )
        now = self._now()
        for endpoint in self._table.all():
            sample = fresh_sample(endpoint, now)
            if sample is not None:
                key = (endpoint.model, endpoint.id)
                running.add_metric(key, sample.running)
                waiting.add_metric(key, sample.waiting)
                kv_usage.add_metric(key, sample.kv_usage)
        yield from (running, waiting, kv_usage)

    def _replicas(self) -> Iterator[Metric]:
        desired = GaugeMetricFamily("penstock_replicas_desired", "Replicas the model should have.", labels=("model",))
        ready = GaugeMetricFamily("penstock_replicas_ready", "Replicas that answer.", labels=("model",))
        for model in self._telemetry.models:
            pool = self._table.pools.get(model)
            endpoints = pool.endpoints if pool else []
            wanted = (self._telemetry.platform.get(model) or PlatformModel()).replicas_desired
            desired.add_metric((model,), len(endpoints) if wanted is None else wanted)
            ready.add_metric((model,), sum(e.health == "ready" for e in endpoints))
        yield from (desired, ready)
