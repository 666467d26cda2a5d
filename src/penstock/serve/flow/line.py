"""The queue of one model: three fair queues by class, their bounds, and when waiting ends by itself.

    enter ──▶ waits ──▶ take (granted) | leave (the client is gone, or it was evicted) | expired (time or deadline)
      └▶ no place: neither room nor anyone who must give way

A higher class goes first. A lower one goes before it once its next request has waited for `starvation_s`, or the class
was passed over for so long; one turn in `STARVED_TURN` at most. Where the queue is full, the newest request of the
lowest class gives way to a higher class; inside a class, that of a tenant that holds more than its part of the places,
else that of the tenant that holds the most for its weight, where the one that comes holds less.

Guarantees: `count` and `bytes` are those of the requests that wait and never pass the settings; each request leaves
once. `enter`, `take` and `leave` are O(log waiting), evictions O(tenants that wait). Pure.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from penstock.serve.flow.bill import Meter
from penstock.serve.flow.queue import Account, FairQueue
from penstock.serve.flow.reserve import Reserve
from penstock.serve.flow.settings import QueueSettings
from penstock.serve.flow.ticket import CLASSES, Ticket

__all__ = ["STARVED_TURN", "Line", "Place", "Rate"]

STARVED_TURN = 4
"""Of so many turns a starved lower class gets one at most: three quarters stay with those that come first."""
RATE_S = 5.0
"""Seconds over which the rate of leaving is measured, and as many before."""
RETRY_MIN_S = 1.0
RETRY_MAX_S = 3600.0
RETRY_UNKNOWN_S = 5.0
"""Said while nothing was measured: longer than a restart of a process, shorter than a client's patience."""

SEATS_PART = 5
"""Of so many seats one is kept at most, whatever was learned. Chosen on one engine of 32 seats, B at 80 % and at half
of its share: on two sets of seeds B's ratio was 1.2 to 2.0 with a fourth, 1.25 to 1.95 with a fifth and 1.4 to 1.6 with
a sixth, at 15,000, 15,400 and 15,650 tokens a second: seats that stay empty are a part of B's share too."""
CLEAR_PART = 2
"""The same of endpoints: of one nothing is kept, of two or three one."""

_RANK = {name: rank for rank, name in enumerate(CLASSES)}


class Rate:
    """How many a second, lately."""

    __slots__ = ("_before", "_began", "_count")

    def __init__(self) -> None:
        self._began = 0.0
        self._count = 0
        self._before = 0

    def add(self, now: float) -> None:
        self._turn(now)
        self._count += 1

    def per_s(self, now: float) -> float:
        self._turn(now)
        gone = (now - self._began) / RATE_S
        return (self._count + self._before * (1.0 - gone)) / RATE_S

    def _turn(self, now: float) -> None:
        periods = (now - self._began) / RATE_S
        if periods >= 1.0:
            self._before = self._count if periods < 2.0 else 0
            self._count = 0
            self._began = now if periods >= 2.0 else self._began + RATE_S


class Place:
    """Where a ticket waits."""

    __slots__ = ("account", "due_at", "is_late", "number", "queue", "queued_at")

    def __init__(self, queue: FairQueue, account: Account, number: int, queued_at: float, due_at: float) -> None:
        self.queue = queue
        self.account = account
        self.number = number
        self.queued_at = queued_at
        self.due_at = due_at
        self.is_late = False
        """It was to go next, and no seat was free."""


class _Share:
    """What one tenant holds of the line."""

    __slots__ = ("bytes", "count", "weight")

    def __init__(self) -> None:
        self.weight = 1.0
        self.count = 0
        self.bytes = 0


