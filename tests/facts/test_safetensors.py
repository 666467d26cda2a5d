"""Weight bytes from headers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.facts.safetensors import header_length, index_bytes, tensor_bytes

SIZES = st.lists(st.tuples(st.sampled_from(["BF16", "F8_E4M3", "F32"]), st.integers(0, 10**9)), max_size=20)


def _header(sizes: list[tuple[str, int]]) -> bytes:
    start, listed = 0, {"__metadata__": {"format": "pt"}}
    for number, (dtype, size) in enumerate(sizes):
        listed[f"t{number}"] = {"dtype": dtype, "shape": [size], "data_offsets": [start, start + size]}
        start += size
    return json.dumps(listed).encode()


@given(one=SIZES, two=SIZES)
def test_bytes_are_the_sum_of_all_tensors_whatever_the_file(
    one: list[tuple[str, int]], two: list[tuple[str, int]]
) -> None:
    both = tensor_bytes(_header(one)) + tensor_bytes(_header(two))
    whole = tensor_bytes(_header(one + two))
    assert both == whole
    assert both.total == sum(size for _, size in one + two) == sum(both.by_dtype.values())


def test_header_length_is_the_first_eight_bytes() -> None:
    header = _header([("BF16", 8)])
    assert header_length(len(header).to_bytes(8, "little") + header) == len(header)


@pytest.mark.parametrize("first", [b"", b"<!DOCTYPE html>", (1).to_bytes(8, "little")])
def test_what_is_no_safetensors_file_is_refused(first: bytes) -> None:
    with pytest.raises(UsageError, match="not a safetensors file"):
        header_length(first)


@pytest.mark.parametrize(
    "header", [b"{", b"[]", b'{"a": {"dtype": "BF16"}}', b'{"a": {"dtype": "F8", "data_offsets": [1]}}']
)
def test_damaged_header_is_refused(header: bytes) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        tensor_bytes(header)


def test_index_states_its_total_or_nothing() -> None:
    assert index_bytes({"metadata": {"total_size": 16_060_522_496}}) == 16_060_522_496
    assert index_bytes({"weight_map": {}}) is None
