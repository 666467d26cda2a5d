"""What gateways tell each other of tenants' shares: one share over all, nothing lost, nothing trusted."""

from __future__ import annotations

from collections import Counter
from math import inf, nan

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.flow import Flow
from penstock.serve.flow.balance import MEMBERS_MAX, ROUND_S, TENANTS_MAX, WORD_MAX, Balance
from penstock.serve.flow.queue import CREDIT_S
from serve.flow.busy import BUSY_S, STEP_S, WORK, Gateway, behind
from serve.flow.flows import MODEL, flow


def run(gateways: list[Gateway], seconds: float, *, tells: bool) -> Counter[str]:
    """What tenants got of all together in the second half."""
    before: dict[str, bytes] = {}
    half = Counter[str]()
    steps = round(seconds / STEP_S)
    per_round = round(ROUND_S / STEP_S)
    for step in range(steps):
        now = step * STEP_S
        if tells and step % per_round == 0:
            number, words = step // per_round, {}
            for place, gateway in enumerate(gateways):
                gateway.balance.heed(number - 1, before, str(place), now)
                words[str(place)] = gateway.balance.word(now)
            before = words
        for gateway in gateways:
            gateway.step(now)
        if step == steps // 2:
            half = sum((gateway.got for gateway in gateways), Counter[str]())
    return sum((gateway.got for gateway in gateways), Counter[str]()) - half


