"""Who goes to which endpoint, and who waits: the flow of requests through one gateway.

    submit ──▶ granted ──▶ ended
       │         ▲  ├─ redirect: its endpoint failed, another at once
       │         ▲  └─ beside: a second endpoint besides, then swap where that one is kept
       ├▶ queued ┘ pump: an endpoint has room, or came
       │    └▶ shed (its time is over, or it gave way) | over (withdraw: the client is gone)
       └▶ shed (no place)

While nobody waits and an endpoint has room, a request passes through at once and no queue is touched. Otherwise it
waits in its model's line: for room, or, where nothing can serve, for an endpoint.

Guarantees: each ticket ends once; nobody waits while an endpoint that may serve has room that is open to who goes next
(after `pump`): all of it, but for some seats and some endpoints without a prompt under way while several tenants ask,
which those that have their share leave free (`reserve`);
lines keep their bounds; what an endpoint was given comes back when the ticket ends. Nothing is polled: `is_dirty` says
that `pump` may have something to do, `next_due` when it will without anything happening. Pure; belongs to one event
loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from penstock.serve.flow.bill import Bill
from penstock.serve.flow.line import Line, Place
from penstock.serve.flow.queue import FairQueue
from penstock.serve.flow.settings import UNKNOWN_CAPACITY, Capacity, QueueSettings
from penstock.serve.flow.ticket import CLASSES, Shed, Ticket
from penstock.serve.flow.window import Window
from penstock.serve.routing.endpoints import Endpoint, EndpointTable
from penstock.serve.routing.policy import Decision, Ended, Policy
from penstock.spec import TrafficClass

__all__ = ["Flow", "LineState"]

Reason = Literal["queue_full", "queue_timeout", "evicted", "no_endpoint", "deadline", "model_gone"]
_SHEDS: Mapping[Reason, tuple[int, str]] = MappingProxyType(
    {
        "queue_full": (429, "The queue of '{model}', where {count} requests wait, has no place for this one"),
        "evicted": (429, "The queue of '{model}' is full, and this request gave way to others"),
        "queue_timeout": (503, "No engine of '{model}' had room within {wait_s:g} s"),
        "no_endpoint": (
            503,
            "No endpoint of '{model}' can serve right now: it is starting, restarting or scaled to zero",
        ),
        "model_gone": (503, "'{model}' left the fleet file while the request waited for one of its engines"),
        "deadline": (504, "The request's deadline passed while it waited for an engine of '{model}' with room"),
    }
)
"""HTTP status and words. 429: there is capacity, and others have it; 503: nothing can serve in time; 504: too late."""


LATE_S = 0.005
"""Seconds in the queue past which a request was late: less than a step of an engine, which it may have to wait for
anyhow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineState:
    """What waits for one model in one class."""

    model: str
    traffic_class: TrafficClass
    waiting: int
    body_bytes: int
    tenants: int
    """Of which something is kept."""


class _Grant:
    """What a granted ticket holds."""

    __slots__ = ("behind_s", "bill", "kv_tokens", "prefill_held", "sent_at", "window")

    def __init__(self, sent_at: float, kv_tokens: int) -> None:
        self.sent_at = sent_at
        self.behind_s = 0.0
        """Seconds that the request had waited elsewhere when it was sent there besides."""
        self.prefill_held = 0
        """Prompt tokens at its endpoint when it was sent; 0 once its first token came, or where that is not heard."""
        self.kv_tokens = kv_tokens
        self.bill: Bill | None = None
        """What its tenant is charged; None where it passed at once."""
        self.window: Window | None = None
        """Whose room it holds; None where it was sent before anybody counted that, as the queue was off."""


