"""A safetensors header is right only when it describes exactly the bytes that follow it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.models import safetensors
from penstock.operate.storage.headers import read_header


def made(header: object, data: int) -> tuple[bytes, int]:
    raw = json.dumps(header).encode()
    first = len(raw).to_bytes(8, "little") + raw
    return first, len(first) + data


def tensor(start: int, end: int, *, dtype: str = "BF16", shape: Any = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - start) // 2] if shape is None else shape, "data_offsets": [start, end]}


def test_a_whole_file_has_no_trouble() -> None:
    content = safetensors({"a": 3, "b": 5})

    header = read_header(content, len(content))

    assert header.troubles == ()
    assert header.tensors == {"a": 6, "b": 10}
    assert header.total == 16


def test_a_scalar_and_an_empty_tensor_are_right() -> None:
    header = {"s": tensor(0, 2, shape=[]), "e": tensor(2, 2, shape=[0, 5]), "q": tensor(2, 3, dtype="F4", shape=[2])}

    assert read_header(*made(header, 3)).troubles == ()


def test_a_dtype_that_is_not_known_is_not_judged() -> None:
    assert read_header(*made({"a": tensor(0, 5, dtype="X9")}, 5)).troubles == ()


@pytest.mark.parametrize(
    ("header", "data", "said"),
    [
        ({"a": tensor(0, 4)}, 3, "cut short"),
        ({"a": tensor(0, 4)}, 9, "bytes that no tensor owns"),
        ({"a": tensor(2, 4)}, 4, "leaves a hole"),
        ({"a": tensor(0, 4), "b": tensor(2, 6)}, 6, "overlaps"),
        ({"a": tensor(0, 4, dtype="F32")}, 4, "F32 of its shape takes 8 bytes"),
        ({"a": {"dtype": "BF16"}}, 0, "cannot be read"),
        ({"a": tensor(0, 4, shape=[-2])}, 4, "no dtype, shape and place"),
        ({"__metadata__": {"n": 1}}, 0, "metadata is not text"),
        ([], 0, "not an object"),
    ],
)
def test_what_does_not_fit_is_told(header: object, data: int, said: str) -> None:
    assert said in " ".join(read_header(*made(header, data)).troubles)


@pytest.mark.parametrize("first", [b"", b"\x00" * 8, b"<!DOCTYPE html><html>", b"version https://git-lfs"])
def test_what_is_no_safetensors_file_is_told(first: bytes) -> None:
    assert "not a safetensors file" in " ".join(read_header(first, len(first)).troubles)


def test_a_header_longer_than_the_file_is_told() -> None:
    assert "cut short" in " ".join(read_header((500).to_bytes(8, "little") + b"{}", 10).troubles)


@given(st.integers(0, 400))
def test_a_file_of_another_length_is_always_found(size: int) -> None:
    content = safetensors({"a": 30, "b": 50})

    header = read_header(content[:size], size)

    assert bool(header.troubles) == (size != len(content))


@given(st.binary(max_size=64))
def test_any_bytes_are_read_without_an_exception(first: bytes) -> None:
    read_header(first, len(first))
