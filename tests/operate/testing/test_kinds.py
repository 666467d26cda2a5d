"""The built-in kinds."""

from __future__ import annotations

from penstock.operate.testing.kinds import BUILT_IN, REVIEWS


def test_kinds_are_named_as_the_api_names_them() -> None:
    found = {each.qualified: each for each in BUILT_IN}

    assert found["deployments.apps"].api_version == "apps/v1"
    assert found["pods"].api_version == "v1"
    assert found["endpoints"].kind_of_list == "EndpointsList"
    assert not found["nodes"].is_namespaced
    assert "scale" in found["deployments.apps"].subresources
    assert all(each.verbs == ("create",) for each in REVIEWS)
