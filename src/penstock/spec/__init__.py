"""What the user writes: the fleet file as types, its loader, and its JSON Schema. Pure: text in, objects out."""

from penstock.spec.demand import DemandSpec, FleetHardwareSpec
from penstock.spec.expose import ExposeSpec, GatewayScaleSpec
from penstock.spec.fleet import API_VERSION, Fleet, FleetSpec, Metadata
from penstock.spec.gateway import (
    AuthSpec,
    GatewaySpec,
    KeySpec,
    LimitsSpec,
    TenantSpec,
    TimeoutsSpec,
    TlsSpec,
    ValueSource,
    parse_listen,
)
from penstock.spec.kubernetes import ClusterSpec, ExternalSecretsSpec, KubernetesSpec
from penstock.spec.model import AdapterSpec, EngineSpec, HardwareSpec, ModelSpec, ObjectivesSpec
from penstock.spec.monitoring import MonitoringSpec
from penstock.spec.placement import GpuClassSpec, ResourcesSpec, SchedulingSpec, TolerationSpec
from penstock.spec.quantity import parse_quantity
from penstock.spec.scaling import AutoscalingSpec, ScheduleSpec
from penstock.spec.secrets import SecretKeyRef
from penstock.spec.storage import StorageMode, StorageSpec
from penstock.spec.store import StoreSpec, parse_store_url, sqlite_path

__all__ = [
    "API_VERSION",
    "AdapterSpec",
    "AuthSpec",
    "AutoscalingSpec",
    "ClusterSpec",
    "DemandSpec",
    "EngineSpec",
    "ExposeSpec",
    "ExternalSecretsSpec",
    "Fleet",
    "FleetHardwareSpec",
    "FleetSpec",
    "GatewayScaleSpec",
    "GatewaySpec",
    "GpuClassSpec",
    "HardwareSpec",
    "KeySpec",
    "KubernetesSpec",
    "LimitsSpec",
    "Metadata",
    "ModelSpec",
    "MonitoringSpec",
    "ObjectivesSpec",
    "ResourcesSpec",
    "ScheduleSpec",
    "SchedulingSpec",
    "SecretKeyRef",
    "StorageMode",
    "StorageSpec",
    "StoreSpec",
    "TenantSpec",
    "TimeoutsSpec",
    "TlsSpec",
    "TolerationSpec",
    "ValueSource",
    "parse_listen",
    "parse_quantity",
    "parse_store_url",
    "sqlite_path",
]
