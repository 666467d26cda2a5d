"""The fleet: every request ends once, in flight returns to zero, same seed same result, the gateway's own bounds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.serve.flow import CLASSES, Capacity, QueueSettings, Quota, Scope
from penstock.simulate.fleet.policies import POLICIES
from penstock.simulate.fleet.run import FleetRun, Traffic, simulate
from penstock.simulate.fleet.scenario import TenantRules
from penstock.simulate.workload import Session, TraceRequest, generate
from simulate.fleet.rig import ask, ran, scenario, traffic

TURNS = st.lists(
    st.builds(
        TraceRequest,
        at_s=st.just(0.0),
        prompt_tokens=st.integers(0, 700),
        output_tokens=st.integers(0, 120),
        prefix_blocks=st.lists(st.integers(0, 2), max_size=1).map(tuple),
        gap_s=st.floats(0, 1),
    ),
    min_size=1,
    max_size=4,
)
SESSIONS = st.lists(st.tuples(st.floats(0, 4), TURNS), min_size=1, max_size=14)
FEW = TenantRules(
    scopes=(Scope(id="t:", words="all", quota=Quota(requests_per_minute=5, output_tokens_per_minute=2000)),)
)
CHANGES = st.fixed_dictionaries(
    {
        "replicas": st.integers(1, 3),
        "policy": st.sampled_from(sorted(POLICIES)),
        "in_flight_max": st.sampled_from([1, 3, 16384]),
        "first_byte_s": st.sampled_from([0.05, 600.0]),
        "until_s": st.sampled_from([None, 2.0]),
        "gateways": st.integers(1, 2),
        "queue": st.builds(QueueSettings, is_on=st.booleans(), requests_max=st.sampled_from([0, 2, 2000])),
        "wait_s": st.sampled_from([0.3, 60.0]).map(lambda seconds: dict.fromkeys(CLASSES, seconds)),
        "capacity": st.builds(Capacity, requests_max=st.sampled_from([None, 1, 8])),
        "tenants": st.sampled_from([{}, {"": FEW}]),
        "settings": st.fixed_dictionaries(
            {
                "max_model_len": st.just(600),
                "num_gpu_blocks": st.sampled_from([40, 400]),
                "max_num_seqs": st.sampled_from([1, 8]),
            }
        ),
    }
)


def _sessions(spec: list[tuple[float, list[TraceRequest]]]) -> Iterator[Session]:
    for at, turns in sorted(spec, key=lambda item: item[0]):
        first = TraceRequest(at_s=at, prompt_tokens=turns[0].prompt_tokens, output_tokens=turns[0].output_tokens)
        yield Session(turns=(first, *turns[1:]))


@settings(max_examples=120, deadline=None)
@given(spec=SESSIONS, changes=CHANGES)
def test_every_request_ends_once_or_is_unfinished_and_in_flight_returns_to_zero(
    spec: list[tuple[float, list[TraceRequest]]], changes: dict[str, Any]
) -> None:
    run = simulate(Traffic(sessions=_sessions(spec)), scenario(**changes))

    assert run.requests == len(run.ledger) + run.unfinished
    seen = [endpoint for endpoints in run.endpoints for endpoint in endpoints]
    assert sum(e.in_flight for e in seen) <= run.unfinished
    refused = run.ledger.count("shed") + run.ledger.count("limited")
    assert run.requests - refused - run.unfinished <= sum(e.dispatched_total for e in seen) <= run.requests - refused
    assert len(run.ledger) == sum(run.ledger.count(o) for o in ("ok", "client_error", "limited", "shed", "timeout"))
    assert sum(run.sheds.values()) == run.ledger.count("shed")
    assert sum(run.limited.values()) == run.ledger.count("limited")
    if changes["until_s"] is None:
        assert sum(e.in_flight for e in seen) == 0
        assert run.unfinished == 0
        assert run.requests >= len(spec)
        assert all(not replica.engine.has_work for replica in run.replicas)
    for row in run.ledger:
        if row.outcome == "ok":
            assert row.first_s is not None
            assert row.due_s + row.waited_s <= row.first_s
        assert row.due_s <= (row.due_s if row.first_s is None else row.first_s) <= row.done_s <= run.ended_s + 1.0


@settings(max_examples=60, deadline=None)
@given(spec=SESSIONS, changes=CHANGES)
def test_the_next_turn_comes_after_the_answer_and_its_pause(
    spec: list[tuple[float, list[TraceRequest]]], changes: dict[str, Any]
) -> None:
    run = simulate(Traffic(sessions=_sessions(spec[:1])), scenario(**(changes | {"until_s": None})))

    rows, turns = list(run.ledger), spec[0][1]
    assert len(rows) <= len(turns)
    assert len(rows) == len(turns) or rows[-1].outcome != "ok"  # a session whose answer failed does not go on
    for before, after, turn in zip(rows, rows[1:], turns[1:], strict=False):
        assert after.due_s == pytest.approx(before.done_s + max(turn.gap_s, 0.0), abs=0.0011)


@settings(max_examples=25, deadline=None)
@given(spec=SESSIONS, changes=CHANGES)
def test_the_same_gives_the_same(spec: list[tuple[float, list[TraceRequest]]], changes: dict[str, Any]) -> None:
    one, two = (simulate(Traffic(sessions=_sessions(spec)), scenario(**changes)) for _ in range(2))

    assert list(one.ledger) == list(two.ledger)
    assert one.gauges.running == two.gauges.running
    assert one.gauges.kv == two.gauges.kv


def test_sessions_on_several_replicas_see_one_another_in_order_of_time() -> None:
    """What an answer on one replica brings is never in the past of another: turns go to the idler replica then."""
    busy = ask(prompt=2000, output=400)
    short = Session(turns=tuple(ask(at_s=0.001, prompt=16, output=2, gap_s=0.05) for _ in range(20)))
    run = simulate(Traffic(sessions=iter([Session(turns=(busy,)), short])), scenario(policy="least-load"))

    assert sorted(e.dispatched_total for e in run.endpoints[0]) == [1, 20]


def _run_chat(policy: str, replicas: int = 4) -> FleetRun:
    requests = [session.turns[0] for session in islice(generate("chat", seed=5, rate=40.0), 1200)]
    return simulate(traffic(requests), scenario(policy=policy, replicas=replicas, settings={"max_model_len": 20_000}))


def test_least_load_spreads_work_more_evenly_than_chance() -> None:
    def uneven(run: FleetRun) -> float:
        running = [one.running_sum for one in run.gauges.replicas]
        return max(running) / min(running)

    ours, chance = _run_chat("least-load"), _run_chat("random")

    assert uneven(ours) < 1.1
    assert uneven(ours) < uneven(chance)
    counts = [e.dispatched_total for e in ours.endpoints[0]]
    assert max(counts) < 1.15 * min(counts)


def test_the_policy_sees_what_engines_say_of_their_queues() -> None:
    """The gateway's own reading of metrics: once a second, and again when the queue is gone."""
    run = ran([ask(at_s=n / 100) for n in range(200)], settings={"max_num_seqs": 1})

    samples = [e.sample for e in run.endpoints[0]]
    assert all(sample is not None and (sample.running, sample.waiting) == (0, 0) for sample in samples)
    assert [e.health for e in run.endpoints[0]] == ["ready", "ready"]
    assert max(run.gauges.waiting) > 10


