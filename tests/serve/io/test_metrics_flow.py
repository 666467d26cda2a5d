"""What `/metrics` tells of queues, limits, the ledger and health is what they are; what is not there is not told."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from penstock.serve.core import Core
from penstock.serve.flow.limits_state import LimitsState
from penstock.serve.io.ledger import LedgerState
from penstock.serve.io.metrics_flow import FlowCollector, Leanings
from penstock.serve.shelf import LocalShelf, ShelfState
from penstock.serve.stored import Stored
from serve.exchanges import Call, answer, core, fail
from serve.gateways import KEY, config

SETTINGS = (
    f"    queue: {{requestsMax: 1}}\n    tenants:\n      - {{name: acme, keys: [{{value: {KEY}}}]}}\n",
    """\
    - name: chat
      endpoints: ["http://127.0.0.1:1"]
      concurrency: 1
""",
)
LEDGER: dict[str, Any] = {
    "where": "usage.db",
    "journal": "ledger",
    "is_connected": False,
    "error": "its disk is full",
    "journal_error": "",
    "waiting": 7,
    "silent_s": 3.5,
    "journal_bytes": 4096,
    "shipped_total": 11,
    "recovered_total": 2,
    "dropped_total": 1,
    "failures_total": 5,
}


@pytest.fixture
def gateway() -> Core:
    return core(1, settings=config(*SETTINGS))


def shown(gateway: Core, leanings: Leanings | None = None, now: float = 200.0) -> dict[str, float]:
    """Value by `name{labels}`, as another program reads the page."""
    registry = CollectorRegistry()
    registry.register(FlowCollector(gateway, leanings or Leanings(), lambda: now))
    text = generate_latest(registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_what_waits_and_what_was_turned_away_is_counted_by_model_and_class(gateway: Core) -> None:
    line = "class=interactive,model=chat"
    assert shown(gateway)[f"penstock_queue_requests{{{line}}}"] == 0
    Call(gateway).send()
    waits = Call(gateway).send()
    Call(gateway).send()

    found = shown(gateway)
    assert found[f"penstock_queue_requests{{{line}}}"] == 1
    assert found[f"penstock_queue_bytes{{{line}}}"] == len(waits.exchange._admission.body)
    assert found["penstock_shed_total{class=interactive,model=chat,reason=queue_full}"] == 1
    assert found["penstock_shed_total{class=interactive,model=chat,reason=queue_timeout}"] == 0
    assert found["penstock_queued_total{}"] == 1
    assert found["penstock_routing_decisions_total{}"] == 1
    assert found["penstock_gateways{}"] == 1


def test_every_counter_is_there_before_it_counts_so_that_its_first_step_is_seen(gateway: Core) -> None:
    found = shown(gateway)
    assert sum(name.startswith("penstock_shed_total{") for name in found) == 3 * 6  # classes, reasons
    assert set(found.values()) <= {0.0, 1.0}


def test_an_endpoint_is_in_one_condition_at_a_time(gateway: Core) -> None:
    def condition() -> str:
        of = {n: v for n, v in shown(gateway).items() if n.startswith("penstock_endpoint_condition{")}
        (name,) = [name for name, value in of.items() if value]
        assert set(of.values()) == {0.0, 1.0}
        return name

    assert condition() == "penstock_endpoint_condition{condition=well,endpoint=chat-0,model=chat}"
    fail(gateway.endpoints.all()[0], gateway)
    assert condition() == "penstock_endpoint_condition{condition=out,endpoint=chat-0,model=chat}"


def test_limits_and_ledger_are_told_as_they_are(gateway: Core) -> None:
    limits = LimitsState(where="redis://r/0", is_connected=True, source="redis", asks_total=9, degraded_total=4)
    leanings = Leanings(limits=lambda: limits, ledger=lambda: LedgerState(**LEDGER))
    found = shown(gateway, leanings)
    assert found["penstock_limits_connected{}"] == 1
    assert (found["penstock_limits_asks_total{}"], found["penstock_limits_degraded_total{}"]) == (9, 4)
    assert (found["penstock_ledger_connected{}"], found["penstock_ledger_journal_failed{}"]) == (0, 0)
    assert (found["penstock_ledger_waiting_requests{}"], found["penstock_ledger_silence_seconds{}"]) == (7, 3.5)
    totals = [found[f"penstock_ledger_{name}_total{{}}"] for name in ("shipped", "recovered", "dropped", "failures")]
    assert totals == [11, 2, 1, 5]


def test_a_journal_in_memory_is_a_fault_of_its_own(gateway: Core) -> None:
    state = LedgerState(**{**LEDGER, "is_connected": True, "journal_error": "its disk is full"})
    found = shown(gateway, Leanings(ledger=lambda: state))
    assert (found["penstock_ledger_connected{}"], found["penstock_ledger_journal_failed{}"]) == (1, 1)


def test_a_gateway_without_shared_limits_tells_nothing_of_them(gateway: Core) -> None:
    Call(gateway).send().engine(answer())
    assert not [name for name in shown(gateway) if name.startswith(("penstock_limits", "penstock_ledger"))]


def test_stored_responses_are_told_and_their_store_where_there_is_one(gateway: Core) -> None:
    def told() -> dict[str, float]:
        name = "penstock_stored_responses"
        return {n.removeprefix(name).removesuffix("{}"): v for n, v in shown(gateway).items() if n.startswith(name)}

    assert told() == {"": 0, "_bytes": 0, "_dropped_total": 0}
    gateway.shelf.put(Stored(id="resp_1", tenant="acme", expires=10**10, body=b"{}", items=b"[]"), 0.0)
    assert told() == {"": 1, "_bytes": 4, "_dropped_total": 0}

    class Shared(LocalShelf):
        @property
        def state(self) -> ShelfState:
            away = {"has_store": True, "is_connected": False}
            return ShelfState(kept=3, kept_bytes=99, dropped_total=2, written_total=7, failures_total=5, **away)

    gateway.shelf = Shared()
    kept = {"": 3, "_bytes": 99, "_dropped_total": 2}
    assert told() == {**kept, "_connected": 0, "_written_total": 7, "_failures_total": 5}