class Line:
    """Everything that waits for one model. Owned by the flow."""

    __slots__ = (
        "_bytes_share", "_count_share", "_due", "_most", "_numbers", "_over", "_regular_turns", "_served_at",
        "_shares", "able", "able_seats", "bytes", "clear", "count", "down_since", "is_full", "kept_until", "meter",
        "model", "queues", "rate", "seats", "settings", "start_s",
    )  # fmt: skip

    def __init__(self, model: str, settings: QueueSettings) -> None:
        self.model = model
        self.queues = tuple(FairQueue() for _ in CLASSES)
        self.count = 0
        self.bytes = 0
        self.meter = Meter()
        """What runs is charged by."""
        self.rate = Rate()
        self.seats = Reserve(SEATS_PART)
        """Of all endpoints together, that those leave free that have their share."""
        self.clear = Reserve(CLEAR_PART)
        """Endpoints with a free seat and without a prompt under way, the same."""
        self.able = self.able_seats = 0
        """Endpoints that can serve, and their seats, when it was last looked."""
        self.is_full = False
        """No seat was free when it was last looked for."""
        self.down_since: float | None = None
        """Since when nothing can serve while somebody waits."""
        self.kept_until = 0.0
        """Where the next one waits only because room is kept for others: until when. Else 0."""
        self.start_s = 0.0
        """How long that lasted lately; 0 while not known."""
        self._numbers = 0
        self._shares: dict[str, _Share] = {}
        self._over: set[str] = set()
        """Tenants that hold more than their part of the places."""
        self._most: list[tuple[float, str]] = []
        """(Less than nothing by places for its weight, tenant), the most first; entries that no longer hold are put
        right when they come up."""
        self._due: list[tuple[float, int, Ticket]] = []
        self._regular_turns = 0
        self._served_at = [0.0 for _ in CLASSES]
        """When each class was last served, or began to wait."""
        self.configure(settings)

    def configure(self, settings: QueueSettings) -> None:
        """New bounds; who waits goes on waiting, also where they are passed now."""
        self.settings = settings
        self._count_share = max(1, int(settings.tenant_share_max * settings.requests_max))
        self._bytes_share = int(settings.tenant_share_max * settings.bytes_max)
        self._over = {tenant for tenant, share in self._shares.items() if self._is_over(share)}

    # ------------------------------------------------------------------ coming and going

    def enter(self, ticket: Ticket, now: float) -> list[Ticket] | None:
        """Takes a ticket; returns those that gave way to it. None where there is no place for it."""
        evicted = self._make_room(ticket, now)
        if evicted is None:
            return None
        rank = _RANK[ticket.traffic_class]
        queue = self.queues[rank]
        self._numbers = number = self._numbers + 1
        if queue.count == 0:
            self._served_at[rank] = now
        queue.push(ticket, number, now)
        due_at = now + ticket.wait_s
        if ticket.deadline_at is not None:
            due_at = min(due_at, ticket.deadline_at)
        ticket.token = Place(queue, queue.account_of(ticket.tenant), number, now, due_at)
        ticket.token.is_late = self.is_full
        heappush(self._due, (due_at, number, ticket))
        self._count_in(ticket, 1)
        return evicted

    def peek(self, now: float) -> Ticket | None:
        """The one that goes next."""
        rank = self._rank_next(now)
        return None if rank < 0 else self.queues[rank].peek()

    def note_able(self, limits: list[int]) -> None:
        """How many seats each endpoint has that can serve."""
        self.able, self.able_seats = len(limits), sum(limits)

    def note_full(self, is_full: bool, now: float) -> None:
        """Whether no seat is free for the one that goes next."""
        self.is_full = is_full
        ticket = self.peek(now) if is_full else None
        if ticket is not None:
            ticket.token.is_late = True

    def take(self, ticket: Ticket, work: int, now: float) -> Account:
        """Takes out the one that `peek` gave at the same `now`, and charges its tenant for it."""
        rank = _RANK[ticket.traffic_class]
        first = next(r for r, queue in enumerate(self.queues) if queue.count)
        self._regular_turns = 0 if rank != first else self._regular_turns + 1
        self._served_at[rank] = now
        popped, account = self.queues[rank].pop(work, now)
        assert popped is ticket
        self._count_in(ticket, -1)
        self.rate.add(now)
        return account

    def leave(self, ticket: Ticket, now: float) -> None:
        """Takes out one that waits, wherever it stands."""
        place: Place = ticket.token
        place.queue.remove(ticket, place.number, place.account, now)
        self._count_in(ticket, -1)

    def expired(self, now: float) -> list[Ticket]:
        """Takes out those whose time is over."""
        gone: list[Ticket] = []
        while self._due and (self._due[0][0] <= now or not self._is_waiting(self._due[0])):
            entry = heappop(self._due)
            if self._is_waiting(entry):
                self.leave(entry[2], now)
                entry[2].token = None
                gone.append(entry[2])
        return gone

    @property
    def next_due(self) -> float | None:
        """When the next one's time is over."""
        while self._due and not self._is_waiting(self._due[0]):
            heappop(self._due)
        return self._due[0][0] if self._due else None

    @staticmethod
    def _is_waiting(entry: tuple[float, int, Ticket]) -> bool:
        place = entry[2].token
        return isinstance(place, Place) and place.number == entry[1]

    def _count_in(self, ticket: Ticket, sign: int) -> None:
        self.count += sign
        self.bytes += sign * ticket.body_bytes
        share = self._shares.get(ticket.tenant)
        if share is None:
            share = self._shares[ticket.tenant] = _Share()
        share.weight = ticket.weight
        share.count += sign
        share.bytes += sign * ticket.body_bytes
        if share.count == 0:
            del self._shares[ticket.tenant]
            self._over.discard(ticket.tenant)
        elif self._is_over(share):
            self._over.add(ticket.tenant)
        else:
            self._over.discard(ticket.tenant)
        if sign > 0 and share.count > 1:
            heappush(self._most, (-share.count / share.weight, ticket.tenant))
            if len(self._most) > 2 * self.count + 64:
                self._most = [(-s.count / s.weight, tenant) for tenant, s in self._shares.items() if s.count > 1]
                heapify(self._most)
        if len(self._due) > 2 * self.count + 64:
            self._due = [entry for entry in self._due if self._is_waiting(entry)]
            heapify(self._due)

    # ------------------------------------------------------------------ who goes next

    def _rank_next(self, now: float) -> int:
        first = starved = -1
        since = now - self.settings.starvation_s
        for rank, queue in enumerate(self.queues):
            if not queue.count:
                continue
            if first < 0:
                first = rank
                if self._regular_turns < STARVED_TURN - 1:
                    return first
                continue
            head, served_at = queue.peek(), self._served_at[rank]
            is_starved = served_at <= since or (head is not None and head.token.queued_at <= since)
            if is_starved and (starved < 0 or served_at < self._served_at[starved]):
                starved = rank
        return starved if starved >= 0 else first

    # ------------------------------------------------------------------ who gives way

    def _make_room(self, ticket: Ticket, now: float) -> list[Ticket] | None:
        settings, size = self.settings, ticket.body_bytes
        share = self._shares.get(ticket.tenant)
        has_others = share is not None and share.count < self.count
        if share is not None and has_others:
            is_over = share.count >= self._count_share or share.bytes + size > self._bytes_share
            if is_over:
                return None
        if self.count < settings.requests_max and self.bytes + size <= settings.bytes_max:
            return []
        if settings.requests_max == 0 or size > settings.bytes_max or not self._could_fit(ticket):
            return None
        evicted: list[Ticket] = []
        while self.count >= settings.requests_max or self.bytes + size > settings.bytes_max:
            victim = self._victim(ticket)
            if victim is None:
                break
            self.leave(victim, now)
            victim.token = None
            evicted.append(victim)
        return evicted or None

    def _could_fit(self, ticket: Ticket) -> bool:
        """Whether those who would give way hold enough bytes, so that nobody is evicted in vain."""
        rank = _RANK[ticket.traffic_class]
        freed = sum(queue.bytes for queue in self.queues[rank + 1 :])
        if not freed:
            freed = sum(self._shares[tenant].bytes - self._bytes_share for tenant in self._over)
        return self.bytes + ticket.body_bytes - max(0, freed) <= self.settings.bytes_max

    def _victim(self, ticket: Ticket) -> Ticket | None:
        rank = _RANK[ticket.traffic_class]
        for lower in reversed(self.queues[rank + 1 :]):
            found = lower.newest_of_largest()
            if found is not None:
                return found[1]
        for tenant in sorted(self._over - {ticket.tenant}, key=lambda name: -self._shares[name].count):
            found = self.queues[rank].newest_of(tenant)
            if found is not None:
                return found[1]
        own = self._shares.get(ticket.tenant)
        count = 1 if own is None else own.count + 1
        if self.bytes + ticket.body_bytes > self.settings.bytes_max:
            return None
        largest = self._largest()
        if largest is None or self._shares[largest].count / self._shares[largest].weight <= count / ticket.weight:
            return None
        found = self.queues[rank].newest_of(largest)
        return None if found is None else found[1]

    def _largest(self) -> str | None:
        """The tenant with the most places for its weight, of those with more than one."""
        most = self._most
        while most:
            held, tenant = most[0]
            share = self._shares.get(tenant)
            if share is not None and share.count > 1 and -share.count / share.weight == held:
                return tenant
            heappop(most)
            if share is not None and share.count > 1 and -share.count / share.weight > held:
                heappush(most, (-share.count / share.weight, tenant))
        return None

    def _is_over(self, share: _Share) -> bool:
        return share.count > self._count_share or share.bytes > self._bytes_share

    # ------------------------------------------------------------------ how long it takes

    def wait_s(self, rank: int, now: float) -> float:
        """Seconds that a request of this class would wait, at the rate of late; RETRY_UNKNOWN_S where none is known."""
        ahead = sum(queue.count for queue in self.queues[: rank + 1])
        if not ahead:
            return 0.0
        per_s = self.rate.per_s(now)
        return ahead / per_s if per_s > 0 else RETRY_UNKNOWN_S

    def retry_after_s(self, ticket: Ticket, now: float) -> float:
        """After how many seconds what waits now, of this tenant or before it, will be through."""
        rank = _RANK[ticket.traffic_class]
        wait_s = self.wait_s(rank, now)
        share, queue = self._shares.get(ticket.tenant), self.queues[rank]
        per_s = self.rate.per_s(now)
        if share is not None and per_s > 0 and queue.waiting_weight > 0:
            own_s = share.count * queue.waiting_weight / ticket.weight / per_s
            wait_s = max(wait_s, own_s) if share.count >= self._count_share else min(wait_s, own_s)
        return min(max(wait_s, RETRY_MIN_S), RETRY_MAX_S)

    def start_left_s(self, usual_s: float | None, now: float) -> float:
        """Seconds until something can serve again, as far as it can be told from earlier times. Past the usual time it
        is expected to last as long again."""
        usual = self.start_s or usual_s or RETRY_UNKNOWN_S
        gone = 0.0 if self.down_since is None else now - self.down_since
        left = usual - gone if gone < usual else gone
        return min(max(left, RETRY_MIN_S), RETRY_MAX_S)

    def is_up_again(self, now: float) -> None:
        """Something can serve: remembers how long that took."""
        if self.down_since is not None:
            lasted = now - self.down_since
            self.start_s = lasted if not self.start_s else (self.start_s + lasted) / 2
            self.down_since = None
