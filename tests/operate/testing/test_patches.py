"""The three patches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.testing.patches import OPERATIONS_MAX, json_patch, merge_patch, strategic_patch
from penstock.operate.testing.schemas import Shape
from penstock.operate.testing.status import Refusal

values = st.recursive(st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("ab"), inner, max_size=2))


@given(values, values)
def test_a_merge_patch_is_idempotent(value: object, patch: object) -> None:
    once = merge_patch(value, patch)

    assert merge_patch(once, patch) == once


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_do_as_rfc_7386_says(value: object, patch: object, result: object) -> None:
    """Cases of the appendix of the RFC."""
    assert merge_patch(value, patch) == result


def test_json_patches_do_as_rfc_6902_says() -> None:
    value = {"a": {"b": 1}, "l": [1, 3], "x/y~z": 0}
    operations = [
        {"op": "add", "path": "/l/1", "value": 2},
        {"op": "add", "path": "/l/-", "value": 4},
        {"op": "copy", "from": "/a/b", "path": "/c"},
        {"op": "move", "from": "/a/b", "path": "/d"},
        {"op": "replace", "path": "/x~1y~0z", "value": 9},
        {"op": "remove", "path": "/l/0"},
    ]

    assert json_patch(value, operations) == {"a": {}, "l": [2, 3, 4], "c": 1, "d": 1, "x/y~z": 9}
    assert value["l"] == [1, 3]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/none"},
        {"op": "replace", "path": "/none/deep", "value": 1},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "add", "path": "/l/9", "value": 1},
        {"op": "dance", "path": "/a"},
    ],
)
def test_an_operation_that_does_not_fit_is_refused(operation: dict) -> None:
    with pytest.raises(Refusal) as refused:
        json_patch({"a": 1, "l": []}, [operation])

    assert refused.value.code == 422


def test_a_patch_has_a_limit() -> None:
    with pytest.raises(Refusal, match="maximum operations"):
        json_patch({}, [{"op": "test", "path": "", "value": {}}] * (OPERATIONS_MAX + 1))
    with pytest.raises(Refusal):
        json_patch({}, {"a": 1})


NAMED = {"x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name", "items": {}}
SHAPE = Shape(
    {"properties": {"named": NAMED, "set": {"x-kubernetes-patch-strategy": "merge"}, "plain": {"type": "array"}}}, {}
)


def test_a_strategic_patch_knows_its_directives() -> None:
    value = {"named": [{"name": "a", "v": 1}, {"name": "b"}], "set": ["x"], "plain": [1]}

    def patched(**patch: object) -> object:
        return strategic_patch(value, patch, SHAPE)

    assert patched(named=[{"name": "a", "w": 2}])["named"] == [{"name": "a", "v": 1, "w": 2}, {"name": "b"}]
    assert patched(named=[{"name": "a", "$patch": "delete"}])["named"] == [{"name": "b"}]
    assert patched(named=[{"$patch": "replace"}, {"name": "c"}])["named"] == [{"name": "c"}]
    assert patched(set=["y"])["set"] == ["x", "y"]
    assert patched(**{"$deleteFromPrimitiveList/set": ["x"]})["set"] == []
    assert patched(**{"$setElementOrder/named": [{"name": "b"}, {"name": "a"}]})["named"][0] == {"name": "b"}
    assert patched(plain=[2])["plain"] == [2]
    assert patched(**{"$retainKeys": ["set"], "set": ["x"]}) == {"set": ["x"]}
    assert patched(**{"$patch": "replace", "new": 1}) == {"new": 1}
    with pytest.raises(Refusal, match="merge key"):
        patched(named=[{"v": 1}])
