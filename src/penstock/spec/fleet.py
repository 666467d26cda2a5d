"""The fleet file: the whole of what a user writes. The file is also the Kubernetes custom resource."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.spec.base import SpecObject
from penstock.spec.gateway import GatewaySpec
from penstock.spec.model import ModelSpec

__all__ = ["API_VERSION", "Fleet", "FleetSpec", "Metadata"]

API_VERSION = "penstock.dev/v1alpha1"


class Metadata(SpecObject):
    """Kubernetes object metadata; `up` uses the name only."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
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

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        owner: dict[str, str] = {}
        for model in self.models:
            for name in model.names:
                if name in owner:
                    raise ValueError(f"two models answer to the name {name!r}: {owner[name]!r} and {model.name!r}")
                owner[name] = model.name
        tenants: set[str] = set()
        for tenant in self.gateway.tenants:
            if tenant.name in tenants:
                raise ValueError(f"two tenants are named {tenant.name!r}")
            tenants.add(tenant.name)
            for allowed in tenant.models or ():
                if allowed not in owner:
                    raise ValueError(f"tenant {tenant.name!r} may call {allowed!r}, which no model answers to")
        return self


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
