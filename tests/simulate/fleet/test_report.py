"""The report agrees with the ledger, and with money, hours and objectives worked out by hand."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.simulate.fleet.report import draw_up
from penstock.simulate.fleet.run import Traffic, simulate
from penstock.simulate.workload import Objectives, generate
from simulate.fleet.rig import ask, ran, reported, scenario

MANY = [ask(at_s=n / 20, prompt=50 + 7 * n % 400, output=1 + n % 60) for n in range(200)]


@settings(max_examples=30, deadline=None)
@given(
    limits=st.tuples(*[st.none() | st.floats(1, 2000)] * 3),
    until=st.sampled_from([None, 4.0]),
    prompt=st.integers(1, 5000),
)
def test_shares_and_counts_are_those_of_the_ledger(
    limits: tuple[float | None, ...], until: float | None, prompt: int
) -> None:
    said = Objectives(ttft_ms=limits[0], itl_ms=limits[1], e2e_ms=limits[2])
    run = ran([*MANY, ask(at_s=1.0, prompt=prompt)], objectives=said, until_s=until)

    report = draw_up(run)

    good = [row for row in run.ledger if row.outcome == "ok"]
    met = [
        all(value is None or limit is None or value <= limit for value, limit in zip(values, limits, strict=True))
        for values in ((row.ttft_ms, row.tpot_ms, row.e2e_ms) for row in good)
    ]
    ours = run.requests - report.client_errors
    assert report.requests == report.ok + report.client_errors + report.unfinished == run.requests
    assert report.met_share == pytest.approx(sum(met) / ours, abs=1e-4)
    assert report.goodput_per_s == pytest.approx(sum(met) / report.seconds, abs=0.01)
    assert len(report.objectives) == sum(limit is not None for limit in limits)
    assert all(objective.met_share >= (report.met_share or 0) for objective in report.objectives)
    assert report.output_tokens == sum(row.output_tokens for row in good)
    line = report.timeline
    assert (sum(line.ok), sum(line.failed)) == (report.ok, report.client_errors)
    assert len(report.over.running) == len(report.over.kv_max_share) == len(line.t_s)
    assert max(report.over.waiting_max, default=0) == report.waiting_max


def test_gpus_are_paid_from_the_first_arrival_to_the_last_answer() -> None:
    report = reported(
        [ask(), ask(at_s=1799.0, output=100)],
        replicas=3,
        settings={"tensor_parallel": 2},
        usd_micro_per_gpu_hour=6_000_000,
        until_s=1800.0,
    )

    assert report.cost.gpu_hours == pytest.approx(6 * report.seconds / 3600, abs=1e-4)
    assert report.cost.usd_micro_per_hour == 36_000_000
    assert report.cost.usd_micro == pytest.approx(36_000_000 * report.seconds / 3600, rel=1e-6)
    assert report.cost.usd_micro_per_million_output_tokens == pytest.approx(
        (report.cost.usd_micro or 0) * 1e6 / report.output_tokens, rel=1e-6
    )


def test_without_a_price_there_is_no_cost() -> None:
    cost = reported([ask()]).cost

    assert (cost.usd_micro, cost.usd_micro_per_hour, cost.usd_micro_per_million_output_tokens) == (None, None, None)


@pytest.mark.parametrize(("limit", "is_held"), [(1.0, False), (60_000.0, True)])
def test_an_objective_is_held_when_95_percent_meet_it(limit: float, is_held: bool) -> None:
    report = reported(MANY, objectives=Objectives(e2e_ms=limit))

    assert [objective.is_held for objective in report.objectives] == [is_held]
    assert report.is_held is is_held
    assert report.verdict.level == ("comfortable" if is_held else "slow")


def test_what_the_workload_does_not_say_of_prefixes_is_not_known() -> None:
    assert reported([ask()]).prefix_hit_share is None
    shared: dict[str, Any] = {"prompt": 1024, "prefix_blocks": (1, 2)}
    assert reported([ask(**shared), ask(at_s=5, **shared)], replicas=1).prefix_hit_share == pytest.approx(0.4922)


def test_nothing_at_all_is_a_report_too() -> None:
    report = draw_up(simulate(Traffic(sessions=iter(())), scenario()))

    assert (report.requests, report.met_share, report.balance, report.verdict.level) == (0, None, None, "idle")


def test_replicas_add_up_to_the_fleet() -> None:
    requests = [session.turns[0] for session in islice(generate("chat", seed=1, rate=20.0), 200)]

    report = reported(requests, settings={"max_model_len": 20_000})

    assert sum(replica.requests for replica in report.replicas) == 200
    assert sum(replica.output_tokens for replica in report.replicas) == report.output_tokens
    assert report.balance == pytest.approx(max(replica.requests for replica in report.replicas) / 100)
    assert report.kv_max_share == max(replica.kv_max_share for replica in report.replicas)
    assert report.itl_ms.count == report.output_tokens - report.ok


def test_more_load_on_one_replica_is_never_faster() -> None:
    slower = reported(MANY, replicas=1)
    faster = reported(MANY, replicas=4)

    for one, other in ((slower.ttft_ms, faster.ttft_ms), (slower.e2e_ms, faster.e2e_ms)):
        assert one.mean is not None
        assert other.mean is not None
        assert one.mean >= other.mean
