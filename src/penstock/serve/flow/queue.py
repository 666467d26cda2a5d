"""A fair queue: requests of one class for one model, shared among tenants by weight.

Start-time fair queueing (Goyal, Vin, Cheng 1996) over tenants, charged in tokens of work. Each tenant that waits has a
tag: the virtual time at which its next request should start. The least tag goes first, and moves on by work / weight.
A tenant that comes back starts at the queue's virtual time, or, where it left some of its share in the last
`CREDIT_S` seconds, by so much before it: what it sends in bursts inside its share goes at once. Having a backlog loses
that, so tenants that always wait share by weight from the first second on, and one that floods after a pause gets no
more than `BURST_S` for it. A tenant whose tag is ahead of virtual time goes on paying.

What a request receives is charged as it runs (`bill.py`), by `charge`. What it really used is known when it ends:
`settle` moves its tenant's tag by the difference, never to before
the time at which the tenant came, so that wrong expectations cost nobody a share for longer than a request lasts.

Guarantees: tenants that always wait are served within one largest request each of their weights' shares; every tenant
is served in the end, also where new tenants come without end, as virtual time moves with all work done. State is kept
for tenants that wait, run, are ahead of virtual time, wait at other gateways, or are among the `QUIET_MAX` that asked
in the last `QUIET_S`. All operations, but for `lags` and `least`, are O(log tenants). Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heapify, heappop, heappush, nlargest, nsmallest

from penstock.serve.flow.ticket import Ticket

__all__ = ["Account", "FairQueue"]

FORGET_S = 1.0
"""Seconds without anyone waiting after which nothing is owed any more: there was enough for all."""
BURST_S = 0.4
"""A tenant with a backlog that comes may take so many seconds of its share ahead of time. With the marks below at most
0.45 s, which is 4.5 % of 10 s, where fairness allows 5 %."""
MARK_S = BURST_S / 8
"""Between two marks of virtual time."""
CREDIT_S = 15.0
"""A tenant that left some of its share may take so many seconds of it ahead later, as long as `LUMP_PART` of that or
less waits: what it sends inside its share goes at once and not in turns with a flood. Random requests at 80 % of half
an engine go over it for longer than 10 s: with 6 s the 99th percentile of their wait was 1.0 s there, with 10 s 0.37 s,
with 15 s 0.29 s and with 60 s 0.27 s (`python -m bench.fairness isolation`). One that asks for 1.2 times its share gets
that for as long as this lasts; one that has a backlog does not."""
LUMP_PART = 1 / 5
"""Three seconds of its share: what a tenant sends at once beyond that is a backlog."""
NEW_S = 3.0
"""The same for one that is new, where others wait for `LIGHT_PART` times more for their weight: there was nothing yet
that it could leave."""
LIGHT_PART = 8
"""Chosen: far from equal tenants, whose requests that wait differ by chance."""
FAR_S = 2.0
"""Seconds of virtual time by which a tenant may be before it for what it did not get elsewhere. The largest requests
are some seconds of a share; one that is owed more than this gateway has keeps others waiting for no longer."""
QUIET_S = 10.0
"""Seconds after its last request was granted for which a tenant that waits for nothing counts as one that asks, and for
which it is remembered what it left."""
QUIET_MAX = 256
"""Such tenants that are remembered, the latest ones."""


def _work(ticket: Ticket) -> int:
    """Tokens that it is expected to use."""
    return ticket.need.prompt_tokens + ticket.need.output_tokens


class Account:
    """One tenant in one queue. Owned by the queue."""

    __slots__ = (
        "backlog_floor", "charged", "credit", "epoch", "floor", "is_new", "serial", "since", "tag", "tenant", "version",
        "waiters", "waiting", "weight",
    )  # fmt: skip

    def __init__(self, tenant: str, serial: int, epoch: int) -> None:
        self.tenant = tenant
        self.serial = serial
        """Of the request that it was made for, or less than nothing: orders those of equal tags, no two alike."""
        self.weight = 1.0
        self.tag = 0.0
        """Virtual time at which its next request starts."""
        self.floor = 0.0
        """Virtual time when it last began to wait: no refund leads to before that."""
        self.backlog_floor = 0.0
        """The same where it turns out to have a backlog."""
        self.since = 0.0
        """When it began to wait."""
        self.waiters: OrderedDict[int, Ticket] = OrderedDict()
        self.waiting = 0
        """Tokens of work that wait."""
        self.is_new = True
        """It has not been reckoned yet what it may take ahead to begin with."""
        self.credit = 0.0
        """Tokens that may wait for it and still be a burst; with more it has a backlog."""
        self.charged = 0
        """Requests that are under way and not settled."""
        self.epoch = epoch
        self.version = 0
        """Of its valid entry in the heap."""


class FairQueue:
    """Waiting requests of one class, the fairest next one first."""

    __slots__ = (
        "_accounts",
        "_elsewhere",
        "_emptied_at",
        "_epoch",
        "_heap",
        "_idle",
        "_past",
        "_quiet",
        "_strangers",
        "_virtual",
        "_weights",
        "bytes",
        "count",
        "work",
    )

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self.work = 0
        """Tokens that those who wait are expected to use."""
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
        self._strangers = 0
        """Tenants that were heard of before they asked for anything here."""
        self._elsewhere: frozenset[str] = frozenset()
        """Tenants that wait at other gateways."""
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
            account.tag = self._start(ticket.weight, now, BURST_S, self._weights)
        work = _work(ticket)
        account.waiting += work
        self.work += work
        self.count += 1
        self.bytes += ticket.body_bytes
        account.waiters[number] = ticket
        before = account.tag
        if len(account.waiters) > 1:
            others = self._weights - account.weight
            account.weight = ticket.weight  # as of the last reload
        else:
            others = self._weights
            account.weight = ticket.weight
            account.floor = self._start(account.weight, now, CREDIT_S, others)
            account.tag = max(account.floor, account.tag)
            account.credit = (self._virtual - account.floor) * account.weight * LUMP_PART
            account.backlog_floor = self._start(account.weight, now, BURST_S, others)
            account.since = now
            self._quiet.pop(ticket.tenant, None)
        self._weights = others + account.weight
        if account.is_new:
            self._begin(account, others, now)
        if account.waiting > account.credit:  # a backlog
            account.floor = max(account.floor, account.backlog_floor)
            account.tag = max(account.floor, account.tag)
        if account.tag != before or len(account.waiters) == 1:
            self._list(account)

    def _begin(self, account: Account, others: float, now: float) -> None:
        """Gives a new tenant something to take ahead, once the pace of virtual time is known, where it asks for little
        beside what others wait for."""
        past = self._past
        if others <= 0 or not past or past[-1][0] - past[0][0] < BURST_S:
            return
        account.is_new = False
        if now - account.since >= BURST_S:  # it has always waited: a backlog, if a small one
            return
        if account.waiting / account.weight * LIGHT_PART <= (self.work - account.waiting) / others:
            burst, more = (self._start(account.weight, now, ahead_s, others) for ahead_s in (BURST_S, NEW_S))
            account.tag -= burst - more
            account.floor = min(account.floor, account.tag)
            account.credit = max(account.credit, (self._virtual - account.tag) * account.weight / 2)

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
        self._leave(account, ticket, now)
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
            self._quiet[account.tenant] = now
            self._unlist(account)
            self._drop_quiet(now)
        self._forget_idle()
        return ticket, account

    def remove(self, ticket: Ticket, number: int, account: Account, now: float) -> None:
        """Takes out one that waits, wherever it stands."""
        is_first = next(iter(account.waiters)) == number
        del account.waiters[number]
        self._leave(account, ticket, now)
        if not account.waiters:
            self._unlist(account)
        elif is_first:
            self._list(account)

    def account_of(self, tenant: str) -> Account:
        """The account of a tenant that waits. `KeyError` where it does not."""
        return self._accounts[tenant]

    def kept_until(self, account: Account, now: float) -> float:
        """Until when this tenant, which waits, must leave room to others; 0 where it need not. It must where it waits
        for longer than a burst lasts, and a tenant that asked lately waits for nothing and has less."""
        if not self._quiet or now - account.since <= BURST_S:
            return 0.0
        other = next(reversed(self._quiet))
        if account.tag < self._virtual and self._accounts[other].tag >= account.tag:
            return 0.0
        return self._quiet[other] + QUIET_S

    def is_owed(self, account: Account, now: float) -> bool:
        """Whether this tenant, which waits, has less than its share, and asks for no more than that."""
        return account.tag < self._virtual and now - account.since <= FORGET_S

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

    def charge(self, account: Account, work: int) -> None:
        """A request of this account that runs has received so much that was not charged yet."""
        if account.epoch != self._epoch:
            return
        others = self._weights - account.weight if account.waiters else self._weights
        account.tag += work / account.weight
        self._virtual += work / (others + 2 * account.weight)
        if account.waiters:
            self._list(account)

    def lags(self, most: int, now: float) -> tuple[dict[str, float], dict[str, float]]:
        """By how far tenants are after virtual time (or, negative, before it), in tokens for one of weight: those that
        wait here, and others. Of all, those that are farthest from it."""
        virtual, least = self._virtual, self.least(now)
        for tenant in self._elsewhere:
            account = self._accounts.get(tenant)
            if account is not None and not account.waiters:
                account.tag = max(account.tag, least)
        found = [a for a in self._accounts.values() if a.waiters or a.tag > virtual or a.tenant in self._elsewhere]
        if len(found) > most:
            found = nlargest(most, found, key=lambda a: abs(a.tag - virtual))
        return (
            {a.tenant: a.tag - virtual for a in found if a.waiters},
            {a.tenant: a.tag - virtual for a in found if not a.waiters},
        )

    def shift(self, tenant: str, by: float, least: float, now: float, *, is_new: bool = False) -> None:
        """Moves a tenant by what it had elsewhere, or did not, in tokens for one of weight: to no less than `least`,
        and by no more than `CREDIT_S` of virtual time. `is_new`: nothing was known of it here."""
        if not self._past:
            return
        account = self._accounts.get(tenant)
        if account is None:
            if not is_new or (by <= 0.0 and tenant not in self._elsewhere):
                return
            self._strangers += 1
            account = self._accounts[tenant] = Account(tenant, -self._strangers, self._epoch)
            account.tag = self._virtual
        if by < 0.0:
            account.tag = max(account.tag + by, min(account.tag, least))
        else:
            account.tag += min(by, self._virtual - self._before(now - CREDIT_S))
        if account.waiters:
            self._list(account)
        else:
            self._idle_or_gone(account)

    def wait_elsewhere(self, tenants: frozenset[str]) -> None:
        """Which tenants wait at other gateways, as of now: what they do not get here counts for them."""
        before, self._elsewhere = self._elsewhere, tenants
        for tenant in sorted(before - tenants):
            account = self._accounts.get(tenant)
            if account is not None and not account.waiters:
                self._idle_or_gone(account)

    def least(self, now: float) -> float:
        """The tag to which a tenant may be moved at least, for what it did not get elsewhere: `FAR_S` of virtual time
        before those that wait here."""
        far = self._virtual - self._before(now - FAR_S) if self._past else 0.0
        waiting = nsmallest(2, (a.tag for a in self._accounts.values() if a.waiters))
        return max(0.0, min(self._virtual, waiting[-1] if waiting else self._virtual) - far)

    @property
    def tenants(self) -> int:
        """Tenants of which something is kept."""
        return len(self._accounts)

    @property
    def waiting_weight(self) -> float:
        """Of the tenants that wait, together."""
        return self._weights

    def _start(self, weight: float, now: float, ahead_s: float, others: float) -> float:
        """Virtual time for a tenant of this weight that comes now: less by what it may take ahead. Never more than
        that part of what others have, so that a heavy tenant that comes does not set back light ones."""
        self._drop_marks(now)
        if not self._past or others <= 0:
            return self._virtual
        part = others / (others + weight) * min(1.0, others / weight)
        return self._virtual - (self._virtual - self._before(now - ahead_s)) * part

    def _before(self, then: float) -> float:
        """Virtual time at a moment of late; beyond what is remembered, at the pace of what is."""
        past = self._past
        if past[0][0] <= then and (len(past) == 1 or then < past[1][0]):
            return past[0][1]  # the longest time that is asked for
        for at, was in reversed(past):
            if at <= then:
                return was
        at, was = past[0]
        last, is_now = past[-1]
        return was - (at - then) * (is_now - was) / (last - at) if last - at >= BURST_S else was

    def _drop_quiet(self, now: float) -> None:
        """Forgets tenants that have not asked for a while."""
        quiet = self._quiet
        while quiet:
            tenant, at = next(iter(quiet.items()))
            if len(quiet) <= QUIET_MAX and at + QUIET_S > now:
                return
            del quiet[tenant]
            account = self._accounts.get(tenant)
            if account is not None and not account.waiters:
                self._idle_or_gone(account)

    def _drop_marks(self, now: float) -> None:
        past, then = self._past, now - CREDIT_S
        while len(past) > 1 and past[1][0] <= then:
            past.popleft()

    def _note_virtual(self, now: float) -> None:
        past = self._past
        if not past or now - past[-1][0] >= MARK_S:
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

    def _leave(self, account: Account, ticket: Ticket, now: float) -> None:
        work = _work(ticket)
        account.waiting -= work
        self.work -= work
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
        elif account.tenant not in self._quiet and account.tenant not in self._elsewhere:
            self._accounts.pop(account.tenant, None)

    def _forget_idle(self) -> None:
        """Forgets tenants that virtual time has caught up with."""
        idle = self._idle
        while idle and idle[0][0] <= self._virtual:
            _, _, version, account = heappop(idle)
            if version == account.version and not (account.waiters or account.charged):
                self._idle_or_gone(account)

    def _forget(self) -> None:
        """Nobody has waited for a while: nobody owes anything."""
        self._epoch += 1
        self._accounts, self._heap, self._idle = {}, [], []
        self._past.clear()
        self._quiet.clear()
        self._virtual = self._weights = 0.0
