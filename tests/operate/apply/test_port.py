"""How a kind is addressed."""

from __future__ import annotations

from penstock.operate.apply.port import Resource


def test_a_resource_is_called_as_rbac_calls_it() -> None:
    assert Resource(api_version="apps/v1", kind="D", plural="deployments", is_namespaced=True).qualified == (
        "deployments.apps"
    )
    assert Resource(api_version="v1", kind="Pod", plural="pods", is_namespaced=True).qualified == "pods"
