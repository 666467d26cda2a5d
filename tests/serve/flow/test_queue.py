"""The fair queue: shares by weight in tokens of work, no credit, no starvation, no state that stays."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.flow.queue import BURST_S, CREDIT_S, FORGET_S, LUMP_PART, MARK_S, QUIET_MAX, QUIET_S, FairQueue
from penstock.serve.flow.ticket import Ticket
from serve.flow.flows import ticket


class Clock:
    """A queue with a number and a moment for each thing that happens."""

    def __init__(self) -> None:
        self.queue, self.number, self.now = FairQueue(), 0, 0.0

    def push(self, one: Ticket) -> int:
        self.number += 1
        self.queue.push(one, self.number, self.now)
        return self.number

    def pop(self, settle: int = 0) -> Ticket:
        head = self.queue.peek()
        assert head is not None
        work = head.need.prompt_tokens + head.need.output_tokens
        one, account = self.queue.pop(work, self.now)
        assert one is head
        self.queue.settle(account, settle)
        return one


def work_of(one: Ticket) -> int:
    return one.need.prompt_tokens + one.need.output_tokens


@given(
    weights=st.lists(st.sampled_from([0.5, 1.0, 2.0, 5.0]), min_size=2, max_size=5),
    sizes=st.lists(st.integers(1, 2000), min_size=5, max_size=5),
    seed=st.integers(0, 1000),
)
def test_tenants_that_always_wait_get_work_by_weight(weights: list[float], sizes: list[int], seed: int) -> None:
    """Within one largest request of each: the law of start-time fair queueing."""
    clock, random, got = Clock(), Random(seed), Counter[int]()
    for turn in range(120):
        clock.now = turn * 0.01
        for n, weight in enumerate(weights):
            if turn == 0:
                for _ in range(3):
                    clock.push(ticket(str(n), prompt=random.randint(1, sizes[n]), output=0, weight=weight))
        one = clock.pop()
        n = int(one.tenant)
        got[n] += work_of(one)
        clock.push(ticket(one.tenant, prompt=random.randint(1, sizes[n]), output=0, weight=weights[n]))
        served = [(got[n] / w, sizes[n] / w) for n, w in enumerate(weights)]
        for share, largest in served:
            for other, other_largest in served:
                assert abs(share - other) <= largest + other_largest + 1e-6


def test_what_was_really_used_counts_not_what_was_expected() -> None:
    clock, got = Clock(), Counter[str]()
    for _ in range(3):
        clock.push(ticket("over", prompt=1000, output=0))  # uses 100
        clock.push(ticket("right", prompt=100, output=0))
    for turn in range(2000):
        clock.now = turn * 0.01
        one = clock.queue.peek()
        assert one is not None
        clock.pop(settle=-900 if one.tenant == "over" else 0)
        got[one.tenant] += 100
        clock.push(ticket(one.tenant, prompt=work_of(one), output=0))
    assert got["over"] == pytest.approx(got["right"], rel=0.05)


def _flooded(clock: Clock, seconds: float, *, weight: float = 1.0) -> None:
    """`a` always waits, and 100 requests of 100 tokens a second are served."""
    for _ in range(round(100 * seconds)):
        clock.now += 0.01
        clock.push(ticket("a", prompt=100, output=0, weight=weight))
        clock.pop()


def _backlogged(clock: Clock) -> None:
    for _ in range(2000):
        clock.push(ticket("a", prompt=100, output=0))


def test_a_tenant_that_comes_with_a_backlog_gets_no_credit_beyond_a_burst() -> None:
    clock = Clock()
    _backlogged(clock)
    clock.push(ticket("b", prompt=100, output=0))
    _flooded(clock, 10)
    for _ in range(round(100 * CREDIT_S)):
        clock.push(ticket("b", prompt=100, output=0))
    served = Counter(clock.pop().tenant for _ in range(100))
    ahead = (BURST_S + MARK_S) / 0.01 / 2  # requests of its half in that time
    assert 50 <= served["b"] <= 50 + ahead / 2 + 1


def test_a_burst_inside_what_a_tenant_left_of_its_share_goes_at_once() -> None:
    clock = Clock()
    _backlogged(clock)
    clock.push(ticket("b", prompt=100, output=0))
    _flooded(clock, CREDIT_S + 1)
    burst = round(CREDIT_S * LUMP_PART / 0.01 / 2) - 5  # at its half of 100 a second
    for _ in range(burst):
        clock.push(ticket("b", prompt=100, output=0))
    assert {clock.pop().tenant for _ in range(burst)} == {"b"}


def test_what_was_taken_ahead_is_not_there_a_second_time() -> None:
    """Bursts of what fits, each as soon as the last one is through: in the end it has its half, and its credit."""
    clock, got = Clock(), Counter[str]()
    _backlogged(clock)
    clock.push(ticket("b", prompt=100, output=0))
    _flooded(clock, CREDIT_S + 1)
    for _ in range(2000):
        clock.now += 0.01
        if clock.queue._accounts["b"].waiting == 0:
            for _ in range(10):
                clock.push(ticket("b", prompt=100, output=0))
        got[clock.pop().tenant] += 1
    assert got["b"] <= 1000 + CREDIT_S / 0.01 / 2 + 10


def test_a_new_tenant_of_few_requests_need_not_take_turns_with_a_flood() -> None:
    clock = Clock()
    _backlogged(clock)
    _flooded(clock, 1)
    for _ in range(20):
        clock.push(ticket("b", prompt=100, output=0))
    assert {clock.pop().tenant for _ in range(20)} == {"b"}


def test_a_tenant_that_leaves_some_of_its_share_makes_others_leave_room_as_long_as_it_asks() -> None:
    clock = Clock()
    _backlogged(clock)
    _flooded(clock, 1)
    clock.push(ticket("b", prompt=100, output=0))
    clock.pop()
    asked_at = clock.now
    assert clock.queue.kept_until(clock.queue.account_of("a"), clock.now) == asked_at + QUIET_S
    _flooded(clock, QUIET_S + 0.1)
    assert clock.queue.kept_until(clock.queue.account_of("a"), clock.now) <= clock.now


def test_a_newcomer_goes_before_the_backlog_of_one_who_was_just_served() -> None:
    clock = Clock()
    for _ in range(10):
        clock.push(ticket("a", prompt=1000, output=0))
    clock.pop()
    clock.push(ticket("b", prompt=10, output=0))
    assert clock.pop().tenant == "b"


def test_a_tenant_is_served_though_new_tenants_come_without_end() -> None:
    clock = Clock()
    for _ in range(2):
        clock.push(ticket("old", prompt=1000, output=0))
    clock.pop()
    for n in range(20):
        clock.push(ticket(f"first-{n}", prompt=10, output=0))
    for turn in range(5000):
        clock.now += 0.01
        clock.push(ticket(f"new-{turn}", prompt=10, output=0))
        if clock.pop().tenant == "old":
            return
    pytest.fail("never served")


def test_one_that_leaves_is_not_served_and_the_next_keeps_its_turn() -> None:
    clock = Clock()
    first, second = ticket("a"), ticket("a")
    number = clock.push(first)
    clock.push(second)
    clock.queue.remove(first, number, clock.queue.account_of("a"), 0.0)
    assert (clock.queue.count, clock.queue.bytes) == (1, 10)
    assert clock.pop() is second
    assert clock.queue.peek() is None


def test_a_debt_is_forgotten_when_nobody_has_waited_for_a_while() -> None:
    clock = Clock()
    for _ in range(2):
        clock.push(ticket("a", prompt=1_000_000, output=0))
        clock.push(ticket("b", prompt=1, output=0))
    for _ in range(4):
        clock.pop()
    clock.now += FORGET_S
    clock.push(ticket("a", prompt=1, output=0))
    clock.push(ticket("b", prompt=1, output=0))
    assert clock.pop().tenant == "a"  # who came first


def test_state_is_kept_only_for_those_who_wait_run_owe_or_asked_last() -> None:
    """10⁴ tenants that come once each, in a queue that is never empty."""
    clock, most = Clock(), 0
    clock.push(ticket("t-0"))
    for n in range(10_000):
        clock.now += 0.001
        clock.push(ticket(f"t-{n + 1}"))
        clock.pop()
        most = max(most, clock.queue.tenants)
    assert most < QUIET_MAX + 20


def test_coming_and_leaving_without_being_served_leaves_nothing_behind() -> None:
    clock = Clock()
    clock.push(ticket("stays"))
    for _ in range(5000):
        one = ticket("goes")
        number = clock.push(one)
        clock.queue.remove(one, number, clock.queue.account_of("goes"), 0.0)
    assert clock.queue.tenants == 1
    assert len(clock.queue._heap) < 200
