"""Shards and their index: complete, and true about each other, both ways."""

from __future__ import annotations

import json

from penstock.operate.storage.headers import Header
from penstock.operate.storage.shards import index_findings, shard_findings

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
HEADERS = {ONE: Header(tensors={"a": 4}), TWO: Header(tensors={"b": 6})}


def index(places: object, total: int = 10) -> dict[str, str | None]:
    return {INDEX: json.dumps({"metadata": {"total_size": total}, "weight_map": places})}


def found(texts: dict[str, str | None], headers: dict[str, Header] = HEADERS) -> list[tuple[bool, str, str]]:
    paths = sorted({*headers, *texts})
    return [(e, f, m) for e, f, _, m in (*shard_findings(paths, headers), *index_findings(texts, paths, headers))]


def test_a_whole_set_has_no_findings() -> None:
    assert found(index({"a": ONE, "b": TWO})) == []


def test_a_missing_shard_is_named() -> None:
    said = found(index({"a": ONE, "b": TWO}), {ONE: HEADERS[ONE]})

    assert {f for _, f, _ in said} == {TWO}
    assert any("the other shards say that there are 2" in m for _, _, m in said)
    assert any("has 1 tensors in it" in m for _, _, m in said)


def test_shards_without_an_index_cannot_be_placed() -> None:
    assert [(f, m.split(":")[0]) for _, f, m in found({})] == [(INDEX, "is missing")]


def test_a_tensor_that_the_index_places_elsewhere_is_told_for_both_shards() -> None:
    said = found(index({"a": TWO, "b": ONE}))

    assert any(f == ONE and "lacks tensor 'b'" in m for _, f, m in said)
    assert any(f == ONE and "holds tensor 'a'" in m for _, f, m in said)
    assert any(f == TWO and "lacks tensor 'a'" in m for _, f, m in said)


def test_a_tensor_that_the_index_does_not_know_is_told() -> None:
    headers = {**HEADERS, TWO: Header(tensors={"b": 6, "c": 2, "d": 2})}

    assert [m for _, _, m in found(index({"a": ONE, "b": TWO}, 14), headers)] == [
        f"holds tensor 'c' and 1 more, which {INDEX} does not place in it"
    ]


def test_a_total_that_is_not_the_sum_is_a_warning() -> None:
    said = found(index({"a": ONE, "b": TWO}, 11))

    assert [(e, f) for e, f, _ in said] == [(False, INDEX)]
    assert "11" in said[0][2]
    assert "10" in said[0][2]


def test_an_index_that_is_none_is_told() -> None:
    for text in (None, "<html>", "[]", '{"weight_map": {"a": 1}}', "{}"):
        assert [f for _, f, m in found({INDEX: text}) if "cannot be read as an index" in m] == [INDEX]


def test_an_index_of_a_subfolder_speaks_of_its_own_folder() -> None:
    headers = {"unet/model.safetensors": Header(tensors={"a": 4})}
    texts = {"unet/model.safetensors.index.json": json.dumps({"weight_map": {"a": "model.safetensors"}})}

    assert found(texts, headers) == []


def test_one_tensor_in_two_files_without_an_index_is_told() -> None:
    headers = {"x.safetensors": Header(tensors={"a": 4}), "y.safetensors": Header(tensors={"a": 4})}

    assert [(f, m) for _, f, m in found({}, headers)] == [
        ("y.safetensors", "holds tensor 'a', which x.safetensors holds too")
    ]


def test_one_tensor_name_in_two_folders_is_two_tensors() -> None:
    headers = {"x/m.safetensors": Header(tensors={"a": 4}), "y/m.safetensors": Header(tensors={"a": 4})}

    assert found({}, headers) == []
