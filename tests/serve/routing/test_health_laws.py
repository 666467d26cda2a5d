"""Laws of health over seeds: faults come and go in a pool in virtual time, and what must hold holds all the while."""

from __future__ import annotations

from random import Random

import pytest

from penstock.serve.routing.health import RAMP_S, TRIAL_S, TRIAL_WAIT_S
from serve.routing.virtual_pool import BROKEN, LYING, STEP_S, Pool

SEEDS = range(20)
DETECTED_S = {
    "crash": 0.5,
    "core_dead": 1.5,
    "hang": 3 * 2.5 + 0.5,  # the bar: three times the deadline of a stream, here 50 * 50 ms
    "hang_all": 3 * 2.5 + 0.5,
    "resets": 5.0,
    "errors": 15.0,
}
"""Seconds in which a fault is found, at 20 requests a second over four endpoints."""


@pytest.mark.parametrize("fault", sorted(DETECTED_S))
@pytest.mark.parametrize("seed", range(2))
def test_what_is_dead_stops_getting_traffic_and_gets_it_back_when_healed(fault: str, seed: int) -> None:
    pool = Pool(seed)
    pool.run(20)
    victim = pool.endpoints[seed % pool.count]
    pool.engines[victim.id].begin(fault, pool.now)
    pool.run(DETECTED_S[fault])
    assert victim.health == "down"
    trials, sent = victim.guard.trials_total, victim.dispatched_total
    pool.run(60)
    assert victim.dispatched_total - sent <= (pool.rate * 60 / pool.count) / 4
    if fault not in ("errors", "resets"):  # those answer one in five, so a trial may well end it
        assert victim.dispatched_total - sent <= victim.guard.trials_total - trials + 1
    pool.engines[victim.id].heal()
    healed_at = pool.now
    while victim.health != "ready" and pool.now - healed_at < 120:
        pool.step()
    assert pool.now - healed_at <= 60 + TRIAL_WAIT_S + TRIAL_S
    served = pool.served.get(victim.id, 0)
    pool.run(RAMP_S + 20)
    assert pool.served.get(victim.id, 0) - served > 20
    assert victim.share(pool.now) == 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_while_any_answers_some_are_tried_and_at_the_end_nothing_is_left_over(seed: int) -> None:
    random = Random(seed)
    pool = Pool(seed, count=random.choice([1, 2, 3, 5, 8]), rate=random.choice([5.0, 20.0, 60.0]))
    pool.bad_share = random.choice([0.0, 0.3])
    pool.run(5)
    for _ in range(12):
        engine = pool.engines[random.choice(pool.endpoints).id]
        if engine.fault:
            engine.heal()
        else:
            always_answers = engine.index == 0
            engine.begin(random.choice(LYING if always_answers else BROKEN + LYING), pool.now)
        if random.random() < 0.2:
            pool.jump(random.choice([3.0, 100.0]))
        for _ in range(round(random.uniform(1, 15) / STEP_S)):
            pool.step()
            assert pool.table.pools["chat"].candidates(pool.now)
            assert all(e.in_flight == sum(s.endpoint is e for s in pool.flying) for e in pool.endpoints)
    for engine in pool.engines.values():
        engine.heal()
    pool.bad_share = 0.0
    pool.run(140)
    assert [e.health for e in pool.endpoints] == ["ready"] * pool.count
    refused, lost = pool.refused, pool.lost
    pool.run(10)
    assert (pool.refused, pool.lost) == (refused, lost)
    pool.drain()
    assert [e.in_flight for e in pool.endpoints] == [0] * pool.count
    assert pool.ended == pool.began


@pytest.mark.parametrize("fault", ["frozen_metrics", "wild_metrics", "slow"])
@pytest.mark.parametrize("seed", range(2))
def test_metrics_that_lie_and_slowness_everywhere_take_nobodys_answers(fault: str, seed: int) -> None:
    pool = Pool(seed)
    pool.run(20)
    for engine in pool.engines.values():
        engine.begin(fault, pool.now)
    pool.run(120)
    assert pool.refused == pool.lost == 0
    assert sum(e.health == "ready" for e in pool.endpoints) >= pool.count / 2


@pytest.mark.parametrize("seed", range(2))
def test_a_pool_that_fails_everywhere_keeps_half_of_itself(seed: int) -> None:
    pool = Pool(seed)
    pool.run(10)
    for engine in pool.engines.values():
        engine.begin("errors", pool.now)
    for _ in range(round(60 / STEP_S)):
        pool.step()
        assert sum(e.health == "ready" for e in pool.endpoints) >= pool.count / 2
    assert pool.refused == 0


@pytest.mark.parametrize("jump_s", [1.0, 10.0, 3600.0])
def test_a_jump_of_the_clock_puts_nobody_out(jump_s: float) -> None:
    pool = Pool(1)
    pool.run(20)
    pool.jump(jump_s)
    pool.run(20)
    assert [e.guard.ejections_total for e in pool.endpoints] == [0] * pool.count


def test_ten_thousand_client_errors_open_no_breaker() -> None:
    pool = Pool(3, rate=400.0)
    pool.bad_share = 1.0
    pool.run(25.1)
    assert pool.ended >= 10_000
    assert [(e.health, e.failures_total) for e in pool.endpoints] == [("ready", 0)] * pool.count
    assert pool.table.pools["chat"].candidates(pool.now) == pool.endpoints


def test_one_that_flaps_gets_less_and_less() -> None:
    pool = Pool(5)
    pool.run(10)
    flapping = pool.endpoints[0]
    shares = []
    for _ in range(8):
        engine = pool.engines[flapping.id]
        engine.begin("resets", pool.now)
        before = flapping.dispatched_total
        pool.run(4)
        engine.heal()
        pool.run(2)
        shares.append(flapping.dispatched_total - before)
    assert shares[-1] < shares[0] / 2
    assert flapping.guard.streak > 3


def test_a_slow_one_is_avoided_and_stays_in() -> None:
    pool = Pool(2)
    pool.run(20)
    slow = pool.endpoints[1]
    pool.engines[slow.id].begin("slow", pool.now)
    pool.run(60)
    assert (slow.health, slow.guard.is_slow) == ("ready", True)
    assert slow.share(pool.now) < 0.5
    pool.engines[slow.id].heal()
    pool.run(30)
    assert slow.share(pool.now) == 1.0
