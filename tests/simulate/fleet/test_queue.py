"""The gateway's queue in the simulated fleet: it changes nothing while there is room, and holds what engines would."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import pytest

from penstock.serve.flow import CLASSES, Capacity, QueueSettings, Quota, Scope
from penstock.simulate.fleet.report import draw_up
from penstock.simulate.fleet.run import FleetRun, Traffic, simulate
from penstock.simulate.fleet.scenario import TenantRules
from penstock.simulate.workload import Session, TraceRequest, generate
from simulate.fleet.rig import NO_QUEUE, ask, ran, scenario, traffic

SEATS: dict[str, Any] = {"settings": {"max_num_seqs": 8}, "replicas": 2, "capacity": Capacity(requests_max=8)}


def _chat(rate: float, count: int, **changes: Any) -> FleetRun:
    requests = [session.turns[0] for session in islice(generate("chat", seed=3, rate=rate), count)]
    known: dict[str, Any] = {"replicas": 1, "settings": {"max_model_len": 16_384, "num_gpu_blocks": None}}
    return simulate(traffic(requests), scenario(**(known | changes)))


def test_far_below_saturation_it_changes_nothing() -> None:
    """Prompts hardly meet in an engine there; where two do, the second may wait for some milliseconds."""
    one, other = (draw_up(_chat(2.0, 300, **more)) for more in ({}, {"queue": NO_QUEUE}))

    assert one.verdict.level == other.verdict.level == "comfortable"
    for name in ("ttft_ms", "tpot_ms", "e2e_ms"):
        seen, wanted = getattr(one, name), getattr(other, name)
        assert (seen.p50, seen.mean) == (pytest.approx(wanted.p50, rel=0.01), pytest.approx(wanted.mean, rel=0.02))
    assert one.waited_ms.p50 == 0.0
    assert other.queued == other.queued_max == 0


def test_past_saturation_the_gateway_holds_what_the_engine_held() -> None:
    held, inside = (_chat(40.0, 600, **more) for more in ({}, {"queue": NO_QUEUE}))

    assert max(inside.gauges.waiting) > 0 or max(inside.gauges.running) > 200
    assert max(held.gauges.queued) > 100
    assert max(held.gauges.running) < 0.6 * max(inside.gauges.running)
    assert held.ledger.count("ok") == inside.ledger.count("ok") == 600
    assert held.ended_s < 1.1 * inside.ended_s  # and it costs no work
    gaps = [draw_up(run).tpot_ms.p50 or 0.0 for run in (held, inside)]
    assert gaps[0] < gaps[1]


def test_engines_are_given_what_they_can_run_and_the_rest_waits_outside() -> None:
    run = ran([ask(at_s=n / 200, output=60) for n in range(300)], **SEATS)

    assert max(run.gauges.running) <= 16
    assert max(run.gauges.waiting) <= 4
    assert max(run.gauges.queued) > 50
    assert run.ledger.count("ok") == 300
    waits = [row.waited_s for row in run.ledger]
    assert sum(wait > 0 for wait in waits) == run.queued
    for row in run.ledger:
        assert row.first_s is not None
        assert row.first_s >= row.due_s + row.waited_s


def test_who_waits_too_long_and_who_finds_no_place_is_shed() -> None:
    short = dict.fromkeys(CLASSES, 0.5)
    late = ran([ask(at_s=n / 200, output=100) for n in range(200)], wait_s=short, **SEATS)
    full = ran([ask(at_s=n / 200, output=100) for n in range(200)], queue=QueueSettings(requests_max=10), **SEATS)

    assert late.sheds.keys() == {"queue_timeout"}
    for row in late.ledger:
        assert row.waited_s <= 0.502
    assert full.sheds.keys() == {"queue_full"}
    assert max(full.gauges.queued) == 10
    assert draw_up(full).sheds == (("queue_full", full.ledger.count("shed")),)


def test_backlogged_tenants_get_work_by_weight() -> None:
    requests = [ask(at_s=n / 100, output=60, expected_output=60, tenant=("search", "chat")[n % 2]) for n in range(3000)]
    rules = {"search": TenantRules(weight=3.0), "chat": TenantRules(weight=1.0)}
    run = simulate(traffic(requests), scenario(tenants=rules, until_s=20.0, **SEATS))

    work = {
        name: sum(r.output_tokens for r in run.ledger if r.tenant == name and r.done_s > 4.0)
        for name in ("search", "chat")
    }
    assert work["search"] / work["chat"] == pytest.approx(3.0, rel=0.1)
    shares = draw_up(run).shares.tenants
    assert [share.name for share in shares] == ["search", "chat"]
    assert sum(share.share or 0.0 for share in shares) == pytest.approx(1.0, abs=1e-3)


def test_a_higher_class_goes_first() -> None:
    requests = [
        ask(at_s=n / 100, output=60, tenant="t", traffic_class=("interactive", "batch")[n % 2]) for n in range(600)
    ]
    report = draw_up(simulate(traffic(requests), scenario(tenants={"t": TenantRules()}, **SEATS)))

    first, second = report.shares.classes
    assert (first.name, second.name) == ("interactive", "batch")
    assert first.waited_ms.p50 is not None
    assert second.waited_ms.p50 is not None
    assert first.waited_ms.p50 < second.waited_ms.p50 / 4
    assert report.shares.tenants == ()


def _limited(**more: Any) -> TenantRules:
    return TenantRules(scopes=(Scope(id="t:ci", words="tenant 'ci'", quota=Quota(**more)),))


def test_a_tenants_limits_hold_and_are_no_fault_of_the_fleet() -> None:
    requests = [ask(at_s=n / 10, tenant="ci") for n in range(1200)]
    run = ran(requests, tenants={"ci": _limited(requests_per_minute=60)})
    report = draw_up(run)

    for start in range(0, 61, 10):
        passed = sum(start <= row.due_s < start + 60 for row in run.ledger if row.outcome == "ok")
        assert passed <= 70  # a minute's and one burst
    assert report.limits == (("requests_per_minute", report.limited),)
    assert report.requests == report.ok + report.limited
    assert (report.is_held, report.met_share, report.verdict.level) == (True, 1.0, "comfortable")


@pytest.mark.parametrize(("is_shared", "factor"), [(True, 1), (False, 2)])
def test_gateways_count_limits_together_only_where_the_file_says_so(is_shared: bool, factor: int) -> None:
    requests = [ask(at_s=n / 20, tenant="ci") for n in range(1100)]
    run = ran(
        requests,
        tenants={"ci": _limited(requests_per_minute=60)},
        gateways=2,
        has_shared_limits=is_shared,
    )

    assert run.ledger.count("ok") == pytest.approx(60 * factor, abs=6 * factor)


def test_requests_that_name_nobody_are_whose_the_options_say() -> None:
    run = ran([ask(at_s=n / 10) for n in range(100)], tenants={"ci": _limited(requests_per_minute=5)}, tenant="ci")

    assert run.ledger.tenants == ("ci",)
    assert run.ledger.count("ok") < 20


def test_a_gateway_may_be_told_which_requests_are_its_own() -> None:
    requests = [ask(at_s=n / 10, tenant=("a", "b")[n % 2]) for n in range(50)]
    own = Traffic(
        sessions=(Session(turns=(request,)) for request in requests), gateway_of=lambda request: request.tenant == "b"
    )
    run = simulate(own, scenario(gateways=2))

    assert [sum(e.dispatched_total for e in seen) for seen in run.endpoints] == [25, 25]


def test_engines_are_read_only_while_they_have_work() -> None:
    """A quiet day costs no readings: nothing in them changes."""
    busy, quiet = (
        ran([ask(at_s=at) for at in (0.0, 3600.0)], scrape_s=0.25, replicas=1),
        ran([TraceRequest(at_s=0.0, prompt_tokens=10, output_tokens=5)], replicas=1),
    )

    assert [run.endpoints[0][0].sample is not None for run in (busy, quiet)] == [True, True]
    looks = busy.endpoints[0][0].guard.progress.interval_s
    assert looks > 0.25  # an hour between two of them


@pytest.mark.parametrize(("is_shared", "part"), [(True, 1 / 3), (False, 1 / 6)])
def test_gateways_hold_one_share_together_only_where_the_file_says_so(is_shared: bool, part: float) -> None:
    """Given three equal tenants that flood two gateways, and "c" one of them only: it gets a third of all work where
    gateways tell each other, else a third of what its own gateway has."""
    at = {"a": (0, 1), "b": (0, 1), "c": (0,)}
    asked = [
        (place, ask(at_s=n / 40 + place * 1e-3 + 1e-4 * number, prompt=50, output=30, tenant=tenant))
        for number, (tenant, places) in enumerate(at.items())
        for place in places
        for n in range(1200)
    ]
    asked.sort(key=lambda one: one[1].at_s)
    places = iter([place for place, _ in asked])
    flood = traffic([one for _, one in asked], gateway_of=lambda _: next(places))

    run = simulate(flood, scenario(**SEATS, gateways=2, has_shared_limits=is_shared, until_s=20.0))

    ended = Counter(row.tenant for row in run.ledger if row.outcome == "ok" and row.done_s > 8)
    assert ended["c"] / ended.total() == pytest.approx(part, rel=0.1)
