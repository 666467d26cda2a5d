"""What a seed draws: always the same, always a fleet file that loads, in time."""

from __future__ import annotations

import json
from collections import Counter

from penstock.serve.config import compile_gateway
from penstock.simulate.system.draw import ENGINE_FAULTS, FAULTS_S, GATEWAY_FAULTS, STREAM_FAULTS, draw
from penstock.spec import Fleet


def test_a_seed_draws_the_same_each_time_and_another_something_else() -> None:
    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_every_drawn_fleet_file_can_be_compiled() -> None:
    for seed in range(20):
        for fleet in draw(seed).fleets:
            config = compile_gateway(Fleet.model_validate(fleet), {})
            assert {"chat"} <= set(config.models) <= set(draw(seed).engines)


def test_all_faults_and_manners_are_drawn_and_begin_in_time() -> None:
    drawn = [draw(seed) for seed in range(200)]
    faults = Counter(fault.what for one in drawn for fault in one.faults)
    assert set(faults) == {*ENGINE_FAULTS, *STREAM_FAULTS, *GATEWAY_FAULTS}
    assert all(0 <= fault.at < FAULTS_S for one in drawn for fault in one.faults)
    assert 5 < sum(one.is_calm for one in drawn) < 40


def test_bodies_are_json_but_where_they_are_meant_not_to_be() -> None:
    for visit in draw(1).visits:
        for wish in visit.wishes:
            if wish.manner == "bad_json":
                continue
            assert json.loads(wish.body)["model"] == wish.model


def test_requests_are_sent_twice_in_some_worlds_and_not_in_others() -> None:
    switches = Counter(draw(seed).fleets[0]["spec"]["gateway"]["hedging"]["enabled"] for seed in range(50))
    assert min(switches[True], switches[False]) > 10
