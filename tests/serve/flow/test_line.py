"""A model's line: classes in order, bounds that hold, who gives way, and how long it takes."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.serve.flow import QueueSettings, Ticket
from penstock.serve.flow.line import RETRY_UNKNOWN_S, STARVED_TURN, Line, Rate
from serve.flow.flows import MODEL, ticket


def line(**settings: Any) -> Line:
    return Line(MODEL, QueueSettings(**settings))


def enter(where: Line, tenant: str = "a", now: float = 0.0, **more: Any) -> Ticket:
    one = ticket(tenant, **more)
    assert where.enter(one, now) == []
    return one


def take(where: Line, now: float = 0.0) -> Ticket:
    head = where.peek(now)
    assert head is not None
    where.take(head, 100, now)
    return head


class TestClasses:
    def test_a_higher_class_goes_first(self) -> None:
        where = line()
        low = enter(where, traffic_class="experimental")
        middle = enter(where, traffic_class="batch")
        high = enter(where)
        assert [take(where), take(where), take(where)] == [high, middle, low]
        assert where.peek(0.0) is None

    def test_a_starved_class_gets_one_turn_in_four(self) -> None:
        where = line(starvation_s=30.0)
        for _ in range(40):
            enter(where, traffic_class="batch")
            enter(where)
        early = [take(where, 29.0).traffic_class for _ in range(4)]
        late = [take(where, 30.0).traffic_class for _ in range(16)]
        assert early == ["interactive"] * 4
        assert late.count("batch") == 16 // STARVED_TURN

    def test_of_two_starved_classes_both_get_turns(self) -> None:
        where = line(starvation_s=30.0, requests_max=10_000)
        for _ in range(200):
            enter(where, traffic_class="experimental")
            enter(where, traffic_class="batch")
            enter(where)
        taken = [take(where, 30.0 + 10 * turn).traffic_class for turn in range(60)]
        assert {"interactive", "batch", "experimental"} == set(taken)


class TestBounds:
    def test_a_full_line_takes_nobody(self) -> None:
        where = line(requests_max=2, tenant_share_max=1.0)
        enter(where), enter(where)
        assert where.enter(ticket(), 0.0) is None
        assert where.count == 2

    def test_bytes_count_too(self) -> None:
        where = line(bytes_max=25, tenant_share_max=1.0)
        enter(where), enter(where)
        assert where.enter(ticket(), 0.0) is None
        assert where.bytes == 20

    def test_a_lower_class_gives_way_the_lowest_and_newest_first(self) -> None:
        where = line(requests_max=3, tenant_share_max=1.0)
        old = enter(where, traffic_class="experimental")
        new = enter(where, traffic_class="experimental")
        batch = enter(where, traffic_class="batch")
        assert where.enter(ticket(), 0.0) == [new]
        assert where.enter(ticket(traffic_class="batch"), 0.0) == [old]
        assert where.enter(ticket(traffic_class="batch"), 0.0) is None
        assert batch.token is not None

    def test_as_many_give_way_as_its_bytes_need_and_none_in_vain(self) -> None:
        where = line(bytes_max=100, tenant_share_max=1.0)
        lows = [enter(where, traffic_class="batch", body_bytes=20) for _ in range(3)]
        enter(where, body_bytes=30)
        assert where.enter(ticket(body_bytes=71), 0.0) is None  # 30 bytes would stay
        assert where.enter(ticket(body_bytes=101), 0.0) is None
        assert where.enter(ticket(body_bytes=40), 0.0) == [lows[2], lows[1]]

    def test_a_tenant_has_its_part_of_the_places_while_others_wait(self) -> None:
        where = line(requests_max=10, tenant_share_max=0.5)
        for _ in range(7):
            enter(where, "greedy")  # nobody else waits
        enter(where, "b")
        assert where.enter(ticket("greedy"), 0.0) is None
        enter(where, "c"), enter(where, "c")
        assert where.count == 10

    def test_in_a_full_line_who_holds_more_than_its_part_gives_way(self) -> None:
        where = line(requests_max=4, tenant_share_max=0.5)
        held = [enter(where, "greedy") for _ in range(4)]
        assert where.enter(ticket("b"), 0.0) == [held[3]]
        assert where.enter(ticket("b"), 0.0) == [held[2]]
        assert where.enter(ticket("b"), 0.0) is None  # each has its part

    def test_in_a_full_line_many_that_flood_leave_places_to_who_holds_less(self) -> None:
        """None of them holds more than its part, but all of them together hold every place."""
        where = line(requests_max=9, tenant_share_max=0.5)
        held = [enter(where, tenant) for tenant in ("x", "y", "z") for _ in range(3)]
        first = where.enter(ticket("b"), 0.0)
        second = where.enter(ticket("b"), 0.0)
        assert first in ([held[2]], [held[5]], [held[8]])
        assert second in ([held[2]], [held[5]], [held[8]])
        assert first != second
        assert where.enter(ticket("b"), 0.0) is None  # it would hold as many as the most
        assert where.count == 9

    def test_who_has_more_weight_may_hold_more(self) -> None:
        where = line(requests_max=6, tenant_share_max=1.0)
        for _ in range(4):
            enter(where, "heavy", weight=4.0)
        light = [enter(where, "light") for _ in range(2)]
        assert where.enter(ticket("heavy", weight=4.0), 0.0) == [light[1]]
        assert where.enter(ticket("light"), 0.0) is None

    def test_no_places_at_all_is_a_line_for_nobody(self) -> None:
        assert line(requests_max=0).enter(ticket(), 0.0) is None

    def test_a_reload_evicts_nobody(self) -> None:
        where = line()
        for _ in range(5):
            enter(where)
        where.configure(QueueSettings(requests_max=2))
        assert where.count == 5
        assert where.enter(ticket("b"), 0.0) is not None  # an over-share tenant gives way


class TestTime:
    def test_a_request_waits_as_long_as_it_may_and_not_past_its_deadline(self) -> None:
        where = line()
        long = enter(where, wait_s=60.0)
        short = enter(where, wait_s=60.0, deadline_at=5.0)
        assert where.next_due == 5.0
        assert where.expired(4.9) == []
        assert where.expired(5.0) == [short]
        assert where.expired(60.0) == [long]
        assert (where.count, where.bytes, where.next_due) == (0, 0, None)

    def test_who_was_served_or_left_does_not_expire(self) -> None:
        where = line()
        served, left = enter(where), enter(where)
        assert take(where) is served
        served.token = None
        where.leave(left, 1.0)
        left.token = None
        assert where.next_due is None
        assert where.expired(1e9) == []

    def test_coming_and_leaving_leaves_nothing_behind(self) -> None:
        where = line()
        enter(where, "stays")
        for _ in range(1000):
            one = enter(where, "goes")
            where.leave(one, 0.0)
            one.token = None
        assert len(where._due) < 100
        assert set(where._shares) == {"stays"}


class TestRetryAfter:
    def test_it_is_what_waits_over_the_rate_of_late(self) -> None:
        where = line()
        for _ in range(100):
            enter(where)
        for turn in range(40):
            take(where, turn * 0.125)  # 8 a second
        assert where.retry_after_s(ticket("b"), 5.0) == pytest.approx(60 / 8, rel=0.05)

    def test_without_a_measurement_it_is_a_fixed_guess(self) -> None:
        where = line()
        enter(where)
        assert where.retry_after_s(ticket("b"), 0.0) == RETRY_UNKNOWN_S

    def test_of_an_endpoint_that_starts_it_is_what_is_left_of_the_usual_time(self) -> None:
        where = line()
        where.down_since = 100.0
        assert where.start_left_s(90.0, 130.0) == 60.0
        assert where.start_left_s(90.0, 220.0) == 120.0  # late: as long again
        where.is_up_again(140.0)
        where.down_since = 200.0
        assert where.start_left_s(90.0, 210.0) == 30.0  # what it took last time

    @pytest.mark.parametrize(("now", "per_s"), [(5.0, 2.0), (7.5, 1.0), (10.0, 0.0), (100.0, 0.0)])
    def test_a_rate_fades(self, now: float, per_s: float) -> None:
        rate = Rate()
        for turn in range(10):
            rate.add(turn * 0.1)
        assert rate.per_s(now) == pytest.approx(per_s)
