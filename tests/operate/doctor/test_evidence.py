"""Nodes and resources: stepping never fails, and everything knows its place."""

from __future__ import annotations

from penstock.operate.doctor import Evidence, joined, resource_of
from penstock.operate.doctor.evidence import Resource
from penstock.operate.doctor.reading import evidence_of_text

TEXT = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  namespace: b\nspec:\n  x: ['1', two]\n  on: true\n"


def resource() -> Resource:
    (found,) = evidence_of_text(TEXT, "f.yaml").resources
    return found


def test_a_step_to_nothing_is_a_node_without_a_value() -> None:
    node = resource().root.at("spec", "no", 3, "more")

    assert not node
    assert (node.text, node.number, dict(node.mapping), list(node), list(node.fields())) == ("", None, {}, [], [])


def test_a_node_knows_value_and_place() -> None:
    node = resource().root.at("spec", "x", 0)

    assert (node.text, node.number) == ("1", 1.0)
    assert (node.where.line, node.where.column, node.where.object) == (7, 7, "b/Pod/a")
    assert resource().root["spec"]["on"].shown == "on: true"


def test_walking_goes_in_the_order_of_the_file() -> None:
    paths = [".".join(map(str, n.path)) for n in resource().root["spec"].walk()]

    assert paths == ["spec", "spec.x", "spec.x.0", "spec.x.1", "spec.on"]


def test_a_live_object_is_named_instead_of_placed() -> None:
    live = resource_of({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"x": 1}})

    where = live.root.at("spec", "x").where

    assert (where.file, where.line, where.object) == ("", 0, "Pod/a spec.x")
    assert live.root.at("spec", "x").removed() == ()
    assert live.root.at("spec", "x").replaced("2") == ()


def test_evidence_is_joined_in_order() -> None:
    parts = [evidence_of_text(TEXT, name) for name in ("b.yaml", "a.yaml")]

    whole = joined(parts)

    assert [r.file for r in whole.resources] == ["b.yaml", "a.yaml"]
    assert whole.files == 2
    assert joined([]) == Evidence()


def test_a_resource_knows_the_names_of_all_its_fields() -> None:
    found = resource_of({"kind": "X", "spec": {"a": [{"b": 1}, [{"c": None}]], "kind": "y"}})

    assert found.keys == {"kind", "spec", "a", "b", "c"}
