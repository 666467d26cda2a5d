"""The whole fleet: rules that span models and tenants hold however a fleet is made."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from penstock.spec import FleetSpec, GatewaySpec, ModelSpec, TenantSpec
from penstock.spec.gateway import KeySpec, ValueSource


def tenant(name: str, *models: str) -> TenantSpec:
    return TenantSpec(name=name, keys=[KeySpec(value_from=ValueSource(env="A"))], models=list(models) or None)


def test_a_fleet_needs_a_model() -> None:
    with pytest.raises(ValidationError, match="models"):
        FleetSpec(models=[])


def test_two_models_cannot_answer_to_one_name() -> None:
    with pytest.raises(ValidationError, match="'a' already names"):
        FleetSpec(models=[ModelSpec(name="a"), ModelSpec(name="b", aliases=["a"])])


def test_a_tenant_may_call_models_by_name_or_alias() -> None:
    spec = FleetSpec(
        models=[ModelSpec(name="a", aliases=["b"]), ModelSpec(name="c")],
        gateway=GatewaySpec(tenants=[tenant("x", "b", "c"), tenant("y")]),
    )

    assert [t.models for t in spec.gateway.tenants] == [["b", "c"], None]


def test_a_tenant_cannot_be_given_a_model_that_is_not_there() -> None:
    with pytest.raises(ValidationError, match="no model answers to 'z'"):
        FleetSpec(models=[ModelSpec(name="a")], gateway=GatewaySpec(tenants=[tenant("x", "z")]))


@pytest.mark.parametrize("name", ["Quick", "a_b", "-a", "a-", "", "a" * 64])
def test_a_fleets_name_is_a_kubernetes_name(name: str) -> None:
    from penstock.spec import Metadata

    with pytest.raises(ValidationError):
        Metadata(name=name)
