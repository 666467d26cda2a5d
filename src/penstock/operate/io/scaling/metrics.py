"""What the scaler says of itself on the controller's `/metrics`: decisions now, and counts of what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock.operate.scaling import Desk, Unknown

__all__ = ["ScalerCounts"]


class ScalerCounts(Collector):
    """Registers itself; labels are fleets and models that are kept here, methods and results of ours."""

    def __init__(self, registry: CollectorRegistry, desk: Desk, clock: Callable[[], float]) -> None:
        self._desk = desk
        self._clock = clock
        self._calls = Counter(
            "penstock_scaler_calls", "Questions of KEDA, by how they ended.", ("method", "result"), registry=registry
        )
        self._reads = Counter(
            "penstock_scaler_reads", "Times that a gateway was asked.", ("fleet", "result"), registry=registry
        )
        self._faults = Counter(
            "penstock_scaler_faults", "Faults of the scaler itself, and of the API server.", registry=registry
        )
        registry.register(self)

    def call(self, method: str, result: str) -> None:
        """KEDA asked; `result` is answered, silent, unknown or malformed."""
        self._calls.labels(method, result).inc()

    def read(self, fleet: str, *, is_heard: bool) -> None:
        """A gateway was asked."""
        self._reads.labels(fleet, "heard" if is_heard else "silent").inc()

    def fault(self) -> None:
        """Gateways could not be followed."""
        self._faults.inc()

    def forget(self, fleet: str) -> None:
        """A fleet is gone."""
        for result in ("heard", "silent"):
            self._reads.remove(fleet, result)

    def describe(self) -> Iterator[Metric]:
        """Nothing: fleets are known only to `collect`."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Decisions of this moment."""
        now = self._clock()
        labels = ("fleet", "model")
        known = GaugeMetricFamily("penstock_scaler_known", "1 while a model's load is known.", labels=labels)
        present = GaugeMetricFamily("penstock_scaler_present_requests", "Requests in flight.", labels=labels)
        wanted = GaugeMetricFamily(
            "penstock_scaler_recommended_requests", "Requests that replicas should be there for.", labels=labels
        )
        target = GaugeMetricFamily(
            "penstock_scaler_target_requests", "Requests that one replica is meant to have.", labels=labels
        )
        for row in self._desk.rows(now):
            key = (row.fleet, row.policy.model)
            target.add_metric(key, row.policy.target)
            known.add_metric(key, 0.0 if isinstance(row.decision, Unknown) else 1.0)
            if not isinstance(row.decision, Unknown):
                present.add_metric(key, row.decision.present)
                wanted.add_metric(key, row.decision.value)
        gateways = GaugeMetricFamily(
            "penstock_scaler_gateways", "Gateways, by whether their load is known.", labels=("fleet", "state")
        )
        for fleet, (heard, count) in self._desk.heard(now).items():
            gateways.add_metric((fleet, "heard"), heard)
            gateways.add_metric((fleet, "silent"), count - heard)
        yield from (known, present, wanted, target, gateways)
