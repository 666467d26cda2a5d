"""What the user writes: the fleet file as types, its loader, and its JSON Schema. Pure: text in, objects out."""

from penstock.spec.demand import DemandSpec, FleetHardwareSpec
from penstock.spec.fleet import API_VERSION, Fleet, FleetSpec, Metadata
from penstock.spec.gateway import (
    AuthSpec,
    GatewaySpec,
    KeySpec,
    LimitsSpec,
    SecretKeyRef,
    TenantSpec,
    TimeoutsSpec,
    TlsSpec,
    ValueSource,
    parse_listen,
)
from penstock.spec.model import EngineSpec, HardwareSpec, ModelSpec, ObjectivesSpec

__all__ = [
    "API_VERSION",
    "AuthSpec",
    "DemandSpec",
    "EngineSpec",
    "Fleet",
    "FleetHardwareSpec",
    "FleetSpec",
    "GatewaySpec",
    "HardwareSpec",
    "KeySpec",
    "LimitsSpec",
    "Metadata",
    "ModelSpec",
    "ObjectivesSpec",
    "SecretKeyRef",
    "TenantSpec",
    "TimeoutsSpec",
    "TlsSpec",
    "ValueSource",
    "parse_listen",
]
