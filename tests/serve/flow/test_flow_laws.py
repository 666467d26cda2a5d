"""Laws of the flow, over anything that can happen to it in any order."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from penstock.serve.flow import Capacity, QueueSettings, Ticket
from penstock.serve.flow.balance import Balance
from penstock.serve.flow.line import CLEAR_PART, SEATS_PART
from penstock.serve.flow.queue import BURST_S, QUIET_S
from penstock.serve.flow.ticket import CLASSES
from penstock.serve.routing import EngineSample
from serve.flow.flows import MODEL, addresses, flow, table, ticket

REQUESTS_MAX, BYTES_MAX, SEATS = 12, 400, 2
TENANTS = ("a", "b", "c")


class FlowLaws(RuleBasedStateMachine):
    """Submits, ends, fails, withdraws, reads, scales and reloads; and pumps when the flow asks for it, as its edge."""

    seats = SEATS
    endpoints_at_first = 2

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.endpoints = table(self.endpoints_at_first)
        self.gate = flow(self.endpoints, seats=self.seats, requests_max=REQUESTS_MAX, bytes_max=BYTES_MAX)
        self.balance, self.round = Balance(self.gate), 0
        self.tickets: list[Ticket] = []
        self.ends: Counter[int] = Counter()
        self.used = 0
        self.charged: set[int] = set()
        self.asked_at: dict[tuple[str, str], float] = {}
        """By tenant and class: when a request of it was last granted after it had waited."""
        self.began_to_wait: dict[tuple[str, str], float] = {}

    # ------------------------------------------------------------------ the edge

    def _after(self) -> None:
        due = self.gate.next_due
        if self.gate.is_dirty or (due is not None and due <= self.now):
            self._pump()

    def _pump(self) -> None:
        for one in self.gate.pump(self.now):
            assert one.state in ("granted", "shed")
            if one.state == "granted":
                self.charged.add(id(one))
                self.asked_at[one.tenant, one.traffic_class] = self.now
            else:
                self._ended(one)

    def _ended(self, one: Ticket) -> None:
        self.ends[id(one)] += 1
        assert self.ends[id(one)] == 1

    def _of(self, state: str) -> list[Ticket]:
        return [one for one in self.tickets if one.state == state]

    # ------------------------------------------------------------------ what happens

    @rule(
        tenant=st.sampled_from(TENANTS),
        rank=st.integers(0, 2),
        prompt=st.integers(0, 500),
        output=st.integers(0, 500),
        size=st.integers(0, 150),
        wait_s=st.floats(0.1, 50),
        deadline_s=st.none() | st.floats(0.1, 50),
        is_stream=st.booleans(),
    )
    def submit(
        self,
        *,
        tenant: str,
        rank: int,
        prompt: int,
        output: int,
        size: int,
        wait_s: float,
        deadline_s: float | None,
        is_stream: bool,
    ) -> None:
        one = ticket(
            tenant,
            prompt=prompt,
            output=output,
            body_bytes=size,
            traffic_class=CLASSES[rank],
            wait_s=wait_s,
            deadline_at=None if deadline_s is None else self.now + deadline_s,
            is_stream=is_stream,
            weight=1.0 + TENANTS.index(tenant),
        )
        who = (tenant, one.traffic_class)
        if not any((other.tenant, other.traffic_class) == who for other in self._of("queued")):
            self.began_to_wait[who] = self.now
        self.tickets.append(one)
        self.gate.submit(one, self.now)
        if one.state == "shed":
            assert one.shed is not None
            assert one.shed.retry_after_s >= 1.0
            self._ended(one)
        self._after()

    @rule(draw=st.randoms(use_true_random=False), reports=st.booleans(), is_ok=st.booleans())
    @precondition(lambda self: self._of("granted"))
    def end(self, draw: object, reports: bool, is_ok: bool) -> None:
        one = draw.choice(self._of("granted"))  # type: ignore[attr-defined]
        prompt, cached, output = (300, 100, 50) if reports else (-1, -1, -1)
        was_charged = id(one) in self.charged
        self.gate.ended(one, self.now, is_ok=is_ok, prompt_tokens=prompt, cached_tokens=cached, output_tokens=output)
        expected = one.need.prompt_tokens + one.need.output_tokens if is_ok else 0
        self.used += (250 if reports else expected) if was_charged else 0
        self._ended(one)
        self._after()

    @rule(draw=st.randoms(use_true_random=False))
    @precondition(lambda self: self._of("granted"))
    def begin(self, draw: object) -> None:
        self.gate.began(draw.choice(self._of("granted")), self.now)  # type: ignore[attr-defined]
        self._after()

    @rule(draw=st.randoms(use_true_random=False), goes_down=st.booleans())
    @precondition(lambda self: self._of("granted"))
    def fail(self, draw: object, goes_down: bool) -> None:
        one = draw.choice(self._of("granted"))  # type: ignore[attr-defined]
        failed = one.endpoint
        if goes_down and failed is not None:
            self.endpoints.failed(failed, "gone", self.now)
        other = self.gate.redirect(one, self.now)
        assert other is None or other is not failed
        assert one.endpoint is other
        if other is None:
            self.gate.ended(one, self.now, is_ok=False)
            self._ended(one)
        self._after()

    @rule(draw=st.randoms(use_true_random=False))
    @precondition(lambda self: self._of("queued"))
    def withdraw(self, draw: object) -> None:
        one = draw.choice(self._of("queued"))  # type: ignore[attr-defined]
        self.gate.withdraw(one, self.now)
        self._ended(one)
        self._after()

    @rule(seconds=st.floats(0.0, 20.0))
    def wait(self, seconds: float) -> None:
        """As the edge does: no later than the flow asks for, each time."""
        end = self.now + seconds
        for _ in range(200):
            due = self.gate.next_due
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self._pump()
        self.now = end
        self._after()

    @rule(running=st.integers(0, 6), waiting=st.integers(0, 6), place=st.integers(0, 3), usage=st.floats(0, 1))
    def read(self, running: int, waiting: int, place: int, usage: float) -> None:
        sample = EngineSample(at=self.now, running=running, waiting=waiting, kv_usage=usage)
        self.endpoints.observe(f"chat-{place}", sample)
        self.gate.endpoints_changed()
        self._after()

    @rule(count=st.integers(0, 4))
    def scale(self, count: int) -> None:
        self.endpoints.set_pool(MODEL, addresses(count))
        self.gate.endpoints_changed()
        self._after()

    @rule(gateways=st.integers(1, 3))
    def join(self, gateways: int) -> None:
        self.gate.gateways = gateways
        self._after()

    @rule(
        waiting=st.dictionaries(st.sampled_from((*TENANTS, "d")), st.floats(-1e6, 1e6), max_size=4),
        ahead=st.dictionaries(st.sampled_from((*TENANTS, "d")), st.floats(0, 1e6), max_size=4),
        rank=st.integers(0, 2),
    )
    def hear(self, waiting: dict[str, float], ahead: dict[str, float], rank: int) -> None:
        """What another gateway says of its tenants."""
        said = msgspec.msgpack.encode([(MODEL, CLASSES[rank], waiting, ahead)])
        self.round += 1
        self.balance.heed(self.round, {"me": self.balance.word(self.now), "other": said}, "me", self.now)
        self._after()

    @rule(kv_tokens=st.none() | st.integers(500, 3000))
    def reload(self, kv_tokens: int | None) -> None:
        self.gate.configure(
            queue=QueueSettings(requests_max=REQUESTS_MAX, bytes_max=BYTES_MAX),
            capacities={MODEL: Capacity(requests_max=self.seats, kv_tokens=kv_tokens)},
        )
        self._after()

    @rule(tenant=st.sampled_from(TENANTS), count=st.integers(2, 9), prompt=st.integers(0, 50))
    def flood(self, *, tenant: str, count: int, prompt: int) -> None:
        for _ in range(count):
            self.submit(
                tenant=tenant,
                rank=0,
                prompt=prompt,
                output=10,
                size=1,
                wait_s=50.0,
                deadline_s=None,
                is_stream=True,
            )

    # ------------------------------------------------------------------ what always holds

    @invariant()
    def bounds_are_never_passed(self) -> None:
        waiting = self._of("queued")
        assert len(waiting) <= REQUESTS_MAX
        assert sum(one.body_bytes for one in waiting) <= BYTES_MAX
        assert sum(state.waiting for state in self.gate.snapshot()) == len(waiting)
        assert sum(state.body_bytes for state in self.gate.snapshot()) == sum(one.body_bytes for one in waiting)

    @invariant()
    def what_is_out_is_counted(self) -> None:
        granted = [one for one in self._of("granted") if one.endpoint is not None]
        for e in self.endpoints.all():
            mine = [one for one in granted if one.endpoint is e]
            assert e.in_flight == len(mine)
            if e.window is not None:
                assert e.window.kv_held == sum(one.need.prompt_tokens + one.need.output_tokens for one in mine)
                assert e.window.prefill_held >= 0

    @invariant()
    def nobody_waits_while_there_is_room(self) -> None:
        """Room may be kept only for a tenant that asked lately and waits for nothing, from tenants that have waited for
        longer than a burst; and never more than the documented part of seats, or of endpoints without a prompt. Seats
        on trial are nobody's yet."""
        waiting = self._of("queued")
        if not waiting:
            assert self.gate.next_due is None
            return
        may_keep = any(self._is_kept_from(one) for one in waiting)
        able = self.endpoints.pools[MODEL].candidates(self.now)
        room = [e for e in able if e.window.has_room(e, self.now) and e.in_flight < e.window.sure]
        if not room:
            return
        assert may_keep
        assert self.gate.next_due is not None
        kept = sum(e.window.limit for e in able) // SEATS_PART
        clear = [e for e in room if e.window.prefill_held <= 0]
        if sum(e.window.limit - e.in_flight for e in room) > kept and len(clear) > len(able) // CLEAR_PART:
            assert all(e.window.limit - e.in_flight <= max(kept // len(able), e.window.reserve_min) for e in clear)

    def _is_kept_from(self, one: Ticket) -> bool:
        of_class = {other.tenant for other in self._of("queued") if other.traffic_class == one.traffic_class}
        others = [
            at for (tenant, name), at in self.asked_at.items() if name == one.traffic_class and tenant not in of_class
        ]
        since = self.began_to_wait.get((one.tenant, one.traffic_class), self.now)
        return max(others, default=-1e9) + QUIET_S > self.now and self.now - since > BURST_S

    @invariant()
    def models_are_woken_exactly_while_somebody_waits_for_an_endpoint(self) -> None:
        if not self._of("queued"):
            assert self.gate.wakes == set()

    def teardown(self) -> None:
        """Everything ends once, and what was charged is what was used."""
        for _ in range(500):
            for one in self._of("granted"):
                self.end_one(one)
            due = self.gate.next_due
            if due is not None:
                self.now = max(self.now, due)
            self._pump()
            if not self._of("granted") and not self._of("queued"):
                break
        assert all(self.ends[id(one)] == 1 for one in self.tickets)
        assert self.gate.work_charged == self.used
        assert [e.in_flight for e in self.endpoints.all()] == [0] * len(self.endpoints.all())

    def end_one(self, one: Ticket) -> None:
        self.used += one.need.prompt_tokens + one.need.output_tokens if id(one) in self.charged else 0
        self.gate.ended(one, self.now)
        self._ended(one)


def test_each_ticket_ends_once_bounds_hold_and_nobody_waits_while_there_is_room() -> None:
    run_state_machine_as_test(FlowLaws, settings=settings(max_examples=40, stateful_step_count=40, deadline=None))


class RoomIsKept(FlowLaws):
    """As many seats as it takes for one of them to be kept."""

    seats = 8
    endpoints_at_first = 1


def test_the_same_holds_where_room_is_kept() -> None:
    run_state_machine_as_test(RoomIsKept, settings=settings(max_examples=40, stateful_step_count=40, deadline=None))
