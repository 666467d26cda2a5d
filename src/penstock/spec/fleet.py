"""The fleet file: the whole of what a user writes. The file is also the Kubernetes custom resource."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.spec.base import FieldPath, Refusal, SpecObject, Words
from penstock.spec.demand import FleetHardwareSpec
from penstock.spec.gateway import GatewaySpec, TenantSpec
from penstock.spec.kubernetes import ClusterSpec, KubernetesSpec
from penstock.spec.model import ModelSpec
from penstock.spec.monitoring import MonitoringSpec
from penstock.spec.names import ModelNames, TenantNames, clashes, unknown_models
from penstock.spec.references import reference_findings
from penstock.spec.storage import StorageSpec

__all__ = ["API_VERSION", "Fleet", "FleetSpec", "Metadata"]

API_VERSION = "penstock.dev/v1alpha1"

FleetName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63),
    Words("at most 63 lower-case letters, digits and `-`, a letter or digit at both ends"),
]


class Metadata(SpecObject):
    """Kubernetes object metadata; `up` uses the name only."""

    name: FleetName
    """Name of the fleet."""
    namespace: str | None = None
    """Kubernetes namespace. Default: the current one."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Kubernetes labels."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Kubernetes annotations."""


class FleetSpec(SpecObject):
    """What the fleet is."""

    models: Annotated[list[ModelSpec], Field(min_length=1)]
    """Models to serve."""
    gateway: GatewaySpec = Field(default_factory=GatewaySpec)
    """The gateway in front of them."""
    hardware: FleetHardwareSpec = Field(default_factory=FleetHardwareSpec)
    """GPUs that the fleet may use, and what they cost."""
    storage: StorageSpec = Field(default_factory=StorageSpec)
    """Where models' files are kept in a cluster, for each model that says nothing else."""
    monitoring: MonitoringSpec | None = None
    """Monitors, alerts and dashboards in a cluster. Default: none are made."""
    kubernetes: KubernetesSpec = Field(default_factory=KubernetesSpec)
    """How the fleet runs in a cluster."""
    clusters: list[ClusterSpec] = Field(default_factory=list)
    """Clusters that the fleet runs in. Default: the current one."""

    @model_validator(mode="after")
    def _names_mean_one_thing(self) -> Self:
        models = [_model_names(model) for model in self.models]
        tenants = [_tenant_names(tenant) for tenant in self.gateway.tenants]
        findings = [*clashes(models, tenants), *unknown_models(models, tenants)]
        findings += reference_findings(self.models, self.gateway)
        if findings:
            raise Refusal(findings)
        return self


def _model_names(model: ModelSpec) -> ModelNames:
    aliases = [(("aliases", place), alias) for place, alias in enumerate(model.aliases)]
    adapters = [(("adapters", place, "name"), adapter.name) for place, adapter in enumerate(model.adapters)]
    return ModelNames(names=[(("name",), model.name), *aliases, *adapters])


def _tenant_names(tenant: TenantSpec) -> TenantNames:
    keys = [
        (("keys", place, "value"), key.value.get_secret_value())
        for place, key in enumerate(tenant.keys)
        if key.value is not None
    ]
    models: list[tuple[FieldPath, str]] = [(("models", place), name) for place, name in enumerate(tenant.models or ())]
    for place, key in enumerate(tenant.keys):
        models += [(("keys", place, "models", index), name) for index, name in enumerate(key.models or ())]
    return TenantNames(name=tenant.name, models=models, keys=keys)


class Fleet(SpecObject):
    """A fleet file."""

    api_version: Literal["penstock.dev/v1alpha1"]
    """Version of this file's format."""
    kind: Literal["Fleet"]
    """Always `Fleet`."""
    metadata: Metadata
    """Name and labels."""
    spec: FleetSpec
    """What the fleet is."""
