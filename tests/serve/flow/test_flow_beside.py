"""A second place for a request that is at an endpoint already, and what of it stays with whom."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.serve.flow import Capacity, Flow, QueueSettings, Ticket
from penstock.serve.routing import Decision, Endpoint, EndpointAddress, EndpointTable, LeastLoad, Need
from penstock.serve.routing.policy import Ended


class Noting(LeastLoad):
    """Remembers what became of requests."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[tuple[str, Ended]] = []

    def sent(self, endpoint: Endpoint, need: Need, now: float) -> None:
        need.memo = endpoint.id

    def ended(self, endpoint: Endpoint, need: Need, outcome: Ended) -> None:
        assert need.memo == endpoint.id
        self.ends.append((endpoint.id, outcome))


def flow_of(count: int = 2, *, seats: int = 1, is_on: bool = True) -> tuple[Flow, EndpointTable, Noting]:
    table, policy = EndpointTable(), Noting()
    table.set_pool("chat", [EndpointAddress(id=f"chat-{n}", host="h", port=n) for n in range(count)])
    for endpoint in table.all():
        endpoint.health = "ready"
    flow = Flow(table, policy)
    flow.configure(queue=QueueSettings(is_on=is_on), capacities={"chat": Capacity(requests_max=seats)})
    return flow, table, policy


def ticket(**fields: Any) -> Ticket:
    return Ticket("chat", "acme", Need(prompt_tokens=100, output_tokens=10), **fields)


def test_the_second_place_is_elsewhere_and_counts_as_any() -> None:
    flow, table, _ = flow_of()
    one = flow.submit(ticket(), 1.0)
    other = flow.beside(one, 2.0)
    assert other is not None
    assert other.endpoint is not one.endpoint
    assert [e.in_flight for e in table.all()] == [1, 1]
    assert isinstance(other.decision, Decision)
    flow.ended(other, 3.0, is_ok=False)
    flow.ended(one, 3.0)
    assert [e.in_flight for e in table.all()] == [0, 0]
    assert [e.window.kv_held for e in table.all()] == [0, 0]


@pytest.mark.parametrize("is_on", [True, False])
def test_there_is_none_without_another_endpoint(is_on: bool) -> None:
    flow, _, _ = flow_of(1, seats=9, is_on=is_on)
    assert flow.beside(flow.submit(ticket(), 1.0), 2.0) is None


def test_there_is_none_where_the_others_are_full_and_that_turns_nobody_away() -> None:
    flow, table, _ = flow_of()
    one, _ = flow.submit(ticket(), 1.0), flow.submit(ticket(), 1.0)
    for endpoint in table.all():
        endpoint.window.was_full = False
    assert flow.beside(one, 2.0) is None
    assert not any(e.window.was_full for e in table.all())


def test_without_a_queue_any_other_endpoint_has_room() -> None:
    flow, _, _ = flow_of(is_on=False)
    one, _ = flow.submit(ticket(), 1.0), flow.submit(ticket(), 1.0)
    assert flow.beside(one, 2.0) is not None


def test_there_is_none_while_somebody_waits() -> None:
    flow, _, _ = flow_of()
    one, two, waits = (flow.submit(ticket(), 1.0) for _ in range(3))
    assert waits.state == "queued"
    flow.ended(two, 2.0)
    assert flow.beside(one, 2.0) is None
    flow.pump(2.0)
    assert waits.state == "granted"


def test_an_endpoint_that_failed_it_is_no_second_place() -> None:
    flow, _, _ = flow_of()
    assert flow.beside(flow.submit(ticket(tried_ids=("chat-0", "chat-1")), 1.0), 2.0) is None


@pytest.mark.parametrize("health", ["down", "draining", "unproven"])
def test_only_what_is_in_use_is_a_second_place(health: Any) -> None:
    flow, table, _ = flow_of()
    one = flow.submit(ticket(), 1.0)
    for endpoint in table.all():
        if endpoint is not one.endpoint:
            endpoint.health = health
    table.pools["chat"].is_calm = False
    assert flow.beside(one, 2.0) is None


def test_a_ticket_that_waits_or_is_over_has_no_second_place() -> None:
    flow, _, _ = flow_of()
    one = flow.submit(ticket(), 1.0)
    flow.ended(one, 2.0)
    assert flow.beside(one, 2.0) is None


def test_after_a_swap_each_place_is_given_back_where_it_is() -> None:
    flow, table, policy = flow_of()
    one = flow.submit(ticket(is_stream=True), 1.0)
    first = one.endpoint
    other = flow.beside(one, 2.0)
    assert other is not None
    assert first is not None
    second = other.endpoint
    flow.swap(one, other)
    assert (one.endpoint, other.endpoint) == (second, first)
    flow.ended(other, 2.5, is_ok=False)
    flow.began(one, 2.5)
    flow.ended(one, 3.0, ttft_s=1.5, output_tokens=10)
    assert [e.window.prefill_held for e in table.all()] == [0, 0]
    (lost, lost_end), (won, won_end) = policy.ends
    assert (lost, won) == (first.id, second.id if second else "")
    assert (lost_end.sent_at, lost_end.ttft_s, lost_end.is_ok) == (1.0, -1.0, False)
    assert (won_end.sent_at, won_end.ttft_s, won_end.is_ok) == (2.0, 0.5, True)


def test_what_the_tenant_was_charged_is_settled_once_with_what_the_kept_one_used() -> None:
    flow, _, _ = flow_of()
    one, two, waited = (flow.submit(ticket(), 1.0) for _ in range(3))
    flow.ended(two, 2.0)
    flow.pump(2.0)
    assert flow.work_charged == 110
    flow.ended(one, 2.0)
    other = flow.beside(waited, 3.0)
    assert other is not None
    assert flow.work_charged == 110
    flow.swap(waited, other)
    flow.ended(other, 4.0, is_ok=False)
    assert flow.work_charged == 110
    flow.ended(waited, 4.0, prompt_tokens=90, cached_tokens=0, output_tokens=7)
    assert flow.work_charged == 97
