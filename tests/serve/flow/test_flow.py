"""The flow: who goes at once, who waits, who is shed, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from penstock.serve.flow import Capacity, Flow, QueueSettings, Ticket
from penstock.serve.flow.queue import QUIET_S
from penstock.serve.flow.window import Window
from penstock.serve.routing import Decision, Ended, Endpoint, EndpointTable, EngineSample, LeastLoad, Need
from serve.flow.flows import MODEL, addresses, endpoint, flow, in_flight, table, ticket


def states(*tickets: Ticket) -> list[str]:
    return [one.state for one in tickets]


class TestPassing:
    def test_with_room_a_request_passes_at_once_and_no_line_is_made(self) -> None:
        endpoints = table()
        gate = flow(endpoints)
        one = gate.submit(ticket(), 1.0)
        assert one.state == "granted"
        assert one.endpoint is not None
        assert one.decision is not None
        assert sum(in_flight(endpoints)) == 1
        assert (gate.snapshot(), gate.next_due, gate.is_dirty) == ([], None, False)

    def test_what_ends_gives_its_room_back_once(self) -> None:
        endpoints = table(1)
        gate = flow(endpoints)
        one = gate.submit(ticket(), 1.0)
        gate.ended(one, 2.0)
        gate.ended(one, 2.0)
        assert one.state == "over"
        assert in_flight(endpoints) == [0]

    def test_no_endpoint_gets_more_than_its_seats(self) -> None:
        endpoints = table(2)
        gate = flow(endpoints, seats=2)
        tickets = [gate.submit(ticket(), 1.0) for _ in range(5)]
        assert states(*tickets) == ["granted"] * 4 + ["queued"]
        assert in_flight(endpoints) == [2, 2]

    def test_a_queue_that_is_off_sends_everything_to_the_engines(self) -> None:
        endpoints = table(1)
        gate = flow(endpoints, is_on=False)
        tickets = [gate.submit(ticket(), 1.0) for _ in range(50)]
        assert states(*tickets) == ["granted"] * 50
        endpoints.set_pool(MODEL, [])
        refused = gate.submit(ticket(), 1.0)
        assert refused.shed is not None
        assert (refused.state, refused.shed.status, refused.shed.reason) == ("shed", 503, "no_endpoint")

    def test_while_nobody_waits_the_policy_may_choose_to_stand_behind_another_prompt(self) -> None:
        class First(LeastLoad):
            def choose(self, candidates: Sequence[Endpoint], *_: Any, **__: Any) -> Decision:
                return Decision(min(candidates, key=lambda e: e.id), "first")

        endpoints = table(2)
        gate = Flow(endpoints, First())
        gate.configure(queue=QueueSettings(), capacities={MODEL: Capacity(requests_max=2)})
        gate.submit(ticket(), 1.0)
        first = endpoint(endpoints)
        first.window.prefill_held, first.window.prefill_max = 9_000, 8_000
        assert not first.window.has_room(first, 1.0)
        assert gate.submit(ticket(), 1.0).endpoint is first  # its prompt's beginning may be there
        assert gate.submit(ticket(), 1.0).endpoint is endpoint(endpoints, 1)  # no seat is left at the first
        first.window.prefill_held = 0
        endpoint(endpoints, 1).window.prefill_held, endpoint(endpoints, 1).window.prefill_max = 9_000, 8_000
        assert gate.submit(ticket(), 1.0).state == "queued"  # all have prompts under way or no seat

    def test_who_waits_for_a_model_that_leaves_the_file_is_told_at_once(self) -> None:
        endpoints = table(0)
        gate = flow(endpoints)
        here, there = gate.submit(ticket(), 1.0), gate.submit(ticket(), 1.0)
        gate.configure(queue=QueueSettings(), capacities={"other": Capacity()})
        assert gate.is_dirty
        assert gate.pump(2.0) == [here, there]
        assert {(one.shed.status, one.shed.reason) for one in (here, there) if one.shed} == {(503, "model_gone")}
        assert (gate.next_due, sum(state.waiting for state in gate.snapshot())) == (None, 0)
        resumed = gate.submit(ticket(), 2.0)  # a stream that had begun before, and lost its engine
        assert gate.is_dirty
        assert gate.pump(2.0) == [resumed]
        gate.configure(queue=QueueSettings(), capacities={MODEL: Capacity()})  # and it comes back
        late = gate.submit(ticket(), 3.0)
        assert gate.pump(4.0) == []
        assert late.state == "queued"

    def test_who_was_sent_while_the_queue_was_off_takes_no_room_from_those_after(self) -> None:
        endpoints = table(1)
        gate = flow(endpoints, is_on=False)
        early = gate.submit(ticket(prompt=20), 1.0)
        gate.configure(queue=QueueSettings(), capacities={MODEL: Capacity(requests_max=4, kv_tokens=1000)})
        gate.submit(ticket(prompt=20), 2.0)
        held = endpoint(endpoints).window.kv_held
        gate.ended(early, 3.0)
        assert endpoint(endpoints).window.kv_held == held > 0

    @pytest.mark.parametrize("how", [{"is_on": False}, {"requests_max": 0}])
    def test_nobody_waits_where_who_comes_is_turned_away(self, how: dict[str, Any]) -> None:
        endpoints = table(0)
        gate = flow(endpoints, **how)
        first = gate.submit(ticket(), 1.0)
        endpoints.set_pool(MODEL, addresses(1))
        assert gate.submit(ticket(), 2.0).state == "granted"
        endpoints.set_pool(MODEL, [])
        last = gate.submit(ticket(), 1000.0)
        assert gate.wakes == set()
        assert first.shed is not None
        assert last.shed is not None
        assert last.shed.retry_after_s == first.shed.retry_after_s  # not since the first time

    def test_a_cache_with_room_for_it_is_preferred(self) -> None:
        endpoints = table(2)
        gate = flow(endpoints, seats=10, kv_tokens=1000)
        first = gate.submit(ticket(prompt=800), 1.0)
        assert first.endpoint is not None
        others = [gate.submit(ticket(prompt=300), 1.0) for _ in range(2)]
        assert first.endpoint not in [one.endpoint for one in others]


class TestWaiting:
    def test_the_end_of_one_lets_the_next_go(self) -> None:
        endpoints = table(1)
        gate = flow(endpoints)
        first, second = gate.submit(ticket(), 1.0), gate.submit(ticket(), 1.0)
        gate.ended(first, 2.0)
        assert gate.is_dirty
        assert gate.pump(2.0) == [second]
        assert (second.state, gate.is_dirty, gate.next_due) == ("granted", False, None)

    def test_who_comes_later_does_not_overtake_who_waits(self) -> None:
        gate = flow(table(1))
        first, second = gate.submit(ticket(), 1.0), gate.submit(ticket(), 1.0)
        gate.ended(first, 2.0)
        third = gate.submit(ticket(), 2.0)
        assert third.state == "queued"
        assert gate.pump(2.0) == [second]

    def test_a_client_that_leaves_is_forgotten(self) -> None:
        gate = flow(table(1))
        first, second = gate.submit(ticket(), 1.0), gate.submit(ticket(), 1.0)
        gate.withdraw(second, 1.5)
        gate.withdraw(second, 1.5)
        gate.ended(first, 2.0)
        assert gate.pump(2.0) == []
        assert (second.state, gate.snapshot()[0].waiting) == ("over", 0)

    @pytest.mark.parametrize(
        ("more", "now", "reason", "status"),
        [
            ({"wait_s": 10.0}, 11.0, "queue_timeout", 503),
            ({"wait_s": 10.0, "deadline_at": 5.0}, 5.0, "deadline", 504),
        ],
    )
    def test_who_waited_too_long_is_told_so(self, more: dict[str, Any], now: float, reason: str, status: int) -> None:
        gate = flow(table(1))
        gate.submit(ticket(), 1.0)
        one = gate.submit(ticket(**more), 1.0)
        assert gate.next_due == now
        assert gate.pump(now - 0.1) == []
        assert gate.pump(now) == [one]
        assert one.shed is not None
        assert (one.shed.reason, one.shed.status) == (reason, status)
        assert one.shed.retry_after_s >= 1.0
        assert gate.shed_total == {(MODEL, "interactive", reason): 1}

    def test_a_full_queue_refuses_with_429_and_the_evicted_come_with_the_next_pump(self) -> None:
        gate = flow(table(1), requests_max=1)
        gate.submit(ticket(), 1.0)
        low = gate.submit(ticket(traffic_class="batch"), 1.0)
        high = gate.submit(ticket(), 1.0)
        late = gate.submit(ticket(), 1.0)
        assert states(low, high, late) == ["shed", "queued", "shed"]
        assert low.shed is not None
        assert late.shed is not None
        assert (low.shed.reason, low.shed.status, late.shed.reason, late.shed.status) == (
            "evicted", 429, "queue_full", 429,
        )  # fmt: skip
        assert gate.is_dirty
        assert gate.pump(1.0) == [low]

    def test_an_engine_that_shows_room_lets_somebody_go(self) -> None:
        endpoints = table(1)
        gate = flow(endpoints, seats=None)
        endpoints.observe("chat-0", EngineSample(at=1.0, running=1, waiting=9))
        first = gate.submit(ticket(), 1.0)
        endpoints.observe("chat-0", EngineSample(at=2.0, running=0, waiting=9))
        more = [gate.submit(ticket(), 2.0) for _ in range(3)]
        assert states(first, *more) == ["granted", "granted", "granted", "queued"]
        endpoints.observe("chat-0", EngineSample(at=3.0, running=4))
        gate.endpoints_changed()
        assert gate.is_dirty
        assert gate.pump(3.0) == [more[2]]

    def test_a_reload_keeps_who_waits(self) -> None:
        gate = flow(table(1))
        gate.submit(ticket(), 1.0)
        waiting = [gate.submit(ticket(), 1.0) for _ in range(3)]
        gate.configure(queue=QueueSettings(requests_max=1), capacities={MODEL: Capacity(requests_max=3)})
        assert gate.pump(1.0) == waiting[:2]
        assert waiting[2].state == "queued"

    def test_more_gateways_take_less_each(self) -> None:
        endpoints = table(1)
        gate = flow(endpoints, seats=8, gateways=2)
        assert states(*[gate.submit(ticket(), 1.0) for _ in range(5)]).count("granted") == 4
        gate.gateways = 1
        assert gate.is_dirty
        assert len(gate.pump(1.0)) == 1

    def test_the_expected_wait_is_known_while_somebody_waits(self) -> None:
        gate = flow(table(1))
        assert gate.expected_wait_s(MODEL, "interactive", 0.0) == 0.0
        running = gate.submit(ticket(), 0.0)
        tickets = [gate.submit(ticket(), 0.0) for _ in range(20)]
        for turn in range(10):
            gate.ended(running, 0.5 * turn)
            (running,) = gate.pump(0.5 * turn)
        assert tickets[9].state == "granted"
        assert gate.expected_wait_s(MODEL, "interactive", 5.0) == pytest.approx(10 / 2.0)


class TestRoomThatIsKept:
    """Engines of 16 seats, of which one is kept: `a` floods, and `b`, which has less than its share, asked lately."""

    @staticmethod
    def _flooded(*, b_asked: bool = True) -> tuple[Flow, EndpointTable, list[Ticket]]:
        endpoints = table(1)
        gate = flow(endpoints, seats=16)
        running = [gate.submit(ticket("a"), 0.0) for _ in range(16)]
        for _ in range(30):
            gate.submit(ticket("a"), 0.0)
        if b_asked:
            gate.submit(ticket("b", prompt=1, output=1), 0.5)
        for _ in range(3):  # `b` goes with the first that end
            gate.ended(running.pop(0), 1.0)
            running += gate.pump(1.0)
        assert ("b" in [one.tenant for one in running]) == b_asked
        return gate, endpoints, running

    def test_a_tenant_that_has_its_share_leaves_a_seat_to_one_that_has_less(self) -> None:
        gate, endpoints, _ = self._flooded()
        assert gate.pump(2.0) == []
        assert in_flight(endpoints) == [15]
        late = gate.submit(ticket("b"), 3.0)
        assert gate.is_dirty
        assert gate.pump(3.0) == [late]
        assert in_flight(endpoints) == [16]

    def test_another_of_its_own_wakes_nobody(self) -> None:
        gate, _, _ = self._flooded()
        gate.pump(2.0)
        gate.submit(ticket("a"), 3.0)
        assert not gate.is_dirty

    def test_alone_it_has_every_seat(self) -> None:
        _, endpoints, _ = self._flooded(b_asked=False)
        assert in_flight(endpoints) == [16]

    def test_the_seat_is_kept_for_so_long_only_as_others_may_come_back(self) -> None:
        gate, endpoints, _ = self._flooded()
        gate.pump(2.0)
        assert gate.next_due == 1.0 + QUIET_S
        assert len(gate.pump(1.0 + QUIET_S)) == 1
        assert in_flight(endpoints) == [16]

    def test_nothing_is_kept_any_longer_where_nothing_can_serve(self) -> None:
        gate, endpoints, _ = self._flooded()
        gate.pump(2.0)
        endpoints.set_pool(MODEL, [])
        gate.pump(3.0)
        assert gate.next_due == 60.0  # when the first has waited for too long

    def test_of_two_endpoints_one_stays_without_a_prompt_under_way(self) -> None:
        endpoints = table(2)
        gate = flow(endpoints, seats=16)
        running = [gate.submit(ticket("a", is_stream=True), 0.0) for _ in range(32)]
        for one in running:
            gate.began(one, 0.1)
        for _ in range(30):
            gate.submit(ticket("a", is_stream=True), 0.2)
        gate.submit(ticket("b", is_stream=True), 0.3)
        granted: list[Ticket] = []
        while not any(one.tenant == "b" for one in granted):
            gate.ended(running.pop(), 1.0)
            granted += gate.pump(1.0)
        for one in granted:
            gate.began(one, 1.1)
        for one in running[:20]:
            gate.ended(one, 2.0)
        (first,) = gate.pump(2.0)
        assert first.endpoint is not None
        assert sum(e.window.prefill_held > 0 for e in endpoints.all()) == 1
        gate.began(first, 2.1)
        assert gate.is_dirty
        assert len(gate.pump(2.1)) == 1

    def test_one_endpoint_that_is_left_of_many_serves_everybody(self) -> None:
        """What is kept is a part of what can serve, not of what there once was."""
        gate, endpoints, running = self._flooded()
        endpoints.set_pool(MODEL, addresses(8))
        for _ in range(200):
            gate.submit(ticket("a"), 2.0)
        gate.pump(2.0)
        for e in list(endpoints.all())[1:]:
            for _ in range(5):
                endpoints.failed(e, "gone", 2.0)
        for one in running:
            if one.endpoint is endpoint(endpoints):
                gate.ended(one, 2.0)
        gate.pump(2.0)
        assert endpoint(endpoints).in_flight >= 12

    def test_all_other_seats_are_used(self) -> None:
        gate, endpoints, running = self._flooded()
        for one in running:
            gate.ended(one, 2.0)
        assert len(gate.pump(2.0)) == 14  # one is kept to begin with, and one more as `b` found none
        assert in_flight(endpoints) == [14]


class TestSeatsThatMayNotBeThere:
    """An engine that says nothing of its seats, and runs 16 at once while more wait: `a` floods, `b` asked lately."""

    @staticmethod
    def _learned() -> Window:
        window, at = Window(), 0
        while window.limit != 16:
            window.was_full = True
            window.observe(EngineSample(at=(at := at + 1), running=16, waiting=window.limit - 16), window.limit)
        return window

    @classmethod
    def _flooded(cls) -> tuple[Flow, EndpointTable, list[Ticket]]:
        endpoints = table(1)
        gate = flow(endpoints, seats=None)
        one = endpoint(endpoints)
        one.window = cls._learned()
        one.sample = one.window.seen
        running = [gate.submit(ticket("a"), 0.0) for _ in range(16)]
        for _ in range(30):
            gate.submit(ticket("a"), 0.0)
        gate.submit(ticket("b", prompt=1, output=1), 0.5)
        for _ in range(3):  # `b` goes with the first that end
            gate.ended(running.pop(0), 1.0)
            running += gate.pump(1.0)
        assert "b" in [one.tenant for one in running]
        return gate, endpoints, running

    @staticmethod
    def _read(gate: Flow, endpoints: EndpointTable, now: float) -> list[Ticket]:
        running = min(in_flight(endpoints)[0], 16)
        endpoints.observe("chat-0", EngineSample(at=now, running=running))
        gate.endpoints_changed()
        return gate.pump(now)

    def test_those_that_were_learned_are_kept_as_known_ones_are(self) -> None:
        gate, endpoints, _ = self._flooded()
        assert gate.pump(2.0) == []
        assert in_flight(endpoints) == [15]

    def test_more_are_tried_with_who_waits_in_turns_and_not_with_who_has_less_than_its_share(self) -> None:
        gate, endpoints, running = self._flooded()
        window = endpoint(endpoints).window
        now = 2.0
        while window.knows_seats:
            running += self._read(gate, endpoints, now := now + 0.25)
        assert (in_flight(endpoints), window.limit, window.sure) == ([17], 17, 16)
        late = gate.submit(ticket("b"), now)
        gate.ended(running.pop(), now)
        assert gate.pump(now) == []  # one seat is free, and may not be there
        gate.ended(running.pop(), now)
        assert gate.pump(now)[0] is late


class TestFailing:
    def test_a_failed_endpoint_is_left_for_another_at_once_room_or_not(self) -> None:
        endpoints = table(2)
        gate = flow(endpoints)
        one, two = gate.submit(ticket(), 1.0), gate.submit(ticket(), 1.0)
        failed, other = one.endpoint, two.endpoint
        assert failed is not None
        assert gate.redirect(one, 2.0) is other
        assert one.tried_ids == (failed.id,)
        assert sorted(in_flight(endpoints)) == [0, 2]

    def test_where_there_is_no_other_it_can_wait_for_one(self) -> None:
        endpoints = table(1)
        gate = flow(endpoints)
        one = gate.submit(ticket(), 1.0)
        endpoints.failed(endpoint(endpoints), "gone", 1.0)
        assert gate.redirect(one, 1.0) is None
        assert (one.state, one.endpoint, in_flight(endpoints)) == ("granted", None, [0])
        gate.ended(one, 1.0, is_ok=False)
        assert one.state == "over"

    def test_the_policy_hears_of_each_endpoint_that_it_chose(self) -> None:
        class Listening(LeastLoad):
            def __init__(self) -> None:
                super().__init__()
                self.heard: list[tuple[str, bool]] = []

            def sent(self, endpoint: Endpoint, need: Need, now: float) -> None:
                self.heard.append((endpoint.id, True))

            def ended(self, endpoint: Endpoint, need: Need, outcome: Ended) -> None:
                self.heard.append((endpoint.id, False))

        endpoints, policy = table(2), Listening()
        gate = Flow(endpoints, policy)
        one = gate.submit(ticket(), 1.0)
        gate.redirect(one, 1.5)
        gate.ended(one, 2.0)
        first, second = one.tried_ids[0], policy.heard[-1][0]
        assert policy.heard == [(first, True), (first, False), (second, True), (second, False)]
        assert first != second


class TestWaitingRoom:
    def test_with_nothing_that_can_serve_requests_wait_and_the_model_is_woken(self) -> None:
        endpoints = table(0)
        gate = flow(endpoints)
        tickets = [gate.submit(ticket(), 1.0) for _ in range(2)]
        assert states(*tickets) == ["queued", "queued"]
        assert gate.wakes == {MODEL}
        endpoints.set_pool(MODEL, addresses(2))
        gate.endpoints_changed()
        assert gate.pump(9.0) == tickets  # in order
        assert gate.wakes == set()

    def test_a_model_without_a_pool_is_like_one_that_is_scaled_to_zero(self) -> None:
        endpoints = table(1)
        endpoints.remove_pool(MODEL)
        gate = flow(endpoints)
        assert gate.submit(ticket(), 1.0).state == "queued"
        assert gate.pump(2.0) == []

    def test_who_waited_in_vain_is_told_when_it_should_be_up(self) -> None:
        gate = flow(table(0), start_s=90.0)
        one = gate.submit(ticket(wait_s=60.0), 0.0)
        assert gate.pump(60.0) == [one]
        assert one.shed is not None
        assert (one.shed.reason, one.shed.status, one.shed.retry_after_s) == ("no_endpoint", 503, 30.0)

    def test_the_room_is_bounded_and_says_why(self) -> None:
        gate = flow(table(0), requests_max=1, start_s=90.0)
        gate.submit(ticket(), 0.0)
        late = gate.submit(ticket(), 10.0)
        assert late.shed is not None
        assert (late.shed.reason, late.shed.status, late.shed.retry_after_s) == ("no_endpoint", 503, 80.0)

    def test_when_the_last_one_leaves_the_model_need_not_be_woken(self) -> None:
        gate = flow(table(0))
        one = gate.submit(ticket(), 0.0)
        gate.withdraw(one, 1.0)
        assert (gate.wakes, gate.next_due) == (set(), None)

    def test_the_end_of_a_back_off_is_due(self) -> None:
        endpoints = table(1)
        gate = flow(endpoints)
        for _ in range(5):
            endpoints.failed(endpoint(endpoints), "gone", 1.0)
        again = endpoint(endpoints).retry_at
        one = gate.submit(ticket(), 1.0)
        gate.pump(1.0)
        if one.state == "queued":  # else the pool lets it be tried in need
            assert gate.next_due == again
            assert gate.pump(again) == [one]
        assert one.state == "granted"


class TestFirstTokens:
    def test_a_stream_whose_prompt_is_not_read_holds_back_the_next(self) -> None:
        endpoints = table(1)
        gate = flow(endpoints, seats=100)
        for turn in range(60):  # it takes a second over 1000 tokens
            one = gate.submit(ticket(prompt=1000 if turn else 10, is_stream=True), 0.0)
            gate.began(one, 1.0 if turn else 0.02)
            gate.ended(one, 1.0)
        tickets = [gate.submit(ticket(prompt=1000, is_stream=True), 2.0) for _ in range(20)]
        waiting = [one for one in tickets if one.state == "queued"]
        assert waiting
        assert gate.pump(2.5) == []
        gate.began(tickets[0], 3.0)
        assert gate.is_dirty
        assert gate.pump(3.0) == [waiting[0]]

    def test_every_way_to_end_gives_the_prompt_back(self) -> None:
        endpoints = table(2)
        gate = flow(endpoints, seats=100)
        begun, cut, moved = (gate.submit(ticket(is_stream=True), 0.0) for _ in range(3))
        gate.began(begun, 1.0)
        gate.began(begun, 1.0)
        gate.redirect(moved, 1.0)
        for one in (begun, cut, moved):
            gate.ended(one, 2.0, is_ok=False)
        assert [e.window.prefill_held for e in endpoints.all()] == [0, 0]
        assert [e.window.kv_held for e in endpoints.all()] == [0, 0]
