"""The GPU table."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.facts.gpus import GPUS, find_gpu


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("H100", "H100"),
        ("h200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("nvidia-a100-sxm4-80gb", "A100-80GB"),
        ("A100", "A100-80GB"),
        ("a100_40gb", "A100-40GB"),
        ("Tesla T4", "T4"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_names_aliases_and_product_strings_find_their_row(asked: str, name: str) -> None:
    assert find_gpu(asked).name == name


def test_every_name_title_and_alias_finds_its_own_row() -> None:
    for gpu in GPUS:
        for name in (gpu.name, gpu.title, *gpu.aliases):
            assert find_gpu(name) is gpu


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        find_gpu("H20O")
    assert "'H20O'" in caught.value.message
    assert "H200" in str(caught.value.hint)


def test_name_like_no_other_lists_all() -> None:
    with pytest.raises(UsageError) as caught:
        find_gpu("???")
    assert all(gpu.name in str(caught.value.hint) for gpu in GPUS)


def test_rows_are_sorted_sourced_and_plausible() -> None:
    assert [g.memory_gib for g in GPUS] == sorted(g.memory_gib for g in GPUS)
    for gpu in GPUS:
        assert gpu.source
        assert gpu.fp8_flops is None or 1.9 <= gpu.fp8_flops / gpu.bf16_flops <= 2.1
        # FLOP per byte: every server GPU of these years balances between these
        assert 100 < gpu.bf16_flops / gpu.bandwidth_bytes_per_s < 500
