"""Responses in memory: each tenant's own, within bounds, the oldest first out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.serve.kept import KeptResponses
from penstock.serve.stored import Stored


def made(number: int, tenant: str = "acme", *, size: int = 10, expires: int = 100) -> Stored:
    return Stored(id=f"resp_{number}", tenant=tenant, expires=expires, body=b"x" * size, items=b"")


def test_a_tenant_finds_its_own_and_nobody_elses() -> None:
    kept = KeptResponses()
    kept.put(made(1), 0.0)
    assert kept.get("acme", "resp_1", 0.0) == made(1)
    assert kept.get("beta", "resp_1", 0.0) is None


def test_two_tenants_may_have_the_same_id() -> None:
    kept = KeptResponses()
    kept.put(made(1, "acme", size=1), 0.0)
    kept.put(made(1, "beta", size=2), 0.0)
    assert (kept.take("acme", "resp_1"), kept.get("beta", "resp_1", 0.0)) == (made(1, size=1), made(1, "beta", size=2))


def test_one_that_is_too_old_is_gone() -> None:
    kept = KeptResponses()
    kept.put(made(1, expires=5), 0.0)
    assert kept.get("acme", "resp_1", 5.0) is None
    kept.expire(5.0)
    assert (len(kept), kept.bytes) == (0, 0)


def test_a_tenant_that_stores_much_pushes_out_its_own() -> None:
    kept = KeptResponses(bytes_max=100, tenant_bytes_max=30)
    kept.put(made(0, "beta"), 0.0)
    for number in range(1, 6):
        kept.put(made(number), 0.0)
    assert kept.get("beta", "resp_0", 0.0) is not None
    assert [s.id for s in kept.oldest(9)] == ["resp_0", "resp_3", "resp_4", "resp_5"]
    assert kept.dropped_total == 2


def test_one_that_can_never_fit_is_not_taken() -> None:
    kept = KeptResponses(bytes_max=100, tenant_bytes_max=30)
    kept.put(made(1), 0.0)
    kept.put(made(2, size=31), 0.0)
    assert [s.id for s in kept.oldest(9)] == ["resp_1"]


class Bounds(RuleBasedStateMachine):
    """Whatever is put and taken: the sums are right and the bounds hold."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = KeptResponses(bytes_max=60, tenant_bytes_max=25)
        self.now = 0.0

    @rule(number=st.integers(0, 8), tenant=st.sampled_from("abc"), size=st.integers(0, 30))
    def put(self, number: int, tenant: str, size: int) -> None:
        self.kept.put(made(number, tenant, size=size, expires=int(self.now) + 10), self.now)

    @rule(number=st.integers(0, 8), tenant=st.sampled_from("abc"))
    def take(self, number: int, tenant: str) -> None:
        before = self.kept.get(tenant, f"resp_{number}", -1.0)
        assert self.kept.take(tenant, f"resp_{number}") == before

    @rule(seconds=st.integers(0, 6))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.kept.expire(self.now)

    @invariant()
    def bounds_hold(self) -> None:
        all_of_them = self.kept.oldest(1000)
        assert len(all_of_them) == len(self.kept)
        assert self.kept.bytes == sum(s.size for s in all_of_them) <= 60
        for tenant in "abc":
            assert sum(s.size for s in all_of_them if s.tenant == tenant) <= 25


TestBounds = Bounds.TestCase


@given(st.integers(0, 20))
def test_the_oldest_come_in_the_order_in_which_they_were_put(count: int) -> None:
    kept = KeptResponses()
    for number in range(10):
        kept.put(made(number), 0.0)
    assert [s.id for s in kept.oldest(count)] == [f"resp_{n}" for n in range(min(count, 10))]
