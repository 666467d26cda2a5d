"""A gateway that is always busy, with the words that it tells others."""

from __future__ import annotations

from collections import Counter

from penstock.serve.flow import Ticket
from penstock.serve.flow.balance import TENANTS_MAX, Balance
from serve.flow.flows import flow, table, ticket

STEP_S = 0.01
WORK = 100
BUSY_S = 6.0
"""Seconds that `behind` has been busy."""


class Gateway:
    """One seat, which is given back every 10 ms, and tenants that always have a few requests that wait."""

    def __init__(self, *tenants: str) -> None:
        self.flow = flow(table(1), seats=1)
        self.balance = Balance(self.flow)
        self.tenants = tenants
        self.waiting = Counter[str]()
        self.running: Ticket | None = None
        self.got = Counter[str]()
        self.waited_longest: dict[str, float] = {}

    def step(self, now: float) -> None:
        if self.running is not None:
            self.flow.ended(self.running, now)
            self.running = None
        for tenant in self.tenants:
            while self.waiting[tenant] < 3:
                self._take(self.flow.submit(ticket(tenant, prompt=WORK, output=0, arrived_at=now), now), now)
        for one in self.flow.pump(now):
            self.waiting[one.tenant] -= 1
            self._take(one, now)

    def _take(self, one: Ticket, now: float) -> None:
        if one.state == "queued":
            self.waiting[one.tenant] += 1
            return
        assert one.state == "granted"
        self.running = one
        self.got[one.tenant] += WORK
        waited = now - one.arrived_at
        self.waited_longest[one.tenant] = max(waited, self.waited_longest.get(one.tenant, 0.0))

    def lags(self, now: float = BUSY_S) -> dict[str, float]:
        both = [of for _, _, queue in self.flow.queues() for of in queue.lags(TENANTS_MAX, now)]
        return {tenant: lag for of in both for tenant, lag in of.items()}


def behind(*tenants: str, ahead: dict[str, int], began: float = 0.0) -> Gateway:
    """A gateway at which some tenants are ahead by so many turns."""
    made = Gateway(*tenants)
    for step in range(round(BUSY_S / STEP_S)):
        made.step(began + step * STEP_S)
    (queue,) = (queue for _, _, queue in made.flow.queues())
    for tenant, turns in ahead.items():
        queue.shift(tenant, float(turns * WORK), queue.least(began + BUSY_S), began + BUSY_S)
    return made
