"""Least load: the emptiest endpoint, ties in turn, and the reason when somebody asks."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.endpoints import Endpoint, EngineSample, Health
from penstock.serve.routing.policy import UNKNOWN_NEED, LeastLoad


def endpoint(number: int, in_flight: int = 0, waiting: int = 0, health: Health = "ready") -> Endpoint:
    return Endpoint(
        id=f"chat-{number}",
        model="chat",
        host="127.0.0.1",
        port=number,
        url="",
        authority="",
        health=health,
        in_flight=in_flight,
        sample=EngineSample(at=0.0, waiting=waiting) if waiting else None,
    )


LOADS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=6)


@given(LOADS, st.integers(0, 10))
def test_none_is_less_loaded_than_the_chosen_one(loads: list[tuple[int, int]], turns: int) -> None:
    policy = LeastLoad()
    candidates = [endpoint(n, in_flight, waiting) for n, (in_flight, waiting) in enumerate(loads)]
    for _ in range(turns + 1):
        chosen = policy.choose(candidates, UNKNOWN_NEED, now=0.0).endpoint
        assert policy.load(chosen) == min(map(policy.load, candidates))


@given(st.integers(1, 6), st.integers(1, 5))
def test_equal_endpoints_get_equal_shares(count: int, rounds: int) -> None:
    policy = LeastLoad()
    candidates = [endpoint(n) for n in range(count)]
    shares = Counter(policy.choose(candidates, UNKNOWN_NEED, now=0.0).endpoint.id for _ in range(count * rounds))
    assert set(shares.values()) == {rounds}
    assert len(shares) == count


@given(st.lists(st.integers(1, 6), max_size=20))
def test_a_pool_may_grow_and_shrink_between_choices(counts: list[int]) -> None:
    policy = LeastLoad()
    for count in counts:
        assert policy.choose([endpoint(n) for n in range(count)], UNKNOWN_NEED, now=0.0).endpoint.port < count


def test_an_endpoint_that_never_answered_is_taken_after_an_equal_one_that_did() -> None:
    candidates = [endpoint(0, health="unproven"), endpoint(1), endpoint(2, health="down")]
    assert {LeastLoad().choose(candidates, UNKNOWN_NEED, now=0.0).endpoint.id for _ in range(6)} == {"chat-1"}


def test_a_decision_tells_its_scores_to_who_asks_alone() -> None:
    candidates = [endpoint(0, in_flight=2), endpoint(1, waiting=3)]
    assert LeastLoad().choose(candidates, UNKNOWN_NEED, now=0.0).scores == ()
    decision = LeastLoad().choose(candidates, UNKNOWN_NEED, now=0.0, explains=True)
    assert decision.scores == (("chat-0", 2), ("chat-1", 3))
    assert (decision.endpoint.id, decision.policy) == ("chat-0", "least-load")
