"""A rollout never waits for GPUs that only it could free."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.plan.manifests.rolling import Rolling, rolling_of
from plan.manifests.engines import site_from


def rolling(spare: int, count: int = 1, replicas: int = 2, kind: str = "auto") -> Rolling:
    site = site_from(
        f"{{name: m, source: Qwen/Qwen3-8B, replicas: {replicas}, engine: {{type: {kind}}}, "
        f"hardware: {{gpu: H100, count: {count}}}}}",
        more=f"hardware: {{classes: [{{gpu: H100, spareGpus: {spare}}}]}}",
    )
    return rolling_of(site, site.needs["m"])


def test_with_free_gpus_the_new_one_comes_first() -> None:
    found = rolling(spare=2, count=2, replicas=1)
    assert (found.surge, found.unavailable, found.has_gap) == (1, 0, False)


def test_without_them_an_old_one_goes_first_and_the_reason_is_told() -> None:
    found = rolling(spare=1, count=2)
    assert (found.surge, found.unavailable, found.has_gap) == (0, 1, False)
    assert "2 GPUs and one is spare" in found.reason


def test_the_gap_of_an_only_replica_is_told() -> None:
    found = rolling(spare=0, replicas=1)
    assert found.has_gap
    assert "nobody serves meanwhile" in found.reason


def test_simulated_engines_need_no_gpus_to_be_free() -> None:
    found = rolling(spare=0, replicas=1, kind="simulated")
    assert (found.surge, found.unavailable, found.has_gap) == (1, 0, False)


@given(spare=st.integers(0, 8), count=st.sampled_from([1, 2, 4, 8]), replicas=st.integers(1, 4))
def test_a_surge_never_needs_more_gpus_than_are_free(spare: int, count: int, replicas: int) -> None:
    found = rolling(spare, count, replicas)
    assert found.surge * count <= spare
    assert found.surge + found.unavailable == 1
