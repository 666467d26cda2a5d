"""Pools for tests of health: a table whose endpoints are ready."""

from __future__ import annotations

from penstock.serve.routing.endpoints import Endpoint, EndpointAddress, EndpointTable, Pool
from penstock.serve.routing.signals import Signal


def address(number: int, port: int = 9000, *, is_draining: bool = False) -> EndpointAddress:
    return EndpointAddress(id=f"chat-{number}", host="127.0.0.1", port=port + number, is_draining=is_draining)


def ready_table(count: int = 4) -> EndpointTable:
    table = EndpointTable()
    table.set_pool("chat", [address(n) for n in range(count)])
    for endpoint in table.all():
        endpoint.health = "ready"
    return table


def pool_of(table: EndpointTable) -> Pool:
    return table.pools["chat"]


def fit(table: EndpointTable, now: float = 0.0) -> list[str]:
    """Ids of the candidates."""
    return [e.id for e in pool_of(table).candidates(now)]


def hear(table: EndpointTable, endpoint: Endpoint, signal: Signal, now: float, times: int = 1) -> None:
    """As many requests that went there and came to this."""
    for _ in range(times):
        trial = table.sent(endpoint, now)
        table.left(endpoint)
        table.heard(endpoint, signal, now, trial=trial)
