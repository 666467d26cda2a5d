"""Merging and comparing by field: laws."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.testing.merge import applied_fields, clone, compare, duplicate_keys, merge, remove_fields
from penstock.operate.testing.schemas import Shape

ITEM = {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}}
SHAPE = Shape(
    {
        "type": "object",
        "properties": {
            "items": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": ITEM,
            },
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "whole": {"type": "array", "items": {"type": "string"}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "atom": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {}},
        },
    },
    {},
)
names = st.sampled_from("abc")
items = st.lists(
    st.fixed_dictionaries({"name": names}, optional={"n": st.integers(0, 2)}), unique_by=lambda item: item["name"]
)
objects = st.fixed_dictionaries(
    {},
    optional={
        "items": items,
        "set": st.lists(names, unique=True),
        "whole": st.lists(names),
        "labels": st.dictionaries(names, names),
        "atom": st.dictionaries(names, names),
    },
)


@given(objects, objects)
def test_what_is_applied_is_in_the_result(live: dict, applied: dict) -> None:
    before = clone(live)
    merged = merge(live, applied, SHAPE)

    emptied = {("f:labels",)}  # an applied empty map is owned as a whole, but takes nothing away
    assert applied_fields(applied, SHAPE) - emptied <= applied_fields(merged, SHAPE)
    assert live == before
    again = merge(merged, applied, SHAPE)
    assert again == merged


@given(objects, objects)
def test_what_only_the_live_object_has_stays(live: dict, applied: dict) -> None:
    change = compare(live, merge(live, applied, SHAPE), SHAPE)

    assert not change.removed


@given(objects, objects)
def test_comparing_is_symmetric(one: dict, two: dict) -> None:
    there, back = compare(one, two, SHAPE), compare(two, one, SHAPE)

    assert there.added == back.removed
    assert there.modified == back.modified
    assert compare(one, one, SHAPE).is_same


@given(objects, objects)
def test_removing_what_was_added_leaves_nothing_added(one: dict, two: dict) -> None:
    added = compare(one, two, SHAPE).added

    assert not compare(one, remove_fields(two, SHAPE, added), SHAPE).added


def test_the_applied_order_holds_and_others_keep_their_place() -> None:
    live = {"items": [{"name": "a"}, {"name": "x"}, {"name": "b"}]}

    merged = merge(live, {"items": [{"name": "b"}, {"name": "a"}, {"name": "c"}]}, SHAPE)

    assert [item["name"] for item in merged["items"]] == ["b", "a", "x", "c"]


def test_items_that_stand_twice_are_found() -> None:
    assert list(duplicate_keys({"items": [{"name": "a"}, {"name": "a"}]}, SHAPE)) == [(".items", 'k:{"name":"a"}')]
