from __future__ import annotations

from random import Random

import pytest

from penstock.errors import UsageError
from penstock.serve.routing import UNKNOWN_NEED, CostPolicy, EndpointAddress, EndpointTable
from penstock.simulate.fleet.policies import DEFAULT_POLICY, POLICIES, RandomChoice, make_policy


def _table(count: int) -> EndpointTable:
    table = EndpointTable()
    table.set_pool("chat", [EndpointAddress(id=f"chat-{n}", host="a", port=n + 1) for n in range(count)])
    return table


def test_the_default_is_the_gateways_own() -> None:
    assert isinstance(make_policy(DEFAULT_POLICY, Random(0)), CostPolicy)
    assert [make_policy(name, Random(0)).name for name in POLICIES] == list(POLICIES)


def test_random_takes_all_alike_and_the_same_for_a_seed() -> None:
    endpoints = _table(4).all()

    chosen = [
        [RandomChoice(r).choose(endpoints, UNKNOWN_NEED, now=0.0).endpoint.id for _ in range(400)]
        for r in (Random(1), Random(1))
    ]

    assert chosen[0] == chosen[1]
    assert all(70 < chosen[0].count(e.id) < 130 for e in endpoints)


def test_an_unknown_policy_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no routing policy 'leastload'") as caught:
        make_policy("leastload", Random(0))
    assert "did you mean least-load" in str(caught.value)
