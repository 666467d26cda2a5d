"""Of `/metrics`: what waits and why, what limits, ledger and stored responses do, and what was heard of endpoints.

Guarantees: names begin with `penstock_` and carry their unit; labels are models, classes, endpoints and reasons of the
gateway's own, all bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock.serve.core import Core
from penstock.serve.flow import CLASSES
from penstock.serve.flow.limits_state import LimitsState
from penstock.serve.io.ledger import LedgerState
from penstock.serve.routing.condition import CONDITIONS, condition_of
from penstock.serve.shelf import ShelfState

__all__ = ["REASONS", "FlowCollector", "Leanings"]

REASONS = ("deadline", "evicted", "model_gone", "no_endpoint", "queue_full", "queue_timeout")
"""Why the queue turns requests away: those of `Shed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leanings:
    """What a gateway leans on besides its engines; each answers None where there is nothing of the kind."""

    limits: Callable[[], LimitsState | None] = lambda: None
    ledger: Callable[[], LedgerState | None] = lambda: None


class FlowCollector(Collector):
    """Queues, limits, ledger, stored responses, health."""

    def __init__(self, core: Core, leanings: Leanings, now: Callable[[], float]) -> None:
        self._core = core
        self._leanings = leanings
        self._now = now

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known only to `collect`."""
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._queues()
        yield from self._health()
        yield from _limits(self._leanings.limits())
        yield from _ledger(self._leanings.ledger())
        yield from _responses(self._core.shelf.state)

    def _queues(self) -> Iterator[Metric]:
        flow, labels = self._core.flow, ("model", "class")
        waiting = GaugeMetricFamily("penstock_queue_requests", "Requests that wait in the gateway.", labels=labels)
        held = GaugeMetricFamily("penstock_queue_bytes", "Bytes of bodies that wait in the gateway.", labels=labels)
        shed = CounterMetricFamily(
            "penstock_shed_total", "Requests that the queue turned away.", labels=(*labels, "reason")
        )
        # all are there from the start: of a counter that begins above 0 Prometheus sees no increase
        queues = {(model, name): (0, 0) for model in self._models() for name in CLASSES}
        queues |= {(line.model, line.traffic_class): (line.waiting, line.body_bytes) for line in flow.snapshot()}
        for queue, (count, size) in sorted(queues.items()):
            waiting.add_metric(queue, count)
            held.add_metric(queue, size)
        turned_away = dict.fromkeys(((*queue, reason) for queue in queues for reason in REASONS), 0)
        for key, count in sorted((turned_away | flow.shed_total).items()):
            shed.add_metric(key, count)
        yield from (waiting, held, shed)
        yield CounterMetricFamily("penstock_queued_total", "Requests that waited in the gateway.", flow.queued_total)
        yield GaugeMetricFamily("penstock_gateways", "Gateways that share the engines.", flow.gateways)
        refused = self._core.retries_refused_total
        yield CounterMetricFamily("penstock_retries_refused_total", "Retries that the budget did not allow.", refused)
        total = self._core.decisions.total
        yield CounterMetricFamily("penstock_routing_decisions_total", "Requests sent to an endpoint.", total)

    def _models(self) -> set[str]:
        return {model.name for model in self._core.config.models.values()}

    def _health(self) -> Iterator[Metric]:
        labels = ("model", "endpoint")
        condition = GaugeMetricFamily(
            "penstock_endpoint_condition", "1 for the condition that the endpoint is in.", labels=(*labels, "condition")
        )
        ejected = CounterMetricFamily(
            "penstock_endpoint_ejections_total", "Times that the endpoint was taken out of use.", labels=labels
        )
        now = self._now()
        for endpoint in self._core.endpoints.all():
            key, found = (endpoint.model, endpoint.id), condition_of(endpoint, now)
            for name in CONDITIONS:
                condition.add_metric((*key, name), float(name == found))
            ejected.add_metric(key, endpoint.guard.ejections_total)
        yield from (condition, ejected)


def _limits(state: LimitsState | None) -> Iterator[Metric]:
    if state is None:
        return
    connected = float(state.is_connected)
    yield GaugeMetricFamily("penstock_limits_connected", "1 while the shared limits are there.", connected)
    for name, words, value in (
        ("asks", "Requests that the shared limits decided.", state.asks_total),
        ("degraded", "Requests decided by this gateway's share, as the shared limits were away.", state.degraded_total),
        ("failures", "Times that the shared limits could not be reached.", state.failures_total),
        ("settles_dropped", "Requests whose reservation stayed charged.", state.settles_dropped_total),
    ):
        yield CounterMetricFamily(f"penstock_limits_{name}_total", words, value)


def _ledger(state: LedgerState | None) -> Iterator[Metric]:
    if state is None:
        return
    yield GaugeMetricFamily("penstock_ledger_connected", "1 while the store takes use.", float(state.is_connected))
    journal = float(bool(state.journal_error))
    yield GaugeMetricFamily("penstock_ledger_journal_failed", "1 while the journal is in memory only.", journal)
    yield GaugeMetricFamily("penstock_ledger_waiting_requests", "Requests not in the store yet.", state.waiting)
    yield GaugeMetricFamily("penstock_ledger_silence_seconds", "Time since the store was up to date.", state.silent_s)
    yield GaugeMetricFamily("penstock_ledger_journal_bytes", "Bytes of the journal on disk.", state.journal_bytes)
    for name, words, value in (
        ("shipped", "Requests entered in the store.", state.shipped_total),
        ("recovered", "Requests of journals left behind.", state.recovered_total),
        ("dropped", "Requests for which there was no room anywhere.", state.dropped_total),
        ("failures", "Batches that the store did not take.", state.failures_total),
    ):
        yield CounterMetricFamily(f"penstock_ledger_{name}_total", words, value)


def _responses(state: ShelfState) -> Iterator[Metric]:
    name = "penstock_stored_responses"
    yield GaugeMetricFamily(name, "Responses in this gateway's memory; with a store, those not in it yet.", state.kept)
    yield GaugeMetricFamily(f"{name}_bytes", "Bytes of the responses in this gateway's memory.", state.kept_bytes)
    dropped = "Responses that found no room, or made room for others."
    yield CounterMetricFamily(f"{name}_dropped_total", dropped, state.dropped_total)
    if not state.has_store:
        return
    connected = float(state.is_connected)
    yield GaugeMetricFamily(f"{name}_connected", "1 while the store takes responses.", connected)
    yield CounterMetricFamily(f"{name}_written_total", "Responses that the store has taken.", state.written_total)
    failed = "Times that the store of responses did not answer."
    yield CounterMetricFamily(f"{name}_failures_total", failed, state.failures_total)
