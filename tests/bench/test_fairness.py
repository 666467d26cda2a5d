"""The queue's bars, small: shares of work, isolation and memory, in virtual time."""

from __future__ import annotations

from random import Random

from bench.fairness import memory, shares
from bench.virtual_flow import Fleet, poisson, share_of_work


def test_backlogged_tenants_get_work_by_weight() -> None:
    found = shares(engines=2, seeds=1)
    assert found["waiting_in_an_engine_max"] <= 32  # half its seats; without the queue it is thousands
    for tenant, share in {"chat": 0.2, "documents": 0.2, "novels": 0.4, "liars": 0.2}.items():
        assert abs(found["share_of_work"][tenant] / share - 1) < 0.05


def test_a_flood_does_not_take_the_share_of_another() -> None:
    """B asks for a fifth of what the fleet does, and gets it while A asks for many times all of it."""
    mine = poisson("b", 5.0, 30.0, Random(2))
    theirs = poisson("a", 200.0, 30.0, Random(3))
    alone = Fleet(engines=2, seats=32).run(mine, 30.0)
    both = Fleet(engines=2, seats=32).run(sorted(mine + theirs, key=lambda ask: ask.at), 30.0)
    before = share_of_work(alone.records, 5, 25)["b"]
    after = share_of_work(both.records, 5, 25)
    assert abs(after["b"] / before - 1) < 0.05
    assert after["a"] > after["b"]


def test_what_it_holds_does_not_grow_with_requests() -> None:
    assert memory(tenants=2_000, requests=20_000)["holds"]
