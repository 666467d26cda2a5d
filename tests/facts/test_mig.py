"""Slices of a GPU."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.facts import GPUS, find_gpu, mig_profiles, mig_slice


@pytest.mark.parametrize(
    ("gpu", "names"),
    [
        ("A100-40GB", ["1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"]),
        ("H100", ["1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"]),
        ("H200", ["1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"]),
        ("L4", []),
    ],
)
def test_profiles_are_those_of_the_guide(gpu: str, names: list[str]) -> None:
    assert [p.name for p in mig_profiles(find_gpu(gpu))] == names


def test_no_profile_asks_for_more_than_the_gpu_has() -> None:
    for gpu in GPUS:
        for profile in mig_profiles(gpu):
            assert profile.count_max * profile.compute_slices <= 7
            assert profile.count_max * profile.memory_slices <= 8
            part = mig_slice(gpu.name, profile.name)
            assert part.memory_bytes <= gpu.memory_bytes
            assert part.bf16_flops <= gpu.bf16_flops


def test_slice_has_its_share() -> None:
    part, whole = mig_slice("H100", "3g.40gb"), find_gpu("H100")
    assert part.memory_gib == pytest.approx(39.50 - 0.14, abs=0.1)  # of 79.25, where torch sees 79.11
    assert part.slice_of == whole.name
    assert part.bandwidth_tb_per_s == whole.bandwidth_tb_per_s / 2
    assert part.bf16_tflops == pytest.approx(whole.bf16_tflops * 3 / 7)
    assert part.name == "H100-3g.40gb"
    assert mig_slice("A100-40GB", "1g.5gb").fp8_tflops is None


@pytest.mark.parametrize(("gpu", "hint"), [("H100", "1g.10gb"), ("L4", "no multi-instance mode")])
def test_unknown_profile_is_refused_with_the_known_ones(gpu: str, hint: str) -> None:
    with pytest.raises(UsageError, match=r"has no MIG profile '9g\.1gb'") as caught:
        mig_slice(gpu, "9g.1gb")
    assert hint in str(caught.value.hint)
