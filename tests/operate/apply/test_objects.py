"""What an object is called, and whether it is ours."""

from __future__ import annotations

from operate.apply.made import live
from penstock.operate.apply.objects import Ref, at, conditions, is_owned, ref_of


def test_an_object_is_called_by_kind_namespace_and_name() -> None:
    ref = ref_of(live("Deployment", "chat", api_version="apps/v1"))

    assert ref == Ref(api_version="apps/v1", kind="Deployment", name="chat", namespace="llm")
    assert (str(ref), ref.short, ref.group) == ("Deployment llm/chat", "Deployment chat", "apps")
    assert str(ref_of(live("Node", "n1", namespace=None))) == "Node n1"
    assert ref_of(live("Node", "n1", namespace=None)).group == ""


def test_a_path_that_is_not_there_gives_the_default() -> None:
    obj = {"a": [{"b": 1}], "c": None}

    assert at(obj, "a", 0, "b") == 1
    assert at(obj, "a", 1, "b", default=7) == 7
    assert at(obj, "a", "b", default=7) == 7
    assert at(obj, "c", default=7) == 7
    assert at(None, "a") is None


def test_ours_is_what_we_applied_and_no_controller_owns() -> None:
    ours = live("ConfigMap")
    theirs = live("ConfigMap", metadata={"managedFields": [{"manager": "kubectl", "operation": "Apply"}]})
    updated = live("ConfigMap", metadata={"managedFields": [{"manager": "penstock", "operation": "Update"}]})
    child = live("EndpointSlice", metadata={"ownerReferences": [{"controller": True, "name": "chat"}]})

    assert [is_owned(obj) for obj in (ours, theirs, updated, child)] == [True, False, False, False]


def test_conditions_are_found_by_type() -> None:
    obj = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}

    assert conditions(obj)["Ready"]["status"] == "True"
    assert conditions({}) == {}