def test_a_tenant_of_one_gateway_gets_its_share_of_all() -> None:
    """Given three equal tenants on two gateways, and "c" on one of them only: each gets a third of all the work."""
    got = run([Gateway("a", "b"), Gateway("a", "b", "c")], 40.0, tells=True)
    whole = sum(got.values())
    assert {tenant: work / whole for tenant, work in got.items()} == pytest.approx(
        {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, rel=0.05
    )


def test_without_words_each_gateway_is_fair_with_its_own_part() -> None:
    got = run([Gateway("a", "b"), Gateway("a", "b", "c")], 40.0, tells=False)
    assert got["c"] / sum(got.values()) == pytest.approx(1 / 6, rel=0.05)


def test_nobody_starves_where_another_is_owed_more_than_one_gateway_has() -> None:
    """ "a" has a third of all the weight, but comes to one gateway of four only: the others go there too."""
    gateways = [Gateway("a", "b", "c"), *(Gateway("b", "c") for _ in range(3))]
    run(gateways, 40.0, tells=True)
    assert max(gateways[0].waited_longest.values()) < 2.0
    assert gateways[0].got["a"] > gateways[0].got["b"] > 0
    assert gateways[0].got["c"] > 0


@given(ahead=st.lists(st.dictionaries(st.sampled_from("ab"), st.integers(-20, 20), max_size=2), min_size=2, max_size=4))
def test_what_one_takes_back_the_others_give(ahead: list[dict[str, int]]) -> None:
    gateways = [behind("a", "b", ahead=turns) for turns in ahead]
    before = [gateway.lags() for gateway in gateways]
    words = {str(place): gateway.balance.word(BUSY_S) for place, gateway in enumerate(gateways)}
    for place, gateway in enumerate(gateways):
        gateway.balance.heed(1, words, str(place), BUSY_S)
    after = [gateway.lags() for gateway in gateways]
    for tenant in "ab":
        mean = sum(lags[tenant] for lags in before) / len(before)
        assert [lags[tenant] for lags in after] == pytest.approx([mean] * len(after), abs=1e-6)


def test_a_round_is_heeded_once() -> None:
    gateways = [behind("a", "b", ahead={"a": 20}), behind("a", "b", ahead={})]
    words = {str(place): gateway.balance.word(BUSY_S) for place, gateway in enumerate(gateways)}
    for _ in range(3):
        gateways[0].balance.heed(7, words, "0", BUSY_S)
    once = gateways[0].lags()
    gateways[0].balance.heed(8, words, "0", BUSY_S)
    assert once != gateways[0].lags()


def test_who_said_nothing_in_a_round_is_left_out_of_it() -> None:
    one, other = behind("a", "b", ahead={"a": 20}), behind("a", "b", ahead={})
    before = one.lags()
    one.balance.heed(1, {"other": other.balance.word(BUSY_S)}, "one", BUSY_S)
    assert one.lags() == before


def test_a_gateway_where_nobody_waits_says_nothing() -> None:
    assert Balance(flow()).word(1.0) == b""


def _word(lags: dict[str, float], model: str = MODEL) -> bytes:
    return msgspec.msgpack.encode([(model, "interactive", lags, {})])


@pytest.mark.parametrize(
    "word",
    [
        b"",
        b"\xff\xff",
        _word({"a": nan}),
        _word({"a": inf}),
        _word({str(n): 1.0 for n in range(TENANTS_MAX + 1)}),
        _word({"a" * WORD_MAX: 1e6}),
        msgspec.msgpack.encode([(MODEL, "interactive", {"a": "much"}, {})]),
        msgspec.msgpack.encode({"a": 1}),
        _word({"a": 1e6}, "another"),
    ],
    ids=["empty", "noise", "nan", "inf", "too-many", "too-long", "text", "not-a-list", "another-model"],
)
def test_what_is_not_a_word_changes_nothing(word: bytes) -> None:
    one = behind("a", "b", ahead={})
    before = one.lags()
    one.balance.heed(1, {"one": one.balance.word(BUSY_S), "other": word}, "one", BUSY_S)
    assert one.lags() == before


@given(word=st.binary(max_size=200))
def test_nothing_that_is_said_is_raised(word: bytes) -> None:
    one = behind("a", ahead={})
    one.balance.heed(1, {"one": one.balance.word(BUSY_S), "other": word}, "one", BUSY_S)


@given(lag=st.floats(allow_nan=False, allow_infinity=False))
def test_a_round_moves_a_tenant_by_some_seconds_of_its_share_at_most(lag: float) -> None:
    one = behind("a", "b", ahead={})
    before = one.lags()["a"]
    one.balance.heed(1, {"one": one.balance.word(BUSY_S), "other": _word({"a": lag})}, "one", BUSY_S)
    all_that_was_served = CREDIT_S / STEP_S * WORK
    assert abs(one.lags()["a"] - before) <= all_that_was_served


def test_a_word_is_bounded_by_those_that_are_farthest() -> None:
    names = [f"{n:03}" + "x" * 40 for n in range(3 * TENANTS_MAX)]
    made = behind(*names, ahead=dict.fromkeys(names[-TENANTS_MAX:], 50))
    word = made.balance.word(BUSY_S)
    assert len(word) <= WORD_MAX
    ((_, _, told, _),) = msgspec.msgpack.decode(word)
    assert sorted(told) == names[-TENANTS_MAX:]


def test_as_many_members_are_heeded_as_is_written_down() -> None:
    one = behind("a", "b", ahead={})
    own = one.balance.word(BUSY_S)
    words = {f"{n:04}": _word({"a": 50.0 * WORK}) for n in range(10 * MEMBERS_MAX)}
    one.balance.heed(1, {"me": own} | words, "me", BUSY_S)
    assert 0 < one.lags()["a"] <= 51 * WORK


def test_a_tenant_that_is_ahead_elsewhere_comes_behind_others_here_and_is_forgotten_in_time() -> None:
    one = behind("b", ahead={})
    said = msgspec.msgpack.encode([(MODEL, "interactive", {"b": 0.0}, {"a": 20.0 * WORK})])
    one.balance.heed(1, {"one": one.balance.word(BUSY_S), "other": said}, "one", BUSY_S)
    assert one.lags()["a"] == pytest.approx(10 * WORK)
    assert _tenants(one.flow) == 2
    for step in range(200):
        one.step(BUSY_S + step * STEP_S)
    assert _tenants(one.flow) == 1


def _tenants(gate: Flow) -> int:
    return sum(state.tenants for state in gate.snapshot())


def test_a_tenant_that_waits_elsewhere_is_kept_in_mind_until_it_does_not() -> None:
    one = behind("b", ahead={})
    one.balance.heed(1, {"one": one.balance.word(BUSY_S), "other": _word({"a": 0.0, "b": 0.0})}, "one", BUSY_S)
    for step in range(100):
        one.step(BUSY_S + step * STEP_S)
    assert one.lags()["a"] < 0
    one.balance.heed(2, {"one": one.balance.word(BUSY_S), "other": _word({"b": 0.0})}, "one", BUSY_S)
    assert _tenants(one.flow) == 1


def test_tenants_that_are_as_far_ahead_elsewhere_are_told_apart() -> None:
    one = behind("b", ahead={})
    said = msgspec.msgpack.encode([(MODEL, "interactive", {"b": 0.0}, dict.fromkeys("cdef", 20.0 * WORK))])
    one.balance.heed(1, {"one": one.balance.word(BUSY_S), "other": said}, "one", BUSY_S)
    assert _tenants(one.flow) == 5
