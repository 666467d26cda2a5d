"""Endpoints, tickets and a flow for the tests of the queue."""

from __future__ import annotations

from typing import Any

from penstock.serve.flow import Capacity, Flow, QueueSettings, Ticket
from penstock.serve.routing import Endpoint, EndpointAddress, EndpointTable, LeastLoad, Need

MODEL = "chat"


def table(count: int = 2) -> EndpointTable:
    endpoints = EndpointTable()
    endpoints.set_pool(MODEL, addresses(count))
    return endpoints


def addresses(count: int) -> list[EndpointAddress]:
    return [EndpointAddress(id=f"chat-{n}", host="127.0.0.1", port=9000 + n) for n in range(count)]


def flow(
    endpoints: EndpointTable | None = None,
    *,
    seats: int | None = 1,
    kv_tokens: int | None = None,
    start_s: float | None = None,
    gateways: int = 1,
    **queue: Any,
) -> Flow:
    """One seat at each of two endpoints, unless said otherwise."""
    made = Flow(endpoints if endpoints is not None else table(), LeastLoad(), gateways=gateways)
    capacity = Capacity(requests_max=seats, kv_tokens=kv_tokens, start_s=start_s)
    made.configure(queue=QueueSettings(**queue), capacities={MODEL: capacity})
    return made


def ticket(tenant: str = "a", *, prompt: int = 100, output: int = 100, **more: Any) -> Ticket:
    return Ticket(
        model=MODEL,
        tenant=tenant,
        need=Need(prompt_tokens=prompt, output_tokens=output),
        **({"body_bytes": 10} | more),
    )


def endpoint(endpoints: EndpointTable, number: int = 0) -> Endpoint:
    return endpoints.pools[MODEL].endpoints[number]


def in_flight(endpoints: EndpointTable) -> list[int]:
    return [e.in_flight for e in endpoints.pools[MODEL].endpoints]
