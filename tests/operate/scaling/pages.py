"""Pages of gateways for the tests, written by the gateway's own code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector


class _Traffic(Collector):
    """The families that scaling reads, as `serve/io/metrics` has them."""

    def __init__(self, fleet: str, loads: Mapping[str, float], finished: Mapping[tuple[str, str], float]) -> None:
        self._fleet, self._loads, self._finished = fleet, loads, finished

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "penstock_requests_total", "Finished.", labels=("model", "tenant", "class", "outcome")
        )
        for (model, outcome), count in self._finished.items():
            requests.add_metric((model, "a", "batch", outcome), count)
        in_flight = GaugeMetricFamily("penstock_in_flight_requests", "Begun.", labels=("model",))
        for model, load in self._loads.items():
            in_flight.add_metric((model,), load)
        yield requests
        yield in_flight
        yield InfoMetricFamily("penstock_build", "Build.", {"version": "1", "fleet": self._fleet})


def page(fleet: str, loads: Mapping[str, float], finished: Mapping[tuple[str, str], float] | None = None) -> bytes:
    """A gateway's `/metrics`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Traffic(fleet, loads, finished or {}))
    return generate_latest(registry)
