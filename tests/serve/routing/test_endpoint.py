"""Which endpoints of a pool may get a request."""

from __future__ import annotations

import pytest

from penstock.serve.routing.health import TRIAL_S, TRIAL_WAIT_S
from serve.routing.guarded import address, fit, hear, pool_of, ready_table


def test_while_all_is_well_the_pool_itself_is_the_answer() -> None:
    table = ready_table(3)
    pool = pool_of(table)
    assert pool.candidates(1.0) == pool.endpoints
    assert pool.candidates(2.0) is pool.endpoints


def test_a_calm_pool_notices_what_goes_out_and_what_drains() -> None:
    table = ready_table(3)
    assert len(fit(table)) == 3
    hear(table, table.all()[0], "connect_failed", 1.0)
    assert fit(table, 1.0) == ["chat-1", "chat-2"]
    table.heard(table.all()[0], "lives", 1.1)
    assert fit(table, 1.2) == ["chat-0", "chat-1", "chat-2"]
    table.set_pool("chat", [address(0), address(1, is_draining=True), address(2)])
    assert fit(table, 1.3) == ["chat-0", "chat-2"]


def test_one_request_tries_what_was_out_and_no_second_until_its_time_is_over() -> None:
    table = ready_table(2)
    endpoint = table.all()[0]
    hear(table, endpoint, "engine_died", 10.0)
    assert fit(table, 10.25) == ["chat-0", "chat-1"]
    assert table.sent(endpoint, 10.25) == 1
    assert fit(table, 10.3) == ["chat-1"]
    assert fit(table, 10.25 + TRIAL_S) == ["chat-0", "chat-1"], "a trial that is lost frees its place"
    assert table.sent(endpoint, 10.25 + TRIAL_S) == 2
    table.heard(endpoint, "cancelled", 21.0, trial=1)
    assert fit(table, 21.0) == ["chat-1"], "the first trial no longer holds the place"
    table.heard(endpoint, "cancelled", 21.0, trial=2)
    assert fit(table, 21.0) == ["chat-0", "chat-1"], "its client left: another may try at once"


def test_a_trial_is_due_when_nobody_chose_it_for_a_while() -> None:
    table = ready_table(2)
    pool, endpoint = pool_of(table), table.all()[0]
    assert pool.trial_due(5.0) is None
    hear(table, endpoint, "engine_died", 10.0)
    assert pool.trial_due(10.25 + TRIAL_WAIT_S - 0.1) is None
    assert pool.trial_due(10.25 + TRIAL_WAIT_S) is endpoint
    table.sent(endpoint, 12.0)
    assert pool.trial_due(12.1) is None


def test_in_need_the_least_bad_are_used() -> None:
    table = ready_table(2)
    first, second = table.all()
    hear(table, first, "ok", 9.0, times=9)
    hear(table, first, "reset", 10.0)
    table.set_pool("chat", [address(0), address(1, is_draining=True)])
    assert fit(table, 10.1) == ["chat-0"]
    assert second.health == "draining"


def test_in_need_what_seems_to_hang_is_tried_by_one_request_each() -> None:
    table = ready_table(2)
    for endpoint in table.all():
        hear(table, endpoint, "no_progress", 10.0)
    assert fit(table, 10.1) == ["chat-0", "chat-1"]
    table.sent(table.all()[0], 10.1)
    assert fit(table, 10.2) == ["chat-1"]
    table.sent(table.all()[1], 10.2)
    assert fit(table, 10.3) == []


def test_what_can_not_answer_is_not_tried_even_in_need() -> None:
    table = ready_table(2)
    for endpoint in table.all():
        hear(table, endpoint, "connect_failed", 10.0)
    assert fit(table, 10.1) == []
    assert fit(table, 10.25) == ["chat-0", "chat-1"]


@pytest.mark.parametrize("count", [0, 1])
def test_a_pool_of_one_or_none_answers_too(count: int) -> None:
    table = ready_table(count)
    assert len(fit(table)) == count
    assert pool_of(table).trial_due(1.0) is None


def test_what_is_out_or_draining_has_no_share() -> None:
    table = ready_table(2)
    endpoint = table.all()[0]
    assert endpoint.share(1.0) == 1.0
    hear(table, endpoint, "stalled", 10.0)
    assert endpoint.share(10.0) == 0.0
    table.heard(endpoint, "progress", 20.0)
    assert endpoint.share(20.0) == 0.1
    assert endpoint.share(30.0) == 1.0


def test_a_pool_is_out_when_nobody_of_it_may_be_tried() -> None:
    table = ready_table(2)
    pool = pool_of(table)
    assert not pool.is_out(0.0)
    for endpoint in pool.endpoints:
        hear(table, endpoint, "connect_failed", 10.0)
    assert pool.is_out(10.0)
    assert not pool.is_out(60.0), "one may be tried again"
    table.set_pool("chat", [address(0), address(1, is_draining=True)])
    assert not pool.is_out(10.0), "it is being replaced"
    table.set_pool("chat", [])
    assert not pool.is_out(10.0), "it starts, or sleeps"
