"""What is served."""

from __future__ import annotations

from operate.testing.api import crd
from penstock.operate.testing.catalog import Catalog


def test_a_definition_adds_and_takes_away() -> None:
    catalog = Catalog()
    assert catalog.find("penstock.dev", "v1", "fleets") is None

    catalog.define(crd())
    found = catalog.of_kind("penstock.dev/v1", "Fleet")

    assert found is catalog.find("penstock.dev", "v1", "fleets") is catalog.of_group("penstock.dev", "fleets")
    assert found is not None
    assert found.short_names == ("fl",)
    assert catalog.shape(found).child("spec") is not None
    catalog.undefine("fleets.penstock.dev")
    assert catalog.of_kind("penstock.dev/v1", "Fleet") is None


def test_names_of_resources_are_unique_within_their_group() -> None:
    resources = Catalog().resources

    assert len({(each.group, each.plural) for each in resources}) == len(resources)
    short = [(name, each.group) for each in resources for name in each.short_names]
    assert len(short) == len(set(short))
