"""How an endpoint is, for people."""

from __future__ import annotations

import pytest

from penstock.serve.routing.condition import CONDITIONS, condition_of, health_shown
from serve.routing.guarded import address, hear, ready_table


def test_an_endpoint_says_why_it_is_out_since_when_and_when_it_is_tried_next() -> None:
    table = ready_table(2)
    endpoint = table.all()[0]
    hear(table, endpoint, "ok", 99.0, times=3)
    table.failed(endpoint, "metrics: connection refused", 100.0)
    shown = health_shown(endpoint, 100.1)
    assert shown["condition"] == "out"
    assert shown["signal"] == "connect_failed"
    assert shown["why"] == "no connection: refused, no route, not in time (metrics: connection refused)"
    assert (shown["since_s"], shown["next_try_s"], shown["share"]) == (0.1, 0.15, 0.0)
    assert (shown["answers"], shown["errors"], shown["ejections_total"]) == (3, 1, 1)


def test_conditions_follow_an_endpoint_through_its_life() -> None:
    table = ready_table(2)
    endpoint = table.all()[0]
    seen = [condition_of(endpoint, 1.0)]
    endpoint.health = "unproven"
    seen.append(condition_of(endpoint, 1.0))
    hear(table, endpoint, "engine_died", 10.0)
    seen.append(condition_of(endpoint, 10.1))
    seen.append(condition_of(endpoint, 12.0))
    trial = table.sent(endpoint, 12.0)
    seen.append(condition_of(endpoint, 12.1))
    assert health_shown(endpoint, 12.1)["next_try_s"] == 9.9
    table.heard(endpoint, "began", 13.0, trial=trial)
    seen.append(condition_of(endpoint, 13.0))
    endpoint.guard.is_slow = True
    seen.append(condition_of(endpoint, 40.0))
    endpoint.guard.is_slow = False
    assert health_shown(endpoint, 40.0)["why"] == ""
    table.set_pool("chat", [address(0, is_draining=True), address(1)])
    seen.append(condition_of(endpoint, 41.0))
    assert seen == ["well", "unproven", "out", "trial", "trial", "recovering", "slow", "draining"]
    assert set(seen) == set(CONDITIONS)


@pytest.mark.parametrize("now", [0.0, -5.0, 1e9])
def test_it_can_be_shown_at_any_time(now: float) -> None:
    for endpoint in ready_table(2).all():
        assert health_shown(endpoint, now)["next_try_s"] is None
