"""A fair queue: requests of one class for one model, shared among tenants by weight.

Start-time fair queueing (Goyal, Vin, Cheng 1996) over tenants, charged in tokens of work. Each tenant that waits has a
tag: the virtual time at which its next request should start. The least tag goes first, and moves on by work / weight.
A tenant that comes back starts at the queue's virtual time, so having been idle earns nothing; one whose tag is ahead
of it goes on paying.

What a request really used is known when it ends: `settle` moves its tenant's tag by the difference, never to before
the time at which the tenant came, so that wrong expectations cost nobody a share for longer than a request lasts.

Guarantees: tenants that always wait are served within one largest request each of their weights' shares; every tenant
is served in the end, also where new tenants come without end, as virtual time moves with all work done. State is kept
for tenants that wait, run, or are ahead of virtual time only. All operations are O(log tenants). Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heapify, heappop, heappush

from penstock.serve.flow.ticket import Ticket

__all__ = ["Account", "FairQueue"]

FORGET_S = 1.0
"""Seconds without anyone waiting after which nothing is owed any more: there was enough for all."""
BURST_S = 0.4
"""A tenant that comes may take so many seconds of its share ahead of time: a burst inside its share goes at once, not
in turns with a flood. With the marks below at most 0.45 s, which is 4.5 % of 10 s, where fairness allows 5 %."""
BURST_PARTS = 8
"""Marks of virtual time in `BURST_S`."""

QUIET_S = 5.0
"""Seconds after its last request was granted for which a tenant that waits for nothing counts as one that asks."""
_QUIET_MAX = 64
"""Such tenants that are remembered, the latest ones: one is enough to know that there is one."""


class Account:
    """One tenant in one queue. Owned by the queue."""

    __slots__ = ("charged", "epoch", "floor", "serial", "since", "tag", "tenant", "version", "waiters", "weight")

    def __init__(self, tenant: str, serial: int, epoch: int) -> None:
        self.tenant = tenant
        self.serial = serial
        """Of the request that it was made for: orders those of equal tags."""
        self.weight = 1.0
        self.tag = 0.0
        """Virtual time at which its next request starts."""
        self.floor = 0.0
        """Virtual time when it last began to wait: no refund leads to before that."""
        self.since = 0.0
        """When it began to wait."""
        self.waiters: OrderedDict[int, Ticket] = OrderedDict()
        self.charged = 0
        """Requests that are under way and not settled."""
        self.epoch = epoch
        self.version = 0
        """Of its valid entry in the heap."""


class FairQueue:
    """Waiting requests of one class, the fairest next one first."""

    __slots__ = (
        "_accounts",
        "_emptied_at",
        "_epoch",
        "_heap",
        "_idle",
        "_past",
        "_quiet",
        "_virtual",
        "_weights",
        "bytes",
        "count",
    )

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self._accounts: dict[str, Account] = {}
        self._heap: list[tuple[float, int, int, Account]] = []
        """(tag, number of the first waiter, version, account): tenants that wait; others are dropped when they come
        up."""
        self._idle: list[tuple[float, int, int, Account]] = []
        """Tenants that were ahead of virtual time when their last request was over: forgotten once it is there."""
        self._virtual = 0.0
        self._past: deque[tuple[float, float]] = deque()
        """Virtual time of late: (when, what it was)."""
        self._quiet: OrderedDict[str, float] = OrderedDict()
        """Tenants that wait for nothing: when the last of their requests was granted, the latest last."""
        self._weights = 0.0
        """Of the tenants that wait."""
        self._epoch = 0
        self._emptied_at = 0.0

    def push(self, ticket: Ticket, number: int, now: float) -> None:
        """Takes a request; `number` is its place in the order of coming."""
        if self.count == 0 and now - self._emptied_at >= FORGET_S:
            self._forget()
        account = self._accounts.get(ticket.tenant)
        if account is None:
            account = self._accounts[ticket.tenant] = Account(ticket.tenant, number, self._epoch)
        if account.waiters:
            self._weights += ticket.weight - account.weight
            account.weight = ticket.weight  # as of the last reload
            account.waiters[number] = ticket
        else:
            account.weight = ticket.weight
            account.floor = self._start(account.weight, now)
            account.tag = max(account.floor, account.tag)
            account.since = now
            self._weights += account.weight
            self._quiet.pop(ticket.tenant, None)
            account.waiters[number] = ticket
            self._list(account)
        self.count += 1
        self.bytes += ticket.body_bytes

    def peek(self) -> Ticket | None:
        """The one that goes next."""
        account = self._first()
        return None if account is None else next(iter(account.waiters.values()))

    def pop(self, work: int, now: float) -> tuple[Ticket, Account]:
        """Takes out the one that `peek` gave, and charges its tenant. Give the account back with `settle`."""
        account = self._first()
        if account is None:
            raise IndexError("pop from an empty queue")
        heappop(self._heap)
        _, ticket = account.waiters.popitem(last=False)
        self._leave(ticket, now)
        self._note_virtual(now)
        cost = work / account.weight
        self._virtual = max(self._virtual, account.tag)
        others = self._weights - account.weight
        account.tag += cost
        account.charged += 1
        # Time moves with the work that all who wait get, and one more: a newcomer is before who was just served, and
        # those who wait are before newcomers in the end.
        self._virtual += work / (others + 2 * account.weight)
        if account.waiters:
            self._list(account)
        else:
            self._unlist(account)
            self._quiet[account.tenant] = now
            if len(self._quiet) > _QUIET_MAX:
                self._quiet.popitem(last=False)
        self._forget_idle()
        return ticket, account

    def remove(self, ticket: Ticket, number: int, account: Account, now: float) -> None:
        """Takes out one that waits, wherever it stands."""
        is_first = next(iter(account.waiters)) == number
        del account.waiters[number]
        self._leave(ticket, now)
        if not account.waiters:
            self._unlist(account)
        elif is_first:
            self._list(account)

    def account_of(self, tenant: str) -> Account:
        """The account of a tenant that waits. `KeyError` where it does not."""
        return self._accounts[tenant]

    def kept_until(self, account: Account, now: float) -> float:
        """Until when this tenant, which waits, must leave room to others; 0 where it need not. It must where it has its
        share, so waits for longer than a burst lasts and is not behind virtual time, and a tenant that asked lately
        waits for nothing: that one has less."""
        if not self._quiet or account.tag < self._virtual or now - account.since <= BURST_S:
            return 0.0
        return next(reversed(self._quiet.values())) + QUIET_S

    def newest_of(self, tenant: str) -> tuple[int, Ticket] | None:
        """The request of a tenant that came last."""
        account = self._accounts.get(tenant)
        if account is None or not account.waiters:
            return None
        number = next(reversed(account.waiters))
        return number, account.waiters[number]

    def newest_of_largest(self) -> tuple[int, Ticket] | None:
        """The last request of the tenant with the most of them for its weight."""
        waiting = [a for a in self._accounts.values() if a.waiters]
        if not waiting:
            return None
        return self.newest_of(max(waiting, key=lambda a: (len(a.waiters) / a.weight, a.tenant)).tenant)

    def settle(self, account: Account, work: int) -> None:
        """A request of this account is over; `work` is what it used more (or, negative, less) than was charged."""
        account.charged -= 1
        if account.epoch != self._epoch:
            return
        if account.waiters:
            account.tag = max(account.floor, account.tag + work / account.weight)
            if work:
                self._list(account)
            return
        account.tag = max(0.0, account.tag + work / account.weight)
        self._idle_or_gone(account)

    @property
    def tenants(self) -> int:
        """Tenants of which something is kept."""
        return len(self._accounts)

    @property
    def waiting_weight(self) -> float:
        """Of the tenants that wait, together."""
        return self._weights

    def _start(self, weight: float, now: float) -> float:
        """Virtual time for a tenant of this weight that comes now: less by what it may take ahead. Never more than
        that part of what others have, so that a heavy tenant that comes does not set back light ones."""
        self._drop_marks(now)
        if not self._past or not self._weights:
            return self._virtual
        others = self._weights
        part = others / (others + weight) * min(1.0, others / weight)
        return self._virtual - (self._virtual - self._past[0][1]) * part

    def _drop_marks(self, now: float) -> None:
        past, then = self._past, now - BURST_S
        while len(past) > 1 and past[1][0] <= then:
            past.popleft()

    def _note_virtual(self, now: float) -> None:
        past = self._past
        if not past or now - past[-1][0] >= BURST_S / BURST_PARTS:
            past.append((now, self._virtual))
            self._drop_marks(now)

    def _first(self) -> Account | None:
        heap = self._heap
        while heap:
            _, _, version, account = heap[0]
            if version == account.version and account.waiters:
                return account
            heappop(heap)
        return None

    def _list(self, account: Account) -> None:
        """Puts a tenant where its tag says, in place of where it was."""
        account.version += 1
        heappush(self._heap, (account.tag, next(iter(account.waiters)), account.version, account))
        if len(self._heap) > 2 * len(self._accounts) + 64:
            self._heap = [entry for entry in self._heap if entry[2] == entry[3].version and entry[3].waiters]
            heapify(self._heap)

    def _leave(self, ticket: Ticket, now: float) -> None:
        self.count -= 1
        self.bytes -= ticket.body_bytes
        if self.count == 0:
            self._emptied_at = now

    def _unlist(self, account: Account) -> None:
        """The last request of a tenant no longer waits."""
        self._weights = self._weights - account.weight if self.count else 0.0
        account.version += 1
        self._idle_or_gone(account)

    def _idle_or_gone(self, account: Account) -> None:
        if account.charged:
            return  # `settle` comes
        if account.tag > self._virtual:
            account.version += 1
            heappush(self._idle, (account.tag, account.serial, account.version, account))
            if len(self._idle) > 2 * len(self._accounts) + 64:
                self._idle = [e for e in self._idle if e[2] == e[3].version and not e[3].waiters]
                heapify(self._idle)
        else:
            self._accounts.pop(account.tenant, None)

    def _forget_idle(self) -> None:
        """Forgets tenants that virtual time has caught up with."""
        idle = self._idle
        while idle and idle[0][0] <= self._virtual:
            _, _, version, account = heappop(idle)
            if version == account.version and not account.waiters and not account.charged:
                self._accounts.pop(account.tenant, None)

    def _forget(self) -> None:
        """Nobody has waited for a while: nobody owes anything."""
        self._epoch += 1
        self._accounts, self._heap, self._idle = {}, [], []
        self._past.clear()
        self._quiet.clear()
        self._virtual = self._weights = 0.0
