"""The law by which replicas follow load: its numbers, and what an HPA makes of them."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.plan.manifests.law import (
    behavior,
    bounds_of,
    floor_of,
    is_group,
    scale_target,
    sleeps,
    start_budget_s,
    target_of,
)
from penstock.plan.manifests.manifest import plain
from penstock.spec import AutoscalingSpec
from plan.manifests.hpa_law import SYNC_S, Hpa, replay
from plan.manifests.sites import OPEN, site_from

SCALED = "  models: [{name: chat, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, autoscaling: {maxReplicas: 40%s}%s}]\n"


def spec(**values: Any) -> AutoscalingSpec:
    return AutoscalingSpec(maxReplicas=40, **values)


def hpa(target: float, *, replicas: int = 1, minimum: int = 1, **values: Any) -> Hpa:
    law = plain(behavior(spec(**values)))
    return Hpa(target=target, minimum=minimum, maximum=40, behavior=law, replicas=replicas)


def test_the_target_leaves_the_tolerance_inside_the_plan() -> None:
    needs = site_from(SCALED % ("", "") + OPEN).needs["chat"]

    target = target_of(needs).requests
    assert target == int(target)
    assert needs.concurrency - 2 < target * 1.1 <= needs.concurrency
    assert f"{needs.concurrency:g} at the objectives" in target_of(needs).reason


def test_the_files_own_target_stands() -> None:
    needs = site_from(SCALED % (", targetConcurrency: 7.5", "") + OPEN).needs["chat"]

    assert target_of(needs).requests == 7.5


def test_what_is_scaled_is_the_deployment_or_for_a_replica_of_several_nodes_the_group() -> None:
    one = site_from(SCALED % ("", "") + OPEN)
    classes = "  hardware: {classes: [{gpu: H100, gpusPerNode: 2}]}\n"
    models = "  models: [{name: big, source: Qwen/Qwen3-32B, hardware: {gpu: H100, count: 4}}]\n"
    several = site_from(classes + models + OPEN)

    assert scale_target(one, one.needs["chat"]) == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "demo-chat"}
    assert is_group(several, several.needs["big"])
    assert scale_target(several, several.needs["big"])["kind"] == "LeaderWorkerSet"


def test_the_start_budget_is_what_the_probe_allows() -> None:
    needs = site_from(SCALED % ("", "") + OPEN).needs["chat"]

    assert start_budget_s(needs) == needs.host.probe_period_s * needs.host.probe_failures >= 2 * 60


def test_windows_are_the_files() -> None:
    law = behavior(spec(scaleUpWindowS=45, scaleDownWindowS=900))

    assert plain(law)["scaleUp"]["stabilizationWindowSeconds"] == 45
    assert plain(law)["scaleDown"]["stabilizationWindowSeconds"] == 900


@given(load=st.floats(0, 2000), target=st.integers(1, 60), start=st.integers(1, 40))
def test_steady_load_settles_where_no_replica_has_more_than_its_target_and_tolerance(
    load: float, target: int, start: int
) -> None:
    scaler = hpa(target, replicas=start)

    end = replay(scaler, lambda _: load, 3 * 3600)[-1]

    assert end == 40 or load / end <= target * 1.1 + 1e-9
    assert end == 1 or load / (end - 1) > target * 0.9 - 1e-9  # and not one more than that needs


@given(load=st.floats(0, 2000), target=st.integers(1, 60), start=st.integers(1, 40))
def test_steady_load_moves_replicas_one_way_only(load: float, target: int, start: int) -> None:
    replicas = replay(hpa(target, replicas=start), lambda _: load, 3 * 3600)

    assert replicas in (sorted(replicas), sorted(replicas, reverse=True))


@pytest.mark.parametrize("seed", range(5))
def test_noise_does_not_make_it_flap(seed: int) -> None:
    chance = random.Random(seed)
    noise = [chance.gauss(200, 200**0.5) for _ in range(4 * 3600 // SYNC_S + 1)]  # as many as arrive by chance

    replicas = replay(hpa(20, replicas=10), lambda now: noise[int(now) // SYNC_S], 4 * 3600)

    moves = [after - before for before, after in pairwise(replicas) if after != before]
    assert len(moves) <= 6  # in four hours
    assert max(replicas) <= 13


def test_a_burst_is_met_within_two_minutes_of_the_signal() -> None:
    replicas = replay(hpa(20), lambda now: 20.0 if now < 600 else 320.0, 1200)

    reached = {n: place * SYNC_S - 600 for place, n in reversed(list(enumerate(replicas)))}
    assert replicas[-1] == 16
    assert reached[5] <= 45  # the lag of 30 s and one round: four more at once
    assert reached[10] <= 105
    assert reached[16] <= 165


def test_a_lull_takes_nothing_away_and_an_end_takes_one_at_a_time() -> None:
    def load(now: float) -> float:
        return 200.0 if now < 600 or 900 <= now < 1800 else 10.0

    replicas = replay(hpa(20, replicas=10), load, 5400)

    assert set(replicas[: 1800 // SYNC_S]) == {10}  # five minutes of lull
    first = next(place for place, n in enumerate(replicas) if n < 10) * SYNC_S
    assert 1800 + 600 <= first <= 1800 + 600 + 60
    last = next(place for place, n in enumerate(replicas) if n == 1) * SYNC_S
    assert last - first >= 8 * 120
    steps = [before - after for before, after in pairwise(replicas)]
    assert max(steps) == 1


def test_without_a_signal_replicas_stay() -> None:
    replicas = replay(hpa(20, replicas=7), lambda now: 140.0 if now < 300 else None, 7200)

    assert set(replicas) == {7}


def test_a_slow_start_does_not_ask_for_more() -> None:
    """The law counts requests, not their share of what is ready: replicas that load change nothing in it."""
    replicas = replay(hpa(20, replicas=2), lambda _: 100.0, 1800)

    assert max(replicas) == 5


@pytest.mark.parametrize(
    ("said", "floor", "bounds"),
    [("minReplicas: 3", 0, (0, 3, 40)), ("minReplicas: 3", 2, (2, 1, 38)), ("minReplicas: 0", 2, (2, 0, 38))],
)
def test_bounds_are_the_files_without_what_always_runs(said: str, floor: int, bounds: tuple[int, int, int]) -> None:
    scheduling = f", scheduling: {{spot: allowed, onDemandReplicas: {floor}}}"
    site = site_from(SCALED % (f", {said}", scheduling) + OPEN)
    needs = site.needs["chat"]
    assert needs.spec.autoscaling is not None

    found = bounds_of(site, needs, needs.spec.autoscaling)
    assert (found.floor, found.least, found.most) == bounds
    assert floor_of(site, needs) == floor
    assert sleeps(site, needs) == (said == "minReplicas: 0" and floor == 0)