def test_a_prompt_beyond_the_context_is_the_clients_mistake() -> None:
    run = ran([ask(prompt=4096), ask(prompt=4095), ask(prompt=9000), ask(prompt=4000, output=500)])

    assert (run.ledger.count("client_error"), run.ledger.count("ok")) == (2, 2)
    assert run.cut_short == 2
    assert sorted(row.output_tokens for row in run.ledger) == [0, 0, 1, 96]


def test_past_the_gateways_bound_requests_are_shed() -> None:
    run = ran([ask() for _ in range(5)], in_flight_max=2)

    assert (run.ledger.count("shed"), run.ledger.count("ok")) == (3, 2)


def test_past_the_gateways_patience_requests_time_out_and_leave_the_engine() -> None:
    run = ran(
        [ask(output=3000), ask(at_s=0.5), ask(at_s=0.6)], replicas=1, first_byte_s=2.0, settings={"max_num_seqs": 1}
    )

    late = [row for row in run.ledger if row.outcome == "timeout"]
    assert [row.done_s for row in late] == [3.0, 3.0]
    assert run.ledger.count("ok") == 1  # slow, but its first token came in time


def test_the_end_leaves_the_rest_unfinished() -> None:
    run = ran([ask(output=3000), ask(at_s=3.0, output=5), ask(at_s=30.0)], until_s=4.0)

    assert (run.requests, run.unfinished, run.ledger.count("ok"), run.ended_s) == (2, 1, 1, 4.0)


def test_an_end_after_everything_changes_nothing() -> None:
    requests = [ask(at_s=n / 10) for n in range(10)]

    assert list(ran(requests, until_s=500.0).ledger) == list(ran(requests).ledger)
    assert ran(requests, until_s=500.0).ended_s < 10


@pytest.mark.parametrize(("bound", "requests"), [({"duration_s": 2.0}, 20), ({"requests_max": 7}, 7)])
def test_an_endless_workload_is_bounded(bound: dict[str, Any], requests: int) -> None:
    endless = (Session(turns=(ask(at_s=n / 10),)) for n in range(10**9))

    assert simulate(Traffic(sessions=endless, **bound), scenario()).requests == requests


def test_shared_prefixes_are_found_on_the_replica_that_has_them() -> None:
    shared = tuple(range(6))
    requests = [ask(at_s=n * 5.0, prompt=3072, prefix_blocks=shared) for n in range(3)]

    alone = [row.cached_tokens for row in ran(requests, replicas=1).ledger]
    apart = [row.cached_tokens for row in ran(requests, replicas=3, policy="round-robin").ledger]

    assert alone == [0, 3056, 3056]  # the last token of a prompt is always computed
    assert apart == [0, 0, 0]


def test_embeddings_are_answered_without_tokens() -> None:
    from penstock.facts import find_model

    embedding = {"model": find_model("Qwen/Qwen3-Embedding-0.6B"), "async_scheduling": False}
    run = ran([ask(at_s=n / 10) for n in range(5)], settings=embedding)

    assert [(row.outcome, row.first_s, row.output_tokens) for row in run.ledger] == [("ok", None, 0)] * 5


def test_progress_is_told_once_a_second() -> None:
    told: list[tuple[float, int]] = []

    simulate(traffic([ask(), ask(at_s=2.5)]), scenario(), on_tick=lambda now, ended: told.append((now, ended)))

    assert [now for now, _ in told] == [0.0, 1.0, 2.0, 3.0]
    assert told[-1][1] == 2
