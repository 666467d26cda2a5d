"""The record of a model: there and back, and refused in words when it is damaged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.operate.storage import FileRecord, ModelRecord, parse_record

RECORD = ModelRecord(
    name="org--name",
    source="org/name",
    revision="0" * 40,
    requested="main",
    files=(
        FileRecord(path="config.json", size=3, sha256="a" * 64),
        FileRecord(path="model.safetensors", size=70, sha256="b" * 64, header_sha256="c" * 64),
    ),
    published_at="2026-01-02T03:04:05Z",
    verified_at="2026-01-02T03:04:05Z",
)


def test_a_record_comes_back_as_it_was() -> None:
    assert parse_record(RECORD.to_json(), "marker") == RECORD
    assert RECORD.size == 73
    assert RECORD.file("config.json") == RECORD.files[0]
    assert RECORD.file("nope") is None


names = st.text("abcdefghijklmnop-_.", min_size=1, max_size=20).map(lambda s: f"f{s}")


@given(st.dictionaries(names, st.integers(0, 2**60), max_size=8))
def test_any_files_come_back(sizes: dict[str, int]) -> None:
    files = tuple(FileRecord(path=p, size=s, sha256=f"{s:064x}") for p, s in sorted(sizes.items()) if p[-5:] != ".part")
    record = ModelRecord(
        name="n", source="s", revision="r", files=files, published_at="2026-01-01T00:00:00Z", verified_at="x"
    )

    assert parse_record(record.to_json().encode(), "marker") == record


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "format 2"),
        ({"files": None}, "cannot be read"),
        ({"files": [{"path": "../x", "size": 1, "sha256": "a" * 64}]}, "leads out"),
        ({"files": [{"path": "x", "size": -1, "sha256": "a" * 64}]}, "no size"),
        ({"files": [{"path": "x", "size": 1, "sha256": "A"}]}, "no sha256"),
        ({"files": [{"path": "x", "size": 1, "sha256": "a" * 64}] * 2}, "one twice"),
        ({"revision": ...}, "cannot be read"),
    ],
)
def test_a_damaged_record_is_refused(change: dict[str, Any], said: str) -> None:
    fields = {**json.loads(RECORD.to_json()), **change}
    text = json.dumps({k: v for k, v in fields.items() if v is not ...})

    with pytest.raises(UsageError, match=said):
        parse_record(text, "marker")


@given(st.binary(max_size=80))
def test_any_bytes_are_a_record_or_refused(raw: bytes) -> None:
    with pytest.raises(UsageError):
        parse_record(raw, "marker")
