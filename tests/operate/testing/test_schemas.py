"""Shapes of kinds, from the API's schemas and from the table of names."""

from __future__ import annotations

from operate.testing.api import needs_schemas
from penstock.operate.testing.kinds import BUILT_IN
from penstock.operate.testing.schemas import ANY, Shape, built_in_shape, definition_names


def at(shape: Shape | None, *path: str) -> Shape:
    for name in path:
        assert shape is not None
        shape = shape.item if name == "[]" else shape.child(name)
    assert shape is not None
    return shape


POD = ("spec", "template", "spec")


@needs_schemas
def test_the_table_of_names_agrees_with_the_schemas() -> None:
    """Without the package, apply still merges the lists of workloads as the real server does."""
    known, guessed = built_in_shape("apps", "v1", "Deployment"), Shape({}, {}, is_guess=True)
    for path in (
        (*POD, "containers"),
        (*POD, "volumes"),
        (*POD, "tolerations"),
        (*POD, "topologySpreadConstraints"),
        (*POD, "containers", "[]", "ports"),
        (*POD, "containers", "[]", "env"),
        (*POD, "containers", "[]", "args"),
        (*POD, "containers", "[]", "volumeMounts"),
        ("status", "conditions"),
        ("metadata", "finalizers"),
        ("metadata", "ownerReferences"),
    ):
        one, other = at(known, *path), at(guessed, *path)
        assert (one.list_type, one.list_keys) == (other.list_type, other.list_keys), path
    for path in (("spec", "selector"), ("spec",), (*POD, "containers", "[]", "env", "[]", "valueFrom")):
        assert at(known, *path).is_atomic_map == at(guessed, *path).is_atomic_map


@needs_schemas
def test_every_kind_that_is_stored_has_a_schema() -> None:
    missing = [each.kind for each in BUILT_IN if (each.group, each.version, each.kind) not in definition_names()]

    assert missing == []


def test_nothing_is_known_of_anything() -> None:
    assert ANY.child("x") is None
    assert ANY.list_type == "atomic"
    assert not ANY.is_known