class Flow:
    """All lines and windows of one gateway. Called from its event loop only."""

    def __init__(self, endpoints: EndpointTable, policy: Policy, *, gateways: int = 1) -> None:
        self.is_dirty = False
        """Something changed that may let a ticket go: call `pump` soon."""
        self.wakes: set[str] = set()
        """Models for which somebody waits and nothing can serve."""
        self.shed_total: dict[tuple[str, TrafficClass, str], int] = {}
        """By model, class and reason."""
        self.queued_total = 0
        self.work_charged = 0
        """Tokens that tenants were charged and, once over, used: of tickets that waited."""
        self._endpoints = endpoints
        self._policy = policy
        self._gateways = gateways
        self._queue = QueueSettings()
        self._capacities: Mapping[str, Capacity] = MappingProxyType({})
        self._gone: frozenset[str] = frozenset()
        """Models that a file had and has no more."""
        self._lines: dict[str, Line] = {}
        self._busy: dict[str, Line] = {}
        """Lines in which somebody waits."""
        self._changed: list[Ticket] = []
        self._pumped_at = 0.0

    # ------------------------------------------------------------------ settings

    def configure(
        self,
        *,
        queue: QueueSettings,
        capacities: Mapping[str, Capacity] = MappingProxyType({}),
        policy: Policy | None = None,
    ) -> None:
        """Takes the settings of a (re)load; `capacities` by model, of each of its endpoints. Who waits goes on
        waiting, but for a model that it has no more."""
        self._gone = (self._gone | self._capacities.keys()) - capacities.keys()
        self._queue, self._capacities = queue, capacities
        self._policy = policy or self._policy
        for model, line in list(self._lines.items()):
            line.configure(queue)
            if not line.count and model not in self._endpoints.pools:
                del self._lines[model]
        self._configure_windows()
        self.endpoints_changed()

    @property
    def gateways(self) -> int:
        """Gateways that share the endpoints, this one among them."""
        return self._gateways

    @gateways.setter
    def gateways(self, count: int) -> None:
        if count != self._gateways:
            self._gateways = max(1, count)
            self._configure_windows()
            self.endpoints_changed()

    def _configure_windows(self) -> None:
        for endpoint in self._endpoints.all():
            if endpoint.window is not None:
                endpoint.window.configure(self._capacities.get(endpoint.model, UNKNOWN_CAPACITY), self._gateways)

    def endpoints_changed(self) -> None:
        """Endpoints came, went, changed their health, or were read: somebody who waits may go."""
        if self._busy:
            self.is_dirty = True

    def queues(self) -> Iterator[tuple[str, TrafficClass, FairQueue]]:
        """The queues in which somebody waits, by model and class."""
        for model, line in self._busy.items():
            for traffic_class, queue in zip(CLASSES, line.queues, strict=True):
                if queue.count:
                    yield model, traffic_class, queue

    # ------------------------------------------------------------------ one request

    def submit(self, ticket: Ticket, now: float) -> Ticket:
        """Takes a new ticket, or one whose endpoint failed and that found no other: granted, queued or shed."""
        if ticket.state == "granted":
            self.ended(ticket, now, is_ok=False)
        line = self._lines.get(ticket.model)
        if line is None or not line.count:
            able = self._able(ticket.model, now)
            room = self._with_room(able, now) if self._queue.is_on else able
            if room:  # nobody waits: behind another's prompt may be sooner, where its beginning is cached
                self._grant(ticket, room if len(room) == len(able) else self._with_seats(able), now, None)
                return ticket
            if line is None:
                line = self._lines[ticket.model] = Line(ticket.model, self._queue)
            if not able:
                self._note_down(line, now)
        if not self._queue.is_on:
            self._shed(ticket, line, "no_endpoint", now)
            self._note_left(line)
            return ticket
        evicted = line.enter(ticket, now)
        if evicted is None:
            self._shed(ticket, line, "queue_full" if line.down_since is None else "no_endpoint", now)
            self._note_left(line)
            return ticket
        ticket.state = "queued"
        self.queued_total += 1
        self._busy[ticket.model] = line
        if (line.kept_until and len(ticket.token.account.waiters) == 1) or ticket.model in self._gone:
            self.is_dirty = True  # room is kept, maybe for this one; or nobody will bring an endpoint
        for victim in evicted:
            self._shed(victim, line, "evicted", now)
            self._changed.append(victim)
            self.is_dirty = True
        return ticket

    def began(self, ticket: Ticket, now: float) -> None:
        """The first token of a stream came from its endpoint."""
        grant = ticket.token
        if ticket.state != "granted":
            return
        if grant.bill is not None and grant.bill.began_at < 0.0:
            grant.bill.began_at = now
        if not grant.prefill_held or ticket.endpoint is None:
            return
        one, took_s = ticket.endpoint, now - grant.sent_at
        one.window.began(ticket.need.prompt_tokens, grant.prefill_held, took_s, one.in_flight)
        grant.prefill_held = 0
        if self._busy:
            self.is_dirty = True

    def redirect(self, ticket: Ticket, now: float) -> Endpoint | None:
        """The ticket's endpoint failed: another one that did not yet, room or not; None where there is none.

        The failed one goes into `tried_ids`, and its room is given back. After None the ticket is still the caller's
        to end, or to `submit` again, to wait for an endpoint.
        """
        if ticket.state != "granted":
            return None
        grant: _Grant = ticket.token
        failed = ticket.endpoint
        if failed is not None:
            self._release(ticket, failed, Ended(now=now, is_ok=False, sent_at=grant.sent_at))
            if failed.id not in ticket.tried_ids:
                ticket.tried_ids = (*ticket.tried_ids, failed.id)
        others = [e for e in self._able(ticket.model, now) if e.id not in ticket.tried_ids]
        if not others:
            return None
        self._send(ticket, self._with_room(others, now) or others, now)
        return ticket.endpoint

    def beside(self, ticket: Ticket, now: float) -> Ticket | None:
        """A second place for the same request, granted: at another endpoint in use that did not fail it and has room at
        once, which nobody waits for. None where there is none. It is to be `ended` as any other, and is charged to
        nobody."""
        here = ticket.endpoint
        if ticket.state != "granted" or here is None or ticket.model in self._busy:
            return None
        others = self._with_seats(
            [
                e
                for e in self._able(ticket.model, now)
                if e is not here and e.id != here.id and e.health == "ready" and e.id not in ticket.tried_ids
            ]
        )
        room = self._with_room(others, now) if self._queue.is_on else others
        if not room:
            return None
        second = Ticket(ticket.model, ticket.tenant, replace(ticket.need, memo=None), ticket.weight)
        second.traffic_class, second.arrived_at = ticket.traffic_class, ticket.arrived_at
        second.is_stream, second.explains = ticket.is_stream, ticket.explains
        self._grant(second, room, now, None)
        second.token.behind_s = now - ticket.token.sent_at
        return second

    @staticmethod
    def swap(ticket: Ticket, second: Ticket) -> None:
        """The request goes on in the place that `beside` gave: `second` holds its first one now, to be `ended`. What
        its tenant was charged stays with `ticket`."""
        if ticket.state != "granted" or second.state != "granted":
            return
        one, other = ticket.token, second.token
        other.bill, one.bill = one.bill, None
        ticket.token, second.token = other, one
        ticket.endpoint, second.endpoint = second.endpoint, ticket.endpoint
        ticket.decision, second.decision = second.decision, ticket.decision
        ticket.trial, second.trial = second.trial, ticket.trial
        ticket.need, second.need = second.need, ticket.need

    def withdraw(self, ticket: Ticket, now: float) -> None:
        """The client is gone while its request waits."""
        if ticket.state != "queued":
            return
        line = self._lines[ticket.model]
        line.leave(ticket, now)
        ticket.token, ticket.state = None, "over"
        if line.kept_until:
            self.is_dirty = True
        self._note_left(line)

    def ended(
        self,
        ticket: Ticket,
        now: float,
        *,
        is_ok: bool = True,
        ttft_s: float = -1.0,
        prompt_tokens: int = -1,
        cached_tokens: int = -1,
        output_tokens: int = -1,
    ) -> None:
        """A granted ticket is over: gives its room back, and charges its tenant what it really used. Tokens that are
        -1 were not reported: then what was expected is charged, or nothing where it failed."""
        if ticket.state != "granted":
            return
        grant: _Grant = ticket.token
        if grant.behind_s and ttft_s > 0.0:
            ttft_s = max(0.0, ttft_s - grant.behind_s)
        if ticket.endpoint is not None:
            outcome = Ended(now, is_ok, grant.sent_at, ttft_s, prompt_tokens, cached_tokens, output_tokens)
            self._release(ticket, ticket.endpoint, outcome)
        ticket.state, ticket.token = "over", None
        bill, need = grant.bill, ticket.need
        if bill is None or bill.account is None:
            return
        prompt = prompt_tokens if prompt_tokens >= 0 else need.prompt_tokens if is_ok else 0
        output = output_tokens if output_tokens >= 0 else need.output_tokens if is_ok else 0
        more = max(0, prompt - max(0, cached_tokens)) + output - bill.charged
        bill.queue.settle(bill.account, more)
        self.work_charged += more
        line = self._lines.get(ticket.model)
        if line is None:
            bill.is_over = True
        else:
            line.meter.close(bill, output_tokens if is_ok and ticket.is_stream else -1, now)

    # ------------------------------------------------------------------ those who wait

    def pump(self, now: float) -> list[Ticket]:
        """Lets go who can go, and sheds whose time is over. Returns the tickets whose state changed since the last
        call, in order: those that are granted, shed, or were evicted."""
        self.is_dirty = False
        self._pumped_at = now
        changed, self._changed = self._changed, []
        for line in list(self._busy.values()):
            for ticket in line.expired(now):
                self._shed(ticket, line, self._why_over(ticket, line, now), now)
                changed.append(ticket)
            if line.model in self._gone:
                self._dismiss(line, now, changed)
            elif line.count:
                self._charge(line, now)
                self._serve(line, now, changed)
            self._note_left(line)
        return changed

    @property
    def next_due(self) -> float | None:
        """When `pump` must be called though nothing happens, monotonic seconds: somebody's time is over, or an endpoint
        that failed may be tried again."""
        if not self._busy:
            return None
        due: list[float] = []
        for model, line in self._busy.items():
            ends_at = line.next_due
            if ends_at is not None:
                due.append(ends_at)
            is_kept = line.kept_until > 0.0
            if is_kept:
                due.append(line.kept_until)
            pool = self._endpoints.pools.get(model)
            if pool is not None:
                out = [e for e in pool.endpoints if e.health == "down"]
                again = [e.retry_at for e in out] + [e.guard.trial_until for e in out if e.guard.trial]
                again += [e.window.next_due(is_kept=is_kept) or 0.0 for e in pool.endpoints if e.window is not None]
                due += [at for at in again if at > self._pumped_at]
        return min(due, default=None)

    def expected_wait_s(self, model: str, traffic_class: TrafficClass, now: float) -> float:
        """Seconds that a request would wait here, from the rate at which the line drained lately; 0 where nobody waits
        before it."""
        line = self._busy.get(model)
        if line is None:
            return 0.0
        if line.down_since is not None:
            return line.start_left_s(self._capacities.get(model, UNKNOWN_CAPACITY).start_s, now)
        return line.wait_s(CLASSES.index(traffic_class), now)

    def snapshot(self) -> list[LineState]:
        """What waits, by model and class."""
        return [
            LineState(
                model=model,
                traffic_class=traffic_class,
                waiting=queue.count,
                body_bytes=queue.bytes,
                tenants=queue.tenants,
            )
            for model, line in sorted(self._lines.items())
            for traffic_class, queue in zip(CLASSES, line.queues, strict=True)
        ]

    def _dismiss(self, line: Line, now: float, changed: list[Ticket]) -> None:
        """Sheds all: nobody will bring an endpoint."""
        while (ticket := line.peek(now)) is not None:
            line.leave(ticket, now)
            self._shed(ticket, line, "model_gone", now)
            changed.append(ticket)

    def _charge(self, line: Line, now: float) -> None:
        """Charges tenants what their requests that run have received."""
        for bill, more in line.meter.grown(now):
            if bill.account is not None:
                bill.queue.charge(bill.account, more)
                self.work_charged += more

    def _serve(self, line: Line, now: float, changed: list[Ticket]) -> None:
        """Grants in order while somebody waits and an endpoint has room."""
        line.kept_until = 0.0
        able = self._able(line.model, now)
        if not able:
            self._note_down(line, now)
            return
        line.is_up_again(now)
        self.wakes.discard(line.model)
        room = self._with_room(able, now) if self._queue.is_on else able
        line.note_able([e.window.limit if e.window is not None and e.window.knows_seats else 0 for e in able])
        while room:
            ticket = line.peek(now)
            if ticket is None:
                return
            open_to = self._open_to(ticket, line, room, now)
            if not open_to:
                line.is_full = False
                return
            self._grant(ticket, open_to, now, line)
            changed.append(ticket)
            room = self._room_after(ticket, room, now)
        line.note_full(all(e.window is None or e.in_flight >= e.window.limit for e in able), now)

    def _open_to(self, ticket: Ticket, line: Line, room: list[Endpoint], now: float) -> list[Endpoint]:
        """Of what has room what is open to this one, which goes next: a tenant that has its share leaves some of it,
        while others ask."""
        place: Place = ticket.token
        until = place.queue.kept_until(place.account, now)
        if not self._queue.is_on:
            return room
        if until <= now:
            if place.queue.is_owed(place.account, now):  # whether an engine runs more is not tried with those
                return [e for e in room if e.in_flight < e.window.sure]
            return room
        free = sum(e.window.limit - e.in_flight for e in room)
        clear = [e for e in room if e.window.prefill_held <= 0]
        kept, spare = line.seats.kept(line.able_seats), []
        if free > kept and len(clear) > line.clear.kept(line.able):
            each = kept // line.able
            spare = [e for e in clear if e.window.limit - e.in_flight > e.window.kept(each)]
        if not spare:
            line.kept_until = until
            for endpoint in room:
                endpoint.window.keep(endpoint)
        return spare

    @staticmethod
    def _learn(line: Line, place: Place, room: Sequence[Endpoint], now: float) -> None:
        """What one found that goes now and whose tenant has less than its share."""
        is_late = place.is_late and now - place.queued_at > LATE_S
        line.seats.asked(line.able_seats, has_found=not is_late)
        line.clear.asked(line.able, has_found=any(e.window.prefill_held <= 0 for e in room))

    def _room_after(self, ticket: Ticket, room: list[Endpoint], now: float) -> list[Endpoint]:
        """What still has room once this ticket was granted."""
        endpoint = ticket.endpoint
        if endpoint is None or not self._queue.is_on:
            return room
        if endpoint.health == "down":  # its trial: who may be tried is the pool's to say
            return self._with_room(self._able(ticket.model, now), now)
        return room if endpoint.window.has_room(endpoint, now) else [e for e in room if e is not endpoint]

    def _why_over(self, ticket: Ticket, line: Line, now: float) -> Reason:
        if ticket.deadline_at is not None and ticket.deadline_at <= now:
            return "deadline"
        return "queue_timeout" if line.down_since is None else "no_endpoint"

    def _note_down(self, line: Line, now: float) -> None:
        """Nothing can serve this line."""
        if line.down_since is None:
            line.down_since = now
        self.wakes.add(line.model)

    def _note_left(self, line: Line) -> None:
        """Somebody left this line."""
        if line.count == 0:
            self._busy.pop(line.model, None)
            self.wakes.discard(line.model)
            line.down_since = None
            line.kept_until, line.is_full = 0.0, False

    # ------------------------------------------------------------------ endpoints

    def _able(self, model: str, now: float) -> list[Endpoint]:
        """Endpoints that may get a request."""
        pool = self._endpoints.pools.get(model)
        return pool.candidates(now) if pool is not None else []

    def _with_room(self, endpoints: Sequence[Endpoint], now: float) -> list[Endpoint]:
        room: list[Endpoint] = []
        for endpoint in endpoints:
            window = endpoint.window
            if window is None:
                capacity = self._capacities.get(endpoint.model, UNKNOWN_CAPACITY)
                window = endpoint.window = Window(capacity, self._gateways)
            if window.has_room(endpoint, now):
                room.append(endpoint)
        return room

    @staticmethod
    def _with_seats(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """Those that can run one more, though prompts may stand before it there."""
        return [e for e in endpoints if e.window is None or e.window.has_seat(e)]

    def _grant(self, ticket: Ticket, room: Sequence[Endpoint], now: float, line: Line | None) -> None:
        """Sends a ticket on, out of its line where it waited in one."""
        need = ticket.need
        tokens = need.prompt_tokens + need.output_tokens
        grant = _Grant(now, tokens)
        if line is not None:
            place: Place = ticket.token
            grant.bill = bill = Bill(place.queue, need.prompt_tokens, need.output_tokens)
            if self._queue.is_on and place.queue.is_owed(place.account, now):
                self._learn(line, place, room, now)
            bill.account = line.take(ticket, line.meter.begin(bill, now), now)
            self.work_charged += bill.charged
        ticket.token = grant
        ticket.state = "granted"
        self._send(ticket, room, now)

    def _send(self, ticket: Ticket, room: Sequence[Endpoint], now: float) -> None:
        """To the endpoint that the policy chooses: among those that did not fail it and whose cache has room for it,
        as far as there are any."""
        grant: _Grant = ticket.token
        if ticket.tried_ids:
            room = [e for e in room if e.id not in ticket.tried_ids] or room
        if room[0].window is not None and room[0].window.kv_tokens:
            room = [e for e in room if e.window is None or e.window.fits(grant.kv_tokens)] or room
        policy, need = self._policy, ticket.need
        decision = self._trial(ticket.model, room, now)
        if decision is None:
            decision = policy.choose(room, need, now=now, explains=ticket.explains)
        endpoint = decision.endpoint
        ticket.trial = self._endpoints.sent(endpoint, now)
        grant.window = window = endpoint.window
        if window is not None:
            window.take(grant.kv_tokens)
            if need.prompt_tokens:
                held = window.begin(need.prompt_tokens, now, is_heard=ticket.is_stream)
                grant.prefill_held = held if ticket.is_stream else 0
        grant.sent_at = now
        if grant.bill is not None:
            grant.bill.began_at = -1.0 if ticket.is_stream else now
        ticket.endpoint, ticket.decision = endpoint, decision
        policy.sent(endpoint, need, now)

    def _trial(self, model: str, room: Sequence[Endpoint], now: float) -> Decision | None:
        """To an endpoint that was out, if it is due for a trial and the policy has passed it over."""
        pool = self._endpoints.pools.get(model)
        due = pool.trial_due(now) if pool is not None and not pool.is_calm else None
        return Decision(endpoint=due, policy="trial") if due is not None and due in room else None

    def _release(self, ticket: Ticket, endpoint: Endpoint, outcome: Ended) -> None:
        """Gives back the room that a ticket had at its endpoint."""
        self._endpoints.left(endpoint)
        grant: _Grant = ticket.token
        if grant.window is not None:
            grant.window.give(grant.kv_tokens)
            if grant.prefill_held:
                grant.window.unbegun(ticket.need.prompt_tokens)
                grant.prefill_held = 0
        ticket.endpoint = None
        if self._busy:
            self.is_dirty = True
        self._policy.ended(endpoint, ticket.need, outcome)

    # ------------------------------------------------------------------ who does not wait (any longer)

    def _shed(self, ticket: Ticket, line: Line, reason: Reason, now: float) -> None:
        retry_s = line.retry_after_s(ticket, now)
        if reason == "no_endpoint":
            retry_s = line.start_left_s(self._capacities.get(ticket.model, UNKNOWN_CAPACITY).start_s, now)
        status, words = _SHEDS[reason]
        words = words.format(model=ticket.model, tenant=ticket.tenant, wait_s=ticket.wait_s, count=line.count)
        message = f"{words}. Try again in {retry_s:.0f} s."
        ticket.state, ticket.token = "shed", None
        ticket.shed = Shed(reason=reason, status=status, retry_after_s=retry_s, message=message)
        key = (ticket.model, ticket.traffic_class, reason)
        self.shed_total[key] = self.shed_total.get(key, 0) + 1
