"""Only what we change is a change, and no secret is ever shown."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from operate.apply.made import deployment, live
from penstock.operate.apply.comparison import changed_fields, difference, is_changed, is_manager_of, substance


def test_what_the_server_keeps_by_itself_is_no_change() -> None:
    one, other = deployment(), deployment(readyReplicas=2)
    other["metadata"] |= {"resourceVersion": "9", "generation": 3}
    other["metadata"]["managedFields"][0]["time"] = "2026-01-02T00:00:00Z"

    assert not is_changed(one, other)
    assert changed_fields(one, other) == ()


def test_a_value_that_differs_is_told_by_its_path() -> None:
    one, other = deployment(), deployment()
    other["spec"] = {**other["spec"], "replicas": 3, "paused": True}
    other["metadata"]["labels"]["new.dev/x"] = "1"

    assert is_changed(one, other)
    assert changed_fields(one, other) == (".metadata.labels.new.dev/x", ".spec.paused", ".spec.replicas")


def test_a_field_that_becomes_ours_is_a_change_without_a_difference() -> None:
    one, other = deployment(), deployment()
    one["metadata"]["managedFields"] = []

    assert is_changed(one, other)
    assert difference(one, other) == ""


def test_a_difference_is_a_diff_of_yaml() -> None:
    one, other = deployment(), deployment()
    other["spec"] = {**other["spec"], "replicas": 3}

    lines = difference(one, other).splitlines()

    assert lines[:2] == ["--- live/Deployment/x", "+++ wanted/Deployment/x"]
    assert [line for line in lines[2:] if line[0] in "+-"] == ["-  replicas: 2", "+  replicas: 3"]


def test_what_is_made_and_what_goes_is_a_difference_from_nothing() -> None:
    obj = live("ConfigMap", data={"a": "b"})

    assert "+  a: b" in difference(None, obj)
    assert "-  a: b" in difference(obj, None)
    assert difference(obj, obj) == ""


@given(
    st.dictionaries(st.sampled_from("abc"), st.text("0123456789XYZ", min_size=4), min_size=1),
    st.dictionaries(st.sampled_from("abc"), st.text("0123456789XYZ", min_size=4)),
)
def test_no_value_of_a_secret_is_in_a_difference(old: dict[str, str], new: dict[str, str]) -> None:
    text = difference(live("Secret", data=old), live("Secret", data=new))

    values = text.replace("uid-x", "")
    for value in {*old.values(), *new.values()}:
        assert value not in values
    assert bool(text) == (old != new)


def test_a_key_of_the_file_is_hidden_wherever_it_stands() -> None:
    one = live("ConfigMap", data={"fleet.yaml": "keys: [{value: a-long-key}]"})

    text = difference(None, one, ["a-long-key", ""])

    assert "a-long-key" not in text
    assert "***" in text


def test_which_fields_are_ours_is_read_from_the_managed_fields() -> None:
    obj = deployment()

    assert is_manager_of(obj, "spec", "replicas")
    assert not is_manager_of(obj, "spec", "paused")
    assert not is_manager_of({"metadata": {}}, "spec")


@given(st.recursive(st.integers() | st.text(max_size=3), lambda inner: st.dictionaries(st.text("ab"), inner)))
def test_a_change_is_told_exactly_where_there_is_one(value: Any) -> None:
    one = live("ConfigMap", data={"v": value, "w": 1})
    other = deepcopy(one)

    assert changed_fields(one, other) == ()
    other["data"]["w"] = 2
    assert changed_fields(one, other) == (".data.w",)
    assert substance(one) != substance(other)
